"""One pass over one line: chats are listed and read in parallel, rows come out, and the bookmark moves at the end.

A full sweep reads every chat and emits every live message. An incremental pass reads the chats that show activity since
the bookmark, and a sample of the others; where the sample, or any chat read, shows that `updated_at` of a chat can't be
relied upon, it turns into a full sweep on the spot.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from linq_client import LinqError, Page
from linq_client.sync import ListedChat, UpdatedAtSignal, combine
from linq_client.times import format_datetime
from tap_linq.extraction import rows
from tap_linq.extraction.chat_reader import Batch, ChatReader, Filter, Outcome, failure
from tap_linq.extraction.decisions import (
    Fed,
    LineState,
    Plan,
    emit_from,
    find_gap,
    hours,
    is_active,
    is_due,
    is_short,
    plan_pass,
    tighter,
    time_left,
)
from tap_linq.extraction.pool import Pool
from tap_linq.extraction.progress import Progress
from tap_linq.extraction.run import Run

#: Quiet chats that an incremental pass reads to see whether they are quiet.
SAMPLE: Final = 64

#: Threads beyond the number of requests that the client has under way at once: while one makes rows of its page, the
#: request of another takes its place. Where files are stored there are none, as each thread may have one on the disk.
SPARE_THREADS: Final = 2

#: The streams whose rows come from the messages of chats, and from the listing of chats.
FROM_MESSAGES: Final = frozenset({"messages", "reactions", "attachments"})
FROM_LISTING: Final = frozenset({"chats", "chat_participants"})

log = logging.getLogger(__name__)

_NOT_EMITTED: Final = object()


@dataclass(frozen=True)
class Listed:
    """The end of the listing: how many chats there are to read, or why they are not known."""

    to_read: int = 0
    error: LinqError | None = None


@dataclass
class Stage:
    """A round of jobs of a pass, and what it came to.

    Attributes:
        is_listed: whether the listing came to its end.
        complete: whether it did, and all that was to be read could be.
        submitted: number of chats that were to be read.
        listed: ids of all chats.
    """

    is_listed: bool = True
    complete: bool = True
    submitted: int = 0
    listed: set[str] = field(default_factory=set)
    skipped: int = 0


class LinePass:
    """A pass over a line.

    Args:
        streams: names of the streams whose rows are wanted.
        state: of the line, as the last run left it.

    Attributes:
        new_state: what the next run is to start from; None to leave it as it is.
    """

    def __init__(self, run: Run, line: str, state: LineState, streams: frozenset[str]) -> None:
        self.new_state: LineState | None = None
        self._run = run
        self._settings = run.settings
        self._line = line
        self._state = state
        self._streams = streams
        self._reads_messages = bool(streams & FROM_MESSAGES)
        self._reader = ChatReader(run, line, streams)
        self._signals: set[UpdatedAtSignal] = set()
        # What an incremental pass has emitted, with its updated_at, should it turn into a sweep.
        self._emitted: dict[str, Any] = {}
        kinds = {name[0] for name in streams & FROM_MESSAGES} | ({"f"} if run.media is not None else set())
        self._fed = Fed(frozenset(kinds), self._settings.start_date)
        self._window = tighter(self._settings.window, state.window)

    def batches(self) -> Generator[Batch, None, None]:
        """Yield the rows of all wanted streams.

        What can't be read is noted with the run, and leaves the bookmark as it is.
        """
        if not self._streams & (FROM_MESSAGES | FROM_LISTING):
            log.warning("line %s: nothing is read, so no gap can be found; select messages", self._line)
            return
        started = self._run.client.server_time
        self._plan = self._announce(started)
        self._progress = Progress(self._line, self._oldest_unread(started), self._window)
        reading = self._run.chats(self._line, None if self._plan.sweep else self._bookmark)
        stage = Stage()
        yield from self._run_stage(stage, lambda pool: self._list_and_read(pool, reading.pages(), stage))
        if not self._reads_messages:
            return
        evidence = combine(self._state.evidence, self._signals)
        if stage.is_listed and self._reader.given_up is None and not self._plan.sweep and not evidence:
            self._turn_into_sweep(evidence)
            rest = Stage()
            yield from self._run_stage(rest, lambda pool: self._read_the_rest(pool, stage.listed, rest))
            stage.complete = stage.complete and rest.complete
            evidence = combine(self._state.evidence, self._signals)
        if stage.complete and reading.started is not None:
            yield from self._gap(self._run.client.server_time, evidence)
            swept_at = reading.started if self._plan.sweep else self._state.swept_at
            self.new_state = LineState(reading.started, swept_at, evidence, self._settings.window, self._fed)
        elif evidence is False or self._state.doubted is not None:
            # Whatever else the next run finds, it has to know that.
            self.new_state = replace(self._state, evidence=evidence)
        self._conclude(stage.complete)

    @property
    def _bookmark(self) -> datetime | None:
        return self._state.passed_at and self._state.passed_at - self._settings.overlap

    def _announce(self, now: datetime) -> Plan:
        believed = self._state.believed(now)
        if believed != self._state:
            log.warning("line %s: STATE has times that are still to come, so it is not believed", self._line)
            self._state = believed
        plan = plan_pass(self._state, self._settings.sweep_interval, now, self._fed)
        if self._reads_messages:
            log.info("line %s: %s, as %s", self._line, _kind(plan), plan.reason)
            left = time_left(self._state, self._window, now)
            if left is not None and is_short(left, self._window):
                log.warning(
                    "line %s: %s of the window is left since the last complete pass; run the tap more often",
                    self._line,
                    hours(left),
                )
        return plan

    def _oldest_unread(self, now: datetime) -> timedelta | None:
        return None if self._state.passed_at is None else now - self._state.passed_at

    def _run_stage(self, stage: Stage, feed: Callable[[Pool[Any]], None]) -> Iterator[Batch]:
        """Run the jobs of a stage, pass on their rows and take note of how each of them ended."""
        spare = SPARE_THREADS if self._run.media is None else 0
        pool: Pool[Batch | Outcome | Listed] = Pool(self._settings.concurrency + spare)
        for result in pool.run(lambda: feed(pool)):
            if isinstance(result, Batch):
                if result.stream == "messages":
                    self._progress.emitted += len(result.rows)
                yield result
            elif isinstance(result, Outcome):
                self._note_outcome(stage, result)
            else:
                self._progress.total = result.to_read
                if result.error is not None:
                    stage.is_listed = stage.complete = False
                    self._run.note_failure(f"the chats of line {self._line}", result.error)
            self._progress.tick()
        if stage.skipped and self._reader.given_up is not None:
            self._run.note_failure(f"the other {stage.skipped} chats of line {self._line}", self._reader.given_up)

    def _note_outcome(self, stage: Stage, outcome: Outcome) -> None:
        self._progress.chats += 1
        self._progress.messages += outcome.messages
        self._signals.add(outcome.signal)
        if outcome.gone:
            log.warning("line %s: chat %s has vanished", self._line, outcome.chat_id)
        elif outcome.skipped:
            stage.complete, stage.skipped = False, stage.skipped + 1
        elif outcome.error is not None:
            stage.complete = False
            self._run.note_failure(f"chat {outcome.chat_id} of line {self._line}", outcome.error)

    # What follows runs in the threads of the pool.

    def _list_and_read(self, pool: Pool[Any], pages: Iterator[Page], stage: Stage) -> None:
        """List the chats, and have those read that are to be read."""
        since = None if self._plan.sweep else self._bookmark
        wanted = self._filter(since)
        quiet: list[ListedChat] = []
        error: LinqError | None = None
        try:
            for page in pages:
                self._reader.put_chats(pool, page.items)
                stage.listed.update(item["id"] for item in page.items)
                for item in page.items if self._reads_messages else ():
                    chat = ListedChat.of(item, page.server_time)
                    if self._plan.sweep or is_active(item, since):
                        self._submit(pool, chat, wanted, stage)
                    else:
                        quiet.append(chat)
        except Exception as raised:
            error = failure(raised)
        if "chat_locations" in self._streams and error is None:
            self._run.chat_ids[self._line] = tuple(stage.listed)
        sample = random.sample(quiet, min(SAMPLE, len(quiet)))
        pool.put(Listed(stage.submitted + len(sample), error))
        for chat in sample:
            self._submit(pool, chat, wanted, stage)

    def _read_the_rest(self, pool: Pool[Any], known: set[str], stage: Stage) -> None:
        """Emit what an incremental pass, now a full sweep, has left out, and what has changed since it read it.

        The chats are listed anew: the second listing of an incremental pass may have been a short one.
        """
        everything = self._filter(None)

        def wanted(message: Mapping[str, Any]) -> bool:
            emitted = self._emitted.get(message["id"], _NOT_EMITTED)
            return everything(message) and (emitted is _NOT_EMITTED or emitted != message.get("updated_at"))

        error: LinqError | None = None
        try:
            for page in self._run.chats(self._line).pages():
                self._reader.put_chats(pool, [item for item in page.items if item["id"] not in known])
                for item in page.items:
                    self._submit(pool, ListedChat.of(item, page.server_time), wanted, stage)
        except Exception as raised:
            error = failure(raised)
        pool.put(Listed(stage.submitted, error))

    def _filter(self, bookmark: datetime | None) -> Filter:
        since = emit_from(bookmark, self._settings.start_date)
        if self._plan.sweep:
            return lambda message: is_due(message, since)

        def wanted(message: Mapping[str, Any]) -> bool:
            due = is_due(message, since)
            if due:
                self._emitted[message["id"]] = message.get("updated_at")
            return due

        return wanted

    def _submit(self, pool: Pool[Any], chat: ListedChat, wanted: Filter, stage: Stage) -> None:
        stage.submitted += 1
        pool.submit(lambda: self._reader.read(pool, chat, wanted))

    # What follows runs in the main thread again.

    def _turn_into_sweep(self, evidence: bool | None) -> None:
        reason = (
            "no chat has shown yet that new messages move updated_at"
            if evidence is None
            else "a chat holds a message that came after its updated_at"
        )
        self._plan = Plan(True, reason)
        log.warning("line %s: the pass turns into a full sweep, as %s", self._line, reason)

    def _gap(self, ended: datetime, evidence: bool | None) -> Iterator[Batch]:
        start_date, window = self._settings.start_date, self._window
        gap = find_gap(self._state, start_date=start_date, window=window, ended=ended, evidence=evidence)
        if gap is None or window is None:
            return
        end = format_datetime(gap.end)
        if gap.last_complete_pass is None:
            log.info("line %s: nothing created before %s could be reached", self._line, end)
        else:
            since = "an unknown time" if gap.start is None else format_datetime(gap.start)
            span = f"messages created from {since} to {end}"
            advice = "" if gap.reason == "doubted_state" else "; run the tap more often than the retention window"
            log.warning(
                "line %s: %s have expired, those that were not read before are lost (%s)%s",
                self._line,
                span,
                gap.reason,
                advice,
            )
            self._run.note_gap(f"line {self._line}: {span}")
        if "extraction_gaps" in self._streams:
            yield Batch("extraction_gaps", [rows.gap_row(gap, self._line, window, ended)])

    def _conclude(self, complete: bool) -> None:
        self._run.messages += self._progress.emitted
        log.info(
            "line %s: %s %s, %d chats and %d messages read, %d messages emitted",
            self._line,
            "complete" if complete else "incomplete",
            _kind(self._plan),
            self._progress.chats,
            self._progress.messages,
            self._progress.emitted,
        )


def _kind(plan: Plan) -> str:
    return "full sweep" if plan.sweep else "incremental pass"
