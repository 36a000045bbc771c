"""The upload and download URLs, which take a token instead of the key. Their errors are plain text, as of a bucket."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from linq_emulator.backend import Backend
from linq_emulator.domain.models import Attachment, Line
from linq_emulator.server.guard import BodyTooLargeError, read_body

__all__ = ["storage_routes"]

_WRONG_SIGNATURE = "the signature does not match or has expired"


def storage_routes(backend: Backend) -> list[Route]:
    """The routes of uploads, downloads and contact cards."""
    storage = _Storage(backend)
    return [
        Route("/_media/vcard/{line_id}.vcf", storage.vcard, methods=["GET"]),
        Route("/_upload/{attachment_id}", storage.upload, methods=["PUT"]),
        Route("/_media/{attachment_id}/{filename:path}", storage.download, methods=["GET"]),
    ]


class _Storage:
    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def upload(self, request: Request) -> Response:
        attachment = self._find(request, "put")
        if attachment is None or attachment.deleted:
            return self._error(403, _WRONG_SIGNATURE)
        if request.headers.get("content-type") != attachment.content_type:
            return self._error(403, "Content-Type is not the one that was signed")
        if request.headers.get("content-length") != str(attachment.size_bytes):
            return self._error(403, "Content-Length is not the one that was signed")
        try:
            content = await read_body(request, attachment.size_bytes)
        except BodyTooLargeError as error:
            return self._error(413, str(error))
        if len(content) != attachment.size_bytes:
            return self._error(400, "the body is shorter than its Content-Length")
        with self._backend.clock.held() as at:
            attachment.content, attachment.uploaded_at = content, at
            self._backend.keep(at, request.method, request.url.path, request.url.query, request.headers, content)
        self._backend.changes.notify()
        return Response(status_code=200, headers=self._headers())

    async def download(self, request: Request) -> Response:
        attachment = self._find(request, "get")
        if attachment is None:
            return self._error(403, _WRONG_SIGNATURE)
        content = self._backend.media.content(attachment)
        if content is None:
            return self._error(404, "no such object")
        return Response(content, headers=self._headers() | {"Content-Type": attachment.content_type})

    async def vcard(self, request: Request) -> Response:
        self._backend.clock.run_due()
        line_id, query = request.path_params["line_id"], request.query_params
        exclude = query.get("exclude", "")
        name = f"{line_id}/{exclude}"
        if not self._backend.media.allows("vcard", name, query.get("until", ""), query.get("token", "")):
            return self._error(403, _WRONG_SIGNATURE)
        lines = self._backend.store.lines.values()
        line = next((line for line in lines if line.id == line_id), None)
        if line is None:
            return self._error(404, "no such object")
        left_out = {line.phone_number, *exclude.split(",")}
        others = [other.phone_number for other in lines if not (other.ineligible or other.phone_number in left_out)]
        return Response(_vcard(line, others), headers=self._headers() | {"Content-Type": "text/vcard"})

    def _find(self, request: Request, purpose: str) -> Attachment | None:
        backend = self._backend
        backend.clock.run_due()
        attachment_id = request.path_params["attachment_id"]
        query = request.query_params
        if not backend.media.allows(purpose, attachment_id, query.get("until", ""), query.get("token", "")):
            return None
        return backend.store.attachments.get(attachment_id)

    def _headers(self) -> dict[str, str]:
        # A file is what somebody sent. A browser must not show it as a page of the emulator.
        return {
            **self._backend.date_headers(),
            "Content-Disposition": "attachment",
            "X-Content-Type-Options": "nosniff",
        }

    def _error(self, status: int, reason: str) -> Response:
        return PlainTextResponse(reason, status, self._headers())


def _vcard(line: Line, other_numbers: list[str]) -> str:
    card = line.card
    name = f"{card.first_name} {card.last_name or ''}".strip() if card else line.phone_number
    numbers = [f"TEL;TYPE=PREF:{line.phone_number}", *(f"TEL:{number}" for number in other_numbers)]
    return "\r\n".join(["BEGIN:VCARD", "VERSION:3.0", f"N:{name};;;;", f"FN:{name}", *numbers, "END:VCARD", ""])
