"""Jobs in several threads, whose results one thread takes: bounded in memory, and ended when it takes no more.

A *producer* runs in a thread of its own and submits jobs while it finds them, so that the first ones run before the
last ones are known. Producer and jobs hand over results with `WorkerPool.put`, which waits while the consumer is
behind.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator
from threading import Condition, Lock, Thread
from typing import Any, Final, Generic, TypeVar

__all__ = ["Job", "WorkerPool"]

Result = TypeVar("Result")
Item = TypeVar("Item")
Job = Callable[[], None]

#: Results that wait for the consumer, each a page of 100 messages at the most. There is one consumer: where it is
#: behind, more of them would only take memory.
RESULT_QUEUE_SIZE: Final = 4

#: Jobs that wait for a thread. They are small; with fewer, threads would idle whenever the producer asks for a page.
JOB_QUEUE_SIZE: Final = 256

#: Seconds after which a thread that computes lets another one continue. A request gives the interpreter away about ten
#: times and has to wait for it as often; at Python's own 5 ms, that can take as long as the response.
SWITCH_INTERVAL: Final = 0.001


class _ClosedError(BaseException):
    """Unwinds a thread whose results are not taken any more; no error handler of a job is meant to see it."""


class _BoundedQueue(Generic[Item]):
    """A queue in which `put` waits for room, until it is closed: then whoever waits, or comes, gets a `_ClosedError`.

    The standard library has one from Python 3.13 on.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._items: deque[Item] = deque()
        self._is_closed = False
        # Two conditions of one lock, so that an item wakes one thread, and not all that wait for something else.
        lock = Lock()
        self._has_room, self._has_items = Condition(lock), Condition(lock)

    def put(self, item: Item) -> None:
        with self._has_room:
            while not self._is_closed and len(self._items) >= self._size:
                self._has_room.wait()
            if self._is_closed:
                raise _ClosedError
            self._items.append(item)
            self._has_items.notify()

    def get(self) -> Item:
        with self._has_items:
            while not self._is_closed and not self._items:
                self._has_items.wait()
            if self._is_closed:
                raise _ClosedError
            item = self._items.popleft()
            self._has_room.notify()
            return item

    def close(self) -> None:
        with self._has_room:
            self._is_closed = True
            self._has_room.notify_all()
            self._has_items.notify_all()


class WorkerPool(Generic[Result]):
    """Threads that run jobs.

    Args:
        threads: jobs that run concurrently.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        # ("result", what was put), ("error", what was raised) or ("end", None) of a thread.
        self._out: _BoundedQueue[tuple[str, Any]] = _BoundedQueue(RESULT_QUEUE_SIZE)
        self._jobs: _BoundedQueue[Job | None] = _BoundedQueue(JOB_QUEUE_SIZE)

    def put(self, result: Result) -> None:
        """Hand over a result, from the producer or a job."""
        self._out.put(("result", result))

    def submit(self, job: Job) -> None:
        """Have a job done, from the producer."""
        self._jobs.put(job)

    def run(self, produce: Job) -> Iterator[Result]:
        """Yield what producer and jobs put, until all are done.

        When the iteration ends early, or an exception gets out of the producer or of a job, which is raised here,
        nobody waits for the threads: each ends when it next puts or takes something. One may sit in a request for
        minutes, and a process that is to end soon must not. Threads are daemons, so they don't keep it up either.
        """
        threads = [Thread(target=self._work, daemon=True) for _ in range(self._threads)]
        threads.append(Thread(target=self._produce, args=(produce,), daemon=True))
        usual = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_INTERVAL)
        try:
            for thread in threads:
                thread.start()
            left = len(threads)
            while left:
                kind, value = self._out.get()
                if kind == "result":
                    yield value
                elif kind == "error":
                    raise value
                else:
                    left -= 1
        finally:
            self._jobs.close()
            self._out.close()
            sys.setswitchinterval(usual)

    def _produce(self, produce: Job) -> None:
        def produce_all() -> None:
            produce()
            for _ in range(self._threads):
                self._jobs.put(None)

        self._guarded(produce_all)

    def _work(self) -> None:
        def work() -> None:
            while (job := self._jobs.get()) is not None:
                job()

        self._guarded(work)

    def _guarded(self, loop: Job) -> None:
        """Run what a thread is for, and hand over how it ended."""
        end: tuple[str, Any] = ("end", None)
        try:
            loop()
        except _ClosedError:
            return
        except BaseException as error:
            end = ("error", error)
        try:
            self._out.put(end)
        except _ClosedError:
            return
