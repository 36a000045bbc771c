"""Chats: list, get, update, typing, read, sharing the contact card."""

from __future__ import annotations

from linq_emulator.domain import inbound, sending, validate
from linq_emulator.domain import mutations as changes
from linq_emulator.errors import ApiError
from linq_emulator.serializers import chat_bytes, chat_fields, page
from linq_emulator.server.endpoints import lookup as find
from linq_emulator.server.gateway import NO_CONTENT, Call, Operation, Reply, answer


def list_chats(call: Call) -> Reply:
    """GET /v3/chats."""
    world = call.world
    number, handle = call.query.get("from"), call.query.get("to")
    line = None if number is None else sending.own_line(world, number)
    if handle is not None:
        validate.handle(handle, "to")
    items, next_cursor = world.store.list_chats(line, handle).page(
        validate.limit(call.query, 20),
        call.query.get("cursor"),
        order=world.switches.chat_order,
        by=world.switches.cursor,
        empty_pages=world.switches.empty_pages,
    )
    return Reply(200, page("chats", [chat_bytes(one) for one in items], next_cursor))


def get_chat(call: Call) -> Reply:
    """GET /v3/chats/{chat_id}."""
    return answer(200, chat_fields(find.chat(call)))


def update_chat(call: Call) -> Reply:
    """PUT /v3/chats/{chat_id}: the name and icon of a group, which apply later."""
    chat = find.chat(call)
    body = call.body()
    name = validate.optional(body, "display_name", str)
    icon = validate.optional(body, "group_chat_icon", str)
    if name is None and icon is None:
        raise ApiError(1001, "display_name or group_chat_icon is required")
    if name is not None and not name.strip():
        raise ApiError(1005, "display_name must not be empty")
    if icon is not None:
        validate.https_url(icon, "group_chat_icon")
    changes.check_group(call.world, chat)
    sending.check_chat(chat)
    changes.update_group(call.world, chat, name, icon)
    return answer(call.world.switches.update_chat_status, {"chat_id": chat.id, "status": "pending"})


def typing(call: Call) -> Reply:
    """POST and DELETE /v3/chats/{chat_id}/typing: best effort, nothing of it can be read back."""
    sending.check_chat(find.chat(call))
    return NO_CONTENT


def mark_read(call: Call) -> Reply:
    """POST /v3/chats/{chat_id}/read."""
    chat = find.chat(call)
    if chat.left:
        raise ApiError(2013)
    inbound.mark_read(call.world, chat)
    return NO_CONTENT


def share_contact_card(call: Call) -> Reply:
    """POST /v3/chats/{chat_id}/share_contact_card."""
    chat = find.chat(call)
    sending.check_chat(chat)
    if chat.line.card is None:
        raise ApiError(2012)
    call.world.limits.take("share_contact_card", chat.id, call.world.now())
    return NO_CONTENT


ROUTES: list[tuple[str, str, Operation]] = [
    ("GET", "/v3/chats", list_chats),
    ("GET", "/v3/chats/{chat_id}", get_chat),
    ("PUT", "/v3/chats/{chat_id}", update_chat),
    ("POST", "/v3/chats/{chat_id}/typing", typing),
    ("DELETE", "/v3/chats/{chat_id}/typing", typing),
    ("POST", "/v3/chats/{chat_id}/read", mark_read),
    ("POST", "/v3/chats/{chat_id}/share_contact_card", share_contact_card),
]
