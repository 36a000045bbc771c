"""Webhook events of polls. They take the place of the events of messages.

Shapes: linq-python 0.65.0 ``types/poll_*_webhook_event.py``. An outbound poll of a line that keeps nothing lacks the
texts of its options; an inbound one has them, as nothing of it is read from a database.
"""

from __future__ import annotations

from typing import Any

from linq_emulator import serializers
from linq_emulator.backend import Backend
from linq_emulator.clock import iso, iso_or_none
from linq_emulator.domain.events import any_version, emit
from linq_emulator.domain.models import Message, Participant, PollOption

__all__ = ["emit_failed", "emit_options_added", "emit_received", "emit_status", "emit_vote"]


def _context(message: Message, outbound: bool) -> dict[str, Any]:
    context: dict[str, Any] = {
        "chat": serializers.chat_reference(message.chat),
        "direction": "outbound" if outbound else "inbound",
        "message_id": message.id,
        "service": message.service,
    }
    if message.zero_retention:
        context["zero_retention"] = True
    return context


def _snapshot(message: Message, *, with_texts: bool) -> dict[str, Any]:
    assert message.poll is not None
    return serializers.poll_fields(message.poll, with_texts=with_texts)


def emit_status(backend: Backend, message: Message) -> None:
    """Emit poll.sent, poll.delivered or poll.read, as the poll's status is."""
    data = _context(message, outbound=True) | {
        "created_at": iso(message.created_at),
        "updated_at": iso(message.updated_at),
        "sent_at": iso_or_none(message.sent_at),
        "delivered_at": iso_or_none(message.delivered_at),
        "read_at": iso_or_none(message.read_at),
        "sender_handle": serializers.handle_fields(message.sender),
        "poll": _snapshot(message, with_texts=not message.zero_retention),
    }
    emit(backend, f"poll.{message.status}", message.chat, any_version(data), message.trace_id)


def emit_failed(backend: Backend, message: Message, code: int, reason: str) -> None:
    """Emit poll.failed."""
    data = _context(message, outbound=True) | {
        "error": {"code": code, "message": reason},
        "failed_at": iso(backend.now()),
        "sender_handle": None,
        "poll": _snapshot(message, with_texts=not message.zero_retention),
    }
    emit(backend, "poll.failed", message.chat, any_version(data), message.trace_id)


def emit_received(backend: Backend, message: Message) -> None:
    """Emit poll.received."""
    data = _context(message, outbound=False) | {
        "created_at": iso(message.created_at),
        "updated_at": iso(message.updated_at),
        "received_at": iso(message.accepted_at),
        "sender_handle": serializers.handle_fields(message.sender),
        "poll": _snapshot(message, with_texts=True),
    }
    emit(backend, "poll.received", message.chat, any_version(data), message.trace_id)


def emit_options_added(backend: Backend, message: Message, added: list[PollOption]) -> None:
    """Emit poll.updated. Its sender is always the line; each option says who has added it."""
    outbound = added[0].creator.is_me
    with_texts = not (outbound and message.zero_retention)
    data = _context(message, outbound) | {
        "sender_handle": serializers.handle_fields(message.chat.me),
        "added_options": [serializers.poll_option_fields(option, with_text=with_texts) for option in added],
    }
    emit(backend, "poll.updated", message.chat, any_version(data))


def emit_vote(backend: Backend, message: Message, option: PollOption, voter: Participant, *, added: bool) -> None:
    """Emit poll.vote.added or poll.vote.removed."""
    data = _context(message, voter.is_me) | {
        "option_id": option.id,
        "sender_handle": serializers.handle_fields(voter),
    }
    emit(backend, f"poll.vote.{'added' if added else 'removed'}", message.chat, any_version(data))
