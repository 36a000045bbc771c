"""The ASGI application: the API, its storage URLs and the control API on one backend, and the ticker of its clock."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.requests import Request as HTTPRequest
from starlette.responses import PlainTextResponse
from starlette.responses import Response as HTTPResponse
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from linq_emulator import control, ui
from linq_emulator.backend import Backend
from linq_emulator.errors import ApiError
from linq_emulator.journal import JournalError
from linq_emulator.server.endpoints import ROUTES
from linq_emulator.server.gateway import PREFIX, Gateway, Request, Response
from linq_emulator.server.guard import Guard
from linq_emulator.server.replay import replay
from linq_emulator.server.storage import storage_routes

__all__ = ["build_app"]

_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]


def _unknown_path(request: Request) -> Response:
    raise ApiError(1005, "there is no such endpoint", status=404)


def _not_kept(request: HTTPRequest, error: Exception) -> HTTPResponse:
    """What was carried out may be gone after a restart, so it is not confirmed."""
    return PlainTextResponse(str(error), 500)


async def _tick(backend: Backend) -> None:
    """Run due actions at their times, also while there are no requests."""
    changed = asyncio.Event()
    backend.clock.on_change = changed.set
    while True:
        changed.clear()
        backend.clock.run_due()
        backend.changes.notify()
        wait = backend.clock.seconds_until_due()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(changed.wait(), wait)


def build_app(backend: Backend) -> ASGIApp:
    """The ASGI application of one backend."""
    gateway = Gateway(backend)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        if backend.journal is not None and backend.journal.start is not None:
            await replay(backend, app.router, backend.journal)
        ticker = asyncio.create_task(_tick(backend))
        try:
            yield
        finally:
            ticker.cancel()
            await backend.webhooks.close()
            if backend.journal is not None:
                backend.journal.close()

    routes: list[BaseRoute] = [
        Route(PREFIX + route.path, gateway.endpoint(route.path, route.run), methods=[route.method]) for route in ROUTES
    ]
    routes.append(Route(PREFIX + "/{rest:path}", gateway.endpoint("(unknown)", _unknown_path), methods=_METHODS))
    routes += [*storage_routes(backend), *control.routes(backend)]
    if backend.settings.with_inbox:
        routes += ui.routes(backend)
    app = Starlette(routes=routes, lifespan=lifespan, exception_handlers={JournalError: _not_kept})
    settings = backend.settings
    return Guard(app, settings.allowed_hosts, open_to_pages=PREFIX, page=ui.PAGE, has_token=settings.token is not None)
