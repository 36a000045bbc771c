"""What STATE says of the webhook archive: its format, and what of it is understood."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from tap_linq.extraction.archive_state import FORMAT, ArchiveState
from tap_linq.extraction.state import Coverage, StateFormatError
from tap_linq.tap import TapLinq

SAMPLES = Path(__file__).parents[2] / "data" / "formats" / "singer_state"
CONFIG = {"api_key": "key", "base_url": "http://127.0.0.1:9/api/partner"}
NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
MINUTE = timedelta(minutes=1)


def sample(number: int) -> dict[str, Any]:
    state: dict[str, Any] = json.loads((SAMPLES / f"webhook_archive_{number}.json").read_text())
    return state


def test_there_is_a_sample_of_each_format() -> None:
    assert {f"webhook_archive_{number}" for number in range(1, FORMAT + 1)} <= {one.stem for one in SAMPLES.iterdir()}


def test_format_1() -> None:
    known = TapLinq(config=dict(CONFIG), state=sample(1)).archive_state
    assert known.archive == "1f2e3d4c5b6a7988"
    assert known.position == '{"format": 1, "row": 42}'
    assert known.coverage == Coverage(frozenset({"messages", "webhook_events"}))
    assert known.deliveries.of("1c2d3e4f-5a6b-4c7d-8e9f-0a1b2c3d4e07") == [
        (NOON - 180 * MINUTE, NOON - 90 * MINUTE),
        (NOON - 70 * MINUTE, NOON - 2 * MINUTE),
    ]
    assert known.deliveries.of(None) == [(NOON - 60 * MINUTE, NOON - 60 * MINUTE)]
    assert known.opted_out == {"a1b2c3d4e5f60718": NOON - 40 * MINUTE}
    assert [at for at, _ in known.trail] == [NOON - 420 * MINUTE, NOON - 2 * MINUTE]
    assert known.compared == {"+12025550101": NOON - 40 * MINUTE}


def test_format_1_is_what_is_written() -> None:
    bookmark = sample(1)["bookmarks"]["webhook_events"]
    written: dict[str, Any] = {"stale": 1}
    ArchiveState.from_bookmark(bookmark).write_to(written)
    del bookmark["of_a_later_version"]
    assert json.loads(json.dumps(written)) == bookmark


@pytest.mark.parametrize("change", [{"format": FORMAT + 1}, {"format": "1"}, {"position": 7}])
def test_what_cannot_be_understood_is_refused(change: dict[str, Any]) -> None:
    state = sample(1)
    state["bookmarks"]["webhook_events"] |= change
    with pytest.raises(StateFormatError, match="STATE of the webhook archive"):
        TapLinq(config=dict(CONFIG), state=state)


@pytest.mark.parametrize("name", ["coverage", "deliveries", "opted_out", "trail", "compared"])
@pytest.mark.parametrize("value", [7, "x", [], {}, [[1, 2]], {"a": 1}, {"a": [[1, 2], 3]}, [["2026-03-01T12:00:00Z"]]])
def test_what_makes_no_sense_is_not_known(name: str, value: Any) -> None:
    state = sample(1)
    state["bookmarks"]["webhook_events"][name] = value
    known = TapLinq(config=dict(CONFIG), state=state).archive_state
    assert known.position is not None
    known.write_to({})


def test_the_trail_leads_back_to_before_a_moment() -> None:
    state = ArchiveState()
    for number in range(100):
        state = ArchiveState(position=str(number), trail=state.trail).with_trail(NOON + number * MINUTE, 3 * MINUTE)
    assert len(state.trail) == 9
    assert state.position_before(NOON + 99 * MINUTE) == "96"
    assert state.position_before(NOON + 96 * MINUTE) == "93"
    assert state.position_before(NOON) is None
