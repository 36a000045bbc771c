"""What all threads of a client do together after a 429, and what a client counts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from linq_client import LinqClient, RateLimitedError, RetrySettings
from linq_client._concurrency import AdaptiveConcurrency
from linq_client._deadline import Lifetime
from tests.support.emulator_process import Emulator
from tests.support.scripted_server import KEY, OK, serving
from tests.support.waiting import PATIENCE


def concurrency(most: int, longest_pause: float, pause: float) -> AdaptiveConcurrency:
    return AdaptiveConcurrency(most, longest_pause, pause, Lifetime())


def limited(retry_after: float | None) -> Callable[[], None]:
    def read() -> None:
        raise RateLimitedError("too many requests", retry_after=retry_after)

    return read


def limit(reads: AdaptiveConcurrency, retry_after: float | None = 0, together: int = 1) -> None:
    """Let some reads that are under way together get a 429."""
    read = limited(retry_after)
    for _ in range(together - 1):
        read = lambda inner=read: reads.run(inner)  # noqa: E731
    with pytest.raises(RateLimitedError):
        reads.run(read)


def test_a_limit_halves_the_reads_once_and_they_recover() -> None:
    reads = concurrency(8, longest_pause=60, pause=1)
    limit(reads, 0.05, together=3)
    assert reads.allowed == 4
    limit(reads)
    assert reads.allowed == 2
    for _ in range(40):
        reads.run(lambda: None)
    assert reads.allowed == 8


def test_one_request_is_always_allowed() -> None:
    reads = concurrency(2, longest_pause=60, pause=1)
    for _ in range(9):
        limit(reads)
    assert reads.allowed == 1
    assert reads.run(lambda: "read") == "read"


@pytest.mark.parametrize("retry_after", [3600, None])
def test_all_threads_pause_together_and_no_longer_than_they_may(retry_after: float | None) -> None:
    reads = concurrency(4, longest_pause=0.2, pause=0.2)
    started = time.monotonic()
    limit(reads, retry_after)
    with ThreadPoolExecutor(4) as pool:
        waited = list(pool.map(lambda _: reads.run(time.monotonic) - started, range(4)))
    assert min(waited) >= 0.2
    assert max(waited) < 60


def test_no_more_than_allowed_are_under_way() -> None:
    reads = concurrency(4, longest_pause=60, pause=1)
    limit(reads)
    under_way, most, changed = 0, 0, threading.Condition()

    def work() -> None:
        nonlocal under_way, most
        with changed:
            under_way += 1
            most = max(most, under_way)
            changed.notify_all()
            assert changed.wait_for(lambda: most >= 2, PATIENCE), "two are under way"
            changed.wait_for(lambda: most >= 3, 0.05)  # if more are let through, they get the time for it
            under_way -= 1
        raise RateLimitedError("keeps the number where it is", retry_after=0)

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(reads.run, work) for _ in range(8)]:
            assert isinstance(done.exception(), RateLimitedError)
    assert most == 2


def test_what_raises_another_error_makes_room_again() -> None:
    reads = concurrency(1, longest_pause=60, pause=1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            reads.run(lambda: 1 / 0)
    assert reads.allowed == 1


def test_a_429_on_one_read_holds_up_the_others(emulator: Emulator, client: LinqClient) -> None:
    fault = {"kind": "status", "status": 429, "code": 1007, "retry_after": 1, "count": 1}
    emulator.control("POST", "faults", fault)
    started = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: client.phone_numbers.list(), range(12)))
    assert time.monotonic() - started >= 1
    assert client.stats.retries == 1
    assert client.stats.requests == 13


def test_the_pause_of_a_429_that_names_no_time_can_be_set() -> None:
    retry = RetrySettings(first_wait=0, pause=0.3)
    with serving((429, {}, b""), OK) as server, LinqClient(KEY, base_url=server.url, retry=retry) as client:
        started = time.monotonic()
        client.phone_numbers.list()
        assert 0.3 <= time.monotonic() - started < 60


def test_a_429_on_a_send_does_not(emulator: Emulator, client: LinqClient) -> None:
    chat = client.chats.create(emulator.lines[0], "+12125550123", "Hello.").id
    fault = {"kind": "status", "status": 429, "code": 1007, "retry_after": 3600, "method": "POST"}
    emulator.control("POST", "faults", fault)
    with pytest.raises(RateLimitedError):
        client.messages.send(chat, "Hello again.")
    started = time.monotonic()
    client.phone_numbers.list()
    assert time.monotonic() - started < 60
