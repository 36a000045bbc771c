"""What moves a bookmark, what doesn't, and what the next run emits."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from linq_client import AuthenticationError, LinqClient
from tap_linq.extraction import records
from tap_linq.extraction.session import IncompleteRunError
from tests.support.emulator_process import Emulator
from tests.support.running import FIRST_LINE, SECOND_LINE, chat_ids, history, inbound, run_tap, seed, succeed

NOON = {FIRST_LINE: "2026-03-01T12:00:00Z", SECOND_LINE: "2026-03-01T12:00:00Z"}
BAD_GATEWAY = {"kind": "status", "status": 502, "retry_after": 0}


def test_the_second_run_emits_what_is_new_or_changed(emulator: Emulator) -> None:
    edited, reacted, untouched = (inbound(emulator, text) for text in ("one", "two", "three"))
    with LinqClient(emulator.api_key, base_url=emulator.base_url) as client:
        emulator.control("PATCH", "switches", {"automatic_delivery": False})
        sent = client.chats.create(FIRST_LINE, "+12125550101", "Hello.").message.id
        emulator.advance(900)
        first = succeed(emulator)
        assert set(first.ids()) == {edited, reacted, untouched, sent}

        emulator.advance(3600)
        new = inbound(emulator, "four")
        late = inbound(emulator, "five", sent_at="2026-03-01T08:00:00Z", reconciled=True)
        emulator.control("POST", "edits", {"message_id": edited, "text": "One"})
        emulator.control("POST", "reactions", {"message_id": reacted, "from": "+12125550100", "type": "love"})
        emulator.control("POST", "receipts", {"message_id": sent, "status": "delivered"})
        emulator.advance(300)
        second = succeed(emulator, state=first.state)
    assert sorted(second.ids()) == sorted([new, late, edited, reacted, sent])
    assert [first.bookmarks()[FIRST_LINE], second.bookmarks()[FIRST_LINE]] == [
        "2026-03-01T12:15:00Z",
        "2026-03-01T13:20:00Z",
    ]


def test_runs_overlap_by_ten_minutes(emulator: Emulator) -> None:
    old, message = history(emulator)
    first = succeed(emulator)
    assert sorted(first.ids()) == sorted([old, message])
    emulator.advance(60)
    second = succeed(emulator, state=first.state)
    assert sorted(second.ids()) == sorted([old, message])
    emulator.advance(660)
    third = succeed(emulator, state=second.state)
    assert third.ids() == [message]
    emulator.advance(60)
    assert succeed(emulator, state=third.state).ids() == []
    without = succeed(emulator, state=first.state, overlap_minutes=1)
    assert succeed(emulator, state=without.state, overlap_minutes=1).ids() == []


def test_start_date_holds_back_what_was_last_changed_before_it(emulator: Emulator) -> None:
    old = inbound(emulator)
    emulator.advance(7200)
    new = inbound(emulator)
    assert succeed(emulator, start_date="2026-03-01T13:00:00Z").ids() == [new]
    assert sorted(succeed(emulator, start_date="2026-03-01").ids()) == sorted([old, new])


def test_the_worker_s_clock_has_no_say(emulator: Emulator) -> None:
    """The server lives in March 2026: a bookmark by the worker's clock, or by a record, would be another."""
    inbound(emulator)
    emulator.advance(86400)
    assert set(succeed(emulator).bookmarks().values()) == {"2026-03-02T12:00:00Z"}


def test_state_does_not_grow_with_chats(emulator: Emulator) -> None:
    seed(emulator, 300, 1)
    output = succeed(emulator)
    states = [one for one in output.messages if one["type"] == "STATE"]
    assert max(len(json.dumps(one)) for one in states) < 800
    assert set(output.schemas().values()) == {1}


@pytest.mark.parametrize("fault", [BAD_GATEWAY, {"kind": "status", "status": 403, "code": 2005}])
def test_a_chat_that_fails_stops_neither_the_others_nor_the_next_run(emulator: Emulator, fault: dict[str, Any]) -> None:
    seed(emulator, 10, 3)
    broken = chat_ids(emulator)[2]
    emulator.control("POST", "faults", {**fault, "path": f"/v3/chats/{broken}/messages"})
    output = run_tap(emulator)
    assert isinstance(output.error, IncompleteRunError)
    assert f"chat {broken} of line {FIRST_LINE}" in str(output.error)
    assert set(output.ids()) == {row["id"] for row in emulator.ledger() if row["chat_id"] != broken}
    assert len(output.records("phone_numbers")) == 2
    assert output.bookmarks() == {SECOND_LINE: NOON[SECOND_LINE]}

    emulator.control("DELETE", "faults")
    emulator.advance(3600)
    again = succeed(emulator, state=output.state)
    assert {row["id"] for row in emulator.ledger() if row["line"] == FIRST_LINE} <= set(again.ids())
    assert set(again.bookmarks().values()) == {"2026-03-01T13:00:00Z"}


def test_a_bookmark_stays_when_a_later_pass_fails(emulator: Emulator) -> None:
    seed(emulator, 4, 1)
    first = succeed(emulator)
    emulator.advance(3600)
    emulator.control("POST", "faults", {**BAD_GATEWAY, "path": f"/v3/chats/{chat_ids(emulator)[0]}/messages"})
    second = run_tap(emulator, state=first.state)
    assert second.error is not None
    assert second.bookmarks() == {FIRST_LINE: NOON[FIRST_LINE], SECOND_LINE: "2026-03-01T13:00:00Z"}


def test_a_listing_that_fails_leaves_the_bookmark(emulator: Emulator) -> None:
    seed(emulator, 4, 1)
    emulator.control("POST", "faults", {"kind": "status", "status": 400, "code": 1005, "path": r"/v3/chats$"})
    output = run_tap(emulator)
    assert f"the chats of line {FIRST_LINE}, the chats of line {SECOND_LINE}" in str(output.error)
    assert output.bookmarks() == {}


def test_faults_that_pass_are_got_over(emulator: Emulator) -> None:
    seed(emulator, 10, 3)
    kinds: list[dict[str, Any]] = [BAD_GATEWAY, {"kind": "reset"}, {"kind": "truncate"}, {"kind": "malformed"}]
    for fault in kinds:
        emulator.control("POST", "faults", {**fault, "count": 1})
    assert set(succeed(emulator).ids()) == {row["id"] for row in emulator.ledger()}


def test_a_chat_that_has_vanished_is_no_error(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    seed(emulator, 4, 1)
    gone = chat_ids(emulator)[0]
    fault = {"kind": "status", "status": 404, "code": 2001, "path": f"/v3/chats/{gone}"}
    emulator.control("POST", "faults", fault)
    assert succeed(emulator).bookmarks() == NOON
    assert f"chat {gone} has vanished" in caplog.text


def test_a_chat_is_not_gone_as_long_as_the_api_still_knows_it(emulator: Emulator) -> None:
    seed(emulator, 4, 1)
    mishap = chat_ids(emulator)[0]
    fault = {"kind": "status", "status": 404, "code": 2001, "path": f"/v3/chats/{mishap}/messages"}
    emulator.control("POST", "faults", fault)
    output = run_tap(emulator)
    assert f"chat {mishap}" in str(output.error)
    assert set(output.bookmarks()) == {SECOND_LINE}


@pytest.mark.parametrize("odd", [{"id": None}, {"id": {}}, {"id": 5}, {"id": ""}, None])
def test_one_odd_message_stops_neither_its_chat_nor_the_others(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, odd: Any
) -> None:
    seed(emulator, 4, 2)
    chat = chat_ids(emulator)[0]
    request = LinqClient.request

    def with_odd_one(self: LinqClient, method: str, path: str, **options: Any) -> Any:
        reply = request(self, method, path, **options)
        if path == f"/v3/chats/{chat}/messages":
            reply.body["messages"].insert(0, odd)
        return reply

    monkeypatch.setattr(LinqClient, "request", with_odd_one)
    caplog.set_level(logging.INFO, "tap_linq")
    output = run_tap(emulator)
    assert output.error is None
    assert f"chat {chat}: 1 messages without an id left out" in caplog.text
    assert "1 records left out, as they have no key" in caplog.text
    assert set(output.ids()) == {row["id"] for row in emulator.ledger()}
    assert set(output.bookmarks()) == {FIRST_LINE, SECOND_LINE}


def test_what_is_unexpected_is_the_failure_of_one_chat(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    seed(emulator, 4, 1)
    chat = chat_ids(emulator)[0]
    record = records.message_record

    def fail(message: Any, *more: Any) -> Any:
        if message["chat_id"] == chat:
            raise ZeroDivisionError("with a secret")
        return record(message, *more)

    monkeypatch.setattr(records, "message_record", fail)
    output = run_tap(emulator)
    assert isinstance(output.error, IncompleteRunError)
    assert "unexpected ZeroDivisionError" in caplog.text
    assert "secret" not in caplog.text
    assert len(output.ids()) == 3


def test_what_was_not_covered_before_is_emitted_from_the_beginning(emulator: Emulator) -> None:
    messages = history(emulator, line=FIRST_LINE)
    history(emulator, line=SECOND_LINE)
    first = succeed(emulator, select=["reactions"])
    emulator.advance(3 * 3600)
    second = succeed(emulator, state=first.state, start_date="2026-03-01T12:03:00Z")
    assert messages[1] in second.ids()
    emulator.advance(3600)
    third = succeed(emulator, state=second.state)
    assert set(messages) <= set(third.ids())
    emulator.advance(3600)
    assert succeed(emulator, state=third.state).ids() == []


def test_a_revoked_key_ends_the_run_immediately(emulator: Emulator) -> None:
    seed(emulator, 4, 1)
    fault = {"kind": "status", "status": 401, "code": 2004, "path": "/messages", "count": 1}
    emulator.control("POST", "faults", fault)
    output = run_tap(emulator)
    assert isinstance(output.error, AuthenticationError)
    assert output.bookmarks() == {}


def test_no_text_and_no_key_in_the_log(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    inbound(emulator, text="a private matter")
    emulator.control("POST", "faults", {**BAD_GATEWAY, "path": "/messages", "count": 2})
    caplog.set_level(logging.DEBUG)
    succeed(emulator)
    assert "private" not in caplog.text
    assert emulator.api_key not in caplog.text


def test_an_account_without_chats(emulator: Emulator) -> None:
    output = succeed(emulator)
    assert output.ids() == []
    assert output.bookmarks() == NOON


def test_a_line_that_has_left_the_account_is_named_and_its_bookmark_kept(
    emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    state = succeed(emulator).state
    text = json.dumps(state).replace(SECOND_LINE, "+13125550100")
    caplog.clear()
    output = succeed(emulator, state=json.loads(text))
    (message,) = (one.getMessage() for one in caplog.records if "no longer" in one.getMessage())
    assert message.startswith("lines that STATE knows are no longer the account's: +13125550100; nothing is read")
    assert output.bookmarks() == {**NOON, "+13125550100": "2026-03-01T12:00:00Z"}


def test_a_line_of_another_shard_is_no_line_that_has_left(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    state = succeed(emulator).state
    emulator.advance(60)
    output = succeed(emulator, state=state, phone_numbers=[FIRST_LINE])
    assert "no longer" not in caplog.text
    assert output.bookmarks() == {**NOON, FIRST_LINE: "2026-03-01T12:01:00Z"}
