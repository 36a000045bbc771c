"""Group commit: requests that wait together are stored by one write, and answered when that is durable."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol

from linq_webhooks.archive import ArchiveError, StoredEvent

__all__ = ["GroupCommit"]

log = logging.getLogger(__name__)

#: Events of one write: more would only make the first ones wait.
_MAX_BATCH: Final = 1000

#: Seconds between looks for writes that hang.
_LOOK_SECONDS: Final = 0.5

_CLOSE_SECONDS: Final = 10


class Appendable(Protocol):
    """What a group commit needs of an archive."""

    def append(self, events: Sequence[StoredEvent]) -> None:
        """Store events durably, or raise ArchiveError."""

    def close(self) -> None:
        """Finish."""


@dataclass(slots=True, eq=False)
class _Waiting:
    """Events that one caller waits for, or something else to do with the archive."""

    events: Sequence[StoredEvent]
    action: Callable[[], Any] | None
    future: asyncio.Future[Any]
    size: int
    deadline: float


class GroupCommit:
    """Writes to one archive from one thread of its own. All methods are called in the event loop that made it.

    Args:
        archive: is closed with this.
        max_bytes: of the bodies that may wait.
        max_seconds: that a caller waits at most, if it names no other. What it waited for may be stored later all the
            same.
    """

    def __init__(self, archive: Appendable, *, max_bytes: int, max_seconds: float) -> None:
        self._archive = archive
        self._max_bytes = max_bytes
        self._max_seconds = max_seconds
        self._loop = asyncio.get_running_loop()
        self._condition = threading.Condition()
        self._waiting: deque[_Waiting] = deque()
        self._writing: list[_Waiting] = []
        self._bytes = 0
        self._is_closing = False
        # A daemon: a write that hangs does not keep the process.
        self._thread = threading.Thread(target=self._run, name="linq-webhooks-writer", daemon=True)
        self._thread.start()
        self._look = self._loop.call_later(_LOOK_SECONDS, self._give_up_on_late_ones)

    async def store(self, events: Sequence[StoredEvent], max_seconds: float | None = None) -> None:
        """Store events, and return when they are durable.

        Raises:
            ArchiveError: perhaps they are not, or too much is waiting.
        """
        await self._put(events, None, max_seconds or self._max_seconds)

    async def run(self, action: Callable[[], Any]) -> Any:
        """Do something else with the archive while nothing is written to it, and return its result.

        Raises:
            ArchiveError: by the action, or it took too long.
        """
        return await self._put((), action, self._max_seconds)

    async def close(self) -> None:
        """Write what waits, and close the archive. A write that hangs is left alone after a while."""
        with self._condition:
            self._is_closing = True
            self._condition.notify()
        await asyncio.to_thread(self._thread.join, _CLOSE_SECONDS)
        self._look.cancel()

    def _put(
        self, events: Sequence[StoredEvent], action: Callable[[], Any] | None, max_seconds: float
    ) -> asyncio.Future[Any]:
        size = sum(len(event.body) for event in events)
        if self._bytes + size > self._max_bytes and self._bytes:
            raise ArchiveError("webhook archive: more events are waiting to be stored than fit into memory")
        self._bytes += size
        waiting = _Waiting(events, action, self._loop.create_future(), size, time.monotonic() + max_seconds)
        with self._condition:
            self._waiting.append(waiting)
            self._condition.notify()
        return waiting.future

    def _run(self) -> None:
        while batch := self._next_batch():
            result, error = None, None
            try:
                if batch[0].action is not None:
                    result = batch[0].action()
                else:
                    self._archive.append([event for waiting in batch for event in waiting.events])
            except ArchiveError as caught:
                error = caught
            except Exception as caught:  # of a kind that nobody foresaw: whoever waits must know that nothing is stored
                log.exception("webhook archive: a write failed")
                error = ArchiveError(f"webhook archive: a write failed with {type(caught).__name__}")
            with suppress(RuntimeError):  # the loop is closed, after a write that hung
                self._loop.call_soon_threadsafe(self._settle, batch, result, error)
        try:
            self._archive.close()
        except Exception:
            log.exception("webhook archive: it could not be closed")

    def _next_batch(self) -> list[_Waiting]:
        with self._condition:
            while not self._waiting and not self._is_closing:
                self._condition.wait()
            batch: list[_Waiting] = []
            count = 0
            while self._waiting and count < _MAX_BATCH:
                if self._waiting[0].action is not None:
                    if not batch:
                        batch.append(self._waiting.popleft())
                    break
                batch.append(self._waiting.popleft())
                count += len(batch[-1].events)
            self._writing = batch
            return batch

    def _settle(self, batch: list[_Waiting], result: object, error: ArchiveError | None) -> None:
        for waiting in batch:
            self._bytes -= waiting.size
            if waiting.future.done():
                continue
            if error is None:
                waiting.future.set_result(result)
            else:
                waiting.future.set_exception(error)

    def _give_up_on_late_ones(self) -> None:
        self._look = self._loop.call_later(_LOOK_SECONDS, self._give_up_on_late_ones)
        now = time.monotonic()
        with self._condition:
            late = [waiting for waiting in (*self._writing, *self._waiting) if waiting.deadline < now]
            if late:
                # What is being written stays: it may come to an end.
                self._bytes -= sum(waiting.size for waiting in self._waiting if waiting.deadline < now)
                self._waiting = deque(waiting for waiting in self._waiting if waiting.deadline >= now)
        for waiting in late:
            if not waiting.future.done():
                waiting.future.set_exception(ArchiveError("webhook archive: it did not store an event in time"))
