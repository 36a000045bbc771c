"""Ports for servers that are started on a port that somebody chose, also again after they have ended."""

from __future__ import annotations

import os
import random
import socket

__all__ = ["free_port"]

#: Below those that the kernel gives away (from 32768 on, on Linux; from 49152 on elsewhere). From there it takes one
#: for every connection, and for every server on port 0 of another test, when the server that had it is down; and a
#: client that tries to connect to a port without a server may get that very port, and is connected to itself.
_CHOICE = range(20_000, 32_000)


def _own_choice() -> list[int]:
    """Those of this process of a parallel run: no other one knows of a port that was given and is not listened on."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    return list(_CHOICE[worker :: int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))])


#: Those that were not given yet, in an order of chance: not by the seed of a test, which other runs have as well.
_ports = _own_choice()
random.SystemRandom().shuffle(_ports)


def free_port() -> int:
    """Return a port on which nothing listens, and on which nothing does by chance; each time another one."""
    while True:
        port = _ports.pop()
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
