"""Commands that find a message: what tests ask for first."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from linq_emulator.backend import Backend
from linq_emulator.control.base import Command, CommandError, Handler
from linq_emulator.domain.models import Message
from linq_emulator.ledger import ledger_entry

__all__ = ["HANDLERS"]


class Latest(Struct, forbid_unknown_fields=True):
    """Query of GET messages/latest."""

    to: str


class Wait(Latest):
    """Query of GET messages/wait; `timeout` in real seconds, `after` the id of a message."""

    after: str | None = None
    timeout: Annotated[float, Meta(ge=0, le=600)] = 60


def latest(command: Command) -> object:
    """The newest message to a handle; 404 if there is none."""
    query = command.parse_query(Latest)
    message = _newest(query.to, reversed(command.backend.store.ledger))
    if message is None:
        raise CommandError("to", f"there is no message to {query.to}", 404)
    return msgspec.Raw(ledger_entry(message))


def wait(command: Command) -> Awaitable[object]:
    """The newest message to a handle, later than another one, as soon as there is one; 404 if it takes too long."""
    query = command.parse_query(Wait)
    return _wait(command, query, _place(command.backend, query.after))


async def _wait(command: Command, query: Wait, start: int) -> object:
    is_over = False

    def end() -> None:
        nonlocal is_over
        is_over = True
        changed.set()

    async def end_with_client() -> None:
        while (await command.request.receive())["type"] != "http.disconnect":
            pass
        end()

    backend = command.backend
    store = backend.store
    with backend.changes.watch() as changed:
        # One timer for all changes: with each one every request that waits looks at what is new.
        timer = asyncio.get_running_loop().call_later(query.timeout, end)
        leaving = asyncio.create_task(end_with_client())
        try:
            while True:
                changed.clear()
                if backend.store is not store:
                    # A reset.
                    store, start = backend.store, 0
                message = _newest(query.to, reversed(store.ledger[start:]))
                if message is not None:
                    return msgspec.Raw(ledger_entry(message))
                if is_over or backend.changes.is_closed:
                    raise CommandError("to", f"no message to {query.to} was accepted in {query.timeout:g} seconds", 404)
                start = len(store.ledger)
                await changed.wait()
        finally:
            timer.cancel()
            leaving.cancel()


def _newest(handle: str, newest_first: Iterable[Message]) -> Message | None:
    return next((message for message in newest_first if handle in message.to), None)


def _place(backend: Backend, message_id: str | None) -> int:
    """The place in the ledger behind a message."""
    if message_id is None:
        return 0
    ledger = backend.store.ledger
    for place in range(len(ledger), 0, -1):
        if ledger[place - 1].id == message_id:
            return place
    raise CommandError("after", "there is no such message")


HANDLERS: list[tuple[str, str, Handler]] = [
    ("GET", "messages/latest", latest),
    ("GET", "messages/wait", wait),
]
