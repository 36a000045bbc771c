"""Accepted messages: list, get, edit, delete, thread, reactions."""

from __future__ import annotations

from typing import Any

from linq_emulator.domain import mutations, sending, validate
from linq_emulator.domain.content import MAX_TEXT
from linq_emulator.domain.media import CONTENT_TYPES
from linq_emulator.domain.models import IMESSAGE, Attachment, Message, Reaction
from linq_emulator.errors import ApiError
from linq_emulator.json_codec import encode
from linq_emulator.serializers import message_fields
from linq_emulator.server.endpoints import lookup, paging
from linq_emulator.server.gateway import NO_CONTENT, Operation, Request, Response, json_response

__all__ = ["ROUTES"]


def list_messages(request: Request) -> Response:
    """GET /v3/chats/{chat_id}/messages."""
    chat = lookup.find_chat(request)
    switches = request.backend.switches
    messages, next_cursor = paging.page(
        request,
        chat.messages,
        50,
        order=switches.message_order,
        cursor_kind=switches.cursor,
        empty_pages=switches.empty_pages,
    )
    return lookup.messages_response(request, messages, next_cursor)


def get_message(request: Request) -> Response:
    """GET /v3/messages/{message_id}."""
    return Response(200, _body(request, lookup.find_readable_message(request)))


def _body(request: Request, message: Message) -> bytes:
    return encode(message_fields(message, request.backend.media.url))


def get_thread(request: Request) -> Response:
    """GET /v3/messages/{message_id}/thread."""
    message = lookup.find_readable_message(request)
    order = validate.one_of(request.query.get("order", "asc"), ("asc", "desc"), "order")
    # The cursor in the documentation's example holds an id and a time.
    messages, next_cursor = paging.page(
        request,
        request.backend.store.thread(message),
        50,
        order="oldest" if order == "asc" else "newest",
        cursor_kind="key",
    )
    return lookup.messages_response(request, messages, next_cursor)


def edit_message(request: Request) -> Response:
    """PATCH /v3/messages/{message_id}. Of a deleted message it has no body (seen by third parties)."""
    if request.path["message_id"].lower() in request.backend.store.deleted:
        return NO_CONTENT
    message = lookup.find_message(request)
    body = request.json()
    text = validate.non_empty_text(validate.required(body, "text", str), "text", MAX_TEXT)
    part_index = validate.optional(body, "part_index", int) or 0
    sending.check_chat(message.chat)
    mutations.check_edit(request.backend, message, part_index)
    mutations.edit(request.backend, message, part_index, text)
    return Response(request.backend.switches.edit_status, _body(request, message))


def delete_message(request: Request) -> Response:
    """DELETE /v3/messages/{message_id}: deletes it from the account. The recipient keeps it."""
    message, backend = lookup.find_message(request), request.backend
    message.deleted_at = backend.now()
    backend.store.remove_message(message, leaves_tombstone=backend.switches.tombstones)
    return NO_CONTENT


def react(request: Request) -> Response:
    """POST /v3/messages/{message_id}/reactions."""
    message = lookup.find_message(request)
    body = request.json()
    operation = validate.one_of(validate.required(body, "operation", str), ("add", "remove"), "operation")
    kind = validate.one_of(validate.required(body, "type", str), (*mutations.TAPBACKS, mutations.STICKER), "type")
    emoji = validate.required(body, "custom_emoji", str) if kind == "custom" else None
    part_index = validate.optional(body, "part_index", int) or 0
    if not 0 <= part_index < len(message.parts):
        raise ApiError(1005, "part_index is not a part of this message")
    sticker = _sticker(request, body) if kind == mutations.STICKER else None
    if kind == mutations.STICKER and operation == "remove":
        raise ApiError(1005, "a sticker cannot be removed")
    sending.check_chat(message.chat)
    if kind == mutations.STICKER and message.service != IMESSAGE:
        raise ApiError(2017, "stickers need iMessage")
    me = message.chat.me
    if operation == "add":
        reaction = Reaction(request.backend.store.new_id(), me, kind, emoji, sticker)
        mutations.add_reaction(request.backend, message, part_index, reaction)
    else:
        mutations.remove_reaction(request.backend, message, part_index, me, kind, emoji)
    body = {"status": "accepted", "message": "Reaction processed", "trace_id": request.trace_id}
    return json_response(request.backend.switches.reaction_status, body)


def _sticker(request: Request, body: dict[str, Any]) -> Attachment:
    sources = [name for name in ("emoji", "url", "attachment_id") if body.get(name) is not None]
    if len(sources) != 1:
        raise ApiError(1005, "a sticker must have one of emoji, url and attachment_id")
    backend = request.backend
    if sources[0] == "emoji":
        # The platform draws the emoji. Here a placeholder replaces the image.
        return backend.media.find_or_add(backend.store, "https://emoji.invalid/emoji.png", CONTENT_TYPES, backend.now())
    if sources[0] == "url" and backend.media.find(backend.store, validate.required(body, "url", str)) is None:
        raise ApiError(1005, "url must be the download_url of an attachment")
    return backend.message_parser.file(body, "url", "", CONTENT_TYPES)


ROUTES: list[tuple[str, str, Operation]] = [
    ("GET", "/v3/chats/{chat_id}/messages", list_messages),
    ("GET", "/v3/messages/{message_id}", get_message),
    ("GET", "/v3/messages/{message_id}/thread", get_thread),
    ("PATCH", "/v3/messages/{message_id}", edit_message),
    ("DELETE", "/v3/messages/{message_id}", delete_message),
    ("POST", "/v3/messages/{message_id}/reactions", react),
]
