"""One pass over the webhook archive, after the passes over the lines: events come out, and what they alone know.

While a message lives, the API has more to say of it than any event. So where an event tells of something that the
passes of this run have not emitted yet, the message is asked for; what the API does not have any more comes out as its
events tell it. The position in the archive moves last, after all that it stands for is written.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import blake2b
from itertools import islice
from typing import Any, Final
from urllib.parse import quote

from linq_client import LinqError, MessageNotFoundError
from linq_client.sync import CLOCK_TOLERANCE, SeenIds
from linq_client.times import parse_datetime_or_none
from tap_linq.extraction import records
from tap_linq.extraction.archive_reader import ArchiveReader
from tap_linq.extraction.archive_state import ArchiveState
from tap_linq.extraction.chat_reader import Batch, as_linq_error
from tap_linq.extraction.message_fold import FoldedMessage, MessageFolder
from tap_linq.extraction.records import FROM_API, FROM_WEBHOOK, Record
from tap_linq.extraction.session import SyncSession
from tap_linq.extraction.state import Coverage
from tap_linq.extraction.webhook_records import (
    ArchivedEvent,
    StoredEvent,
    event_record,
    message_event_record,
    opt_outs_of,
)
from tap_linq.extraction.worker_pool import WorkerPool

__all__ = ["EVENT_STREAMS", "ArchivePass"]

#: The streams whose records come from events alone.
EVENT_STREAMS: Final = frozenset({"webhook_events", "message_events", "opt_outs", "webhook_gaps"})

#: Those with a record for each event that is meant.
ROW_STREAMS: Final = EVENT_STREAMS - {"webhook_gaps"}

#: Those that events add records to.
MERGED_STREAMS: Final = frozenset({"messages", "attachments"})

#: Events whose records are written together.
PAGE_SIZE: Final = 500

#: Pages after which messages are emitted, and the position moves: a run that is killed continues there.
PAGES_A_CHUNK: Final = 8

#: Chats whose line is known, as some events name only their chat. Each takes about 200 bytes.
MAX_CHATS: Final = 65_536

#: Messages of which only a change is known, and the rest is looked for together.
MAX_UNKNOWN: Final = 4_096

#: How late an event may come, and how far clocks may be apart.
LONGEST_RETRIES: Final = timedelta(hours=1)

#: How long the platform keeps the bytes of a file on an ephemeral line, at the most. Source: API reference, "Ephemeral
#: tier".
BYTES_KEPT: Final = timedelta(hours=48)

log = logging.getLogger(__name__)


@dataclass
class PassStats:
    """What a pass came to, for the log."""

    events: int = 0
    repeated: int = 0
    broken: int = 0
    from_api: int = 0
    from_events: int = 0
    unknown: int = 0
    failed: int = 0


class ArchivePass:
    """A pass over the archive.

    Args:
        state: as the last run left it.
        streams: names of the streams whose records are wanted.
        from_start: whether all events are wanted, and not only what has come since.
    """

    def __init__(
        self,
        session: SyncSession,
        archive: ArchiveReader,
        state: ArchiveState,
        streams: frozenset[str],
        *,
        from_start: bool = False,
    ) -> None:
        self._session = session
        self._archive = archive
        self._streams = streams
        self._settings = session.settings
        lines = self._settings.phone_numbers
        self._coverage = Coverage(
            streams & (EVENT_STREAMS | MERGED_STREAMS),
            session.media is not None,
            self._settings.start_date,
            None if lines is None else frozenset(lines),
        )
        self._state = replace(archive.begin(state, self._coverage, from_start=from_start), coverage=self._coverage)
        self._deliveries = self._state.deliveries
        self._opted_out = dict(self._state.opted_out)
        self._seen = SeenIds()
        self._folder = MessageFolder()
        self._lines: OrderedDict[str, str] = OrderedDict()
        self._health: OrderedDict[str, None] = OrderedDict()
        self._owes_files = False
        window = self._settings.window
        self._lookback = LONGEST_RETRIES + (timedelta(hours=24) if window is None else window.length)
        self._newest: datetime | None = None
        # Nothing that was made later can have been read before.
        newest = self._deliveries.newest if self._state.position is not None else None
        self._read_until = newest and newest + CLOCK_TOLERANCE
        self.stats = PassStats()

    def batches(self) -> Generator[Batch | ArchiveState, None, None]:
        """Yield the records of all wanted streams, and after those of a part of the archive what STATE is to say of it.

        Where the archive can't be read, that is noted with the session, and the next run continues there.
        """
        events = self._archive.read(self._state.position)
        try:
            pages = iter(lambda: list(islice(events, PAGE_SIZE)), [])
            while (position := (yield from self._chunk(pages))) is not None:
                self._state = replace(self._state, position=position)
                if self._newest is not None:
                    self._state = self._state.with_trail(self._newest, self._lookback / 4)
                if len(self._folder.unknown) >= MAX_UNKNOWN:
                    yield from self._find_unknown()
                if not self._folder.unknown:
                    yield from self._saved()
            yield from self._find_unknown()
            yield from self._compare()
            yield from self._saved()
            if not self.stats.events and next(iter(self._archive.read(None)), None) is None:
                # Also a folder with a typo, or one that is not mounted.
                log.warning("webhook archive: does not exist or holds no events; does linq-webhooks keep them there?")
        except LinqError as error:
            if self._session.ended_by is not None:
                raise
            self._session.note_failure("the webhook archive", error)
        self._log_end()

    def _saved(self) -> Iterator[ArchiveState]:
        """Yield what STATE is to say, if all before the position is emitted and stored."""
        if self._state.position is not None and not self._owes_files:
            compared = self._state.compared if self._session.comparison is None else self._session.comparison.until
            yield replace(
                self._state, deliveries=self._deliveries, opted_out=dict(self._opted_out), compared=dict(compared)
            )

    def _chunk(self, pages: Iterator[list[tuple[StoredEvent, str]]]) -> Generator[Batch, None, str | None]:
        """Yield what some pages come to, and return the position after them; None if there is none."""
        position = None
        for page in islice(pages, PAGES_A_CHUNK):
            yield from self._page([ArchivedEvent.of(stored) for stored, _ in page])
            position = page[-1][1]
        if self._streams & MERGED_STREAMS:
            yield from self._messages(self._folder.take_dirty())
        return position

    def _page(self, events: list[ArchivedEvent]) -> Iterator[Batch]:
        """Yield what events tell by themselves, and keep what they tell of messages."""
        rows: dict[str, list[Record]] = {name: [] for name in sorted(ROW_STREAMS & self._streams)}
        new: list[ArchivedEvent] = []
        for event in events:
            self.stats.events += 1
            self._deliveries.add(event.stored.subscription_id, event.delivered_at)
            self._newest = max(event.delivered_at, self._newest or event.delivered_at)
            line = self._line_of(event)
            if not self._is_wanted(event, line):
                continue
            if not self._seen.add(event.stored.event_id):
                self.stats.repeated += 1
                continue
            if event.error is not None:
                self.stats.broken += 1
            self._fold(event)
            new.append(event)
        # Only now: events come in any order, and what one does not tell, a later one may.
        for event in new:
            line = self._line_of(event)
            if "webhook_events" in rows:
                rows["webhook_events"].append(event_record(event, line))
            if event.change is None:
                continue
            before = self._text_before(event)
            if "message_events" in rows:
                rows["message_events"].append(message_event_record(event, line, before))
            if "opt_outs" in rows:
                rows["opt_outs"] += self._opt_outs(event, line)
        for name, found in rows.items():
            if found:
                yield Batch(name, found)

    def _line_of(self, event: ArchivedEvent) -> str | None:
        """Return the line of an event, by its chat where it names only that."""
        line, chat_id = event.line, event.chat_id
        if chat_id is None:
            return line
        if line is None:
            return self._lines.get(chat_id)
        self._lines[chat_id] = line
        if len(self._lines) > MAX_CHATS:
            self._lines.popitem(last=False)
        return line

    def _is_wanted(self, event: ArchivedEvent, line: str | None) -> bool:
        wanted, since = self._settings.phone_numbers, self._settings.start_date
        is_of_line = wanted is None or line is None or line in wanted
        return is_of_line and (since is None or max(event.created, event.happened) >= since)

    def _fold(self, event: ArchivedEvent) -> None:
        """Keep what an event tells of a message."""
        if event.change is not None and event.message_id is not None:
            message = self._folder.of(event.message_id)
            message.fold(event)
            message.is_dirty = True

    def _text_before(self, event: ArchivedEvent) -> str | None:
        """Return what an edited part said before, where that is known."""
        is_edit = event.change == "edited" and event.message_id is not None
        return self._folder.of(event.message_id or "").text_before(event) if is_edit else None

    def _opt_outs(self, event: ArchivedEvent, line: str | None) -> Iterator[Record]:
        for found in opt_outs_of(event):
            if found.evidence == "health_status":
                # All events of a chat repeat it.
                if found.key in self._health:
                    continue
                self._health[found.key] = None
                if len(self._health) > MAX_CHATS:
                    self._health.popitem(last=False)
            if found.handle is not None:
                who = blake2b(found.handle.encode(errors="replace"), digest_size=8).hexdigest()
                since = self._opted_out.get(who)
                if not found.is_out and (since is None or found.at <= since):
                    continue
                if found.is_out:
                    self._opted_out[who] = max(found.at, since or found.at)
                else:
                    del self._opted_out[who]
            yield found.record(event, line)

    # What events tell of messages.

    def _messages(self, changed: Iterator[FoldedMessage]) -> Iterator[Batch]:
        """Yield the messages of which events have told something that is not emitted yet."""
        now = self._session.client.server_time
        gone: list[FoldedMessage] = []
        to_ask: list[FoldedMessage] = []
        for message in changed:
            if message.may_live(self._settings.window, now):
                if not self._is_emitted(message):
                    to_ask.append(message)
            else:
                gone.append(message)
        yield from self._from_events(gone)
        pool: WorkerPool[Batch | FoldedMessage] = WorkerPool(self._settings.concurrency)

        def produce() -> None:
            for message in to_ask:
                pool.submit(lambda message=message: self._ask(pool, message))  # type: ignore[misc]

        left = []
        for found in pool.run(produce) if to_ask else ():
            if isinstance(found, Batch):
                self.stats.from_api += found.stream == "messages"
                if found.stream in self._streams:
                    yield found
            else:
                left.append(found)
        # Only now: what was asked for is written, and the position stays before what was not.
        self._session.check_ended()
        yield from self._from_events(left)

    def _is_emitted(self, message: FoldedMessage) -> bool:
        """Whether this run has emitted a message as it was after all its events.

        That a full sweep was made since then proves nothing: the message may have been deleted before, or have expired
        sooner than the settings say.
        """
        sightings = self._session.sightings
        shown_at = None if sightings is None else sightings.shown_at(message.id)
        return message.newest is not None and shown_at is not None and message.newest + CLOCK_TOLERANCE <= shown_at

    def _ask(self, pool: WorkerPool[Any], message: FoldedMessage) -> None:
        """Hand over a message as the API shows it, or back as it is where the API does not. In a thread of the pool."""
        try:
            self._session.check_ended()
            response = self._session.client.request("GET", f"/v3/messages/{quote(message.id, safe='')}")
        except MessageNotFoundError:
            pool.put(message)
            return
        except Exception as raised:
            error = as_linq_error(raised)
            if self._session.note_end(error):
                return
            # What events tell is better than nothing, and the next full sweep asks again.
            log.warning("message %s could not be read: %s", message.id, error)
            self.stats.failed += 1
            pool.put(message)
            return
        shown = response.body
        if shown.get("id") != message.id:
            pool.put(message)
            return
        sightings = self._session.sightings
        if sightings is None or sightings.is_emitted(shown):
            return
        sightings.note(shown, response.server_time)
        line = message.line or self._lines.get(message.chat_id or "")
        for batch in self._batches_of(shown, line, response.server_time, FROM_API):
            pool.put(batch)

    def _from_events(self, messages: list[FoldedMessage]) -> Iterator[Batch]:
        """Yield messages as their events tell them, but for those of which more has to be looked for."""
        for message in messages:
            if message.is_known and not self._may_be_late(message):
                self._folder.unknown.pop(message.id, None)
                yield from self._told(message)
            else:
                self._folder.unknown[message.id] = message

    def _may_be_late(self, message: FoldedMessage) -> bool:
        """Whether an earlier run may have read newer events of a message, which say more than those of this run."""
        return self._read_until is not None and message.newest is not None and message.newest <= self._read_until

    def _told(self, message: FoldedMessage) -> Iterator[Batch]:
        """Yield a message as its events tell it; of what none has told, only `message_events` has a row."""
        told = message.as_api_message()
        if told is None:
            self.stats.unknown += 1
        else:
            self.stats.from_events += 1
            line = message.line or self._lines.get(message.chat_id or "")
            now = self._session.client.server_time
            for batch in self._batches_of(told, line, now, FROM_WEBHOOK):
                if batch.stream in self._streams:
                    yield batch

    def _find_unknown(self) -> Iterator[Batch]:
        """Yield messages that an earlier run has read the first events of, and this one only what became of them."""
        unknown = dict(self._folder.unknown)
        if not unknown:
            return
        oldest = min(message.oldest for message in unknown.values() if message.oldest is not None)
        for stored, _ in self._archive.read(self._state.position_before(oldest - self._lookback)):
            event = ArchivedEvent.of(stored)
            message = unknown.get(event.message_id or "")
            if message is not None:
                self._line_of(event)
                message.fold(event)
        self._folder.unknown.clear()
        for message in unknown.values():
            yield from self._told(message)

    def _compare(self) -> Iterator[Batch]:
        """Yield what full sweeps of this run have shown and events not announced, and the reverse."""
        lines = self._session.comparison.lines() if self._session.comparison is not None else {}
        if not lines:
            return
        now, window = self._session.client.server_time, self._settings.window
        alive_from = None if window is None else window.oldest_kept(now)
        start = min(one.start for one in lines.values()) - LONGEST_RETRIES
        for stored, _ in self._archive.read(self._state.position_before(start)):
            event = ArchivedEvent.of(stored)
            found = lines.get(self._line_of(event) or "")
            if found is not None:
                found.add(event, alive_from)
        for line, compared in lines.items():
            record = compared.record(line, now)
            if record is not None:
                log.warning(
                    "line %s: of messages created from %s to %s, the API shows %d that no event has announced, and "
                    "not %d that events have; is the subscription active (linq-webhooks check)?",
                    line,
                    record["compared_from"],
                    record["compared_until"],
                    record["unannounced"],
                    record["unlisted"],
                )
                if "webhook_gaps" in self._streams:
                    yield Batch("webhook_gaps", [record])

    def _batches_of(
        self, message: Mapping[str, Any], line: str | None, shown_at: datetime, source: str
    ) -> Iterator[Batch]:
        """Yield the records of a message, and store its files."""
        # A line that nobody has told is none: the records say null.
        own = line or ""
        record = {**records.message_record(message, own, self._settings.window), "line": line, "source": source}
        yield Batch("messages", [record])
        media = self._session.media
        if media is None and "attachments" not in self._streams:
            return
        created = parse_datetime_or_none(message.get("created_at"))
        may_have_bytes = created is None or shown_at - created < BYTES_KEPT
        for attachment in records.attachment_records(message, own, shown_at):
            attachment["line"] = line
            if media is not None:
                owed = media.owed
                # The URL in an event works for minutes: without it, the API is asked for another one.
                stored = media.store(attachment if source == FROM_API else {**attachment, "url": None})
                self._owes_files |= may_have_bytes and media.owed > owed
                attachment = {**stored, "url": attachment.get("url")}
            yield Batch("attachments", [attachment])

    def _log_end(self) -> None:
        stats = self.stats
        self._session.messages += stats.from_api + stats.from_events
        log.info(
            "webhook archive: %d events, %d of them repeated; messages: %d from the API, %d from events",
            stats.events,
            stats.repeated,
            stats.from_api,
            stats.from_events,
        )
        if stats.broken:
            log.warning(
                "webhook archive: %d events can't be read; they are in webhook_events as they came", stats.broken
            )
        if stats.unknown:
            log.warning(
                "webhook archive: of %d messages that have expired, events tell only what became of them; "
                "see message_events",
                stats.unknown,
            )
