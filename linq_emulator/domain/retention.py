"""The ephemeral tier: a sweep removes messages from the API after the window of their line.

A sweep runs at every full five minutes at which a message is due (linq-python 0.65.0
``resources/chats/messages.py``: the window runs from created_at, sweeps come about every five minutes).
"""

from __future__ import annotations

from linq_emulator.backend import Backend
from linq_emulator.clock import MINUTE
from linq_emulator.domain.models import Message

__all__ = ["SWEEP_INTERVAL", "expires_at", "schedule_next_sweep", "schedule_sweep"]

SWEEP_INTERVAL = 5 * MINUTE


def expires_at(message: Message) -> int | None:
    """When the sweep removes a message; None if its line keeps messages."""
    retention = message.chat.line.retention
    return None if retention is None else _next_sweep(message.created_at + retention)


def _next_sweep(expiry: int) -> int:
    return -(-expiry // SWEEP_INTERVAL) * SWEEP_INTERVAL


def schedule_sweep(backend: Backend, message: Message) -> None:
    """Schedule the sweep that removes this message, if its line is ephemeral."""
    retention = message.chat.line.retention
    if retention is not None:
        _schedule_sweep_at(backend, message.created_at + retention)


def schedule_next_sweep(backend: Backend) -> None:
    """Schedule the sweep of the message that expires first, after a change of windows or of many messages."""
    expiry = _first_expiry(backend)
    if expiry is not None:
        _schedule_sweep_at(backend, expiry)


def _schedule_sweep_at(backend: Backend, expiry: int) -> None:
    # Never in the past: an expired message goes at the next full five minutes.
    due = _next_sweep(max(expiry, backend.now()))
    if backend.next_sweep is None or due < backend.next_sweep:
        backend.next_sweep = due
        backend.clock.call_at(due, lambda: _sweep(backend, due))


def _first_expiry(backend: Backend) -> int | None:
    expiries = [
        oldest.created_at + chat.line.retention
        for chat in backend.store.chats.values()
        if chat.line.retention is not None
        for oldest in (chat.messages.oldest(), *chat.unlisted[:1])
        if oldest is not None
    ]
    return min(expiries, default=None)


def _sweep(backend: Backend, due: int) -> None:
    if backend.next_sweep != due:
        # An earlier sweep was scheduled later and replaced this one.
        return
    backend.next_sweep = None
    for chat in backend.store.chats.values():
        retention = chat.line.retention
        if retention is None:
            continue
        for message in backend.store.remove_until(chat, due - retention):
            message.expired_at = due
    schedule_next_sweep(backend)
