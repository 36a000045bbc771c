"""The checkpoint of a campaign: what another try has to know, in Airflow's task state store and in the journal.

The states alone keep everybody from getting two messages. The journal, written before the states (I2), has the details;
where Airflow has no store (before 3.3) it also says who was settled.
"""

from __future__ import annotations

import heapq
import logging
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from tempfile import TemporaryFile
from typing import Final

from airflow_provider_linq._internal.durable import StateStore
from airflow_provider_linq.campaigns._header import Header
from airflow_provider_linq.campaigns._journal import Claim, Entry, Journal, Latest, Release
from airflow_provider_linq.campaigns._lines import Lines
from airflow_provider_linq.campaigns._model import Outcome, Recipient
from airflow_provider_linq.campaigns._outcomes import (
    FailureCodes,
    outcome_of,
    outcome_of_state,
    outcomes_in_journal,
    state_of,
)
from airflow_provider_linq.campaigns._owner import CONFIRM_AGE, LostOwnershipError
from airflow_provider_linq.campaigns._packed_states import PackedStates
from airflow_provider_linq.campaigns._state import OPEN, SETTLED, RecipientState, SendJob
from airflow_provider_linq.campaigns._validate import ValidatedRows
from linq_client.times import format_datetime, parse_datetime

log = logging.getLogger(__name__)

#: A byte has room for so many lines.
MAX_LINES: Final = 256 - RecipientState.CLAIMED


class Checkpoint:
    """
    Who of a campaign's recipients was settled, and how; and who may have been sent to.

    :param header: of the campaign.
    :param journal: None if there is no outcomes file.
    :param claims: open claims of other tasks, by key.
    :param adopted: what other tasks have sent to recipients of this one, which the report of this one is about, too.
    :param failure_codes: of recipients who have failed in earlier runs.
    :param opened_at: by the API's clock.
    """

    def __init__(
        self,
        store: StateStore,
        header: Header,
        states: PackedStates,
        journal: Journal | None,
        claims: dict[str, Claim],
        adopted: list[Outcome],
        failure_codes: FailureCodes,
        opened_at: datetime,
    ) -> None:
        self._store = store
        self.header = header
        self._states = states
        self.journal = journal
        self._claims = claims
        self._failure_codes = failure_codes
        self._opened_at = opened_at
        self._open: dict[str, SendJob] = {}
        self._entries: list[Entry] = [*adopted]
        self._claimed = set(claims)  # in the journal, or in the entries
        self._unsaved: set[str] = set()
        self._in_doubt_written = header.in_doubt_since
        self._has_written = False
        self._written_at = 0.0
        header.owner = uuid.uuid4().hex

    def jobs_in_doubt(self, recipients: Iterable[Recipient], lines: Lines) -> list[SendJob]:
        """Return those to whom a request may have been made whose outcome is not on record."""
        jobs = [
            self._job_in_doubt(recipient, self._states[recipient.key], lines)
            for recipient in recipients
            if self._states[recipient.key] >= RecipientState.CLAIMED_ANYWHERE
        ]
        self._open = {job.recipient.key: job for job in jobs}
        return jobs

    def pending(self, recipients: Iterable[Recipient]) -> Iterator[Recipient]:
        """Yield those to whom nothing was ever requested."""
        return (one for one in recipients if self._states[one.key] == RecipientState.PENDING)

    def _job_in_doubt(self, recipient: Recipient, code: int, lines: Lines) -> SendJob:
        since = parse_datetime(self.header.in_doubt_since or self.header.started_at)
        until = parse_datetime(self.header.open_until) if self.header.open_until else self._opened_at
        claim = self._claims.get(recipient.key)
        if claim is not None:
            since, until = parse_datetime(claim.at), requests_until(self.journal, self._opened_at)
        if code >= RecipientState.CLAIMED:
            line: str | None = self.header.lines[code - RecipientState.CLAIMED]
            is_certain = True
        else:
            line = lines.choose(recipient.to, recipient.key)
            is_certain = self.header.lines == [line]  # there was never another one
        return SendJob(
            recipient,
            RecipientState.CLAIMED if is_certain else RecipientState.CLAIMED_ANYWHERE,
            line,
            starts_chat=not lines.has_chat_with(recipient.to, line),
            is_line_certain=is_certain,
            claimed_at=since,
            in_doubt_since=since,
            last_request_at=min(until, self._opened_at),
        )

    def update(self, job: SendJob) -> None:
        """Take over what is known of a recipient now; it becomes durable with the next `save`."""
        key = job.recipient.key
        was_open = key in self._open
        if job.state in OPEN:
            self._open[key] = job
            if not was_open:
                self.claim(job)
        else:
            self._open.pop(key, None)
            self._claimed.discard(key)
            if job.state in SETTLED:
                outcome = outcome_of(job)
                self._entries.append(outcome)
                self._failure_codes.note(key, outcome)
            elif was_open:
                self._entries.append(Release(key))
        self._states[key] = self._code_of(job)

    def restate(self, outcome: Outcome) -> None:
        """Let the journal say again what became of somebody, in place of what it says; durable with the next `save`."""
        self._entries.append(outcome)

    def claim(self, job: SendJob) -> None:
        """
        Let the journal know of somebody who will be sent to; it becomes durable with the next `save`.

        Who was in doubt is claimed before another request: the doubt may come from elsewhere, as where Airflow has no
        store.
        """
        key, to = job.recipient.key, job.recipient.to
        if self.journal is not None and key not in self._claimed:
            since = job.in_doubt_since or job.claimed_at or self._opened_at
            line = job.line if job.is_line_certain else None
            self._claimed.add(key)
            self._unsaved.add(key)
            self._entries.append(Claim(key, to, job.recipient.number, line, format_datetime(since)))

    def is_claimed(self, job: SendJob) -> bool:
        """Whether the claim of a job is durable (I1)."""
        return job.recipient.key not in self._unsaved

    def save(self, now: datetime, *, is_last: bool = False) -> None:
        """
        Make everything durable, in an order in which a worker may die between any two writes.

        The journal is first (I2), and then the look whether this try still owns the campaign: claims that another owner
        does not see are not used. The header is written before the states, which name lines by their numbers (I3). As
        long as older states stand, it must not say that the first doubt is any later (I4).

        :param now: by the API's clock.
        :param is_last: this try makes no more requests.
        :raises LostOwnershipError: another try or task sends the campaign.
        """
        begun_at = time.time()  # a process that stands still from here on has confirmed nothing since
        if self.journal is not None:
            # Only the owner may take a claim back: another one may have used it since.
            self.journal.append(entry for entry in self._entries if not isinstance(entry, Release))
        self._confirm(now)
        if self.journal is not None:
            released = [entry for entry in self._entries if isinstance(entry, Release) and entry.key not in self._open]
            self.journal.append(released)
        self._entries.clear()
        self._unsaved.clear()
        self._note_doubts(now, is_last=is_last)
        since = self.header.in_doubt_since
        self.header.in_doubt_since = earliest(self._in_doubt_written, since)
        self.header.save(self._store)
        self._has_written = True
        self._states.save(self._store)
        if self.header.in_doubt_since != since:
            self.header.in_doubt_since = since
            self.header.save(self._store)
        self._in_doubt_written = since
        self._written_at = begun_at

    @property
    def is_durable(self) -> bool:
        """Whether another run knows what this one has found out."""
        return bool(self._store) or self.journal is not None

    @property
    def has_news(self) -> bool:
        """Whether something is known that is not durable."""
        return bool(self._entries)

    @property
    def usable_until(self) -> float:
        """Until when claims may be used without another `save`, in seconds of `time.time`, which counts sleep."""
        return self._written_at + CONFIRM_AGE.total_seconds()

    @property
    def open_jobs(self) -> list[SendJob]:
        """Those to whom a request may have been made whose outcome is not on record."""
        return list(self._open.values())

    def _confirm(self, now: datetime) -> None:
        if self.journal is not None:
            self.journal.owner.confirm(now)
        if not self._store or not self._has_written:
            return
        written = Header.load(self._store)  # None is what Airflow tells a try that another one has replaced
        if written is None or written.owner != self.header.owner:
            raise LostOwnershipError("Another try of this task has taken over the campaign")

    def _note_doubts(self, now: datetime, *, is_last: bool) -> None:
        jobs = [job for job in self._open.values() if job.replaces is None]  # of the others, the journal tells all
        since = [one for job in jobs if (one := job.in_doubt_since or job.in_flight_since or job.claimed_at)]
        soon = now + CONFIRM_AGE  # until then requests may be made without another save
        until = [job.last_request_at if is_last and job.in_flight_since is None else soon for job in jobs]
        kept = self._states.has(RecipientState.UNKNOWN)  # they are looked up again in every try
        first = format_datetime(min(since)) if since else None
        last = format_datetime(max(one or soon for one in until)) if until else None
        self.header.in_doubt_since = earliest(first, self.header.in_doubt_since if kept else None)
        self.header.open_until = _latest(last, self.header.open_until if kept else None)

    def _code_of(self, job: SendJob) -> int:
        if job.replaces is not None:  # they were sent to, whatever comes of this
            return RecipientState.SENT
        if job.state not in OPEN:
            return job.state
        line = job.line or ""  # which stands for the platform's choice
        if line not in self.header.lines:
            self.header.lines.append(line)
        number = self.header.lines.index(line)
        is_named = line and job.is_line_certain and number < MAX_LINES
        return RecipientState.CLAIMED + number if is_named else RecipientState.CLAIMED_ANYWHERE

    def outcomes(self, rows: ValidatedRows) -> Iterator[Outcome]:
        """
        Yield what became of each row, in the order of the rows; then of recipients that only an earlier try had.

        What other shards have sent is in the journal alone.
        """
        with TemporaryFile() as file:
            details = Latest(file, () if self.journal is None else (entry for _, entry in self.journal.read()))
            earlier = {one.number: one for one in rows.unsendable if self._states[one.key] != RecipientState.PENDING}

            def of(recipient: Recipient) -> Outcome:
                kept = details.pop(recipient.key)
                state = self.state(recipient.key)
                if isinstance(kept, Outcome) and state_of(kept) == state:
                    return replace(kept, row=recipient.number)
                return outcome_of_state(state, recipient.number, recipient.to, recipient.key)

            excluded = (of(earlier[one.row]) if one.row in earlier else one for one in rows.excluded)
            elsewhere = () if rows.elsewhere is None else outcomes_in_journal(rows.elsewhere, details)
            yield from heapq.merge(map(of, rows.recipients), excluded, elsewhere, key=lambda outcome: outcome.row)
            yield from details.rest()

    def state(self, key: str) -> RecipientState:
        """Return the state of a recipient."""
        return RecipientState(min(self._states[key], RecipientState.CLAIMED))

    def counts(self, rows: ValidatedRows) -> Counter[RecipientState]:
        """Count the recipients by their state; those of excluded rows only if an earlier try may have sent to them."""
        found: Counter[RecipientState] = Counter()
        for code, number in self._states.counts().items():
            found[RecipientState(min(code, RecipientState.CLAIMED))] += number
        found[RecipientState.PENDING] -= sum(self.state(one.key) is RecipientState.PENDING for one in rows.unsendable)
        return found

    def excluded(self, rows: ValidatedRows) -> Counter[str]:
        """Count by reason the rows that are excluded, and whose recipient no earlier try may have sent to."""
        counted = {one.number for one in rows.unsendable if self.state(one.key) is not RecipientState.PENDING}
        return Counter(str(one.reason) for one in rows.excluded if one.row not in counted)

    @property
    def failure_codes(self) -> Counter[int]:
        """How many recipients have failed with which code of the API; those without one are left out."""
        return self._failure_codes.counts(lambda key: self.state(key) is RecipientState.FAILED)

    @property
    def settled(self) -> int:
        """How many recipients are settled."""
        return sum(number for code, number in self._states.counts().items() if code in SETTLED)


def requests_until(journal: Journal | None, now: datetime) -> datetime:
    """Return a moment not before the last request of another process, as far as the journal tells."""
    known = None if journal is None else journal.owner.earlier_requests_until
    return now if known is None else min(now, known)


def earliest(*moments: str | None) -> str | None:
    return min(filter(None, moments), key=parse_datetime, default=None)


def _latest(*moments: str | None) -> str | None:
    return max(filter(None, moments), key=parse_datetime, default=None)
