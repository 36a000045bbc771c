"""The three ways to send a message, and voice memos."""

from __future__ import annotations

from typing import Any

from linq_emulator import serializers
from linq_emulator.clock import iso
from linq_emulator.domain import content, routing, sending, validate
from linq_emulator.domain.media import MAX_BY_URL, VOICE_TYPES
from linq_emulator.domain.models import Chat, Draft, Message, Part
from linq_emulator.errors import ApiError
from linq_emulator.schemas import requests, responses
from linq_emulator.server.endpoints import lookup
from linq_emulator.server.gateway import Request, Response, json_response
from linq_emulator.server.route import CONTENT, SENDING, Route

__all__ = ["ROUTES"]


def _override_optout(body: dict[str, Any]) -> bool:
    return bool(validate.optional(body, "override_optout", bool))


def _sent_message(request: Request, message: Message) -> dict[str, Any]:
    return serializers.sent_message_fields(message, request.backend.media.url)


def create_chat(request: Request) -> Response:
    """POST /v3/chats: sends into the chat of a line and a set of handles, which is added if there is none."""
    backend = request.backend
    body = request.json()
    line = sending.own_line(backend, validate.required(body, "from", str))
    recipients = validate.recipients(body)
    if line.phone_number in recipients:
        raise ApiError(1005, "to must not hold the line itself")
    draft = backend.message_parser.parse(validate.required(body, "message", dict))
    override_optout = _override_optout(body)

    def accept() -> tuple[Message, dict[str, Any]]:
        chat = backend.store.find_chat(line, recipients)
        if chat is None:
            _check_first_message(draft)
        sending.check_draft(backend, chat, draft, len(recipients) > 1)
        sending.check_recipients(backend, line, recipients, override_optout)
        target = chat or sending.add_chat(backend, line, recipients, draft)
        message = sending.send(backend, target, draft, override_optout=override_optout, is_new_chat=chat is None)
        return message, _create_chat_body(request, target, message)

    scope = sending.idempotency_scope(backend, line, recipients)
    return Response(
        *sending.run_idempotent(
            backend,
            scope,
            draft.idempotency_key,
            "chat",
            201,
            accept,
            lambda message: _create_chat_body(request, message.chat, message),
        )
    )


def _check_first_message(draft: Draft) -> None:
    if content.has_url(draft):
        raise ApiError(1005, "the first message of a new chat must not hold a link or a URL")
    if draft.reply_to is not None or draft.effect is not None:
        raise ApiError(1005, "the first message of a new chat must have neither reply_to nor effect")


def _create_chat_body(request: Request, chat: Chat, message: Message) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "id": chat.id,
        "display_name": serializers.display_name(chat),
        "service": chat.service,
        "is_group": chat.is_group,
        "handles": serializers.chat_handles(chat),
        "health_status": serializers.health_fields(chat),
    }
    body: dict[str, Any] = {"chat": fields}
    position = request.backend.switches.create_chat_message
    if position in ("inside", "both"):
        fields["message"] = _sent_message(request, message)
    if position in ("beside", "both"):
        body["message"] = _sent_message(request, message)
    return body


def send_to_chat(request: Request) -> Response:
    """POST /v3/chats/{chat_id}/messages."""
    backend = request.backend
    chat = lookup.find_chat(request)
    body = request.json()
    draft = backend.message_parser.parse(validate.required(body, "message", dict))
    override_optout = _override_optout(body)

    def describe(message: Message) -> dict[str, Any]:
        return {"chat_id": message.chat.id, "message": _sent_message(request, message)}

    def accept() -> tuple[Message, dict[str, Any]]:
        message = sending.send_into(backend, chat, draft, override_optout=override_optout)
        return message, describe(message)

    scope = sending.idempotency_scope(backend, chat.line, chat.recipients())
    key = draft.idempotency_key
    return Response(*sending.run_idempotent(backend, scope, key, "message", 202, accept, describe))


def send_without_line(request: Request) -> Response:
    """POST /v3/messages: has no ``from``, so that the platform chooses the line and the chat."""
    backend = request.backend
    body = request.json()
    recipients = validate.recipients(body)
    draft = backend.message_parser.parse(validate.required(body, "message", dict))
    exclude_from = validate.optional(body, "exclude_from", list) or []
    excluded = {validate.phone(number, f"exclude_from[{index}]") for index, number in enumerate(exclude_from)}
    override_optout = _override_optout(body)
    continuation = _continuation(request, body)
    header = request.headers.get("idempotency-key")
    if header is not None:
        draft.idempotency_key = validate.idempotency_key(header, "Idempotency-Key")

    def accept() -> tuple[Message, dict[str, Any]]:
        route = routing.choose_route(backend, recipients, excluded)
        chosen = draft
        if route.previous is not None and continuation is not None:
            chosen = continuation
            chosen.idempotency_key = draft.idempotency_key
        sending.check_draft(backend, route.chat, chosen, len(recipients) > 1)
        sending.check_recipients(backend, route.line, recipients, override_optout)
        chat = route.chat or sending.add_chat(backend, route.line, recipients, chosen)
        message = sending.send(backend, chat, chosen, override_optout=override_optout, is_new_chat=route.chat is None)
        return message, _send_body(request, route, chat, message)

    def describe(message: Message) -> dict[str, Any]:
        route = routing.Route(message.chat.line, message.chat, "reused_active_chat")
        return _send_body(request, route, message.chat, message)

    key = draft.idempotency_key
    scope = _scope_without_line(request, recipients, excluded, key)
    return Response(*sending.run_idempotent(backend, scope, key, "routed message", 202, accept, describe))


def _scope_without_line(request: Request, recipients: tuple[str, ...], excluded: set[str], key: str | None) -> str:
    if key is None or request.backend.switches.idempotency_scope == "account":
        return ""
    # The scope is that of the line that this send gets.
    route = routing.choose_route(request.backend, recipients, excluded)
    return sending.idempotency_scope(request.backend, route.line, recipients)


def _continuation(request: Request, body: dict[str, Any]) -> Draft | None:
    raw = validate.optional(body, "continuation_message", dict)
    if raw is None:
        return None
    text = validate.required(raw, "text", str, "continuation_message.")
    return Draft([Part("text", validate.non_empty_text(text, "continuation_message.text", content.MAX_TEXT))])


def _send_body(request: Request, route: routing.Route, chat: Chat, message: Message) -> dict[str, Any]:
    fields = {
        "chat_id": chat.id,
        "created_new_chat": route.chat is None,
        "from": chat.line.phone_number,
        "from_selection": {"reason": route.reason, "reused_existing_chat": route.chat is not None},
        "handles": serializers.chat_handles(chat),
        "is_group": chat.is_group,
        "service": chat.service,
        "message": _sent_message(request, message),
    }
    if route.previous is not None:
        fields["previous_chat_id"] = route.previous.id
    return fields


def send_voice_memo(request: Request) -> Response:
    """POST /v3/chats/{chat_id}/voicememo."""
    backend = request.backend
    chat = lookup.find_chat(request)
    body = request.json()
    memo = backend.message_parser.file(body, "voice_memo_url", "", VOICE_TYPES)
    if memo.size_bytes > MAX_BY_URL:
        raise ApiError(5001, f"a voice memo has at most {MAX_BY_URL} bytes")
    override_optout = _override_optout(body)
    draft = Draft([Part("media", attachment=memo)])
    message = sending.send_into(backend, chat, draft, override_optout=override_optout)
    fields = {
        "id": message.id,
        "from": chat.line.phone_number,
        "to": list(message.to),
        "status": message.status,
        "service": message.service,
        "created_at": iso(message.created_at),
        "voice_memo": {
            "id": memo.id,
            "url": backend.media.url(memo),
            "filename": memo.filename,
            "mime_type": memo.content_type,
            "size_bytes": memo.size_bytes,
            "duration_ms": None,
        },
        "chat": {
            "id": chat.id,
            "handles": serializers.chat_handles(chat),
            "is_group": chat.is_group,
            "service": chat.service,
            "is_active": True,
        },
    }
    return json_response(202, {"voice_memo": fields})


ROUTES = (
    Route(
        "POST",
        "/v3/chats/{chat_id}/messages",
        send_to_chat,
        response=responses.SentToChat,
        status=202,
        refusals=(2001, *CONTENT, *SENDING),
        body=requests.SendMessage,
    ),
    Route(
        "POST",
        "/v3/messages",
        send_without_line,
        response=responses.RoutedMessage,
        status=202,
        refusals=(1002, *CONTENT, *SENDING),
        body=requests.SendWithoutLine,
        headers=requests.IdempotencyHeader,
    ),
    Route(
        "POST",
        "/v3/chats",
        create_chat,
        response=responses.CreatedChat,
        status=201,
        refusals=(1002, 2006, *CONTENT, *SENDING),
        body=requests.CreateChat,
    ),
    Route(
        "POST",
        "/v3/chats/{chat_id}/voicememo",
        send_voice_memo,
        response=responses.VoiceMemoSent,
        status=202,
        refusals=(1004, 2001, 2003, 2007, 5001, 5004, *SENDING),
        body=requests.SendVoiceMemo,
    ),
)
