"""Messages that come in: which of them are wanted, and how a chat, a handle or a line is read for them.

The API has no "since" and promises no order, so a chat is always read whole. Whether a new message moves `updated_at`
of its chat is not documented either: a line is read by that field, and every chat of it is read now and then all the
same, always if the field turns out not to show new messages.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from importlib import import_module
from typing import Any, Final

from airflow.sdk.timezone import convert_to_utc, parse

from airflow_provider_linq._internal.polling import Reading, shared_reads
from airflow_provider_linq._internal.xcom import inbound_message
from airflow_provider_linq.hooks.linq import LinqAsyncHook
from linq_client import InvalidRequestError, LinqClient, NotFoundError, Page, check_handle, check_line
from linq_client.models import Chat, Message

#: How often every chat of a line is read: a quarter of the shortest retention window there is.
SWEEP_EVERY: Final = 900.0
#: How far `updated_at` of a chat and its newest message may be apart and still mean the same event.
TOLERANCE: Final = timedelta(minutes=1)
_AT_ONCE: Final = 4
_NO_SUCH_CHAT: Final = 2001
#: After so many chats that could not be read, it is not the chats: the rest waits for the next look.
_GIVE_UP_AFTER: Final = 3


@dataclass(frozen=True)
class Wanted:
    """Where messages are waited for, and which. Checked when it is made.

    :param chat_id: in this chat.
    :param from_handle: from this handle, in any chat if none is given.
    :param line: to this own line.
    :param text_matches: regular expression that is searched in the text.
    :param predicate: dotted path of a function that takes an ``InboundMessage`` and says whether it is wanted.
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

    def fits(self, message: Message) -> bool:
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
        """Return the first wanted message at or after a moment, whatever the order of the list."""
        found = (message for message in messages if message.created_at >= since and self.fits(message))
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


def moment(value: datetime | str, field: str = "since") -> datetime:
    """Return an aware UTC datetime; one without an offset is in Airflow's default time zone, as everywhere in Airflow.

    :raises InvalidRequestError: it is no moment.
    """
    try:
        parsed = parse(value, strict=True) if isinstance(value, str) else value
    except ValueError:
        parsed = None
    if not isinstance(parsed, datetime):
        raise InvalidRequestError(f"{field}: must be a datetime or an ISO 8601 string, got {value!r}")
    return convert_to_utc(parsed)


def on_clock(ours: datetime, their_now: datetime) -> datetime:
    """Translate a moment of our clock to that of another, which shows `their_now`.

    Theirs is rounded down to a second and was read a little while ago: the result is never late.
    """
    return ours + (their_now - datetime.now(timezone.utc))


def arrival(message: Message) -> datetime:
    """When a message came to be listed, as far as it tells: recovered late, it can have an old `created_at`."""
    return max(message.created_at, message.reconciled_at or message.created_at)


@dataclass(frozen=True)
class Seen:
    """What a look brought: messages, of either direction, and the API's clock when it began.

    :param lines: the own line of each chat that was listed.
    :param error: why some chats could not be read, if so.
    """

    messages: list[Message]
    server_time: datetime
    lines: dict[str, str]
    error: Exception | None = None


@dataclass(frozen=True)
class _Listed:
    chats: list[Chat]
    server_time: datetime


class InboundReader:
    """Reads where messages are waited for, again and again; what it remembers makes the next look cheaper.

    :param hook: makes the requests, shared with other readers of the same event loop.
    :param sweep_first: whether the first look at a line reads every chat; not worth it where another reader follows.
    """

    def __init__(self, hook: LinqAsyncHook, wanted: Wanted, *, sweep_first: bool = True) -> None:
        self._hook = hook
        self._wanted = wanted
        self._read: dict[str, datetime] = {}  # chat -> its updated_at when it was last read
        self._swept_at = float("-inf") if sweep_first else time.monotonic()
        self._hidden = False

    async def look(self, since: datetime, *, shared_for: float = 0.0) -> Seen:
        """Return all messages of the chats in which something may have come in since a moment.

        :param shared_for: how many seconds old the answers of others may be.
        One chat that can't be read does not hold up the others: it is read again in the next look.

        :raises LinqError: see ``linq_client.errors``; nothing could be read.
        """
        not_before = asyncio.get_running_loop().time() - shared_for
        client = await self._hook.aclient()
        if self._wanted.chat_id is not None:
            chat_id = self._wanted.chat_id
            seen = await shared_reads().read(
                (client, "messages", chat_id), lambda: _messages(client, chat_id), not_before=not_before
            )
            return seen.value
        line, to = self._wanted.line, self._wanted.from_handle
        listed = await shared_reads().read(
            (client, "chats", line, to), lambda: _chats(client, line, to), not_before=not_before
        )
        sweep = to is not None or self._hidden or time.monotonic() - self._swept_at >= SWEEP_EVERY
        due = [chat for chat in listed.value.chats if sweep or self._is_due(chat, since)]
        messages, error = await self._read_chats(client, due, listed)
        read = [chat for chat in due if chat.id in messages]
        self._read.update((chat.id, chat.updated_at) for chat in read)
        self._swept_at = time.monotonic() if sweep and error is None else self._swept_at
        self._hidden = self._hidden or any(_hides(chat, messages[chat.id], listed.value.server_time) for chat in read)
        return Seen(
            [message for found in messages.values() for message in found],
            listed.value.server_time,
            {chat.id: handle.handle for chat in listed.value.chats for handle in chat.handles if handle.is_me},
            error,
        )

    def _is_due(self, chat: Chat, since: datetime) -> bool:
        known = self._read.get(chat.id)
        return chat.updated_at + TOLERANCE >= since if known is None else chat.updated_at != known

    async def _read_chats(
        self, client: LinqClient, chats: list[Chat], listed: Reading[_Listed]
    ) -> tuple[dict[str, list[Message]], Exception | None]:
        """Return the messages of each chat that could be read, and why others could not."""
        limit = asyncio.Semaphore(_AT_ONCE)
        messages: dict[str, list[Message]] = {}
        errors: list[Exception] = []

        async def read(chat_id: str) -> None:
            async with limit:
                if len(errors) >= _GIVE_UP_AFTER:
                    return
                try:
                    # An answer from before the list was made may lack the message that the list tells of.
                    seen = await shared_reads().read(
                        (client, "messages", chat_id), lambda: _messages(client, chat_id), not_before=listed.began
                    )
                    messages[chat_id] = seen.value.messages
                except Exception as error:
                    if isinstance(error, NotFoundError) and error.code == _NO_SUCH_CHAT:
                        messages[chat_id] = []  # gone since it was listed
                    else:
                        errors.append(error)

        await asyncio.gather(*(read(chat.id) for chat in chats))
        return messages, errors[0] if errors else None


def _hides(chat: Chat, messages: Iterable[Message], listed_at: datetime) -> bool:
    """Whether a chat has a message, there when it was listed, that its `updated_at` did not show."""
    return any(chat.updated_at + TOLERANCE < arrival(message) < listed_at - TOLERANCE for message in messages)


def _chats(client: LinqClient, line: str | None, to: str | None) -> _Listed:
    pages: list[Page] = list(client.chats.list(from_=line, to=to).pages())
    return _Listed([Chat.model_validate(item) for page in pages for item in page.items], pages[0].server_time)


def _messages(client: LinqClient, chat_id: str) -> Seen:
    pages = list(client.messages.list(chat_id).pages())
    messages = [Message.model_validate(item) for page in pages for item in page.items]
    return Seen(messages, pages[0].server_time, {})
