"""The three ways to send a message, and voice memos."""

from __future__ import annotations

from typing import Any

from linq_emulator import serializers as wire
from linq_emulator.clock import iso
from linq_emulator.domain import content, routing, sending, validate
from linq_emulator.domain.media import MAX_BY_URL, VOICE_TYPES
from linq_emulator.domain.models import Chat, Draft, Message, Part
from linq_emulator.errors import ApiError
from linq_emulator.server.endpoints import lookup as find
from linq_emulator.server.gateway import Call, Operation, Reply, answer


def _override(body: dict[str, Any]) -> bool:
    return bool(validate.optional(body, "override_optout", bool))


def _sent(call: Call, message: Message) -> dict[str, Any]:
    return wire.sent_message(message, call.world.media.url)


def create_chat(call: Call) -> Reply:
    """POST /v3/chats: reuse or make a chat of a line and a set of handles, and send into it."""
    world = call.world
    body = call.body()
    line = sending.own_line(world, validate.required(body, "from", str))
    recipients = validate.recipients(body)
    if line.phone_number in recipients:
        raise ApiError(1005, "to must not hold the line itself")
    draft = world.content.read(validate.required(body, "message", dict))
    override = _override(body)

    def accept() -> tuple[Message, dict[str, Any]]:
        chat = world.store.find_chat(line, recipients)
        if chat is None:
            _check_first(draft)
        sending.check_draft(world, chat, draft, len(recipients) > 1)
        sending.check_recipients(world, line, recipients, override)
        target = chat or sending.open_chat(world, line, recipients, draft)
        message = sending.send(world, target, draft, override_optout=override, first=chat is None)
        return message, _created(call, target, message)

    scope = sending.scope_of(world, line, recipients)
    return Reply(*sending.once(world, scope, draft.idempotency_key, 201, accept))


def _check_first(draft: Draft) -> None:
    if content.has_url(draft):
        raise ApiError(1005, "the first message of a new chat must not hold a link or a URL")
    if draft.reply_to is not None or draft.effect is not None:
        raise ApiError(1005, "the first message of a new chat must have neither reply_to nor effect")


def _created(call: Call, chat: Chat, message: Message) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": chat.id,
        "display_name": wire.display_name(chat),
        "service": chat.service,
        "is_group": chat.is_group,
        "handles": wire.handles(chat),
        "health_status": wire.health(chat),
    }
    body: dict[str, Any] = {"chat": shown}
    place = call.world.switches.create_chat_message
    if place in ("inside", "both"):
        shown["message"] = _sent(call, message)
    if place in ("beside", "both"):
        body["message"] = _sent(call, message)
    return body


def send_to_chat(call: Call) -> Reply:
    """POST /v3/chats/{chat_id}/messages."""
    world = call.world
    chat = find.chat(call)
    body = call.body()
    draft = world.content.read(validate.required(body, "message", dict))
    override = _override(body)

    def accept() -> tuple[Message, dict[str, Any]]:
        sending.check_chat(chat)
        sending.check_draft(world, chat, draft, chat.is_group)
        sending.check_recipients(world, chat.line, _handles(chat), override)
        message = sending.send(world, chat, draft, override_optout=override)
        return message, {"chat_id": chat.id, "message": _sent(call, message)}

    scope = sending.scope_of(world, chat.line, _handles(chat))
    return Reply(*sending.once(world, scope, draft.idempotency_key, 202, accept))


def _handles(chat: Chat) -> list[str]:
    return [other.handle for other in chat.active()]


def send_anywhere(call: Call) -> Reply:
    """POST /v3/messages: no ``from``; the line and the chat are chosen here."""
    world = call.world
    body = call.body()
    recipients = validate.recipients(body)
    draft = world.content.read(validate.required(body, "message", dict))
    listed = validate.optional(body, "exclude_from", list) or []
    excluded = {validate.phone(one, f"exclude_from[{index}]") for index, one in enumerate(listed)}
    override = _override(body)
    continuation = _continuation(call, body)
    key = call.headers.get("idempotency-key")
    if key is not None:
        draft.idempotency_key = validate.idempotency_key(key, "Idempotency-Key")

    def accept() -> tuple[Message, dict[str, Any]]:
        route = routing.route(world, recipients, excluded)
        said = draft
        if route.previous is not None and continuation is not None:
            said = continuation
            said.idempotency_key = draft.idempotency_key
        sending.check_draft(world, route.chat, said, len(recipients) > 1)
        sending.check_recipients(world, route.line, recipients, override)
        chat = route.chat or sending.open_chat(world, route.line, recipients, said)
        message = sending.send(world, chat, said, override_optout=override, first=route.chat is None)
        return message, _routed(call, route, chat, message)

    scope = _scope_anywhere(call, recipients, excluded, draft.idempotency_key)
    return Reply(*sending.once(world, scope, draft.idempotency_key, 202, accept))


def _scope_anywhere(call: Call, recipients: tuple[str, ...], excluded: set[str], key: str | None) -> str:
    if key is None or call.world.switches.idempotency_scope == "account":
        return ""
    # Line and chat are those that this send gets.
    return sending.scope_of(call.world, routing.route(call.world, recipients, excluded).line, recipients)


def _continuation(call: Call, body: dict[str, Any]) -> Draft | None:
    raw = validate.optional(body, "continuation_message", dict)
    if raw is None:
        return None
    text = validate.required(raw, "text", str, "continuation_message.")
    return Draft([Part("text", validate.text_of(text, "continuation_message.text", content.MAX_TEXT))])


def _routed(call: Call, route: routing.Route, chat: Chat, message: Message) -> dict[str, Any]:
    shown = {
        "chat_id": chat.id,
        "created_new_chat": route.chat is None,
        "from": chat.line.phone_number,
        "from_selection": {"reason": route.reason, "reused_existing_chat": route.chat is not None},
        "handles": wire.handles(chat),
        "is_group": chat.is_group,
        "service": chat.service,
        "message": _sent(call, message),
    }
    if route.previous is not None:
        shown["previous_chat_id"] = route.previous.id
    return shown


def send_voice_memo(call: Call) -> Reply:
    """POST /v3/chats/{chat_id}/voicememo."""
    world = call.world
    chat = find.chat(call)
    body = call.body()
    memo = world.content.file(body, "voice_memo_url", "", VOICE_TYPES)
    if memo.size_bytes > MAX_BY_URL:
        raise ApiError(5001, f"a voice memo has at most {MAX_BY_URL} bytes")
    override = _override(body)
    sending.check_chat(chat)
    sending.check_recipients(world, chat.line, _handles(chat), override)
    message = sending.send(world, chat, Draft([Part("media", attachment=memo)]), override_optout=override)
    shown = {
        "id": message.id,
        "from": chat.line.phone_number,
        "to": list(message.to),
        "status": message.status,
        "service": message.service,
        "created_at": iso(message.created_at),
        "voice_memo": {
            "id": memo.id,
            "url": world.media.url(memo),
            "filename": memo.filename,
            "mime_type": memo.content_type,
            "size_bytes": memo.size_bytes,
            "duration_ms": None,
        },
        "chat": {
            "id": chat.id,
            "handles": wire.handles(chat),
            "is_group": chat.is_group,
            "service": chat.service,
            "is_active": True,
        },
    }
    return answer(202, {"voice_memo": shown})


ROUTES: list[tuple[str, str, Operation]] = [
    ("POST", "/v3/chats/{chat_id}/messages", send_to_chat),
    ("POST", "/v3/messages", send_anywhere),
    ("POST", "/v3/chats", create_chat),
    ("POST", "/v3/chats/{chat_id}/voicememo", send_voice_memo),
]
