"""Polling for triggers: one request for all triggers of a process that ask the same, and failures counted.

Ten triggers that wait in one chat would ask for the same list ten times an interval. Here the first one makes the
request, and the others get its response as long as it is new enough for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Generic, Protocol, TypeVar
from weakref import WeakKeyDictionary

from linq_client import (
    APIConnectionError,
    AuthenticationError,
    InvalidRequestError,
    LinqClient,
    LinqError,
    RetentionWindow,
)
from linq_client.sync import CLOCK_TOLERANCE
from linq_client.times import ServerClock

T = TypeVar("T")

#: How old a response may be that is shared, as a share of the poll interval. Below 1, so that a trigger whose sleep
#: ends a little early does not see the same response twice.
SHARED_FOR: Final = 0.9

#: An interval of 0 is somebody's mistake, and must not become a loop without a pause.
LEAST_INTERVAL: Final = 0.05

MAX_BACK_OFF: Final = 300.0
_FORGET_AFTER: Final = 300.0

#: The longest that the API may ask to wait, in seconds. A `Retry-After` of years is a mistake, and would end a watcher
#: without a word.
MAX_ASKED_WAIT: Final = 3600.0

#: Threads of one account, as many as its client keeps connections open. They are the account's own: one whose requests
#: hang, or whose reads are paused because the API asked for it, holds up neither the others nor the event loop's own
#: threads, which all that a triggerer does shares.
THREADS_OF_ACCOUNT: Final = 10

_threads: Final[WeakKeyDictionary[object, ThreadPoolExecutor]] = WeakKeyDictionary()

_TIME_READINGS: Final = 9


def check_interval(seconds: float, field: str, window: RetentionWindow | None) -> None:
    """
    Refuse an interval between two polls in which a message comes and goes.

    :raises InvalidRequestError: it is no shorter than the window.
    """
    if window is not None and seconds >= window.length.total_seconds():
        raise InvalidRequestError(
            f"{field}: must be shorter than the retention window of {window.hours:g} hours, within which a "
            f"message comes and goes, got {seconds:g} seconds"
        )


async def in_thread(account: object, function: Callable[[], T]) -> T:
    """Return what a function that blocks returns, in one of the threads of an account: of its client, or an archive."""
    threads = _threads.get(account)
    if threads is None:
        threads = _threads[account] = ThreadPoolExecutor(THREADS_OF_ACCOUNT, thread_name_prefix="linq")
    return await asyncio.get_running_loop().run_in_executor(threads, copy_context().run, function)


def run_to_end(begin: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine from code that is not one, even within a running loop (``dag.test()`` in a notebook)."""
    if not _is_in_loop():
        return asyncio.run(begin())
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(copy_context().run, lambda: asyncio.run(begin())).result()


def _is_in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class AgreedTime:
    """
    The server's time, as far as three readings in a row agree on it.

    A proxy may answer with a `Date` of another year, once. What only moves forward must not follow it. The client
    doubts such a date itself, but not in the first response to it, and then takes it for one more.

    :param agreed: a time that is agreed on already.
    """

    def __init__(self, agreed: datetime) -> None:
        self._clocks = [ServerClock(agreed)] * 2

    def note(self, reading: datetime) -> datetime:
        """Return the time that a reading and the two before agree on."""
        expected = [clock.now() + CLOCK_TOLERANCE for clock in self._clocks]
        self._clocks = [self._clocks[1], ServerClock(reading)]
        return min(reading, *expected)


def agreed_server_time(client: LinqClient) -> datetime:
    """
    Ask for the server's time until three responses agree on it.

    :raises LinqError: see ``linq_client.errors``; or no three of the responses do.
    """
    agreeing: list[ServerClock] = []
    for _ in range(_TIME_READINGS):
        reading = client.request("GET", "/v3/phone_numbers").server_time
        agreeing = [clock for clock in agreeing if abs(clock.now() - reading) <= CLOCK_TOLERANCE]
        agreeing.append(ServerClock(reading))
        if len(agreeing) == 3:
            return reading
    raise APIConnectionError(f"the dates of {_TIME_READINGS} responses do not agree")


@dataclass(frozen=True)
class SharedResponse(Generic[T]):
    """What a request brought, and when it was made, by the clock of the event loop."""

    value: T
    requested_at: float


class SharedReads:
    """The latest response to each question, and the requests in flight, of one event loop."""

    def __init__(self) -> None:
        self._requests: dict[Hashable, tuple[float, asyncio.Task[Any]]] = {}

    async def read(
        self, account: Hashable, question: Hashable, ask: Callable[[], T], *, not_before: float
    ) -> SharedResponse[T]:
        """
        Return a response whose request was made at `not_before` or later, by another caller if there is one.

        A failure reaches all who wait for it, and nobody who comes later.

        :param account: the client that makes the request, or the archive that is read; accounts don't mix.
        :param question: equal for those who ask the same.
        :param ask: makes the request, in a thread of the account.
        """
        question = (account, question)
        now = asyncio.get_running_loop().time()
        requested_at, task = self._requests.get(question, (float("-inf"), None))
        if task is None or requested_at < not_before or (task.done() and (task.cancelled() or task.exception())):
            self._forget(now - _FORGET_AFTER)
            # A task of its own, shielded below: the trigger that asked first may be cancelled, the others still wait.
            requested_at, task = now, asyncio.create_task(in_thread(account, ask))
            self._requests[question] = (requested_at, task)
        return SharedResponse(await asyncio.shield(task), requested_at)

    def _forget(self, before: float) -> None:
        old = [question for question, (at, task) in self._requests.items() if at < before and task.done()]
        for question in old:
            del self._requests[question]


_of_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, SharedReads] = WeakKeyDictionary()


def shared_reads() -> SharedReads:
    """Return what the triggers of the running event loop share."""
    return _of_loop.setdefault(asyncio.get_running_loop(), SharedReads())


class Connection(Protocol):
    """What can fetch its connection again: a `LinqAsyncHook`."""

    async def has_other_key(self) -> bool: ...


async def with_present_key(connection: Connection, read: Callable[[], Awaitable[T]]) -> T:
    """
    Return what is read, for which the key in the connection may have been changed since it was last fetched.

    :param read: reads with the connection as it is; is called again if that has another key than the refused one.
    :raises AuthenticationError: the API refuses the key that the connection has now.
    """
    try:
        return await read()
    except AuthenticationError:
        if not await connection.has_other_key():
            raise
    return await read()


class Failures:
    """
    Polls that failed one after another, and how long to wait after each.

    :param poll_interval: seconds between polls that work.
    """

    def __init__(self, poll_interval: float) -> None:
        self._poll_interval = poll_interval
        self.count = 0

    def reset(self) -> None:
        self.count = 0

    def add(self, error: Exception) -> float:
        """
        Count one more, and return the seconds to wait.

        :returns: the interval doubled each time, or what the API asked for, at most an hour.
        """
        self.count += 1
        back_off = min(self._poll_interval * 2.0 ** min(self.count, 30), max(MAX_BACK_OFF, self._poll_interval))
        asked = error.retry_after if isinstance(error, LinqError) else None
        return max(back_off, min(asked or 0.0, MAX_ASKED_WAIT))


def describe(error: Exception) -> str:
    """Say what went wrong. Only our own errors are known to hold neither key nor text, so of others only the class."""
    return str(error) if isinstance(error, LinqError) else type(error).__name__
