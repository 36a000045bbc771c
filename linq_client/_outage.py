"""Outages of the API: all reads of a client wait them out together.

A read that has used up its tries may be at fault itself (a chat that the API can't serve), or the API may be. Which of
the two it is says the last read of the same endpoint that worked, made once more:

- It works: the read has one more try, and then fails by itself. No other read notices.
- It fails: there is an outage. All reads pause, and one at a time asks again, in turn: reads that failed, reads that
  were about to begin, and the one that had worked, so that no single read that can't be served prolongs the outage.
  When one works, all continue, with as many tries as at first.
- No read of this endpoint ever worked: the reads of it that failed ask again in turn, and all others continue. When one
  read of the endpoint works, the above holds. If none does within `retry_budget` and another endpoint works, a single
  read fails by itself. Several, or another endpoint that fails too, are an outage.

A limit (429) is one of the account, too, for which `_concurrency` pauses all reads. It uses up no tries.

When no read has worked for as long as the client's patience, all reads fail, and so does every later one: whoever calls
then is not to wait as long for each.
"""

from __future__ import annotations

import logging
import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, NoReturn, TypeVar

from linq_client._concurrency import AdaptiveConcurrency
from linq_client._deadline import Lifetime
from linq_client._retry import RequestCounter, Retries, RetrySettings
from linq_client.errors import APIUnavailableError, ClientClosedError, LinqError, RateLimitedError

#: The wait before the API is asked again, as a share of the time that the outage has lasted: what an outage costs
#: beyond its end.
WAIT_SHARE: Final = 0.25

#: Seconds between two lines in the log while an outage lasts.
LOG_INTERVAL: Final = 60.0

log = logging.getLogger(__name__)
T = TypeVar("T")


class _FreshTries(Exception):
    """An outage is over: the read begins again."""


@dataclass(eq=False)
class _Read:
    """One read.

    Attributes:
        template: of the path, with placeholders for ids: the endpoint.
        question: what distinguishes it from other reads of the endpoint.
        once: makes one try.
        failing_since: when the first of its present tries failed, by the monotonic clock.
        limits: how often it was limited (429).
        limited_since: when that was for the first time.
        turns: how often it was its turn to ask again in an outage.
    """

    template: str
    question: tuple[str, Mapping[str, Any]]
    once: Callable[[], Any]
    failing_since: float | None = None
    limits: int = 0
    limited_since: float | None = None
    turns: int = 0


@dataclass(eq=False)
class _Outage:
    """Reads that fail, and what is known of them.

    Attributes:
        since: of the first failure, by the monotonic clock.
        pauses_all: whether all reads wait; else, only those that failed.
        templates: the endpoints of which one read that works ends it.
        questions: the reads that failed.
        queue: the reads that ask again, in turn.
        asker: the one that does at present.
        next_at: when the next one does.
        logged_at: when it was last spoken of.
    """

    since: float = field(default_factory=time.monotonic)
    pauses_all: bool = False
    templates: set[str] = field(default_factory=set)
    questions: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    queue: deque[_Read] = field(default_factory=deque)
    asker: _Read | None = None
    next_at: float = 0.0
    logged_at: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """How long it has lasted."""
        return time.monotonic() - self.since


class Outages:
    """Makes the reads of a client that waits out outages; safe to use from several threads.

    Args:
        patience: seconds without any read that works after which no more are made.
        retry_budget: seconds after which a read of an endpoint that never worked may be at fault itself.
        settings: how long to wait.
        retries: makes the tries of a read.
        reads: lets them through.
        counter: counts the retries.
        lifetime: of the client.
    """

    def __init__(
        self,
        patience: float,
        retry_budget: float,
        settings: RetrySettings,
        retries: Retries,
        reads: AdaptiveConcurrency,
        counter: RequestCounter,
        lifetime: Lifetime,
    ) -> None:
        self._patience = patience
        self._doubt = min(patience, retry_budget)
        self._settings = settings
        self._retries = retries
        self._reads = reads
        self._counter = counter
        self._lifetime = lifetime
        self._changed = lifetime.new_condition()
        #: The last read of each endpoint that worked.
        self._worked: dict[str, Callable[[], Any]] = {}
        self._outage: _Outage | None = None
        #: Whether reads must not begin: there is an outage that pauses all, or patience is used up.
        self._is_paused = False
        self._unavailable: str | None = None
        self._limited_since: float | None = None
        self._is_failing = False

    def read(self, path: str, params: Mapping[str, Any], once: Callable[[], T]) -> T:
        """Make a read, with tries of its own and as often again as outages ask for.

        Raises:
            APIUnavailableError: patience is used up.
            LinqError: the read failed by itself.
        """
        read = _Read(_template(path), (path, params), partial(self._reads.run, once))
        while True:
            try:
                return self._attempt(read)  # type: ignore[no-any-return]
            except _FreshTries:
                pass
            except RateLimitedError as error:
                self._wait_for_limit(read, error)
            read.failing_since = None

    def _attempt(self, read: _Read) -> Any:
        """Make the tries of a read, and find out whose fault it is that all of them failed.

        Raises:
            _FreshTries: an outage is over.
            RateLimitedError: it was limited.
            LinqError: it failed by itself.
        """
        try:
            return self._retries.run(partial(self._try, read), unless=RateLimitedError, logs=self._is_first_failure)
        except LinqError as error:
            if not error.retryable or isinstance(error, RateLimitedError):
                raise
            failure = error
        worked = self._worked.get(read.template)
        if worked is not None and not self._is_paused and self._works(worked):
            return self._try(read)
        return self._wait_out(read, failure, pauses_all=worked is not None)

    def _try(self, read: _Read) -> Any:
        if self._is_paused:
            return self._wait_out(read)
        try:
            result = read.once()
        except LinqError as error:
            if read.failing_since is None:
                read.failing_since = time.monotonic()
            if not error.retryable:
                self._end_outage_of(read.template)
            raise
        self._note_success(read)
        return result

    def _note_success(self, read: _Read) -> None:
        self._worked[read.template] = read.once
        self._limited_since = None
        self._is_failing = False
        self._end_outage_of(read.template)

    def _works(self, worked: Callable[[], Any]) -> bool:
        """Whether a read that worked before still gets an answer that no retry would change."""
        self._counter.add(retries=1)
        try:
            worked()
        except ClientClosedError:
            raise
        except LinqError as error:
            return not error.retryable
        return True

    def _is_first_failure(self) -> bool:
        """Whether a retry is worth a line: the first one since a read worked. In an outage the others say the same."""
        is_first, self._is_failing = not self._is_failing, True
        return is_first

    def _wait_for_limit(self, read: _Read, error: RateLimitedError) -> None:
        """Wait a little, since all who were limited continue at the same moment, when their pause is over.

        Raises:
            APIUnavailableError: no read worked for too long.
            RateLimitedError: other reads work, but not this one.
        """
        now = time.monotonic()
        read.limits += 1
        if read.limited_since is None:
            read.limited_since = now
        with self._changed:
            if self._limited_since is None:
                self._limited_since = now
            if now - self._limited_since >= self._patience:
                self._give_up(error)
        if now - read.limited_since >= self._patience:
            raise error
        if self._is_first_failure():
            log.warning("all reads pause: %s", error)
        self._counter.add(retries=1)
        longest = min(self._settings.first_wait * 2.0 ** min(read.limits, 30), self._settings.longest_wait)
        self._lifetime.sleep(random.uniform(0, longest))

    def _wait_out(self, read: _Read, failure: LinqError | None = None, *, pauses_all: bool = False) -> Any:
        """Wait until the outage is over, and ask again when it is the read's turn.

        Args:
            failure: why the read joins the outage; None if it was about to begin.
            pauses_all: whether that shows that the API is at fault.

        Returns:
            What the read brought, if it was the one that worked.

        Raises:
            _FreshTries: the outage is over.
            APIUnavailableError: patience is used up.
            LinqError: the read failed by itself.
        """
        outage: _Outage | None = None
        try:
            outage = self._join(read, failure, pauses_all)
            while True:
                self._wait_for_turn(read, outage)
                read.turns += 1
                # Every other turn of a read goes to what has worked before: the read may be one that can't be served.
                worked = self._worked_among(outage.templates) if read.turns % 2 == 0 else None
                self._counter.add(retries=1)
                try:
                    result = (worked or read.once)()
                except ClientClosedError:
                    raise
                except LinqError as error:
                    if error.retryable:
                        self._settle_doubt(outage, error)
                        self._note_failure(outage, error)
                        continue
                    self._end(outage)
                    if worked is None:
                        raise
                else:
                    self._end(outage)
                    if worked is None:
                        self._note_success(read)
                        return result
        finally:
            self._leave(read, outage)

    def _join(self, read: _Read, failure: LinqError | None, pauses_all: bool) -> _Outage:
        """Take a read into the outage, which begins if there is none.

        Raises:
            _FreshTries: the outage that it was to wait for is over.
            APIUnavailableError: patience is used up.
        """
        with self._changed:
            self._check_available()
            if failure is not None:
                if self._outage is None:
                    log.warning(
                        "reads fail, and are made again for up to %g s until the API answers: %s",
                        self._patience,
                        failure,
                    )
                    self._outage = _Outage()
                outage = self._outage
                outage.since = min(outage.since, read.failing_since or outage.since)
                outage.templates.add(read.template)
                if read.question not in outage.questions:
                    outage.questions.append(read.question)
                if pauses_all:
                    self._pause_all(outage)
                if not outage.queue:
                    outage.next_at = self._next_at(outage)
            elif self._outage is None:
                raise _FreshTries
            if read.template in self._outage.templates:
                self._outage.queue.append(read)
            return self._outage

    def _check_available(self) -> None:
        if self._unavailable is not None:
            raise APIUnavailableError(self._unavailable)

    def _wait_for_turn(self, read: _Read, outage: _Outage) -> None:
        with self._changed:
            while True:
                self._lifetime.check()
                self._check_available()
                if self._outage is not outage:
                    raise _FreshTries
                is_next = outage.asker is None and bool(outage.queue) and outage.queue[0] is read
                wait = outage.next_at - time.monotonic()
                if is_next and wait <= 0:
                    outage.asker = read
                    return
                self._changed.wait(wait if is_next else None)

    def _settle_doubt(self, outage: _Outage, error: LinqError) -> None:
        """Decide whose fault it is that the reads of an endpoint that never worked fail, once they had time enough.

        Raises:
            LinqError: that of the only read that fails.
        """
        if outage.pauses_all or outage.seconds < self._doubt:
            return
        worked = self._worked_among(self._worked.keys() - outage.templates)
        is_there = worked is not None and self._works(worked)
        with self._changed:
            if self._outage is not outage:
                return
            if is_there and len(outage.questions) == 1:
                self._end(outage, "other reads work")
                raise error
            if not is_there:
                outage.templates.update(self._worked)
            self._pause_all(outage)

    def _note_failure(self, outage: _Outage, error: LinqError) -> None:
        """Give the turn to the next one, or give up."""
        with self._changed:
            if self._outage is not outage:
                return
            if outage.seconds >= self._patience:
                self._give_up(error)
            if time.monotonic() - outage.logged_at >= LOG_INTERVAL:
                outage.logged_at = time.monotonic()
                log.warning("no read has worked for %.0f s: %s", outage.seconds, error)
            outage.next_at = self._next_at(outage)
            outage.asker = None
            outage.queue.rotate(-1)
            self._changed.notify_all()

    def _next_at(self, outage: _Outage) -> float:
        wait = min(max(outage.seconds * WAIT_SHARE, self._settings.first_wait), self._settings.longest_wait)
        # The last turn is at the end of patience, and not long before it.
        return min(time.monotonic() + wait * random.uniform(0.8, 1.0), outage.since + self._patience)

    def _worked_among(self, templates: Iterable[str]) -> Callable[[], Any] | None:
        return next((self._worked[template] for template in list(templates) if template in self._worked), None)

    def _pause_all(self, outage: _Outage) -> None:
        outage.pauses_all = self._is_paused = True

    def _leave(self, read: _Read, outage: _Outage | None) -> None:
        with self._changed:
            if outage is None:
                return
            if outage.asker is read:
                outage.asker = None
            if read in outage.queue:
                outage.queue.remove(read)
            if not outage.queue:  # nobody is left to ask again
                self._end(outage)
            self._changed.notify_all()

    def _end_outage_of(self, template: str) -> None:
        outage = self._outage
        if outage is not None and template in outage.templates:
            self._end(outage)

    def _end(self, outage: _Outage, words: str = "reads work again") -> None:
        with self._changed:
            if self._outage is outage:
                self._outage = None
                self._is_paused = False
                self._changed.notify_all()
                log.warning("%s, after %.0f s", words, outage.seconds)

    def _give_up(self, error: LinqError) -> NoReturn:
        """Let all reads fail from now on."""
        self._unavailable = f"no read of the API has worked for {self._patience:g} s; the last one: {error}"
        self._outage = None
        self._is_paused = True
        self._changed.notify_all()
        log.error("%s", self._unavailable)
        raise APIUnavailableError(self._unavailable)


def _template(path: str) -> str:
    """The path of an endpoint: `/v3/<group>/<id>/<part>`, where every other segment is an id."""
    segments = path.split("/")
    segments[3::2] = ["{}"] * len(segments[3::2])
    return "/".join(segments)
