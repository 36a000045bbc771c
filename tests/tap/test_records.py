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
    rows = participant_records({"id": "chat", "handles": again}, LINE)
    assert rows == [
        {"handle": "a", "status": "active", "new": 1, "chat_id": "chat", "line": LINE},
        {"handle": "b", "chat_id": "chat", "line": LINE},
    ]
    assert participant_records({"id": "chat", "handles": None}, LINE) == []


def test_a_media_part_is_an_attachment() -> None:
    part = {"type": "media", "id": "file", "filename": "../a.png", "size_bytes": 3, "reactions": None, "new": 1}
    message = {"id": "m", "chat_id": "c", "parts": [{"type": "text", "value": "x"}, part]}
    where = {"message_id": "m", "part_index": 1, "chat_id": "c", "line": LINE, "attachment_id": "file"}
    assert list(attachment_records(message, LINE)) == [
        {"filename": "../a.png", "size_bytes": 3, "new": 1, **where, **NOT_STORED}
    ]
    assert list(attachment_records({"id": "m", "parts": None}, LINE)) == []


def test_reactions_have_a_key_with_and_without_an_id() -> None:
    ann = {"handle": "ann"}
    parts = [{"reactions": None}, {"reactions": [{"id": "r", "type": "love", "handle": ann}]}]
    parts.append({"reactions": [{"type": "custom", "custom_emoji": "!", "handle": ann}, {"type": "like"}]})
    rows = reaction_records({"id": "m", "chat_id": "c", "parts": parts}, LINE)
    assert [row["id"] for row in rows] == ["r", "m/2/ann/!", "m/2/None/like"]
    assert rows[0] == {
        "id": "r", "type": "love", "handle": ann, "message_id": "m", "part_index": 1, "chat_id": "c", "line": LINE,
    }  # fmt: skip


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
    assert reaction_records(message, LINE) == []
    assert len(list(attachment_records(message, LINE))) == ("media" in str(parts))
    assert len(participant_records({"id": "c", "handles": parts}, LINE)) == ("{" in str(parts))


def test_a_reaction_may_name_its_handle_as_text() -> None:
    message = {"id": "m", "parts": [{"reactions": [{"type": "love", "handle": "+1202"}]}]}
    assert reaction_records(message, LINE)[0]["id"] == "m/0/+1202/love"
