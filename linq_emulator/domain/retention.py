"""The ephemeral tier: messages leave the API's surface at the first sweep after their line's window.

A sweep runs at every full five minutes at which something is due (linq-python 0.65.0
``resources/chats/messages.py``: the window runs from created_at, sweeps come about every five minutes).
"""

from __future__ import annotations

from linq_emulator.backend import World
from linq_emulator.clock import MINUTE
from linq_emulator.domain.models import Message

SWEEP = 5 * MINUTE


def watch(world: World, message: Message) -> None:
    """See to it that a sweep comes when this message has expired."""
    retention = message.chat.line.retention
    if retention is not None:
        _schedule(world, message.created_at + retention)


def watch_all(world: World) -> None:
    """The same for every message, after windows have changed or many messages have been made at once."""
    earliest = _earliest(world)
    if earliest is not None:
        _schedule(world, earliest)


def _schedule(world: World, expiry: int) -> None:
    # Never in the past: what is expired already goes at the next full five minutes.
    due = -(-max(expiry, world.now()) // SWEEP) * SWEEP
    if world.sweep_due is None or due < world.sweep_due:
        world.sweep_due = due
        world.clock.call_at(due, lambda: _sweep(world, due))


def _earliest(world: World) -> int | None:
    expiries = [
        oldest.created_at + chat.line.retention
        for chat in world.store.chats.values()
        if chat.line.retention is not None and (oldest := chat.messages.oldest()) is not None
    ]
    return min(expiries, default=None)


def _sweep(world: World, due: int) -> None:
    if world.sweep_due != due:
        # An earlier sweep was scheduled since and has taken over.
        return
    world.sweep_due = None
    for chat in world.store.chats.values():
        retention = chat.line.retention
        if retention is None:
            continue
        count = 0
        for message in chat.messages:
            if message.created_at + retention > due:
                break
            count += 1
        for message in world.store.remove_oldest(chat, count) if count else ():
            message.expired_at = due
    watch_all(world)
