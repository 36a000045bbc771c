"""A message as its events tell it, in whatever order they come."""

from __future__ import annotations

import json
import random
from datetime import datetime, timedelta, timezone
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from linq_client.times import format_datetime
from linq_webhooks.archive import StoredEvent
from tap_linq.extraction.message_fold import FoldedMessage
from tap_linq.extraction.webhook_records import ArchivedEvent

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
LINE, PERSON = "+12025550101", "+12125550100"


def at(minutes: float) -> str:
    return format_datetime(NOON + timedelta(minutes=minutes))


def event(kind: str, minutes: float, data: dict[str, Any]) -> ArchivedEvent:
    fields = {"event_type": f"message.{kind}", "created_at": at(minutes), "data": data}
    body = json.dumps(fields).encode()
    return ArchivedEvent.of(StoredEvent(f"{kind}{minutes}", f"message.{kind}", None, NOON, {}, body))


def snapshot(kind: str, minutes: float, text: str, version: str = "2026", **times: Any) -> ArchivedEvent:
    own, other = {"handle": LINE, "is_me": True}, {"handle": PERSON}
    message = {"id": "m", "parts": [{"type": "text", "value": text}], "service": "iMessage", "sent_at": at(0), **times}
    if version == "2026":
        data = {
            **message,
            "chat": {"id": "c", "owner_handle": own},
            "direction": "outbound",
            "sender_handle": own,
        }
    else:
        data = {"chat_id": "c", "from_handle": own, "is_from_me": True, "recipient_handle": other, "message": message}
    return event(kind, minutes, data)


def edit(minutes: float, text: str) -> ArchivedEvent:
    return event(
        "edited",
        minutes,
        {"id": "m", "chat": {"id": "c"}, "edited_at": at(minutes), "part": {"index": 0, "text": text}},
    )


def folded(events: list[ArchivedEvent]) -> dict[str, Any] | None:
    message = FoldedMessage("m")
    for one in events:
        message.fold(one)
    return message.as_api_message()


ALL = [
    snapshot("sent", 0, "one"),
    snapshot("delivered", 1, "one", "2025", delivered_at=at(1)),
    edit(2, "two"),
    event("failed", 3, {"message_id": "m", "chat_id": "c", "code": 4001, "failed_at": at(3)}),
    snapshot("read", 4, "two", delivered_at=at(1), read_at=at(4)),
    edit(5, "three"),
]


@given(st.lists(st.sampled_from(ALL), max_size=12), st.integers(0, 2**32))
def test_neither_order_nor_repetition_matters(more: list[ArchivedEvent], seed: int) -> None:
    shuffled = [*ALL, *more]
    random.Random(seed).shuffle(shuffled)
    assert folded(shuffled) == folded(ALL)


def test_all_together() -> None:
    message = folded(ALL)
    assert message is not None
    assert message["parts"] == [{"type": "text", "value": "three"}]
    assert (message["delivery_status"], message["is_read"], message["is_delivered"]) == ("read", True, True)
    assert (message["sent_at"], message["delivered_at"], message["read_at"]) == (at(0), at(1), at(4))
    assert (message["from"], message["is_from_me"], message["chat_id"]) == (LINE, True, "c")
    assert (message["created_at"], message["updated_at"]) == (at(0), at(5))


def test_a_newer_snapshot_knows_of_edits_that_no_event_told() -> None:
    message = folded([snapshot("sent", 0, "one"), edit(1, "two"), snapshot("read", 9, "three", read_at=at(9))])
    assert message is not None
    assert message["parts"][0]["value"] == "three"


def test_a_delivery_can_follow_a_failure() -> None:
    failed = event("failed", 1, {"message_id": "m", "code": 4001})
    for events, status in (
        ([snapshot("sent", 0, "one"), failed], "failed"),
        ([snapshot("sent", 0, "one"), snapshot("delivered", 2, "one"), failed], "delivered"),
    ):
        message = folded(events)
        assert message is not None
        assert message["delivery_status"] == status


def test_what_only_changed_is_no_message() -> None:
    assert folded([edit(1, "two"), event("failed", 1, {"message_id": "m"})]) is None
