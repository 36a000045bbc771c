"""The order of the sending: who is next, how fast, and what is on record before a request is made.

A recipient's way: pending; begun, which is on record, with the line, before the first request; settled. Whoever is
begun and not settled when a try begins is in doubt, as is whoever got no answer in this one; `courier` says what
happens to them. All of this is done in the main thread, and only the requests in others.
"""

from __future__ import annotations

import heapq
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain, count, islice
from queue import Empty, SimpleQueue
from typing import Final

from airflow.sdk.exceptions import AirflowException

from airflow_provider_linq.campaigns.courier import Courier, Errand
from airflow_provider_linq.campaigns.lines import Lines
from airflow_provider_linq.campaigns.model import Outcome
from airflow_provider_linq.campaigns.pace import Meter, SendWindow, ServerClock, Taken, until_tomorrow
from linq_client import AuthenticationError, LineIneligibleError, LineNotPermittedError, LinqError, RateLimitedError

log = logging.getLogger(__name__)

#: Recipients that are put on record as begun at once: more of them cost fewer writes, and more looks after a crash. On
#: an ephemeral line, where a look may come too late, as few as there are requests under way.
CLAIM: Final = 256
#: Seconds between two writes of what was settled, where nothing is begun.
SAVE_EVERY: Final = 10.0
#: Seconds between two looks at the reputation of the lines.
REFRESH_EVERY: Final = 60.0
#: A longer wait than so many seconds is not waited for on the worker.
LONG_WAIT: Final = 120.0
#: How often a recipient is tried who gets no usable answer; the next try of the task goes on with them.
MAX_TRIES: Final = 6
#: Seconds without any success after which the API counts as down, and the next try of the task goes on.
OUTAGE: Final = 120.0
#: How often a recipient is told to wait (429) in a stretch: their line may be at the limit for them alone.
MAX_WAITS: Final = 20
#: Seconds to wait after a 429, at least, and where it names no time; and at most.
LEAST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 86_400.0


@dataclass
class Lane:
    """Recipients who may go at the same moments: of one time zone, from one line, with a chat or without."""

    timezone: str
    line: str | None
    is_new: bool
    errands: deque[Errand] = field(default_factory=deque)


class NoLineError(LinqError):
    """None of the lines can be used at present: give others, or wait."""

    def __init__(self, left_out: Mapping[str, str]) -> None:
        why = "; ".join(f"{line}: {reason}" for line, reason in left_out.items())
        super().__init__(f"no line is left to send from: {why}")


@dataclass(frozen=True)
class Pause:
    """What is left has to wait, longer than a worker should."""

    seconds: float
    why: str


class Sender:
    """Sends to all who are not settled, as far as pace and send window allow.

    :param save: puts on record who was begun and what was settled since the last time: it gets all errands that are
        begun and not settled, and the new outcomes.
    :param report: gets called now and then, for the log.
    :param is_stopped: whether the task is to end at once, because somebody stopped it.
    :param is_ephemeral: whether what was sent may be gone when it is looked for.
    """

    def __init__(
        self,
        courier: Courier,
        lines: Lines,
        meter: Meter,
        window: SendWindow | None,
        clock: ServerClock,
        *,
        server_time: Callable[[], datetime],
        save: Callable[[Iterable[Errand], list[Outcome]], None],
        report: Callable[[], None],
        is_stopped: Callable[[], bool],
        is_ephemeral: bool,
        concurrency: int,
    ) -> None:
        self._courier = courier
        self._lines = lines
        self._meter = meter
        self._window = window
        self._clock = clock
        self._server_time = server_time
        self._write = save
        self._report = report
        self._is_stopped = is_stopped
        self._concurrency = concurrency
        self._lanes: dict[tuple[str, str | None, bool], Lane] = {}
        self._order: deque[Lane] = deque()
        self._later: list[tuple[float, int, Errand]] = []
        self._ticket = count()
        self._begun: dict[str, Errand] = {}
        self._settled: list[Outcome] = []
        self._running: dict[str, Taken] = {}
        self._done: SimpleQueue[tuple[Errand, Outcome | BaseException]] = SimpleQueue()
        self._resume_at = 0.0
        self._troubles = 0
        self._worked_at = time.monotonic()
        self._saved_at = self._refreshed_at = time.monotonic()
        # At a slow pace, no more than go in a minute: who is begun and not sent to is in doubt after a crash.
        self._claim = int(min(CLAIM, max(concurrency, meter.per_minute)))
        self._is_ephemeral = is_ephemeral
        self._stop: BaseException | None = None
        self._known_left_out = 0
        #: The latest error of those that left somebody unsettled.
        self.trouble: LinqError | None = None

    def add(self, errand: Errand) -> None:
        """Let a recipient wait for their turn."""
        key = (errand.recipient.timezone, errand.line, errand.is_new)
        if key not in self._lanes:
            self._lanes[key] = Lane(*key)
            self._order.append(self._lanes[key])
        self._lanes[key].errands.append(errand)
        if errand.begun:
            self._begun[errand.recipient.key] = errand

    def run(self) -> Pause | None:
        """
        Send until nobody is left, or all who are left have to wait.

        :raises LinqError: the API does not take the key, does not work, or no line is left; what was settled is on
            record.
        """
        with ThreadPoolExecutor(self._concurrency, thread_name_prefix="linq-campaign") as pool:
            try:
                return self._run(pool)
            finally:
                self._end()

    def _end(self) -> None:
        """Wait for what is under way, and put on record what is known; a signal may have come at any moment."""
        if self._running:
            self._save()  # what is settled already, should this process not live to see the answers
            deadline = time.monotonic() + LONG_WAIT
            while self._running and time.monotonic() < deadline:
                self._take_answer(timeout=1.0)
        for errand in list(self._begun.values()):
            if errand.asked is None and errand.in_doubt_since is None:
                self._put_off(errand)
        self._save()

    def _run(self, pool: ThreadPoolExecutor) -> Pause | None:
        while True:
            self._keep_up(pool)
            wait = self._dispatch(pool) if self._stop is None else None
            if self._running:
                self._take_answer(timeout=min(1.0, wait) if wait else 1.0)
            elif self._stop is not None:
                raise self._stop
            elif wait is None:
                return None
            elif wait > LONG_WAIT:
                is_asked_to = time.monotonic() < self._resume_at
                why = "The API asks to wait" if is_asked_to else "The send window is closed, or a ceiling is reached"
                return Pause(wait, why)
            else:
                time.sleep(min(1.0, wait))

    def _dispatch(self, pool: ThreadPoolExecutor) -> float | None:
        """Start as many errands as may go now; return the seconds until another may, or None if nobody is left."""
        while len(self._running) < self._concurrency:
            found = self._next()
            if not isinstance(found, Errand):
                return found
            now = self._clock.now()
            exclude = self._excluded(found) if found.line is None else []
            found.asked = self._clock.latest
            self._running[found.recipient.key] = self._meter.take(found.line, now, is_new=found.is_new)
            try:
                pool.submit(copy_context().run, self._deliver, found, now, exclude)
            except BaseException:
                del self._running[found.recipient.key]
                raise
        return 1.0

    def _deliver(self, errand: Errand, now: datetime, exclude: list[str]) -> None:
        try:
            result: Outcome | BaseException = self._courier.deliver(errand, now, exclude)
        except BaseException as error:  # a bug, or somebody's macro: it ends the campaign, and not only this thread
            errand.in_doubt_since = errand.in_doubt_since or errand.asked
            result = error
        self._done.put((errand, result))

    def _next(self) -> Errand | float | None:
        """The errand whose turn it is, or the seconds until it may be somebody's; None if nobody waits."""
        now = time.monotonic()
        if now < self._resume_at:
            return self._resume_at - now
        while self._later and self._later[0][0] <= now:
            self._add_again(heapq.heappop(self._later)[2])
        shortest = self._later[0][0] - now if self._later else None
        server_now = self._clock.now()
        for _ in range(len(self._order)):
            lane = self._order[0]
            if lane.errands:
                wait = self._wait_of(lane, server_now)
                if wait <= 0:
                    self._order.rotate(-1)  # the next one is another lane's
                    return self._begin(lane)
                shortest = wait if shortest is None else min(shortest, wait)
            self._order.rotate(-1)
        return shortest

    def _wait_of(self, lane: Lane, now: datetime) -> float:
        usable = self._lines.usable
        if lane.line is None and all(self._meter.is_full(line, now, is_new=lane.is_new) for line in usable):
            return until_tomorrow(now)
        for_window = self._window.wait(now, lane.timezone) if self._window else 0.0
        return max(for_window, self._meter.wait(lane.line, now, is_new=lane.is_new))

    def _begin(self, lane: Lane) -> Errand:
        """Take the first errand of a lane; before it goes, it and those behind it are on record as begun."""
        if lane.errands[0].begun is None:
            for errand in self._claimed(lane):
                errand.begun = errand.begun or self._clock.latest
                self._begun[errand.recipient.key] = errand
            self._save()
        return lane.errands.popleft()

    def _claimed(self, lane: Lane) -> Iterator[Errand]:
        """Those who are begun together with the first errand of a lane."""
        if self._is_ephemeral:
            return islice(lane.errands, self._concurrency - len(self._running))
        now = self._clock.now()
        due = [one for one in self._order if one is lane or (one.errands and self._wait_of(one, now) < LONG_WAIT)]
        return chain.from_iterable(islice(one.errands, max(1, self._claim // len(due))) for one in due)

    def _put_off(self, errand: Errand) -> None:
        """Nothing was sent, and nothing will be for now."""
        errand.begun = None
        self._begun.pop(errand.recipient.key, None)

    def _excluded(self, errand: Errand) -> list[str]:
        """The lines that the platform shall not choose."""
        now = self._clock.now()
        full = [line for line in self._lines.usable if self._meter.is_full(line, now, is_new=errand.is_new)]
        return [*self._lines.left_out, *full]

    def _take_answer(self, timeout: float) -> None:
        try:
            errand, result = self._done.get(timeout=timeout)
        except Empty:
            return
        taken = self._running.pop(errand.recipient.key)
        if isinstance(result, Outcome) and result.created_at is not None and result.line is not None:
            self._meter.settle(taken, result.line, result.created_at[:10], is_new=errand.is_new)
        else:
            self._meter.give_back(taken)
        if isinstance(result, Outcome):
            self._answered()
            self._settled.append(result)
            self._begun.pop(errand.recipient.key, None)
        elif isinstance(result, LinqError):
            self._after(errand, result)
        else:
            self._stop = result
        errand.asked = None

    def _after(self, errand: Errand, error: LinqError) -> None:
        """Decide what to do about a recipient who is not settled."""
        if isinstance(error, AuthenticationError):
            self._stop = error
        elif errand.line is not None and isinstance(error, LineIneligibleError | LineNotPermittedError):
            self._answered()
            self._lines.leave_out(errand.line, "it is ineligible for sending, or no longer the account's")
            self._add_again(errand)
        elif isinstance(error, RateLimitedError):
            self._answered()
            pause = min(LONGEST_PAUSE, max(LEAST_PAUSE, error.retry_after or 0.0))
            self._resume_at = max(self._resume_at, time.monotonic() + pause)
            errand.waits += 1
            if errand.waits < MAX_WAITS:
                self.add(errand)
            else:
                self._give_up(errand, error)
        else:
            self._after_trouble(errand, error)

    def _after_trouble(self, errand: Errand, error: LinqError) -> None:
        now = time.monotonic()
        errand.tries += 1
        self._troubles += 1
        back_off = min(30.0, 0.5 * 2.0 ** min(errand.tries, 10))
        if self._troubles > 2 * self._concurrency:  # not one recipient's trouble, but the API's: nobody goes on
            self._resume_at = max(self._resume_at, now + back_off)
            if now - self._worked_at > OUTAGE:
                self._stop = error
        if errand.tries < MAX_TRIES:
            heapq.heappush(self._later, (now + back_off * random.uniform(0.5, 1), next(self._ticket), errand))
        else:
            self._give_up(errand, error)

    def _give_up(self, errand: Errand, error: LinqError) -> None:
        """Leave a recipient to the next try of the task."""
        self.trouble = error
        if errand.in_doubt_since is None:
            self._put_off(errand)

    def _answered(self) -> None:
        """The API works."""
        self._troubles = 0
        self._worked_at = time.monotonic()
        self._clock.note(self._server_time())

    def _add_again(self, errand: Errand) -> None:
        """Let a recipient wait for another turn; from another line, if theirs is left out and it is certain that
        nothing was sent from it."""
        if errand.line not in self._lines.left_out or errand.in_doubt_since is not None:
            self.add(errand)
            return
        self._put_off(errand)
        errand.line = self._lines.choose(errand.recipient.to, errand.recipient.key)
        errand.is_new = not self._lines.talks_to(errand.recipient.to, errand.line)
        if self._lines.usable:
            self.add(errand)
        else:
            self._stop = NoLineError(self._lines.left_out)

    def _keep_up(self, pool: ThreadPoolExecutor) -> None:
        """Do what is due from time to time."""
        now = time.monotonic()
        self._report()
        if self._is_stopped() and self._stop is None:
            self._stop = AirflowException("The task was stopped")
        if self._settled and now - self._saved_at > SAVE_EVERY:
            self._save()
        if now - self._refreshed_at > REFRESH_EVERY:
            self._refreshed_at = now
            pool.submit(copy_context().run, self._refresh_lines)
        if len(self._lines.left_out) > self._known_left_out:
            self._known_left_out = len(self._lines.left_out)
            self._redistribute()

    def _refresh_lines(self) -> None:
        try:
            self._lines.refresh()
        except LinqError as error:
            log.warning("The lines' reputation could not be read: %s", error)

    def _redistribute(self) -> None:
        """Give those who wait for a line that is left out to others; who is in doubt is asked for where they were."""
        if not self._lines.usable:
            self._stop = NoLineError(self._lines.left_out)
        for lane in list(self._order):
            if lane.line in self._lines.left_out:
                errands, lane.errands = lane.errands, deque()
                for errand in errands:
                    self._add_again(errand)

    def _save(self) -> None:
        self._write(self._begun.values(), self._settled)
        self._settled.clear()
        self._saved_at = time.monotonic()
