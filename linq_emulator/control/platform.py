"""Commands for what the platform does: delivery receipts, the state of lines and chats, and events by order."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from linq_emulator.clock import HOUR
from linq_emulator.control import lookup
from linq_emulator.control.base import Command, CommandError, Handler
from linq_emulator.domain import account_events, delivery, events, inbound, ordered_events, retention, validate
from linq_emulator.domain.models import ChatHealth, Reputation
from linq_emulator.serializers import line_fields

__all__ = ["HANDLERS"]


class Receipt(Struct, forbid_unknown_fields=True):
    """Body of POST receipts."""

    message_id: str
    status: Literal["queued", "sent", "delivered", "read", "failed"]
    code: int = delivery.DELIVERY_FAILED
    detail_code: int | None = None


def report_receipt(command: Command) -> object:
    """Report the status of an outbound message. Delivered may follow failed."""
    body = command.parse(Receipt)
    message = lookup.find_message(command, body.message_id)
    if not message.outbound:
        raise CommandError("message_id", "must be an outbound message")
    if body.status in ("delivered", "read") and not delivery.has_receipts(message):
        raise CommandError("status", "SMS and groups have no receipts")
    if body.code not in delivery.FAILURE_CODES:
        raise CommandError("code", f"must be one of {', '.join(map(str, delivery.FAILURE_CODES))}")
    delivery.set_status(command.backend, message, body.status, body.code, body.detail_code)
    return lookup.message_result(command, message)


class LineChange(Struct, forbid_unknown_fields=True):
    """Body of POST lines; a null retention_hours keeps messages."""

    phone_number: str
    ineligible: bool | None = None
    reputation: Reputation | None = None
    retention_hours: Annotated[float, Meta(ge=1, le=24)] | UnsetType | None = UNSET
    zero_retention: bool | None = None
    line_type: Literal["iMessage", "RCS"] | None = None


def change_line(command: Command) -> object:
    """Add or change a line."""
    body = command.parse(LineChange)
    backend = command.backend
    if not validate.is_phone(body.phone_number):
        raise CommandError("phone_number", "must be a phone number in E.164 format")
    is_new = body.phone_number not in backend.store.lines
    line = backend.store.add_line(body.phone_number)
    if is_new:
        account_events.emit_line_assigned(backend, line)
    before = line.reputation, line.ineligible
    line.ineligible = line.ineligible if body.ineligible is None else body.ineligible
    line.reputation = body.reputation or line.reputation
    line.line_type = body.line_type or line.line_type
    if body.zero_retention not in (None, line.zero_retention):
        line.zero_retention = not line.zero_retention
        account_events.emit_zero_retention(backend, line)
    if not isinstance(body.retention_hours, UnsetType):
        hours = body.retention_hours
        line.retention = None if hours is None else round(hours * HOUR)
        retention.schedule_next_sweep(backend)
    if before != (line.reputation, line.ineligible):
        events.emit_line_status(backend, line, before)
    return {
        **line_fields(line),
        "ineligible": line.ineligible,
        "zero_retention": line.zero_retention,
        "retention_hours": None if line.retention is None else line.retention / HOUR,
    }


class ChatChange(Struct, forbid_unknown_fields=True):
    """Body of POST chats."""

    chat_id: str
    health: ChatHealth


def change_chat(command: Command) -> object:
    """Set the health that a chat shows. It alone refuses no send."""
    body = command.parse(ChatChange)
    chat = lookup.find_chat(command, body.chat_id)
    inbound.set_health(command.backend, chat, body.health)
    return {"chat_id": chat.id, "health": chat.health}


class OrderedEvent(Struct, forbid_unknown_fields=True):
    """Body of POST events. Events that nothing here causes have an example, over which `data` is laid."""

    type: str
    data: dict[str, Any] = {}
    line: str | None = None
    chat_id: str | None = None


def order_event(command: Command) -> object:
    """Send an event of any type to its subscribers, whether or not it has happened."""
    body = command.parse(OrderedEvent)
    backend = command.backend
    if body.type not in events.EVENT_TYPES:
        raise CommandError("type", "must be one of the names of GET /v3/webhook-events")
    if not body.data and body.type not in ordered_events.UNCAUSED:
        raise CommandError("data", "is required: this event has a cause here, and thus no example")
    chat = None if body.chat_id is None else lookup.find_chat(command, body.chat_id)
    line = None if body.line is None else lookup.find_line(command, body.line)
    if chat is not None and line not in (None, chat.line):
        raise CommandError("line", "is not the line of this chat")
    return ordered_events.order(backend, body.type, body.data, chat.line if chat else line, chat)


HANDLERS: list[tuple[str, str, Handler]] = [
    ("POST", "receipts", report_receipt),
    ("POST", "lines", change_line),
    ("POST", "chats", change_chat),
    ("POST", "events", order_event),
]
