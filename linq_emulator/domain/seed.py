"""Fills an emulator with chats and messages. The same seed makes the same ones.

Messages are added directly: nothing is delivered, rate limited or announced by webhooks.
"""

from __future__ import annotations

import gc
import random
from collections.abc import Iterator
from uuid import UUID

from linq_emulator.backend import Backend
from linq_emulator.clock import HOUR, SECOND
from linq_emulator.domain import retention
from linq_emulator.domain.models import IMESSAGE, SMS, Chat, Line, Message, Part
from linq_emulator.domain.sending import mark_line_used
from linq_emulator.serializers import chat_bytes, message_bytes

__all__ = ["Seeder", "fill_caches", "lines_for", "messages_by_chat"]

_SENTENCES = (
    "your order shipped today",
    "thanks for waiting",
    "your appointment is confirmed, see you soon",
    "please reply yes to keep the slot",
    "we moved it to friday morning, does that work?",
    "sounds good",
    "great, perfect, sure",
    "can you call me later?",
    "running five minutes late",
    "the table is ready",
    "invoice paid, refund sent",
    "welcome back, happy to help",
    "anything else?",
)
_SMS_SHARE = 0.1
_GROUP_SIZE = (2, 5)


def _fictional_numbers() -> Iterator[str]:
    """Numbers of the 555-01xx ranges that are reserved for fiction."""
    for last in range(100, 200):
        for area in range(210, 990):
            if area % 100 != 11:
                yield f"+1{area}5550{last}"


def _new_handles(backend: Backend) -> Iterator[str]:
    contacts, lines = backend.store.contacts, backend.store.lines
    for number in _fictional_numbers():
        if number not in contacts and number not in lines:
            yield number
    count = 0
    while True:
        count += 1
        address = f"person{count}@example.com"
        if address not in contacts:
            yield address


class Seeder:
    """One run.

    Args:
        backend: The emulator to fill.
        rng: Source of every choice and identifier of this run.
        hours: Age of the oldest message; the newest is of now.
        inbound_share: Share of inbound messages.
        groups_share: Share of chats that are groups.
        text_bytes: Length of each text.
    """

    def __init__(
        self,
        backend: Backend,
        rng: random.Random,
        *,
        hours: float,
        inbound_share: float,
        groups_share: float,
        text_bytes: int,
    ) -> None:
        self._backend = backend
        self._rng = rng
        self._span = round(hours * HOUR)
        self._inbound_share = inbound_share
        self._groups_share = groups_share
        self._text_bytes = text_bytes
        # Texts are windows of one long filler. That is much cheaper than a choice of words for each.
        self._filler = " ".join(rng.choice(_SENTENCES) for _ in range(500 + text_bytes // 8))

    def fill(self, lines: list[Line], counts: list[int]) -> None:
        """Add one chat for each number of messages in `counts`, on each line in turn."""
        handles = _new_handles(self._backend)
        start = self._backend.now() - self._span
        gc.disable()
        try:
            for index, count in enumerate(counts):
                self._add_chat(lines[index % len(lines)], handles, count, start)
        finally:
            gc.enable()
        # These objects stay. Without this each collection would traverse a million messages.
        gc.freeze()
        retention.schedule_next_sweep(self._backend)

    def _id(self) -> str:
        return str(UUID(int=self._rng.getrandbits(128), version=4))

    def _add_chat(self, line: Line, handles: Iterator[str], count: int, start: int) -> None:
        rng, backend = self._rng, self._backend
        is_group = rng.random() < self._groups_share
        recipients = tuple(next(handles) for _ in range(rng.randint(*_GROUP_SIZE) if is_group else 1))
        for handle in recipients:
            contact = backend.store.contact(handle)
            if not is_group and rng.random() < _SMS_SHARE and "@" not in handle:
                contact.services = (SMS,)
        service = SMS if backend.store.contact(recipients[0]).services == (SMS,) else IMESSAGE
        times = sorted(start + int(rng.random() * self._span) for _ in range(count)) or [start]
        chat = backend.store.add_chat(line, recipients, service, times[0], make_id=self._id)
        for time in times[:count]:
            self._add_message(chat, time)
        if backend.switches.message_moves_chat:
            backend.store.touch_chat(chat, times[-1])
        chat.last_activity = times[-1]
        mark_line_used(backend, line)

    def _add_message(self, chat: Chat, time: int) -> None:
        rng, store = self._rng, self._backend.store
        outbound = rng.random() >= self._inbound_share
        sender = chat.me if outbound else rng.choice(chat.others)
        has_receipts = outbound and not chat.is_group and chat.service != SMS
        sent_at = min(time + SECOND, self._backend.now())
        identifier = self._id()
        message = Message(
            id=identifier,
            seq=store.next_seq(),
            chat=chat,
            sender=sender,
            outbound=outbound,
            parts=[Part("text", self._text(identifier))],
            to=tuple(other.handle for other in chat.others) if outbound else (chat.line.phone_number,),
            accepted_at=time,
            created_at=time,
            updated_at=sent_at if outbound else time,
            status="delivered" if has_receipts else "sent" if outbound else "received",
            service=chat.service,
            sent_at=sent_at if outbound else time,
            delivered_at=sent_at if has_receipts else None,
        )
        if not outbound:
            store.contact(sender.handle).has_written = True
        store.add_message(message)

    def _text(self, identifier: str) -> str:
        # A text starts with part of the id, so that no two texts are equal.
        start = int(self._rng.random() * 2000)
        return f"{identifier[:8]} {self._filler[start : start + self._text_bytes]}"[: self._text_bytes]


def fill_caches(backend: Backend) -> None:
    """Encode every message and chat that lists show."""
    for chat in backend.store.chats.values():
        chat_bytes(chat)
    for message in backend.store.messages.values():
        message_bytes(message, backend.media.url, media_urls_expire=backend.media.urls_expire)


def messages_by_chat(chats: int, messages: int | None, messages_per_chat: int | None) -> list[int]:
    """The number of messages of each chat."""
    if messages is None:
        return [messages_per_chat or 0] * chats
    return [messages // chats + (index < messages % chats) for index in range(chats)]


def lines_for(backend: Backend, count: int | None) -> list[Line]:
    """The first `count` lines, after fictional ones were added if there were fewer; all lines for None."""
    store = backend.store
    for number in _fictional_numbers():
        if count is None or len(store.lines) >= count:
            break
        if number not in store.contacts and number not in store.lines:
            store.add_line(number)
    lines = list(store.lines.values())
    return lines if count is None else lines[:count]
