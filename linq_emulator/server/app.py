"""The application: the API, its storage URLs and the control API on one world, and the ticker behind them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Route

from linq_emulator import control
from linq_emulator.backend import World
from linq_emulator.errors import ApiError
from linq_emulator.server.endpoints import ROUTES
from linq_emulator.server.endpoints.attachments import storage_routes
from linq_emulator.server.gateway import PREFIX, Call, Gate, Reply

_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


def _unknown(call: Call) -> Reply:
    raise ApiError(1005, "there is no such endpoint", status=404)


async def _tick(world: World) -> None:
    """Run due actions as their times come, also when nobody asks for anything."""
    changed = asyncio.Event()
    world.clock.on_change = changed.set
    while True:
        changed.clear()
        world.clock.run_due()
        wait = world.clock.seconds_until_due()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(changed.wait(), wait)


def build(world: World) -> Starlette:
    """The ASGI application of one world."""
    gate = Gate(world)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        ticker = asyncio.create_task(_tick(world))
        try:
            yield
        finally:
            ticker.cancel()
            await world.webhooks.close()

    routes: list[BaseRoute] = [
        Route(PREFIX + path, gate.endpoint(path, operation), methods=[method]) for method, path, operation in ROUTES
    ]
    routes.append(Route(PREFIX + "/{rest:path}", gate.endpoint("(unknown)", _unknown), methods=_METHODS))
    return Starlette(routes=[*routes, *storage_routes(world), *control.routes(world)], lifespan=lifespan)
