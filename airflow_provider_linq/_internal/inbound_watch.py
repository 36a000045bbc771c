"""What a watcher of inbound messages does at each poll: it asks the API, or reads the webhook archive."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_linq._internal.archive import (
    ArchiveBatch,
    ArchivedMessage,
    ArchiveReader,
    archive_digest,
    is_replaced,
    position_since,
    read_to_end,
)
from airflow_provider_linq._internal.inbound import PATIENCE, InboundReader
from airflow_provider_linq._internal.inbound_cursor import STORED_MESSAGES, ArchivePlace, Cursor, Gap
from airflow_provider_linq._internal.message_filter import MessageFilter
from airflow_provider_linq._internal.polling import (
    SHARED_FOR,
    AgreedTime,
    agreed_server_time,
    describe,
    with_present_key,
)
from airflow_provider_linq._internal.xcom import inbound_message
from airflow_provider_linq.hooks.linq import LinqAsyncHook
from linq_client import LinqError
from linq_client.models import Message
from linq_client.sync import CLOCK_TOLERANCE
from linq_client.times import ServerClock, format_datetime

if TYPE_CHECKING:
    from airflow_provider_linq.triggers.linq_inbound import LinqInboundMessageTrigger

#: How long the cursor may stand still in the store while nothing comes in.
SAVE_EVERY: Final = timedelta(minutes=5)

#: How far back a watcher looks whose cursor can't be true: the longest retention window that there is.
FULL_LOOK: Final = timedelta(hours=24)


#: How often a watcher of the webhook archive asks the API until that has an event, in seconds.
ASK_EVERY: Final = 30.0


class Watch(ABC):
    """One run of a trigger: its cursor, and what it says of each poll."""

    #: Whether more is there that could be read immediately.
    is_behind = False
    #: Digest of the archive that is watched.
    _watcher: str | None = None

    def __init__(self, trigger: LinqInboundMessageTrigger, hook: LinqAsyncHook, filter_: MessageFilter) -> None:
        self._trigger = trigger
        self._hook = hook
        self._filter = filter_
        self._saved: Cursor | None = None
        self._is_store_down = False
        self.cursor: Cursor | None = None

    @abstractmethod
    async def poll(self) -> tuple[dict[str, Any] | None, Exception | None]:
        """
        Poll once.

        :returns: the payload of the event, if there is one, and why not everything could be read.
        """

    async def _save(self, cursor: Cursor) -> None:
        """
        Store the cursor if it is worth it. Called at the beginning of a poll, a poll later than its events.

        Airflow stores an event some time after the yield, and if the triggerer died in between, a cursor that had been
        saved already would have passed it over.

        A store that is out of order holds up no event: after a restart there may be a second one of some messages.
        """
        if not self._is_worth_saving(cursor):
            return
        try:
            await self._trigger.store_cursor(replace(cursor, watcher=self._watcher))
        except Exception as error:
            if not self._is_store_down:  # an archive is polled every other second
                self._trigger.log.warning("The cursor can't be stored, each poll tries again: %s", describe(error))
            self._is_store_down = True
        else:
            self._saved, self._is_store_down = cursor, False

    def _is_worth_saving(self, cursor: Cursor) -> bool:
        saved = self._saved
        if saved is None or cursor.known != saved.known or cursor.set_aside != saved.set_aside:
            return True
        looked = cursor.looked or cursor.after
        return looked - (saved.looked or saved.after) >= SAVE_EVERY

    def _message(self, message: Message, line: str | None) -> dict[str, Any]:
        made = inbound_message(message)
        payload = {
            "chat_id": made["chat_id"],
            "message_id": made["message_id"],
            "line": line,
            "from_handle": made["from_handle"],
            "created_at": made["created_at"],
            "service": made["service"],
        }
        return {**payload, "text": made["text"]} if self._trigger.include_text else payload


class ApiWatch(Watch):
    """
    Asks the API, again and again.

    :param begins_with: what to begin with instead of the cursor of the store.
    :param watcher: digest of the archive that is to be watched.
    """

    def __init__(
        self,
        trigger: LinqInboundMessageTrigger,
        hook: LinqAsyncHook,
        filter_: MessageFilter,
        *,
        begins_with: Cursor | None = None,
        watcher: str | None = None,
    ) -> None:
        super().__init__(trigger, hook, filter_)
        self._begins_with = begins_with
        self._watcher = watcher
        self._reader = InboundReader(hook, filter_, poll_interval=trigger.poll_interval, patience=PATIENCE)
        self._time: AgreedTime | None = None
        self._missed: Gap | None = None

    async def poll(self) -> tuple[dict[str, Any] | None, Exception | None]:
        if self.cursor is None or self._time is None:
            self.cursor, self._time = await self._start()
        else:
            await self._save(self.cursor)
        cursor = self.cursor
        polled = await self._reader.poll(cursor.after, shared_for=self._trigger.poll_interval * SHARED_FOR)
        # In a thread: to search texts may take its time.
        new = await asyncio.to_thread(cursor.new, polled.messages, self._filter)
        cursor = cursor.with_events(new)
        server_time = self._time.note(polled.server_time)
        if polled.error is None:
            self._note_gap(cursor.gap(server_time, self._hook.settings.retention_window))
            cursor = cursor.moved(server_time, polled.set_aside)
        self.cursor = cursor
        return self._payload(new, polled.lines) if new else None, polled.error

    async def _start(self) -> tuple[Cursor, AgreedTime]:
        """Return the cursor of the store, or one that starts now, in server time; and that."""
        log = self._trigger.log
        stored = self._begins_with or await self._trigger.stored_cursor()
        now = await with_present_key(self._hook, lambda: self._hook.call(agreed_server_time))
        if stored is None:
            cursor = Cursor(now, looked=now)
            log.info("Watching %s from %s on: there is no cursor yet", self._filter, format_datetime(now))
            # Before the first poll: until it is saved, a restart would start over and miss what came in before it.
            await self._save(cursor)
            return cursor, AgreedTime(now)
        if stored.is_ahead_of(now + CLOCK_TOLERANCE):
            window = self._hook.settings.retention_window
            after = now - (FULL_LOOK if window is None else window.length)
            cursor = replace(stored, after=after, looked=None, set_aside={}, archive=None)
            log.warning(
                "The stored cursor lies ahead of the API's time, %s, and can't be true: everything since %s counts, "
                "and may have a second event",
                format_datetime(now),
                format_datetime(after),
            )
        else:
            # One of the webhook archive says as well since when messages count here.
            cursor = replace(stored, archive=None)
            log.info("Watching %s from the stored cursor on, %s", self._filter, format_datetime(stored.after))
        self._saved = cursor
        return cursor, AgreedTime(now)

    def _note_gap(self, gap: Gap | None) -> None:
        if gap is None:
            return
        self._trigger.log.warning(
            "Nobody looked for longer than the platform keeps messages: those that came from %s to %s and have expired "
            "have no event",
            format_datetime(gap.start),
            format_datetime(gap.end),
        )
        self._missed = gap if self._missed is None else Gap(self._missed.start, gap.end)

    def _payload(self, new: list[Message], lines: dict[str, str]) -> dict[str, Any]:
        """Make one event of all messages: of events that come in a burst, Airflow gives a run only the first."""
        payload: dict[str, Any] = {
            "messages": [self._message(message, lines.get(message.chat_id, self._trigger.line)) for message in new]
        }
        if self._missed is not None:
            payload["missed"] = {"from": format_datetime(self._missed.start), "to": format_datetime(self._missed.end)}
            self._missed = None
        return payload


class ArchiveWatch(Watch):
    """
    Reads the webhook archive.

    The API is asked until an event comes into the archive, and once more then, where the archive does not say what has
    come: if it is empty, if something else was watched before, or if it was emptied or replaced. What it has from
    before says neither when its receiver began nor whether it was up since.

    :param url: of the archive.
    """

    def __init__(
        self, trigger: LinqInboundMessageTrigger, hook: LinqAsyncHook, filter_: MessageFilter, url: str
    ) -> None:
        super().__init__(trigger, hook, filter_)
        self._reader = ArchiveReader(hook, url)
        self._watcher = self._digest = archive_digest(url)
        self._before: _Before | None = None
        self._clock: ServerClock | None = None

    async def poll(self) -> tuple[dict[str, Any] | None, Exception | None]:
        if self.cursor is None and self._before is None:
            self._before = await self._start()
        elif self.cursor is not None:
            await self._save(self.cursor)
        if self._before is not None:
            return await self._poll_before(self._before)
        cursor = self.cursor
        assert cursor is not None
        assert cursor.archive is not None
        shared_for = self._trigger.poll_interval * SHARED_FOR
        try:
            batch = await self._reader.poll(cursor.archive.position, shared_for=shared_for)
        except LinqError as error:
            if not is_replaced(error):
                raise
            self._before = self._start_before(cursor, str(error))
            self.cursor, self.is_behind = None, False
            return None, error
        found = {one.message.id: one for one in batch.messages if self._is_in_place(one)}
        # In a thread: to search texts may take its time.
        new = await asyncio.to_thread(cursor.new, [one.message for one in found.values()], self._filter)
        looked = self._time(batch, cursor)
        self.cursor = cursor.with_events(new).moved_in_archive(batch.position, batch.newest, looked)
        self.is_behind = not batch.is_end
        return {"messages": [self._message(one, found[one.id].line) for one in new]} if new else None, None

    def _is_in_place(self, found: ArchivedMessage) -> bool:
        return self._filter.is_in_place(found.message.chat_id, found.line)

    def _time(self, batch: ArchiveBatch, cursor: Cursor) -> datetime:
        """Return the platform's time, or an earlier one: that of the newest message, and what has passed since."""
        newest = max(filter(None, (batch.newest, cursor.looked)), default=cursor.after)
        if self._clock is None or self._clock.now() < newest:
            self._clock = ServerClock(newest)
        return self._clock.now() if batch.is_end else newest

    async def _start(self) -> _Before | None:
        """Take the cursor of the store, or one that starts now; or return what asks the API first."""
        stored = await self._trigger.stored_cursor()
        log = self._trigger.log
        if stored is None:
            if await self._reader.read(lambda archive: next(iter(archive.read()), None)) is None:
                return self._start_before(None, "the webhook archive is empty so far")
            cursor = await self._at_the_end()
            log.info("Watching the webhook archive for %s from now on: there is no cursor yet", self._filter)
            await self._save(cursor)
            self.cursor = cursor
            return None
        own = stored
        if stored.watcher not in (None, self._digest):
            # Another archive was watched, and perhaps still is, by another watcher of the asset.
            beside = await self._trigger.stored_cursor(self._digest)
            own = stored if beside is None else beside.continued_beside(stored)
        if own.archive is None or own.archive.archive != self._digest:
            return self._start_before(own, "something else was watched before")
        log.info("Watching the webhook archive for %s from the stored cursor on", self._filter)
        self.cursor = self._saved = own
        return None

    def _start_before(self, cursor: Cursor | None, why: str) -> _Before:
        """
        Return what asks the API before the archive is read.

        :param cursor: to begin with; None to begin now.
        """
        self._trigger.log.warning("The API is asked until an event comes into the webhook archive: %s", why)
        watch = ApiWatch(self._trigger, self._hook, self._filter, begins_with=cursor, watcher=self._digest)
        return _Before(watch)

    async def _poll_before(self, before: _Before) -> tuple[dict[str, Any] | None, Exception | None]:
        """Ask the API, now and then; continue in the archive when it was asked after an event came into that."""
        watch = before.watch
        unreadable: Exception | None = None
        is_up = False
        try:
            if not before.has_end:
                before.end, before.has_end = await self._end(), True
            is_up = await self._reader.read(lambda archive: next(iter(archive.read(before.end)), None)) is not None
        except LinqError as error:
            if is_replaced(error):
                before.has_end = False
            unreadable = error  # what the API shows counts all the same
        now = asyncio.get_running_loop().time()
        if not is_up and now < before.next_at:
            if watch.cursor is not None:
                await watch._save(watch.cursor)
            return None, unreadable
        payload, failed = await watch.poll()
        before.next_at = now + ASK_EVERY
        if is_up and failed is None and watch.cursor is not None:
            try:
                self.cursor, self._before, self.is_behind = await self._continued(watch.cursor), None, True
            except LinqError as error:
                unreadable = error
        return payload, failed or unreadable

    async def _continued(self, cursor: Cursor) -> Cursor:
        """Return the cursor of a watcher that has watched something else before."""
        position = await self._reader.read(lambda archive: position_since(archive, cursor.begins_at))
        self._trigger.log.info(
            "Watching the webhook archive for %s, from where another cursor ended, %s",
            self._filter,
            format_datetime(cursor.after),
        )
        return cursor.in_archive(self._digest, position)

    async def _end(self, take: Callable[[ArchiveBatch], object] = lambda _: None) -> str | None:
        """Return the position at the present end of the archive."""
        now = datetime.now(timezone.utc)
        return await self._reader.read(lambda archive: read_to_end(archive, position_since(archive, now), take))

    async def _at_the_end(self) -> Cursor:
        """Return a cursor at the present end of the archive: what was in it before has no event."""
        before: deque[Message] = deque(maxlen=STORED_MESSAGES)
        newest: list[datetime] = []

        def note(batch: ArchiveBatch) -> None:
            before.extend(one.message for one in batch.messages)
            newest.extend([] if batch.newest is None else [batch.newest])

        position = await self._end(note)
        after = max(newest, default=datetime.now(timezone.utc) - CLOCK_TOLERANCE)
        # They may be delivered once more. A late delivery of another one counts: nobody has had it.
        cursor = Cursor(after, looked=after).with_events(before)
        return replace(cursor, archive=ArchivePlace(self._digest, position))


@dataclass
class _Before:
    """
    What is watched before the archive.

    :param end: of the archive when that could be read first.
    :param has_end: whether it could.
    :param next_at: when the API is asked next, by the clock of the event loop.
    """

    watch: ApiWatch
    end: str | None = None
    has_end: bool = False
    next_at: float = float("-inf")
