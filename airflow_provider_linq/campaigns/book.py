"""What is on record of a campaign: marks in the task state store, and details beside the outcomes file.

The marks alone keep everybody from getting two messages. The details, written before the marks, are what the outcomes
file is made of, and where there is no store (Airflow 3.2) they say who got the message.
"""

from __future__ import annotations

import heapq
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from tempfile import TemporaryFile
from typing import Any, Final

from airflow_provider_linq._internal.durable import StateStore
from airflow_provider_linq._internal.idempotency import derive_key
from airflow_provider_linq._internal.once import TaskInstance
from airflow_provider_linq.campaigns import progress as marks
from airflow_provider_linq.campaigns.courier import Errand
from airflow_provider_linq.campaigns.lines import Lines
from airflow_provider_linq.campaigns.model import CampaignResult, Outcome, Recipient
from airflow_provider_linq.campaigns.outcomes import Journal, Latest
from airflow_provider_linq.campaigns.progress import Header, Progress, shards_for
from airflow_provider_linq.campaigns.recipients import Checked
from linq_client.times import format_datetime, parse_datetime

log = logging.getLogger(__name__)

#: Status and reason of an outcome whose details are not on record.
_MEANING: Final[Mapping[int, tuple[Any, str | None]]] = {
    marks.PENDING: ("pending", None),
    marks.SENT: ("sent", None),
    marks.OPTED_OUT: ("skipped", "opted_out"),
    marks.BLOCKED: ("skipped", "blocked"),
    marks.FAILED: ("failed", "refused"),
    marks.UNKNOWN: ("unknown", "unsettled"),
}
_NO_ANSWER: Final = ("unknown", "no_answer")
_MARKS: Final[Mapping[str | None, int]] = {
    "sent": marks.SENT,
    "opted_out": marks.OPTED_OUT,
    "blocked": marks.BLOCKED,
    "failed": marks.FAILED,
    "unknown": marks.UNKNOWN,
}
_SETTLED: Final = frozenset({marks.SENT, marks.OPTED_OUT, marks.BLOCKED, marks.FAILED})


class Book:
    """
    Who of a campaign's recipients was settled, and how; and who may have been sent to.

    :param header: of the campaign; its ``doubt_since`` says since when there are requests of unknown outcome.
    :param journal: None if there is no outcomes file.
    """

    def __init__(self, store: StateStore, header: Header, progress: Progress, journal: Journal | None) -> None:
        self._store = store
        self.header = header
        self._progress = progress
        self._journal = journal
        self._begun: set[str] = set()
        self._doubt_written = header.doubt_since

    def errands(self, recipients: Iterable[Recipient], lines: Lines) -> Iterator[Errand]:
        """Yield those who are not settled, each with the line that they have, or are to have."""
        since = None if self.header.doubt_since is None else parse_datetime(self.header.doubt_since)
        for recipient in recipients:
            mark = self._progress[recipient.key]
            if mark in _SETTLED:
                continue
            line = lines.choose(recipient.to, recipient.key)
            errand = Errand(recipient, line, is_new=not lines.talks_to(recipient.to, line))
            if mark >= marks.BEGUN:
                errand.line = self.header.lines[mark - marks.BEGUN]
            elif mark != marks.PENDING:
                errand.line_is_known = self.header.lines == [line]  # there was never another one
            if mark != marks.PENDING:
                errand.begun = errand.in_doubt_since = since
                self._begun.add(recipient.key)
            yield errand

    def save(self, begun: Iterable[Errand], outcomes: list[Outcome]) -> None:
        """Put on record who is begun and not settled, and what was settled since the last time."""
        if self._journal is not None:
            self._journal.append(outcomes)
        for outcome in outcomes:
            self._progress[str(outcome.idempotency_key)] = mark_of(outcome)
            self._begun.discard(str(outcome.idempotency_key))
        now_begun = {errand.recipient.key: errand for errand in begun}
        for key in self._begun - now_begun.keys():
            self._progress[key] = marks.PENDING
        for key, errand in now_begun.items():
            self._progress[key] = self._mark_of_begun(errand)
        self._begun = set(now_begun)
        doubts = [errand.in_doubt_since or errand.begun for errand in now_begun.values()]
        since = [format_datetime(doubt) for doubt in doubts if doubt is not None]
        if self.header.doubt_since is not None and self._progress.has(marks.UNKNOWN):
            since.append(self.header.doubt_since)
        self.header.doubt_since = min(since, key=parse_datetime, default=None)
        self.write()

    def write(self) -> None:
        """
        Write header and marks, in an order in which a worker may die between any two.

        The header goes first: marks name lines by the numbers that they have there. As long as there are older marks,
        it must not say that the first doubt is any later.
        """
        since = self.header.doubt_since
        self.header.doubt_since = min(filter(None, (self._doubt_written, since)), key=parse_datetime, default=None)
        self.header.save(self._store)
        self._progress.save(self._store)
        if self.header.doubt_since != since:
            self.header.doubt_since = since
            self.header.save(self._store)
        self._doubt_written = since

    def _mark_of_begun(self, errand: Errand) -> int:
        line = errand.line or ""  # which stands for the platform's choice
        if line not in self.header.lines:
            self.header.lines.append(line)
        is_fixed = line and errand.line_is_known
        return marks.BEGUN + self.header.lines.index(line) if is_fixed else marks.BEGUN_SOMEWHERE

    def outcomes(self, checked: Checked) -> Iterator[Outcome]:
        """Yield what became of each row, in the order of the rows; then of rows that only an earlier try had."""
        with TemporaryFile() as file:
            details = Latest(file, self.sent_before())

            def of_recipients() -> Iterator[Outcome]:
                for recipient in checked.recipients:
                    kept = details.pop(recipient.key)
                    mark = self._progress[recipient.key]
                    if kept is not None and mark_of(kept) == mark:
                        yield replace(kept, row=recipient.number)
                    else:
                        status, reason = _MEANING.get(mark, _NO_ANSWER)
                        yield Outcome(recipient.number, recipient.to, status, reason, idempotency_key=recipient.key)

            yield from heapq.merge(of_recipients(), checked.left_out, key=lambda outcome: outcome.row)
            yield from details.rest()

    def sent_before(self) -> Iterator[Outcome]:
        """Yield the details on record, the latest of a recipient last."""
        return iter(()) if self._journal is None else self._journal.read()

    def tally(self) -> Counter[int]:
        """Count the recipients by their mark."""
        return self._progress.counts()

    @property
    def settled(self) -> int:
        """How many recipients are settled."""
        return sum(number for mark, number in self._progress.counts().items() if mark in _SETTLED | {marks.UNKNOWN})

    @property
    def unsettled(self) -> int:
        """How many recipients another try may settle."""
        return sum(number for mark, number in self._progress.counts().items() if mark not in _SETTLED | {marks.UNKNOWN})


def counted(campaign_key: str, outcomes_path: str | None, by_mark: Counter[int], checked: Checked) -> CampaignResult:
    """Count the rows by what became of them."""
    left_out = Counter(outcome.reason for outcome in checked.left_out)
    return CampaignResult(
        campaign_key=campaign_key,
        sent=by_mark[marks.SENT],
        skipped={
            "opted_out": by_mark[marks.OPTED_OUT],
            "blocked": by_mark[marks.BLOCKED],
            "invalid": left_out["invalid"],
            "duplicate": left_out["duplicate"],
        },
        failed=by_mark[marks.FAILED],
        unknown=sum(number for mark, number in by_mark.items() if mark >= marks.UNKNOWN),
        pending=by_mark[marks.PENDING],
        outcomes_path=outcomes_path,
        report=None,
    )


def mark_of(outcome: Outcome) -> int:
    """Return the mark of a settled recipient."""
    return _MARKS[outcome.reason if outcome.status == "skipped" else outcome.status]


def key_in_force(header: Header | None, given: str | None, ti: TaskInstance) -> str:
    """Return the campaign key: that of the first try, unless the task was cleared and has another one since."""
    index = -1 if ti.map_index is None else ti.map_index
    key = derive_key(ti.dag_id, ti.run_id, ti.task_id, index) if given is None else given
    if header is None or header.campaign_key == key or header.max_tries != ti.max_tries:
        return key
    log.warning("campaign_key renders differently in this try: that of the first try stays in force")
    return header.campaign_key


def open_book(
    store: StateStore,
    header: Header | None,
    campaign_key: str,
    ti: TaskInstance,
    recipients: list[Recipient],
    journal: Journal | None,
    *,
    now: datetime,
    unrecorded_since: datetime | None,
) -> Book:
    """
    Open the record of a campaign, or begin one.

    :param header: of an earlier try, or None.
    :param now: by the API's clock.
    :param unrecorded_since: since when requests may have been made that are not on record, as where Airflow has no
        store; None if there can't have been any.
    """
    keys = [recipient.key for recipient in recipients]
    is_known = header is not None and header.campaign_key == campaign_key
    if header is None or not is_known:
        header = Header(campaign_key, ti.max_tries, format_datetime(unrecorded_since or now), shards_for(len(keys)))
    progress = Progress(keys, header.shards)
    if is_known:
        if progress.load(store, has_changed=header.has_changed):
            # Whose mark is lost may have been sent to at any time of the campaign.
            header.has_changed, header.doubt_since = True, header.began
    elif unrecorded_since is not None:
        header.doubt_since = format_datetime(unrecorded_since)
        progress.fill(marks.BEGUN_SOMEWHERE)
    book = Book(store, header, progress, journal)
    for outcome in book.sent_before():
        # Details are written before marks. Only what was sent is taken over: the rest may have been cleared since.
        key = outcome.idempotency_key
        if outcome.status == "sent" and key is not None and key in progress:
            progress[key] = marks.SENT
    for key, mark in list(progress):
        if mark == marks.UNKNOWN:
            progress[key] = marks.BEGUN_SOMEWHERE
        elif mark == marks.FAILED and header.max_tries != ti.max_tries:
            progress[key] = marks.PENDING
    if len(keys) < header.recipients:
        log.warning("There are %d recipients, and were %d in an earlier stretch", len(keys), header.recipients)
    header.recipients = len(keys)
    header.max_tries = ti.max_tries
    header.result = header.deadline = None
    return book
