"""The decisions of a pass, over plain values."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from linq_client import RetentionWindow
from tap_linq.extraction.decisions import (
    Gap,
    LineState,
    Witness,
    arrival,
    find_gap,
    is_active,
    is_due,
    is_short,
    judge,
    next_state,
    parse_moment,
    plan_pass,
    time_left,
    witness_of,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
BEFORE, AT, AFTER = "2026-03-01T11:59:59.999Z", "2026-03-01T12:00:00Z", "2026-03-01T12:00:00.5Z"
WINDOW = RetentionWindow(2)
OVERLAP = timedelta(minutes=10)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize("name", ["created_at", "updated_at", "sent_at", "delivered_at", "read_at", "reconciled_at"])
@pytest.mark.parametrize(("value", "due"), [(BEFORE, False), (AT, True), (AFTER, True), ("soon", True), (None, False)])
def test_each_time_of_a_message_counts(name: str, value: str | None, due: bool) -> None:
    assert is_due({"created_at": BEFORE, "updated_at": BEFORE, name: value}, NOON) is due


def test_instants_are_compared_and_not_strings() -> None:
    assert is_due({"updated_at": "2026-03-01T07:00:00-05:00"}, NOON)
    assert not is_due({"updated_at": "2026-03-01T13:59:59+02:00"}, NOON)


def test_a_message_without_any_time_is_emitted() -> None:
    assert is_due({"id": "1"}, NOON)
    assert is_due({"created_at": BEFORE}, None)


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


def test_moments() -> None:
    assert parse_moment("2026-03-01T12:00:00") == parse_moment("2026-03-01T12:00:00.000000000Z") == NOON
    assert parse_moment(17) is None


@pytest.mark.parametrize("value", ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00+05:00"])
def test_a_stand_in_for_never_is_no_moment(value: str) -> None:
    assert parse_moment(value) is None
    assert is_due({"created_at": value}, NOON)


def test_the_kind_of_a_pass() -> None:
    interval = timedelta(minutes=30)
    known = LineState(NOON - OVERLAP, NOON, True)
    assert plan_pass(LineState(), interval, NOON).sweep
    assert plan_pass(LineState(NOON - OVERLAP), interval, NOON).sweep, "state of the first version"
    assert plan_pass(LineState(NOON - OVERLAP, NOON, False), interval, NOON).sweep
    assert not plan_pass(known, interval, NOON + timedelta(minutes=29)).sweep
    assert plan_pass(known, interval, NOON + interval).sweep
    assert plan_pass(known, timedelta(0), NOON).sweep


def test_what_state_keeps_of_a_line() -> None:
    state = LineState(NOON - OVERLAP, NOON, True)
    assert LineState.from_state(state.to_state()) == state
    assert LineState.from_state({}) == LineState()
    assert LineState.from_state({"replication_key_value": "soon", "evidence": "yes"}) == LineState()


def test_only_a_sweep_counts_as_one() -> None:
    before = LineState(NOON - OVERLAP, NOON, True)
    later = NOON + HOUR
    sweep, other = plan_pass(LineState(), HOUR, later), plan_pass(before, 2 * HOUR, later)
    assert next_state(sweep, before, started=later, overlap=OVERLAP, evidence=None) == LineState(
        later - OVERLAP, later, None
    )
    assert next_state(other, before, started=later, overlap=OVERLAP, evidence=True) == LineState(
        later - OVERLAP, NOON, True
    )


@pytest.mark.parametrize(
    ("created", "updated", "newest", "says"),
    [
        (0, 60, 60, Witness.SHOWS),
        (0, 60.5, 60, Witness.SHOWS),
        (0, 59, 60, Witness.SHOWS),
        (0, 58, 60, Witness.HIDES),
        (0, 0, 60, Witness.HIDES),
        (0, 90, 60, Witness.NOTHING),
        (0, 0, 0, Witness.NOTHING),
        (None, 60, 60, Witness.NOTHING),
        (0, None, 60, Witness.NOTHING),
        (0, 60, None, Witness.NOTHING),
    ],
)
def test_what_a_chat_says_about_updated_at(
    created: float | None, updated: float | None, newest: float | None, says: Witness
) -> None:
    """Times in minutes; the fourth is a message that came in and left `updated_at` where it was."""

    def moment(minutes: float | None) -> datetime | None:
        return None if minutes is None else NOON + timedelta(minutes=minutes)

    assert witness_of(moment(created), moment(updated), moment(newest)) is says


def test_one_chat_that_hides_a_message_outweighs_all_others() -> None:
    assert judge(None, []) is None
    assert judge(None, [Witness.NOTHING]) is None
    assert judge(True, [Witness.NOTHING]) is True
    assert judge(False, [Witness.NOTHING]) is False
    assert judge(False, [Witness.SHOWS, Witness.NOTHING]) is True
    assert judge(True, [Witness.SHOWS, Witness.HIDES]) is False


def test_a_message_that_was_recovered_late_arrives_when_it_was_recovered() -> None:
    assert arrival({}, NOON) == NOON
    assert arrival({"reconciled_at": "2026-03-01T13:00:00Z"}, NOON) == NOON + HOUR
    assert arrival({"reconciled_at": "soon"}, None) is None


def gap(state: LineState, now: datetime, **more: Any) -> Gap | None:
    options = {"overlap": OVERLAP, "start_date": None, "window": WINDOW, "evidence": True, **more}
    return find_gap(state, now=now, **options)


def test_a_gap_runs_from_the_last_complete_pass_to_what_is_still_kept() -> None:
    eight, nine, ten = (NOON.replace(hour=hour) for hour in (8, 9, 10))
    state = LineState(eight - OVERLAP, eight, True)
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


def test_only_full_sweeps_count_once_a_chat_has_hidden_a_message() -> None:
    """An incremental pass an hour ago; the last full sweep three hours ago."""
    state = LineState(NOON - HOUR - OVERLAP, NOON - 3 * HOUR, True)
    assert gap(state, NOON) is None
    assert gap(state, NOON, evidence=False) == Gap(NOON - 3 * HOUR, NOON - 2 * HOUR, NOON - 3 * HOUR, "hidden_activity")
    late = LineState(NOON - 3 * HOUR - OVERLAP, NOON - 3 * HOUR, True)
    assert gap(late, NOON, evidence=False) == gap(late, NOON)


def test_what_is_left_of_the_window() -> None:
    state = LineState(NOON - OVERLAP)
    assert time_left(state, OVERLAP, WINDOW, NOON + HOUR) == HOUR
    assert time_left(state, OVERLAP, None, NOON) is None
    assert time_left(LineState(), OVERLAP, WINDOW, NOON) is None
    assert is_short(timedelta(minutes=29), WINDOW)
    assert not is_short(timedelta(minutes=30), WINDOW)
    assert not is_short(timedelta(minutes=-1), WINDOW)
    assert not is_short(None, WINDOW)
