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
from tap_linq.extraction.state import FORMAT, Coverage, LineState, StateFormatError
from tap_linq.tap import TapLinq
from tests.emulator_process import Emulator
from tests.tap.running import FIRST_LINE, SECOND_LINE, cli, config_for, history, run_tap, succeed

SAMPLES = Path(__file__).parents[1] / "data" / "formats" / "singer_state"
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
    assert read(sample("format_1_reactions")) == {FIRST_LINE: known}


def test_format_1_is_what_is_written() -> None:
    for name in ("format_1", "format_1_all_fields", "format_1_reactions"):
        for partition in sample(name)["bookmarks"]["messages"]["partitions"]:
            written = {"context": partition["context"], "stale": 1}
            LineState.from_partition(partition).write_to(written)
            assert list(written.items()) == list(partition.items())


def test_unknown_fields_are_passed_over_and_left_out_when_a_pass_is_complete(emulator: Emulator) -> None:
    state = sample("format_1_unknown_fields")
    streams = ALL.streams | {"stickers"}
    assert read(sample("format_1_unknown_fields")) == {
        FIRST_LINE: LineState(TEN_PAST, TEN_PAST, True, WINDOW, Coverage(streams))
    }
    emulator.advance(3600)
    emulator.control("POST", "faults", {"kind": "status", "status": 400, "path": r"/v3/chats$"})
    failed = run_tap(emulator, state=state)
    (kept,) = (one for one in partitions(failed.state) if one["context"]["line"] == FIRST_LINE)
    assert kept == state["bookmarks"]["messages"]["partitions"][0], "what was not read stays as it was"
    emulator.control("DELETE", "faults")
    done = succeed(emulator, state=failed.state, phone_numbers=[FIRST_LINE])
    (written,) = (one for one in partitions(done.state) if one["context"]["line"] == FIRST_LINE)
    assert "mood" not in written
    assert written["coverage"] == {"streams": sorted(OF_MESSAGES | {"chat_participants", "chats"})}


def partitions(state: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = state["bookmarks"]["messages"]["partitions"]
    return found


def test_what_the_sdk_puts_into_state_is_no_other_version(emulator: Emulator) -> None:
    assert read(sample("sdk_only")) == {FIRST_LINE: LineState(), SECOND_LINE: LineState()}
    assert set(succeed(emulator, state=sample("sdk_only")).bookmarks()) == {FIRST_LINE, SECOND_LINE}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "format_2",
            "STATE of line +12025550101 has format 2, and this version of tap-linq reads format 1: "
            "run the version that wrote it, or a later one",
        ),
        (
            "version_0_1_0",
            "STATE of line +12025550101 was written by tap-linq 0.1.0, which this version does not read: "
            "run once without STATE, and all that has not expired is extracted again",
        ),
    ],
)
def test_state_of_another_version_ends_the_run_before_anything_is_read(
    emulator: Emulator, tmp_path: Path, name: str, message: str
) -> None:
    history(emulator)
    config = tmp_path / "config.json"
    config.write_text(json.dumps(config_for(emulator)))
    done = cli("--config", config, "--state", SAMPLES / f"{name}.json")
    assert done.returncode == 1
    (line,) = (line for line in done.stderr.splitlines() if " INFO " not in line)
    assert line.rpartition(" | ")[2] == message
    assert done.stdout == ""
    assert emulator.requests_served() == []


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
        {"passed_at": "soon", "swept_at": 17, "updated_at_reliable": "yes", "window_hours": "day", "coverage": "amr"},
        {"window_hours": 24, "coverage": {}, "clock_error": "never"},
        {"window_hours": "30", "coverage": {"streams": "messages"}},
        {"passed_at": "9999-12-31T23:59:59Z", "coverage": None},
    ],
)
def test_what_makes_no_sense_is_not_known(odd: dict[str, Any]) -> None:
    assert LineState.from_partition({"format": 1, **odd}) == LineState()


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
