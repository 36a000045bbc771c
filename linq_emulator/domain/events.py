"""The payloads of webhook events, in both versions.

Shapes: linq-python 0.65.0 ``types/message_event_v2.py``, ``types/reaction_event_base.py`` and
``types/*_webhook_event.py``; the 2025-01-01 shape: API reference, webhooks.
"""

from __future__ import annotations

from typing import Any

from linq_emulator import serializers as wire
from linq_emulator.backend import World
from linq_emulator.clock import iso, iso_or_none
from linq_emulator.domain.models import Chat, Line, Location, Message, Participant, Reaction
from linq_emulator.domain.webhooks import VERSION_2025, Build

NAMES = (
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
"""linq-python 0.65.0 types/webhook_event_type.py, in its order."""


def _always(data: dict[str, Any]) -> Build:
    return lambda version: data


def _emit(world: World, event_type: str, chat: Chat, build: Build, trace_id: str | None = None) -> None:
    trace = world.trace_id if trace_id is None else trace_id
    world.webhooks.emit(event_type, chat.line.phone_number, build, trace, chat.id)


def _chat_context(chat: Chat) -> dict[str, Any]:
    return {
        "id": chat.id,
        "is_group": chat.is_group,
        "owner_handle": wire.handle(chat.me),
        "health_status": wire.health(chat),
    }


def _content(world: World, message: Message) -> dict[str, Any]:
    return {
        "id": message.id,
        "parts": [wire.part(one, world.media.url, reactions=False) for one in message.parts],
        "service": message.service,
        "preferred_service": message.preferred_service or ("auto" if message.outbound else None),
        "sent_at": iso_or_none(message.sent_at),
        "delivered_at": iso_or_none(message.delivered_at),
        "read_at": iso_or_none(message.read_at),
        "effect": message.effect,
        "reply_to": wire.reply_to(message),
        "idempotency_key": message.idempotency_key,
    }


def message(world: World, event_type: str, item: Message) -> None:
    """message.sent, message.received, message.delivered or message.read."""

    def build(version: str) -> dict[str, Any]:
        chat = item.chat
        if version == VERSION_2025:
            content = _content(world, item) | {
                "created_at": iso(item.created_at),
                "updated_at": iso(item.updated_at),
                "delivery_status": item.status,
            }
            return {
                "chat_id": chat.id,
                "is_group": chat.is_group,
                "from_handle": wire.handle(item.sender),
                "recipient_handle": wire.handle(chat.me) if not item.outbound else None,
                "is_from_me": item.outbound,
                "message": content,
                "received_at": None if item.outbound else iso(item.accepted_at),
            }
        data = _content(world, item) | {
            "chat": _chat_context(chat),
            "direction": "outbound" if item.outbound else "inbound",
            "sender_handle": wire.handle(item.sender),
        }
        if item.reconciled_at is not None:
            data["reconciled_at"] = iso(item.reconciled_at)
        return data

    _emit(world, event_type, item.chat, build, item.trace_id)


def message_failed(world: World, item: Message, code: int, reason: str) -> None:
    """message.failed."""
    data = {
        "code": code,
        "reason": reason,
        "failed_at": iso(world.now()),
        "chat_id": item.chat.id,
        "message_id": item.id,
        "service": item.service,
        "preferred_service": item.preferred_service or "auto",
    }
    _emit(world, "message.failed", item.chat, _always(data), item.trace_id)


def message_edited(world: World, item: Message, part_index: int) -> None:
    """message.edited, which only exists in the newer version."""
    data = {
        "id": item.id,
        "chat": _chat_context(item.chat),
        "direction": "outbound" if item.outbound else "inbound",
        "edited_at": iso(world.now()),
        "part": {"index": part_index, "text": item.parts[part_index].value},
        "sender_handle": wire.handle(item.sender),
    }
    _emit(world, "message.edited", item.chat, lambda version: None if version == VERSION_2025 else data)


def reaction(world: World, event_type: str, item: Message, part_index: int, given: Reaction) -> None:
    """reaction.added or reaction.removed."""
    shown = wire.reaction(given, world.media.url)
    data = {
        "reaction_id": given.id,
        "reaction_type": given.type,
        "custom_emoji": given.custom_emoji,
        "sticker": shown["sticker"],
        "is_from_me": given.participant.is_me,
        "from": given.participant.handle,
        "from_handle": shown["handle"],
        "chat_id": item.chat.id,
        "message_id": item.id,
        "part_index": part_index,
        "reacted_at": iso(world.now()),
        "service": item.service,
    }
    _emit(world, event_type, item.chat, _always(data))


def participant(world: World, event_type: str, chat: Chat, who: Participant) -> None:
    """participant.added or participant.removed."""
    stamp = "added_at" if event_type == "participant.added" else "removed_at"
    data = {
        "handle": who.handle,
        "participant": wire.handle(who),
        "chat_id": chat.id,
        stamp: iso(world.now()),
    }
    _emit(world, event_type, chat, _always(data))


def chat_created(world: World, chat: Chat) -> None:
    """chat.created."""
    _emit(world, "chat.created", chat, _always(wire.chat_fields(chat)))


def group_updated(world: World, field: str, chat: Chat, old: str | None, new: str | None) -> None:
    """chat.group_name_updated or chat.group_icon_updated; `field` is ``name`` or ``icon``."""
    data = {
        "chat_id": chat.id,
        "updated_at": iso(world.now()),
        "changed_by_handle": wire.handle(chat.me),
        "old_value": old,
        "new_value": new,
    }
    _emit(world, f"chat.group_{field}_updated", chat, _always(data))


def group_update_failed(world: World, field: str, chat: Chat) -> None:
    """chat.group_name_update_failed or chat.group_icon_update_failed."""
    data = {"chat_id": chat.id, "error_code": 4001, "failed_at": iso(world.now())}
    _emit(world, f"chat.group_{field}_update_failed", chat, _always(data))


def typing(world: World, chat: Chat, who: Participant, started: bool) -> None:
    """chat.typing_indicator.started or .stopped, of somebody else."""
    name = "chat.typing_indicator.started" if started else "chat.typing_indicator.stopped"
    _emit(world, name, chat, _always({"chat_id": chat.id, "actor_handle": wire.handle(who)}))


def line_status(world: World, line: Line, before: tuple[str, bool]) -> None:
    """phone_number.status_updated, from the reputation and ineligibility that a line had before."""
    data = {
        "phone_number": line.phone_number,
        "previous_status": "FLAGGED" if before[1] else "ACTIVE",
        "new_status": "FLAGGED" if line.ineligible else "ACTIVE",
        "previous_reputation": before[0],
        "new_reputation": line.reputation,
        "changed_at": iso(world.now()),
    }
    world.webhooks.emit("phone_number.status_updated", line.phone_number, _always(data), world.trace_id)


def location(world: World, line: Line, handle: str, shared: Location, *, started: bool) -> None:
    """location.sharing.started or location.sharing.stopped."""
    data: dict[str, Any] = {
        "shared_by": handle,
        "shared_with": line.phone_number,
        "chat_id": shared.chat_id,
        "began_at": iso(shared.began_at),
    }
    if started:
        data["ends_at"] = None
    else:
        data["ended_at"] = iso(world.now())
    name = "location.sharing.started" if started else "location.sharing.stopped"
    world.webhooks.emit(name, line.phone_number, _always(data), world.trace_id)
