"""The API's clock: what a `Date` says, and when it is believed."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from itertools import pairwise
from types import SimpleNamespace
from unittest.mock import patch

import pytest
import time_machine
from hypothesis import given, settings
from hypothesis import strategies as st

from linq_client import LinqClient, _clock
from linq_client._clock import TOLERANCE, BelievedClock
from tests.support.scripted_server import OK, Handler, Response, Server, client_of, serving

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
MINUTE = timedelta(minutes=1)


class Dated(Handler):
    """Names the times that it was given, one after the other."""

    def date_time_string(self, timestamp: float | None = None) -> str:
        dates = self.server.dates
        return dates.pop(0) if len(dates) > 1 else dates[0]


@contextmanager
def showing(*dates: str | datetime, response: Response = OK) -> Iterator[tuple[Server, LinqClient]]:
    with serving(response, handler=Dated) as server, client_of(server) as client:
        server.dates = [one if isinstance(one, str) else format_datetime(one, usegmt=True) for one in dates]
        yield server, client


def times_of(client: LinqClient, count: int) -> list[datetime]:
    return [client.request("GET", "/v3/phone_numbers").server_time for _ in range(count)]


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kolkata"])
@pytest.mark.parametrize(
    "date",
    [
        "Sun, 01 Mar 2026 12:00:00 GMT",
        "Sunday, 01-Mar-26 12:00:00 GMT",
        "Sun Mar  1 12:00:00 2026",
        "Sun, 01 Mar 2026 12:00:00 -0000",
        "Sun, 01 Mar 2026 12:00:00",
        "Sun, 01 Mar 2026 13:00:00 +0100",
    ],
)
def test_a_date_without_a_zone_is_gmt(date: str, zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        with showing(date) as (_, client):
            assert times_of(client, 1) == [NOON]
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_time_far_off_counts_when_the_next_response_confirms_it(caplog: pytest.LogCaptureFixture) -> None:
    later = NOON + timedelta(days=27_000)
    with showing(NOON, later, NOON, later, later, later + MINUTE) as (_, client):
        assert times_of(client, 6) == [NOON, NOON, NOON, NOON, later, later + MINUTE]
        assert client.server_time == later + MINUTE
    with caplog.at_level(logging.WARNING):
        assert [record.name for record in caplog.records] == ["linq_client._clock"]


def test_two_wrong_times_confirm_each_other_only_if_they_agree() -> None:
    day = timedelta(days=1)
    with showing(NOON, NOON + day, NOON - day, NOON + 2 * day, NOON) as (_, client):
        assert times_of(client, 5) == [NOON] * 5


def test_an_error_moves_no_clock_either() -> None:
    with showing(NOON, NOON + timedelta(days=1), response=(404, {}, b"{}")) as (_, client):
        for status in (404, 404):
            with pytest.raises(Exception, match=str(status)):
                client.phone_numbers.list()
        assert client.known_server_time == NOON


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 300), st.sampled_from([0, 0, 0, -9000, 60, -100, 7200, 10**8])), max_size=30))
def test_the_clock_is_wrong_only_after_two_that_agree(steps: list[tuple[int, int]]) -> None:
    """Each step: seconds that pass, and how far the response is off the truth."""
    passed = 0
    ours = SimpleNamespace(monotonic=lambda: passed, time=lambda: passed)
    with patch.object(_clock, "time", ours):
        clock = BelievedClock()
        clock.note(NOON)
        offs = [0]
        for seconds, off in steps:
            passed += seconds
            truth = NOON + timedelta(seconds=passed)
            offs.append(off)
            shown = clock.note(truth + timedelta(seconds=off))
            assert clock.latest == shown
            if abs(shown - truth) > TOLERANCE + timedelta(seconds=100):
                assert any(abs(one - other) <= 600 and abs(one) > 300 for one, other in pairwise(offs))


def test_the_second_response_after_a_jump_is_believed() -> None:
    with time_machine.travel(NOON, tick=False):
        clock = BelievedClock()
        jumped = NOON + timedelta(hours=30)
        assert [clock.note(date) for date in (NOON, jumped, jumped)] == [NOON, NOON, jumped]


def test_a_machine_that_slept_believes_the_first_response() -> None:
    """Its monotonic clock stood still, its time of day did not."""
    clock = BelievedClock()
    now = datetime.now(timezone.utc)
    clock.note(NOON)
    with time_machine.travel(now + timedelta(hours=8)):
        woken = NOON + timedelta(hours=8)
        assert clock.note(woken) == woken
