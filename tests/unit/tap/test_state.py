"""What STATE keeps of a line, in the format of today, and what becomes of STATE that another version wrote.

The samples in `tests/data/formats/singer_state` are never changed: they are what users have in their stores.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linq_client import RetentionWindow
from tap_linq.extraction.plan import plan_pass
from tap_linq.extraction.shown_reactions import MessageReactions
from tap_linq.extraction.state import FORMAT, Coverage, LineState, StateFormatError, read_partitions
from tap_linq.tap import TapLinq
from tests.support.running import FIRST_LINE, SECOND_LINE

SAMPLES = Path(__file__).parents[2] / "data" / "formats" / "singer_state"
CONFIG = {"api_key": "key", "base_url": "http://127.0.0.1:9/api/partner"}

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
TEN_PAST = datetime(2026, 3, 1, 12, 10, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)
WINDOW = RetentionWindow(24)
OF_MESSAGES = frozenset({"attachments", "messages", "reactions"})
ALL = Coverage(OF_MESSAGES)


def sample(name: str) -> dict[str, Any]:
    state: dict[str, Any] = json.loads((SAMPLES / f"{name}.json").read_text())
    return state


def read(state: dict[str, Any]) -> dict[str, LineState]:
    """What the tap knows of the lines after it has taken STATE over."""
    tap = TapLinq(config=dict(CONFIG), state=state)
    return {line: tap.line_state(line) for line in tap.lines_in_state}


def test_there_is_a_sample_of_each_format() -> None:
    assert {f"format_{number}" for number in range(1, FORMAT + 1)} <= {file.stem for file in SAMPLES.iterdir()}


def test_format_1() -> None:
    assert read(sample("format_1")) == {
        FIRST_LINE: LineState(TEN_PAST + HOUR, TEN_PAST, True, WINDOW, ALL),
        SECOND_LINE: LineState(TEN_PAST, TEN_PAST, None, WINDOW, ALL),
    }


def test_format_1_with_all_fields() -> None:
    coverage = Coverage(frozenset({"messages"}), True, datetime(2026, 2, 1, tzinfo=timezone.utc))
    clock_error = datetime(2028, 3, 1, 12, 0, 0, 500_000, tzinfo=timezone.utc)
    known = LineState(TEN_PAST, TEN_PAST, False, RetentionWindow(1.5), coverage, clock_error)
    assert read(sample("format_1_all_fields")) == {FIRST_LINE: known}


def test_format_1_with_reactions() -> None:
    message = "6c1d5f0e-2f5b-4f0a-8f0b-1e2d3c4b5a02"
    places = {"9d8c7b6a-5f4e-4d3c-8b2a-1f0e9d8c7b04": 0, f"{message}/1/fd090b486c939fde": 1}
    coverage = Coverage(OF_MESSAGES | {"chat_participants", "chats"})
    reactions = {message: MessageReactions(NOON, places)}
    known = LineState(TEN_PAST, TEN_PAST, True, WINDOW, coverage, reactions=reactions)
    for name in ("format_1_reactions", "format_1_short_reactions"):
        assert read(sample(name)) == {FIRST_LINE: known}


def test_format_1_with_the_form_of_records() -> None:
    coverage = Coverage(frozenset({"messages"}), form="12d4af85dd0b3353")
    known = LineState(TEN_PAST, TEN_PAST, True, RetentionWindow(1.5), coverage)
    assert read(sample("format_1_form")) == {FIRST_LINE: known}


def test_format_1_is_what_is_written() -> None:
    for name in ("format_1", "format_1_all_fields", "format_1_form", "format_1_short_reactions"):
        for partition in sample(name)["bookmarks"]["messages"]["partitions"]:
            written = {"context": partition["context"], "stale": 1}
            LineState.from_partition(partition).write_to(written)
            assert list(written.items()) == list(partition.items())


def partitions(state: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = state["bookmarks"]["messages"]["partitions"]
    return found


@pytest.mark.parametrize("odd", [None, "1", 0, 1.5, [1], "soon"])
def test_a_format_that_is_none_is_refused(odd: object) -> None:
    with pytest.raises(StateFormatError, match="has format"):
        LineState.from_partition({"context": {"line": FIRST_LINE}, "format": odd})


@pytest.mark.parametrize("one", [1, 1.0])
def test_a_loader_may_hand_the_number_on_as_another_kind_of_number(one: float) -> None:
    assert LineState.from_partition({"format": one, "passed_at": "2026-03-01T12:00:00Z"}) == LineState(NOON)


@pytest.mark.parametrize(
    "odd",
    [
        {"updated_at_reliable": "yes", "window_hours": "day", "coverage": "amr"},
        {"window_hours": 24, "coverage": {}},
        {"window_hours": "30", "coverage": {"streams": "messages"}},
        {"coverage": {"form": "12d4af85dd0b3353"}},
        {"passed_at": None, "coverage": None},
    ],
)
def test_what_makes_no_sense_is_not_known(odd: dict[str, Any]) -> None:
    assert LineState.from_partition({"format": 1, **odd}) == LineState()


@pytest.mark.parametrize("name", ["passed_at", "swept_at", "clock_error"])
@pytest.mark.parametrize("odd", ["soon", 17, {}, "9999-12-31T23:59:59Z"])
def test_a_time_that_can_t_be_read_is_refused(name: str, odd: object) -> None:
    """Without it, the line would pass for one that was never read, which no gap is reported of."""
    with pytest.raises(StateFormatError, match=rf"STATE of line \{FIRST_LINE}: {name} must be"):
        LineState.from_partition({"context": {"line": FIRST_LINE}, "format": 1, name: odd})


def partition_of(line: str = FIRST_LINE, **fields: Any) -> dict[str, Any]:
    return {"context": {"line": line}, "format": 1, **fields}


def state_of(*partitions: object) -> dict[str, Any]:
    return {"bookmarks": {"messages": {"partitions": list(partitions)}}}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"singer_state": state},
        lambda state: {"type": "STATE", "value": state},
        lambda state: {"value": state},
        lambda state: {"completed_state": {"singer_state": state}, "partial_state": {}},
        lambda state: {"completed": {}, "partial": {"singer_state": state}},
    ],
)
def test_what_stands_around_the_bookmarks_is_no_matter(wrap: Any) -> None:
    """As `meltano state get`, its database and its files, and loaders write them."""
    assert read(wrap(sample("format_1"))) == read(sample("format_1"))


def test_of_two_halves_the_later_one_counts() -> None:
    completed = state_of(partition_of(passed_at="2026-03-01T12:00:00Z"), partition_of(SECOND_LINE))
    partial = state_of(partition_of(passed_at="2026-03-01T12:10:00Z"))
    known = read({"completed": {"singer_state": completed}, "partial": {"singer_state": partial}})
    assert known == {FIRST_LINE: LineState(TEN_PAST), SECOND_LINE: LineState()}


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize(
    ("one", "other", "counts"),
    [
        ({"passed_at": "2026-03-01T12:00:00Z"}, {"passed_at": "2026-03-01T12:10:00Z"}, LineState(NOON)),
        ({"passed_at": "2026-03-01T12:00:00Z"}, {"passed_at": "2026-03-01T12:00:00.5Z"}, LineState(NOON)),
        ({"passed_at": "2026-03-01T12:00:00Z"}, {}, LineState(NOON)),
        (
            {"passed_at": "2026-03-01T12:00:00Z"},
            {"clock_error": "2026-03-01T12:10:00Z"},
            LineState(clock_error=TEN_PAST),
        ),
    ],
)
def test_of_a_line_that_stands_there_twice_the_older_bookmark_counts(
    one: dict[str, Any], other: dict[str, Any], counts: LineState, swap: bool, caplog: pytest.LogCaptureFixture
) -> None:
    both = [partition_of(**one), partition_of(**other)]
    assert read(state_of(*(reversed(both) if swap else both))) == {FIRST_LINE: counts}
    assert f"line {FIRST_LINE} stands in STATE twice" in caplog.text


@pytest.mark.parametrize(
    ("state", "problem"),
    [
        ({"bookmarks": []}, "bookmarks must be an object"),
        ({"bookmarks": "x"}, "bookmarks must be an object"),
        ({"bookmarks": {"messages": "x"}}, "messages must be an object"),
        ({"bookmarks": {"messages": {"partitions": {}}}}, "partitions must be a list"),
        (state_of(None), "a partition must be an object"),
        (state_of(5), "a partition must be an object"),
        (state_of({"context": None, "format": 1}), "context.line of a partition must be text"),
        (state_of({"context": "x", "format": 1}), "context must be an object"),
        (state_of({"context": {"line": 12025550101}, "format": 1}), "context.line of a partition must be text"),
        ({"singer_state": 5}, "singer_state must be an object"),
        ({"mood": 1}, "must be an object with bookmarks, got one with mood"),
    ],
)
def test_state_of_another_shape_is_refused(state: dict[str, Any], problem: str) -> None:
    with pytest.raises(StateFormatError, match=problem):
        read(state)


@pytest.mark.parametrize(
    "state",
    [{"bookmarks": None}, {"bookmarks": {"messages": {"partitions": None}}}, {"singer_state": {"bookmarks": {}}}],
)
def test_state_without_a_line_is_a_first_run_and_says_so(
    state: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    assert read(state) == {}
    assert "STATE names no line, so this is the first run" in caplog.text


def test_what_the_sdk_would_stumble_over_is_left_out() -> None:
    line = {"context": {"line": FIRST_LINE, "more": 1}, "progress_markers": "x", "format": 1}
    state = state_of({**line, "passed_at": "2026-03-01T12:00:00Z"})
    state["bookmarks"]["chats"] = {"partitions": None}
    tap = TapLinq(config=dict(CONFIG), state=state)
    tap._reset_state_progress_markers()
    assert tap.line_state(FIRST_LINE) == LineState(NOON)


JUNK = st.sampled_from([None, [], {}, "", "x", 0, -1.5, True, [None], {"x": None}, ["x"], [[]]])


@st.composite
def damaged_states(draw: st.DrawFn) -> tuple[dict[str, Any], object]:
    """A good STATE in which something, somewhere, is replaced, and by what."""
    state: Any = {"singer_state": sample("format_1_all_fields")} if draw(st.booleans()) else sample("format_1")
    junk = draw(JUNK)
    place = state
    while True:
        key = draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not isinstance(place[key], dict | list) or not place[key] or draw(st.integers(0, 3)) == 0:
            place[key] = junk
            return state, junk
        place = place[key]


@given(damaged_states())
def test_damaged_state_is_refused_or_read_and_no_line_is_forgotten(damaged: tuple[dict[str, Any], object]) -> None:
    state, junk = damaged
    try:
        known = {one["context"]["line"]: LineState.from_partition(one) for one in read_partitions(state)}
    except StateFormatError:
        return
    # Null, an empty list and an object stand for what is not there, and a text may be the name of another line.
    if junk is not None and junk != [] and not isinstance(junk, dict) and "x" not in known:
        before = sample("format_1_all_fields" if "singer_state" in state else "format_1")
        for line, before_it in read(before).items():
            assert known[line].passed_at == before_it.passed_at


TIMES = st.none() | st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(timezone.utc))
COVERAGES = st.builds(Coverage, st.frozensets(st.sampled_from(sorted(ALL.streams))), st.booleans(), TIMES)
STATES = st.builds(
    LineState,
    TIMES,
    TIMES,
    st.none() | st.booleans(),
    st.none() | st.builds(RetentionWindow, st.sampled_from([1, 1.5, 24])),
    st.none() | COVERAGES,
    TIMES,
)


@given(STATES)
def test_what_is_written_is_read_again(state: LineState) -> None:
    partition: dict[str, Any] = {"context": {"line": FIRST_LINE}}
    state.write_to(partition)
    # target-postgres reads a number with a point as a Decimal, and then can't write STATE.
    assert LineState.from_partition(json.loads(json.dumps(partition), parse_float=pytest.fail)) == state


def test_times_ahead_of_the_server_do_not_count() -> None:
    state = LineState(NOON, NOON, True, WINDOW, ALL)
    assert state.checked_against(NOON - timedelta(seconds=30)) == state, "clocks of several servers differ a little"
    checked = state.checked_against(NOON - HOUR)
    assert checked == LineState(None, None, True, WINDOW, ALL, NOON)
    assert checked.checked_against(NOON - HOUR) == checked
    assert plan_pass(checked, HOUR, NOON, ALL).is_sweep
    ahead = replace(state, swept_at=NOON + HOUR).checked_against(NOON)
    assert (ahead.passed_at, ahead.clock_error) == (None, NOON + HOUR)
