"""Every message is emitted once, whatever the API does in what it leaves open."""

from __future__ import annotations

from collections import Counter
from typing import Any
from uuid import uuid4

import pytest

from linq_client import LinqClient
from tests.support.emulator_process import Emulator
from tests.support.running import FIRST_LINE, PERSON, chat_ids, run_tap, seed, served, succeed

ORDERS = ("newest", "oldest", "unordered")


def assert_complete(emulator: Emulator, emitted: list[str]) -> None:
    assert Counter(emitted) == Counter(row["id"] for row in emulator.ledger())


@pytest.mark.parametrize("cursor", ["offset", "key"])
@pytest.mark.parametrize("order", ORDERS)
def test_every_message_under_every_reading_of_the_contract(emulator: Emulator, order: str, cursor: str) -> None:
    emulator.control(
        "PATCH", "switches", {"chat_order": order, "message_order": order, "cursor": cursor, "empty_pages": True}
    )
    seed(emulator, 250, 3)
    seed(emulator, 2, 230)
    output = succeed(emulator)
    assert_complete(emulator, output.ids())
    assert len(output.ids("chats")) == len(set(output.ids("chats"))) == 252
    assert set(output.schemas().values()) == {1}


@pytest.mark.parametrize("moves_chat", [True, False])
@pytest.mark.parametrize("cursor", ["offset", "key"])
@pytest.mark.parametrize("order", ORDERS)
def test_chats_that_move_while_they_are_listed(
    emulator: Emulator, after_each_page: Any, order: str, cursor: str, moves_chat: bool
) -> None:
    """A chat that gets a message jumps to the other end of the list, or shifts another over the edge of a page."""
    switches = {"chat_order": order, "cursor": cursor, "message_moves_chat": moves_chat}
    emulator.control("PATCH", "switches", switches)
    seed(emulator, 220, 1, lines=[FIRST_LINE])
    chats = chat_ids(emulator)

    def move_some(page: int) -> None:
        if page <= 3:
            # A frozen clock would leave all the moved ones at one moment, in their old order.
            emulator.advance(1)
            for index in range(page, len(chats), 37):
                handle = {"from": people[chats[index]], "chat_id": chats[index], "text": "hello"}
                emulator.control("POST", "inbound", handle)

    ledger = emulator.ledger()
    people = {row["chat_id"]: row["from"] if row["direction"] == "inbound" else row["to"][0] for row in ledger}
    after_each_page("/v3/chats", move_some)
    first = succeed(emulator)
    assert set(first.ids("chats")) == set(chats)
    assert {row["id"] for row in ledger} <= set(first.ids())
    emulator.advance(600)
    second = succeed(emulator, state=first.state)
    assert_complete(emulator, list({*first.ids(), *second.ids()}))


@pytest.mark.parametrize("order", ORDERS)
def test_messages_that_are_deleted_while_they_are_read(emulator: Emulator, after_each_page: Any, order: str) -> None:
    """What is deleted in front of the place read to pulls a message over the edge of the page."""
    emulator.control("PATCH", "switches", {"message_order": order})
    seed(emulator, 1, 350, lines=[FIRST_LINE])
    (chat,) = chat_ids(emulator)
    with LinqClient(emulator.api_key, base_url=emulator.base_url) as client:
        listed = [item["id"] for page in client.messages.list(chat).pages() for item in page.items]

    def delete_some(page: int) -> None:
        with LinqClient(emulator.api_key, base_url=emulator.base_url) as client:
            for message_id in listed[20 * page : 20 * page + 3] if page <= 4 else ():
                client.messages.delete(message_id)

    after_each_page(f"/v3/chats/{chat}/messages", delete_some)
    emitted = succeed(emulator).ids()
    assert len(emitted) == len(set(emitted))
    assert {row["id"] for row in emulator.ledger() if row["deleted_at"] is None} <= set(emitted)


def test_a_list_that_never_holds_still_is_given_up_aloud(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    seed(emulator, 1, 150, lines=[FIRST_LINE])
    (chat,) = chat_ids(emulator)
    request = LinqClient.request

    def ever_more(self: LinqClient, method: str, path: str, **options: Any) -> Any:
        reply = request(self, method, path, **options)
        if path.endswith("/messages"):
            reply.body["messages"].append({**reply.body["messages"][0], "id": str(uuid4())})
        return reply

    monkeypatch.setattr(LinqClient, "request", ever_more)
    output = run_tap(emulator)
    assert f"chat {chat}" in str(output.error)
    assert "the list still showed something new after 6 readings" in caplog.text
    assert FIRST_LINE not in output.bookmarks()


def test_chats_are_listed_once_for_both_streams(emulator: Emulator) -> None:
    seed(emulator, 10, 1)
    succeed(emulator)
    assert served(emulator, "/v3/chats") == len(emulator.lines)
    assert served(emulator, "/v3/phone_numbers") == 1


def test_only_the_given_lines(emulator: Emulator) -> None:
    seed(emulator, 10, 2)
    output = succeed(emulator, phone_numbers=[FIRST_LINE])
    assert set(output.ids()) == {row["id"] for row in emulator.ledger() if row["line"] == FIRST_LINE}
    assert [record["phone_number"] for record in output.records("phone_numbers")] == [FIRST_LINE]
    assert {record["line"] for record in output.records("chats")} == {FIRST_LINE}


def test_a_record_is_the_api_s_answer_and_what_follows_from_it(emulator: Emulator) -> None:
    seed(emulator, 4, 3)
    ledger = {row["id"]: row for row in emulator.ledger()}
    records = succeed(emulator, retention_window_hours=2).records("messages")
    with LinqClient(emulator.api_key, base_url=emulator.base_url) as client:
        for record in records:
            answer = client.request("GET", f"/v3/messages/{record['id']}").body
            assert {name: record[name] for name in answer} == answer
            row = ledger[record["id"]]
            assert (record["line"], record["direction"], record["text"]) == (row["line"], row["direction"], row["text"])
            assert record["expires_at"].endswith("Z")


def test_no_expiry_on_the_standard_tier(emulator: Emulator) -> None:
    seed(emulator, 1, 1)
    (record,) = succeed(emulator, retention_window_hours=None).records("messages")
    assert "expires_at" not in record


def test_unknown_fields_survive(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    seed(emulator, 1, 1)
    request = LinqClient.request

    def newer(self: LinqClient, method: str, path: str, **options: Any) -> Any:
        reply = request(self, method, path, **options)
        for message in reply.body.get("messages", ()):
            message["mood"] = {"score": 0.5}
            message["parts"][0]["language"] = "en"
            message["from_handle"]["verified"] = True
            message["parts"].append({"type": "hologram", "depth": 3})
        return reply

    monkeypatch.setattr(LinqClient, "request", newer)
    (record,) = succeed(emulator).records("messages")
    assert record["parts"][1] == {"type": "hologram"}
    assert record["_extra"] == {
        "mood": {"score": 0.5},
        "parts.0.language": "en",
        "from_handle.verified": True,
        "parts.1.depth": 3,
    }


def test_items_without_parts(emulator: Emulator) -> None:
    """A change of the group and a deleted message are in the list of a chat with parts null."""
    emulator.control("PATCH", "switches", {"tombstones": True, "system_events": True, "group_update_seconds": 0})
    with LinqClient(emulator.api_key, base_url=emulator.base_url) as client:
        group = client.chats.create(FIRST_LINE, [PERSON, "+12125550102"], "Hi")
        client.chats.update(group.id, display_name="Team")
        deleted = client.messages.send(group.id, "Not this").message.id
        client.messages.delete(deleted)
        assert [(message.is_written, len(message.parts)) for message in client.messages.list(group.id)] == [
            (False, 0),
            (False, 0),
            (True, 1),
        ]
    output = succeed(emulator)
    rows = {row["id"]: row for row in output.records("messages")}
    assert len(rows) == 3
    assert [row["text"] for row in rows.values() if row["parts"]] == ["Hi"]
    assert rows[deleted]["parts"] is rows[deleted]["text"] is None
    assert succeed(emulator, state=output.state).error is None
