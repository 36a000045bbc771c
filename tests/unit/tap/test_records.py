"""What records look like."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from linq_client import RetentionWindow
from tap_linq.extraction.plan import Gap
from tap_linq.extraction.records import (
    NOT_STORED,
    attachment_records,
    gap_record,
    location_record,
    message_record,
    participant_records,
    reaction_records,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
LINE = "+12025550101"
WINDOW = RetentionWindow(2)


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ([{"type": "text", "value": "a"}, {"type": "media", "id": "1"}, {"type": "text", "value": "b"}], "a\nb"),
        ([{"type": "link", "value": "https://example.com"}], None),
        ([{"type": "text", "value": ""}], ""),
        ([], None),
        (None, None),
        ([None, {"type": "text", "value": {"a": 1}}, {"type": "text", "value": "a"}], "a"),
        ("x", None),
    ],
)
def test_the_text_is_that_of_the_text_parts(parts: Any, text: str | None) -> None:
    assert message_record({"parts": parts}, LINE, None)["text"] == text


def test_an_expiry_needs_a_time_of_creation() -> None:
    at_noon = {"created_at": "2026-03-01T12:00:00Z"}
    assert message_record(at_noon, LINE, WINDOW)["expires_at"] == "2026-03-01T14:00:00Z"
    assert message_record({}, LINE, WINDOW)["expires_at"] is None
    assert "expires_at" not in message_record(at_noon, LINE, None)


def test_the_direction_is_never_guessed() -> None:
    given = [{"is_from_me": True}, {"is_from_me": False}, {}]
    assert [message_record(one, LINE, None)["direction"] for one in given] == ["outbound", "inbound", None]


def test_a_participant_is_one_record_a_chat_and_handle() -> None:
    again = [{"handle": "a", "status": "left"}, {"handle": "b"}, {"handle": "a", "status": "active", "new": 1}]
    rows = participant_records({"id": "chat", "handles": again}, LINE, NOON)
    where = {"chat_id": "chat", "line": LINE, "observed_at": "2026-03-01T12:00:00Z", "_extra": None}
    assert rows == [{"handle": "a", "status": "active", "new": 1, **where}, {"handle": "b", **where}]
    assert participant_records({"id": "chat", "handles": None}, LINE, NOON) == []


def test_a_media_part_is_an_attachment() -> None:
    part = {"type": "media", "id": "file", "filename": "../a.png", "size_bytes": 3, "reactions": None, "new": 1}
    message = {"id": "m", "chat_id": "c", "parts": [{"type": "text", "value": "x"}, part]}
    where = {"message_id": "m", "part_index": 1, "chat_id": "c", "line": LINE, "attachment_id": "file"}
    added = {"observed_at": "2026-03-01T12:00:00Z", "_extra": None, **NOT_STORED}
    assert list(attachment_records(message, LINE, NOON)) == [
        {"filename": "../a.png", "size_bytes": 3, "new": 1, **where, **added}
    ]
    assert list(attachment_records({"id": "m", "parts": None}, LINE, NOON)) == []


def test_reactions_have_a_key_with_and_without_an_id() -> None:
    ann = {"handle": "ann"}
    parts = [{"reactions": None}, {"reactions": [{"id": "r", "type": "love", "handle": ann}]}]
    parts.append({"reactions": [{"type": "custom", "custom_emoji": "!", "handle": ann}, {"type": "like"}]})
    message = {"id": "m", "chat_id": "c", "parts": parts}
    rows = reaction_records(message, LINE, NOON)
    where = {"message_id": "m", "part_index": 1, "chat_id": "c", "line": LINE, "observed_at": "2026-03-01T12:00:00Z"}
    assert rows[0] == {"id": "r", "type": "love", "handle": ann, **where, "removed_at": None, "_extra": None}
    made = [row["id"] for row in rows[1:]]
    assert made == ["m/2/fd090b486c939fde", "m/2/aa331c135cf0f942"], "the same in every run and version"
    assert made == [row["id"] for row in reaction_records(message, LINE, NOON)][1:]


def test_the_same_gap_has_the_same_key() -> None:
    gap = Gap(NOON, NOON, NOON, "late_run")
    row = gap_record(gap, LINE, WINDOW, NOON)
    assert row["id"] == "+12025550101 after 2026-03-01T12:00:00Z"
    assert row["window_hours"] == 2
    first = gap_record(Gap(None, NOON, None, "first_run"), LINE, WINDOW, NOON)
    assert (first["id"], first["gap_start"]) == ("+12025550101 after the beginning", None)


def test_a_location_keeps_its_point() -> None:
    point = {"type": "Point", "coordinates": [-77.0, 38.9]}
    feature = {"type": "Feature", "geometry": point, "properties": {"handle": "ann", "locality": "Here", "new": 1}}
    row = location_record(feature, "c", LINE, NOON)
    assert row["geometry"] == point
    assert (row["handle"], row["locality"], row["new"], row["observed_at"]) == (
        "ann",
        "Here",
        1,
        "2026-03-01T12:00:00Z",
    )


@pytest.mark.parametrize("parts", ["x", 1, [None, "x"], [{"type": "media", "reactions": "x"}], [{"reactions": [None]}]])
def test_a_response_of_another_form_costs_only_what_follows_from_it(parts: Any) -> None:
    message = {"id": "m", "parts": parts, "is_from_me": {}}
    assert message_record(message, LINE, WINDOW)["parts"] == parts
    assert reaction_records(message, LINE, NOON) == []
    assert len(list(attachment_records(message, LINE, NOON))) == ("media" in str(parts))
    assert len(participant_records({"id": "c", "handles": parts}, LINE, NOON)) == ("{" in str(parts))


@pytest.mark.parametrize("handle", ["ann", {"handle": "ann"}, None, 5, {"handle": []}])
def test_the_key_of_a_reaction_without_an_id_shows_no_handle(handle: Any) -> None:
    message = {"id": "m", "parts": [{"reactions": [{"id": 7, "type": "love", "handle": handle}]}]}
    (row,) = reaction_records(message, LINE, NOON)
    assert row["id"].startswith("m/0/")
    assert "ann" not in row["id"]
    assert row["_extra"] == {"id": 7}
