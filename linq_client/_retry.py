"""The tries of one call: when to try again, how long to wait, and what all of them together have done."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    stop_before_delay,
    wait_random_exponential,
)

from linq_client.errors import Effect, LinqError, RequestKind

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class RetrySettings:
    """How long to wait between the tries of a call; tests make it short.

    On top of what the API asks for, each wait is a random time up to a bound, so that many clients that got the
    same response don't come back together.

    Args:
        first_wait: seconds; the bound before the second try, doubled for each further one.
        longest_wait: seconds; the bound at the most.
        pause: seconds that all reads of a client wait after a 429 that names no time.
        endpoint_outage: seconds that the outage of an endpoint is waited out for while another endpoint works. Longer
            than a restart or a deploy of one service takes, and short beside the hour after which messages may expire.
        object_outage: the same where only reads of one object fail and nothing of the endpoint has worked yet: it is
            more likely that the object can't be served.
    """

    first_wait: float = 0.5
    longest_wait: float = 30.0
    pause: float = 1.0
    endpoint_outage: float = 300.0
    object_outage: float = 60.0


@dataclass(frozen=True)
class RequestStats:
    """What a client has sent so far.

    Attributes:
        requests: all requests, files included.
        retries: how many of them were retries.
        repaired: responses that were not well-formed, and were read nevertheless.
    """

    requests: int = 0
    retries: int = 0
    repaired: int = 0


class RequestCounter:
    """Counts the requests of all threads of a client."""

    def __init__(self) -> None:
        self.stats = RequestStats()
        self._lock = Lock()

    def add(self, *, requests: int = 0, retries: int = 0, repaired: int = 0) -> RequestStats:
        """Count some more, and return what there were before."""
        with self._lock:
            before = self.stats
            self.stats = RequestStats(before.requests + requests, before.retries + retries, before.repaired + repaired)
            return before


class CallEffect:
    """What the tries of one call have done so far, which the error that the call ends with has to say."""

    def __init__(self, kind: RequestKind) -> None:
        self._kind = kind
        self._unknown = False

    @contextmanager
    def one_try(self) -> Iterator[None]:
        """Give an error of a try the effect of the whole call: a refusal says nothing of the tries before it."""
        try:
            yield
        except LinqError as error:
            if self._kind is RequestKind.READ:
                error.effect = Effect.NONE
            elif self._unknown and error.effect is Effect.NONE:
                error.effect = Effect.UNKNOWN
            self._unknown = self._unknown or error.effect is Effect.UNKNOWN
            raise


class Retries:
    """Makes the tries of a call.

    Args:
        max_retries: tries after the first one.
        budget: seconds after which no other try begins; a wait that does not fit ends the call.
        settings: how long to wait.
        counter: counts the retries.
        sleep: waits.
    """

    def __init__(
        self,
        max_retries: int,
        budget: float,
        settings: RetrySettings,
        counter: RequestCounter,
        sleep: Callable[[float], None],
    ) -> None:
        self._stop = stop_after_attempt(max_retries + 1) | stop_before_delay(budget)
        self._random_wait = wait_random_exponential(multiplier=settings.first_wait, max=settings.longest_wait)
        self._counter = counter
        self._sleep = sleep

    def run(
        self,
        once: Callable[[], T],
        *,
        unless: type[LinqError] | tuple[()] = (),
        logs: Callable[[], bool] = lambda: True,
    ) -> T:
        """Call until it works, or its error is not `retryable`, or tries or time are used up.

        Args:
            unless: class of errors that end the call although they are retryable.
            logs: whether to log a retry.
        """
        return Retrying(
            retry=retry_if_exception(
                lambda error: isinstance(error, LinqError) and error.retryable and not isinstance(error, unless)
            ),
            wait=self._wait,
            stop=self._stop,
            before_sleep=partial(self._before_retry, logs),
            sleep=self._sleep,
            reraise=True,
        )(once)

    def _wait(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.retry_after if isinstance(error, LinqError) else None
        return self._random_wait(state) + (asked or 0.0)

    def _before_retry(self, logs: Callable[[], bool], state: RetryCallState) -> None:
        self._counter.add(retries=1)
        if logs():
            error = state.outcome.exception() if state.outcome else None
            log.warning("try %d failed, next in %.1f s: %s", state.attempt_number, state.upcoming_sleep, error)
