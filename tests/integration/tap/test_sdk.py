"""What the tap relies on in the Singer SDK beyond its documented face: these fail when an update changes it.

The message of each assertion says what would break.
"""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout
from typing import Any

import pytest
from singer_sdk import Stream
from singer_sdk.helpers._state import StateWriter
from singer_sdk.singerlib import StateMessage

from tap_linq.streams import LinqStream
from tap_linq.tap import TapLinq
from tests.support.emulator_process import Emulator
from tests.support.running import seed, succeed

CONFIG = {"api_key": "key", "base_url": "http://127.0.0.1:9/api/partner"}


def test_costs_are_logged_after_everything_for_every_stream(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed(emulator, 4, 1)
    events: list[str] = []
    write_state, log_sync_costs = StateWriter.write_state, LinqStream.log_sync_costs

    def noted_write_state(self: StateWriter, state: Any) -> None:
        events.append("STATE")
        write_state(self, state)

    def noted_log_sync_costs(self: LinqStream) -> None:
        events.append(self.name)
        log_sync_costs(self)

    monkeypatch.setattr(StateWriter, "write_state", noted_write_state)
    monkeypatch.setattr(LinqStream, "log_sync_costs", noted_log_sync_costs)
    succeed(emulator, select=["messages"])
    last = len(events) - events[::-1].index("STATE")
    assert last > 2, "the bookmarks would move unseen"
    streams = list(TapLinq(config=dict(CONFIG)).streams)
    assert events[last:] == streams, "a run could fail before its bookmarks are out, or not be closed at all"


def written(stream: Stream, record: dict[str, Any], *, by_sdk: bool) -> dict[str, Any]:
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with redirect_stdout(out):
        if by_sdk:
            stream._write_record_message(record)
        else:
            stream.write([record])  # type: ignore[attr-defined]
        stream._tap.write_message(StateMessage({}))
    out.seek(0)
    message: dict[str, Any] = json.loads(out.readline())
    assert message.pop("time_extracted").endswith("Z")
    return message


def test_a_connection_test_ends_after_the_first_records(emulator: Emulator) -> None:
    seed(emulator, 300, 1)
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with redirect_stdout(out):
        tap = TapLinq(config={"api_key": emulator.api_key, "base_url": emulator.base_url})
        assert tap.run_connection_test()
    assert sum(row["path"].endswith("/messages") for row in emulator.requests_served()) < 60


def test_no_record_is_left_behind_a_state(emulator: Emulator) -> None:
    """Records are put together before they are written; a STATE may only come after all that it stands for."""
    seed(emulator, 4, 2)
    messages = succeed(emulator).messages
    moved = [place for place, one in enumerate(messages) if one["type"] == "STATE" and "partitions" in str(one)]
    last = [place for place, one in enumerate(messages) if one["type"] == "RECORD" and one["stream"] == "messages"]
    assert len(last) == 8
    assert sum(place < moved[0] for place in last) == 4, "those of the first line, before its bookmark"
    assert max(last) < moved[1]
