"""What becomes of a message that both the API and events tell of: the better row stays."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from linq_client import LinqClient
from linq_webhooks.archive import StoredEvent, open_archive
from tap_linq.extraction import message_fold
from tests.support.archiving_receiver import Receiver
from tests.support.emulator_process import Emulator
from tests.support.running import (
    FIRST_LINE,
    PERSON,
    SECOND_LINE,
    Output,
    chat_ids,
    history,
    inbound,
    set_window,
    succeed,
)

HOUR = 3600
#: Without edits and reactions: what the API shows of those, no event tells.
FEW = ("message.sent", "message.received")


@pytest.fixture
def receiver(emulator: Emulator, tmp_path: Path) -> Iterator[Receiver]:
    set_window(emulator, 1)
    with Receiver(emulator, f"sqlite:///{tmp_path}/archive.db") as started:
        yield started


def run(emulator: Emulator, receiver: Receiver, state: dict[str, Any] | None = None, **more: Any) -> Output:
    receiver.settle()
    archive = {"retention_window_hours": 1, "phone_numbers": [FIRST_LINE], "webhook_archive": receiver.url}
    return succeed(emulator, state=state, **{**archive, **more})


def edit(emulator: Emulator, message_id: str, text: str) -> None:
    emulator.control("POST", "edits", {"message_id": message_id, "text": text})


def rows_of(message_id: str, *outputs: Output) -> list[dict[str, Any]]:
    return [row for one in outputs for row in one.records("messages") if row["id"] == message_id]


def test_an_event_that_comes_after_the_message_has_expired(
    emulator: Emulator, receiver: Receiver, tmp_path: Path
) -> None:
    seen = {"seen_path": str(tmp_path / "seen")}
    receiver.subscribe(events=FEW)
    history(emulator)
    first = run(emulator, receiver, **seen)
    receiver.is_up = False
    message = inbound(emulator, "before")
    emulator.advance(60)
    edit(emulator, message, "after")
    emulator.advance(60)
    second = run(emulator, receiver, first.state, **seen)
    receiver.is_up = True
    emulator.advance(30 * 60)
    receiver.settle()
    emulator.advance(3 * HOUR)
    third = run(emulator, receiver, second.state, **seen)
    assert message in [row["message_id"] for row in third.records("message_events")]
    assert [row["text"] for row in rows_of(message, second, third)] == ["after"]


def test_an_archive_that_is_new_to_an_older_table(emulator: Emulator, receiver: Receiver, tmp_path: Path) -> None:
    seen = {"seen_path": str(tmp_path / "seen")}
    receiver.subscribe(events=FEW)
    history(emulator)
    message = inbound(emulator, "before")
    emulator.advance(60)
    edit(emulator, message, "after")
    emulator.advance(60)
    first = run(emulator, receiver, webhook_archive=None, **seen)
    missed = inbound(emulator, "that no run has seen")
    emulator.advance(3 * HOUR)
    second = run(emulator, receiver, first.state, **seen)
    assert [row["text"] for row in rows_of(message, first, second)] == ["after"]
    assert [row["source"] for row in rows_of(missed, second)] == ["webhook"]


@pytest.mark.parametrize("later", [["message_events"], ["message_events", "attachments"]])
def test_a_stream_that_is_selected_later_repeats_no_message(
    emulator: Emulator, receiver: Receiver, later: list[str]
) -> None:
    select = ["messages", "webhook_events"]
    receiver.subscribe(events=FEW)
    history(emulator)
    message = inbound(emulator, "before")
    emulator.advance(60)
    edit(emulator, message, "after")
    emulator.advance(60)
    first = run(emulator, receiver, select=select)
    missed = inbound(emulator, "that no run has seen")
    emulator.advance(3 * HOUR)
    second = run(emulator, receiver, first.state, select=[*select, *later])
    assert [row["text"] for row in rows_of(message, first, second)] == ["after"]
    assert [row["source"] for row in rows_of(missed, second)] == ["webhook"]
    assert len(second.records("message_events")) == len(second.records("webhook_events")) == 4
    assert run(emulator, receiver, second.state, select=[*select, *later]).records("webhook_events") == []


def test_a_reading_that_is_killed_continues(
    emulator: Emulator, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each STATE of a run that reads again from the start leads to the same rows in the end."""
    monkeypatch.setattr("tap_linq.extraction.archive_pass.PAGE_SIZE", 2)
    monkeypatch.setattr("tap_linq.extraction.archive_pass.PAGES_A_CHUNK", 1)
    select = ["messages", "webhook_events"]
    receiver.subscribe(events=FEW)
    history(emulator)
    message = inbound(emulator, "before")
    emulator.advance(60)
    edit(emulator, message, "after")
    emulator.advance(60)
    first = run(emulator, receiver, select=select)
    missed = inbound(emulator, "that no run has seen")
    emulator.advance(3 * HOUR)
    select.append("message_events")
    whole = run(emulator, receiver, first.state, select=select)
    places = [at for at, one in enumerate(whole.messages) if one["type"] == "STATE"]
    assert len(places) > 3
    for at in places:
        before = Output(whole.messages[: at + 1], None)
        rest = run(emulator, receiver, before.state, select=select)
        assert rows_of(message, before, rest) == []
        assert {row["source"] for row in rows_of(missed, before, rest)} == {"webhook"}
        events = {row["id"] for one in (before, rest) for row in one.records("message_events")}
        assert events == {row["id"] for row in whole.records("message_events")}


def test_a_message_whose_events_lie_far_apart(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older event comes after newer ones, when the run has forgotten these."""
    monkeypatch.setattr(message_fold, "MAX_KNOWN", 3)
    monkeypatch.setattr("tap_linq.extraction.archive_pass.PAGE_SIZE", 4)
    monkeypatch.setattr("tap_linq.extraction.archive_pass.PAGES_A_CHUNK", 1)
    set_window(emulator, 1)
    url = f"sqlite:///{tmp_path}/archive.db"
    ours = {**message("M", "before"), "direction": "outbound"}
    love = {"message_id": "M", "chat_id": "c", "part_index": 0, "reaction_id": "r", "reaction_type": "love"}
    events = [
        event("message.sent", ours, 0),
        event("message.edited", {**ours, "parts": None, "part": {"index": 0, "text": "after"}, "edited_at": at(3)}, 3),
        event("message.read", {**message("M", "after"), "direction": "outbound", "read_at": at(4)}, 4),
        event("reaction.added", {**love, "is_from_me": False, "from_handle": {"handle": PERSON}}, 5),
        *(event("message.received", message(f"other {number}", "x"), 6) for number in range(12)),
        event("message.delivered", {**ours, "delivered_at": at(1)}, 1),
    ]
    archive = open_archive(url)
    archive.append(events)
    archive.close()
    output = succeed(emulator, webhook_archive=url, retention_window_hours=1)
    row = rows_of("M", output)[-1]
    assert (row["text"], row["delivery_status"]) == ("after", "read")
    assert [one["type"] for one in row["parts"][0]["reactions"]] == ["love"]


def at(minute: int) -> str:
    return f"2026-02-01T12:{minute:02}:00Z"


def message(message_id: str, text: str) -> dict[str, Any]:
    return {
        "id": message_id,
        "direction": "inbound",
        "sender_handle": {"handle": PERSON},
        "chat": {"id": "c", "owner_handle": {"handle": FIRST_LINE}, "is_group": False},
        "parts": [{"type": "text", "value": text}],
        "sent_at": at(0),
    }


def event(kind: str, data: dict[str, Any], minute: int) -> StoredEvent:
    event_id = f"{kind} {data.get('id')} {minute}"
    fields = {"event_id": event_id, "event_type": kind, "created_at": at(minute), "data": data}
    received = datetime(2026, 2, 1, 13, tzinfo=timezone.utc)
    return StoredEvent(event_id, kind, None, received, {}, json.dumps(fields).encode())


def test_a_deleted_message_keeps_its_text(emulator: Emulator, receiver: Receiver) -> None:
    emulator.control("PATCH", "switches", {"tombstones": True})
    receiver.subscribe()
    history(emulator)
    deleted = inbound(emulator, "what it said")
    emulator.advance(60)
    with LinqClient(emulator.api_key, base_url=emulator.base_url) as client:
        client.messages.delete(deleted)
    emulator.advance(300)
    first = run(emulator, receiver)
    # The API shows it without its parts in each sweep of its life.
    second = run(emulator, receiver, first.state, full_sweep_interval_hours=0)
    for output in (first, second):
        assert rows_of(deleted, output)[-1]["text"] == "what it said"
        assert rows_of(deleted, output)[-1]["source"] == "webhook"


@pytest.mark.parametrize("hours", [0.1, 3])
def test_an_event_that_names_only_its_chat(emulator: Emulator, receiver: Receiver, hours: float) -> None:
    """Those of a line that is not to be extracted stay out, and the others have their line."""
    receiver.subscribe()
    history(emulator)
    inbound(emulator, line=SECOND_LINE)
    with LinqClient(emulator.api_key, base_url=emulator.base_url) as client:
        ours = client.messages.send(chat_ids(emulator)[0], "of the first line").message.id
        other = client.messages.send(chat_ids(emulator, SECOND_LINE)[0], "of the second line").message.id
    emulator.advance(60)
    first = run(emulator, receiver)
    emulator.advance(10)
    for one in (ours, other):
        emulator.control("POST", "receipts", {"message_id": one, "status": "failed", "code": 4001})
    emulator.advance(int(hours * HOUR))
    second = run(emulator, receiver, first.state)
    assert other not in [*first.ids(), *second.ids()]
    rows = [*second.records("messages"), *second.records("message_events"), *second.records("webhook_events")]
    assert {row["line"] for row in rows} == {FIRST_LINE}
    assert [row["message_id"] for row in second.records("message_events") if row["change"] == "failed"] == [ours]
