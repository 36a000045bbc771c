"""What the page reads, under ``/_emulator/inbox``. It is for the page alone, and changes with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Annotated

from msgspec import Meta, Struct
from starlette.responses import StreamingResponse

from linq_emulator.backend import Backend
from linq_emulator.control.base import Command, CommandError, Handler
from linq_emulator.domain.delivery import FAILURE_CODES
from linq_emulator.domain.models import Message
from linq_emulator.json_codec import encode
from linq_emulator.switches import declarations
from linq_emulator.ui.inbox import Inbox
from linq_emulator.ui.inspection import inspect
from linq_emulator.ui.records import line_record

__all__ = ["InboxCommands"]

_LEAST_SECONDS = 0.1
"""Between two events for a page. It then reads again what it shows, so this bounds what it costs the server."""
_HEARTBEAT_SECONDS = 15.0
_MAX_STREAMS = 100


class View(Struct, kw_only=True):
    """What a page shows now.

    Args:
        line: Number of the line whose chats are listed; all if omitted.
        chats: How many chats are listed.
        chat: The chat that is open.
        first: Place of the first message that is shown; the newest are shown if it is omitted.
        messages: How many messages are shown.
    """

    line: str | None = None
    chats: Annotated[int, Meta(ge=1, le=2000)] = 50
    chat: str | None = None
    first: Annotated[int, Meta(ge=0)] | None = None
    messages: Annotated[int, Meta(ge=1, le=500)] = 80


class InboxCommands:
    """The reads of the page.

    Args:
        backend: The emulator.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._inbox = Inbox(backend)
        self._streams = 0

    def handlers(self) -> list[tuple[str, Handler]]:
        """The path of each read, and what carries it out."""
        return [
            ("", self.view),
            ("/events", self.events),
            ("/search", self.search),
            ("/messages/{message_id}", self.message),
            ("/settings", self.settings),
        ]

    def view(self, command: Command) -> object:
        """The emulator, the lines, the chats and the open conversation. A chat that is gone is null."""
        view = command.parse_query(View)
        backend = self._backend
        chats, total = self._inbox.chats(view.line, view.chats)
        chat = backend.store.chats.get(view.chat or "")
        return {
            "change": backend.changes.number,
            "clock": {"now": backend.now(), "frozen": backend.clock.frozen, "speed": backend.clock.speed},
            "lines": [line_record(backend, line) for line in backend.store.lines.values()],
            "chats": chats,
            "total_chats": total,
            "total_messages": len(backend.store.ledger),
            "faults": [fault.as_dict() for fault in backend.faults.active],
            "switches": backend.switches.as_dict(),
            "conversation": chat and self._inbox.conversation(chat, view.first, view.messages),
        }

    def search(self, command: Command) -> object:
        """The newest messages with the text ``?q=``."""
        text = command.request.query_params.get("q", "").strip()
        return self._inbox.search(text) if text else {"found": [], "is_complete": True}

    def message(self, command: Command) -> object:
        """Where a message came from, what it caused, and its place in the chat."""
        message = self._find(command.request.path_params["message_id"])
        return {
            **inspect(self._backend, message),
            "chat_id": message.chat.id,
            "index": self._inbox.place(message),
        }

    def _find(self, message_id: str) -> Message:
        ledger = self._backend.store.ledger
        message = self._backend.store.messages.get(message_id)
        message = message or next((entry for entry in reversed(ledger) if entry.id == message_id), None)
        if message is None:
            raise CommandError("message_id", "there is no such message", 404)
        return message

    def settings(self, command: Command) -> object:
        """The switches as they are declared and set, and the codes with which a delivery can fail."""
        values = self._backend.switches.as_dict()
        return {
            "switches": [
                {
                    "name": switch.name,
                    "allowed": switch.allowed,
                    "reason": switch.reason,
                    "default": switch.default,
                    "value": values[switch.name],
                }
                for switch in declarations()
            ],
            "failure_codes": FAILURE_CODES,
        }

    def events(self, command: Command) -> object:
        """Server-sent events: one with the number of the last change, whenever there was one.

        A reader that is slow gets one event for all that it has not read: nothing queues up for it.
        """
        if self._streams >= _MAX_STREAMS:
            raise CommandError("events", f"at most {_MAX_STREAMS} streams are open at a time: close a page", 503)
        return StreamingResponse(self._stream(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    async def _stream(self) -> AsyncIterator[bytes]:
        changes = self._backend.changes
        with self._counted(), changes.watch() as changed:
            while not changes.is_closed:
                changed.clear()
                yield b"data: %s\n\n" % encode({"change": changes.number})
                await asyncio.sleep(_LEAST_SECONDS)
                while not changed.is_set():
                    try:
                        await asyncio.wait_for(changed.wait(), _HEARTBEAT_SECONDS)
                    except asyncio.TimeoutError:
                        yield b": nothing new\n\n"

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self._streams += 1
        try:
            yield
        finally:
            self._streams -= 1
