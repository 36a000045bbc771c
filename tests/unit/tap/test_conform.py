"""Every row fits the SCHEMA of its stream, whatever the API has said, and what has no place in it is in `_extra`."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from copy import deepcopy
from datetime import datetime, timezone
from random import Random
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from singer_sdk.contrib.msgspec import serialize_jsonl

from linq_client import RetentionWindow
from tap_linq.extraction import records
from tap_linq.extraction.conform import Conformer
from tap_linq.extraction.records import Record
from tap_linq.tap import TapLinq

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
LINE = "+12025550101"
SCHEMAS: dict[str, dict[str, Any]] = {
    name: stream.schema for name, stream in TapLinq(config={"api_key": "key"}).streams.items()
}

# What databases take, and no more than RFC 3339: jsonschema checks no dates unless a package for it is there.
FORMATS = jsonschema.FormatChecker(formats=())


@FORMATS.checks("date-time")
def is_time(value: object) -> bool:
    if not isinstance(value, str):
        return True
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|\+00:00)", value, flags=re.ASCII):
        return False
    try:
        return bool(datetime.fromisoformat(value.replace("Z", "+00:00")).astimezone(timezone.utc))
    except (ValueError, OverflowError):
        return False


def closed(schema: dict[str, Any]) -> dict[str, Any]:
    """The same schema, with nothing undeclared at any level."""
    found = dict(schema)
    if "properties" in schema:
        found["properties"] = {name: closed(one) for name, one in schema["properties"].items()}
        found["additionalProperties"] = False
    if "items" in schema:
        found["items"] = closed(schema["items"])
    if "integer" in schema.get("type", ()):
        found |= {"minimum": -(2**63), "maximum": 2**63 - 1}
    return found


VALIDATORS = {
    name: jsonschema.Draft7Validator(closed(schema), format_checker=FORMATS) for name, schema in SCHEMAS.items()
}


def faults(stream: str, rows: Sequence[Record]) -> list[str]:
    """What is wrong with rows, once they are written and read again."""
    found = []
    for row in json.loads(json.dumps(rows, allow_nan=False)):
        found += [f"{list(one.path)}: {one.message}" for one in VALIDATORS[stream].iter_errors(row)]
    return found


def conformer(stream: str, *deselected: tuple[str, ...]) -> Conformer:
    return Conformer(SCHEMAS[stream], lambda breadcrumb: breadcrumb not in deselected)


def test_what_fits_goes_out_as_it_is() -> None:
    message = {"id": "m", "created_at": "2026-03-01T12:00:00.5Z", "parts": [{"type": "text", "value": "a"}]}
    given = [records.message_record(message, LINE, None)]
    rows = conformer("messages").conform(given)
    assert rows[0] is given[0]


ODD = [
    ("delivered_at", ""),
    ("delivered_at", "2026-03-01T23:59:60Z"),
    ("delivered_at", "2026-03-01T24:00:00Z"),
    ("delivered_at", "2026-02-29T12:00:00Z"),
    ("delivered_at", "0000-01-01T00:00:00Z"),
    ("delivered_at", "0001-01-01T00:00:00+01:00"),
    ("delivered_at", "9999-12-31T23:59:59-05:00"),
    ("delivered_at", "\u0662026-03-01T12:00:00Z"),
    ("created_at", 1_772_366_400_000),
    ("created_at", True),
    ("is_read", "true"),
    ("is_read", 1),
    ("service", {}),
    ("service", 5),
    ("effect", []),
    ("effect", "slam"),
    ("from_handle", "+12025550100"),
    ("parts", {}),
    ("parts", "text"),
]


@pytest.mark.parametrize(("column", "value"), ODD, ids=str)
def test_a_value_of_another_type_is_null_and_kept(column: str, value: Any) -> None:
    conform = conformer("messages")
    (row,) = conform.conform([records.message_record({"id": "m", "chat_id": "c", column: value}, LINE, None)])
    assert row[column] is None
    assert row["_extra"] == {column: value}
    assert row["chat_id"] == "c"
    assert faults("messages", [row]) == []
    assert conform.take_misfits().summary == f"not as declared: {column} (1)"
    assert conform.take_misfits().summary == ""


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (12.0, 12),
        (2**63 - 1, 2**63 - 1),
        (-(2**63), -(2**63)),
        (2**63, None),
        (1234.5, None),
        (1e300, None),
        ("1234", None),
        (True, None),
        (math.inf, None),
    ],
)
def test_an_integer_is_one_that_databases_hold(value: Any, written: int | None) -> None:
    part = {"type": "media", "id": "a", "size_bytes": value}
    message = {"id": "m", "parts": [part]}
    (row,) = conformer("messages").conform([records.message_record(message, LINE, None)])
    assert row["parts"][0]["size_bytes"] == written
    assert isinstance(row["parts"][0]["size_bytes"], int) or written is None
    (attachment,) = conformer("attachments").conform(list(records.attachment_records(message, LINE, NOON)))
    assert attachment["size_bytes"] == written
    assert (row["_extra"] is None) is (attachment["_extra"] is None) is (written is not None)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("2026-03-01 12:00:00", "2026-03-01T12:00:00Z"),
        ("2026-03-01T12:00:00", "2026-03-01T12:00:00Z"),
        ("2026-03-01t12:00:00z", "2026-03-01T12:00:00Z"),
        ("2026-03-01T12:00:00+05:30", "2026-03-01T06:30:00Z"),
        ("2026-03-01T12:00:00.123456789Z", "2026-03-01T12:00:00.123456Z"),
        ("2026-03-01T12:00:00.5Z", "2026-03-01T12:00:00.5Z"),
        ("2026-03-01T12:00:00.123+00:00", "2026-03-01T12:00:00.123+00:00"),
        ("2026-03-01T12:00:00-00:00", "2026-03-01T12:00:00Z"),
    ],
)
def test_a_time_in_another_form_is_the_same_time(value: str, written: str) -> None:
    (row,) = conformer("messages").conform([records.message_record({"id": "m", "sent_at": value}, LINE, None)])
    assert (row["sent_at"], row["_extra"]) == (written, None)


def nested(levels: int, innermost: Any) -> Any:
    value = innermost
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


def depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


@pytest.mark.parametrize("levels", [1, 64, 65, 190])
def test_what_is_nested_deep_is_text_from_a_level_on(levels: int) -> None:
    (row,) = conformer("messages").conform([records.message_record({"id": "m", "x": nested(levels, 1)}, LINE, None)])
    value = row["_extra"]["x"]
    assert depth(value) == min(levels, 64)
    while not isinstance(value, str | int):
        (value,) = value.values() if isinstance(value, dict) else value
    assert value == 1 or json.loads(value) == nested(levels - 64, 1)


FREE = {"properties": {"id": {"type": "string"}, "free": {"type": ["object", "array", "null"]}}, "required": ["id"]}


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ({"a": [1, "x", None, 1.5, {"b": True}]}, None),
        ({"a": [{"b": 2**70}]}, {"a": [{"b": str(2**70)}]}),
        ([-(2**63), 2**64 - 1], None),
        ([-(2**63) - 1], [str(-(2**63) - 1)]),
        ({"a": math.inf, "b": [math.nan]}, {"a": "inf", "b": ["nan"]}),
        (nested(6, 2**70), nested(6, str(2**70))),
    ],
)
def test_where_anything_goes_numbers_are_such_as_loaders_read(value: Any, written: Any) -> None:
    """As with a catalog of an earlier version, whose objects had no properties."""
    (row,) = Conformer(FREE, lambda breadcrumb: True).conform([{"id": "r", "free": value}])
    assert row["free"] == (value if written is None else written)
    assert json.loads(serialize_jsonl(row))["free"] == row["free"]


def test_what_is_not_declared_is_kept_with_its_path() -> None:
    message = {
        "id": "m",
        "poll": {"q": "pizza?", "score": math.nan, "many": 10**400},
        "nothing": None,
        "from_handle": {"handle": "ann", "real_name": "Ann"},
        "parts": [{"type": "text", "value": "a", "lang": "en"}, "odd", None, {"type": "text", "value": "b"}],
        "parts.0.lang": "not that of the part",
    }
    conform = conformer("messages")
    (row,) = conform.conform([records.message_record(message, LINE, None)])
    assert row["_extra"] == {
        "poll": {"q": "pizza?", "score": "nan", "many": str(10**400)},
        "from_handle.real_name": "Ann",
        "parts.0.lang": "en",
        "parts.1": "odd",
        "parts.0.lang~": "not that of the part",
    }
    assert row["parts"] == [{"type": "text", "value": "a"}, {}, {}, {"type": "text", "value": "b"}], "each in its place"
    assert (row["text"], faults("messages", [row])) == ("a\nb", [])
    assert conform.take_misfits().summary == "not as declared: undeclared fields (4), parts (1)"


def test_a_name_of_the_tap_s_own_is_the_tap_s() -> None:
    message = {"id": "m", "text": "of the API", "line": LINE, "_extra": {"id": "x"}, "parts": None}
    (row,) = conformer("messages").conform([records.message_record(message, LINE, None)])
    assert (row["id"], row["text"], row["line"]) == ("m", None, LINE)
    assert row["_extra"] == {"text": "of the API", "_extra": {"id": "x"}}


def test_what_is_deselected_does_not_come_out_by_another_way() -> None:
    message = {"id": "m", "delivered_at": "soon", "from_handle": {"handle": 5, "status": 6}, "poll": 1}
    given = [records.message_record(message, LINE, None)]
    handle = ("properties", "from_handle", "properties", "handle")
    (row,) = conformer("messages", ("properties", "delivered_at"), handle).conform(given)
    assert row["_extra"] == {"from_handle.status": 6, "poll": 1}
    (row,) = conformer("messages", ("properties", "_extra")).conform(given)
    assert (row["delivered_at"], row["_extra"]) == (None, None)


@pytest.mark.parametrize("key", [None, 5, [], {}, True])
def test_a_record_without_its_key_is_left_out_and_counted(key: Any) -> None:
    chat = {"id": "c", "handles": [{"handle": key, "id": "h"}, {"handle": "ann"}, {"id": "none"}, "text", None]}
    conform = conformer("chat_participants")
    rows = conform.conform(records.participant_records(chat, LINE, NOON))
    assert [row["handle"] for row in rows] == ["ann"]
    misfits = conform.take_misfits()
    assert (misfits.left_out, misfits.summary) == (2, "2 records without their key left out")


@pytest.mark.parametrize("feature", [None, "text", 5, [], {"properties": "text"}, {"properties": {"handle": 5}}])
def test_a_feature_without_a_handle_is_left_out(feature: Any) -> None:
    conform = conformer("chat_locations")
    assert conform.conform([records.location_record(feature, "c", LINE, NOON)]) == []
    assert conform.take_misfits().left_out == 1


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**63, -(2**63), 10**400, 12.0, ""])
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)
    | st.sampled_from([value for _, value in ODD if isinstance(value, str)])
    | st.sampled_from(["2026-03-01T12:00:00Z", "2026-03-01 12:00:00+02:00"])
)
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab.~", max_size=3), inner, max_size=3)
)


UNKNOWN = st.dictionaries(st.sampled_from(["poll", "a.b", "_extra", "line", "ID"]), ANYTHING, max_size=2)
# Drawn once for the objects of all streams: to let Hypothesis draw each of their fields takes ten times as long.
VALUES = st.lists(ANYTHING, min_size=4, max_size=4)
CHANCE = st.randoms(use_true_random=True)


def like(schema: dict[str, Any], values: list[Any], unknown: dict[str, Any], chance: Random) -> Any:
    """A value of a schema, and now and then one of these values, with names that are not declared."""
    if chance.random() < 0.1:
        return chance.choice(values)
    if "properties" in schema:
        return object_like(schema, values, unknown, chance)
    if "items" in schema:
        return [like(schema["items"], values, unknown, chance) for _ in range(chance.randint(0, 3))]
    if schema.get("format"):
        return "2026-03-01T12:00:00Z"
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return {"string": "text", "boolean": chance.random() < 0.5, "integer": 1, "number": 0.5}[types[0]]


def object_like(schema: dict[str, Any], values: list[Any], unknown: dict[str, Any], chance: Random) -> dict[str, Any]:
    known = {
        name: like(one, values, unknown, chance)
        for name, one in schema["properties"].items()
        if name != "_extra" and chance.random() < 0.5
    }
    return {**unknown, **known} if chance.random() < 0.5 else known


def rows_of(stream: str, source: dict[str, Any]) -> list[Record]:
    """The records that the tap makes of an object of the API."""
    if stream == "chats":
        return [records.chat_record(source, LINE)]
    if stream == "messages":
        return [records.message_record(source, LINE, RetentionWindow(24))]
    if stream == "webhook_subscriptions":
        return [records.webhook_subscription_record(source)]
    if stream == "chat_participants":
        return records.participant_records({"id": "c", "handles": [source, deepcopy(source)]}, LINE, NOON)
    if stream == "chat_locations":
        return [records.location_record({"properties": source, "geometry": source.get("geometry")}, "c", LINE, NOON)]
    if stream == "attachments":
        return list(records.attachment_records({"id": "m", "parts": [{**source, "type": "media"}]}, LINE, NOON))
    if stream == "reactions":
        return records.reaction_records({"id": "m", "parts": [{"reactions": [source]}]}, LINE, NOON)
    return [records.api_record(source)]


def leaves(value: Any) -> Iterator[str]:
    """All texts in a value that nothing else is like."""
    if isinstance(value, dict):
        for one in value.values():
            yield from leaves(one)
    elif isinstance(value, list):
        for one in value:
            yield from leaves(one)
    elif isinstance(value, str) and value.startswith("unlike "):
        yield value


@settings(max_examples=60)
@given(VALUES, UNKNOWN, CHANCE)
def test_every_row_fits(values: list[Any], unknown: dict[str, Any], chance: Random) -> None:
    for stream, schema in SCHEMAS.items():
        conform = conformer(stream)
        made = rows_of(stream, object_like(schema, values, unknown, chance))
        rows = conform.conform(made)
        assert faults(stream, rows) == []
        assert len(rows) + conform.take_misfits().left_out == len(made), stream
        fitting = [row for row in made if all(isinstance(row.get(key), (str, int)) for key in schema["required"])]
        assert len(rows) <= len(fitting), stream
        again = conformer(stream).conform(rows)
        assert again == rows or any(row["_extra"] for row in rows), f"{stream}: there is no more to do"


@settings(max_examples=100)
@given(VALUES, UNKNOWN, CHANCE)
def test_nothing_that_the_api_said_is_lost(values: list[Any], unknown: dict[str, Any], chance: Random) -> None:
    """Of a message with a key: each of its texts is in the row, whatever stands around it."""
    source = object_like(SCHEMAS["messages"], values, unknown, chance) | {"id": "m"}
    counted = iter(range(10**6))

    def marked(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: marked(one) for name, one in value.items()}
        if isinstance(value, list):
            return [marked(one) for one in value]
        return f"unlike {next(counted)}" if isinstance(value, str) else value

    source = {**marked(source), "id": "m"}
    (row,) = conformer("messages").conform([records.message_record(source, LINE, None)])
    assert set(leaves(source)) == set(leaves({name: one for name, one in row.items() if name != "text"}))
