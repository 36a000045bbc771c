"""The inbox: a web page on which a developer sees the chats as the people in them do, and answers as they would.

The page is plain HTML, CSS and modules of JavaScript (`assets`), over the control API and the reads in `commands`.
"""

from __future__ import annotations

from starlette.routing import Route

from linq_emulator.backend import Backend
from linq_emulator.control import base
from linq_emulator.ui.assets import PAGE, asset_routes
from linq_emulator.ui.commands import InboxCommands

__all__ = ["PAGE", "routes"]


def routes(backend: Backend) -> list[Route]:
    """The page, its assets, and what it reads."""
    commands = InboxCommands(backend)
    reads = [
        Route(f"/_emulator/inbox{path}", base.endpoint(backend, handler), methods=["GET"])
        for path, handler in commands.handlers()
    ]
    return [*asset_routes(), *reads]
