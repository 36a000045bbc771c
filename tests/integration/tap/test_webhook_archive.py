"""What a run makes of the webhook archive beside the API."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from linq_client import LinqClient
from tap_linq.extraction.session import GapError, IncompleteRunError
from tests.support.archiving_receiver import EVENTS, Receiver
from tests.support.emulator_process import Emulator
from tests.support.running import (
    FIRST_LINE,
    PERSON,
    SECOND_LINE,
    Output,
    history,
    inbound,
    run_tap,
    served,
    set_window,
    succeed,
)

HOUR = 3600
KEY = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="


@pytest.fixture
def receiver(emulator: Emulator, tmp_path: Path) -> Iterator[Receiver]:
    set_window(emulator, 1)
    with Receiver(emulator, f"sqlite:///{tmp_path}/archive.db") as started:
        yield started


def options(receiver: Receiver, **more: Any) -> dict[str, Any]:
    receiver.settle()
    return {
        "retention_window_hours": 1,
        "phone_numbers": [FIRST_LINE],
        "webhook_archive": receiver.url,
        **more,
    }


def run(emulator: Emulator, receiver: Receiver, state: dict[str, Any] | None = None, **more: Any) -> Output:
    return succeed(emulator, state=state, **options(receiver, **more))


def by_id(output: Output, stream: str = "messages") -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in output.records(stream)}


def send(emulator: Emulator, chat_id: str, text: str = "An answer.") -> str:
    with LinqClient(emulator.api_key, base_url=emulator.base_url) as client:
        return client.messages.send(chat_id, text).message.id


def chat_of(emulator: Emulator) -> str:
    return str(emulator.ledger()[0]["chat_id"])


@pytest.mark.parametrize("version", ["2026-02-03", "2025-01-01"])
@pytest.mark.parametrize("kind", ["folder", "database"])
def test_a_message_that_only_a_webhook_saw(emulator: Emulator, tmp_path: Path, kind: str, version: str) -> None:
    set_window(emulator, 1)
    url = str(tmp_path / "archive") if kind == "folder" else f"sqlite:///{tmp_path}/archive.db"
    with Receiver(emulator, url) as receiver:
        receiver.subscribe(version)
        seen = history(emulator)
        first = run(emulator, receiver)
        emulator.advance(60)
        missed = inbound(emulator, "only for a while")
        sent = send(emulator, chat_of(emulator))
        emulator.advance(3 * HOUR)
        second = run(emulator, receiver, first.state)
        rows = by_id(second)
        assert set(by_id(first)) == set(seen)
        assert {row["source"] for row in first.records("messages")} == {"api"}
        assert set(rows) == {missed, sent}
        shape = ("source", "text", "direction", "line", "from", "is_from_me", "delivery_status")
        assert [rows[missed][name] for name in shape] == [
            *("webhook", "only for a while", "inbound", FIRST_LINE, PERSON, False, "received")
        ]
        assert [rows[sent][name] for name in shape[:-1]] == [
            *("webhook", "An answer.", "outbound", FIRST_LINE, FIRST_LINE, True)
        ]
        assert rows[missed]["created_at"].replace(".000", "") == "2026-03-01T12:11:00Z"
        assert rows[missed]["expires_at"] == "2026-03-01T13:11:00Z"
        known = set(by_id(first)[seen[0]])
        assert set(rows[missed]) == known
        assert run(emulator, receiver, second.state).records("messages") == []


def test_events_come_once_and_go_on_where_the_last_run_ended(emulator: Emulator, receiver: Receiver) -> None:
    receiver.subscribe()
    history(emulator)
    first = run(emulator, receiver)
    inbound(emulator)
    second = run(emulator, receiver, first.state)
    third = run(emulator, receiver, second.state)
    types = [sorted(row["event_type"] for row in one.records("webhook_events")) for one in (first, second, third)]
    assert types == [["chat.created", "message.received", "message.received"], ["message.received"], []]
    (row,) = second.records("webhook_events")
    assert row["line"] == FIRST_LINE
    assert row["data"]["parts"][0]["value"] == "hello"
    again = run(emulator, receiver)
    assert len(again.records("webhook_events")) == 4


def test_a_repeated_event_comes_once_in_a_run(emulator: Emulator, tmp_path: Path) -> None:
    with Receiver(emulator, str(tmp_path / "archive")) as receiver:
        for number in (1, 2, 1, 1):
            body = json.dumps({"event_id": f"e{number}", "event_type": "call.ended", "data": {}}).encode()
            receiver.append(f"e{number}", "call.ended", body, {})
        output = run(emulator, receiver)
        assert output.ids("webhook_events") == ["e1", "e2"]


def test_what_lives_comes_from_the_api(emulator: Emulator, receiver: Receiver) -> None:
    """A receipt in a quiet chat, which a pass does not read: the event says that there is something new."""
    emulator.control("PATCH", "switches", {"delivery_moves_message": False})
    receiver.subscribe()
    history(emulator)
    sent = send(emulator, chat_of(emulator))
    emulator.advance(5)
    first = run(emulator, receiver, full_sweep_interval_hours=0.25)
    emulator.advance(11 * 60)
    emulator.control("POST", "receipts", {"message_id": sent, "status": "read"})
    before = served(emulator, f"/v3/messages/{sent}")
    second = run(emulator, receiver, first.state, full_sweep_interval_hours=0.25)
    assert served(emulator, f"/v3/messages/{sent}") == before + 1
    (row,) = [row for row in second.records("messages") if row["id"] == sent]
    assert (row["source"], row["delivery_status"]) == ("api", "read")
    assert "reactions" in row["parts"][0], "as only the API has it"


def test_what_a_pass_has_shown_is_not_asked_for(emulator: Emulator, receiver: Receiver) -> None:
    receiver.subscribe()
    ids = history(emulator)
    output = run(emulator, receiver)
    assert sorted(output.ids()) == sorted(ids)
    assert not [row for row in emulator.requests_served() if row["path"].startswith("/v3/messages/")]


def test_changes_after_expiry_come_from_events(emulator: Emulator, receiver: Receiver) -> None:
    receiver.subscribe()
    history(emulator)
    edited = inbound(emulator, "before")
    failed = send(emulator, chat_of(emulator), "will fail")
    first = run(emulator, receiver)
    assert by_id(first)[edited]["text"] == "before"
    emulator.control("POST", "edits", {"message_id": edited, "text": "after"})
    emulator.control("POST", "receipts", {"message_id": failed, "status": "failed", "code": 4001})
    emulator.advance(3 * HOUR)
    second = run(emulator, receiver, first.state)
    row = by_id(second)[edited]
    assert (row["text"], row["source"]) == ("after", "webhook")
    assert row["created_at"] == by_id(first)[edited]["created_at"].replace(".000", "")
    changes = {row["change"]: row for row in second.records("message_events")}
    assert (changes["edited"]["message_id"], changes["edited"]["text"]) == (edited, "after")
    assert (changes["failed"]["message_id"], changes["failed"]["code"]) == (failed, 4001)
    assert changes["failed"]["reason"]


def test_an_edit_says_what_was_there_before(emulator: Emulator, receiver: Receiver) -> None:
    receiver.subscribe()
    history(emulator)
    edited = inbound(emulator, "one")
    for text in ("two", "three"):
        emulator.advance(10)
        emulator.control("POST", "edits", {"message_id": edited, "text": text})
    rows = [row for row in run(emulator, receiver).records("message_events") if row["change"] == "edited"]
    rows.sort(key=lambda row: str(row["happened_at"]))
    assert [(row["text_before"], row["text"], row["part_index"]) for row in rows] == [
        ("one", "two", 0),
        ("two", "three", 0),
    ]


def test_opting_out_and_in_again(emulator: Emulator, receiver: Receiver) -> None:
    receiver.subscribe()
    history(emulator)
    stop = inbound(emulator, " STOP ")
    first = run(emulator, receiver)
    rows = {row["evidence"]: row for row in first.records("opt_outs")}
    assert set(rows) == {"keyword", "health_status"}
    assert (rows["keyword"]["handle"], rows["keyword"]["opted_out"], rows["keyword"]["message_id"]) == (
        PERSON, True, stop,
    )  # fmt: skip
    assert PERSON not in json.dumps(first.state), "STATE holds no handles"
    emulator.advance(60)
    back = inbound(emulator, "please stop by tomorrow")
    receiver.settle()  # what is delivered together comes in any order
    inbound(emulator, "and bring cake")
    (row,) = run(emulator, receiver, first.state).records("opt_outs")
    assert (row["handle"], row["opted_out"], row["evidence"], row["message_id"]) == (PERSON, False, "message", back)


BROKEN = [
    b"",
    b"\xff\x00",
    b"[1]",
    b'"text"',
    b"{",
    b'{"event_type": "message.received"}',
    b'{"data": [1], "event_id": 7}',
]
ODD_DATA: list[Any] = [
    {},
    {"id": 5},
    {"id": "m", "chat": "x", "parts": {"a": 1}, "direction": 7},
    {"id": "m", "chat": {"id": 3, "owner_handle": 4}, "parts": [None, {"type": 1}], "sender_handle": []},
    {"id": "m", "chat": {}, "parts": None, "sent_at": "yesterday", "delivery_status": {}},
    {"message": {"id": "n"}, "is_from_me": "no", "chat_id": {}},
    {"id": "m", "part": {"index": "0", "text": 3}, "edited_at": 0},
    {"message_id": "m", "code": "4001", "failed_at": []},
]


def test_a_broken_event_is_kept_and_ends_nothing(
    emulator: Emulator, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    for place, body in enumerate(BROKEN):
        receiver.append(f"broken{place}", "message.received", body, {})
    kinds = ("sent", "received", "delivered", "read", "failed", "edited", "new")
    for place, data in enumerate(ODD_DATA):
        for kind in kinds:
            fields = {"event_type": f"message.{kind}", "created_at": "2026-02-01T00:00:00Z", "data": data}
            receiver.append(f"odd{place}{kind}", f"message.{kind}", json.dumps(fields).encode(), {})
    receiver.subscribe()
    history(emulator)
    output = run(emulator, receiver)
    rows = by_id(output, "webhook_events")
    assert len(rows) == len(BROKEN) + len(kinds) * len(ODD_DATA) + 3
    assert sum(row["error"] is not None for row in rows.values()) == len(BROKEN)
    assert rows["broken2"]["body"] == "[1]"
    assert f"{len(BROKEN)} events can't be read" in caplog.text
    assert len([row for row in output.records("messages") if row["source"] == "api"]) == 2


def test_events_of_other_lines_are_left_out(emulator: Emulator, receiver: Receiver) -> None:
    receiver.subscribe()
    inbound(emulator)
    other = inbound(emulator, line=SECOND_LINE)
    emulator.advance(3 * HOUR)
    output = run(emulator, receiver)
    assert {row["line"] for row in output.records("messages")} == {FIRST_LINE}
    assert {row["line"] for row in output.records("webhook_events")} == {FIRST_LINE}
    everything = run(emulator, receiver, phone_numbers=None)
    assert other in everything.ids()


def test_an_archive_that_cannot_be_read(emulator: Emulator, tmp_path: Path) -> None:
    with Receiver(emulator, str(tmp_path / "archive"), key=KEY.encode()) as receiver:
        receiver.subscribe()
        ids = history(emulator)
        failed = run_tap(emulator, **options(receiver))
        assert isinstance(failed.error, IncompleteRunError)
        assert "the webhook archive" in str(failed.error)
        assert sorted(failed.ids()) == sorted(ids), "all else is extracted"
        assert failed.bookmarks()
        output = run(emulator, receiver, failed.state, webhook_archive_key=KEY)
        assert len(output.records("webhook_events")) == 3


def test_a_position_of_another_archive_is_not_used(emulator: Emulator, receiver: Receiver, tmp_path: Path) -> None:
    receiver.subscribe()
    history(emulator)
    state = run(emulator, receiver).state
    with Receiver(emulator, f"sqlite:///{tmp_path}/other.db") as other:
        other.append("e1", "call.ended", b'{"data": {}}', {})
        assert run(emulator, other, state).ids("webhook_events") == ["e1"]


def test_streams_that_are_new_get_all_events(emulator: Emulator, receiver: Receiver) -> None:
    receiver.subscribe()
    history(emulator)
    first = succeed(emulator, select=["messages", "webhook_events"], **options(receiver))
    select = ["messages", "webhook_events", "message_events"]
    second = succeed(emulator, state=first.state, select=select, **options(receiver))
    assert len(second.records("message_events")) == 2
    assert succeed(emulator, state=second.state, select=select, **options(receiver)).records("message_events") == []


def test_events_alone(emulator: Emulator, receiver: Receiver) -> None:
    receiver.subscribe()
    history(emulator)
    output = succeed(emulator, select=["webhook_events"], **options(receiver))
    assert len(output.records("webhook_events")) == 3
    assert served(emulator, "/v3/chats") == 0


def test_state_is_bounded(emulator: Emulator, receiver: Receiver) -> None:
    """However long the archive, and however many silences and people who opted out are in it."""
    start = 1_770_000_000
    for number in range(1_100):
        at = start + number * 1_000
        data = {
            "id": f"m{number}",
            "direction": "inbound",
            "sender_handle": {"handle": f"+1212555{number % 100 + 100:04}x{number}"},
            "chat": {"id": "c", "owner_handle": {"handle": FIRST_LINE}},
            "parts": [{"type": "text", "value": "STOP"}],
        }
        body = json.dumps({"event_type": "message.received", "data": data}).encode()
        receiver.append(f"e{number}", "message.received", body, {"webhook-timestamp": str(at)})
    output = run(emulator, receiver)
    assert len(output.records("opt_outs")) == 1_100
    (bookmark,) = [one for name, one in output.state["bookmarks"].items() if name == "webhook_events"]
    assert len(json.dumps(bookmark)) < 64_000


def test_files_of_messages_that_only_events_told_of(emulator: Emulator, receiver: Receiver, tmp_path: Path) -> None:
    """The URL in the event has expired; the API gives a fresh one, as long as it has the bytes."""
    receiver.subscribe()
    with LinqClient(emulator.api_key, base_url=emulator.base_url) as client:
        attachment = client.attachments.upload(b"a menu", filename="menu.pdf", content_type="application/pdf")
    first = run(emulator, receiver)
    inbound(emulator, parts=[{"type": "media", "attachment_id": attachment}])
    emulator.advance(2 * HOUR)
    files = tmp_path / "files"
    second = run(emulator, receiver, first.state, attachments_path=str(files))
    (row,) = second.records("attachments")
    assert row["error"] is None
    assert Path(row["stored_at"]).read_bytes() == b"a menu"


@pytest.mark.parametrize(("status", "source"), [(404, "api"), (503, "webhook")])
def test_a_message_whose_line_nobody_says_is_not_lost(
    emulator: Emulator, receiver: Receiver, caplog: pytest.LogCaptureFixture, status: int, source: str
) -> None:
    """Neither its event nor a list says which line it is of, and its chat is not there, or can't be read for now."""
    message = inbound(emulator, "of an unknown line")
    data = {
        "id": message,
        "direction": "inbound",
        "chat": {"id": chat_of(emulator)},
        "sender_handle": {"handle": PERSON},
        "parts": [{"type": "text", "value": "of an unknown line"}],
        "sent_at": "2026-03-01T12:00:00Z",
    }
    fields = {"event_type": "message.received", "created_at": "2026-03-01T12:00:00Z", "data": data}
    receiver.append("e1", "message.received", json.dumps(fields).encode(), {})
    emulator.fault("status", path="^/v3/chats$", status=404)
    emulator.fault("status", path="^/v3/chats/", status=status)
    output = run_tap(emulator, **options(receiver, phone_numbers=None, outage_patience_minutes=0))
    (row,) = output.records("messages")
    assert (row["id"], row["source"], row["line"]) == (message, source, None)
    assert (f"message {message} could not be read" in caplog.text) == (source == "webhook")


# Gaps.


def talk(emulator: Emulator, minutes: int) -> list[str]:
    """A message in each of some minutes."""
    ids = []
    for _ in range(minutes):
        ids.append(inbound(emulator))
        emulator.advance(60)
    return ids


def test_a_gap_that_the_archive_covers_is_a_gap_all_the_same(emulator: Emulator, receiver: Receiver) -> None:
    receiver.subscribe()
    emulator.advance(60)
    talk(emulator, 3)
    first = run(emulator, receiver)
    ids = talk(emulator, 40)
    emulator.advance(50 * 60)
    second = run_tap(emulator, state=first.state, **options(receiver, on_gap="fail"))
    assert isinstance(second.error, GapError), "deliveries are a sign and no proof"
    assert set(ids) <= set(second.ids())
    (row,) = second.records("extraction_gaps")
    assert (row["archive_coverage"], row["gap_start"], row["gap_end"]) == (
        "full", "2026-03-01T12:04:00Z", "2026-03-01T12:34:00Z",
    )  # fmt: skip
    assert row["covered"] == [{"start": row["gap_start"], "end": row["gap_end"]}]


def test_a_gap_of_both_is_told_exactly(emulator: Emulator, receiver: Receiver) -> None:
    receiver.subscribe()
    emulator.advance(60)
    talk(emulator, 3)
    first = run(emulator, receiver)
    talk(emulator, 10)
    receiver.settle()
    receiver.is_up = False
    lost = talk(emulator, 60)
    receiver.settle()
    receiver.is_up = True
    talk(emulator, 10)
    emulator.advance(2 * HOUR)
    second = run_tap(emulator, state=first.state, **options(receiver, on_gap="fail"))
    assert isinstance(second.error, GapError)
    (row,) = second.records("extraction_gaps")
    assert row["archive_coverage"] == "partial"
    (before, after) = row["covered"]
    missing = [one["created_at"] for one in emulator.ledger() if one["id"] in set(lost) - set(second.ids())]
    assert missing, "the receiver was out for longer than the platform repeats"
    assert before == {"start": "2026-03-01T12:04:00Z", "end": "2026-03-01T12:13:00Z"}
    assert before["end"] <= min(missing)
    assert max(missing) < after["start"]
    assert f"those from {before['start']} to {before['end']}" in str(second.error)


@pytest.mark.parametrize(
    "subscription",
    [{"events": ["message.sent"]}, {"lines": [SECOND_LINE]}, {"events": [one for one in EVENTS if "sent" not in one]}],
)
def test_a_subscription_that_lacks_something_covers_nothing(
    emulator: Emulator, receiver: Receiver, subscription: dict[str, Any]
) -> None:
    receiver.subscribe(**subscription)
    talk(emulator, 3)
    first = run(emulator, receiver)
    talk(emulator, 40)
    emulator.advance(50 * 60)
    (row,) = run(emulator, receiver, first.state).records("extraction_gaps")
    assert row["archive_coverage"] == "none"


def test_a_subscription_that_was_changed_covers_what_came_since(emulator: Emulator, receiver: Receiver) -> None:
    id_ = receiver.subscribe()
    emulator.advance(60)
    talk(emulator, 3)
    first = run(emulator, receiver)
    talk(emulator, 20)
    with LinqClient(emulator.api_key, base_url=emulator.base_url) as client:
        client.webhook_subscriptions.update(id_, is_active=False)
        client.webhook_subscriptions.update(id_, is_active=True)
    talk(emulator, 20)
    emulator.advance(50 * 60)
    (row,) = run(emulator, receiver, first.state).records("extraction_gaps")
    assert row["archive_coverage"] == "partial"
    assert row["covered"] == [{"start": "2026-03-01T12:24:00Z", "end": "2026-03-01T12:34:00Z"}]


def test_api_and_events_are_compared(emulator: Emulator, receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    receiver.subscribe()
    talk(emulator, 5)
    state: dict[str, Any] | None = None
    for _ in range(3):
        output = run(emulator, receiver, state, full_sweep_interval_hours=0)
        state = output.state
        assert output.records("webhook_gaps") == []
        talk(emulator, 20)
    receiver.settle()
    receiver.is_up = False
    lost = talk(emulator, 5)
    emulator.advance(45 * 60)
    (row,) = run(emulator, receiver, state, full_sweep_interval_hours=0).records("webhook_gaps")
    assert (row["line"], row["unannounced"], row["unlisted"]) == (FIRST_LINE, 5, 0)
    assert sorted(row["unannounced_ids"]) == sorted(lost)
    assert "the API shows 5 that no event has announced" in caplog.text


def test_without_the_setting_nothing_of_it_is_loaded(emulator: Emulator) -> None:
    code = (
        "import sys; from tap_linq.tap import TapLinq; tap = TapLinq(config={'api_key': 'key'}); "
        "print([one for one in sys.modules if one.startswith('linq_webhooks')], *tap.streams)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.startswith("[] ")
    assert "webhook_events" not in found
    output = succeed(emulator, phone_numbers=[FIRST_LINE])
    assert "webhook_events" not in output.state["bookmarks"]


def test_the_place_in_the_archive_outlives_a_run_without_it(emulator: Emulator, receiver: Receiver) -> None:
    receiver.subscribe()
    history(emulator)
    first = run(emulator, receiver)
    between = run(emulator, receiver, first.state, webhook_archive=None)
    assert run(emulator, receiver, between.state).records("webhook_events") == []


def test_lines_that_the_last_run_left_out_are_read_from_the_start(emulator: Emulator, receiver: Receiver) -> None:
    receiver.subscribe()
    history(emulator)
    inbound(emulator, line=SECOND_LINE)
    both = run(emulator, receiver, phone_numbers=None)
    missed = inbound(emulator, line=SECOND_LINE)
    narrow = run(emulator, receiver, both.state)
    emulator.advance(2 * HOUR)
    wide = run(emulator, receiver, narrow.state, phone_numbers=None)
    assert missed not in narrow.ids()
    assert missed in wide.ids()
    assert missed in {row["message_id"] for row in wide.records("webhook_events")}
    assert run(emulator, receiver, wide.state).records("webhook_events") == [], "fewer lines are no reason"


@pytest.mark.parametrize("hours", [24, "null"])
def test_a_line_forgets_sooner_than_the_settings_say(
    emulator: Emulator, receiver: Receiver, hours: float | str
) -> None:
    receiver.subscribe()
    history(emulator)
    settings = {"retention_window_hours": hours, "full_sweep_interval_hours": 1}
    first = run(emulator, receiver, **settings)
    missed = inbound(emulator)
    emulator.advance(2 * HOUR)
    second = run(emulator, receiver, first.state, **settings)
    assert by_id(second)[missed]["source"] == "webhook"


def test_a_message_that_was_deleted_before_a_full_sweep(emulator: Emulator, receiver: Receiver) -> None:
    receiver.subscribe()
    history(emulator)
    deleted = inbound(emulator)
    emulator.advance(60)
    with LinqClient(emulator.api_key, base_url=emulator.base_url) as client:
        client.messages.delete(deleted)
    emulator.advance(300)
    assert deleted in run(emulator, receiver).ids()


@pytest.mark.parametrize("more", [0, 30])
def test_a_database_that_was_made_again_hides_nothing(
    emulator: Emulator, receiver: Receiver, tmp_path: Path, more: int
) -> None:
    receiver.subscribe()
    history(emulator)
    first = run(emulator, receiver)
    with closing(sqlite3.connect(tmp_path / "archive.db")) as database, database:
        database.execute("delete from linq_webhook_events")
        database.execute("update linq_webhook_archive set last_position = 0")
    missed = inbound(emulator)
    receiver.settle()
    for number in range(more):
        receiver.append(f"e{number}", "call.ended", b"{}", {})
    emulator.advance(2 * HOUR)
    assert missed in run(emulator, receiver, first.state).ids()


def test_an_archive_without_events_is_said_to_be_none(
    emulator: Emulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    history(emulator)
    with Receiver(emulator, str(tmp_path / "archive")) as receiver:
        receiver.append("e", "call.ended", b"{}", {})
        first = run(emulator, receiver)
        assert "holds no events" not in caplog.text
        (tmp_path / "archive").rename(tmp_path / "unmounted")
        second = run(emulator, receiver, first.state)
        assert "holds no events" in caplog.text
        (tmp_path / "unmounted").rename(tmp_path / "archive")
        receiver.append("f", "call.ended", b"{}", {})
        assert run(emulator, receiver, second.state).ids("webhook_events") == ["f"]
