"""Threads that hand over what they find, end when their results are not taken any more, and log how far they are."""

from __future__ import annotations

import logging
import sys
import threading
import time
from datetime import timedelta

import pytest

from linq_client import RetentionWindow
from tap_linq.extraction import progress
from tap_linq.extraction.progress import Progress
from tap_linq.extraction.worker_pool import RESULT_QUEUE_SIZE, WorkerPool
from tests.support.waiting import PATIENCE, wait_until


def no_threads_left(before: int) -> bool:
    return wait_until(lambda: threading.active_count() <= before, "all threads have ended")


def test_all_results_come_out_and_jobs_begin_before_the_last_is_known() -> None:
    pool: WorkerPool[int] = WorkerPool(3)
    started = threading.Event()

    def job(number: int) -> None:
        started.set()
        pool.put(number)

    def produce() -> None:
        pool.submit(lambda: job(0))
        assert started.wait(PATIENCE)
        for number in range(1, 50):
            pool.submit(lambda number=number: job(number))  # type: ignore[misc]

    assert sorted(pool.run(produce)) == list(range(50))


def test_results_wait_for_a_slow_consumer() -> None:
    pool: WorkerPool[int] = WorkerPool(2)
    made = 0

    def produce() -> None:  # here and not in a job: a thread that has ended takes a place in the queue as well
        nonlocal made
        for number in range(100):
            pool.put(number)
            made = number

    results = pool.run(produce)
    next(results)
    wait_until(lambda: made >= RESULT_QUEUE_SIZE, "there is no room for more")
    time.sleep(0.1)  # in which nothing more is made
    assert made == RESULT_QUEUE_SIZE
    assert len(list(results)) == 99


@pytest.mark.parametrize("where", ["job", "producer"])
def test_what_goes_wrong_is_raised_and_ends_all_threads(where: str) -> None:
    before, pool = threading.active_count(), WorkerPool[int](1)

    def job() -> None:
        if where == "job":
            raise ZeroDivisionError
        pool.put(1)

    def produce() -> None:
        for _ in range(50):
            pool.submit(job)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(pool.run(produce))
    assert no_threads_left(before)


def test_an_iteration_that_ends_early_ends_all_threads() -> None:
    before, pool, interval = threading.active_count(), WorkerPool[int](4), sys.getswitchinterval()

    def produce() -> None:
        for number in range(1000):
            pool.submit(lambda number=number: pool.put(number))  # type: ignore[misc]

    results = pool.run(produce)
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert no_threads_left(before)
    assert sys.getswitchinterval() == interval


def test_progress_is_logged_now_and_then(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    caplog.set_level(logging.INFO)
    now = 100.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    progress_log = Progress("+12025550101", timedelta(hours=3), RetentionWindow(24))
    progress_log.tick()
    assert caplog.text == ""
    now, progress_log.chats, progress_log.messages, progress_log.total = 120.0, 30, 4000, 90
    progress_log.tick()
    progress_log.tick()
    assert [record.getMessage() for record in caplog.records] == [
        "line +12025550101: 30 of 90 chats, 4000 messages read, 200 a second, about 40 s left, "
        "the oldest unread message is at most 3.0 h old of 24 h"
    ]
    caplog.clear()
    progress_log = Progress("+12025550101", None, None)
    now = 140.0
    progress_log.tick()
    assert [record.getMessage() for record in caplog.records] == [
        "line +12025550101: 0 of ? chats, 0 messages read, 0 a second"
    ]
