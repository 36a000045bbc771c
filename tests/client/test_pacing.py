"""What all threads of a client do together after a 429, and what a client counts."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from linq_client import LinqClient, RateLimitedError
from linq_client.pacing import Pace
from tests.emulator_process import Emulator


def test_a_limit_halves_the_pace_once_and_it_recovers() -> None:
    pace = Pace(8, 60)
    for _ in range(3):  # the answers to what was under way together
        pace.limited(0.05)
    assert pace.allowed == 4
    time.sleep(0.06)
    pace.limited(0)
    assert pace.allowed == 2
    for _ in range(40):
        pace.worked()
    assert pace.allowed == 8


def test_one_request_is_always_allowed() -> None:
    pace = Pace(2, 60)
    for _ in range(9):
        pace.limited(0)
    assert pace.allowed == 1
    with pace:
        pass


def test_all_threads_pause_together_and_no_longer_than_they_may() -> None:
    pace = Pace(4, 0.2)
    pace.limited(3600)
    started = time.monotonic()

    def pass_through(_: int) -> float:
        with pace:
            return time.monotonic() - started

    with ThreadPoolExecutor(4) as pool:
        waited = list(pool.map(pass_through, range(4)))
    assert min(waited) >= 0.2
    assert max(waited) < 2


def test_no_more_than_allowed_are_under_way() -> None:
    pace = Pace(4, 60)
    pace.limited(0)
    under_way, most, lock = 0, 0, threading.Lock()

    def work(_: int) -> None:
        nonlocal under_way, most
        with pace:
            with lock:
                under_way += 1
                most = max(most, under_way)
            time.sleep(0.002)
            with lock:
                under_way -= 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(40)))
    assert most == 2


def test_a_429_on_one_read_holds_up_the_others(emulator: Emulator, client: LinqClient) -> None:
    fault = {"kind": "status", "status": 429, "code": 1007, "retry_after": 1, "count": 1}
    emulator.control("POST", "faults", fault)
    started = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: client.phone_numbers.list(), range(12)))
    assert time.monotonic() - started >= 1
    assert client.traffic.retries == 1
    assert client.traffic.requests == 13


def test_a_429_on_a_send_does_not(emulator: Emulator, client: LinqClient) -> None:
    chat = client.chats.create(emulator.lines[0], "+12125550123", "Hello.").id
    fault = {"kind": "status", "status": 429, "code": 1007, "retry_after": 3600, "method": "POST"}
    emulator.control("POST", "faults", fault)
    with pytest.raises(RateLimitedError):
        client.messages.send(chat, "Hello again.")
    started = time.monotonic()
    client.phone_numbers.list()
    assert time.monotonic() - started < 5
