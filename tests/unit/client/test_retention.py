"""The retention window."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linq_client import InvalidRequestError, RetentionWindow

MOMENTS = st.datetimes(
    datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.sampled_from([timezone.utc, timezone(timedelta(hours=-8))])
)


@pytest.mark.parametrize("hours", [0, 0.99, 24.01, 30, -1, "24", None])
def test_a_window_is_1_to_24_hours(hours: Any) -> None:
    with pytest.raises(InvalidRequestError, match="must be 1 to 24 hours, got"):
        RetentionWindow(hours)


@given(created_at=MOMENTS, hours=st.floats(1, 24), age=st.floats(0, 30))
def test_time_left_counts_down_to_expires_at(created_at: datetime, hours: float, age: float) -> None:
    window = RetentionWindow(hours)
    now = created_at + timedelta(hours=age)
    left = window.time_left(created_at, now=now)
    assert window.expires_at(created_at).utcoffset() == timedelta(0)
    if now < window.expires_at(created_at):
        assert now + left == pytest.approx(window.expires_at(created_at), abs=timedelta(milliseconds=1))
    else:
        assert left.total_seconds() == 0


@given(created_at=MOMENTS, now=MOMENTS, hours=st.floats(1, 24))
def test_what_is_older_than_oldest_kept_has_no_time_left(created_at: datetime, now: datetime, hours: float) -> None:
    window = RetentionWindow(hours)
    if created_at < window.oldest_kept(now) - timedelta(milliseconds=1):
        assert window.time_left(created_at, now=now).total_seconds() == 0
    if created_at > window.oldest_kept(now) + timedelta(milliseconds=1):
        assert window.time_left(created_at, now=now).total_seconds() > 0


def test_a_naive_datetime_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="must carry a time zone"):
        RetentionWindow().expires_at(datetime(2026, 3, 1))


def test_a_time_at_the_end_of_all_times_is_refused() -> None:
    for moment in (
        datetime.max.replace(tzinfo=timezone.utc),
        datetime.min.replace(tzinfo=timezone(timedelta(hours=1))),
    ):
        with pytest.raises(InvalidRequestError, match="^datetime: must be a date-time at which something can happen"):
            RetentionWindow().expires_at(moment)
