"""What the tap relies on in the Singer SDK beyond its documented face: these fail when an update changes it.

The message of each assertion says what would break.
"""

from __future__ import annotations

import io
import json
import signal
from contextlib import redirect_stdout
from inspect import signature
from typing import Any

import pytest
from singer_sdk import Stream
from singer_sdk.exceptions import AbortedSyncFailedException, AbortedSyncPausedException
from singer_sdk.singerlib import RecordMessage, StateMessage

from tap_linq.tap import TapLinq
from tap_linq.writer import RecordWriter

CONFIG = {"api_key": "key", "base_url": "http://127.0.0.1:9/api/partner"}


def test_sync_declares_a_stream_by_the_method_that_is_overridden() -> None:
    breaks = "SCHEMA would be written twice for a stream, or not before its records"
    assert list(signature(Stream._write_schema_message).parameters) == ["self"], breaks
    assert "_write_schema_message" in Stream.sync.__code__.co_names, breaks


def test_the_order_of_streams_is_that_of_the_property() -> None:
    assert "streams" in TapLinq.sync_all.__code__.co_names, "locations would be asked for before the chats are listed"
    tap = TapLinq(config=dict(CONFIG))
    names = list(tap.streams)
    assert names[0] == "messages", "it drives the passes"
    assert set(names[:6]) == {"messages", "attachments", "chat_participants", "chats", "extraction_gaps", "reactions"}
    assert tap.streams["messages"] is tap.streams["messages"]


def test_the_bookmark_is_nobody_s_but_ours() -> None:
    messages = TapLinq(config=dict(CONFIG)).streams["messages"]
    assert messages.replication_method == "INCREMENTAL", "a loader may replace what has expired at the source"
    assert messages.get_replication_key_signpost(None) is None, "the worker's clock would cap the bookmark"
    assert messages.partitions is None, "the SDK would sync each line, and write bookmarks of its own"


def test_signals_are_the_process_s_own_but_for_the_time_of_a_run() -> None:
    signals = (signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(sign) for sign in signals]
    tap = TapLinq(config=dict(CONFIG))
    assert [signal.getsignal(sign) for sign in signals] == before, "a notebook could not be interrupted any more"
    with tap.running():
        assert not {signal.getsignal(sign) for sign in signals} & set(before), "a run that is ended would tear a line"
    assert [signal.getsignal(sign) for sign in signals] == before


def test_state_goes_where_the_records_go() -> None:
    tap = TapLinq(config=dict(CONFIG))
    breaks = "STATE would overtake the records that it stands for"
    assert isinstance(tap.message_writer, RecordWriter), breaks
    assert vars(tap.state_writer)["_message_writer"] is tap.message_writer, breaks


def test_a_message_is_a_line() -> None:
    writer = TapLinq(config=dict(CONFIG)).message_writer
    line = bytes(writer.format_message(RecordMessage("messages", {"text": "two\nlines"})))
    assert line.endswith(b"}\n"), "messages that are written together would stand in one line"
    assert line.count(b"\n") == 1, "there would be empty lines"


def test_records_in_part_are_written_by_the_sdk() -> None:
    breaks = "deselected properties would be written, or the tap fail where there are some"
    assert list(signature(Stream._write_record_message).parameters) == ["self", "record"], breaks


def test_the_limit_of_a_connection_test() -> None:
    stream = TapLinq(config=dict(CONFIG)).streams["messages"]
    stream.ABORT_AT_RECORD_COUNT = 1
    stream._check_max_record_limit(0)
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with redirect_stdout(out):
        try:
            stream._check_max_record_limit(1)
        except (AbortedSyncFailedException, AbortedSyncPausedException):
            return
    pytest.fail("a connection test would read the whole account")


def test_records_are_counted_before_a_stream_has_its_turn() -> None:
    assert "get_record_counter" in Stream._sync_records.__code__.co_names, "the records would be counted as none"
    stream = TapLinq(config=dict(CONFIG)).streams["messages"]
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with redirect_stdout(out):
        stream.write([{"id": "1"}, {"id": "2"}])  # type: ignore[attr-defined]
        with stream.get_record_counter() as counter:
            stream.write([{"id": "3"}])  # type: ignore[attr-defined]
            assert counter.value == 3, "the metrics would leave out what was written before the stream's turn"


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


def test_the_short_way_writes_what_the_sdk_writes() -> None:
    record = {"id": "1", "new": {"a": [1.5, None]}, "parts": [{"type": "text", "value": "\u00e4"}], "read_at": None}
    stream = TapLinq(config=dict(CONFIG)).streams["messages"]
    assert written(stream, dict(record), by_sdk=False) == written(stream, dict(record), by_sdk=True)
    assert list(signature(RecordMessage).parameters) == ["stream", "record", "version", "time_extracted"]


@pytest.mark.parametrize("by_sdk", [True, False])
def test_deselected_properties_and_stream_maps(by_sdk: bool) -> None:
    maps = {"messages": {"id": "id", "read_at": "read_at", "kind": "'sms'", "__else__": None}}
    tap = TapLinq(config={**CONFIG, "stream_maps": maps})
    message = written(tap.streams["messages"], {"id": "1", "read_at": None, "text": "x"}, by_sdk=by_sdk)
    assert message["record"] == {"id": "1", "read_at": None, "kind": "sms"}

    catalog = TapLinq(config=dict(CONFIG)).catalog_dict
    (entry,) = (one for one in catalog["streams"] if one["tap_stream_id"] == "messages")
    for one in entry["metadata"]:
        if one["breadcrumb"] == ["properties", "text"]:
            one["metadata"]["selected"] = False
    stream = TapLinq(config=dict(CONFIG), catalog=catalog).streams["messages"]
    assert written(stream, {"id": "1", "text": "x"}, by_sdk=by_sdk)["record"] == {"id": "1"}
