"""Jobs in several threads, whose results one thread takes: bounded in memory, and gone when nobody listens any more.

A *feed* runs in a thread of its own and submits jobs while it finds them, so that the first ones run before the last
ones are known. Feed and jobs hand over results with `Pool.put`, which waits while the consumer is behind.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from queue import Queue
from threading import Event, Thread
from typing import Any, Final, Generic, TypeVar

Result = TypeVar("Result")
Job = Callable[[], None]

#: Results that wait for the consumer, each a page of 100 messages at the most. There is one consumer: where it is
#: behind, more of them would only take memory.
WAITING: Final = 4

#: Jobs that wait for a thread. They are small; with fewer, threads would idle whenever the feed asks for a page.
WAITING_JOBS: Final = 256

#: Seconds after which a thread that computes lets another one go on. A request gives the interpreter away about ten
#: times and has to wait for it as often; at Python's own 5 ms, that can take as long as the answer.
SWITCH_INTERVAL: Final = 0.001


class _StoppedError(BaseException):
    """Unwinds a thread whose results nobody takes any more; no error handler of a job is meant to see it."""


class Pool(Generic[Result]):
    """Threads that run jobs.

    Args:
        threads: jobs that run at once.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        # ("result", what was put), ("error", what was raised) or ("end", None) of a thread.
        self._out: Queue[tuple[str, Any]] = Queue(WAITING)
        self._jobs: Queue[Job | None] = Queue(WAITING_JOBS)
        self._stop = Event()

    def put(self, result: Result) -> None:
        """Hand over a result, from the feed or a job."""
        self._check()
        self._out.put(("result", result))

    def submit(self, job: Job) -> None:
        """Have a job done, from the feed."""
        self._check()
        self._jobs.put(job)

    def run(self, feed: Job) -> Iterator[Result]:
        """Yield what feed and jobs put, until all are done.

        When the iteration ends early, or an exception gets out of the feed or of a job, which is raised here, all
        threads are ended.
        """
        threads = [Thread(target=self._work, daemon=True) for _ in range(self._threads)]
        threads.append(Thread(target=self._feed, args=(feed,), daemon=True))
        for thread in threads:
            thread.start()
        left = len(threads)
        usual = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_INTERVAL)
        try:
            while left:
                kind, value = self._out.get()
                if kind == "result":
                    yield value
                elif kind == "error":
                    raise value
                else:
                    left -= 1
        finally:
            self._stop.set()
            while left:
                left -= self._out.get()[0] == "end"
            for thread in threads:
                thread.join()
            sys.setswitchinterval(usual)

    def _check(self) -> None:
        if self._stop.is_set():
            raise _StoppedError

    def _feed(self, feed: Job) -> None:
        self._guarded(feed)
        for _ in range(self._threads):
            self._jobs.put(None)
        self._out.put(("end", None))

    def _work(self) -> None:
        # To the end of the queue in any case: the feed may be waiting for room in it.
        while (job := self._jobs.get()) is not None:
            if not self._stop.is_set():
                self._guarded(job)
        self._out.put(("end", None))

    def _guarded(self, job: Job) -> None:
        try:
            job()
        except _StoppedError:
            pass
        except BaseException as error:
            self._stop.set()
            self._out.put(("error", error))
