"""Messages after they were accepted: list, get, edit, delete, thread, reactions."""

from __future__ import annotations

from typing import Any

from linq_emulator.domain import mutations as changes
from linq_emulator.domain import sending, validate
from linq_emulator.domain.content import MAX_TEXT
from linq_emulator.domain.media import CONTENT_TYPES
from linq_emulator.domain.models import IMESSAGE, Attachment, Message, Reaction
from linq_emulator.errors import ApiError
from linq_emulator.serializers import encode, message_fields
from linq_emulator.server.endpoints import lookup as find
from linq_emulator.server.gateway import NO_CONTENT, Call, Operation, Reply, answer

TAPBACKS = ("love", "like", "dislike", "laugh", "emphasize", "question", "custom")
STICKER = "sticker"


def list_messages(call: Call) -> Reply:
    """GET /v3/chats/{chat_id}/messages."""
    chat = find.chat(call)
    switches = call.world.switches
    items, next_cursor = chat.messages.page(
        validate.limit(call.query, 50),
        call.query.get("cursor"),
        order=switches.message_order,
        by=switches.cursor,
        empty_pages=switches.empty_pages,
    )
    return Reply(200, find.messages_page(call, items, next_cursor))


def get_message(call: Call) -> Reply:
    """GET /v3/messages/{message_id}."""
    return Reply(200, _shown(call, find.message(call)))


def _shown(call: Call, message: Message) -> bytes:
    return encode(message_fields(message, call.world.media.url))


def get_thread(call: Call) -> Reply:
    """GET /v3/messages/{message_id}/thread."""
    message = find.message(call)
    order = validate.one_of(call.query.get("order", "asc"), ("asc", "desc"), "order")
    # Its documented example cursor holds an id and a time.
    items, next_cursor = call.world.store.thread(message).page(
        validate.limit(call.query, 50),
        call.query.get("cursor"),
        order="oldest" if order == "asc" else "newest",
        by="key",
    )
    return Reply(200, find.messages_page(call, items, next_cursor))


def edit_message(call: Call) -> Reply:
    """PATCH /v3/messages/{message_id}."""
    message = find.message(call)
    body = call.body()
    text = validate.text_of(validate.required(body, "text", str), "text", MAX_TEXT)
    part_index = validate.optional(body, "part_index", int) or 0
    sending.check_chat(message.chat)
    changes.check_edit(call.world, message, part_index)
    changes.edit(call.world, message, part_index, text)
    return Reply(call.world.switches.edit_status, _shown(call, message))


def delete_message(call: Call) -> Reply:
    """DELETE /v3/messages/{message_id}: the record goes, the recipient keeps the message."""
    message = find.message(call)
    message.deleted_at = call.world.now()
    call.world.store.remove_message(message)
    return NO_CONTENT


def react(call: Call) -> Reply:
    """POST /v3/messages/{message_id}/reactions."""
    message = find.message(call)
    body = call.body()
    operation = validate.one_of(validate.required(body, "operation", str), ("add", "remove"), "operation")
    kind = validate.one_of(validate.required(body, "type", str), (*TAPBACKS, STICKER), "type")
    emoji = validate.required(body, "custom_emoji", str) if kind == "custom" else None
    part_index = validate.optional(body, "part_index", int) or 0
    if not 0 <= part_index < len(message.parts):
        raise ApiError(1005, "part_index is not a part of this message")
    sticker = _sticker(call, body) if kind == STICKER else None
    if kind == STICKER and operation == "remove":
        raise ApiError(1005, "a sticker cannot be removed")
    sending.check_chat(message.chat)
    if kind == STICKER and message.service != IMESSAGE:
        raise ApiError(2017, "stickers need iMessage")
    me = message.chat.me
    if operation == "add":
        given = Reaction(call.world.store.new_id(), me, kind, emoji, sticker)
        changes.react(call.world, message, part_index, given)
    else:
        changes.unreact(call.world, message, part_index, me, kind, emoji)
    accepted = {"status": "accepted", "message": "Reaction processed", "trace_id": call.trace_id}
    return answer(call.world.switches.reaction_status, accepted)


def _sticker(call: Call, body: dict[str, Any]) -> Attachment:
    sources = [name for name in ("emoji", "url", "attachment_id") if body.get(name) is not None]
    if len(sources) != 1:
        raise ApiError(1005, "a sticker takes emoji, url or attachment_id: one of them")
    world = call.world
    if sources[0] == "emoji":
        # An emoji is drawn into an image; a placeholder stands for it.
        return world.media.of_url(world.store, "https://emoji.invalid/emoji.png", CONTENT_TYPES, world.now())
    if sources[0] == "url" and world.media.own(world.store, validate.required(body, "url", str)) is None:
        raise ApiError(1005, "url must be the download_url of an attachment")
    return world.content.file(body, "url", "", CONTENT_TYPES)


ROUTES: list[tuple[str, str, Operation]] = [
    ("GET", "/v3/chats/{chat_id}/messages", list_messages),
    ("GET", "/v3/messages/{message_id}", get_message),
    ("GET", "/v3/messages/{message_id}/thread", get_thread),
    ("PATCH", "/v3/messages/{message_id}", edit_message),
    ("DELETE", "/v3/messages/{message_id}", delete_message),
    ("POST", "/v3/messages/{message_id}/reactions", react),
]
