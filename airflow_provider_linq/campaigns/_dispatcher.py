"""The dispatcher of a campaign: who is next, what is durable before a request, and what follows from each event.

It runs in the main thread and is the only one that applies events. Requests are made in other threads, see `_sender`;
what has to be done about a recipient is decided in `_state`.
"""

from __future__ import annotations

import logging
import random
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from contextvars import copy_context
from datetime import datetime
from queue import Empty, SimpleQueue
from typing import Final

from airflow_provider_linq._internal.key_lifetimes import LATE_ACCEPTANCE
from airflow_provider_linq._internal.not_after import why_late
from airflow_provider_linq.campaigns._checkpoint import Checkpoint
from airflow_provider_linq.campaigns._limits import Limits, Reservation
from airflow_provider_linq.campaigns._lines import Lines
from airflow_provider_linq.campaigns._model import Deferral, Recipient
from airflow_provider_linq.campaigns._owner import LostOwnershipError
from airflow_provider_linq.campaigns._queue import LONG_WAIT, Lane, SendQueue
from airflow_provider_linq.campaigns._sender import Sender
from airflow_provider_linq.campaigns._state import (
    OPEN,
    SETTLED,
    Claimed,
    Event,
    LineLost,
    NoAnswer,
    Postponed,
    RateLimited,
    RecipientState,
    Released,
    Requested,
    SendJob,
    Sent,
    Step,
    TooLate,
    absence_counts_at,
    backoff,
    next_step,
    transition,
)
from airflow_provider_linq.campaigns._suppression import SuppressionReader
from linq_client import AuthenticationError, LinqError, SettingsError, comparable_handle

log = logging.getLogger(__name__)

#: Recipients that are claimed at once: more of them cost fewer writes, and more looks after a crash.
CLAIM: Final = 256
#: Seconds between two writes of what was settled, and of nothing but the confirmation that this process is alive.
SAVE_EVERY: Final = 10.0
CONFIRM_EVERY: Final = 30.0
#: Seconds between two looks at the reputation of the lines.
REFRESH_EVERY: Final = 60.0
#: Seconds without any success after which the API counts as down, and the next try of the task continues.
OUTAGE: Final = 120.0
#: Seconds in which nothing but "wait" came for an answer, after which the next try of the task continues.
LIMITED: Final = 600.0
#: Seconds to wait after a 429, at least, and where it names no time; and at most.
LEAST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 86_400.0


class Dispatcher:
    """
    Sends to all who are not settled, as far as the limits allow.

    :param limits: rate limits and send window.
    :param suppression: reads who must not be written to while others are sent to; None if there is no such list.
    :param on_tick: gets called about once a second with the number of requests under way; what it raises ends the try.
    :param not_after: moment by the API's clock after which nothing is sent; None if there is none.
    :param is_ephemeral: whether what was sent may be gone when it is looked for: then no more recipients are claimed
        than there are requests under way.
    """

    def __init__(
        self,
        sender: Sender,
        lines: Lines,
        limits: Limits,
        checkpoint: Checkpoint,
        *,
        suppression: SuppressionReader | None,
        on_tick: Callable[[int], None],
        not_after: datetime | None,
        is_ephemeral: bool,
        concurrency: int,
    ) -> None:
        self._sender = sender
        self._lines = lines
        self._limits = limits
        self._clock = sender.clock
        self._checkpoint = checkpoint
        self._suppression = suppression
        self._on_tick = on_tick
        self._not_after = not_after
        self._is_ephemeral = is_ephemeral
        self._concurrency = concurrency
        # At a slow rate, no more than are sent in a minute: who is claimed and not sent to is in doubt after a crash.
        self._claim_size = int(min(CLAIM, max(concurrency, limits.quota.per_minute)))
        # Where nothing is durable, a later run would have to find out again what this one waits for.
        self._longest_wait = LONG_WAIT if checkpoint.is_durable else LATE_ACCEPTANCE.total_seconds() + 1
        self._queue = SendQueue(lines, limits)
        self._lookups: deque[SendJob] = deque()
        self._in_flight: dict[Future[Event], tuple[SendJob, Reservation | None]] = {}
        self._done: SimpleQueue[Future[Event]] = SimpleQueue()
        self._resume_at = 0.0
        self._troubles = 0
        self._worked_at = self._saved_at = self._refreshed_at = time.monotonic()
        self._known_excluded = 0
        self._stop: BaseException | None = None
        self._restart: Deferral | None = None
        #: The latest error of those that left somebody unsettled.
        self.last_error: BaseException | None = None

    def run(self, in_doubt: Iterable[SendJob], pending: Iterable[Recipient]) -> Deferral | None:
        """
        Send until nobody is left, or all who are left have to wait.

        :param in_doubt: those to whom an earlier try may have sent.
        :param pending: those to whom nothing was requested.
        :raises LinqError: the API does not accept the key, or is down; what is known is durable.
        :raises NoLineError: no line is left.
        :raises LostOwnershipError: another try or task sends the campaign now.
        """
        for job in in_doubt:
            self._place(job)
        for recipient in pending:
            self._add(recipient)
        with ThreadPoolExecutor(self._concurrency, thread_name_prefix="linq-campaign") as pool:
            try:
                return self._loop(pool)
            finally:
                self._end()

    def _loop(self, pool: ThreadPoolExecutor) -> Deferral | None:
        while True:
            self._tick(pool)
            is_ending = self._stop is not None or self._restart is not None
            seconds = None if is_ending else self._dispatch(pool)
            if self._in_flight:
                self._take_one(timeout=min(1.0, seconds) if seconds else 1.0)
            elif self._stop is not None:
                raise self._stop
            elif self._restart is not None:
                return self._restart
            elif seconds is None:
                return None
            elif seconds > self._longest_wait:
                return Deferral(seconds, self._why_waiting())
            else:
                time.sleep(min(1.0, seconds))

    def _dispatch(self, pool: ThreadPoolExecutor) -> float | None:
        """Begin as many requests as may be made now; return the seconds until another may, None if nobody waits."""
        while len(self._in_flight) < self._concurrency:
            now = time.monotonic()
            if now < self._resume_at:
                return self._resume_at - now
            if self._is_late:
                for waiting in self._queue.pop_all():
                    self._add(waiting)
            for job in self._queue.pop_due(now):
                self._place(job)
            if self._lookups:
                # A look writes to nobody, so neither limits nor send window are asked.
                job = self._lookups.popleft()
                self._submit(pool.submit(copy_context().run, self._sender.look, job), job, None)
                continue
            found = self._queue.next_lane(now, self._clock.now())
            if not isinstance(found, Lane):
                return self._until_late(found)
            self._send_first(pool, found)
        return 1.0

    @property
    def _is_late(self) -> bool:
        return why_late(self._not_after, self._clock.now()) is not None

    def _until_late(self, seconds: float | None) -> float | None:
        """Return how long to wait where nobody can be sent to before so many seconds are over."""
        if seconds is None or self._not_after is None or self._is_late:
            return seconds
        return min(seconds, (self._not_after - self._clock.now()).total_seconds() + 1)

    def _why_waiting(self) -> str:
        if time.monotonic() < self._resume_at:
            return "The API asks to wait"
        return self._queue.why_waiting(self._clock.now()) or "Some are in doubt, and can be looked for later"

    def _send_first(self, pool: ThreadPoolExecutor, lane: Lane) -> None:
        if lane.line is None:  # no line of the pool was left when they were added, if there is one
            self._lines.check_usable()
        first = lane.waiting[0]
        if isinstance(first, Recipient):
            self._claim(lane)
        elif not self._checkpoint.is_claimed(first) or time.time() > self._checkpoint.usable_until:
            self._save()
        job = lane.waiting.popleft()
        assert isinstance(job, SendJob)
        now = self._clock.now()
        if next_step(job, now) is not Step.SEND:  # it has waited so long that its key is not to be trusted
            self._place(job)
            return
        exclude = self._excluded(job) if job.line is None else []
        job = self._apply(job, Requested(self._clock.latest))
        reservation = self._limits.quota.reserve(job.line, now, starts_chat=job.starts_chat)
        until = self._checkpoint.usable_until
        self._submit(pool.submit(copy_context().run, self._sender.send, job, exclude, until), job, reservation)

    def _submit(self, future: Future[Event], job: SendJob, reservation: Reservation | None) -> None:
        self._in_flight[future] = job, reservation
        future.add_done_callback(self._done.put)

    def _claim(self, lane: Lane) -> None:
        """Claim the recipients at the front of a lane, and of others whose turn comes soon; it is durable then (I1)."""
        now = self._clock.now()
        shares: Iterable[tuple[Lane, int]] = [(lane, self._concurrency - len(self._in_flight))]
        if not self._is_ephemeral:
            shares = self._queue.claimable(lane, now, self._claim_size)
        for one, number in shares:
            first = [one.waiting.popleft() for _ in range(min(number, len(one.waiting)))]
            one.waiting.extendleft(
                self._apply(SendJob(waiting), Claimed(one.line, one.starts_chat, self._clock.latest))
                if isinstance(waiting, Recipient)
                else waiting
                for waiting in reversed(first)
            )
        self._save()

    def _excluded(self, job: SendJob) -> list[str]:
        """Return the lines that the platform shall not choose."""
        now = self._clock.now()
        quota = self._limits.quota
        full = [line for line in self._lines.usable if quota.is_full(line, now, starts_chat=job.starts_chat)]
        return [*self._lines.excluded, *full]

    def _apply(self, job: SendJob, event: Event) -> SendJob:
        job = transition(job, event)
        self._checkpoint.update(job)
        return job

    def _place(self, job: SendJob) -> None:
        """Let a job wait where its next step is made; leave it to the next try if that is too far away."""
        now = self._clock.now()
        if self._is_late and not job.is_late:
            job = self._apply(job, TooLate())
            if job.state not in OPEN:
                return
        step = next_step(job, now)
        if step is Step.LOOK:
            self._lookups.append(job)
        elif step is Step.SEND:
            self._add(job)
        elif (left := (absence_counts_at(job) - now).total_seconds()) <= self._longest_wait:
            self._queue.add_later(job, time.monotonic() + left)
        else:
            self._give_up(job)

    def _add(self, waiting: Recipient | SendJob) -> None:
        """Let somebody wait for a turn; who is claimed keeps an excluded line only if a request is open (I5)."""
        if self._is_late:
            if isinstance(waiting, SendJob):
                self._place(waiting)
            return
        if isinstance(waiting, SendJob) and waiting.line in self._lines.excluded and not waiting.is_open:
            waiting = self._apply(waiting, Released())
            if waiting.state in SETTLED:  # as before: it was not its first message
                return
            waiting = waiting.recipient
        if isinstance(waiting, SendJob):
            self._checkpoint.claim(waiting)
        self._queue.add(waiting)

    def _give_up(self, job: SendJob) -> None:
        self.last_error = job.last_error or self.last_error
        self._apply(job, Released())

    def _take_one(self, timeout: float) -> None:
        with suppress(Empty):
            self._take(self._done.get(timeout=timeout))

    def _take(self, future: Future[Event]) -> None:
        """Apply what a request came to. An event that a signal keeps from it leaves the recipient in doubt."""
        job, reservation = self._in_flight.pop(future, (None, None))
        if job is None:
            return
        error = future.exception()
        if error is None:
            event = future.result()
        else:  # a bug, or somebody's macro: it ends the campaign, and not only this thread
            self._stop = error
            event = NoAnswer(error, is_open=True, at=self._clock.now())
        if isinstance(event, Sent) and event.line is not None and event.created_at is not None:
            day = event.created_at[:10]
            self._limits.quota.commit(reservation, event.line, day, starts_chat=event.starts_chat)
        elif reservation is not None:
            self._limits.quota.release(reservation)
        self._clock.note(self._sender.server_time)
        line = job.line
        job = self._apply(job, event)
        if isinstance(event, NoAnswer):
            self._note_trouble(event.error, job.attempts)
        elif isinstance(event, RateLimited):
            self._wait_as_asked(event.error)
        elif not isinstance(event, Postponed):
            self._note_success()
        if isinstance(event, LineLost) and line is not None:
            self._lines.exclude(line, "it is ineligible for sending, or no longer the account's")
        if job.state not in SETTLED:
            self._continue(job, event)

    def _continue(self, job: SendJob, event: Event) -> None:
        """Decide when there is more to do about a recipient who is not settled."""
        if job.state is RecipientState.PENDING:
            if job.recipient.is_sendable:
                self._add(job.recipient)
        elif not job.may_try_again:
            self._give_up(job)
        elif isinstance(event, NoAnswer) or (isinstance(event, LineLost) and job.line is None):
            pause = backoff(job.attempts).total_seconds() * random.uniform(0.5, 1)
            self._queue.add_later(job, time.monotonic() + pause)
        else:
            self._place(job)

    def _note_trouble(self, error: BaseException, attempts: int) -> None:
        now = time.monotonic()
        self._troubles += 1
        if isinstance(error, AuthenticationError | SettingsError) and error.permanent:
            self._stop = error
        elif self._troubles > 2 * self._concurrency:  # not one recipient's trouble, but the API's: all of them wait
            self._resume_at = max(self._resume_at, now + backoff(attempts).total_seconds())
            if now - self._worked_at > OUTAGE:
                self._stop = error

    def _wait_as_asked(self, error: LinqError) -> None:
        now = time.monotonic()
        self._troubles = 0
        self._resume_at = max(self._resume_at, now + min(LONGEST_PAUSE, max(LEAST_PAUSE, error.retry_after or 0.0)))
        if now - self._worked_at > LIMITED:
            self._stop = error

    def _note_success(self) -> None:
        self._troubles = 0
        self._worked_at = time.monotonic()

    def _tick(self, pool: ThreadPoolExecutor) -> None:
        """Do what is due from time to time."""
        now = time.monotonic()
        self._on_tick(len(self._in_flight))
        since = now - self._saved_at
        if since > CONFIRM_EVERY or (since > SAVE_EVERY and self._checkpoint.has_news):
            self._save()
        if self._suppression is not None and (suppressed := self._suppression.poll()):
            self._heed(suppressed)
        if now - self._refreshed_at > REFRESH_EVERY:
            self._refreshed_at = now
            pool.submit(copy_context().run, self._lines.try_refresh)
        if len(self._lines.excluded) > self._known_excluded:
            self._known_excluded = len(self._lines.excluded)
            self._lines.check_usable()
            for waiting in self._queue.pop_excluded():
                self._add(waiting)

    def _heed(self, suppressed: frozenset[str]) -> None:
        """Begin no more requests if somebody who may yet be sent to is on the list: what follows, a new run decides."""
        waiting = [one for lane in self._queue.waiting for one in lane.waiting if isinstance(one, Recipient)]
        waiting += [job.recipient for job in self._checkpoint.open_jobs if job.recipient.is_sendable]
        if number := sum(not suppressed.isdisjoint(map(comparable_handle, one.to)) for one in waiting):
            self._restart = Deferral(0.0, f"{number:,} who were to be sent to are on the suppression list now")

    def _save(self) -> None:
        self._checkpoint.save(self._clock.now())
        self._saved_at = time.monotonic()

    def _end(self) -> None:
        """Wait for what is under way, and make durable what is known; a signal may have come at any moment (I12)."""
        try:
            if self._in_flight:
                self._save()  # what is settled already, should this process not live to see the rest
                done, _ = wait(self._in_flight, timeout=LONG_WAIT)
                for future in done:
                    self._take(future)
            for job in self._checkpoint.open_jobs:
                self._apply(job, Released())
            self._checkpoint.save(self._clock.now(), is_last=True)
        except LostOwnershipError as error:
            log.warning("%s", error)
