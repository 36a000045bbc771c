"""What the catalog says about replication is what the streams do, and what it asks for is done or refused."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from linq_client import LinqClient
from tap_linq.tap import TapLinq
from tests.support.emulator_process import Emulator
from tests.support.running import FIRST_LINE, Output, cli, config_for, history, inbound, run_tap, set_window, succeed

HOUR = 3600
CHANGES = {
    "messages": "updated_at",
    "chats": "updated_at",
    "chat_participants": "observed_at",
    "reactions": "observed_at",
    "attachments": "observed_at",
    "extraction_gaps": "detected_at",
}
WHOLE = {"phone_numbers", "webhook_subscriptions", "chat_locations"}


def catalog(**methods: str) -> dict[str, Any]:
    """What discovery prints, with a replication method for streams, as Meltano writes it."""
    found: dict[str, Any] = json.loads(TapLinq(config={"api_key": "key"}).catalog_json_text)
    for stream in found["streams"]:
        if stream["tap_stream_id"] in methods:
            root(stream)["replication-method"] = methods[stream["tap_stream_id"]]
    return found


def root(stream: dict[str, Any]) -> dict[str, Any]:
    (metadata,) = (one["metadata"] for one in stream["metadata"] if not one["breadcrumb"])
    found: dict[str, Any] = metadata
    return found


def test_the_catalog_tells_what_a_loader_may_replace() -> None:
    streams = {stream["tap_stream_id"]: stream for stream in catalog()["streams"]}
    assert set(streams) == set(CHANGES) | WHOLE
    for name, stream in streams.items():
        method = "INCREMENTAL" if name in CHANGES else "FULL_TABLE"
        assert stream["replication_method"] == root(stream)["forced-replication-method"] == method
        if name in CHANGES:
            assert stream["replication_key"] == CHANGES[name]
            assert root(stream)["valid-replication-keys"] == [CHANGES[name]]


def test_each_row_has_the_replication_key_of_its_stream(emulator: Emulator) -> None:
    message = inbound(emulator, parts=[{"type": "media", "url": "https://example.com/a.png"}])
    emulator.control("POST", "reactions", {"message_id": message, "from": "+12125550100", "type": "love"})
    output = succeed(emulator)
    for name, key in CHANGES.items():
        rows = output.records(name)
        assert rows
        assert all(row[key] is not None for row in rows), name
        (schema,) = (one for one in output.messages if one["type"] == "SCHEMA" and one["stream"] == name)
        assert schema["bookmark_properties"] == [key]


def two_runs(emulator: Emulator, second: dict[str, Any], caplog: pytest.LogCaptureFixture) -> Output:
    """An hour later, nothing has happened."""
    caplog.set_level(logging.INFO)
    set_window(emulator, 24)
    history(emulator)
    emulator.advance(HOUR)
    first = succeed(emulator, phone_numbers=[FIRST_LINE])
    emulator.advance(HOUR)
    return succeed(emulator, state=first.state, catalog=second, phone_numbers=[FIRST_LINE])


@pytest.mark.parametrize("name", ["messages", "reactions", "attachments"])
def test_full_table_of_what_comes_from_messages_is_a_sweep(
    emulator: Emulator, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    output = two_runs(emulator, catalog(**{name: "FULL_TABLE"}), caplog)
    assert "full sweep, as the catalog asks for FULL_TABLE" in caplog.text
    assert set(output.ids()) == {row["id"] for row in emulator.ledger()}
    assert len(output.ids("chats")) == 1


@pytest.mark.parametrize("name", ["chats", "chat_participants"])
def test_full_table_of_chats_is_all_of_them(emulator: Emulator, name: str, caplog: pytest.LogCaptureFixture) -> None:
    output = two_runs(emulator, catalog(**{name: "FULL_TABLE"}), caplog)
    assert "incremental pass" in caplog.text
    assert output.ids() == []
    assert len(output.ids("chats")) == 1
    assert len(output.records("chat_participants")) == 2


@pytest.mark.parametrize("place", ["forced", "entry"])
def test_full_table_in_the_other_places_of_a_catalog(
    emulator: Emulator, place: str, caplog: pytest.LogCaptureFixture
) -> None:
    asked = catalog()
    (messages,) = (stream for stream in asked["streams"] if stream["tap_stream_id"] == "messages")
    if place == "entry":
        messages["replication_method"] = "FULL_TABLE"
    else:
        root(messages)["forced-replication-method"] = "FULL_TABLE"
    assert len(two_runs(emulator, asked, caplog).ids()) == 2


def test_what_is_asked_for_anyway_changes_nothing(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    names = dict.fromkeys(CHANGES, "INCREMENTAL")
    assert two_runs(emulator, catalog(**names), caplog).ids() == []
    assert "stays" not in caplog.text


@pytest.mark.parametrize("name", ["replication-key", "replication_key"])
def test_a_replication_key_for_all_streams_changes_none(
    emulator: Emulator, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """As users of Meltano write it, once for `*`: streams without that column stay as they are."""
    inbound(emulator)
    asked = catalog()
    for stream in asked["streams"]:
        (stream if name == "replication_key" else root(stream))[name] = "updated_at"
        if name == "replication-key":
            stream.pop("replication_key", None)
    output = succeed(emulator, catalog=asked)
    assert len(output.records("phone_numbers")) == 2
    found = {one["stream"]: one.get("bookmark_properties") for one in output.messages if one["type"] == "SCHEMA"}
    assert found == {stream: [CHANGES[stream]] if stream in CHANGES else None for stream in found}
    assert "phone_numbers: its replication key stays none, got updated_at" in caplog.text
    assert "messages: its" not in caplog.text


@pytest.mark.parametrize("method", ["LOG_BASED", "NONSENSE", "full_table"])
@pytest.mark.parametrize("name", ["messages", "phone_numbers"])
def test_a_method_that_there_is_not_is_refused(emulator: Emulator, tmp_path: Path, name: str, method: str) -> None:
    config, asked = tmp_path / "config.json", tmp_path / "catalog.json"
    config.write_text(json.dumps(config_for(emulator)))
    asked.write_text(json.dumps(catalog(**{name: method})))
    done = cli("--config", config, "--catalog", asked)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = (line for line in done.stderr.splitlines() if " INFO " not in line)
    allowed = "INCREMENTAL or FULL_TABLE" if name == "messages" else "FULL_TABLE"
    assert f"the replication method of {name} must be {allowed}, got '{method}'" in line
    assert emulator.requests_served() == []


def test_incremental_for_all_streams_leaves_those_that_are_read_as_a_whole(
    emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    names = dict.fromkeys(set(CHANGES) | WHOLE, "INCREMENTAL")
    assert len(succeed(emulator, catalog=catalog(**names)).records("phone_numbers")) == 2
    assert "phone_numbers: stays FULL_TABLE, as all of it is read in each run" in caplog.text


def select_only(asked: dict[str, Any], stream_name: str, *columns: str) -> dict[str, Any]:
    """Deselect all columns of a stream but some; the key comes in any case."""
    for stream in asked["streams"]:
        if stream["tap_stream_id"] == stream_name:
            for one in stream["metadata"]:
                if one["breadcrumb"]:
                    one["metadata"]["selected"] = one["breadcrumb"][1] in columns
    return asked


def test_who_selects_two_columns_gets_two(emulator: Emulator, odd_messages: None) -> None:
    inbound(emulator)
    asked = select_only(catalog(), "messages", "created_at", "from_handle")
    (row,) = succeed(emulator, catalog=asked).records("messages")
    assert set(row) == {"id", "created_at", "updated_at", "from_handle"}, "the replication key comes, too"
    assert "real_name" not in row["from_handle"]
    (row,) = succeed(emulator, catalog=select_only(catalog(), "messages", "service", "_extra")).records("messages")
    assert set(row) == {"id", "updated_at", "service", "_extra"}
    assert row["_extra"] == {"ssn": "not to be logged", "service": {"odd": 1}}, "nothing of what is deselected"


@pytest.mark.parametrize("by_map", [False, True], ids=["deselected", "removed by a map"])
def test_a_column_that_is_wanted_later_comes_for_all_that_lives(emulator: Emulator, by_map: bool) -> None:
    """It would be gone with its message, if an incremental pass were made and the message expired before a sweep."""
    messages = history(emulator, line=FIRST_LINE)
    options = {"phone_numbers": [FIRST_LINE], "select": ["messages"]}
    less: dict[str, Any] = {**options, "catalog": select_only(catalog(), "messages", "created_at")}
    removed: dict[str, Any] = {"text": None, "parts": None}
    if by_map:
        less = {**options, "stream_maps": {"messages": removed}}
    emulator.advance(HOUR)
    first = succeed(emulator, **less)
    emulator.advance(HOUR)
    if by_map:
        less = {**options, "stream_maps": {"messages": dict(reversed(removed.items()))}}
    second = succeed(emulator, state=first.state, **less)
    assert second.ids() == []
    emulator.advance(HOUR)
    third = succeed(emulator, state=second.state, **options)
    assert set(messages) <= {row["id"] for row in third.records("messages") if row["text"]}
    emulator.advance(HOUR)
    assert succeed(emulator, state=third.state, **less).ids() == [], "less than before is no reason"


@pytest.fixture
def odd_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    """The API says more of messages than is declared, and some of it in another form."""
    request = LinqClient.request

    def newer(self: LinqClient, method: str, path: str, **options: Any) -> Any:
        reply = request(self, method, path, **options)
        for message in reply.body.get("messages", ()):
            message |= {"ssn": "not to be logged", "service": {"odd": 1}, "delivered_at": "soon"}
            message["from_handle"]["real_name"] = "Ann"
        return reply

    monkeypatch.setattr(LinqClient, "request", newer)


def test_a_catalog_of_an_older_version_gets_no_more_than_it_declares(emulator: Emulator, odd_messages: None) -> None:
    inbound(emulator)
    asked = catalog()
    for stream in asked["streams"]:
        del stream["schema"]["properties"]["_extra"]
        stream["metadata"] = [one for one in stream["metadata"] if "_extra" not in one["breadcrumb"]]
    output = succeed(emulator, catalog=asked)
    (row,) = output.records("messages")
    assert (row["service"], row["delivered_at"]) == (None, None)
    assert not {"ssn", "_extra"} & set(row)


def test_the_run_says_what_did_not_fit(
    emulator: Emulator, odd_messages: None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    inbound(emulator)
    inbound(emulator)
    succeed(emulator)
    (line,) = (one.getMessage() for one in caplog.records if one.levelno == logging.WARNING)
    assert line == "messages: not as declared: undeclared fields (4), delivered_at (2), service (2)"
    assert "not to be logged" not in caplog.text


def test_a_handle_that_is_none_is_left_out_and_the_run_says_so(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    request = LinqClient.request

    def poorer(self: LinqClient, method: str, path: str, **options: Any) -> Any:
        reply = request(self, method, path, **options)
        for chat in reply.body.get("chats", ()):
            chat["handles"][0]["handle"] = None
        return reply

    monkeypatch.setattr(LinqClient, "request", poorer)
    caplog.set_level(logging.INFO)
    inbound(emulator)
    output = run_tap(emulator)
    assert output.error is None
    assert len(output.records("chat_participants")) == 1
    assert len(output.records("messages")) == 1
    assert "chat_participants: 1 records without their key left out" in caplog.text
    assert "1 records left out, as they have no key" in caplog.text


def test_a_catalog_of_an_earlier_version_is_named_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    earlier = catalog()
    earlier["streams"] = [one for one in earlier["streams"] if one["tap_stream_id"] != "reactions"]
    (messages,) = (one["schema"]["properties"] for one in earlier["streams"] if one["tap_stream_id"] == "messages")
    del messages["_extra"]
    del messages["parts"]["items"]["properties"]["app"]["properties"]["name"]
    TapLinq(config={"api_key": "key"}, catalog=earlier)
    (warning,) = (one.getMessage() for one in caplog.records if one.levelno == logging.WARNING)
    assert "lacks what this version has" in warning
    assert "messages.parts.app.name, messages._extra, reactions" in warning
    assert "--refresh-catalog" in warning
    caplog.clear()
    TapLinq(config={"api_key": "key"}, catalog=catalog())
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]
