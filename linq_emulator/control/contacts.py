"""Commands for what contacts do: messages, reactions, edits, typing, backgrounds, cards, and what a handle is."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from linq_emulator.control import lookup
from linq_emulator.control.base import Command, CommandError, Handler, parse_time
from linq_emulator.domain import account_events, backgrounds, blocklist, events, inbound, mutations, stickers
from linq_emulator.domain.locations import share_location
from linq_emulator.domain.models import Location, Reaction, Service

__all__ = ["HANDLERS"]


class InboundMessage(Struct, forbid_unknown_fields=True):
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


def receive(command: Command) -> object:
    """Receive a message. The response is the message, or ``{"dropped": true}`` for a blocked sender."""
    body = command.parse(InboundMessage)
    backend = command.backend
    if (body.text is None) == (body.parts is None):
        raise CommandError("text", "give either text or parts")
    sent_at = None if body.sent_at is None else parse_time(body.sent_at, "sent_at")
    if sent_at is not None and sent_at > backend.now():
        raise CommandError("sent_at", "must not lie in the future")
    parts: list[dict[str, Any]] = body.parts or [{"type": "text", "value": body.text}]
    draft = backend.message_parser.parse({"parts": parts})
    reply_to = None if body.reply_to is None else lookup.find_message(command, body.reply_to, "reply_to")
    if blocklist.is_blocked(backend, body.sender):
        return {"dropped": True}
    chat, sender = lookup.find_inbound_chat(command, body.sender, body.line, body.chat_id, body.service)
    message = inbound.receive(
        backend,
        chat,
        sender,
        draft.parts,
        service=body.service,
        reply_to=reply_to,
        sent_at=sent_at,
        reconciled=body.reconciled,
    )
    return lookup.message_result(command, message)


class ReactionChange(Struct, forbid_unknown_fields=True):
    """Body of POST reactions."""

    message_id: str
    sender: str = msgspec.field(name="from")
    type: str
    operation: Literal["add", "remove"] = "add"
    custom_emoji: str | None = None
    emoji: str | None = None
    url: str | None = None
    part_index: Annotated[int, Meta(ge=0)] = 0


def react(command: Command) -> object:
    """Add or remove a contact's tapback, or add a sticker of an emoji or a stored image."""
    body = command.parse(ReactionChange)
    backend = command.backend
    message = lookup.find_message(command, body.message_id)
    participant = lookup.find_participant(message.chat, body.sender)
    kinds = (*mutations.TAPBACKS, mutations.STICKER)
    if body.type not in kinds:
        raise CommandError("type", f"must be one of {', '.join(kinds)}")
    if (body.type == "custom") != (body.custom_emoji is not None):
        raise CommandError("custom_emoji", "goes with type custom, and only with that")
    if body.part_index >= len(message.parts):
        raise CommandError("part_index", "is not a part of this message")
    reaction = Reaction(backend.store.new_id(), participant, body.type, body.custom_emoji)
    if body.type == mutations.STICKER:
        if body.operation == "remove":
            raise CommandError("operation", "a sticker cannot be removed")
        image = {"emoji": body.emoji, "url": body.url}
        reaction.sticker, reaction.placement = stickers.image(backend, image), stickers.placement(image)
    elif body.emoji is not None or body.url is not None:
        raise CommandError("type", "emoji and url go with type sticker")
    if body.operation == "add":
        mutations.add_reaction(backend, message, body.part_index, reaction)
    else:
        mutations.remove_reaction(backend, message, body.part_index, participant, body.type, body.custom_emoji)
    return lookup.message_result(command, message)


class Edit(Struct, forbid_unknown_fields=True):
    """Body of POST edits."""

    message_id: str
    text: Annotated[str, Meta(min_length=1, max_length=10_000)]
    part_index: Annotated[int, Meta(ge=0)] = 0


def edit(command: Command) -> object:
    """Edit a contact's own message."""
    body = command.parse(Edit)
    message = lookup.find_message(command, body.message_id)
    if message.outbound:
        raise CommandError("message_id", "must be an inbound message")
    if body.part_index >= len(message.parts) or message.parts[body.part_index].type != "text":
        raise CommandError("part_index", "is not a text part of this message")
    mutations.edit(command.backend, message, body.part_index, body.text)
    return lookup.message_result(command, message)


class Typing(Struct, forbid_unknown_fields=True):
    """Body of POST typing."""

    chat_id: str
    sender: str = msgspec.field(name="from")
    started: bool = True


def typing(command: Command) -> object:
    """Let a contact start or stop typing. It only emits a webhook."""
    body = command.parse(Typing)
    chat = lookup.find_chat(command, body.chat_id)
    events.emit_typing(command.backend, chat, lookup.find_participant(chat, body.sender), body.started)
    return {"chat_id": chat.id, "started": body.started}


class BackgroundChange(Struct, forbid_unknown_fields=True):
    """Body of POST backgrounds; without a type, the background is removed."""

    chat_id: str
    sender: str = msgspec.field(name="from")
    type: str | None = None
    variant: str | None = None
    shades: list[str] | None = None
    style: str | None = None
    image_url: str | None = None


def change_background(command: Command) -> object:
    """Let a contact set or remove the background of a chat."""
    body = command.parse(BackgroundChange)
    backend = command.backend
    chat = lookup.find_chat(command, body.chat_id)
    participant = lookup.find_participant(chat, body.sender)
    background = None if body.type is None else backgrounds.parse(backend, msgspec.structs.asdict(body))
    backgrounds.change(backend, chat, participant, background)
    return {"chat_id": chat.id}


class SharedCard(Struct, forbid_unknown_fields=True):
    """Body of POST contact_cards."""

    line: str
    sender: str = msgspec.field(name="from")
    first_name: str
    last_name: str = ""
    media_url: str | None = None


def share_card(command: Command) -> object:
    """Let a contact share its own card with a line. It only emits a webhook."""
    body = command.parse(SharedCard)
    line = lookup.find_line(command, body.line)
    handle = lookup.sender(body.sender, "from")
    account_events.emit_card_received(command.backend, line, handle, body.first_name, body.last_name, body.media_url)
    return {"line": line.phone_number, "from": handle}


class Place(Struct, forbid_unknown_fields=True):
    """A location in degrees and metres."""

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


def change_handle(command: Command) -> object:
    """Change a contact's services, opt-out, block or location."""
    body = command.parse(HandleChange)
    store = command.backend.store
    contact = store.contact(lookup.sender(body.handle, "handle"))
    if body.services is not None:
        contact.services = tuple(body.services)
    if body.opted_out is not None:
        contact.opted_out = body.opted_out
    if body.blocked:
        blocklist.block(command.backend, contact.handle)
    elif body.blocked is False:
        blocklist.unblock(command.backend, contact.handle)
    if not isinstance(body.location, UnsetType):
        _share_location(command, contact.handle, body.location)
    return {
        "handle": contact.handle,
        "services": contact.services,
        "opted_out": contact.opted_out,
        "blocked": blocklist.is_blocked(command.backend, contact.handle),
        "shares_location": contact.location is not None,
    }


def _share_location(command: Command, handle: str, place: Place | None) -> None:
    store, now = command.backend.store, command.backend.now()
    chats = sorted(store.chats_with(handle), key=lambda chat: (chat.is_group, -chat.last_activity))
    chat = chats[0] if chats else None
    line = chat.line if chat else next(iter(store.lines.values()))
    location = None
    if place is not None:
        location = Location(
            place.longitude, place.latitude, place.altitude, place.address, place.locality, now, now, None
        )
    share_location(command.backend, line, handle, location, chat)


HANDLERS: list[tuple[str, str, Handler]] = [
    ("POST", "inbound", receive),
    ("POST", "reactions", react),
    ("POST", "edits", edit),
    ("POST", "typing", typing),
    ("POST", "backgrounds", change_background),
    ("POST", "contact_cards", share_card),
    ("POST", "handles", change_handle),
]
