"""Which kind of pass a line gets, what it reads, and how it finds out that it can't rely on what chats show."""

from __future__ import annotations

import json
import logging
from datetime import datetime, timezone
from typing import Any

import pytest

from tap_linq.extraction.line_pass import LinePass
from tap_linq.extraction.state import Coverage, LineState
from tests.support.emulator_process import Emulator
from tests.support.running import FIRST_LINE, Output, chat_ids, history, inbound, run_tap, seed, set_window, succeed

HOUR = 3600


@pytest.fixture(autouse=True)
def one_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def run(emulator: Emulator, before: Output | None = None, **settings: Any) -> Output:
    return succeed(emulator, state=before.state if before else None, phone_numbers=[FIRST_LINE], **settings)


def line_state(output: Output) -> dict[str, Any]:
    (partition,) = output.state["bookmarks"]["messages"]["partitions"]
    return partition


def chats_read(emulator: Emulator) -> int:
    """How many requests for messages of chats there were since this was asked last."""
    count = sum(row["path"].endswith("/messages") for row in emulator.requests_served())
    before, chats_read.before = getattr(chats_read, "before", 0), count  # type: ignore[attr-defined]
    return count - before


@pytest.fixture(autouse=True)
def from_nought() -> None:
    chats_read.before = 0  # type: ignore[attr-defined]


def fill(emulator: Emulator, chats: int = 200) -> list[str]:
    """Chats whose last message is more than an hour old, one of which has advanced with it."""
    set_window(emulator, 24)
    seed(emulator, chats, 1, hours=1, lines=[FIRST_LINE])
    history(emulator)
    emulator.advance(HOUR)
    return chat_ids(emulator)


def test_an_incremental_pass_reads_what_was_active_and_a_sample(
    emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    fill(emulator)
    first = run(emulator)
    assert chats_read(emulator) == 201
    assert "full sweep, as STATE has no pass over this line" in caplog.text
    emulator.advance(HOUR)
    new = inbound(emulator)
    emulator.advance(300)
    second = run(emulator, first)
    assert second.ids() == [new]
    assert chats_read(emulator) == 1 + 64
    assert "incremental pass, as the last full sweep is 1.1 h ago" in caplog.text
    assert len(first.records("chats")) == 201
    assert second.ids("chats") == [second.records("messages")[0]["chat_id"]]
    assert {row["chat_id"] for row in second.records("chat_participants")} == set(second.ids("chats"))
    assert line_state(second)["swept_at"] == line_state(first)["swept_at"]


def test_a_sweep_is_due_after_a_quarter_of_the_window(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    fill(emulator)
    first = run(emulator)
    emulator.advance(5 * HOUR)
    second = run(emulator, first)
    assert second.ids() == []
    emulator.advance(HOUR)
    caplog.clear()
    third = run(emulator, second)
    assert "full sweep, as the last one is 6.0 h ago, and one is due every 6.0 h" in caplog.text
    assert set(third.ids()) == {row["id"] for row in emulator.ledger()}
    assert line_state(third)["swept_at"] > line_state(first)["swept_at"]


def test_a_chat_that_lags_makes_it_a_sweep_now_and_from_then_on(
    emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    chats = fill(emulator, 60)
    first = run(emulator)
    assert line_state(first)["updated_at_reliable"] is True
    emulator.control("PATCH", "switches", {"message_moves_chat": False})
    emulator.advance(HOUR)
    people = {
        row["chat_id"]: row["from"] if row["direction"] == "inbound" else row["to"][0] for row in emulator.ledger()
    }
    new = inbound(emulator, chat_id=chats[5], **{"from": people[chats[5]]})
    emulator.advance(300)
    second = run(emulator, first)
    assert "turns into a full sweep, as updated_at of a chat lags behind its messages" in caplog.text
    assert new in second.ids()
    assert sorted(second.ids()) == sorted(row["id"] for row in emulator.ledger()), "each once, also of chats read twice"
    assert line_state(second)["updated_at_reliable"] is False

    emulator.advance(60)
    third = run(emulator, second)
    assert "full sweep, as updated_at of chats has been seen to lag behind their messages" in caplog.text
    assert set(third.ids()) == {row["id"] for row in emulator.ledger()}


def test_a_line_is_trusted_again_when_nothing_contradicts_any_more(emulator: Emulator) -> None:
    set_window(emulator, 2)
    emulator.control("PATCH", "switches", {"message_moves_chat": False})
    history(emulator)
    output = run(emulator, retention_window_hours=2)
    assert line_state(output)["updated_at_reliable"] is False
    emulator.control("PATCH", "switches", {"message_moves_chat": True})
    emulator.advance(HOUR)
    history(emulator)
    output = run(emulator, output, retention_window_hours=2)
    assert line_state(output)["updated_at_reliable"] is True


def test_updated_at_is_not_relied_upon_before_a_chat_has_advanced(
    emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    """Chats of a single message say nothing: their `updated_at` is that of their beginning."""
    seed(emulator, 20, 1, hours=1, lines=[FIRST_LINE])
    emulator.advance(HOUR)
    first = run(emulator)
    assert "updated_at_reliable" not in line_state(first)
    emulator.advance(HOUR)
    second = run(emulator, first)
    assert "turns into a full sweep, as no chat has shown yet that new messages move updated_at" in caplog.text
    assert len(second.ids()) == 20
    caplog.clear()
    for chat in chat_ids(emulator)[:3]:
        row = next(row for row in emulator.ledger() if row["chat_id"] == chat)
        sender = row["from"] if row["direction"] == "inbound" else row["to"][0]
        inbound(emulator, chat_id=chat, **{"from": sender})
    emulator.advance(300)
    third = run(emulator, second)
    assert "turns into" not in caplog.text
    assert len(third.ids()) == 3
    assert line_state(third)["updated_at_reliable"] is True


def test_what_a_failed_pass_has_found_out_is_kept(emulator: Emulator) -> None:
    set_window(emulator, 24)
    emulator.control("PATCH", "switches", {"message_moves_chat": False})
    history(emulator)
    inbound(emulator, **{"from": "+12125550101"})
    broken = chat_ids(emulator)[1]
    emulator.control("POST", "faults", {"kind": "status", "status": 403, "path": f"/v3/chats/{broken}/messages"})
    failed = run_tap(emulator, phone_numbers=[FIRST_LINE])
    assert failed.error is not None
    assert line_state(failed)["updated_at_reliable"] is False
    assert "passed_at" not in line_state(failed)


def test_a_change_that_only_a_sweep_can_see(emulator: Emulator) -> None:
    """A reaction moves neither the chat nor, with this switch, the message."""
    set_window(emulator, 24)
    emulator.control("PATCH", "switches", {"reaction_moves_message": False})
    message, _ = history(emulator)
    emulator.advance(HOUR)
    first = run(emulator)
    emulator.control("POST", "reactions", {"message_id": message, "from": "+12125550100", "type": "love"})
    emulator.advance(HOUR)
    second = run(emulator, first)
    assert second.records("reactions") == []
    emulator.advance(5 * HOUR)
    third = run(emulator, second)
    (reaction,) = third.records("reactions")
    assert (reaction["message_id"], reaction["type"]) == (message, "love")


def test_only_the_front_of_a_list_that_is_newest_first_is_listed_twice(emulator: Emulator) -> None:
    fill(emulator, 450)
    first = run(emulator)
    emulator.advance(HOUR)
    before = len([row for row in emulator.requests_served() if row["path"] == "/v3/chats"])
    second = run(emulator, first)
    listings = [row for row in emulator.requests_served() if row["path"] == "/v3/chats"]
    assert (before, len(listings) - before) == (5 + 5 + 1, 5 + 1 + 1)
    emulator.control("PATCH", "switches", {"chat_order": "oldest"})
    run(emulator, second)
    assert len([row for row in emulator.requests_served() if row["path"] == "/v3/chats"]) - len(listings) == 5 + 5 + 1


def test_state_is_small_for_any_number_of_chats(emulator: Emulator) -> None:
    seed(emulator, 4_000, 1)
    noon = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
    known = LineState(noon, noon, True, coverage=Coverage(frozenset({"messages", "reactions", "attachments"})))
    partitions: list[dict[str, Any]] = [{"context": {"line": line}} for line in emulator.lines]
    for partition in partitions:
        known.write_to(partition)
    state = {"bookmarks": {"messages": {"partitions": partitions}}}
    emulator.advance(HOUR)
    output = succeed(emulator, state=state)
    states = [len(json.dumps(one, separators=(",", ":"))) for one in output.messages if one["type"] == "STATE"]
    assert len(output.ids("chats")) == 4_000
    assert max(states) < 800
    assert sum(states) < 7_000
    assert set(output.schemas().values()) == {1}


def test_a_chat_that_fails_does_not_keep_hidden_messages_from_being_read(emulator: Emulator) -> None:
    chats = fill(emulator, 200)
    first = run(emulator)
    emulator.control("PATCH", "switches", {"message_moves_chat": False})
    emulator.advance(HOUR)
    people = {
        row["chat_id"]: row["from"] if row["direction"] == "inbound" else row["to"][0] for row in emulator.ledger()
    }
    hidden = [inbound(emulator, chat_id=chat, **{"from": people[chat]}) for chat in chats[:150]]
    broken = inbound(emulator, **{"from": "+12125550190"})
    emulator.advance(300)
    (path,) = {row["chat_id"] for row in emulator.ledger() if row["id"] == broken}
    emulator.control("POST", "faults", {"kind": "status", "status": 403, "path": f"/v3/chats/{path}/messages"})
    failed = run_tap(emulator, state=first.state, phone_numbers=[FIRST_LINE])
    assert failed.error is not None
    assert set(hidden) <= set(failed.ids())
    assert line_state(failed)["passed_at"] == line_state(first)["passed_at"]


def test_what_changes_before_the_pass_turns_into_a_sweep_comes_out(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = history(emulator)
    emulator.advance(HOUR)
    first = run(emulator)
    emulator.control("PATCH", "switches", {"message_moves_chat": False})
    emulator.advance(HOUR)
    hidden = inbound(emulator)
    emulator.advance(300)
    turn = LinePass._turn_into_sweep

    def edited_meanwhile(self: LinePass) -> None:
        emulator.control("POST", "edits", {"message_id": old, "text": "edited"})
        turn(self)

    monkeypatch.setattr(LinePass, "_turn_into_sweep", edited_meanwhile)
    second = run(emulator, first)
    assert sorted(second.ids()) == sorted([old, new, hidden])
    assert [row["text"] for row in second.records("messages") if row["id"] == old] == ["edited"]
