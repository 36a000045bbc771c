"""Orders about the world outside: what contacts do, what devices report, and the state of lines."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from linq_emulator.clock import HOUR
from linq_emulator.control.base import ControlError, Operation, Order, moment
from linq_emulator.domain import delivery, events, inbound, retention, validate
from linq_emulator.domain import mutations as changes
from linq_emulator.domain.models import Block, Chat, Line, Location, Message, Participant, Reaction
from linq_emulator.serializers import line as line_fields
from linq_emulator.serializers import message_fields
from linq_emulator.server.endpoints.location import share
from linq_emulator.server.endpoints.messages import TAPBACKS

Service = Literal["iMessage", "RCS", "SMS"]
Health = Literal["HEALTHY", "AT_RISK", "CRITICAL", "OPTED_OUT"]
Reputation = Literal["HEALTHY", "AT_RISK", "CRITICAL"]


def _line(order: Order, number: str) -> Line:
    line = order.world.store.lines.get(number)
    if line is None:
        raise ControlError("line", f"{number} is not a line of this emulator", 404)
    return line


def _chat(order: Order, chat_id: str) -> Chat:
    chat = order.world.store.chats.get(chat_id)
    if chat is None:
        raise ControlError("chat_id", "there is no such chat", 404)
    return chat


def _message(order: Order, message_id: str, field: str = "message_id") -> Message:
    message = order.world.store.messages.get(message_id)
    if message is None:
        raise ControlError(field, "there is no such message, or it is deleted or expired", 404)
    return message


def _participant(chat: Chat, handle: str) -> Participant:
    who = chat.participant(handle)
    if who is None:
        raise ControlError("from", "is not a participant of this chat")
    return who


def _handle(text: str, field: str) -> str:
    if not validate.is_handle(text):
        raise ControlError(field, "must be an E.164 phone number or an e-mail address")
    return text


def _shown(order: Order, message: Message) -> dict[str, Any]:
    return message_fields(message, order.world.media.url)


class Inbound(Struct, forbid_unknown_fields=True):
    """Body of POST inbound."""

    sender: str = msgspec.field(name="from")
    line: str | None = None
    text: str | None = None
    parts: list[dict[str, Any]] | None = None
    chat_id: str | None = None
    sent_at: str | None = None
    reconciled: bool = False
    service: Service | None = None
    reply_to: str | None = None


def receive(order: Order) -> object:
    """A message from outside; answers with the message, or with dropped for a blocked sender."""
    body = order.read(Inbound)
    world = order.world
    handle = _handle(body.sender, "from")
    if (body.text is None) == (body.parts is None):
        raise ControlError("text", "give text or parts: one of them")
    if (body.line is None) == (body.chat_id is None):
        raise ControlError("line", "give line, or chat_id instead")
    sent_at = None if body.sent_at is None else moment(body.sent_at, "sent_at")
    if sent_at is not None and sent_at > world.now():
        raise ControlError("sent_at", "must not lie in the future")
    parts: list[dict[str, Any]] = body.parts or [{"type": "text", "value": body.text}]
    draft = world.content.read({"parts": parts})
    if handle in world.store.blocks:
        return {"dropped": True}
    if body.chat_id is not None:
        chat = _chat(order, body.chat_id)
        if chat.left:
            raise ControlError("chat_id", "the line has left this chat")
    else:
        chat = inbound.chat_for(world, _line(order, body.line or ""), handle, body.service)
    message = inbound.receive(
        world,
        chat,
        _participant(chat, handle),
        draft.parts,
        service=body.service,
        reply_to=None if body.reply_to is None else _message(order, body.reply_to, "reply_to"),
        sent_at=sent_at,
        reconciled=body.reconciled,
    )
    return _shown(order, message)


class Receipt(Struct, forbid_unknown_fields=True):
    """Body of POST receipts."""

    message_id: str
    status: Literal["queued", "sent", "delivered", "read", "failed"]
    code: int = delivery.DELIVERY_FAILED


def report(order: Order) -> object:
    """A device's report about an outbound message; delivered may follow failed."""
    body = order.read(Receipt)
    message = _message(order, body.message_id)
    if not message.outbound:
        raise ControlError("message_id", "must be an outbound message")
    if body.status in ("delivered", "read") and not delivery.has_receipts(message):
        raise ControlError("status", "SMS and groups have no receipts")
    if body.code not in delivery.FAILURE_CODES:
        raise ControlError("code", f"must be one of {', '.join(map(str, delivery.FAILURE_CODES))}")
    delivery.set_status(order.world, message, body.status, body.code)
    return _shown(order, message)


class Place(Struct, forbid_unknown_fields=True):
    """Where somebody is, in degrees and metres."""

    longitude: Annotated[float, Meta(ge=-180, le=180)]
    latitude: Annotated[float, Meta(ge=-90, le=90)]
    altitude: float | None = None
    address: str | None = None
    locality: str | None = None


class HandleChange(Struct, forbid_unknown_fields=True):
    """Body of POST handles; a null location ends the share."""

    handle: str
    services: list[Service] | None = None
    opted_out: bool | None = None
    blocked: bool | None = None
    location: Place | UnsetType | None = UNSET


def change_handle(order: Order) -> object:
    """What a contact can be reached by, whether it has opted out, is blocked, and where it is."""
    body = order.read(HandleChange)
    store, now = order.world.store, order.world.now()
    contact = store.contact(_handle(body.handle, "handle"))
    if body.services is not None:
        contact.services = tuple(body.services)
    if body.opted_out is not None:
        contact.opted_out = body.opted_out
    if body.blocked:
        store.blocks.setdefault(contact.handle, Block(contact.handle, now, None))
    elif body.blocked is False:
        store.blocks.pop(contact.handle, None)
    if not isinstance(body.location, UnsetType):
        _share(order, contact.handle, body.location)
    return {
        "handle": contact.handle,
        "services": contact.services,
        "opted_out": contact.opted_out,
        "blocked": contact.handle in store.blocks,
        "shares_location": contact.location is not None,
    }


def _share(order: Order, handle: str, place: Place | None) -> None:
    store, now = order.world.store, order.world.now()
    chats = sorted(store.chats_with(handle), key=lambda one: (one.is_group, -one.last_activity))
    chat = chats[0] if chats else None
    line = chat.line if chat else next(iter(store.lines.values()))
    shared = None
    if place is not None:
        shared = Location(
            place.longitude, place.latitude, place.altitude, place.address, place.locality, now, now, None
        )
    share(order.world, line, handle, shared, chat)


class LineChange(Struct, forbid_unknown_fields=True):
    """Body of POST lines; a null retention_hours keeps messages."""

    phone_number: str
    ineligible: bool | None = None
    reputation: Reputation | None = None
    retention_hours: Annotated[float, Meta(ge=1, le=24)] | UnsetType | None = UNSET
    line_type: Literal["iMessage", "RCS"] | None = None


def change_line(order: Order) -> object:
    """Add a line or change one."""
    body = order.read(LineChange)
    world = order.world
    if not validate.is_phone(body.phone_number):
        raise ControlError("phone_number", "must be a phone number in E.164 format")
    line = world.store.add_line(body.phone_number)
    before = line.reputation, line.ineligible
    line.ineligible = line.ineligible if body.ineligible is None else body.ineligible
    line.reputation = body.reputation or line.reputation
    line.line_type = body.line_type or line.line_type
    if not isinstance(body.retention_hours, UnsetType):
        hours = body.retention_hours
        line.retention = None if hours is None else round(hours * HOUR)
        retention.watch_all(world)
    if before != (line.reputation, line.ineligible):
        events.line_status(world, line, before)
    return {
        **line_fields(line),
        "ineligible": line.ineligible,
        "retention_hours": None if line.retention is None else line.retention / HOUR,
    }


class ReactionOrder(Struct, forbid_unknown_fields=True):
    """Body of POST reactions."""

    message_id: str
    sender: str = msgspec.field(name="from")
    type: str
    operation: Literal["add", "remove"] = "add"
    custom_emoji: str | None = None
    part_index: Annotated[int, Meta(ge=0)] = 0


def react(order: Order) -> object:
    """A contact's tapback on a message."""
    body = order.read(ReactionOrder)
    message = _message(order, body.message_id)
    who = _participant(message.chat, body.sender)
    if body.type not in TAPBACKS:
        raise ControlError("type", f"must be one of {', '.join(TAPBACKS)}")
    if (body.type == "custom") != (body.custom_emoji is not None):
        raise ControlError("custom_emoji", "goes with type custom, and only with that")
    if body.part_index >= len(message.parts):
        raise ControlError("part_index", "is not a part of this message")
    if body.operation == "add":
        given = Reaction(order.world.store.new_id(), who, body.type, body.custom_emoji)
        changes.react(order.world, message, body.part_index, given)
    else:
        changes.unreact(order.world, message, body.part_index, who, body.type, body.custom_emoji)
    return _shown(order, message)


class EditOrder(Struct, forbid_unknown_fields=True):
    """Body of POST edits."""

    message_id: str
    text: Annotated[str, Meta(min_length=1, max_length=10_000)]
    part_index: Annotated[int, Meta(ge=0)] = 0


def edit(order: Order) -> object:
    """A contact edits its own message."""
    body = order.read(EditOrder)
    message = _message(order, body.message_id)
    if message.outbound:
        raise ControlError("message_id", "must be an inbound message")
    if body.part_index >= len(message.parts) or message.parts[body.part_index].type != "text":
        raise ControlError("part_index", "is not a text part of this message")
    changes.edit(order.world, message, body.part_index, body.text)
    return _shown(order, message)


class Typing(Struct, forbid_unknown_fields=True):
    """Body of POST typing."""

    chat_id: str
    sender: str = msgspec.field(name="from")
    started: bool = True


def typing(order: Order) -> object:
    """A contact begins or stops typing: nothing but a webhook."""
    body = order.read(Typing)
    chat = _chat(order, body.chat_id)
    events.typing(order.world, chat, _participant(chat, body.sender), body.started)
    return {"chat_id": chat.id, "started": body.started}


class ChatChange(Struct, forbid_unknown_fields=True):
    """Body of POST chats."""

    chat_id: str
    health: Health


def change_chat(order: Order) -> object:
    """The health that a chat shows; it refuses nothing by itself."""
    body = order.read(ChatChange)
    chat = _chat(order, body.chat_id)
    inbound.set_health(order.world, chat, body.health)
    return {"chat_id": chat.id, "health": chat.health}


OPERATIONS: list[tuple[str, str, Operation]] = [
    ("POST", "inbound", receive),
    ("POST", "receipts", report),
    ("POST", "handles", change_handle),
    ("POST", "lines", change_line),
    ("POST", "reactions", react),
    ("POST", "edits", edit),
    ("POST", "typing", typing),
    ("POST", "chats", change_chat),
]
