"""Attachments: create, get, delete."""

from __future__ import annotations

from linq_emulator.clock import iso
from linq_emulator.domain import validate
from linq_emulator.domain.media import CONTENT_TYPES, MAX_UPLOAD, UPLOAD_WINDOW
from linq_emulator.domain.models import Attachment
from linq_emulator.errors import ApiError
from linq_emulator.schemas import requests, responses
from linq_emulator.server.gateway import NO_CONTENT, Request, Response, json_response
from linq_emulator.server.route import Route

__all__ = ["ROUTES"]


def _find(request: Request) -> Attachment:
    attachment_id = validate.identifier(request.path["attachment_id"], "attachment_id")
    attachment = request.backend.store.attachments.get(attachment_id)
    if attachment is None or attachment.deleted:
        raise ApiError(2003)
    return attachment


def create_attachment(request: Request) -> Response:
    """POST /v3/attachments."""
    backend = request.backend
    body = request.json()
    filename = validate.required(body, "filename", str)
    if not 1 <= len(filename) <= 255:
        raise ApiError(1005, "filename must have 1 to 255 characters")
    content_type = validate.one_of(
        validate.required(body, "content_type", str), tuple(CONTENT_TYPES), "content_type", 5004
    )
    size = validate.required(body, "size_bytes", int)
    if not 1 <= size <= MAX_UPLOAD:
        raise ApiError(5005, f"size_bytes must be 1 to {MAX_UPLOAD}")
    now = backend.now()
    attachment = Attachment(backend.store.new_id(), filename, content_type, size, now, now + UPLOAD_WINDOW)
    backend.store.attachments[attachment.id] = attachment
    fields = {
        "attachment_id": attachment.id,
        "upload_url": backend.media.upload_url(attachment),
        "download_url": backend.media.download_url(attachment),
        "http_method": "PUT",
        "expires_at": iso(attachment.upload_until),
        "required_headers": {"Content-Type": content_type, "Content-Length": str(size)},
    }
    return json_response(backend.switches.attachment_status, fields)


def get_attachment(request: Request) -> Response:
    """GET /v3/attachments/{attachment_id}."""
    attachment = _find(request)
    is_late = request.backend.now() >= attachment.upload_until
    status = "complete" if attachment.content is not None else "failed" if is_late else "pending"
    fields = {
        "id": attachment.id,
        "filename": attachment.filename,
        "content_type": attachment.content_type,
        "size_bytes": attachment.size_bytes,
        "status": status,
        "created_at": iso(attachment.created_at),
    }
    if attachment.content is not None:
        # Absent, and not null, before the upload (OpenAPI document of February 2026).
        fields["download_url"] = request.backend.media.download_url(attachment)
    return json_response(200, fields)


def delete_attachment(request: Request) -> Response:
    """DELETE /v3/attachments/{attachment_id}: deletes the file and keeps the messages."""
    attachment = _find(request)
    attachment.deleted, attachment.content = True, None
    return NO_CONTENT


ROUTES = (
    Route(
        "POST",
        "/v3/attachments",
        create_attachment,
        response=responses.AttachmentSlot,
        status="attachment_status",
        refusals=(1005, 5004, 5005),
        body=requests.AttachmentUpload,
    ),
    Route("GET", "/v3/attachments/{attachment_id}", get_attachment, response=responses.Attachment, refusals=(2003,)),
    Route("DELETE", "/v3/attachments/{attachment_id}", delete_attachment, status=204, refusals=(2003,)),
)
