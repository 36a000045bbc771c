"""What protects an emulator on a developer's machine: from web pages in its browser, and from endless bodies.

A page of a foreign site can send requests to loopback. A name of a foreign site can even resolve to loopback (DNS
rebinding): then the browser takes the answers for the site's own. Neither can hide the ``Host`` or the ``Origin``.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from linq_emulator.hosts import LOOPBACK_NAMES, host_name
from linq_emulator.json_codec import encode

__all__ = ["MAX_BODY", "BodyTooLargeError", "Guard", "read_body"]

MAX_BODY = 8 * 1024 * 1024
"""Bytes of a JSON body. The largest valid message, 50 texts of 10,000 characters, has 6 MB if each is two escapes."""


class BodyTooLargeError(Exception):
    """A body has more bytes than it may have."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the body must have at most {limit} bytes")


async def read_body(request: Request, limit: int) -> bytes:
    """The body of a request; empty if the client has left.

    Raises:
        BodyTooLargeError: It is longer than `limit` bytes. No more than these were read.
    """
    if int(request.headers.get("content-length", "0")) > limit:
        raise BodyTooLargeError(limit)
    content = bytearray()
    try:
        async for chunk in request.stream():
            content += chunk
            if len(content) > limit:
                raise BodyTooLargeError(limit)
    except ClientDisconnect:
        return b""
    return bytes(content)


class Guard:
    """An application that refuses requests for other hosts, and requests of foreign pages.

    The API needs no rule for pages: they cannot send its key without asking, and it never agrees.

    Args:
        app: The application behind it.
        allowed_hosts: Names that the ``Host`` header may have, besides those of loopback.
        open_to_pages: Prefix of the paths that foreign pages may try.
        page: Path of the page to which others may link. It holds nothing that is secret.
        has_token: Whether commands need a token. Then a proxy may serve the emulator over TLS: the browser is on
            ``https`` at the same host, of which the proxy's request over HTTP says nothing. Without one, a page of
            another server, on port 443 of this machine, could have the same origin.
    """

    def __init__(
        self, app: ASGIApp, allowed_hosts: Iterable[str], open_to_pages: str, page: str, has_token: bool
    ) -> None:
        self._app = app
        self._allowed = LOOPBACK_NAMES | {name.lower() for name in allowed_hosts}
        self._open_to_pages = open_to_pages
        self._page = page
        self._schemes = (b"http://", b"https://") if has_token else (b"http://",)
        self._is_allowed = lru_cache(maxsize=64)(lambda host: host_name(host.decode("latin-1")) in self._allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request, or pass it on."""
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        await (self._app if refusal is None else refusal)(scope, receive, send)

    def _refusal(self, scope: Scope) -> Response | None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        host = headers.get(b"host", b"")
        if not self._is_allowed(host):
            return _refuse(421, "Host", f"must be {' or '.join(sorted(self._allowed))}; see --allow-host")
        if scope["path"].startswith(self._open_to_pages) or scope["path"] == self._page:
            return None
        origin = headers.get(b"origin")
        if origin is not None and origin.lower() not in (scheme + host.lower() for scheme in self._schemes):
            return _refuse(403, "Origin", "must be the emulator itself: pages of other sites are refused")
        if headers.get(b"sec-fetch-site") == b"cross-site":
            return _refuse(403, "Sec-Fetch-Site", "must not be cross-site: pages of other sites are refused")
        return None


def _refuse(status: int, field: str, rule: str) -> Response:
    return Response(encode({"error": {"field": field, "rule": rule}}), status, media_type="application/json")
