"""One pass over one line: chats are listed and read in parallel, records come out, and the bookmark moves at the end.

A full sweep reads every chat and emits every live message. An incremental pass reads the chats that show activity since
the bookmark, and a sample of the others; where the sample, or any chat read, shows that `updated_at` of a chat can't be
relied upon, it turns into a full sweep within the same run.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from linq_client import LinqError, Page
from linq_client.sync import CLOCK_TOLERANCE, ListedChat, NoIdError, StableListReader, UpdatedAtSignal, combine
from linq_client.times import format_datetime
from tap_linq.extraction import records
from tap_linq.extraction.chat_reader import Batch, ChatOutcome, ChatReader, MessageFilter, as_linq_error
from tap_linq.extraction.coverage import GapCoverage
from tap_linq.extraction.plan import (
    Gap,
    PassPlan,
    emit_since,
    find_gap,
    format_hours,
    is_active,
    is_changed_since,
    is_short,
    plan_pass,
    shorter_window,
    time_left,
)
from tap_linq.extraction.progress import Progress
from tap_linq.extraction.seen import SeenItems
from tap_linq.extraction.session import SyncSession
from tap_linq.extraction.shown_reactions import Reactions, ShownReactions
from tap_linq.extraction.state import Coverage, LineState
from tap_linq.extraction.worker_pool import WorkerPool

__all__ = ["LinePass"]

#: Quiet chats that an incremental pass reads to see whether they are quiet.
SAMPLE_SIZE: Final = 64

#: Threads beyond the number of requests that the client has under way at a time: while one makes records of its page,
#: the request of another takes its place. Where files are stored there are none, as each thread may have one on the
#: disk.
SPARE_THREADS: Final = 2

#: The streams whose records come from the messages of chats, and from the list of chats.
MESSAGE_STREAMS: Final = frozenset({"messages", "reactions", "attachments"})
CHAT_STREAMS: Final = frozenset({"chats", "chat_participants"})

#: Messages without an id, or chats without a message, that are no accident where a line shows no other: a few may be.
MIN_ODD: Final = 5

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ListEnd:
    """The list of chats has ended: how many of them there are to read, or why that is not known."""

    to_read: int = 0
    error: LinqError | None = None


@dataclass
class PassStats:
    """What a round of jobs of a pass came to.

    Attributes:
        is_listed: whether the list of chats came to its end.
        is_complete: whether it did, and all that was to be read could be.
        submitted: number of chats that were to be read.
        listed: ids of all chats.
    """

    is_listed: bool = True
    is_complete: bool = True
    submitted: int = 0
    listed: set[str] = field(default_factory=set)


class LinePass:
    """A pass over a line.

    Args:
        state: of the line, as the last run left it.
        streams: names of the streams whose records are wanted.
        full_table: names of those of them of which all records are wanted, and not only what has changed.
    """

    def __init__(
        self,
        session: SyncSession,
        line: str,
        state: LineState,
        streams: frozenset[str],
        full_table: frozenset[str] = frozenset(),
    ) -> None:
        self._session = session
        self._settings = session.settings
        self._line = line
        self._state = state
        self._streams = streams
        self._reads_messages = bool(streams & MESSAGE_STREAMS)
        self._full_table = full_table
        self._reactions = ShownReactions(state.reactions)
        self._seen: SeenItems | None = None
        self._signals: set[UpdatedAtSignal] = set()
        # By chat, as some are read twice: how many of its messages have no id.
        self._without_id: dict[str, int] = {}
        self._hollow: set[str] = set()
        self._listed_at = 0.0
        # Chats whose records an incremental pass has emitted.
        self._emitted_chats: set[str] = set()
        kept = streams & (MESSAGE_STREAMS | CHAT_STREAMS)
        self._coverage = Coverage(kept, session.media is not None, self._settings.start_date, form=session.form)
        self._window = shorter_window(self._settings.window, state.window)

    def batches(self) -> Generator[Batch, None, LineState | None]:
        """Yield the records of all wanted streams, and return what the next run is to start from.

        That is None where the state of the line stays as it is. What can't be read is noted with the session, and
        leaves the bookmark where it is.
        """
        if not self._streams & (MESSAGE_STREAMS | CHAT_STREAMS):
            log.warning("line %s: nothing is read, so no gap can be found; select messages", self._line)
            return None
        if self._reads_messages:
            self._seen = self._session.seen_items(self._line, self._state.seen, self._bookmark, self._full_table)
        self._reader = ChatReader(self._session, self._line, self._streams, self._reactions, self._seen)
        self._plan = self._make_plan(self._session.client.server_time)
        began = self._session.client.server_time
        self._progress = Progress(self._line, self._oldest_unread(began), self._window)
        chats = self._session.chats(self._line, None if self._plan.is_sweep else self._bookmark)
        stats = PassStats()
        yield from self._run_jobs(stats, lambda pool: self._list_and_read(pool, chats, stats))
        if not self._reads_messages:
            return None
        is_complete = stats.is_complete
        if stats.is_listed and not self._plan.is_sweep and not self._is_reliable:
            self._turn_into_sweep()
            rest = PassStats()
            yield from self._run_jobs(rest, lambda pool: self._read_the_rest(pool, rest))
            is_complete = is_complete and rest.is_complete
        is_complete = self._has_ids() and is_complete
        new_state = None
        if is_complete and chats.started is not None:
            yield from self._gap(self._session.client.server_time)
            started = self._checked_start(chats.started)
            if self._session.comparison is not None and self._plan.is_sweep:
                self._session.comparison.note_sweep(self._line, started)
            new_state = self._state_after(started)
        else:
            # Whatever else the next run finds, it has to know that.
            known = replace(
                self._state,
                updated_at_reliable=self._is_reliable,
                reactions=self._shown_reactions(is_complete=False),
                seen=None,
            )
            has_changed = known.reactions != self._state.reactions or self._state.seen is not None
            if has_changed or self._is_reliable is False or self._state.clock_error is not None:
                new_state = known
        self._log_end(is_complete)
        return new_state

    @property
    def _bookmark(self) -> datetime | None:
        return self._state.passed_at and self._state.passed_at - self._settings.overlap

    @property
    def _is_reliable(self) -> bool | None:
        """Whether `updated_at` of chats is reliable, by all that was seen so far."""
        return combine(self._state.updated_at_reliable, self._signals)

    def _has_ids(self) -> bool:
        """Whether messages have ids: where none of many has one, not odd ones are left out, but all of them."""
        without_id = sum(self._without_id.values())
        if self._progress.messages or without_id < MIN_ODD:
            return True
        self._session.note_failure(f"the messages of line {self._line}", NoIdError(without_id))
        return False

    def _checked_start(self, started: datetime) -> datetime:
        """Return when the pass began, by the clock that the responses since then agree on.

        The first responses of a run are believed, as there is nothing to hold them against. If one of them was ahead,
        so would be the bookmark, and what came after the pass would lie before it.
        """
        if started <= self._start_by(self._session.client.server_time) + CLOCK_TOLERANCE:
            return started
        # The latest response can be an old one, where the loader takes its time: those that come now tell.
        shown = self._start_by(self._session.confirmed_time(self._line))
        if started <= shown + CLOCK_TOLERANCE:
            return started
        log.warning(
            "line %s: the pass began at %s by its first responses, and at %s by the others, which counts",
            self._line,
            format_datetime(started),
            format_datetime(shown),
        )
        return shown

    def _start_by(self, now: datetime) -> datetime:
        """Return when the list of chats began to come, if it is so late by the server's clock now."""
        return now - timedelta(seconds=int(time.monotonic() - self._listed_at))

    def _state_after(self, started: datetime) -> LineState:
        swept_at = started if self._plan.is_sweep else self._state.swept_at
        coverage, media = self._coverage, self._session.media
        if media is not None and media.owes(self._line):
            # The next pass is then a full sweep, which tries again.
            coverage = replace(coverage, files=False)
        now = self._session.client.server_time
        return LineState(
            started,
            swept_at,
            self._is_reliable,
            self._settings.window,
            coverage,
            reactions=self._shown_reactions(is_complete=True),
            seen=None if self._seen is None else self._seen.save(now, is_sweep=self._plan.is_sweep),
        )

    def _shown_reactions(self, *, is_complete: bool) -> Reactions:
        now = self._session.client.server_time
        return self._reactions.after(now, self._settings.window, is_complete=is_complete)

    def _make_plan(self, now: datetime) -> PassPlan:
        checked = self._state.checked_against(now)
        if checked != self._state:
            # It may be this run's first response that was wrong, or came out of a cache.
            now = self._session.confirmed_time(self._line)
            checked = self._state.checked_against(now)
        if checked != self._state:
            log.warning(
                "line %s: STATE has times that lie ahead of the server's clock, so they don't count", self._line
            )
            self._state = checked
        is_full_table = bool(self._full_table & MESSAGE_STREAMS)
        interval = self._settings.sweep_interval
        plan = plan_pass(self._state, interval, now, self._coverage, is_full_table=is_full_table)
        if self._reads_messages:
            log.info("line %s: %s, as %s", self._line, plan.kind, plan.reason)
            left = time_left(self._state, self._window, now)
            if left is not None and is_short(left, self._window):
                log.warning(
                    "line %s: %s of the window is left since the last complete pass; run the tap more often",
                    self._line,
                    format_hours(left),
                )
        return plan

    def _oldest_unread(self, now: datetime) -> timedelta | None:
        return None if self._state.passed_at is None else now - self._state.passed_at

    def _run_jobs(self, stats: PassStats, produce: Callable[[WorkerPool[Any]], None]) -> Iterator[Batch]:
        """Run a round of jobs, pass on their records and take note of how each of them ended."""
        spare = SPARE_THREADS if self._session.media is None else 0
        pool: WorkerPool[Batch | ChatOutcome | ListEnd] = WorkerPool(self._settings.concurrency + spare)
        for result in pool.run(lambda: produce(pool)):
            if isinstance(result, Batch):
                if result.stream == "messages":
                    self._progress.emitted += len(result.records)
                yield result
            elif isinstance(result, ChatOutcome):
                self._note_outcome(stats, result)
            else:
                self._progress.total = result.to_read
                if result.error is not None:
                    stats.is_listed = stats.is_complete = False
                    self._session.note_failure(f"the chats of line {self._line}", result.error)
            self._progress.tick()
        # Only now: all that was read before is written.
        self._session.check_ended()

    def _note_outcome(self, stats: PassStats, outcome: ChatOutcome) -> None:
        self._progress.chats += 1
        self._progress.messages += outcome.messages
        self._signals.add(outcome.signal)
        if outcome.is_hollow:
            self._hollow.add(outcome.chat_id)
        if outcome.left_out:
            log.warning(
                "line %s: chat %s: %d messages without an id left out", self._line, outcome.chat_id, outcome.left_out
            )
            self._session.left_out += outcome.left_out
            self._without_id[outcome.chat_id] = outcome.left_out
        if outcome.gone:
            log.warning("line %s: chat %s has vanished", self._line, outcome.chat_id)
        elif outcome.error is not None:
            stats.is_complete = False

    # What follows runs in the threads of the pool.

    def _list_and_read(self, pool: WorkerPool[Any], chats: StableListReader, stats: PassStats) -> None:
        """List the chats, and have those read that are to be read."""
        since = None if self._plan.is_sweep else self._bookmark
        wanted_of = self._filter(since)
        quiet: list[ListedChat] = []
        error: LinqError | None = None
        try:
            for page in self._session.pages_of(chats, self._line):
                self._listed_at = self._listed_at or time.monotonic()
                stats.listed.update(item["id"] for item in page.items)
                if self._session.archive is not None:
                    self._session.chat_lines.note((item["id"] for item in page.items), self._line)
                active = {item["id"] for item in page.items if is_active(item, since)}
                self._put_chats(pool, page, active)
                for item in page.items if self._reads_messages else ():
                    chat = ListedChat.of(item, page.server_time)
                    if chat.id in active:
                        self._submit(pool, chat, wanted_of, stats)
                    else:
                        quiet.append(chat)
            if self._reads_messages and not stats.listed and chats.started is not None:
                self._session.chat_lines.check_has_none(self._line, chats.started)
        except Exception as raised:
            error = as_linq_error(raised)
        if "chat_locations" in self._streams and (error is None or isinstance(error, NoIdError)):
            self._session.chat_ids[self._line] = tuple(stats.listed)
        sample = random.sample(quiet, min(SAMPLE_SIZE, len(quiet)))
        pool.put(ListEnd(stats.submitted + len(sample), error))
        for chat in sample:
            self._submit(pool, chat, wanted_of, stats)

    def _read_the_rest(self, pool: WorkerPool[Any], stats: PassStats) -> None:
        """Emit what an incremental pass, now a full sweep, has left out, and what has changed since it read it.

        The chats are listed once more: the second listing of an incremental pass may have been a short one.
        """
        wanted_of = self._filter(None)
        error: LinqError | None = None
        try:
            for page in self._session.pages_of(self._session.chats(self._line), self._line):
                rest = [item for item in page.items if item["id"] not in self._emitted_chats]
                self._reader.put_chats(pool, rest, page.server_time)
                for item in page.items:
                    self._submit(pool, ListedChat.of(item, page.server_time), wanted_of, stats)
        except Exception as raised:
            error = as_linq_error(raised)
        pool.put(ListEnd(stats.submitted, error))

    def _put_chats(self, pool: WorkerPool[Any], page: Page, active: set[str]) -> None:
        """Emit those chats of a page that may have changed."""
        chats = page.items if self._full_table & CHAT_STREAMS else [one for one in page.items if one["id"] in active]
        if not self._plan.is_sweep:
            self._emitted_chats.update(chat["id"] for chat in chats)
        self._reader.put_chats(pool, chats, page.server_time)

    def _filter(self, bookmark: datetime | None) -> MessageFilter:
        since, emitted = emit_since(bookmark, self._settings.start_date), self._session.emitted
        if since is None:
            return emitted.new_of
        return lambda messages: emitted.new_of(one for one in messages if is_changed_since(one, since))

    def _submit(self, pool: WorkerPool[Any], chat: ListedChat, wanted_of: MessageFilter, stats: PassStats) -> None:
        stats.submitted += 1
        pool.submit(lambda: self._reader.read(pool, chat, wanted_of))

    # What follows runs in the main thread again.

    def _turn_into_sweep(self) -> None:
        reason = (
            "no chat has shown yet that new messages move updated_at"
            if self._is_reliable is None
            else "updated_at of a chat lags behind its messages"
        )
        self._plan = PassPlan(True, reason)
        log.warning("line %s: the pass turns into a full sweep, as %s", self._line, reason)

    def _gap(self, ended: datetime) -> Iterator[Batch]:
        window = self._window
        gap = find_gap(
            self._state,
            start_date=self._settings.start_date,
            window=window,
            ended=ended,
            updated_at_reliable=self._is_reliable,
        )
        if gap is None or window is None:
            return
        end = format_datetime(gap.end)
        coverage = self._coverage_of(gap)
        if gap.last_complete_pass is None:
            log.info("line %s: nothing created before %s could be reached", self._line, end)
        else:
            since = "an unknown time" if gap.start is None else format_datetime(gap.start)
            span = f"messages created from {since} to {end}"
            advice = "" if gap.reason == "clock_error" else "; run the tap more often than the retention window"
            # What deliveries show is no proof: a message may have failed, waited or been refused between two of them.
            held = "" if coverage is None else f"; by its deliveries, the webhook archive holds {coverage.summary}"
            log.warning(
                "line %s: %s have expired, those that were not read before are lost (%s)%s%s",
                self._line,
                span,
                gap.reason,
                held,
                advice,
            )
            self._session.note_gap(f"line {self._line}: {span}{held}")
        if "extraction_gaps" in self._streams:
            yield Batch("extraction_gaps", [records.gap_record(gap, self._line, window, ended, coverage)])

    def _coverage_of(self, gap: Gap) -> GapCoverage | None:
        """Which part of a gap the webhook archive holds; None if there is no archive."""
        archive = self._session.archive
        if archive is None:
            return None
        try:
            return archive.coverage_of(gap, self._line, self._session.known_subscriptions)
        except LinqError as error:
            self._session.note_failure("the webhook archive", error)
            self._session.check_ended()
            return GapCoverage("none", ())

    def _log_end(self, is_complete: bool) -> None:
        self._session.messages += self._progress.emitted
        log.info(
            "line %s: %s %s, %d chats and %d messages read, %d messages emitted",
            self._line,
            "complete" if is_complete else "incomplete",
            self._plan.kind,
            self._progress.chats,
            self._progress.messages,
            self._progress.emitted,
        )
        if len(self._hollow) >= MIN_ODD and not self._progress.messages:
            log.warning(
                "line %s: %d chats have changed lately, and the API shows no message in any of them: all were deleted, "
                "or this key may not read them",
                self._line,
                len(self._hollow),
            )
        if self._seen is not None:
            log.info(
                "line %s: %d records are as they were emitted before; %d messages changed without a time that shows it",
                self._line,
                self._seen.repeated,
                self._seen.quiet_changes,
            )
