"""Responses that faults have broken."""

from __future__ import annotations

import asyncio
import re
from http.client import responses

from starlette.responses import HTMLResponse, Response
from starlette.types import Receive, Scope, Send

from linq_emulator.faults import FaultBody
from linq_emulator.server.http_server import abort, close, is_closing

__all__ = ["ResetResponse", "TricklingResponse", "TruncatedResponse", "malformed_body", "proxy_page"]

# The fields of messages, chats and errors that hold free text.
_FREE_TEXT = re.compile(rb'"(?:value|display_name|message)":"')
_ANY_TEXT = re.compile(rb':"')

_IN_TEXT: dict[FaultBody, bytes] = {
    "bad_bytes": b"\xe9",  # e with an acute accent in Latin-1.
    "truncated_utf8": "\N{GRINNING FACE}".encode()[:3],
    "control": b"\x01",
    "nul": b"\\u0000",
    "lone_surrogate": b"\\ud83d",
}


def malformed_body(body: bytes, form: FaultBody) -> bytes:
    """A body with one thing wrong in it. A body without any text stays as it is where a text would be changed."""
    if form == "half":
        return body[: max(1, len(body) // 2)] or b"<"
    if form == "bom":
        return b"\xef\xbb\xbf" + body
    place = _FREE_TEXT.search(body) or _ANY_TEXT.search(body)
    return body if place is None else body[: place.end()] + _IN_TEXT[form] + body[place.end() :]


def proxy_page(status: int, headers: dict[str, str]) -> Response:
    """The page of a proxy before an API that does not answer: no JSON, no error code, no trace id."""
    title = f"{status} {responses.get(status, 'Error')}"
    page = f"<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>"
    return HTMLResponse(page, status, headers)


class ResetResponse(Response):
    """A TCP reset instead of a response."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Reset the connection."""
        await abort(scope)


class _BrokenResponse(Response):
    """A response whose body is sent in an own way.

    Args:
        whole: The response as it should have been.
    """

    def __init__(self, whole: Response) -> None:
        super().__init__(bytes(whole.body), whole.status_code)
        self.raw_headers = whole.raw_headers

    async def _start(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})


class TruncatedResponse(_BrokenResponse):
    """Half of a body, with the Content-Length of the whole; then the connection ends."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the half."""
        await self._start(send)
        await send({"type": "http.response.body", "body": self.body[: len(self.body) // 2], "more_body": True})
        await close(scope)


class TricklingResponse(_BrokenResponse):
    """A body of which one byte comes at a time.

    Args:
        whole: The response as it should have been.
        seconds: Real seconds before each byte.
    """

    def __init__(self, whole: Response, seconds: float) -> None:
        super().__init__(whole)
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, byte by byte, until the client leaves."""
        await self._start(send)
        for position in range(len(self.body)):
            await asyncio.sleep(self._seconds)
            if is_closing(scope):
                return
            await send({"type": "http.response.body", "body": self.body[position : position + 1], "more_body": True})
        await send({"type": "http.response.body"})
