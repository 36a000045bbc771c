"""Fills an emulator with chats and messages, the same ones for the same seed.

Messages are recorded directly: nothing is delivered, limited or announced by webhooks.
"""

from __future__ import annotations

import gc
import random
from collections.abc import Iterator
from uuid import UUID

from linq_emulator.backend import World
from linq_emulator.clock import HOUR, SECOND
from linq_emulator.domain import retention
from linq_emulator.domain.models import IMESSAGE, SMS, Chat, Line, Message, Part
from linq_emulator.domain.sending import use_line
from linq_emulator.serializers import chat_bytes, message_bytes

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
_SHARE_OF_SMS = 0.1
_GROUP_SIZE = (2, 5)


def fictional_numbers() -> Iterator[str]:
    """Numbers of the 555-01xx ranges that are reserved for fiction, those of the default lines left out."""
    for last in range(100, 200):
        for area in range(210, 990):
            if area % 100 != 11:
                yield f"+1{area}5550{last}"


def _handles() -> Iterator[str]:
    yield from fictional_numbers()
    count = 0
    while True:
        count += 1
        yield f"person{count}@example.com"


class Seeder:
    """One run.

    Args:
        world: Emulator to fill.
        rng: Source of every choice and identifier of this run.
        hours: The oldest message is that old; the newest is of this moment.
        inbound_share: Share of messages from outside.
        groups_share: Share of chats that are groups.
        text_bytes: Length of each text.
    """

    def __init__(
        self,
        world: World,
        rng: random.Random,
        *,
        hours: float,
        inbound_share: float,
        groups_share: float,
        text_bytes: int,
    ) -> None:
        self._world = world
        self._rng = rng
        self._span = round(hours * HOUR)
        self._inbound_share = inbound_share
        self._groups_share = groups_share
        self._bytes = text_bytes
        # Texts are windows of one long filler, which is much cheaper than to choose words for each.
        self._filler = " ".join(rng.choice(_SENTENCES) for _ in range(500 + text_bytes // 8))

    def fill(self, lines: list[Line], counts: list[int]) -> None:
        """Make one chat for each number of messages in `counts`, spread over the lines in turn."""
        taken = self._world.store.contacts
        handles = (one for one in _handles() if one not in taken and one not in self._world.store.lines)
        start = self._world.now() - self._span
        gc.disable()
        try:
            for index, count in enumerate(counts):
                self._chat(lines[index % len(lines)], handles, count, start)
        finally:
            gc.enable()
        # What was made stays; without this each collection would walk over a million messages.
        gc.freeze()
        retention.watch_all(self._world)

    def _id(self) -> str:
        return str(UUID(int=self._rng.getrandbits(128), version=4))

    def _chat(self, line: Line, handles: Iterator[str], count: int, start: int) -> None:
        rng, world = self._rng, self._world
        group = rng.random() < self._groups_share
        recipients = tuple(next(handles) for _ in range(rng.randint(*_GROUP_SIZE) if group else 1))
        for handle in recipients:
            contact = world.store.contact(handle)
            if not group and rng.random() < _SHARE_OF_SMS and "@" not in handle:
                contact.services = (SMS,)
        service = SMS if world.store.contact(recipients[0]).services == (SMS,) else IMESSAGE
        times = sorted(start + int(rng.random() * self._span) for _ in range(count)) or [start]
        chat = world.store.add_chat(line, recipients, service, times[0], make_id=self._id)
        for moment in times[:count]:
            self._message(chat, moment)
        if world.switches.message_moves_chat:
            world.store.touch_chat(chat, times[-1])
        chat.last_activity = times[-1]
        use_line(world, line)

    def _message(self, chat: Chat, moment: int) -> None:
        rng, store = self._rng, self._world.store
        outbound = rng.random() >= self._inbound_share
        sender = chat.me if outbound else rng.choice(chat.others)
        receipts = outbound and not chat.is_group and chat.service != SMS
        sent_at = min(moment + SECOND, self._world.now())
        identifier = self._id()
        message = Message(
            id=identifier,
            seq=store.next_seq(),
            chat=chat,
            sender=sender,
            outbound=outbound,
            parts=[Part("text", self._text(identifier))],
            to=tuple(one.handle for one in chat.others) if outbound else (chat.line.phone_number,),
            accepted_at=moment,
            created_at=moment,
            updated_at=sent_at if outbound else moment,
            status="delivered" if receipts else "sent" if outbound else "received",
            service=chat.service,
            sent_at=sent_at if outbound else moment,
            delivered_at=sent_at if receipts else None,
        )
        if not outbound:
            store.contact(sender.handle).has_written = True
        store.add_message(message)

    def _text(self, identifier: str) -> str:
        # Begins with a piece of the id, so that no two messages read alike.
        begin = int(self._rng.random() * 2000)
        return f"{identifier[:8]} {self._filler[begin : begin + self._bytes]}"[: self._bytes]


def warm(world: World) -> None:
    """Encode every message and chat that lists will show."""
    for chat in world.store.chats.values():
        chat_bytes(chat)
    for message in world.store.messages.values():
        message_bytes(message, world.media.url, media_urls_expire=world.media.urls_expire)


def counts_of(chats: int, messages: int | None, per_chat: int | None) -> list[int]:
    """How many messages each chat gets."""
    if messages is None:
        return [per_chat or 0] * chats
    return [messages // chats + (index < messages % chats) for index in range(chats)]


def lines_for(world: World, count: int | None) -> list[Line]:
    """The first `count` lines, after adding as many fictional ones as are missing; all without a count."""
    store = world.store
    for number in fictional_numbers():
        if count is None or len(store.lines) >= count:
            break
        if number not in store.contacts and number not in store.lines:
            store.add_line(number)
    lines = list(store.lines.values())
    return lines if count is None else lines[:count]
