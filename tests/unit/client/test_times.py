"""Times in RFC 3339, in and out, and the server's time."""

from __future__ import annotations

import math
import time
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linq_client import models
from linq_client.times import (
    ServerClock,
    format_datetime,
    parse_datetime,
    parse_datetime_or_none,
    parse_http_date,
    to_server_time,
    to_utc,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("text", "after_noon"),
    [
        ("2026-03-01T12:00:00Z", 0),
        ("2026-03-01T12:00:00.250Z", 0.25),
        ("2026-03-01T12:00:00.250001Z", 0.250001),
        ("2026-03-01T12:00:00.5Z", 0.5),
        ("2026-03-01T12:00:00.123456999Z", 0.123456),
        ("2026-03-01t12:00:01z", 1),
        ("2026-03-01 12:00:01Z", 1),
        ("2026-03-01T13:00:00+01:00", 0),
        ("2026-03-01T07:00:00.5-05:00", 0.5),
        ("2026-03-01T07:00:00.5-0500", 0.5),
        ("2026-03-01T12:00:00+0000", 0),
        ("2026-03-01T12:00:00", 0),
        ("2026-03-01T12:00:00.5", 0.5),
    ],
)
def test_a_date_time_is_read_in_each_of_its_forms(text: str, after_noon: float) -> None:
    parsed = parse_datetime(text)
    assert parsed == NOON + timedelta(seconds=after_noon)
    assert parsed.tzinfo is timezone.utc
    assert parse_datetime_or_none(text) == parsed


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "2026-03-01",
        "2026-03-01T12:00Z",
        "20260301T120000Z",
        "2026-03-01T12:00:00,5Z",
        "2026-03-01T12:00:00.Z",
        "2026-03-01T12:00:00+01",
        "2026-03-01T12:00:00+24:00",
        "2026-03-01T12:00:00+2400",
        "2026-03-01T12:00:00+000",
        "2026-02-29T12:00:00Z",
        "2026-03-01T24:00:00Z",
        "2026-03-01T12:00:00Z ",
        "٢٠٢٦-03-01T12:00:00+00:00",
        "9999-12-31T23:59:59Z",
        "0001-01-01T00:00:00+05:00",
    ],
)
def test_what_is_no_date_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_datetime(text)
    assert parse_datetime_or_none(text) is None


@pytest.mark.parametrize("value", [None, 17, 1.5, math.nan, [], {}, b"2026-03-01T12:00:00Z"])
def test_what_is_no_text_is_no_time(value: object) -> None:
    assert parse_datetime_or_none(value) is None


EXTREME = [
    datetime.max,
    datetime.min,
    datetime.max.replace(tzinfo=timezone(timedelta(hours=-5))),
    datetime.min.replace(tzinfo=timezone(timedelta(hours=1))),
]


@pytest.mark.parametrize("moment", EXTREME)
def test_a_time_at_the_end_of_all_times_is_none(moment: datetime) -> None:
    """Some systems mean *never* by it. Nothing can be added to it, and in another zone it does not even exist."""
    assert parse_datetime_or_none(moment) is None
    for call in (to_utc, format_datetime, lambda odd: models.Health(updated_at=odd)):
        with pytest.raises(ValueError, match="must"):
            call(moment)
    text = moment.isoformat()
    assert parse_datetime_or_none(text) is None
    with pytest.raises(ValueError, match="can happen"):
        models.Health.model_validate({"updated_at": text})


@given(st.datetimes(timezones=st.none() | st.timezones()) | st.datetimes(timezones=st.timezones()).map(str))
def test_no_time_is_too_much(moment: datetime | str) -> None:
    read = parse_datetime_or_none(moment)
    if read is not None:
        assert read.tzinfo is timezone.utc
        assert parse_datetime(format_datetime(read)) == read


@given(st.text() | st.none() | st.integers())
def test_any_header_is_a_time_or_none(value: object) -> None:
    found = parse_http_date(value)
    assert found is None or found.tzinfo is timezone.utc


def test_a_datetime_comes_back_in_utc() -> None:
    berlin = timezone(timedelta(hours=1))
    for value in (NOON, NOON.astimezone(berlin), NOON.replace(tzinfo=None)):
        found = parse_datetime_or_none(value)
        assert found == NOON
        assert found.tzinfo is timezone.utc


@given(st.datetimes(datetime(2, 1, 2), datetime(9998, 12, 30), timezones=st.timezones()))
def test_what_is_written_is_read_again(moment: datetime) -> None:
    text = format_datetime(moment)
    assert text.endswith("Z")
    assert parse_datetime(text) == moment.astimezone(timezone.utc)


def test_a_datetime_without_a_zone_is_not_guessed_at() -> None:
    with pytest.raises(ValueError, match="must carry a time zone"):
        format_datetime(NOON.replace(tzinfo=None))


def test_a_moment_of_the_worker_is_told_in_the_server_s_time() -> None:
    ours = datetime.now(timezone.utc)
    translated = to_server_time(ours, NOON)
    assert NOON - 10 * SECOND < translated <= NOON, "never late"
    assert to_server_time(ours + SECOND, NOON) - translated <= SECOND


def test_the_server_s_clock_goes_on_between_two_responses(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: seconds)
    clock = ServerClock(NOON)
    seconds = 103.0
    assert (clock.now(), clock.latest) == (NOON + 3 * SECOND, NOON)
    clock.note(NOON)
    assert clock.now() == NOON + 3 * SECOND, "the header only shows whole seconds: the same again is no news"
    clock.note(NOON + 2 * SECOND)
    seconds = 104.0
    assert clock.now() == NOON + 3 * SECOND
