"""Messages that come in: which of them are waited for, and how a chat, a handle or a line is read for them.

The API has no "since" and promises no order, so a chat is always read whole. Whether a new message moves `updated_at`
of its chat is not documented either: a line is read by that field, and every chat of it is read now and then all the
same, always if the field turns out to lag behind new messages.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from typing import Any, Final

from airflow_provider_linq._internal.polling import SharedResponse, shared_reads, with_present_key
from airflow_provider_linq._internal.xcom import inbound_message
from airflow_provider_linq.hooks.linq import LinqAsyncHook
from linq_client import ChatNotFoundError, InvalidRequestError, LinqClient, check_handle, check_line
from linq_client.models import Chat, Message
from linq_client.sync import CLOCK_TOLERANCE, ListedChat, StableListReader, arrived_at, combine

#: How often every chat of a line is read: a quarter of the shortest retention window there is.
SWEEP_EVERY: Final = 900.0
_CONCURRENT_READS: Final = 4
#: After so many chats that could not be read, it is not the chats: the rest waits for the next poll.
_MAX_UNREADABLE: Final = 3


@dataclass(frozen=True)
class MessageFilter:
    """
    Where messages are waited for, and which. Checked when it is made.

    :param chat_id: in this chat.
    :param from_handle: from this handle, in any chat if none is given.
    :param line: to this own line.
    :param text_matches: regular expression that is searched in the text.
    :param predicate: dotted path of a function that takes an ``InboundMessage`` and says whether it matches.
    :param anywhere: whether none of the three places may be given: on every line then.
    :raises InvalidRequestError: an argument is wrong.
    """

    chat_id: str | None = None
    from_handle: str | None = None
    line: str | None = None
    text_matches: str | None = None
    predicate: str | None = None
    anywhere: bool = False

    def __post_init__(self) -> None:
        if self.chat_id is None and self.from_handle is None and self.line is None and not self.anywhere:
            raise InvalidRequestError("chat_id: must be given, or from_handle or line, got none of them")
        if self.chat_id is not None and not self.chat_id.strip():
            raise InvalidRequestError(f"chat_id: must be an id, got {self.chat_id!r}")
        if self.chat_id is not None and self.line is not None:
            raise InvalidRequestError("chat_id: excludes line, got both")
        if self.from_handle is not None:
            check_handle(self.from_handle, "from_handle")
        if self.line is not None:
            check_line(self.line, "line")
        self._regex()
        self._function()

    def matches(self, message: Message) -> bool:
        """Whether a message came in from whom and with what text it should."""
        if message.is_from_me:
            return False
        if self.from_handle is not None and not _is_from(message, self.from_handle):
            return False
        regex, function = self._regex(), self._function()
        if regex is None and function is None:
            return True
        made = inbound_message(message)
        if regex is not None and (made["text"] is None or regex.search(made["text"]) is None):
            return False
        if function is None:
            return True
        try:
            return bool(function(made))
        except Exception as error:
            # Its own words may quote the message, and end in a log.
            raise InvalidRequestError(f"predicate: {self.predicate} raised {type(error).__name__}") from None

    def earliest(self, messages: Iterable[Message], since: datetime) -> Message | None:
        """Return the first matching message at or after a moment, whatever the order of the list."""
        found = (message for message in messages if message.created_at >= since and self.matches(message))
        return min(found, key=lambda message: (message.created_at, message.id), default=None)

    def _regex(self) -> re.Pattern[str] | None:
        try:
            return None if self.text_matches is None else re.compile(self.text_matches)
        except re.error as error:
            raise InvalidRequestError(f"text_matches: must be a regular expression, got one with {error}") from None

    def _function(self) -> Callable[[Any], object] | None:
        if self.predicate is None:
            return None
        module, _, name = self.predicate.rpartition(".")
        try:
            found = getattr(import_module(module), name)
        except (ImportError, AttributeError, ValueError):
            found = None
        if not callable(found):
            raise InvalidRequestError(f"predicate: must be the path of a function, got {self.predicate!r}")
        return found  # type: ignore[no-any-return]


def _is_from(message: Message, handle: str) -> bool:
    return message.from_handle is not None and message.from_handle.handle.casefold() == handle.casefold()


@dataclass(frozen=True)
class PollResult:
    """
    What a poll brought.

    :param messages: of either direction.
    :param server_time: the API's time when the poll started.
    :param lines: the own line of each chat that was listed.
    :param error: why some chats could not be read, if so.
    """

    messages: list[Message]
    server_time: datetime
    lines: dict[str, str]
    error: Exception | None = None


@dataclass(frozen=True)
class _ListedChats:
    chats: list[Chat]
    server_time: datetime


class InboundReader:
    """
    Reads where messages are waited for, again and again; what it remembers makes the next poll cheaper.

    :param hook: makes the requests, shared with other readers of the same event loop.
    :param filter_: where to read.
    :param sweep_first: whether the first poll of a line reads every chat; not worth it where another reader follows.
    """

    def __init__(self, hook: LinqAsyncHook, filter_: MessageFilter, *, sweep_first: bool = True) -> None:
        self._hook = hook
        self._filter = filter_
        self._read: dict[str, datetime] = {}  # chat -> its updated_at when it was last read
        self._swept_at = float("-inf") if sweep_first else time.monotonic()
        self._is_updated_at_reliable: bool | None = None

    async def poll(self, since: datetime, *, shared_for: float = 0.0) -> PollResult:
        """
        Return all messages of the chats in which something may have come in since a moment.

        One chat that can't be read does not hold up the others: it is read again in the next poll.

        :param shared_for: how many seconds old the responses to others may be.
        :raises LinqError: see ``linq_client.errors``; nothing could be read.
        """
        return await with_present_key(self._hook, lambda: self._poll(since, shared_for))

    async def _poll(self, since: datetime, shared_for: float) -> PollResult:
        not_before = asyncio.get_running_loop().time() - shared_for
        client = await self._hook.aclient()
        if self._filter.chat_id is not None:
            chat_id = self._filter.chat_id
            shared = await shared_reads().read(
                (client, "messages", chat_id), lambda: _messages(client, chat_id), not_before=not_before
            )
            return shared.value
        line, to = self._filter.line, self._filter.from_handle
        listed = await shared_reads().read(
            (client, "chats", line, to), lambda: _chats(client, line, to), not_before=not_before
        )
        is_due = time.monotonic() - self._swept_at >= SWEEP_EVERY
        sweep = to is not None or self._is_updated_at_reliable is False or is_due
        due = [chat for chat in listed.value.chats if sweep or self._may_have_new(chat, since)]
        messages, error = await self._read_chats(client, due, listed)
        read = [chat for chat in due if chat.id in messages]
        self._read.update((chat.id, chat.updated_at) for chat in read)
        self._swept_at = time.monotonic() if sweep and error is None else self._swept_at
        if self._is_updated_at_reliable is not False:  # it stays so: one chat was enough
            shown = (ListedChat.of(chat, listed.value.server_time) for chat in read)
            signals = [chat.signal(map(arrived_at, messages[chat.id])) for chat in shown]
            self._is_updated_at_reliable = combine(self._is_updated_at_reliable, signals)
        return PollResult(
            [message for found in messages.values() for message in found],
            listed.value.server_time,
            {chat.id: handle.handle for chat in listed.value.chats for handle in chat.handles if handle.is_me},
            error,
        )

    def _may_have_new(self, chat: Chat, since: datetime) -> bool:
        known = self._read.get(chat.id)
        return chat.updated_at + CLOCK_TOLERANCE >= since if known is None else chat.updated_at != known

    async def _read_chats(
        self, client: LinqClient, chats: list[Chat], listed: SharedResponse[_ListedChats]
    ) -> tuple[dict[str, list[Message]], Exception | None]:
        """Return the messages of each chat that could be read, and why others could not."""
        limit = asyncio.Semaphore(_CONCURRENT_READS)
        messages: dict[str, list[Message]] = {}
        errors: list[Exception] = []

        async def read(chat_id: str) -> None:
            async with limit:
                if len(errors) >= _MAX_UNREADABLE:
                    return
                try:
                    # A response from before the list was made may lack the message that the list tells of.
                    shared = await shared_reads().read(
                        (client, "messages", chat_id),
                        lambda: _messages(client, chat_id),
                        not_before=listed.requested_at,
                    )
                    messages[chat_id] = shared.value.messages
                except ChatNotFoundError:
                    messages[chat_id] = []  # gone since it was listed
                except Exception as error:
                    errors.append(error)

        await asyncio.gather(*(read(chat.id) for chat in chats))
        return messages, errors[0] if errors else None


def _chats(client: LinqClient, line: str | None, to: str | None) -> _ListedChats:
    reader = StableListReader.of(client.chats.list(from_=line, to=to))
    chats = [Chat.model_validate(item) for item in reader]
    assert reader.started is not None
    return _ListedChats(chats, reader.started)


def _messages(client: LinqClient, chat_id: str) -> PollResult:
    reader = StableListReader.of(client.messages.list(chat_id))
    messages = [Message.model_validate(item) for item in reader]
    assert reader.started is not None
    return PollResult(messages, reader.started, {})
