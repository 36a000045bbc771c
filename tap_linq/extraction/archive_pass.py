"""One pass over the webhook archive, after the passes over the lines: events come out, and what they alone know.

The position in the archive moves last, after all that it stands for is written. Where the archive is read again from
its start, as more is wanted than before, what was emitted before is not emitted of messages again: rows of events would
take the place of the API's.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

from linq_client import LinqError
from linq_client.sync import CLOCK_TOLERANCE, SeenIds
from tap_linq.extraction.archive_reader import ArchiveReader
from tap_linq.extraction.archive_state import ArchiveState, Handled
from tap_linq.extraction.archived_messages import MAX_UNKNOWN, MERGED_STREAMS, ArchivedMessages
from tap_linq.extraction.chat_lines import ChatLines
from tap_linq.extraction.chat_reader import Batch
from tap_linq.extraction.opt_outs import OptOuts
from tap_linq.extraction.records import Record
from tap_linq.extraction.session import SyncSession
from tap_linq.extraction.state import Coverage
from tap_linq.extraction.webhook_records import (
    ArchivedEvent,
    StoredEvent,
    event_record,
    message_event_record,
)

__all__ = ["EVENT_STREAMS", "ArchivePass"]

#: The streams whose records come from events alone.
EVENT_STREAMS: Final = frozenset({"webhook_events", "message_events", "opt_outs", "webhook_gaps"})

#: Those with a record for each event that is meant.
ROW_STREAMS: Final = EVENT_STREAMS - {"webhook_gaps"}

#: Events whose records are written together.
PAGE_SIZE: Final = 500

#: Pages after which messages are emitted, and the position moves: a run that is killed continues there.
PAGES_A_CHUNK: Final = 8

#: How late an event may come, and how far clocks may be apart.
LONGEST_RETRIES: Final = timedelta(hours=1)

#: How far from the order of delivery events may be read: several receivers' hours are read one writer after the other.
OUT_OF_ORDER: Final = timedelta(hours=25)

log = logging.getLogger(__name__)


@dataclass
class PassStats:
    """What a pass came to, for the log."""

    events: int = 0
    repeated: int = 0
    broken: int = 0
    of_no_line: int = 0


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
        self._opt_outs = OptOuts(self._state.opted_out, self._state.heard, session.secret)
        self._seen = SeenIds()
        self._lines: ChatLines = session.chat_lines
        self._messages = ArchivedMessages(session, self._lines, streams & MERGED_STREAMS, self._search)
        window = self._settings.window
        self._lookback = LONGEST_RETRIES + (timedelta(hours=24) if window is None else window.length)
        self._newest = self._state.newest
        if self._newest is None and self._state.position is not None:
            self._newest = self._deliveries.newest  # as earlier versions of STATE say it
        # Nothing that was made later can have been read before.
        self._messages.read_until = self._newest and self._newest + CLOCK_TOLERANCE
        self.stats = PassStats()

    def batches(self) -> Generator[Batch | ArchiveState, None, None]:
        """Yield the records of all wanted streams, and after those of a part of the archive what STATE is to say of it.

        Where the archive can't be read, that is noted with the session, and the next run continues there.
        """
        try:
            handled = self._state.handled
            yield from self._read(handled)
            if handled is not None:
                # What has come since then is new to all streams.
                self._state = replace(self._state, position=handled.position, handled=None)
                yield from self._read(None)
            yield from self._messages.tell_deleted()
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

    def _read(self, handled: Handled | None) -> Generator[Batch | ArchiveState, None, None]:
        """Read from the position to the end.

        Args:
            handled: what was emitted before of events that are read again; None where all are new.
        """
        events = self._archive.read(self._state.position)
        pages = iter(lambda: list(islice(events, PAGE_SIZE)), [])
        while (position := (yield from self._chunk(pages, handled))) is not None:
            self._state = replace(self._state, position=position, newest=self._newest)
            if self._newest is not None:
                self._state = self._state.with_trail(self._newest, self._lookback / 4)
            if self._messages.unknown >= MAX_UNKNOWN:
                yield from self._messages.find_unknown()
            if not self._messages.unknown:
                yield from self._saved()
        yield from self._messages.find_unknown()
        yield from self._saved()

    def _saved(self) -> Iterator[ArchiveState]:
        """Yield what STATE is to say, if all before the position is emitted and stored."""
        if self._state.position is not None and not self._messages.owes_files:
            compared = self._state.compared if self._session.comparison is None else self._session.comparison.until
            yield replace(
                self._state,
                deliveries=self._deliveries,
                opted_out=self._opt_outs.out,
                heard=self._opt_outs.heard,
                compared=dict(compared),
            )

    def _chunk(
        self, pages: Iterator[list[tuple[StoredEvent, str]]], handled: Handled | None
    ) -> Generator[Batch, None, str | None]:
        """Yield what some pages come to, and return the position after them; None if there is none."""
        position = None
        for page in islice(pages, PAGES_A_CHUNK):
            yield from self._page([ArchivedEvent.of(stored) for stored, _ in page], handled)
            position = page[-1][1]
        yield from self._messages.emit()
        return position

    def _page(self, events: list[ArchivedEvent], handled: Handled | None) -> Iterator[Batch]:
        """Yield what events tell by themselves, and keep what they tell of messages."""
        rows: dict[str, list[Record]] = {name: [] for name in sorted(ROW_STREAMS & self._streams)}
        new: list[ArchivedEvent] = []
        now = self._session.client.server_time
        for event in events:
            self.stats.events += 1
            self._deliveries.add(event.stored.subscription_id, event.delivered_at)
            # What was delivered is older, but for clocks; a time to come is none.
            made = max(event.delivered_at, min(event.created, now))
            self._newest = max(made, self._newest or made)
            line = self._line_of(event)
            if not self._is_wanted(event, line):
                continue
            # Of an event that this run has read before, in what is read again, the message may be new all the same.
            self._messages.fold(event, self._new_to(event, line, handled))
            if not self._seen.add(event.stored.event_id):
                self.stats.repeated += 1
                continue
            if event.error is not None:
                self.stats.broken += 1
            new.append(event)
        # Only now: events come in any order, and what one does not tell, a later one may.
        for event in new:
            line = self._line_of(event)
            if "webhook_events" in rows:
                rows["webhook_events"].append(event_record(event, line))
            if event.change is None:
                continue
            before = self._messages.text_before(event)
            if "message_events" in rows:
                rows["message_events"].append(message_event_record(event, line, before))
            if "opt_outs" in rows:
                rows["opt_outs"] += self._opt_outs.records(event, line)
        for name, found in rows.items():
            if found:
                yield Batch(name, found)

    def _line_of(self, event: ArchivedEvent) -> str | None:
        """Return the line of an event, by its chat where it names only that."""
        line, chat_id = event.line, event.chat_id
        if line is None or chat_id is None:
            return line or self._lines.of(chat_id)
        self._lines.note([chat_id], line)
        return line

    def _is_wanted(self, event: ArchivedEvent, line: str | None) -> bool:
        if line is None and event.chat_id is not None and self._coverage.lines is not None:
            # Never those of a line that is not to be extracted: nobody may be meant to see them.
            line = self._lines.ask(event.chat_id)
            if line is None:
                self.stats.of_no_line += 1
                return False
        return self._coverage.includes(line, max(event.created, event.happened))

    def _new_to(self, event: ArchivedEvent, line: str | None, handled: Handled | None) -> frozenset[str]:
        """Return the names of the streams that an event may be new to, as far as it tells of a message."""
        if handled is None or not handled.coverage.includes(line, max(event.created, event.happened)):
            return MERGED_STREAMS
        before = handled.coverage
        had = before.streams if before.files or not self._coverage.files else before.streams - {"attachments"}
        return MERGED_STREAMS - had

    def _search(self, since: datetime) -> Iterator[ArchivedEvent]:
        """Yield the events that were delivered from some time before a moment on, and have been read so far."""
        position = self._archive.position_before(self._state, since - self._lookback)
        until = None if self._newest is None else self._newest + OUT_OF_ORDER
        for stored, _ in self._archive.read(position):
            event = ArchivedEvent.of(stored)
            self._line_of(event)
            yield event
            if until is not None and event.delivered_at > until:
                return

    def _compare(self) -> Iterator[Batch]:
        """Yield what full sweeps of this run have shown and events not announced, and the reverse."""
        lines = self._session.comparison.lines() if self._session.comparison is not None else {}
        if not lines:
            return
        now, window = self._session.client.server_time, self._settings.window
        alive_from = None if window is None else window.oldest_kept(now)
        start = min(one.start for one in lines.values()) - LONGEST_RETRIES
        for event in self._search(start):
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

    def _log_end(self) -> None:
        stats, messages = self.stats, self._messages.stats
        self._session.messages += messages.from_api + messages.from_events
        log.info(
            "webhook archive: %d events, %d of them repeated; messages: %d from the API, %d from events",
            stats.events,
            stats.repeated,
            messages.from_api,
            messages.from_events,
        )
        if stats.broken:
            log.warning(
                "webhook archive: %d events can't be read; they are in webhook_events as they came", stats.broken
            )
        if stats.of_no_line:
            log.warning(
                "webhook archive: %d events name a chat whose line can't be known any more, so they are none of "
                "phone_numbers",
                stats.of_no_line,
            )
        if messages.unknown:
            log.warning(
                "webhook archive: of %d messages that have expired, events tell only what became of them; "
                "see message_events",
                messages.unknown,
            )
