"""An emulator behind one bound socket, as the command line and `linq_emulator.testing` start it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from linq_emulator.backend import Backend, Settings
from linq_emulator.clock import Clock
from linq_emulator.hosts import WILDCARDS, url_host
from linq_emulator.server.app import build_app
from linq_emulator.server.gateway import PREFIX
from linq_emulator.server.http_server import HTTPServer, bind

__all__ = ["Address", "EmulatorServer", "ServerOptions"]


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """What to start.

    Args:
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
        settings: Of the backend. The server sets their origin.
        clock: Of the backend.
    """

    host: str
    port: int
    settings: Settings
    clock: Clock


@dataclass(frozen=True, slots=True)
class Address:
    """What a client needs to know, as the command line prints it."""

    base_url: str
    api_key: str
    lines: tuple[str, ...]
    opted_out: tuple[str, ...]


class EmulatorServer:
    """A server that is bound and not yet running.

    Args:
        options: What to start.
        on_ready: Called once, as soon as connections are accepted.

    Raises:
        OSError: The address cannot be bound.
    """

    def __init__(self, options: ServerOptions, on_ready: Callable[[], None]) -> None:
        self._socket = bind(options.host, options.port)
        host = "127.0.0.1" if options.host in WILDCARDS else options.host
        origin = f"http://{url_host(host)}:{self._socket.getsockname()[1]}"
        settings = replace(options.settings, origin=origin)
        self.address = Address(origin + PREFIX, settings.api_key, settings.lines, settings.opted_out)
        backend = Backend(settings, options.clock)
        self._server = HTTPServer(build_app(backend), on_ready, backend.changes.close)

    def run(self) -> None:
        """Serve until `stop`; in the main thread also until SIGTERM or SIGINT."""
        try:
            self._server.run(sockets=[self._socket])
        finally:
            self._socket.close()

    def stop(self) -> None:
        """Let `run` return. Another thread may call it."""
        self._server.should_exit = True
