"""An emulator behind one bound socket, as the command line and `linq_emulator.testing` start it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from linq_emulator import json_codec
from linq_emulator.backend import Backend, Settings
from linq_emulator.clock import Clock
from linq_emulator.hosts import WILDCARDS, url_host
from linq_emulator.journal import Journal, JournalError
from linq_emulator.server.app import build_app
from linq_emulator.server.gateway import PREFIX
from linq_emulator.server.http_server import HTTPServer, bind
from linq_emulator.ui import PAGE

__all__ = ["Address", "EmulatorServer", "ServerOptions"]


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """What to start.

    Args:
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
        settings: Of the backend. The server sets their origin.
        clock: Of the backend.
        persist: File in which the state outlives the process; None keeps it in memory.
    """

    host: str
    port: int
    settings: Settings
    clock: Clock
    persist: Path | None = None


@dataclass(frozen=True, slots=True)
class Address:
    """What a client needs to know, as the command line prints it."""

    base_url: str
    api_key: str
    lines: tuple[str, ...]
    opted_out: tuple[str, ...]
    inbox: str | None
    """URL of the page; None if it is not served."""


class EmulatorServer:
    """A server that is bound and not yet running.

    Args:
        options: What to start.
        on_ready: Called once, as soon as connections are accepted.

    Raises:
        OSError: The address cannot be bound, or the file not be opened.
        JournalError: The file cannot be used.
    """

    def __init__(self, options: ServerOptions, on_ready: Callable[[], None]) -> None:
        self._socket = bind(options.host, options.port)
        host = "127.0.0.1" if options.host in WILDCARDS else options.host
        origin = f"http://{url_host(host)}:{self._socket.getsockname()[1]}"
        settings = replace(options.settings, origin=origin)
        inbox = origin + PAGE if settings.with_inbox else None
        self.address = Address(origin + PREFIX, settings.api_key, settings.lines, settings.opted_out, inbox)
        try:
            backend = Backend(settings, options.clock, _journal(options.persist, settings))
        except BaseException:
            self._socket.close()
            raise
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


def _journal(path: Path | None, settings: Settings) -> Journal | None:
    if path is None:
        return None
    journal = Journal(path)
    if journal.start is not None:
        wanted = settings.lasting()
        for name, before in journal.start.options.items():
            if name in wanted and json_codec.encode(wanted[name]) != json_codec.encode(before):
                journal.close()
                raise JournalError(f"--{name}: {path} was begun with {before}: give the same, or another file")
    return journal
