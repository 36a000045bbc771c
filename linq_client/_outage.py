"""Outages of the API: reads of a client wait them out together.

A read that has used up its tries may be at fault itself (a chat that the API can't serve), or its endpoint may be down,
or all of the API. What shows which one it is, by `LinqError._suggests_outage`:

- The last read of the endpoint that worked works still: the read has one more try, and then fails by itself.
- It does not, or none ever worked: there is an outage of the endpoint. The reads of it that failed wait, and one at a
  time asks again, in turn; every other turn goes to the read that had worked. If there is one, the reads of the
  endpoint that were about to begin wait, too; if not, each of them may be the first that works. When anything of the
  endpoint works, all continue, with as many tries as at first.
- The outage has lasted for some time, and a read of another endpoint works: the API is there, and the reads fail by
  themselves. How long is in `RetrySettings`. No read of another endpoint works: all of the API is down, and that is
  waited out for as long as the client's patience.

When no read at all has worked for that long, all reads fail, and so does every later one: whoever calls then is not to
wait as long for each.

A limit (429) is one of the account, for which `_concurrency` pauses all reads. It uses up no tries.
"""

from __future__ import annotations

import logging
import random
import time
from collections import deque
from collections.abc import Callable
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
    """An outage is over, or given up: the read begins again."""


@dataclass(eq=False)
class _Endpoint:
    """What is known of an endpoint.

    Attributes:
        template: of its path, with placeholders for ids.
        worked: makes the last read of it that worked once more; None if none ever did.
        outage: the one that there is.
        waited: seconds of the outages that were given up since anything of it worked.
    """

    template: str
    worked: Callable[[], Any] | None = None
    outage: _Outage | None = None
    waited: float = 0.0


@dataclass(eq=False)
class _Read:
    """One read.

    Attributes:
        endpoint: what it reads from.
        path: the same with ids.
        once: makes one try.
        failing_since: when the first of its present tries failed, by the monotonic clock.
        judged_by: what had worked of the endpoint when its tries were used up.
        limits: how often it was limited (429).
        limited_since: when that was for the first time.
    """

    endpoint: _Endpoint
    path: str
    once: Callable[[], Any]
    failing_since: float | None = None
    judged_by: Callable[[], Any] | None = None
    limits: int = 0
    limited_since: float | None = None


@dataclass(eq=False)
class _Outage:
    """Reads of an endpoint that fail. All times are of the monotonic clock.

    Attributes:
        error: of the last one that failed.
        since: when the first of them failed.
        others_since: since when other endpoints may have worked.
        queue: the reads that ask again, in turn.
        asker: the one that does at present.
        asks_what_worked: whether the turn goes to what had worked of the endpoint.
        next_at: when the next one does.
        logged_at: when it was last spoken of.
    """

    error: LinqError
    since: float
    others_since: float
    queue: deque[_Read] = field(default_factory=deque)
    asker: _Read | None = None
    asks_what_worked: bool = True
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
        settings: how long to wait.
        retries: makes the tries of a read.
        reads: lets them through.
        counter: counts the retries.
        lifetime: of the client.
    """

    def __init__(
        self,
        patience: float,
        settings: RetrySettings,
        retries: Retries,
        reads: AdaptiveConcurrency,
        counter: RequestCounter,
        lifetime: Lifetime,
    ) -> None:
        self._patience = patience
        self._settings = settings
        self._retries = retries
        self._reads = reads
        self._counter = counter
        self._lifetime = lifetime
        self._changed = lifetime.new_condition()
        self._endpoints: dict[str, _Endpoint] = {}
        #: When anything last worked.
        self._worked_at = float("-inf")
        self._unavailable: str | None = None
        self._limited_since: float | None = None
        self._is_failing = False

    def read(self, path: str, once: Callable[[], T]) -> T:
        """Make a read, with tries of its own and as often again as outages ask for.

        Raises:
            APIUnavailableError: patience is used up.
            LinqError: the read failed by itself.
        """
        template = _template(path)
        endpoint = self._endpoints.get(template) or self._endpoints.setdefault(template, _Endpoint(template))
        read = _Read(endpoint, path, partial(self._reads.run, once))
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
            if not error._suggests_outage:
                raise
            failure = error
        read.judged_by = read.endpoint.worked
        if read.endpoint.outage is None and self._still_works(read.endpoint):
            return self._try(read)
        # Where the endpoint was waited for long enough, a read that fails must not let the others begin again.
        if read.endpoint.waited >= self._settings.endpoint_outage and self._another_works(read.endpoint):
            raise failure
        return self._wait_out(read, failure)

    def _try(self, read: _Read) -> Any:
        endpoint = read.endpoint
        if self._unavailable is not None or (endpoint.outage is not None and endpoint.worked is not None):
            return self._wait_out(read)
        try:
            result = read.once()
        except LinqError as error:
            if read.failing_since is None:
                read.failing_since = time.monotonic()
            if not error._suggests_outage:
                self._note_answer(endpoint)
            raise
        self._note_success(read)
        return result

    def _note_success(self, read: _Read) -> None:
        read.endpoint.worked = read.once
        self._limited_since = None
        self._is_failing = False
        self._note_answer(read.endpoint)

    def _note_answer(self, endpoint: _Endpoint) -> None:
        """Note that the API is there, though what it said may be a refusal."""
        self._worked_at = time.monotonic()
        endpoint.waited = 0.0
        if endpoint.outage is not None:
            self._end(endpoint, "reads work again")

    def _still_works(self, endpoint: _Endpoint) -> bool:
        """Whether what worked of an endpoint still gets an answer."""
        if endpoint.worked is None:
            return False
        self._counter.add(retries=1)
        try:
            endpoint.worked()
        except ClientClosedError:
            raise
        except LinqError as error:
            if error._suggests_outage:
                return False
        self._note_answer(endpoint)
        return True

    def _another_works(self, endpoint: _Endpoint) -> bool:
        with self._changed:
            others = [other for other in self._endpoints.values() if other is not endpoint]
        return any(map(self._still_works, sorted(others, key=lambda other: other.outage is not None)))

    def _is_first_failure(self) -> bool:
        """Whether a retry is worth a line: the first one since a read worked. In an outage the others say the same."""
        with self._changed:
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

    def _wait_out(self, read: _Read, failure: LinqError | None = None) -> Any:
        """Wait until the outage of an endpoint is over, and ask again when it is the read's turn.

        Args:
            failure: why the read waits; None if it was about to begin.

        Returns:
            What the read brought, if it was the one that worked.

        Raises:
            _FreshTries: the outage is over.
            APIUnavailableError: patience is used up.
            LinqError: the read failed by itself.
        """
        endpoint = read.endpoint
        outage = self._join(read, failure)
        try:
            while True:
                self._wait_for_turn(read, outage)
                # The read may be one that can't be served, and so may, by now, the one that had worked.
                if outage.asks_what_worked:
                    if not self._still_works(endpoint):
                        self._note_failure(endpoint, outage, failure)
                    continue
                self._counter.add(retries=1)
                try:
                    result = read.once()
                except ClientClosedError:
                    raise
                except LinqError as error:
                    if not error._suggests_outage:
                        self._note_answer(endpoint)
                        raise
                    failure = outage.error = error
                    self._note_failure(endpoint, outage, failure)
                else:
                    self._note_success(read)
                    return result
        finally:
            self._leave(read, outage)

    def _join(self, read: _Read, failure: LinqError | None) -> _Outage:
        """Let a read wait for the end of the outage, which begins if there is none.

        Raises:
            _FreshTries: the outage that it was to wait for is over.
            APIUnavailableError: patience is used up.
        """
        endpoint = read.endpoint
        with self._changed:
            self._check_available()
            outage = endpoint.outage
            if outage is None:
                if failure is None:
                    raise _FreshTries
                since = read.failing_since or time.monotonic()
                outage = endpoint.outage = _Outage(failure, since, since)
                # In this order: a read that works now either finds the outage, and ends it, or is found here.
                if endpoint.worked is not read.judged_by:
                    endpoint.outage = None
                    raise _FreshTries
                log.warning(
                    "reads fail, and are made again for up to %g s until the API answers: %s", self._patience, failure
                )
            outage.queue.append(read)
            if len(outage.queue) == 1:
                self._set_next(endpoint, outage)
            return outage

    def _check_available(self) -> None:
        if self._unavailable is not None:
            raise APIUnavailableError(self._unavailable)

    def _wait_for_turn(self, read: _Read, outage: _Outage) -> None:
        with self._changed:
            while True:
                self._lifetime.check()
                self._check_available()
                if read.endpoint.outage is not outage:
                    raise _FreshTries
                is_next = outage.asker is None and outage.queue[0] is read
                wait = outage.next_at - time.monotonic()
                if is_next and wait <= 0:
                    outage.asker = read
                    # The turn that goes to what had worked is one more, and takes none away from the read.
                    outage.asks_what_worked = not outage.asks_what_worked and read.endpoint.worked is not None
                    return
                self._changed.wait(wait if is_next else None)

    def _note_failure(self, endpoint: _Endpoint, outage: _Outage, failure: LinqError | None) -> None:
        """Give the turn to the next read, or let reads fail when the outage has lasted long enough.

        Args:
            failure: of the read whose turn it was; None if it has made no try yet.

        Raises:
            _FreshTries, APIUnavailableError, LinqError: as `_wait_out`.
        """
        is_due = time.monotonic() >= self._due_at(endpoint, outage)
        another_works = is_due and self._another_works(endpoint)
        with self._changed:
            if endpoint.outage is not outage:
                return
            if another_works:
                endpoint.waited += time.monotonic() - outage.others_since
                self._end(endpoint, "other reads work, and those of this endpoint fail by themselves")
                raise failure or _FreshTries
            if is_due:
                if time.monotonic() >= self._patience_ends_at(outage):
                    self._give_up(outage.error)
                outage.others_since = time.monotonic()
            if time.monotonic() - outage.logged_at >= LOG_INTERVAL:
                outage.logged_at = time.monotonic()
                log.warning("no read of %s has worked for %.0f s: %s", endpoint.template, outage.seconds, outage.error)
            outage.asker = None
            if not outage.asks_what_worked:
                outage.queue.rotate(-1)
            self._set_next(endpoint, outage)
            self._changed.notify_all()

    def _due_at(self, endpoint: _Endpoint, outage: _Outage) -> float:
        """When it has to be decided whether the endpoint is down, or all of the API."""
        longest = self._settings.endpoint_outage - endpoint.waited
        is_one = endpoint.worked is None and len({read.path for read in outage.queue}) == 1
        if is_one and "{}" in endpoint.template:
            longest = min(longest, self._settings.object_outage)
        return min(outage.others_since + longest, self._patience_ends_at(outage))

    def _patience_ends_at(self, outage: _Outage) -> float:
        return max(outage.since, self._worked_at) + self._patience

    def _set_next(self, endpoint: _Endpoint, outage: _Outage) -> None:
        """Set the time of the next turn."""
        now = time.monotonic()
        wait = min(max(outage.seconds * WAIT_SHARE, self._settings.first_wait), self._settings.longest_wait)
        wait *= random.uniform(0.8, 1.0)
        if endpoint.worked is None:
            # Each read that waits may be the only one that can be served, so each has a turn in that time.
            wait /= len(outage.queue)
        left = self._due_at(endpoint, outage) - now
        # The last turn is when the outage has lasted long enough, and not long before or after.
        outage.next_at = now + (left if 0 < left < wait else wait)

    def _leave(self, read: _Read, outage: _Outage) -> None:
        with self._changed:
            if outage.asker is read:
                outage.asker = None
            outage.queue.remove(read)
            if not outage.queue and read.endpoint.outage is outage:  # nobody is left to ask again
                read.endpoint.outage = None
            self._changed.notify_all()

    def _end(self, endpoint: _Endpoint, words: str) -> None:
        with self._changed:
            outage, endpoint.outage = endpoint.outage, None
            if outage is not None:
                self._changed.notify_all()
                log.warning("%s, after %.0f s", words, outage.seconds)

    def _give_up(self, error: LinqError) -> NoReturn:
        """Let all reads fail from now on."""
        self._unavailable = f"no read of the API has worked for {self._patience:g} s; the last one: {error}"
        self._changed.notify_all()
        log.error("%s", self._unavailable)
        raise APIUnavailableError(self._unavailable)


def _template(path: str) -> str:
    """The path of an endpoint: `/v3/<group>/<id>/<part>`, where every other segment is an id."""
    segments = path.split("/")
    segments[3::2] = ["{}"] * len(segments[3::2])
    return "/".join(segments)
