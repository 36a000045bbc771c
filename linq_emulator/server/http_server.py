"""The HTTP server around an application: one socket, one event loop, and control of connections for faults."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from types import FrameType
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp, Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["HTTPServer", "abort", "bind", "close", "is_closing"]

_TRANSPORT = "linq_emulator.transport"


_MAX_HEAD = 256 * 1024
"""Bytes of a head, of trailers, and of the extensions of a chunk. The parser's time for a longer one grows with the
square of it, and nothing else is served meanwhile."""


class _Protocol(HttpToolsProtocol):
    """uvicorn's protocol, which adds the transport to the scope, so that faults can break the connection.

    It ends connections on which something other than a body has no end.
    """

    _bytes_besides_bodies = 0

    def data_received(self, data: bytes) -> None:
        self._bytes_besides_bodies += len(data)
        super().data_received(data)
        if self._bytes_besides_bodies > _MAX_HEAD and not self.transport.is_closing():
            self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        cast("dict[str, Any]", self.scope)[_TRANSPORT] = self.transport

    def on_headers_complete(self) -> None:
        self._bytes_besides_bodies = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._bytes_besides_bodies = 0
        super().on_body(body)


def _transport(scope: Scope) -> asyncio.Transport:
    return cast("asyncio.Transport", scope[_TRANSPORT])


async def abort(scope: Scope) -> None:
    """End the connection of a request with a TCP reset."""
    transport = _transport(scope)
    if transport.is_closing():  # the client has left, and its socket is gone
        return
    connection = transport.get_extra_info("socket")
    # A close with a linger time of zero sends RST instead of FIN.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    await _let_protocol_notice()


async def close(scope: Scope) -> None:
    """End the connection of a request after what was written."""
    _transport(scope).close()
    await _let_protocol_notice()


def is_closing(scope: Scope) -> bool:
    """Whether the connection of a request has ended or is about to."""
    return _transport(scope).is_closing()


async def _let_protocol_notice() -> None:
    # The loop informs the protocol in its next rounds. Until then the protocol would report an unfinished response.
    for _ in range(3):
        await asyncio.sleep(0)


def bind(host: str, port: int) -> socket.socket:
    """Bind a TCP socket.

    Raises:
        OSError: That is not possible.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The loop turns off delays for small responses only if the protocol is named.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except BaseException:
        bound.close()
        raise
    return bound


class HTTPServer(uvicorn.Server):
    """A server of one application.

    Args:
        app: The application.
        on_ready: Called once, as soon as connections are accepted.
        on_stop: Called once, before it waits for the responses that are under way.
    """

    def __init__(self, app: ASGIApp, on_ready: Callable[[], None], on_stop: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=_Protocol,
                ws="none",
                log_config=None,
                access_log=False,
                date_header=False,
                server_header=False,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=1,
            )
        )
        self._on_ready = on_ready
        self._on_stop = on_stop

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop. A second Ctrl-C changes nothing: it takes a second at the most."""
        if not self.should_exit:
            super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to accept connections."""
        await super().startup(sockets=sockets)
        if self.started:
            self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End, once what is under way has ended."""
        self._on_stop()
        await super().shutdown(sockets=sockets)
