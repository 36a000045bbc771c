"""The control API under ``/_emulator``: what the vendor's world would do, ordered by whoever tests.

It takes no key, since it is a development tool on loopback. Bodies are declared as types; one that does not
fit is refused with 400 and ``{"error": {"field", "rule"}}``.
"""

from __future__ import annotations

from starlette.routing import Route

from linq_emulator.backend import World
from linq_emulator.control import base, contacts, emulator


def routes(world: World) -> list[Route]:
    """Every route of the control API."""
    return [
        Route(f"/_emulator/{path}", base.endpoint(world, operation), methods=[method])
        for method, path, operation in (*emulator.OPERATIONS, *contacts.OPERATIONS)
    ]
