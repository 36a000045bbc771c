"""A command for files that contacts send: they are stored here, and an inbound message then names them."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated

from msgspec import Meta, Struct

from linq_emulator.control.base import Command, CommandError, Handler
from linq_emulator.domain.media import CONTENT_TYPES
from linq_emulator.domain.models import Attachment

__all__ = ["HANDLERS"]


class File(Struct, forbid_unknown_fields=True):
    """Body of POST files; `content` is base64."""

    filename: Annotated[str, Meta(min_length=1, max_length=255)]
    content_type: str
    content: str


def store_file(command: Command) -> object:
    """Store a file, and return the `attachment_id` by which a part of a message names it."""
    body = command.parse(File)
    if body.content_type not in CONTENT_TYPES:
        raise CommandError("content_type", f"{body.content_type} cannot be sent")
    try:
        content = base64.b64decode(body.content, validate=True)
    except binascii.Error:
        raise CommandError("content", "must be base64") from None
    backend, now = command.backend, command.backend.now()
    attachment = Attachment(
        backend.store.new_id(),
        body.filename,
        body.content_type,
        len(content),
        now,
        upload_until=now,
        content=content,
        uploaded_at=now,
    )
    backend.store.attachments[attachment.id] = attachment
    return {"attachment_id": attachment.id, "size_bytes": len(content)}


HANDLERS: list[tuple[str, str, Handler]] = [("POST", "files", store_file)]
