"""The control API under ``/_emulator``: commands of tests for the platform and for the people who use it.

On loopback it takes no key, since it is a development tool; on other addresses it takes the token of the start
(`linq_emulator.server.guard` has what protects it besides). Bodies are declared as types. One that does not fit is
refused with 400 and ``{"error": {"field", "rule"}}``.
"""

from __future__ import annotations

from starlette.routing import Route

from linq_emulator.backend import Backend
from linq_emulator.control import base, contacts, emulator, files, messages, platform, polls

__all__ = ["routes"]

_HANDLERS = (
    *emulator.HANDLERS,
    *contacts.HANDLERS,
    *files.HANDLERS,
    *messages.HANDLERS,
    *polls.HANDLERS,
    *platform.HANDLERS,
)


def routes(backend: Backend) -> list[Route]:
    """Every route of the control API."""
    return [
        Route(f"/_emulator/{path}", base.endpoint(backend, handler), methods=[method])
        for method, path, handler in _HANDLERS
    ]
