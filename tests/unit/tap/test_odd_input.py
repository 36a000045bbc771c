"""Catalogs, STATE and settings of any form: taken as they are meant, or refused in a sentence that says what is wrong.

They are drawn from the real ones, of which a value or two are replaced.
"""

from __future__ import annotations

import copy
import io
import json
import logging
from contextlib import redirect_stdout
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from singer_sdk.exceptions import ConfigValidationError
from singer_sdk.singerlib import Catalog

from tap_linq.cli import EXPECTED_ERRORS
from tap_linq.tap import TapLinq

CONFIG = {"api_key": "key", "base_url": "http://127.0.0.1:9/api/partner"}
#: Without half of a surrogate pair: files with one are refused when they are read.
TEXTS = st.sampled_from(["", "id", "text", "true", "messages", "object", "date-time", "+12025550101", "1", "null"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.just(10**400) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)


def catalog(*names: str) -> dict[str, Any]:
    """The catalog of these streams, or of all, as it comes out of a file."""
    found: dict[str, Any] = json.loads(json.dumps(TapLinq(config=dict(CONFIG)).catalog_dict))
    found["streams"] = [one for one in found["streams"] if not names or one["tap_stream_id"] in names]
    return found


def stream(document: dict[str, Any], name: str = "messages") -> dict[str, Any]:
    return next(one for one in document["streams"] if one["tap_stream_id"] == name)


def root(entry: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(one["metadata"] for one in entry["metadata"] if not one["breadcrumb"])
    return found


CATALOG = catalog("messages", "chat_locations")
STATE = {
    "bookmarks": {
        "messages": {
            "partitions": [
                {
                    "context": {"line": "+12025550101"},
                    "format": 1,
                    "passed_at": "2026-03-01T12:00:00Z",
                    "swept_at": "2026-03-01T11:00:00Z",
                    "updated_at_reliable": True,
                    "window_hours": "24",
                    "coverage": {"streams": ["messages"], "files": True, "since": "2026-03-01T11:00:00Z"},
                    "reactions": {"m1": {"parts": {"0": ["r1"]}, "at": "2026-03-01T11:00:00Z"}},
                    "seen": "name",
                }
            ]
        },
        "webhook_archive": {
            "format": 1,
            "archive": "digest",
            "position": "p",
            "coverage": {"streams": ["webhook_events"], "lines": ["+12025550101"]},
            "deliveries": {"s1": [["2026-03-01T11:00:00Z", "2026-03-01T12:00:00Z"]]},
            "opted_out": {"+12125550100": "2026-03-01T11:00:00Z"},
            "trail": [["2026-03-01T11:00:00Z", "p"]],
            "compared": {"+12025550101": "2026-03-01T11:00:00Z"},
            "newest": "2026-03-01T11:00:00Z",
        },
    }
}


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """All places in a document, the outermost not included."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for step, one in inner for place in ((*path, step), *places(one, (*path, step)))]


@st.composite
def changed(draw: st.DrawFn, document: Any) -> Any:
    """A document of which one to three values are others, or gone."""
    document = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        *way, last = draw(st.sampled_from(places(document)))
        place = document
        for step in way:
            place = place[step]
        if draw(st.booleans()) and isinstance(place, dict):
            del place[last]
        else:
            place[last] = draw(VALUES)
        if not places(document):
            break
    return document


def try_out(**options: Any) -> list[str]:
    """Make a tap, and all that follows from a catalog before there are records; return why it was refused."""
    try:
        tap = TapLinq(**{"config": dict(CONFIG), **options})
    except ConfigValidationError as error:
        return error.errors
    except EXPECTED_ERRORS as error:
        return [str(error)]
    with redirect_stdout(io.TextIOWrapper(io.BytesIO(), encoding="utf-8")):
        for one in tap.streams.values():
            if one.selected:
                one.declare()  # type: ignore[attr-defined]
                one.fitting([{"id": "1", "chat_id": "2", "handle": "3"}])  # type: ignore[attr-defined]
    json.dumps(tap.state).encode()
    return []


@given(changed(CATALOG))
@settings(max_examples=40)
def test_any_catalog_is_read_or_refused_in_a_sentence(document: Any) -> None:
    for words in try_out(catalog=document):
        assert words.startswith("catalog: ") or "stream" in words, words


@given(changed(STATE))
@settings(max_examples=40)
def test_any_state_is_read_or_refused_in_a_sentence(document: Any) -> None:
    for words in try_out(state=document):
        assert words.startswith("STATE"), words


EVERY_SETTING = sorted(TapLinq.config_jsonschema["properties"])


@given(st.dictionaries(st.sampled_from(EVERY_SETTING), VALUES, max_size=3))
@example({"concurrency": 10**400})
@example({"retention_window_hours": 10**400})
@settings(max_examples=40)
def test_any_settings_are_read_or_refused_in_a_sentence(config: dict[str, Any]) -> None:
    for words in try_out(config={**CONFIG, **config}):
        assert any(name in words for name in config), words


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda one: one.update(key_properties=[["id"]]), "key_properties[0] of messages must be text, got ['id']"),
        (lambda one: one.update(key_properties=5), "key_properties of messages must be a list or null, got 5"),
        (lambda one: one.update(key_properties=[None]), "key_properties[0] of messages must be text, got None"),
        (lambda one: one.update(key_properties=["id", "id"]), "key_properties of messages must name each once, got"),
        (lambda one: one.update(metadata=None), "metadata of messages must be a list, got None"),
        (lambda one: one.update(metadata=[None]), "metadata[0] of messages must be an object, got None"),
        (lambda one: one.update(metadata=[{"breadcrumb": []}]), "metadata[0] of messages must have breadcrumb and"),
        (
            lambda one: one["metadata"][0].update(breadcrumb="id"),
            "metadata[0].breadcrumb of messages must be a list, got",
        ),
        (lambda one: one["metadata"][0].update(breadcrumb=[[]]), "metadata[0].breadcrumb[0] of messages must be text"),
        (
            lambda one: root(one).update(selected="true"),
            ".selected of messages must be true or false or null, got 'true'",
        ),
        (lambda one: root(one).update(inclusion="auto"), ".inclusion of messages must be one of available, automatic"),
        (lambda one: one.update(schema=None), "schema of messages must be an object, got None"),
        (
            lambda one: one["schema"].update(properties=[]),
            "schema.properties of messages must be an object or null, got",
        ),
        (
            lambda one: one["schema"]["properties"].update(id=5),
            "schema.properties.id of messages must be an object, got 5",
        ),
        (
            lambda one: one["schema"]["properties"]["id"].update(type=["text"]),
            "schema.properties.id.type[0] of messages must be one of array, boolean",
        ),
        (lambda one: one["schema"].update(required=["name"]), "schema of messages must have what it requires: name"),
        (
            lambda one: one.update(tap_stream_id=None),
            "streams[0] must be an object with a tap_stream_id, which is text",
        ),
        (lambda one: one.update(replication_key=[]), "replication_key of messages must be text or null, got []"),
    ],
)
def test_what_is_wrong_with_a_catalog_is_named(change: Any, said: str) -> None:
    document = catalog()
    change(stream(document))
    (words,) = try_out(catalog=document)
    assert words.startswith("catalog: ")
    assert said in words


@pytest.mark.parametrize("streams", [None, {}, "messages", 5])
def test_without_a_list_of_streams_there_is_no_catalog(streams: Any) -> None:
    (words,) = try_out(catalog={"streams": streams})
    assert words.startswith("catalog: must be a Singer catalog, which has a list of streams, got ")


def test_a_schema_without_a_bottom_is_refused() -> None:
    document = catalog()
    inner: dict[str, Any] = {}
    for _ in range(900):
        inner = {"properties": {"a": inner}}
    stream(document)["schema"]["properties"]["deep"] = inner
    assert try_out(catalog=document) == ["catalog: schema of messages must not have so many levels"]


@pytest.mark.parametrize(
    "change",
    [
        lambda one: one.update(key_properties=[["id"]]),
        lambda one: one.update(schema=None),
        lambda one: one["metadata"].append(
            {"breadcrumb": ["properties", "id"], "metadata": {"replication-method": "x"}}
        ),
        lambda one: one.update(replication_method="LOG_BASED"),
    ],
)
def test_what_is_wrong_with_a_stream_that_is_not_selected_is_no_error(
    change: Any, caplog: pytest.LogCaptureFixture
) -> None:
    document = catalog()
    root(stream(document, "reactions"))["selected"] = False
    change(stream(document, "reactions"))
    tap = TapLinq(config=dict(CONFIG), catalog=document)
    assert [name for name, one in tap.streams.items() if not one.selected] == ["reactions", "chat_locations"]


def test_a_fault_in_a_stream_that_is_not_selected_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    document = catalog()
    root(stream(document, "reactions"))["selected"] = False
    stream(document, "reactions")["key_properties"] = 5
    assert not try_out(catalog=document)
    warnings = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    assert (
        "catalog: key_properties of reactions must be a list or null, got 5; the stream is not selected" in warnings[0]
    )


def test_what_nobody_reads_may_have_any_form() -> None:
    """People set it in Meltano's `metadata`, and tools keep things of their own there."""
    document = catalog()
    root(stream(document)).update({"valid-replication-keys": "updated_at", "schema-name": 5, "sql-datatype": {}})
    stream(document)["row_count"] = "many"
    assert not try_out(catalog=document)


def test_metadata_in_two_entries_counts_together() -> None:
    """The later one does not put the stream back that the first has taken out."""
    document = catalog()
    root(stream(document))["selected"] = False
    stream(document)["metadata"].append({"breadcrumb": [], "metadata": {"inclusion": "available"}})
    assert not TapLinq(config=dict(CONFIG), catalog=document).streams["messages"].selected


def test_a_stream_that_stands_in_a_catalog_twice_is_refused() -> None:
    document = catalog()
    document["streams"].append(copy.deepcopy(stream(document)))
    assert try_out(catalog=document) == ["catalog: a stream must stand in it once, got messages more often"]


def test_a_selected_stream_that_there_is_not_is_named(caplog: pytest.LogCaptureFixture) -> None:
    document = catalog()
    wrong = copy.deepcopy(stream(document))
    document["streams"].append({**wrong, "tap_stream_id": "mesages", "stream": "mesages"})
    document["streams"].append({**wrong, "tap_stream_id": "webhook_events", "stream": "webhook_events"})
    assert not try_out(catalog=document)
    (warning,) = (one.getMessage() for one in caplog.records if one.levelno == logging.WARNING)
    assert warning.endswith(": mesages, did you mean messages?; webhook_events")


def test_the_sdk_s_own_form_of_a_catalog_is_checked_too() -> None:
    document = catalog()
    root(stream(document))["selected"] = "false"
    assert "selected of messages must be true or false" in try_out(catalog=Catalog.from_dict(document))[0]


def test_the_catalog_that_is_handed_over_stays_as_it_is() -> None:
    document = catalog()
    before = copy.deepcopy(document)
    TapLinq(config=dict(CONFIG), catalog=document)
    assert document == before
