"""The decisions of a pass, over plain values."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from linq_client import RetentionWindow
from tap_linq.extraction.plan import (
    Gap,
    find_gap,
    is_active,
    is_changed_since,
    is_short,
    plan_pass,
    shorter_window,
    time_left,
)
from tap_linq.extraction.state import Coverage, LineState

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
BEFORE, AT, AFTER = "2026-03-01T11:59:59.999Z", "2026-03-01T12:00:00Z", "2026-03-01T12:00:00.5Z"
WINDOW = RetentionWindow(2)
OVERLAP = timedelta(minutes=10)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize("name", ["created_at", "updated_at", "sent_at", "delivered_at", "read_at", "reconciled_at"])
@pytest.mark.parametrize(("value", "due"), [(BEFORE, False), (AT, True), (AFTER, True), ("soon", True), (None, False)])
def test_each_time_of_a_message_counts(name: str, value: str | None, due: bool) -> None:
    assert is_changed_since({"created_at": BEFORE, "updated_at": BEFORE, name: value}, NOON) is due


def test_instants_are_compared_and_not_strings() -> None:
    assert is_changed_since({"updated_at": "2026-03-01T07:00:00-05:00"}, NOON)
    assert not is_changed_since({"updated_at": "2026-03-01T13:59:59+02:00"}, NOON)


def test_a_message_without_any_time_is_emitted() -> None:
    assert is_changed_since({"id": "1"}, NOON)
    assert is_changed_since({"created_at": BEFORE}, None)


@pytest.mark.parametrize(
    ("change", "active"),
    [
        ({}, False),
        ({"updated_at": AT}, True),
        ({"updated_at": None}, True),
        ({"updated_at": "soon"}, True),
        ({"created_at": AT}, True),
        ({"health_status": {"updated_at": AT}}, True),
        ({"health_status": None}, False),
        ({"handles": [{"joined_at": BEFORE, "left_at": None}, {"joined_at": AT}]}, True),
        ({"handles": [{"joined_at": BEFORE, "left_at": AT}]}, True),
        ({"handles": None}, False),
    ],
)
def test_each_time_of_a_chat_counts(change: dict[str, Any], active: bool) -> None:
    assert is_active({"created_at": BEFORE, "updated_at": BEFORE, **change}, NOON) is active


def test_a_stand_in_for_never_is_no_time() -> None:
    assert is_changed_since({"created_at": "9999-12-31T23:59:59Z"}, NOON)


STREAMS = frozenset({"attachments", "messages", "reactions"})
ALL = Coverage(STREAMS)


def test_the_kind_of_a_pass() -> None:
    interval = timedelta(minutes=30)
    known = LineState(NOON, NOON, True, WINDOW, ALL)
    assert plan_pass(LineState(), interval, NOON, ALL).is_sweep
    assert plan_pass(LineState(NOON), interval, NOON, ALL).is_sweep
    assert plan_pass(replace(known, updated_at_reliable=False), interval, NOON, ALL).is_sweep
    assert not plan_pass(known, interval, NOON + timedelta(minutes=29), ALL).is_sweep
    assert plan_pass(known, interval, NOON + interval, ALL).is_sweep
    assert plan_pass(known, timedelta(0), NOON, ALL).is_sweep


@pytest.mark.parametrize(
    ("before", "now", "grown"),
    [
        (ALL, ALL, False),
        (ALL, Coverage(frozenset({"messages"})), False),
        (Coverage(frozenset({"reactions"})), ALL, True),
        (ALL, Coverage(STREAMS, files=True), True),
        (ALL, Coverage(STREAMS, since=NOON), False),
        (Coverage(STREAMS, since=NOON), ALL, True),
        (Coverage(STREAMS, since=NOON), Coverage(STREAMS, since=NOON - HOUR), True),
        (Coverage(STREAMS, since=NOON), Coverage(STREAMS, since=NOON + HOUR), False),
    ],
)
def test_a_sweep_is_due_where_more_is_covered(before: Coverage, now: Coverage, grown: bool) -> None:
    assert plan_pass(LineState(NOON, NOON, True, WINDOW, before), HOUR, NOON, now).is_sweep is grown


def test_the_shorter_window_counts() -> None:
    assert (
        shorter_window(WINDOW, RetentionWindow(3))
        == shorter_window(None, WINDOW)
        == shorter_window(WINDOW, None)
        == WINDOW
    )
    assert shorter_window(None, None) is None


def gap(state: LineState, now: datetime, **more: Any) -> Gap | None:
    options = {"start_date": None, "window": WINDOW, "updated_at_reliable": True, **more}
    return find_gap(state, ended=now, **options)


def test_a_gap_runs_from_the_last_complete_pass_to_what_is_still_kept() -> None:
    eight, nine, ten = (NOON.replace(hour=hour) for hour in (8, 9, 10))
    state = LineState(eight, eight, True)
    assert gap(state, NOON) == Gap(eight, ten, eight, "late_run")
    assert gap(state, ten) is None
    assert gap(state, NOON, start_date=nine) == Gap(nine, ten, eight, "late_run")
    assert gap(state, NOON, start_date=ten) is None, "nothing before the start date is wanted"
    assert gap(state, NOON, window=None) is None


def test_a_first_run_reaches_back_for_one_window() -> None:
    assert gap(LineState(), NOON) == Gap(None, NOON.replace(hour=10), None, "first_run")
    assert gap(LineState(), NOON, start_date=NOON.replace(hour=9)) == Gap(
        NOON.replace(hour=9), NOON.replace(hour=10), None, "first_run"
    )
    assert gap(LineState(), NOON, start_date=NOON.replace(hour=10)) is None
    assert gap(LineState(), NOON, window=None) is None


def test_a_clock_error_is_no_first_run() -> None:
    """A pass there was, and nobody knows when: all that has expired by now may have come after it."""
    state = LineState(clock_error=NOON + HOUR)
    assert gap(state, NOON) == Gap(None, NOON.replace(hour=10), NOON + HOUR, "clock_error")
    since = NOON.replace(hour=9)
    assert gap(state, NOON, start_date=since) == Gap(since, NOON.replace(hour=10), NOON + HOUR, "clock_error")
    assert gap(state, NOON, start_date=NOON.replace(hour=10)) is None
    assert gap(state, NOON, window=None) is None


def test_only_full_sweeps_count_once_a_chat_has_lagged() -> None:
    """An incremental pass an hour ago; the last full sweep three hours ago."""
    state = LineState(NOON - HOUR, NOON - 3 * HOUR, True)
    assert gap(state, NOON) is None
    lags = Gap(NOON - 3 * HOUR, NOON - 2 * HOUR, NOON - 3 * HOUR, "updated_at_lags")
    assert gap(state, NOON, updated_at_reliable=False) == lags
    assert gap(replace(state, updated_at_reliable=False), NOON) == lags, "found by a pass that could not be completed"
    late = LineState(NOON - 3 * HOUR, NOON - 3 * HOUR, True)
    assert gap(late, NOON, updated_at_reliable=False) == gap(late, NOON)


def test_what_is_left_of_the_window() -> None:
    state = LineState(NOON)
    assert time_left(state, WINDOW, NOON + HOUR) == HOUR
    assert time_left(state, None, NOON) is None
    assert time_left(LineState(), WINDOW, NOON) is None
    assert is_short(timedelta(minutes=29), WINDOW)
    assert not is_short(timedelta(minutes=30), WINDOW)
    assert not is_short(timedelta(minutes=-1), WINDOW)
    assert not is_short(None, WINDOW)
