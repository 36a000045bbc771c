"""Who has opted out and in again, whatever the order of events."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from itertools import permutations
from typing import Any

import pytest

from linq_webhooks.archive import StoredEvent
from tap_linq.extraction.opt_outs import MAX_OPTED_OUT, OptOuts
from tap_linq.extraction.webhook_records import ArchivedEvent

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


def stamp(minute: float) -> str:
    return (NOON + timedelta(minutes=minute)).isoformat().replace("+00:00", "Z")


def event(kind: str, minute: float, **data: Any) -> ArchivedEvent:
    fields = {"event_type": kind, "created_at": stamp(minute), "data": data}
    stored = StoredEvent(f"{kind} {minute} {data}", kind, None, NOON, {}, json.dumps(fields).encode())
    return ArchivedEvent.of(stored)


def said(text: str, minute: float, who: str = "+12125550100", **chat: Any) -> ArchivedEvent:
    parts = [{"type": "text", "value": text}]
    sender = {"handle": who}
    return event(
        "message.received", minute, direction="inbound", parts=parts, sender_handle=sender, chat={"id": "c", **chat}
    )


STOP = said("STOP", 0)
REFUSED = event("message.failed", 0, code=2024, chat_id="c", message_id="m", failed_at=stamp(0))
HEALTH = event(
    "message.sent",
    1,
    direction="outbound",
    chat={"id": "c", "health_status": {"status": "OPTED_OUT", "updated_at": stamp(0)}},
)


def last_word(*batches: list[ArchivedEvent]) -> bool | None:
    """What the newest row says, of several runs."""
    out: dict[str, datetime] = {}
    heard: dict[str, datetime] = {}
    rows: list[dict[str, Any]] = []
    for batch in batches:
        known = OptOuts(out, heard)
        rows += [row for one in batch for row in known.records(one, None)]
        out, heard = known.out, known.heard
    return max(rows, key=lambda row: row["happened_at"])["opted_out"] if rows else None


@pytest.mark.parametrize("out", [STOP, REFUSED, HEALTH])
def test_who_writes_after_an_opt_out_is_in_again(out: ArchivedEvent) -> None:
    back = said("back again", 5)
    for events in permutations([out, back]):
        assert last_word(list(events)) is False
        assert last_word(*([one] for one in events)) is False


@pytest.mark.parametrize("out", [STOP, REFUSED, HEALTH])
def test_who_wrote_before_stays_out(out: ArchivedEvent) -> None:
    for events in permutations([out, said("hello", -5)]):
        assert last_word(list(events)) is True
        assert last_word(*([one] for one in events)) is True


def test_a_message_in_a_group_is_no_word_for_the_chat() -> None:
    assert last_word([REFUSED, said("hello", 5, is_group=True)]) is True


def test_who_has_never_opted_out_has_no_row() -> None:
    assert last_word([said("hello", 0), said("hello", 5)]) is None


def test_of_more_people_than_state_knows_each_comes_back() -> None:
    crowd = [said("STOP", number / 100, f"p{number}@example.com") for number in range(MAX_OPTED_OUT + 1)]
    known = OptOuts({}, {})
    for one in crowd:
        list(known.records(one, None))
    later = OptOuts(known.out, known.heard)
    rows = [row for _ in range(2) for row in later.records(said("back", 60, "p0@example.com"), None)]
    assert [row["opted_out"] for row in rows] == [False]
