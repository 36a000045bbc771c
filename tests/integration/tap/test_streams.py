"""The streams that come from the same pages as the messages, and those with requests of their own."""

from __future__ import annotations

from typing import Any

import pytest

from linq_client import LinqClient
from tests.support.emulator_process import Emulator
from tests.support.running import FIRST_LINE, PERSON, inbound, run_tap, seed, served, succeed

PICTURE = {"type": "media", "url": "https://example.com/a.png"}


def a_rich_message(emulator: Emulator) -> str:
    message = inbound(emulator, parts=[{"type": "text", "value": "Look!"}, PICTURE])
    body = {"message_id": message, "from": PERSON, "type": "love", "part_index": 1}
    emulator.control("POST", "reactions", body)
    return message


def test_one_pass_feeds_all_of_them(emulator: Emulator) -> None:
    seed(emulator, 6, 2)
    message = a_rich_message(emulator)
    output = succeed(emulator)
    (reaction,) = output.records("reactions")
    assert (reaction["message_id"], reaction["part_index"], reaction["type"]) == (message, 1, "love")
    assert (reaction["handle"]["handle"], reaction["line"]) == (PERSON, FIRST_LINE)
    (attachment,) = output.records("attachments")
    (part,) = (p for m in output.records("messages") for p in m["parts"] if p["type"] == "media")
    assert (attachment["message_id"], attachment["part_index"]) == (message, 1)
    assert attachment["attachment_id"] == part["id"]
    assert (attachment["filename"], attachment["mime_type"]) == ("a.png", "image/png")
    assert (attachment["stored_at"], attachment["sha256"], attachment["error"]) == (None, None, None)
    chats = output.records("chats")
    assert len(output.records("chat_participants")) == sum(len(chat["handles"]) for chat in chats)
    assert served(emulator, "/v3/chats") == len(emulator.lines)
    assert sum(row["path"].endswith("/messages") for row in emulator.requests_served()) == len(chats)
    assert set(output.schemas().values()) == {1}


def test_a_schema_comes_before_the_first_record_of_its_stream(emulator: Emulator) -> None:
    a_rich_message(emulator)
    declared = set()
    for message in succeed(emulator).messages:
        if message["type"] == "SCHEMA":
            declared.add(message["stream"])
        elif message["type"] == "RECORD":
            assert message["stream"] in declared


@pytest.mark.parametrize("name", ["reactions", "attachments", "messages"])
def test_one_of_them_alone_reads_and_moves_the_bookmark(emulator: Emulator, name: str) -> None:
    a_rich_message(emulator)
    output = succeed(emulator, select=[name])
    assert output.schemas() == {name: 1}
    assert len(output.records(name)) == 1
    assert set(output.bookmarks()) == set(emulator.lines)


@pytest.mark.parametrize("name", ["chats", "chat_participants", "extraction_gaps"])
def test_what_needs_no_messages_reads_none(emulator: Emulator, name: str) -> None:
    seed(emulator, 6, 2)
    output = succeed(emulator, select=[name])
    assert not any(row["path"].endswith("/messages") for row in emulator.requests_served())
    assert output.bookmarks() == {}
    assert bool(output.records(name)) is (name != "extraction_gaps")


def test_locations_are_asked_for_on_request_only(emulator: Emulator) -> None:
    inbound(emulator)
    inbound(emulator, **{"from": "+12125550101"})
    body = {"handle": PERSON, "location": {"longitude": -77.04, "latitude": 38.9, "locality": "Washington"}}
    emulator.control("POST", "handles", body)
    assert succeed(emulator).records("chat_locations") == []
    before = served(emulator, "/v3/chats")
    (record,) = succeed(emulator, select=["chats", "chat_locations"]).records("chat_locations")
    assert record["geometry"] == {"type": "Point", "coordinates": [-77.04, 38.9]}
    assert (record["handle"], record["locality"], record["line"]) == (PERSON, "Washington", FIRST_LINE)
    assert record["observed_at"] == "2026-03-01T12:00:00Z"
    assert served(emulator, "/v3/chats") - before == len(emulator.lines), "the chats are listed once for both"
    assert len(succeed(emulator, select=["chat_locations"]).records("chat_locations")) == 1


@pytest.mark.parametrize(
    "fault", [{"status": 400}, {"status": 404, "envelope": False}], ids=["refused", "404 of a proxy"]
)
def test_a_location_that_can_t_be_read_fails_the_run(emulator: Emulator, fault: dict[str, Any]) -> None:
    inbound(emulator)
    emulator.control("POST", "faults", {"kind": "status", "path": "/location", **fault})
    assert "the location of chat" in str(run_tap(emulator, select=["chat_locations"]).error)


def test_a_chat_that_can_t_share_its_location_is_no_failure(emulator: Emulator) -> None:
    inbound(emulator)
    emulator.control("POST", "faults", {"kind": "status", "path": "/location", "status": 404, "code": 2001})
    assert succeed(emulator, select=["chat_locations"]).records("chat_locations") == []


def test_webhook_subscriptions_carry_no_secret(emulator: Emulator) -> None:
    with LinqClient(emulator.api_key, base_url=emulator.base_url) as client:
        made = client.webhook_subscriptions.create("https://example.com/hook", ["message.received"])
    (record,) = succeed(emulator).records("webhook_subscriptions")
    assert (record["id"], record["target_url"]) == (made.id, "https://example.com/hook")
    assert "signing_secret" not in record


def test_a_key_that_is_wrong_in_the_second_stream(emulator: Emulator) -> None:
    fault: dict[str, Any] = {"kind": "status", "status": 401, "code": 2004, "path": "webhook-subscriptions"}
    emulator.control("POST", "faults", fault)
    assert type(run_tap(emulator).error).__name__ == "AuthenticationError"
