"""The server: uvicorn, with bounds on what a client may send before its request is known."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from types import FrameType
from typing import Final

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["Server"]

#: Of a request line and its headers, and of what comes with a body and is no part of it: extensions of chunks, and
#: trailers. Roughly: what is read at a time is counted.
_MAX_HEAD_BYTES: Final = 256 * 1024
_MAX_HEAD_SECONDS: Final = 10

#: Connections at a time; a request on a further one gets 503.
_MAX_CONNECTIONS: Final = 1000

_KEEP_ALIVE_SECONDS: Final = 75

#: For requests that are under way when the server is asked to stop. The platform gives up after 10 seconds.
_STOP_SECONDS: Final = 10


class _BoundedProtocol(HttpToolsProtocol):
    """Ends connections whose request line and headers are too long or take too long, which uvicorn waits for.

    The parser puts a header together piece by piece, so that an endless one takes memory, and time that grows with its
    square: a single connection could hold up all others.
    """

    _bytes_besides_bodies = 0
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(_MAX_HEAD_SECONDS, self._end)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._bytes_besides_bodies += len(data)
        super().data_received(data)
        if self._bytes_besides_bodies > _MAX_HEAD_BYTES:
            self._end()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(_MAX_HEAD_SECONDS, self._end)

    def on_headers_complete(self) -> None:
        self._stop_timer()
        self._bytes_besides_bodies = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._bytes_besides_bodies = 0
        super().on_body(body)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _end(self) -> None:
        self._stop_timer()
        if not self.transport.is_closing():
            self.transport.close()


class Server(uvicorn.Server):
    """Serves the receiver until SIGTERM or SIGINT; then it takes no more, finishes what is under way, and returns.

    Args:
        app: the receiver.
        host: to listen on.
        port: to listen on; 0 takes a free one.
        on_ready: called once connections are accepted.
        certificate: path of a TLS certificate; None for plain HTTP, behind a proxy.
        key: path of its key.

    Raises:
        OSError: the address can't be bound.
    """

    def __init__(
        self,
        app: Starlette,
        host: str,
        port: int,
        *,
        on_ready: Callable[[], None],
        certificate: str | None = None,
        key: str | None = None,
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=_BoundedProtocol,
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                limit_concurrency=_MAX_CONNECTIONS,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=_STOP_SECONDS,
                ssl_certfile=certificate,
                ssl_keyfile=key,
            )
        )
        self._socket = _bind(host, port)
        self._on_ready = on_ready

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._socket.getsockname()[1])

    def serve_until_stopped(self) -> None:
        """Serve."""
        try:
            self.run(sockets=[self._socket])
        finally:
            self._socket.close()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop. Whoever asks again, as by a second Ctrl-C, does not make it drop what is under way: it ends soon."""
        if not self.should_exit:
            super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        await super().startup(sockets)
        if self.started:
            self._on_ready()


def _bind(host: str, port: int) -> socket.socket:
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
