"""Inbound messages as the webhook archive tells of them, without a request to the API.

A triggerer reads each archive once, however many watch it: a `_Feed` reads on from the end, and each `ArchiveReader`
takes what has come since it last looked. One that starts further back reads alone until it has caught up.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import parse_qsl, urlsplit
from weakref import WeakKeyDictionary, WeakValueDictionary

from pydantic import ValidationError

from airflow_provider_linq._internal.polling import in_thread, shared_reads
from linq_client import InvalidRequestError, LinqError, models, webhooks
from linq_client.sync import CLOCK_TOLERANCE
from linq_client.times import parse_datetime_or_none

if TYPE_CHECKING:
    from airflow_provider_linq._internal.message_filter import MessageFilter
    from airflow_provider_linq.hooks.linq import LinqAsyncHook, LinqSettings
    from linq_webhooks.archive import Archive, StoredEvent

log = logging.getLogger(__name__)

T = TypeVar("T")


#: The event that says that a message came in.
_RECEIVED: Final = "message.received"

#: Names of arguments in a URL whose values are secret.
_SECRET_NAME: Final = re.compile(r"pass(word|wd|phrase)|secret|token|credential|signature|^(sig|key|pwd)$|_key$|apikey")

#: How far the receiver's clock may be from the platform's: it refuses deliveries that seem older or newer than that.
_RECEIVER_TOLERANCE: Final = timedelta(seconds=webhooks.TOLERANCE_SECONDS) + CLOCK_TOLERANCE

#: How many events are read between two looks at what is wanted.
_BATCH: Final = 5_000

#: How many of the newest messages a feed keeps for those who watch it. One that is further behind reads alone.
_KEPT: Final = 10_000


@dataclass(frozen=True)
class ArchivedMessage:
    """
    A message that came in, as its event tells it.

    :param message: in the form of the API's.
    :param line: the own line; None if the event does not say.
    :param before: a position from which the archive begins with its event; None for the beginning.
    """

    message: models.Message
    line: str | None
    before: str | None


@dataclass(frozen=True)
class ArchiveBatch:
    """
    What was read of an archive.

    :param messages: those that came in.
    :param position: after all that was read.
    :param newest: when the newest message came, by the platform's clock; None if there is none.
    :param is_end: whether nothing more was there.
    """

    messages: Sequence[ArchivedMessage]
    position: str | None
    newest: datetime | None
    is_end: bool


def check_archive_url(url: str) -> str:
    """
    Return the URL of an archive unchanged; it is stored with triggers and in DAGs, so it must hold no password.

    :raises InvalidRequestError: it does, or is none. It is not quoted then.
    """
    if not isinstance(url, str) or not url.strip():
        raise InvalidRequestError("webhook_archive: must be a folder, or a URL of files or of a database, got none")
    try:
        has_password = any(map(_has_password, url.split("::")))
    except ValueError:
        raise InvalidRequestError("webhook_archive: must be a folder or a URL, got neither") from None
    if has_password:
        raise InvalidRequestError(
            "webhook_archive: must hold no password, since it is stored with the DAG, got one; give it in the "
            "environment of workers and triggerer (PGPASSWORD or PGPASSFILE for PostgreSQL)"
        )
    return url


def _has_password(url: str) -> bool:
    parts = urlsplit(url)
    # `sig` signs a link to Azure's storage: who has it has access.
    names = (name.lower() for name, _ in parse_qsl(parts.query))
    return parts.password is not None or any(_SECRET_NAME.search(name) for name in names)


def archive_digest(url: str) -> str:
    """Return what tells archives apart in a cursor: a position in one means nothing in another."""
    return hashlib.sha256(url.encode()).hexdigest()[:16]


def open_for_reading(url: str, settings: LinqSettings) -> Archive:
    """
    Open an archive with the key of the connection. No request is made yet.

    :raises LinqError: the URL or the key is none, or a package is missing.
    """
    from linq_webhooks.archive import open_archive  # brings libraries that nobody else needs

    secret = settings.webhook_archive_secret
    return open_archive(check_archive_url(url), encryption_key=None if secret is None else secret.encode())


def is_replaced(error: Exception) -> bool:
    """Whether an archive is not the one that a position is of, so that the position means nothing in it."""
    from linq_webhooks.archive import ArchiveReplacedError

    return isinstance(error, ArchiveReplacedError)


def read_batch(archive: Archive, position: str | None) -> ArchiveBatch:
    """
    Read on from a position, up to some thousand events.

    :raises LinqError: nothing could be read.
    """
    messages: list[ArchivedMessage] = []
    newest: datetime | None = None
    count = 0
    try:
        for stored, after in islice(archive.read(position), _BATCH):
            found = None if stored.event_type != _RECEIVED else _message_of(stored)
            if found is not None:
                message, line, created = found
                messages.append(ArchivedMessage(message, line, position))
                newest = created if newest is None else max(newest, created)
            position, count = after, count + 1
    except LinqError:
        if count == 0:
            raise
        # What was read before it counts; the next read says what is wrong.
        return ArchiveBatch(messages, position, newest, is_end=False)
    return ArchiveBatch(messages, position, newest, is_end=count < _BATCH)


def read_to_end(archive: Archive, position: str | None, take: Callable[[ArchiveBatch], object]) -> str | None:
    """
    Read on to the end, batch by batch, and return the position there.

    :raises LinqError: it could not be read to its end.
    """
    while True:
        batch = read_batch(archive, position)
        take(batch)
        position = batch.position
        if batch.is_end:
            return position


def position_since(archive: Archive, moment: datetime) -> str | None:
    """
    Return a position after which every message comes that was created at a moment, by the API's clock, or later.

    :raises LinqError: the archive can't be read.
    """
    return archive.position_before(moment - _RECEIVER_TOLERANCE)


def matching(batch: ArchiveBatch, filter_: MessageFilter, since: datetime) -> list[ArchivedMessage]:
    """Return the messages that came where, when and with what text they should."""
    return [
        found
        for found in batch.messages
        if filter_.is_in_place(found.message.chat_id, found.line)
        and found.message.created_at >= since
        and filter_.matches(found.message)
    ]


def message_at(archive: Archive, position: str | None, message_id: str) -> models.Message:
    """
    Return a message whose event comes after a position, soon.

    :raises LinqError: the archive can't be read, or does not have it any more.
    """
    is_end = False
    while not is_end:
        batch = read_batch(archive, position)
        for found in batch.messages:
            if found.message.id == message_id:
                return found.message
        position, is_end = batch.position, batch.is_end
    raise InvalidRequestError(f"message {message_id}: is not in the webhook archive any more")


def earliest(found: Sequence[ArchivedMessage]) -> ArchivedMessage:
    """Return the first of some messages, whatever the order of the archive."""
    return min(found, key=lambda one: (one.message.created_at, one.message.id))


def _message_of(stored: StoredEvent) -> tuple[models.Message, str | None, datetime] | None:
    """Return the message of an event, its line, and when it came; None if nobody can make it out."""
    try:
        event = webhooks.parse(stored.body)
        data = event.data
        if not isinstance(data, webhooks.MessageEvent):
            raise LinqError("its data are of no known form")
        # No clock is trusted that is further ahead of the receiver's.
        latest = stored.received_at + _RECEIVER_TOLERANCE
        created = min(event.created_at or stored.received_at, latest)
        line = None if data.chat.owner_handle is None else data.chat.owner_handle.handle
        return _made(data, created, latest), line, created
    except (LinqError, ValidationError) as error:
        # Of what pydantic says, nothing: it may quote.
        why = str(error) if isinstance(error, LinqError) else "a field can't be read"
        log.warning("Event %s of the webhook archive is passed over: %s", stored.event_id, why)
        return None


def _made(data: webhooks.MessageEvent, created: datetime, latest: datetime) -> models.Message:
    """
    Make the message that the API would show.

    Its `created_at` is when the platform had it, and that is when it made the event, if that does not say. A message
    may have been sent long before: who waits for what comes since a moment must not miss it.
    """
    fields = data.model_extra or {}
    at = min(parse_datetime_or_none(fields.get("created_at")) or created, latest)
    return models.ReceivedMessage.model_validate(
        {
            "id": data.id,
            "chat_id": data.chat.id,
            "created_at": at,
            "updated_at": fields.get("updated_at"),
            "is_from_me": data.direction == "outbound",
            "from_handle": data.sender_handle,
            "parts": list(data.parts),
            "service": data.service,
            "sent_at": data.sent_at,
            "effect": data.effect,
            "reply_to": data.reply_to,
            "reconciled_at": data.reconciled_at,
        }
    )


class _Feed:
    """
    What is appended to an archive, for all who watch it in a process.

    :param archive: read by one thread at a time.
    """

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        weakref.finalize(self, archive.close)
        self._lock = threading.Lock()
        self._messages: deque[ArchivedMessage] = deque(maxlen=_KEPT)
        self._newest: datetime | None = None
        self.is_end = True
        self._position: str | None = None
        #: How many messages it has read; None as long as nobody has said where it begins.
        self.count: int | None = None

    def begin(self, position: str | None) -> None:
        """Begin at a position, up to which somebody has read."""
        self._position, self.count = position, 0

    def read_on(self) -> None:
        """Read what was appended. Called in a thread, by one at a time."""
        batch = read_batch(self._archive, self._position)
        with self._lock:
            assert self.count is not None
            self._messages.extend(batch.messages)
            self._newest = batch.newest or self._newest
            self._position, self.is_end = batch.position, batch.is_end
            self.count += len(batch.messages)

    def since(self, count: int) -> tuple[ArchiveBatch, int] | None:
        """Return what has come after so many messages, and how many there are now; None if it was too long ago."""
        with self._lock:
            assert self.count is not None
            new = self.count - count
            if new > len(self._messages):
                return None
            messages = list(islice(self._messages, len(self._messages) - new, None))
            return ArchiveBatch(messages, self._position, self._newest if messages else None, self.is_end), self.count


_feeds_of_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, WeakValueDictionary[tuple[str, str | None], _Feed]] = (
    WeakKeyDictionary()
)


def _shared_feed(url: str, settings: LinqSettings) -> _Feed:
    feeds = _feeds_of_loop.setdefault(asyncio.get_running_loop(), WeakValueDictionary())
    key = (url, settings.webhook_archive_secret)
    feed = feeds.get(key)
    if feed is None:
        feed = feeds[key] = _Feed(open_for_reading(url, settings))
    return feed


class ArchiveReader:
    """
    Reads an archive again and again, together with all others of the event loop that have read as far.

    :param hook: has the connection with the key of the archive; the API is not asked.
    :param url: of the archive.
    """

    def __init__(self, hook: LinqAsyncHook, url: str) -> None:
        self._hook = hook
        self._url = url
        self._feed: _Feed | None = None
        self._count: int | None = None  # how many of the feed's messages it has had; None until it has caught up
        self._own: Archive | None = None

    async def poll(self, position: str | None, *, shared_for: float) -> ArchiveBatch:
        """
        Return what was appended after a position, that of the last poll.

        A message may be returned twice while the reader catches up with the others.

        :param shared_for: how many seconds ago others may have read it.
        :raises LinqError: the archive can't be read; or it is another one, see :func:`is_replaced`: read it from its
            beginning.
        """
        try:
            return await self._poll(await self._present_feed(), position, shared_for)
        except LinqError as error:
            if is_replaced(error):
                self._forget()
            raise

    def _forget(self) -> None:
        """Let all begin with another feed: a position in this one means nothing any more."""
        feeds = _feeds_of_loop[asyncio.get_running_loop()]
        for key in [key for key, feed in feeds.items() if feed is self._feed]:
            del feeds[key]
        self._feed, self._count, self._own = None, None, None

    async def _poll(self, feed: _Feed, position: str | None, shared_for: float) -> ArchiveBatch:
        if self._count is not None:
            not_before = asyncio.get_running_loop().time() - (shared_for if feed.is_end else 0.0)
            await shared_reads().read(feed, "the end", feed.read_on, not_before=not_before)
            if (found := feed.since(self._count)) is not None:
                batch, self._count = found
                return batch
            self._count = None
        return await self._catch_up(feed, position)

    async def read(self, read: Callable[[Archive], T]) -> T:
        """Return what a function reads of the archive, alone, in a thread."""
        feed = await self._present_feed()
        if self._own is None:
            self._own = open_for_reading(self._url, self._hook.settings)
        own = self._own
        return await in_thread(feed, lambda: read(own))

    async def _present_feed(self) -> _Feed:
        """Return the feed, another one if the key in the connection has changed."""
        await self._hook.fetch_connection()
        feed = _shared_feed(self._url, self._hook.settings)
        if feed is not self._feed:
            self._feed, self._count, self._own = feed, None, None
        return feed

    async def _catch_up(self, feed: _Feed, position: str | None) -> ArchiveBatch:
        # What the feed reads meanwhile may be in the batch too, and is then returned twice.
        count = feed.count
        batch = await self.read(lambda archive: read_batch(archive, position))
        if not batch.is_end:
            return batch
        if count is None and feed.count is None:
            feed.begin(batch.position)
            count = feed.count
        if count is not None:
            self._count, own, self._own = count, self._own, None
            if own is not None:
                await in_thread(feed, own.close)
        return batch
