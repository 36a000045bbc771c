"""What STATE keeps of a line, in the format of today, and what becomes of STATE that another version wrote.

The samples in `tests/data/formats/singer_state` are never changed: they are what users have in their stores.
"""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from linq_client import RetentionWindow
from tap_linq.extraction.state import Coverage, LineState
from tap_linq.tap import TapLinq
from tests.support.emulator_process import Emulator
from tests.support.running import FIRST_LINE, SECOND_LINE, cli, config_for, history, run_tap, succeed

SAMPLES = Path(__file__).parents[2] / "data" / "formats" / "singer_state"
CONFIG = {"api_key": "key", "base_url": "http://127.0.0.1:9/api/partner"}
TEN_PAST = datetime(2026, 3, 1, 12, 10, tzinfo=timezone.utc)
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
