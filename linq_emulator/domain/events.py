"""Webhook events and their payloads, in both versions.

Shapes: linq-python 0.65.0 ``types/message_event_v2.py``, ``types/reaction_event_base.py`` and
``types/*_webhook_event.py``; the 2025-01-01 shape: API reference, webhooks.
"""

from __future__ import annotations

from typing import Any

from linq_emulator import serializers
from linq_emulator.backend import Backend
from linq_emulator.clock import iso, iso_or_none
from linq_emulator.domain.models import Chat, Line, Location, Message, Participant, Reaction
from linq_emulator.domain.webhooks import VERSION_2025, PayloadBuilder

__all__ = [
    "EVENT_TYPES",
    "any_version",
    "emit",
    "emit_chat_created",
    "emit_group_update_failed",
    "emit_group_updated",
    "emit_line_status",
    "emit_location",
    "emit_message",
    "emit_message_edited",
    "emit_message_failed",
    "emit_participant",
    "emit_reaction",
    "emit_typing",
]

EVENT_TYPES = (
    "message.sent", "message.received", "message.read", "message.delivered", "message.failed", "message.edited",
    "reaction.added", "reaction.removed", "poll.received", "poll.failed", "poll.sent", "poll.delivered",
    "poll.read", "poll.updated", "poll.vote.added", "poll.vote.removed", "poll.reaction.added",
    "participant.added", "participant.removed", "chat.created", "chat.group_name_updated",
    "chat.group_icon_updated", "chat.group_name_update_failed", "chat.group_icon_update_failed",
    "chat.background_updated", "chat.background_update_failed", "chat.typing_indicator.started",
    "chat.typing_indicator.stopped", "phone_number.status_updated", "phone_number.assigned",
    "phone_number.released", "contact_card.received", "call.initiated", "call.ringing", "call.answered",
    "call.ended", "call.failed", "call.declined", "call.no_answer", "location.sharing.started",
    "location.sharing.stopped", "payment.succeeded", "payment.canceled", "payment.expired", "payment.declined",
    "payment.authorized", "connection.created", "connection.revoked", "zero_day_retention.updated",
    "phone_number.forwarding_updated", "environment.line_moved", "contact_card.created", "contact_card.updated",
    "contact_card.deleted", "api_token.created", "api_token.renamed", "api_token.expiry_scheduled",
    "api_token.expired", "api_token.activated", "api_token.deleted", "environment.created",
    "environment.renamed", "environment.deleted", "webhook_subscription.created",
    "webhook_subscription.deleted", "webhook_subscription.target_url_changed", "webhook_subscription.enabled",
    "webhook_subscription.disabled", "webhook_subscription.events.updated",
    "webhook_subscription.phone_numbers.updated", "webhook_subscription.routing_headers_set",
    "webhook_subscription.routing_headers_cleared", "team_member.added", "team_member.signed_in",
    "team_member.signed_out",
)  # fmt: skip
"""linq-python 0.65.0 types/webhook_event_type.py, in the same order."""


def any_version(data: dict[str, Any]) -> PayloadBuilder:
    """The same `data` in every version of the payload."""
    return lambda version: data


def emit(
    backend: Backend, event_type: str, chat: Chat, build_payload: PayloadBuilder, trace_id: str | None = None
) -> None:
    """Emit an event of a chat; its trace id is that of the current request unless one is given."""
    trace_id = backend.trace_id if trace_id is None else trace_id
    backend.webhooks.emit(event_type, chat.line.phone_number, build_payload, trace_id, chat.id)


def _chat_context(chat: Chat) -> dict[str, Any]:
    return {**serializers.chat_reference(chat), "health_status": serializers.health_fields(chat)}


def _content(backend: Backend, message: Message) -> dict[str, Any]:
    media_url = backend.media.url
    parts = [] if message.zero_retention else message.parts
    content: dict[str, Any] = {
        "id": message.id,
        "parts": [serializers.part_fields(part, media_url, with_reactions=False) for part in parts],
        "service": message.service,
        "preferred_service": message.preferred_service or ("auto" if message.outbound else None),
        "sent_at": iso_or_none(message.sent_at),
        "delivered_at": iso_or_none(message.delivered_at),
        "read_at": iso_or_none(message.read_at),
        "effect": message.effect,
        "reply_to": serializers.reply_to_fields(message),
        "idempotency_key": message.idempotency_key,
    }
    if message.zero_retention:
        content["zero_retention"] = True
    return content


def emit_message(backend: Backend, event_type: str, message: Message) -> None:
    """Emit message.sent, message.received, message.delivered or message.read."""

    def build_payload(version: str) -> dict[str, Any]:
        chat = message.chat
        if version == VERSION_2025:
            content = _content(backend, message) | {
                "created_at": iso(message.created_at),
                "updated_at": iso(message.updated_at),
                "delivery_status": message.status,
            }
            return {
                "chat_id": chat.id,
                "is_group": chat.is_group,
                "from_handle": serializers.handle_fields(message.sender),
                "recipient_handle": serializers.handle_fields(chat.me) if not message.outbound else None,
                "is_from_me": message.outbound,
                "message": content,
                "received_at": None if message.outbound else iso(message.accepted_at),
            }
        data = _content(backend, message) | {
            "chat": _chat_context(chat),
            "direction": "outbound" if message.outbound else "inbound",
            "sender_handle": serializers.handle_fields(message.sender),
        }
        if message.reconciled_at is not None:
            data["reconciled_at"] = iso(message.reconciled_at)
        return data

    emit(backend, event_type, message.chat, build_payload, message.trace_id)


def emit_message_failed(backend: Backend, message: Message, code: int, reason: str, detail_code: int | None) -> None:
    """Emit message.failed."""
    data = {
        "code": code,
        "reason": reason,
        "failed_at": iso(backend.now()),
        "chat_id": message.chat.id,
        "message_id": message.id,
        "service": message.service,
        "preferred_service": message.preferred_service or "auto",
        "detail_code": detail_code,
    }
    emit(backend, "message.failed", message.chat, any_version(data), message.trace_id)


def emit_message_edited(backend: Backend, message: Message, part_index: int) -> None:
    """Emit message.edited, which only the newer version has.

    Of what a line without retention has sent, it lacks the text (linq-python 0.65.0
    ``types/message_edited_webhook_event.py``).
    """
    text = "" if message.zero_retention and message.outbound else message.parts[part_index].value
    data: dict[str, Any] = {
        "id": message.id,
        "chat": _chat_context(message.chat),
        "direction": "outbound" if message.outbound else "inbound",
        "edited_at": iso(backend.now()),
        "part": {"index": part_index, "text": text},
        "sender_handle": serializers.handle_fields(message.sender),
    }
    if message.zero_retention:
        data["zero_retention"] = True
    emit(backend, "message.edited", message.chat, lambda version: None if version == VERSION_2025 else data)


def emit_reaction(backend: Backend, event_type: str, message: Message, part_index: int, reaction: Reaction) -> None:
    """Emit reaction.added or reaction.removed. Of a poll it is poll.reaction.added; no event says that one is gone."""
    if message.poll is not None:
        event_type = f"poll.{event_type}"
        if event_type not in EVENT_TYPES:
            return
    fields = serializers.reaction_fields(reaction, backend.media.url)
    data = {
        "reaction_id": reaction.id,
        "reaction_type": reaction.type,
        "custom_emoji": reaction.custom_emoji,
        "sticker": fields["sticker"],
        "is_from_me": reaction.participant.is_me,
        "from": reaction.participant.handle,
        "from_handle": fields["handle"],
        "chat_id": message.chat.id,
        "message_id": message.id,
        "part_index": part_index,
        "reacted_at": iso(backend.now()),
        "service": message.service,
    }
    emit(backend, event_type, message.chat, any_version(data))


def emit_participant(backend: Backend, event_type: str, chat: Chat, participant: Participant) -> None:
    """Emit participant.added or participant.removed."""
    time_field = "added_at" if event_type == "participant.added" else "removed_at"
    data = {
        "handle": participant.handle,
        "participant": serializers.handle_fields(participant),
        "chat_id": chat.id,
        time_field: iso(backend.now()),
    }
    emit(backend, event_type, chat, any_version(data))


def emit_chat_created(backend: Backend, chat: Chat) -> None:
    """Emit chat.created."""
    data = serializers.chat_fields(chat)
    for name in ("is_archived", "group_chat_icon"):
        del data[name]
    emit(backend, "chat.created", chat, any_version(data))


def emit_group_updated(backend: Backend, field: str, chat: Chat, old: str | None, new: str | None) -> None:
    """Emit chat.group_name_updated or chat.group_icon_updated; `field` is ``name`` or ``icon``."""
    data = {
        "chat_id": chat.id,
        "updated_at": iso(backend.now()),
        "changed_by_handle": serializers.handle_fields(chat.me),
        "old_value": old,
        "new_value": new,
    }
    emit(backend, f"chat.group_{field}_updated", chat, any_version(data))


def emit_group_update_failed(backend: Backend, field: str, chat: Chat) -> None:
    """Emit chat.group_name_update_failed or chat.group_icon_update_failed."""
    data = {"chat_id": chat.id, "error_code": 4001, "failed_at": iso(backend.now())}
    emit(backend, f"chat.group_{field}_update_failed", chat, any_version(data))


def emit_typing(backend: Backend, chat: Chat, participant: Participant, started: bool) -> None:
    """Emit chat.typing_indicator.started or .stopped for another participant."""
    name = "chat.typing_indicator.started" if started else "chat.typing_indicator.stopped"
    data = {"chat_id": chat.id, "actor_handle": serializers.handle_fields(participant)}
    emit(backend, name, chat, any_version(data))


def emit_line_status(backend: Backend, line: Line, before: tuple[str, bool]) -> None:
    """Emit phone_number.status_updated; `before` has the earlier reputation and whether it was ineligible."""
    data = {
        "phone_number": line.phone_number,
        "previous_status": "FLAGGED" if before[1] else "ACTIVE",
        "new_status": "FLAGGED" if line.ineligible else "ACTIVE",
        "previous_reputation": before[0],
        "new_reputation": line.reputation,
        "changed_at": iso(backend.now()),
    }
    name = "phone_number.status_updated"
    backend.webhooks.emit(name, line.phone_number, any_version(data), backend.trace_id)


def emit_location(backend: Backend, line: Line, handle: str, location: Location, *, started: bool) -> None:
    """Emit location.sharing.started or location.sharing.stopped."""
    data: dict[str, Any] = {
        "shared_by": handle,
        "shared_with": line.phone_number,
        "chat_id": location.chat_id,
        "began_at": iso(location.began_at),
    }
    if started:
        data["ends_at"] = None
    else:
        data["ended_at"] = iso(backend.now())
    name = "location.sharing.started" if started else "location.sharing.stopped"
    backend.webhooks.emit(name, line.phone_number, any_version(data), backend.trace_id)
