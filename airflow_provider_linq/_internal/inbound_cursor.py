"""How far a watcher of inbound messages has come."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from airflow_provider_linq._internal.durable import CURSOR_FORMAT, FormatError, check_format
from airflow_provider_linq._internal.inbound import SWEEP_EVERY
from airflow_provider_linq._internal.message_filter import MessageFilter
from linq_client import RetentionWindow
from linq_client.models import Message
from linq_client.sync import arrived_at
from linq_client.times import format_datetime, parse_datetime, parse_datetime_or_none

#: How far back each poll reaches. A message that a chat did not show is found by the next sweep, so it is longer.
OVERLAP: Final = timedelta(seconds=SWEEP_EVERY) + timedelta(minutes=5)

#: How far behind the newest message a cursor in the webhook archive says that the API was read: the longest retention
#: window that there is. What is not in the archive by then, since its receiver was down or still has it in a spool, the
#: API shows to a watcher that goes back to it.
ARCHIVE_OVERLAP: Final = timedelta(hours=24)

#: For how long all messages of an archive are known in memory, however many they are.
_KNOWN_FOR: Final = timedelta(hours=1)

#: How many of the newest messages that it knows a cursor stores; it stays below the 64 KB at which Airflow warns. Of
#: more than that in 20 minutes, the oldest may have a second event after a restart, and none has none.
STORED_MESSAGES: Final = 5_000

_DIGEST_BYTES: Final = 6
_DIGEST_LENGTH: Final = 8  # in Base64
_MINUTE: Final = timedelta(minutes=1)
#: What a moment that nothing can be later than is read as.
_NEVER: Final = datetime.max.replace(tzinfo=timezone.utc)


class Known(NamedTuple):
    """A message for which there was an event: when it arrived, and in which chat, if that is still known."""

    arrived: datetime
    chat_id: str | None = None


class Gap(NamedTuple):
    """A time in which messages may have come and expired while nobody looked."""

    start: datetime
    end: datetime


@dataclass(frozen=True)
class ArchivePlace:
    """
    How far a watcher has read the webhook archive: what comes after `position` counts.

    :param archive: digest of its URL.
    :param position: None for the beginning.
    :param since: messages that arrived earlier don't count: the watcher has had them from elsewhere. None if all do.
    :param chats: the same of single chats, which could not be read elsewhere.
    """

    archive: str
    position: str | None
    since: datetime | None = None
    chats: Mapping[str, datetime] = field(default_factory=dict)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> ArchivePlace:
        chats = {chat_id: _moment(since) for chat_id, since in found["chats"].items()}
        since = None if found["since"] is None else _moment(found["since"])
        return cls(str(found["archive"]), found["position"], since, chats)

    def to_json(self) -> dict[str, Any]:
        return {
            "archive": self.archive,
            "position": self.position,
            "since": None if self.since is None else format_datetime(self.since),
            "chats": {chat_id: format_datetime(since) for chat_id, since in self.chats.items()},
        }


@dataclass(frozen=True)
class Cursor:
    """
    How far a watcher has come: messages that arrived at `after` or later count, but for those that it knows.

    One that watches the webhook archive has a place in it besides. The rest then says what it means to a watcher of the
    API, so that either can continue where the other one stopped.

    :param after: in server time, well behind the present, since messages become visible out of order.
    :param known: the messages since `after` for which there was an event, by a digest of the id.
    :param looked: the server's time at the last poll; None if there was none.
    :param set_aside: chats that can't be read, and since when messages in them count.
    :param archive: the place in the webhook archive; None of one that watches the API.
    :param watcher: digest of the archive that its watcher has, also while that asks the API; None of one without.
    """

    after: datetime
    known: Mapping[str, Known] = field(default_factory=dict)
    looked: datetime | None = None
    set_aside: Mapping[str, datetime] = field(default_factory=dict)
    archive: ArchivePlace | None = None
    watcher: str | None = None

    def new(self, messages: Iterable[Message], filter_: MessageFilter) -> list[Message]:
        """Return the messages that there was no event for yet, in the order of their arrival."""
        found = {
            message.id: message
            for message in messages
            if self._counts(message) and _digest(message.id) not in self.known and filter_.matches(message)
        }
        return sorted(found.values(), key=lambda message: (arrived_at(message), message.id))

    def _counts(self, message: Message) -> bool:
        if self.archive is None:
            since: datetime | None = self.set_aside.get(message.chat_id, self.after)
        else:
            since = self.archive.chats.get(message.chat_id, self.archive.since)
        return since is None or arrived_at(message) >= since

    def with_events(self, new: Iterable[Message]) -> Cursor:
        """Return the cursor after there was an event for each of `new`."""
        events = {_digest(message.id): Known(arrived_at(message), message.chat_id) for message in new}
        return replace(self, known={**self.known, **events})

    def moved(self, server_time: datetime, set_aside: Collection[str] = ()) -> Cursor:
        """
        Return the cursor after a poll.

        :param server_time: when the poll began.
        :param set_aside: the chats that it could not read; all others were read.
        """
        after = max(self.after, server_time - OVERLAP)
        since = {chat_id: self.set_aside.get(chat_id, self.after) for chat_id in set_aside}

        def counts(message: Known) -> bool:
            return message.arrived >= after or (message.chat_id in since and message.arrived >= since[message.chat_id])

        known = {digest: message for digest, message in self.known.items() if counts(message)}
        return Cursor(after, known, max(self.looked or server_time, server_time), since)

    def in_archive(self, archive: str, position: str | None) -> Cursor:
        """
        Return the cursor of a watcher that continues in the webhook archive.

        :param archive: digest of its URL.
        :param position: before all that arrived since this cursor.
        """
        return replace(self, set_aside={}, archive=ArchivePlace(archive, position, self.after, self.set_aside))

    @property
    def begins_at(self) -> datetime:
        """Since when messages count that are not known, in whatever chat."""
        return min([self.after, *self.set_aside.values()])

    def moved_in_archive(self, position: str | None, newest: datetime | None, looked: datetime) -> Cursor:
        """
        Return the cursor after the archive was read up to a position.

        :param newest: when the newest message of it came, by the platform's clock.
        :param looked: the platform's time by then, or an earlier one.
        """
        assert self.archive is not None
        archive = replace(self.archive, position=position)
        looked = max(self.looked or looked, looked)
        if newest is None:
            return replace(self, archive=archive, looked=looked)
        after = max(self.after, newest - ARCHIVE_OVERLAP)
        # An event may be stored twice, hours apart, so the newest are known however old they are.
        by_age = sorted(self.known.items(), key=lambda item: item[1].arrived, reverse=True)
        known = {
            digest: message
            for number, (digest, message) in enumerate(by_age)
            if number < STORED_MESSAGES or message.arrived >= newest - _KNOWN_FOR
        }
        return replace(self, after=after, known=known, looked=looked, archive=archive)

    def continued_beside(self, latest: Cursor) -> Cursor:
        """
        Return a cursor in one archive, for a watcher that has watched another one since, or of which another one does.

        :param latest: the cursor of the latest of them.
        """
        return replace(self, known={**latest.known, **self.known})

    def is_ahead_of(self, moment: datetime) -> bool:
        """Whether the cursor can't be true, since it says that the API was read after a moment."""
        # In an archive nobody knows the API's time, but for that of events.
        looked = None if self.archive is not None else self.looked
        return max(self.after, looked or self.after) > moment

    def gap(self, server_time: datetime, window: RetentionWindow | None) -> Gap | None:
        """Return when messages may have come and expired before a poll at `server_time`; None if none may have."""
        if window is None or self.looked is None:
            return None
        end = server_time - window.length
        return Gap(self.looked, end) if end > self.looked else None

    def to_json(self) -> dict[str, Any]:
        newest = sorted(self.known.items(), key=lambda item: item[1].arrived)[-STORED_MESSAGES:]
        in_minute: defaultdict[str, list[str]] = defaultdict(list)
        in_chat: defaultdict[str, list[str]] = defaultdict(list)
        for digest, message in newest:
            if message.chat_id is not None and message.chat_id in self.set_aside:
                in_chat[message.chat_id].append(digest)
            else:
                minute = message.arrived.replace(second=0, microsecond=0)
                end = minute if minute == message.arrived else minute + _MINUTE
                in_minute[format_datetime(end)].append(digest)
        return {
            "format": CURSOR_FORMAT,
            "after": format_datetime(self.after),
            "looked": None if self.looked is None else format_datetime(self.looked),
            "known": {minute: "".join(digests) for minute, digests in in_minute.items()},
            "set_aside": {
                chat_id: {"since": format_datetime(since), "known": "".join(in_chat[chat_id])}
                for chat_id, since in self.set_aside.items()
            },
            **({} if self.archive is None else {"archive": self.archive.to_json()}),
            **({} if self.watcher is None else {"watcher": self.watcher}),
        }

    @classmethod
    def from_json(cls, name: str, stored: object) -> Cursor:
        """
        Read a cursor from the store.

        :param name: under which it was stored.
        :raises FormatError: another version wrote it.
        """
        found = check_format(name, stored, newest=CURSOR_FORMAT)
        try:
            after = _moment(found["after"])
            if found["format"] == 1:
                arrivals = {_digest(id_): parse_datetime_or_none(arrived) for id_, arrived in found["known"].items()}
                known = {digest: Known(arrived) for digest, arrived in arrivals.items() if arrived is not None}
                return cls(after, known, looked=after)
            looked = None if found["looked"] is None else _moment(found["looked"])
            set_aside = {chat_id: _moment(chat["since"]) for chat_id, chat in found["set_aside"].items()}
            known = {
                digest: Known(_moment(minute)) for minute, digests in found["known"].items() for digest in _cut(digests)
            }
            known |= {
                digest: Known(looked or after, chat_id)
                for chat_id, chat in found["set_aside"].items()
                for digest in _cut(chat["known"])
            }
            place = found.get("archive")
            archive = None if place is None else ArchivePlace.from_json(place)
            watcher = found.get("watcher", None if archive is None else archive.archive)
            return cls(after, known, looked, set_aside, archive, None if watcher is None else str(watcher))
        except (LookupError, ValueError, TypeError, AttributeError) as error:
            raise FormatError(f"{name}: the cursor can't be read: {type(error).__name__}") from None


def _digest(message_id: str) -> str:
    return b64encode(blake2b(message_id.encode(), digest_size=_DIGEST_BYTES).digest()).decode()


def _cut(digests: str) -> list[str]:
    b64decode(digests, validate=True)
    return [digests[start : start + _DIGEST_LENGTH] for start in range(0, len(digests), _DIGEST_LENGTH)]


def _moment(text: str) -> datetime:
    """Read a moment; the year 9999, which no clock shows, is `_NEVER`, and the cursor is doubted for it."""
    if parse_datetime_or_none(text) is None and text.startswith("9999-"):
        return _NEVER
    return parse_datetime(text)
