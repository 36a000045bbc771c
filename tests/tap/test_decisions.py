"""The decisions of a pass, over plain values."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from linq_client import RetentionWindow
from tap_linq.extraction.decisions import Gap, find_gap, is_due, message_record, parse_moment

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
BEFORE, AT, AFTER = "2026-03-01T11:59:59.999Z", "2026-03-01T12:00:00Z", "2026-03-01T12:00:00.5Z"
WINDOW = RetentionWindow(2)


@pytest.mark.parametrize("name", ["created_at", "updated_at", "sent_at", "delivered_at", "read_at", "reconciled_at"])
@pytest.mark.parametrize(("value", "due"), [(BEFORE, False), (AT, True), (AFTER, True), ("soon", True), (None, False)])
def test_each_time_of_a_message_counts(name: str, value: str | None, due: bool) -> None:
    assert is_due({"created_at": BEFORE, "updated_at": BEFORE, name: value}, NOON) is due


def test_instants_are_compared_and_not_strings() -> None:
    assert is_due({"updated_at": "2026-03-01T07:00:00-05:00"}, NOON)
    assert not is_due({"updated_at": "2026-03-01T13:59:59+02:00"}, NOON)


def test_a_message_without_any_time_is_emitted() -> None:
    assert is_due({"id": "1"}, NOON)
    assert is_due({"created_at": BEFORE}, None)


def test_moments() -> None:
    assert parse_moment("2026-03-01T12:00:00") == parse_moment("2026-03-01T12:00:00.000000000Z") == NOON
    assert parse_moment(17) is None


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ([{"type": "text", "value": "a"}, {"type": "media", "id": "1"}, {"type": "text", "value": "b"}], "a\nb"),
        ([{"type": "link", "value": "https://example.com"}], None),
        ([{"type": "text", "value": ""}], ""),
        ([], None),
        (None, None),
    ],
)
def test_the_text_is_that_of_the_text_parts(parts: Any, text: str | None) -> None:
    assert message_record({"parts": parts}, "+12025550101", None)["text"] == text


def test_an_expiry_needs_a_time_of_creation() -> None:
    assert message_record({"created_at": AT}, "+12025550101", WINDOW)["expires_at"] == "2026-03-01T14:00:00Z"
    assert message_record({"created_at": None}, "+12025550101", WINDOW)["expires_at"] is None


def test_the_direction_is_never_guessed() -> None:
    given = [{"is_from_me": True}, {"is_from_me": False}, {}]
    assert [message_record(one, "+12025550101", None)["direction"] for one in given] == ["outbound", "inbound", None]


def test_a_gap_runs_from_the_last_complete_pass_to_what_is_still_kept() -> None:
    pass_at_eight = datetime(2026, 3, 1, 7, 50, tzinfo=timezone.utc)
    eight, ten = (datetime(2026, 3, 1, hour, tzinfo=timezone.utc) for hour in (8, 10))
    assert find_gap(pass_at_eight, None, WINDOW, NOON) == Gap(eight, ten)
    assert find_gap(pass_at_eight, None, WINDOW, ten) is None
    assert find_gap(pass_at_eight, ten, WINDOW, NOON) is None, "nothing before the start date is wanted"
    assert find_gap(pass_at_eight, None, None, NOON) is None
    assert find_gap(None, None, WINDOW, NOON) is None
