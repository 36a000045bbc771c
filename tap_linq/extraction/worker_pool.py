"""Jobs in several threads, whose results one thread takes: bounded in memory, and ended when it takes no more.

A *producer* runs in a thread of its own and submits jobs while it finds them, so that the first ones run before the
last ones are known. Producer and jobs hand over results with `WorkerPool.put`, which waits while the consumer is
behind.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from queue import Queue
from threading import Event, Thread
from typing import Any, Final, Generic, TypeVar

__all__ = ["Job", "WorkerPool"]

Result = TypeVar("Result")
Job = Callable[[], None]

#: Results that wait for the consumer, each a page of 100 messages at the most. There is one consumer: where it is
#: behind, more of them would only take memory.
RESULT_QUEUE_SIZE: Final = 4

#: Jobs that wait for a thread. They are small; with fewer, threads would idle whenever the producer asks for a page.
JOB_QUEUE_SIZE: Final = 256

#: Seconds after which a thread that computes lets another one continue. A request gives the interpreter away about ten
#: times and has to wait for it as often; at Python's own 5 ms, that can take as long as the response.
SWITCH_INTERVAL: Final = 0.001


class _StoppedError(BaseException):
    """Unwinds a thread whose results are not taken any more; no error handler of a job is meant to see it."""


class WorkerPool(Generic[Result]):
    """Threads that run jobs.

    Args:
        threads: jobs that run concurrently.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        # ("result", what was put), ("error", what was raised) or ("end", None) of a thread.
        self._out: Queue[tuple[str, Any]] = Queue(RESULT_QUEUE_SIZE)
        self._jobs: Queue[Job | None] = Queue(JOB_QUEUE_SIZE)
        self._stop = Event()

    def put(self, result: Result) -> None:
        """Hand over a result, from the producer or a job."""
        self._check()
        self._out.put(("result", result))

    def submit(self, job: Job) -> None:
        """Have a job done, from the producer."""
        self._check()
        self._jobs.put(job)

    def run(self, produce: Job) -> Iterator[Result]:
        """Yield what producer and jobs put, until all are done.

        When the iteration ends early, or an exception gets out of the producer or of a job, which is raised here, all
        threads are ended.
        """
        threads = [Thread(target=self._work, daemon=True) for _ in range(self._threads)]
        threads.append(Thread(target=self._produce, args=(produce,), daemon=True))
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

    def _produce(self, produce: Job) -> None:
        self._guarded(produce)
        for _ in range(self._threads):
            self._jobs.put(None)
        self._out.put(("end", None))

    def _work(self) -> None:
        # To the end of the queue in any case: the producer may be waiting for room in it.
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
