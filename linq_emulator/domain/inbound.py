"""Inbound messages: opt-out keywords, chats that start with them, and messages that arrive late."""

from __future__ import annotations

import re

from linq_emulator.backend import Backend
from linq_emulator.domain import delivery, events, poll_events
from linq_emulator.domain.models import SMS, Chat, Line, Message, Part, Participant, Poll
from linq_emulator.domain.sending import add_to_chat

__all__ = ["find_or_add_chat", "mark_read", "receive", "set_health"]

# linq-python 0.65.0 types/chat.py: these in exact case, "opt out" in any case with an optional space or hyphen.
_KEYWORDS = frozenset({"STOP", "UNSUBSCRIBE", "OPTOUT", "CANCEL", "END", "QUIT"})
_OPT_OUT = re.compile(r"opt[ -]?out", re.IGNORECASE)


def _is_opt_out(text: str) -> bool:
    trimmed = text.strip()
    return trimmed in _KEYWORDS or _OPT_OUT.fullmatch(trimmed) is not None


def receive(
    backend: Backend,
    chat: Chat,
    sender: Participant,
    parts: list[Part],
    *,
    service: str | None = None,
    reply_to: Message | None = None,
    sent_at: int | None = None,
    reconciled: bool = False,
    poll: Poll | None = None,
) -> Message:
    """Accept an inbound message.

    Args:
        backend: The emulator.
        chat: The chat in which it arrives.
        sender: Its author.
        parts: Its content.
        service: The service that carried it; the chat's service if omitted.
        reply_to: The message to which it replies.
        sent_at: When it was sent, if that was earlier.
        reconciled: Whether it was recovered late and did not arrive live.
        poll: What it offers, if it is a poll.
    """
    store, now = backend.store, backend.now()
    sent = now if sent_at is None else sent_at
    created = sent if reconciled and backend.switches.reconciled_created_at == "sent" else now
    message = Message(
        id=store.new_id(),
        seq=store.next_seq(),
        chat=chat,
        sender=sender,
        outbound=False,
        parts=parts,
        to=(chat.line.phone_number, *(other.handle for other in chat.active_others() if other is not sender)),
        accepted_at=now,
        created_at=created,
        updated_at=created,
        status="received",
        service=service or chat.service,
        trace_id=backend.trace_id,
        sent_at=sent,
        reply_to=reply_to,
        reconciled_at=now if reconciled else None,
        zero_retention=chat.line.zero_retention,
        poll=poll,
        is_unlisted=poll is not None and not backend.switches.poll_messages,
    )
    store.contact(sender.handle).has_written = True
    add_to_chat(backend, message)
    _apply_opt_out(backend, chat, sender.handle, parts)
    if poll is None:
        events.emit_message(backend, "message.received", message)
    else:
        poll_events.emit_received(backend, message)
    return message


def find_or_add_chat(backend: Backend, line: Line, handle: str, service: str | None) -> Chat:
    """The direct chat of a line and a handle, which is added if there is none."""
    chat = backend.store.find_chat(line, (handle,))
    if chat is None:
        chosen = service or delivery.choose_service(backend, line, (handle,), None) or SMS
        chat = backend.store.add_chat(line, (handle,), chosen, backend.now())
        events.emit_chat_created(backend, chat)
    return chat


def _apply_opt_out(backend: Backend, chat: Chat, handle: str, parts: list[Part]) -> None:
    contact = backend.store.contact(handle)
    if len(parts) == 1 and parts[0].type == "text" and _is_opt_out(parts[0].value):
        if not chat.is_group:
            contact.opted_out = True
            set_health(backend, chat, "OPTED_OUT")
        return
    if contact.opted_out:
        # A later message in any chat opts in again and resets the health of every chat.
        contact.opted_out = False
        for other in backend.store.chats_with(handle):
            if other.health == "OPTED_OUT":
                set_health(backend, other, "HEALTHY")


def set_health(backend: Backend, chat: Chat, status: str) -> None:
    """Set the health of a chat."""
    if chat.health != status:
        chat.health, chat.health_at, chat.encoded = status, backend.now(), None


def mark_read(backend: Backend, chat: Chat) -> None:
    """Mark the inbound messages of a direct chat as read. It has no effect in groups."""
    if chat.is_group:
        return
    now = backend.now()
    for message in reversed(chat.messages):
        if message.outbound:
            continue
        if message.status == "read":
            break
        message.status, message.read_at, message.encoded = "read", now, None
        if backend.switches.delivery_moves_message:
            message.updated_at = now
