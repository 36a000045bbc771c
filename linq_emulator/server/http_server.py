"""The HTTP server around the application: one socket, one loop, and hold of the connection for faults."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import struct
from collections.abc import Callable
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp, Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_TRANSPORT = "linq_emulator.transport"


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol, which tells the application the transport: faults must break real connections."""

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        cast("dict[str, Any]", self.scope)[_TRANSPORT] = self.transport


def _transport(scope: Scope) -> asyncio.Transport:
    return cast("asyncio.Transport", scope[_TRANSPORT])


async def abort(scope: Scope) -> None:
    """End the connection of a request with a TCP reset."""
    transport = _transport(scope)
    connection = transport.get_extra_info("socket")
    # Closing with a linger time of zero is what sends RST instead of FIN.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    await _closed()


async def close(scope: Scope) -> None:
    """End the connection of a request after what has been written."""
    _transport(scope).close()
    await _closed()


async def _closed() -> None:
    # The loop tells the protocol in its next rounds; until then it would report an unfinished response.
    for _ in range(3):
        await asyncio.sleep(0)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            self._ready()


def bind(host: str, port: int) -> socket.socket:
    """A bound TCP socket; OSError when that is not possible."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named so that the loop knows these for TCP and turns off delays for small answers.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except BaseException:
        bound.close()
        raise
    return bound


def serve(app: ASGIApp, bound: socket.socket, ready: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        app: The application.
        bound: Socket from `bind`.
        ready: Called once, when connections are accepted.
    """
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    # uvicorn raises the signals again after its shutdown; being asked to stop is no failure.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    config = uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        log_config=None,
        access_log=False,
        date_header=False,
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=1,
    )
    _Server(config, ready).run(sockets=[bound])
