"""Ports for servers that are started on a port that somebody chose, also again after they have ended."""

from __future__ import annotations

import random
import socket

__all__ = ["free_port"]

#: Below those that the kernel gives away (from 32768 on, on Linux; from 49152 on elsewhere). From there it takes one
#: for every connection, and for every server on port 0 of another test, when the server that had it is down; and a
#: client that tries to connect to a port without a server may get that very port, and is connected to itself.
_CHOICE = range(20_000, 32_000)


def free_port() -> int:
    """Return a port on which nothing listens, and on which nothing does by chance."""
    choose = random.SystemRandom()  # and not the seed of a test: tests that run in parallel would choose the same
    while True:
        port = choose.choice(_CHOICE)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
