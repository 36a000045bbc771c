"""How a chat, a handle or a line is read for messages that come in.

The API has no "since" and promises no order, so a chat is always read whole. Whether a new message moves `updated_at`
of its chat is not documented either: a line is read by that field, and every chat of it is read now and then all the
same, always if the field turns out to lag behind new messages.

A chat that can't be read is set aside. It is read again with a back-off of its own, beside the others, which neither
wait for it nor hear of it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from pydantic import ValidationError

from airflow_provider_linq._internal.message_filter import MessageFilter
from airflow_provider_linq._internal.polling import Failures, describe, shared_reads, with_present_key
from airflow_provider_linq.hooks.linq import LinqAsyncHook
from linq_client import ChatNotFoundError, LinqClient
from linq_client.models import Message, ReceivedMessage
from linq_client.sync import CLOCK_TOLERANCE, ListedChat, NoIdError, StableListReader, arrived_at, combine
from linq_client.times import parse_datetime_or_none

log = logging.getLogger(__name__)

#: How often every chat of a line is read: a quarter of the shortest retention window there is.
SWEEP_EVERY: Final = 900.0

#: More chats than this that can't be read are no chats that went wrong, but the API: the poll has failed then.
MAX_SET_ASIDE: Final = 100

#: Seconds for which a poll in a triggerer waits for chats that were set aside; a slower reading goes on beside it.
PATIENCE: Final = 1.0

_CONCURRENT_READS: Final = 4
#: How many chats that were set aside are read concurrently: a chat that hangs holds a thread for as long.
_CONCURRENT_RETRIES: Final = 2


@dataclass(frozen=True)
class PollResult:
    """
    What a poll brought.

    :param messages: of either direction.
    :param server_time: the API's time when the poll started.
    :param lines: the own line of each chat that was listed.
    :param set_aside: the chats that can't be read at present: what is in them nobody knows.
    :param error: why others could not be read, if so.
    """

    messages: list[Message]
    server_time: datetime
    lines: dict[str, str] = field(default_factory=dict)
    set_aside: frozenset[str] = frozenset()
    error: Exception | None = None


@dataclass(frozen=True)
class _Chat:
    """What a list shows of a chat. A form that no model takes costs nothing here but the field in question."""

    id: str
    updated_at: datetime | None
    handles: frozenset[str]
    line: str | None
    listed: ListedChat

    @classmethod
    def of(cls, item: dict[str, Any], server_time: datetime) -> _Chat:
        found = item.get("handles")
        named = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
        handles = {str(one.get("handle")).casefold(): one.get("is_me") is True for one in named}
        line = next((one.get("handle") for one in named if one.get("is_me") is True), None)
        updated_at = parse_datetime_or_none(item.get("updated_at"))
        return cls(item["id"], updated_at, frozenset(handles), line, ListedChat.of(item, server_time))


@dataclass(frozen=True)
class _ListedChats:
    chats: list[_Chat]
    server_time: datetime


@dataclass
class _SetAside:
    """A chat that could not be read: how often, when it is read next, and what reads it now."""

    failures: Failures
    retry_at: float = 0.0
    #: What its chat's `updated_at` was when the reading began.
    updated_at: datetime | None = None
    reading: asyncio.Task[list[Message]] | None = None


class InboundReader:
    """
    Reads where messages are waited for, again and again; what it remembers makes the next poll cheaper.

    :param hook: makes the requests, shared with other readers of the same event loop.
    :param filter_: where to read.
    :param poll_interval: seconds between two polls; the back-off of a chat that can't be read begins with it.
    :param sweep_first: whether the first poll of a line reads every chat; not worth it where another reader follows.
    :param patience: seconds for which a poll waits for chats that were set aside before; None for as long as it takes.
    """

    def __init__(
        self,
        hook: LinqAsyncHook,
        filter_: MessageFilter,
        *,
        poll_interval: float = 30.0,
        sweep_first: bool = True,
        patience: float | None = None,
    ) -> None:
        self._hook = hook
        self._filter = filter_
        self._poll_interval = poll_interval
        self._patience = patience
        self._read: dict[str, datetime | None] = {}  # chat -> its updated_at when it was last read
        self._set_aside: dict[str, _SetAside] = {}
        self._swept_at = float("-inf") if sweep_first else time.monotonic()
        self._is_updated_at_reliable: bool | None = None

    async def poll(self, since: datetime, *, shared_for: float = 0.0) -> PollResult:
        """
        Return all messages of the chats in which something may have come in since a moment.

        :param shared_for: how many seconds old the responses to others may be.
        :raises LinqError: see ``linq_client.errors``; nothing could be read.
        """
        return await with_present_key(self._hook, lambda: self._poll(since, shared_for))

    async def _poll(self, since: datetime, shared_for: float) -> PollResult:
        not_before = asyncio.get_running_loop().time() - shared_for
        client = await self._hook.aclient()
        if self._filter.chat_id is not None:
            return await _read_chat(client, self._filter.chat_id, not_before)
        line, to = self._filter.line, self._filter.listed_by
        shared = await shared_reads().read(
            client, ("chats", line, to), lambda: _chats(client, line, to), not_before=not_before
        )
        listed, listed_at = shared.value, shared.requested_at
        is_due = time.monotonic() - self._swept_at >= SWEEP_EVERY
        sweep = bool(to) or self._is_updated_at_reliable is False or is_due
        chats = {chat.id: chat for chat in listed.chats}
        due = [
            chat
            for chat in listed.chats
            if chat.id not in self._set_aside
            and self._may_be_with_sender(chat)
            and (sweep or self._may_have_new(chat, since))
        ]
        self._begin_retries(client, chats, listed_at)
        messages, error = await self._read_chats(client, due, listed_at)
        self._read.update((chat.id, chat.updated_at) for chat in due if chat.id in messages)
        messages.update(await self._end_retries())
        self._swept_at = time.monotonic() if sweep and error is None else self._swept_at
        if self._is_updated_at_reliable is not False:  # it stays so: one chat was enough
            read = [chat for chat in due if chat.id in messages]
            signals = [chat.listed.signal(map(arrived_at, messages[chat.id])) for chat in read]
            self._is_updated_at_reliable = combine(self._is_updated_at_reliable, signals)
        return PollResult(
            [message for found in messages.values() for message in found],
            listed.server_time,
            {chat.id: chat.line for chat in listed.chats if chat.line is not None},
            frozenset(self._set_aside),
            error,
        )

    def _may_be_with_sender(self, chat: _Chat) -> bool:
        sender = self._filter.from_handle
        return sender is None or bool(self._filter.listed_by) or sender.casefold() in chat.handles

    def _may_have_new(self, chat: _Chat, since: datetime) -> bool:
        if chat.updated_at is None:
            return True
        if chat.id not in self._read:
            return chat.updated_at + CLOCK_TOLERANCE >= since
        return chat.updated_at != self._read[chat.id]

    async def _read_chats(
        self, client: LinqClient, chats: list[_Chat], listed_at: float
    ) -> tuple[dict[str, list[Message]], Exception | None]:
        """Return the messages of each chat that could be read, and what ended the reading; set the others aside."""
        limit = asyncio.Semaphore(_CONCURRENT_READS)
        messages: dict[str, list[Message]] = {}
        ended: list[Exception] = []

        async def read(chat_id: str) -> None:
            async with limit:
                if ended:
                    return
                try:
                    # A response from before the list was made may lack the message that the list tells of.
                    messages[chat_id] = (await _read_chat(client, chat_id, listed_at)).messages
                except ChatNotFoundError:
                    messages[chat_id] = []  # gone since it was listed
                except Exception as error:
                    outage = await _outage(client)
                    if outage is None and len(self._set_aside) >= MAX_SET_ASIDE:
                        outage = error
                    if outage is None:
                        self._put_aside(chat_id, error)
                    else:
                        ended.append(outage)

        await asyncio.gather(*(read(chat.id) for chat in chats))
        return messages, ended[0] if ended else None

    def _put_aside(self, chat_id: str, error: Exception) -> None:
        """Note that a chat could not be read, and say so with growing distance."""
        chat = self._set_aside.setdefault(chat_id, _SetAside(Failures(self._poll_interval)))
        wait = chat.failures.add(error)
        chat.retry_at, chat.reading = time.monotonic() + wait, None
        count = chat.failures.count
        if count & (count - 1) == 0:  # 1, 2, 4, 8 ...
            log.warning(
                "Chat %s can't be read (%d times) and is set aside; the others go on. Next in %.0f s: %s",
                chat_id,
                count,
                wait,
                describe(error),
            )

    def _begin_retries(self, client: LinqClient, chats: dict[str, _Chat], listed_at: float) -> None:
        """Begin to read chats that were set aside and are due, those first that have waited longest."""
        free = _CONCURRENT_RETRIES - sum(chat.reading is not None for chat in self._set_aside.values())
        idle = [(chat.retry_at, id_) for id_, chat in self._set_aside.items() if chat.reading is None]
        for retry_at, id_ in sorted(idle)[: max(free, 0)]:
            if retry_at > time.monotonic():
                return
            chat = self._set_aside[id_]
            chat.updated_at = chats[id_].updated_at if id_ in chats else None
            chat.reading = asyncio.create_task(_messages_of(client, id_, listed_at))

    async def _end_retries(self) -> dict[str, list[Message]]:
        """Return the messages of the chats that could be read again."""
        readings = {id_: chat.reading for id_, chat in self._set_aside.items() if chat.reading is not None}
        if readings:
            await asyncio.wait(readings.values(), timeout=self._patience)
        messages: dict[str, list[Message]] = {}
        for id_, reading in readings.items():
            if not reading.done():
                continue
            if reading.cancelled():  # with the event loop of an earlier poll
                self._set_aside[id_].reading = None
            elif (error := reading.exception()) is None or isinstance(error, ChatNotFoundError):
                messages[id_] = [] if error else reading.result()
                self._read[id_] = self._set_aside.pop(id_).updated_at
                log.info("Chat %s can be read again", id_)
            elif isinstance(error, Exception):
                self._put_aside(id_, error)
        return messages


async def _read_chat(client: LinqClient, chat_id: str, not_before: float) -> PollResult:
    shared = await shared_reads().read(
        client, ("messages", chat_id), lambda: _messages(client, chat_id), not_before=not_before
    )
    return shared.value


async def _messages_of(client: LinqClient, chat_id: str, not_before: float) -> list[Message]:
    return (await _read_chat(client, chat_id, not_before)).messages


async def _outage(client: LinqClient) -> Exception | None:
    """Return what else goes wrong at present; None if the account can be reached, so that it is the chat alone."""
    now = asyncio.get_running_loop().time()
    try:
        await shared_reads().read(client, "alive", lambda: client.request("GET", "/v3/phone_numbers"), not_before=now)
    except Exception as error:
        return error
    return None


def _chats(client: LinqClient, line: str | None, to: Sequence[str]) -> _ListedChats:
    chats: dict[str, _Chat] = {}
    started: datetime | None = None
    for one in to or (None,):
        reader = StableListReader.of(client.chats.list(from_=line, to=one))
        items = list(_items(reader, "the list of chats"))
        assert reader.started is not None
        started = started or reader.started
        chats.update((item["id"], _Chat.of(item, reader.started)) for item in items)
    assert started is not None
    return _ListedChats(list(chats.values()), started)


def _messages(client: LinqClient, chat_id: str) -> PollResult:
    reader = StableListReader.of(client.messages.list(chat_id))
    messages: list[Message] = []
    for item in _items(reader, f"chat {chat_id}"):
        try:
            messages.append(ReceivedMessage.model_validate(item))
        except ValidationError as error:
            fields = ", ".join(sorted({str(one["loc"][0]) for one in error.errors() if one["loc"]}))
            _warn_once(f"Message {item['id']!r} of chat {chat_id} is passed over: {fields} can't be read")
    assert reader.started is not None
    return PollResult(messages, reader.started)


def _items(reader: StableListReader, what: str) -> Iterator[dict[str, Any]]:
    try:
        yield from reader
    except NoIdError:
        _warn_once(f"What has no id in {what} is passed over")


@lru_cache(maxsize=1_000)
def _warn_once(words: str) -> None:
    """Log a warning, but not again at each poll."""
    log.warning("%s", words)
