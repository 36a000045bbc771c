"""The files of the page. They hold nothing of the emulator's state, so they need no token."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

__all__ = ["PAGE", "asset_routes"]

PAGE = "/"
_FOLDER = "/_inbox/"

_TYPES = {"css": "text/css", "html": "text/html", "js": "text/javascript", "svg": "image/svg+xml"}

# No script but the page's own, and no markup that is made of text: what a stranger writes can be nothing but text. The
# one trusted type is the address of the shared worker in `stream.js`, which is always the same.
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "media-src 'self'",
        "connect-src 'self'",
        "form-action 'none'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types linq-emulator-stream",
    )
)
_HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def asset_routes() -> list[Route]:
    """A route for the page, and one for each of its other files."""
    assets = {file.name: file.read_bytes() for file in files(__package__).joinpath("static").iterdir()}
    paths = {PAGE if name == "index.html" else _FOLDER + name: name for name in assets}
    return [Route(path, _endpoint(assets[name], name), methods=["GET"]) for path, name in paths.items()]


def _endpoint(content: bytes, name: str) -> Callable[[Request], Awaitable[Response]]:
    async def serve(request: Request) -> Response:
        return Response(content, headers=_HEADERS, media_type=_TYPES[name.rpartition(".")[2]])

    return serve
