"""Attachments: create, get, delete; and the upload and download URLs, which take a token instead of the key."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from linq_emulator.backend import World
from linq_emulator.clock import http_date, iso
from linq_emulator.domain import validate
from linq_emulator.domain.media import CONTENT_TYPES, MAX_UPLOAD, UPLOAD_WINDOW
from linq_emulator.domain.models import Attachment
from linq_emulator.errors import ApiError
from linq_emulator.server.gateway import NO_CONTENT, Call, Operation, Reply, answer


def _find(call: Call) -> Attachment:
    found = call.world.store.attachments.get(validate.identifier(call.path["attachment_id"], "attachment_id"))
    if found is None or found.deleted:
        raise ApiError(2003)
    return found


def create(call: Call) -> Reply:
    """POST /v3/attachments."""
    world = call.world
    body = call.body()
    filename = validate.required(body, "filename", str)
    if not 1 <= len(filename) <= 255:
        raise ApiError(1005, "filename must have 1 to 255 characters")
    content_type = validate.one_of(
        validate.required(body, "content_type", str), tuple(CONTENT_TYPES), "content_type", 5004
    )
    size = validate.required(body, "size_bytes", int)
    if not 1 <= size <= MAX_UPLOAD:
        raise ApiError(5005, f"size_bytes must be 1 to {MAX_UPLOAD}")
    now = world.now()
    made = Attachment(world.store.new_id(), filename, content_type, size, now, now + UPLOAD_WINDOW)
    world.store.attachments[made.id] = made
    shown = {
        "attachment_id": made.id,
        "upload_url": world.media.upload_url(made),
        "download_url": world.media.download_url(made),
        "http_method": "PUT",
        "expires_at": iso(made.upload_until),
        "required_headers": {"Content-Type": content_type, "Content-Length": str(size)},
    }
    return answer(world.switches.attachment_status, shown)


def get(call: Call) -> Reply:
    """GET /v3/attachments/{attachment_id}."""
    found = _find(call)
    late = call.world.now() >= found.upload_until
    unfinished = "failed" if late else "pending"
    shown = {
        "id": found.id,
        "filename": found.filename,
        "content_type": found.content_type,
        "size_bytes": found.size_bytes,
        "status": unfinished if found.content is None else "complete",
        "created_at": iso(found.created_at),
        "download_url": None if found.content is None else call.world.media.download_url(found),
    }
    return answer(200, shown)


def delete(call: Call) -> Reply:
    """DELETE /v3/attachments/{attachment_id}: the bytes go, messages stay."""
    found = _find(call)
    found.deleted, found.content = True, None
    return NO_CONTENT


ROUTES: list[tuple[str, str, Operation]] = [
    ("POST", "/v3/attachments", create),
    ("GET", "/v3/attachments/{attachment_id}", get),
    ("DELETE", "/v3/attachments/{attachment_id}", delete),
]


def storage_routes(world: World) -> list[Route]:
    """The routes behind upload and download URLs. Like a storage service they refuse in plain text."""

    def find(request: Request, purpose: str) -> Attachment | None:
        world.clock.run_due()
        attachment_id = request.path_params["attachment_id"]
        query = request.query_params
        if not world.media.allows(purpose, attachment_id, query.get("until", ""), query.get("token", "")):
            return None
        return world.store.attachments.get(attachment_id)

    def refuse(status: int, reason: str) -> Response:
        return PlainTextResponse(reason, status, {"Date": http_date(world.now())})

    async def upload(request: Request) -> Response:
        found = find(request, "put")
        if found is None or found.deleted:
            return refuse(403, "the signature does not match or has expired")
        if request.headers.get("content-type") != found.content_type:
            return refuse(403, "Content-Type is not the one that was signed")
        if request.headers.get("content-length") != str(found.size_bytes):
            return refuse(403, "Content-Length is not the one that was signed")
        found.content = await request.body()
        return Response(status_code=200, headers={"Date": http_date(world.now())})

    async def download(request: Request) -> Response:
        found = find(request, "get")
        if found is None:
            return refuse(403, "the signature does not match or has expired")
        if found.content is None:
            return refuse(404, "no such object")
        headers = {"Content-Type": found.content_type, "Date": http_date(world.now())}
        return Response(found.content, headers=headers)

    async def vcard(request: Request) -> Response:
        line = next((one for one in world.store.lines.values() if one.id == request.path_params["line_id"]), None)
        if line is None:
            return refuse(404, "no such object")
        card = line.card
        name = f"{card.first_name} {card.last_name or ''}".strip() if card else line.phone_number
        others = [one.phone_number for one in world.store.lines.values() if one is not line and not one.ineligible]
        numbers = [f"TEL;TYPE=PREF:{line.phone_number}", *(f"TEL:{number}" for number in others)]
        text = "\r\n".join(["BEGIN:VCARD", "VERSION:3.0", f"N:{name};;;;", f"FN:{name}", *numbers, "END:VCARD", ""])
        return Response(text, headers={"Content-Type": "text/vcard", "Date": http_date(world.now())})

    return [
        Route("/_media/vcard/{line_id}.vcf", vcard, methods=["GET"]),
        Route("/_upload/{attachment_id}", upload, methods=["PUT"]),
        Route("/_media/{attachment_id}/{filename:path}", download, methods=["GET"]),
    ]
