"""Messages from outside: opt-out keywords, chats that begin with them, and late arrivals."""

from __future__ import annotations

import re

from linq_emulator.backend import World
from linq_emulator.domain import delivery, events
from linq_emulator.domain.models import SMS, Chat, Line, Message, Part, Participant
from linq_emulator.domain.sending import record

# linq-python 0.65.0 types/chat.py: exact case for these, any case and an optional space or hyphen for opt out.
_KEYWORDS = frozenset({"STOP", "UNSUBSCRIBE", "OPTOUT", "CANCEL", "END", "QUIT"})
_OPT_OUT = re.compile(r"opt[ -]?out", re.IGNORECASE)


def is_opt_out(text: str) -> bool:
    """Whether a whole message asks not to be written to."""
    trimmed = text.strip()
    return trimmed in _KEYWORDS or _OPT_OUT.fullmatch(trimmed) is not None


def receive(
    world: World,
    chat: Chat,
    sender: Participant,
    parts: list[Part],
    *,
    service: str | None = None,
    reply_to: Message | None = None,
    sent_at: int | None = None,
    reconciled: bool = False,
) -> Message:
    """Take in a message.

    Args:
        world: The emulator.
        chat: Where it arrives.
        sender: Who wrote it.
        parts: What it says.
        service: What carried it; the chat's own service when omitted.
        reply_to: Which message it answers.
        sent_at: When it was sent, if that was earlier.
        reconciled: Whether it was recovered late instead of arriving live.
    """
    store, now = world.store, world.now()
    sent = now if sent_at is None else sent_at
    created = sent if reconciled and world.switches.reconciled_created_at == "sent" else now
    message = Message(
        id=store.new_id(),
        seq=store.next_seq(),
        chat=chat,
        sender=sender,
        outbound=False,
        parts=parts,
        to=(chat.line.phone_number, *(other.handle for other in chat.active() if other is not sender)),
        accepted_at=now,
        created_at=created,
        updated_at=created,
        status="received",
        service=service or chat.service,
        trace_id=world.trace_id,
        sent_at=sent,
        reply_to=reply_to,
        reconciled_at=now if reconciled else None,
    )
    store.contact(sender.handle).has_written = True
    record(world, message)
    _apply_opt_out(world, chat, sender.handle, parts)
    events.message(world, "message.received", message)
    return message


def chat_for(world: World, line: Line, handle: str, service: str | None) -> Chat:
    """The direct chat of a line and a handle, made when there is none."""
    chat = world.store.find_chat(line, (handle,))
    if chat is None:
        chosen = service or delivery.choose_service(world, line, (handle,), None) or SMS
        chat = world.store.add_chat(line, (handle,), chosen, world.now())
        events.chat_created(world, chat)
    return chat


def _apply_opt_out(world: World, chat: Chat, handle: str, parts: list[Part]) -> None:
    contact = world.store.contact(handle)
    if len(parts) == 1 and parts[0].type == "text" and is_opt_out(parts[0].value):
        if not chat.is_group:
            contact.opted_out = True
            set_health(world, chat, "OPTED_OUT")
        return
    if contact.opted_out:
        # A later message in any conversation opts back in, and clears every mark.
        contact.opted_out = False
        for other in world.store.chats_with(handle):
            if other.health == "OPTED_OUT":
                set_health(world, other, "HEALTHY")


def set_health(world: World, chat: Chat, status: str) -> None:
    """Change the health of a chat."""
    if chat.health != status:
        chat.health, chat.health_at, chat.encoded = status, world.now(), None


def mark_read(world: World, chat: Chat) -> None:
    """Mark the inbound messages of a direct chat as read; without effect in groups."""
    if chat.is_group:
        return
    now = world.now()
    for message in reversed(chat.messages):
        if message.outbound:
            continue
        if message.status == "read":
            break
        message.status, message.read_at, message.encoded = "read", now, None
        if world.switches.delivery_moves_message:
            message.updated_at = now
