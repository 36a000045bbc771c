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
from threading import Lock
from typing import Any, Final

from linq_client import LinqError, NotFoundError, Page
from tap_linq.extraction import rows
from tap_linq.extraction.decisions import (
    TOLERANCE,
    LineState,
    Plan,
    Witness,
    arrival,
    emit_from,
    find_gap,
    format_moment,
    hours,
    is_active,
    is_due,
    is_short,
    judge,
    next_state,
    parse_moment,
    plan_pass,
    time_left,
    witness_of,
)
from tap_linq.extraction.pool import Pool
from tap_linq.extraction.progress import Progress
from tap_linq.extraction.rows import Row
from tap_linq.extraction.run import Run

#: Chats that fail one after the other before the API, and not the chats, is taken to be the trouble.
GIVE_UP_AFTER: Final = 10

#: The API's code for a chat that does not exist.
NO_SUCH_CHAT: Final = 2001

#: Quiet chats that an incremental pass reads to see whether they are quiet.
SAMPLE: Final = 64

#: The streams whose rows come from the messages of chats.
FROM_MESSAGES: Final = frozenset({"messages", "reactions", "attachments"})

log = logging.getLogger(__name__)

Filter = Callable[[Mapping[str, Any]], bool]


@dataclass(frozen=True)
class Batch:
    """Rows of one stream, made from one page at the most."""

    stream: str
    rows: list[Row]


@dataclass(frozen=True, slots=True)
class ListedChat:
    """What the listing said about a chat, and when (the server's time)."""

    id: str
    created: datetime | None
    updated: datetime | None
    listed: datetime


@dataclass
class Outcome:
    """What became of one chat."""

    chat_id: str
    messages: int = 0
    witness: Witness = Witness.NOTHING
    error: LinqError | None = None
    skipped: bool = False


@dataclass(frozen=True)
class Listed:
    """The end of the listing: how many chats there are to read, or why they are not known."""

    to_read: int = 0
    error: LinqError | None = None


@dataclass
class Stage:
    """A round of jobs of a pass, and what it came to.

    Attributes:
        submitted: number of chats that were to be read.
        quiet: chats that an incremental pass leaves out.
        read: chats that an incremental pass has read.
    """

    complete: bool = True
    submitted: int = 0
    quiet: list[ListedChat] = field(default_factory=list)
    read: list[ListedChat] = field(default_factory=list)
    skipped: int = 0
    skipped_because: LinqError | None = None


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
        self._witnesses: set[Witness] = set()
        self._lock = Lock()
        self._failed_in_a_row = 0
        self._given_up: LinqError | None = None

    def batches(self) -> Generator[Batch, None, None]:
        """Yield the rows of all wanted streams.

        What can't be read is noted with the run, and leaves the bookmark as it is.
        """
        started = self._run.client.server_time
        self._plan = self._announce(started)
        self._progress = Progress(self._line, self._oldest_unread(started), self._settings.window)
        reading = self._run.chats(self._line, None if self._plan.sweep else self._state.bookmark)
        stage = Stage()
        yield from self._run_stage(stage, lambda pool: self._list_and_read(pool, reading.pages(), stage))
        if not self._reads_messages:
            return
        evidence = judge(self._state.evidence, self._witnesses)
        if stage.complete and not self._plan.sweep and not evidence:
            self._turn_into_sweep(evidence)
            rest = Stage()
            yield from self._run_stage(rest, lambda pool: self._read_the_rest(pool, stage, rest))
            stage.complete = rest.complete
            evidence = judge(self._state.evidence, self._witnesses)
        if stage.complete and reading.started is not None:
            yield from self._gap(reading.started, evidence)
            self.new_state = next_state(
                self._plan, self._state, started=reading.started, overlap=self._settings.overlap, evidence=evidence
            )
        elif evidence is False:
            # Whatever else the next run finds, it has to know that.
            self.new_state = replace(self._state, evidence=False)
        self._conclude(stage.complete)

    def _announce(self, now: datetime) -> Plan:
        plan = plan_pass(self._state, self._settings.sweep_interval, now)
        if self._reads_messages:
            log.info("line %s: %s, as %s", self._line, _kind(plan), plan.reason)
            left = time_left(self._state, self._settings.overlap, self._settings.window, now)
            if left is not None and is_short(left, self._settings.window):
                log.warning(
                    "line %s: %s of the window is left since the last complete pass; run the tap more often",
                    self._line,
                    hours(left),
                )
        return plan

    def _oldest_unread(self, now: datetime) -> timedelta | None:
        return None if self._state.bookmark is None else now - (self._state.bookmark + self._settings.overlap)

    def _run_stage(self, stage: Stage, feed: Callable[[Pool[Any]], None]) -> Iterator[Batch]:
        """Run the jobs of a stage, pass on their rows and take note of how each of them ended."""
        pool: Pool[Batch | Outcome | Listed] = Pool(self._settings.concurrency)
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
                    stage.complete = False
                    self._run.note_failure(f"the chats of line {self._line}", result.error)
            self._progress.tick()
        if stage.skipped and stage.skipped_because is not None:
            self._run.note_failure(f"the other {stage.skipped} chats of line {self._line}", stage.skipped_because)

    def _note_outcome(self, stage: Stage, outcome: Outcome) -> None:
        self._progress.chats += 1
        self._progress.messages += outcome.messages
        self._witnesses.add(outcome.witness)
        error = outcome.error
        if outcome.skipped:
            stage.complete, stage.skipped, stage.skipped_because = False, stage.skipped + 1, self._given_up
        elif error is not None and _is_gone(error):
            log.warning("line %s: chat %s has vanished", self._line, outcome.chat_id)
        elif error is not None:
            stage.complete = False
            self._run.note_failure(f"chat {outcome.chat_id} of line {self._line}", error)

    # What follows runs in the threads of the pool.

    def _list_and_read(self, pool: Pool[Any], pages: Iterator[Page], stage: Stage) -> None:
        """List the chats, and have those read that are to be read."""
        since = None if self._plan.sweep else self._state.bookmark
        wanted = self._filter(since)
        ids: list[str] = []
        error: LinqError | None = None
        try:
            for page in pages:
                self._put_chats(pool, page.items)
                if "chat_locations" in self._streams:
                    ids.extend(item["id"] for item in page.items)
                for item in page.items if self._reads_messages else ():
                    listed = _listed(item, page.server_time)
                    if self._plan.sweep or is_active(item, since):
                        self._submit(pool, listed, wanted, stage)
                    else:
                        stage.quiet.append(listed)
        except LinqError as raised:
            error = raised
        if "chat_locations" in self._streams and error is None:
            self._run.chat_ids[self._line] = tuple(ids)
        sample = random.sample(stage.quiet, min(SAMPLE, len(stage.quiet)))
        sampled = {chat.id for chat in sample}
        stage.quiet = [chat for chat in stage.quiet if chat.id not in sampled]
        pool.put(Listed(stage.submitted + len(sample), error))
        for chat in sample:
            self._submit(pool, chat, wanted, stage)

    def _read_the_rest(self, pool: Pool[Any], before: Stage, stage: Stage) -> None:
        """Emit what an incremental pass, now a full sweep, has left out: of chats it has read, and of the others.

        The chats are listed anew: the second listing of an incremental pass may have been a short one.
        """
        read = {chat.id for chat in before.read}
        known = read | {chat.id for chat in before.quiet}
        emitted, everything = self._filter(self._state.bookmark), self._filter(None)

        def rest(message: Mapping[str, Any]) -> bool:
            return everything(message) and not emitted(message)

        error: LinqError | None = None
        try:
            for page in self._run.chats(self._line).pages():
                self._put_chats(pool, [item for item in page.items if item["id"] not in known])
                for item in page.items:
                    wanted = rest if item["id"] in read else everything
                    self._submit(pool, _listed(item, page.server_time), wanted, stage)
        except LinqError as raised:
            error = raised
        pool.put(Listed(stage.submitted, error))

    def _filter(self, bookmark: datetime | None) -> Filter:
        since = emit_from(bookmark, self._settings.start_date)
        return lambda message: is_due(message, since)

    def _put_chats(self, pool: Pool[Any], chats: list[dict[str, Any]]) -> None:
        if "chats" in self._streams:
            pool.put(Batch("chats", [rows.chat_row(chat, self._line) for chat in chats]))
        if "chat_participants" in self._streams:
            pool.put(Batch("chat_participants", [r for chat in chats for r in rows.participant_rows(chat, self._line)]))

    def _submit(self, pool: Pool[Any], chat: ListedChat, wanted: Filter, stage: Stage) -> None:
        stage.submitted += 1
        if not self._plan.sweep:
            stage.read.append(chat)
        pool.submit(lambda: self._read_chat(pool, chat, wanted))

    def _read_chat(self, pool: Pool[Any], chat: ListedChat, wanted: Filter) -> None:
        outcome = Outcome(chat.id)
        if self._given_up is not None:
            outcome.skipped = True
        else:
            newest: datetime | None = None
            known_by = chat.listed - TOLERANCE
            try:
                for page in self._run.chat_messages(chat.id).pages():
                    outcome.messages += len(page.items)
                    arrivals = self._emit(pool, page.items, wanted)
                    newest = max((one for one in (newest, *arrivals) if one and one < known_by), default=newest)
                outcome.witness = witness_of(chat.created, chat.updated, newest)
            except LinqError as error:
                outcome.error = error
            self._count_failures(outcome.error)
        pool.put(outcome)

    def _count_failures(self, error: LinqError | None) -> None:
        with self._lock:
            if error is None:
                self._failed_in_a_row = 0
            elif not _is_gone(error):
                self._failed_in_a_row += 1
                if self._failed_in_a_row == GIVE_UP_AFTER:
                    self._given_up = error

    def _emit(self, pool: Pool[Any], messages: list[dict[str, Any]], wanted: Filter) -> list[datetime | None]:
        """Hand over the rows of a page of messages; return when each of the messages arrived."""
        arrivals: list[datetime | None] = []
        found: list[Row] = []
        due = []
        for message in messages:
            created = parse_moment(message.get("created_at"))
            arrivals.append(arrival(message, created))
            if wanted(message):
                due.append(message)
                if "messages" in self._streams:
                    found.append(rows.message_row(message, self._line, self._settings.window, created))
        if found:
            pool.put(Batch("messages", found))
        if "reactions" in self._streams:
            reactions = [row for message in due for row in rows.reaction_rows(message, self._line)]
            if reactions:
                pool.put(Batch("reactions", reactions))
        self._put_attachments(pool, due)
        return arrivals

    def _put_attachments(self, pool: Pool[Any], messages: list[dict[str, Any]]) -> None:
        media = self._run.media
        if media is None and "attachments" not in self._streams:
            return
        for message in messages:
            for row in rows.attachment_rows(message, self._line):
                stored = row if media is None else media.store(row)
                if "attachments" in self._streams:
                    pool.put(Batch("attachments", [stored]))

    # What follows runs in the main thread again.

    def _turn_into_sweep(self, evidence: bool | None) -> None:
        reason = (
            "no chat has shown yet that new messages move updated_at"
            if evidence is None
            else "a chat holds a message that came after its updated_at"
        )
        self._plan = Plan(True, reason)
        log.warning("line %s: the pass turns into a full sweep, as %s", self._line, reason)

    def _gap(self, started: datetime, evidence: bool | None) -> Iterator[Batch]:
        settings = self._settings
        gap = find_gap(
            self._state,
            overlap=settings.overlap,
            start_date=settings.start_date,
            window=settings.window,
            now=started,
            evidence=evidence,
        )
        if gap is None or settings.window is None:
            return
        end = format_moment(gap.end)
        if gap.last_complete_pass is None:
            log.info("line %s: nothing created before %s could be reached", self._line, end)
        else:
            span = f"messages created from {format_moment(gap.start or gap.last_complete_pass)} to {end}"
            log.warning(
                "line %s: %s have expired, those that were not read before are lost (%s); "
                "run the tap more often than the retention window",
                self._line,
                span,
                gap.reason,
            )
            self._run.note_gap(f"line {self._line}: {span}")
        if "extraction_gaps" in self._streams:
            yield Batch("extraction_gaps", [rows.gap_row(gap, self._line, settings.window, started)])

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


def _is_gone(error: LinqError) -> bool:
    """Whether it is the API's own word, and not that of a proxy, that a chat is gone: nothing is left to be read."""
    return isinstance(error, NotFoundError) and error.code == NO_SUCH_CHAT


def _kind(plan: Plan) -> str:
    return "full sweep" if plan.sweep else "incremental pass"


def _listed(chat: Mapping[str, Any], listed: datetime) -> ListedChat:
    return ListedChat(chat["id"], parse_moment(chat.get("created_at")), parse_moment(chat.get("updated_at")), listed)
