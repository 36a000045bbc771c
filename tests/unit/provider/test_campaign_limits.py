"""When the next message of a campaign may be sent."""

from __future__ import annotations

from datetime import datetime, time, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_linq.campaigns._limits import Quota, RateLimits, SendWindow
from tests.support.airflow import context  # noqa: F401 keeps Airflow's home apart from that of the user

UTC = timezone.utc
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ZONES = ["UTC", "America/New_York", "Asia/Kolkata", "Pacific/Auckland", "America/St_Johns"]
MINUTES = st.integers(0, 24 * 60 - 1).map(lambda minute: time(minute // 60, minute % 60))


@given(
    opens=MINUTES,
    closes=MINUTES,
    now=st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC)),
    zone=st.sampled_from(ZONES),
)
def test_a_window_is_closed_until_it_opens(opens: time, closes: time, now: datetime, zone: str) -> None:
    if opens == closes:
        return
    window = SendWindow(opens, closes)
    wait = window.wait(now, zone)
    assert 0 <= wait <= 25 * 3600  # a day of 25 hours, when clocks are set back
    if wait:
        assert window.wait(now + timedelta(seconds=wait), zone) == 0
        assert window.wait(now + timedelta(seconds=wait / 2), zone) > 0


@pytest.mark.parametrize(
    ("window", "zone", "hours"),
    [
        (("09:00", "20:00"), "UTC", 0),
        (("13:30", "20:00"), "UTC", 1.5),
        (("09:00", "12:00"), "UTC", 21),
        (("20:00", "12:01"), "UTC", 0),
        (("20:00", "08:00"), "UTC", 8),
        (("09:00", "20:00"), "America/New_York", 2),
        (("09:00", "20:00"), "Asia/Tokyo", 12),
    ],
)
def test_windows_at_noon(window: tuple[str, str], zone: str, hours: float) -> None:
    assert SendWindow.parse(*window).wait(NOON, zone) == hours * 3600


def test_a_window_follows_the_summer_time_of_its_zone() -> None:
    window = SendWindow.parse("09:00", "20:00")
    before = datetime(2026, 3, 8, 4, tzinfo=UTC)  # clocks in New York go forward three hours later
    assert window.wait(before, "America/New_York") == 9 * 3600


@pytest.mark.parametrize("minute", range(0, 180, 10))
def test_in_an_hour_that_comes_twice_a_window_is_open_when_the_clock_says_so(minute: int) -> None:
    window = SendWindow.parse("02:30", "02:50")
    now = datetime(2026, 10, 25, tzinfo=UTC) + timedelta(minutes=minute)  # clocks in Berlin go back an hour later
    shown = now.astimezone(ZoneInfo("Europe/Berlin")).time()
    wait = window.wait(now, "Europe/Berlin")
    assert (wait == 0) is (time(2, 30) <= shown < time(2, 50))
    assert wait >= 0
    assert window.wait(now + timedelta(seconds=wait), "Europe/Berlin") == 0


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (("09:00", "09:00"), "different times"),
        (("9 am", "20:00"), "times of the day .* got '9 am'"),
        (("25:00", "09:00"), "times of the day"),
        (("09:00+01:00", "20:00"), "times of the day"),
        ((9, 20), "times of the day"),
    ],
)
def test_a_window_that_is_none_is_refused(bad: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        SendWindow.parse(*bad)


@pytest.mark.parametrize("field", ["messages_per_minute", "messages_per_day", "new_chats_per_day"])
def test_a_limit_of_nothing_is_refused(field: str) -> None:
    with pytest.raises(ValueError, match=f"{field} must be above 0"):
        RateLimits(**{field: 0})


def test_limits_count_each_line_and_all_together() -> None:
    quota = Quota(RateLimits(messages_per_day=2), RateLimits(messages_per_day=3), {})
    for line in ("+1", "+1", "+2"):
        assert quota.wait(line, NOON, starts_chat=True) == 0
        quota.reserve(line, NOON, starts_chat=True)
    assert quota.is_full("+1", NOON)
    assert not quota.is_full("+2", NOON)
    assert quota.wait("+2", NOON, starts_chat=True) == 12 * 3600
    assert quota.wait("+1", NOON + timedelta(days=1), starts_chat=True) == 0


def test_what_was_not_sent_does_not_count() -> None:
    days: dict[str, dict[str, list[int]]] = {}
    quota = Quota(RateLimits(messages_per_day=1), RateLimits(), days)
    reservation = quota.reserve("+1", NOON, starts_chat=True)
    assert quota.is_full("+1", NOON)
    quota.release(reservation)
    assert not quota.is_full("+1", NOON)
    quota.commit(quota.reserve(None, NOON, starts_chat=True), "+2", "2026-03-01", starts_chat=False)
    assert days["2026-03-01"]["+2"] == [1, 0]


def test_what_is_found_later_counts_on_the_day_when_it_was_sent() -> None:
    tomorrow = NOON + timedelta(days=1)
    quota = Quota(RateLimits(messages_per_day=1), RateLimits(messages_per_day=1), {})
    quota.commit(quota.reserve("+1", tomorrow, starts_chat=False), "+1", "2026-03-01", starts_chat=False)
    assert quota.wait("+1", tomorrow, starts_chat=False) == 0
    assert quota.is_full("+1", NOON)
    # A look reserves nothing: it writes to nobody.
    quota.commit(None, "+1", "2026-03-02", starts_chat=False)
    assert quota.is_full("+1", tomorrow)


def test_the_counts_of_two_days_are_kept() -> None:
    days: dict[str, dict[str, list[int]]] = {}
    quota = Quota(RateLimits(), RateLimits(), days)
    for day in ("2026-03-01", "2026-03-02", "2026-03-03"):
        quota.commit(None, "+1", day, starts_chat=True)
    assert days == {"2026-03-02": {"+1": [1, 1]}, "2026-03-03": {"+1": [1, 1]}}


def test_what_the_platform_is_to_route_may_go_from_any_line() -> None:
    quota = Quota(RateLimits(messages_per_day=2), RateLimits(), {"2026-03-01": {"+1": [1, 0]}})
    assert not quota.is_full("+1", NOON)
    reservation = quota.reserve(None, NOON, starts_chat=False)
    assert quota.is_full("+1", NOON)
    quota.release(reservation)
    assert not quota.is_full("+1", NOON)


def test_chats_that_exist_are_not_held_up_by_the_limit_for_new_ones() -> None:
    quota = Quota(RateLimits(), RateLimits(new_chats_per_day=1), {})
    quota.reserve("+1", NOON, starts_chat=True)
    assert quota.wait("+1", NOON, starts_chat=True) == 12 * 3600
    assert quota.wait("+1", NOON, starts_chat=False) == 0


def test_messages_of_a_minute_are_spread_evenly() -> None:
    quota = Quota(RateLimits(messages_per_minute=30), RateLimits(messages_per_minute=60), {})
    quota.reserve("+1", NOON, starts_chat=False)
    assert 1.9 < quota.wait("+1", NOON, starts_chat=False) <= 2
    assert 0.9 < quota.wait("+2", NOON, starts_chat=False) <= 1
