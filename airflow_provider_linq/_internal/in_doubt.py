"""Whether the platform has a message of whose send nobody knows the outcome: a look into the chats.

The API doesn't show idempotency keys, so a message of ours is recognised by its parts. Proof that something is absent
is harder than proof that it is there:

- A list counts only if it was read until it held still, to its end.
- The platform may show a number in another form than it was sent to, may have changed who is in a group, and may not
  find groups by `to`. So where no chat is found, the chats of the whole line are read, and a message there that nobody
  else explains makes absence uncertain.
- What may have expired is not absent, it is gone.

A caller believes :attr:`Resolution.ABSENT` only where the last request is old enough, see `key_lifetimes`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from threading import Lock
from typing import Final, TypeAlias

from airflow_provider_linq._internal.key_lifetimes import CLOCK_SKEW, LIST_LAG
from linq_client import ChatNotFoundError, LinqClient, RetentionWindow, models, normal_handle
from linq_client.sync import read_stable

Handles: TypeAlias = tuple[str, ...]

#: Kind and text of each part: what can be compared of a message before and after it was sent.
Content: TypeAlias = tuple[tuple[object, object], ...]

#: So many unexplained chats of a line are read in search of a message; where there are more, absence is uncertain.
MAX_UNEXPLAINED: Final = 200

#: Two forms of one phone number have so many last digits in common (+52 1 55… and +52 55…, +55 11 9… and +55 11 …).
COMMON_DIGITS: Final = 8


class Resolution(Enum):
    """What a look came to, where the message itself was not found."""

    #: Everything that could hold the message was read, and it is not there.
    ABSENT = "absent"
    #: Something may be the message, or it may have expired.
    UNCLEAR = "unclear"


@dataclass(frozen=True)
class Found:
    """
    The message, as the platform has it.

    :param line: own line that it went from, as far as the chat tells.
    """

    line: str | None
    chat_id: str
    message: models.Message


def others_of(chat: models.Chat, own: Iterable[str], *, active_only: bool = False) -> Handles:
    """Return the handles of the other side in lower case, sorted; an own line may be on the other side, too."""
    mine = {handle.handle for handle in chat.handles if handle.is_me} or set(own)
    there = (handle for handle in chat.handles if not active_only or handle.status in (None, "active"))
    return tuple(sorted({normal_handle(handle.handle) for handle in there if handle.handle not in mine}))


def line_of(chat: models.Chat, own: Collection[str]) -> str | None:
    """Return the own line of a chat."""
    mine = [handle.handle for handle in chat.handles if handle.is_me]
    return next(iter(mine or [handle.handle for handle in chat.handles if handle.handle in own]), None)


def content_of(parts: Iterable[object]) -> Content:
    """Return what can be compared of a message; files have other ids and names once they are sent."""
    return tuple((getattr(part, "type", None), getattr(part, "value", None)) for part in parts)


def is_comparable(content: Content) -> bool:
    """Whether a message says anything that it can be recognised by."""
    return any(value is not None for _, value in content)


def may_be_same_handle(one: str, other: str) -> bool:
    """Whether two handles may be forms of one: equal, or numbers with the same last digits."""
    if one.casefold() == other.casefold():
        return True
    ends = [re.sub(r"\D", "", handle)[-COMMON_DIGITS:] for handle in (one, other) if "@" not in handle]
    return len(ends) == 2 and ends[0] == ends[1] and len(ends[0]) == COMMON_DIGITS


@dataclass
class _LineChats:
    """
    The chats of a line, read for all who ask about it, and what was ever sent in those that no recipient explains.

    Each reading is kept with the moment when it began, so it counts for all who began to look before that and wait for
    it. A chat that is gone, and so can't be read, has None.
    """

    lock: Lock = field(default_factory=Lock)
    read_at: datetime | None = None
    chats: list[models.Chat] = field(default_factory=list)
    sent_in: dict[str, tuple[datetime, list[models.Message] | None]] = field(default_factory=dict)


class ChatLookup:
    """
    Looks for messages that were sent, from any number of threads.

    :param client: makes the reads.
    :param own: returns all lines of the account.
    :param retention: how long the platform keeps a message; None if for ever.
    :param clock: returns the API's time.
    :param passes_over: whether a message that was sent is as good as none; by default none is.
    """

    def __init__(
        self,
        client: LinqClient,
        own: Callable[[], Collection[str]],
        retention: RetentionWindow | None,
        clock: Callable[[], datetime],
        *,
        passes_over: Callable[[models.Message], bool] = lambda message: False,
    ) -> None:
        self._client = client
        self._own = own
        self._retention = retention
        self._clock = clock
        self._passes_over = passes_over
        self._lines: dict[str | None, _LineChats] = {}
        self._lock = Lock()

    def resolve(
        self,
        to: Handles,
        content: Content | None,
        *,
        line: str | None,
        since: datetime,
        as_of: datetime | None = None,
        is_known: Callable[[Handles], bool] = lambda others: False,
    ) -> Found | Resolution:
        """
        Look for a message to some handles that may have been sent at `since` or later.

        :param to: handles in lower case, sorted.
        :param content: of the message, see :func:`content_of`; None if it can't be told any more.
        :param line: own line that it may have been sent from; None if any.
        :param since: by the API's clock.
        :param as_of: since when a reading that was made for others counts; by default not for long.
        :param is_known: whether handles are those of another recipient, whose messages explain themselves.
        :raises LinqError: something could not be read.
        """
        since -= CLOCK_SKEW
        as_of = self._clock() - LIST_LAG if as_of is None else as_of
        own = self._own()
        is_group = len(to) > 1
        listed = read_stable(self._client.chats.list(from_=line, to=to[0]))
        ours = [chat for chat in listed if _is_for(chat, to, own)]
        # The filter knows its numbers: a direct chat that it returns is the recipient's, whatever form it shows.
        ours += [] if is_group else [chat for chat in listed if not chat.is_group and chat not in ours]
        unsure = [chat for chat in listed if is_group and chat.is_group and chat not in ours]
        if not ours:
            chats = self._chats_of(line, as_of)
            ours = [chat for chat in chats if _is_for(chat, to, own)]
            unexplained = [chat for chat in chats if _may_be_for(chat, to, own, since)]
            unsure += [] if ours else unexplained
        is_unclear = False
        for chat in ours:
            in_chat = self._sent_in(chat.id)
            is_unclear |= in_chat is None
            for sent in _since(in_chat, since):
                if content is not None and is_comparable(content) and content_of(sent.parts) == content:
                    return Found(line_of(chat, own), chat.id, sent)
                is_unclear = True
        unsure = [chat for chat in unsure if not is_known(others_of(chat, own))]
        is_unclear = is_unclear or len(unsure) > MAX_UNEXPLAINED
        is_unclear = is_unclear or any(
            self._may_be_in(chat, self._kept(chat, line, as_of), to, content, since) for chat in unsure
        )
        # Last, since what was there when the look began may have expired before the chats were read.
        is_unclear = is_unclear or self._may_have_expired(since, self._clock())
        return Resolution.UNCLEAR if is_unclear else Resolution.ABSENT

    def resolve_chat(self, chat_id: str, content: Content | None, *, since: datetime) -> Found | Resolution:
        """
        Look for a message that may have been sent to a chat at `since` or later; arguments as of :meth:`resolve`.

        In a chat that is gone it is absent: nothing can be sent there a second time.

        :raises LinqError: the chat could not be read.
        """
        since -= CLOCK_SKEW
        sent = _since(self._sent_in(chat_id), since)
        for message in sent:
            if content is not None and is_comparable(content) and content_of(message.parts) == content:
                return Found(None, chat_id, message)
        return Resolution.UNCLEAR if sent or self._may_have_expired(since, self._clock()) else Resolution.ABSENT

    def _may_have_expired(self, since: datetime, now: datetime) -> bool:
        return self._retention is not None and since < self._retention.oldest_kept(now)

    def _sent_in(self, chat_id: str) -> list[models.Message] | None:
        """Return what was ever sent in a chat; None if it is gone."""
        try:
            messages = read_stable(self._client.messages.list(chat_id))
        except ChatNotFoundError:
            return None
        return [message for message in messages if message.is_from_me and not self._passes_over(message)]

    def _may_be_in(
        self,
        chat: models.Chat,
        in_chat: list[models.Message] | None,
        to: Handles,
        content: Content | None,
        since: datetime,
    ) -> bool:
        """Whether a chat that nobody explains may hold the message."""
        sent = _since(in_chat, since)
        # A chat with strangers can be anybody's: there, only the same words make a message ours.
        is_anyones = not _is_alike(to, others_of(chat, self._own()))
        if is_anyones and content is not None and is_comparable(content):
            sent = [message for message in sent if content_of(message.parts) == content]
        return in_chat is None or bool(sent)

    def _kept(self, chat: models.Chat, line: str | None, as_of: datetime) -> list[models.Message] | None:
        whole_line = self._line(line)
        with whole_line.lock:
            kept = whole_line.sent_in.get(chat.id)
            if kept is None or kept[0] < as_of:
                kept = whole_line.sent_in[chat.id] = self._clock(), self._sent_in(chat.id)
        return kept[1]

    def _line(self, line: str | None) -> _LineChats:
        with self._lock:
            return self._lines.setdefault(line, _LineChats())

    def _chats_of(self, line: str | None, as_of: datetime) -> list[models.Chat]:
        whole_line = self._line(line)
        with whole_line.lock:
            if whole_line.read_at is None or whole_line.read_at < as_of:
                read_at = self._clock()
                whole_line.chats = read_stable(self._client.chats.list(from_=line))
                whole_line.read_at = read_at
            return whole_line.chats


def _since(sent: Iterable[models.Message] | None, since: datetime) -> list[models.Message]:
    return [message for message in sent or () if message.created_at >= since]


def _is_for(chat: models.Chat, to: Handles, own: Collection[str]) -> bool:
    """Whether a chat is with exactly these handles, those who have left it counted or not."""
    return to in (others_of(chat, own), others_of(chat, own, active_only=True))


def _may_be_for(chat: models.Chat, to: Handles, own: Collection[str], since: datetime) -> bool:
    """Whether a chat under other handles may be the one: it is new, or shows one of theirs in another form."""
    if chat.is_group != (len(to) > 1):
        return False
    return chat.created_at >= since or _is_alike(to, others_of(chat, own))


def _is_alike(to: Handles, others: Handles) -> bool:
    """Whether one of these handles may be one of the others, in this form or another."""
    return any(may_be_same_handle(one, other) for one in to for other in others)
