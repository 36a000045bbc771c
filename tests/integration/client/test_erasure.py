"""Erasing a person through the API: what goes, what stays, and what a second call does."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from linq_client import InvalidRequestError, LinqClient, LinqError, Media, ServerError
from linq_client.erasure import ErasureReport, erase_person
from tests.support.emulator_process import Emulator

ANN, BOB, CAT = "ann@example.com", "+12025550122", "+12025550123"
TEXT = "Something that nobody else should read"


def receive(emulator: Emulator, sender: str, chat_id: str | None = None, **fields: Any) -> dict[str, Any]:
    where = {"line": emulator.lines[0]} if chat_id is None else {"chat_id": chat_id}
    body = {"from": sender, **where, **({} if "parts" in fields else {"text": TEXT}), **fields}
    received: dict[str, Any] = emulator.control("POST", "inbound", body)
    return received


@pytest.fixture
def direct(emulator: Emulator, client: LinqClient) -> str:
    """A chat with Ann: two messages each way, a file of each side."""
    chat = client.chats.create(emulator.lines[0], ANN, "Hi Ann")
    client.messages.send(chat.id, ["See", Media(attachment_id=client.attachments.upload(b"%PDF", filename="a.pdf"))])
    receive(emulator, ANN)
    receive(emulator, ANN, parts=[{"type": "media", "url": "https://files.example/ann.png"}])
    return chat.id


@pytest.fixture
def group(emulator: Emulator, client: LinqClient) -> str:
    """A group: one of ours, one of Ann's and one of Bob's, to which Ann reacts."""
    chat = client.chats.create(emulator.lines[0], [ANN, BOB, CAT], "Hi all")
    receive(emulator, ANN, chat.id)
    message = receive(emulator, BOB, chat.id)
    emulator.control("POST", "reactions", {"message_id": message["id"], "from": ANN, "type": "love"})
    part = {"type": "text", "value": "Ann?", "mention": ANN}
    client.request("POST", f"/v3/chats/{chat.id}/messages", json={"message": {"parts": [part]}})
    return chat.id


def texts(client: LinqClient, chat_id: str) -> int:
    return sum(message.is_written for message in client.messages.list(chat_id))


def test_a_dry_run_counts_and_deletes_nothing(emulator: Emulator, client: LinqClient, direct: str, group: str) -> None:
    before = len(emulator.requests_served())
    report = erase_person(client, "ANN@example.com", dry_run=True)
    assert report == ErasureReport(
        person="a…@…",
        is_dry_run=True,
        direct_chats=[direct],
        group_chats=[group],
        messages=5,
        attachments=1,
        files_of_yours=report.files_of_yours,
        reactions_left=1,
        mentions_left=1,
    )
    assert len(report.files_of_yours) == 1
    assert {request["method"] for request in emulator.requests_served()[before:]} == {"GET"}
    assert TEXT not in str(asdict(report))
    assert ANN not in str(asdict(report)).lower()


def test_a_number_is_found_in_either_of_its_forms(emulator: Emulator, client: LinqClient) -> None:
    """The platform may show it in another one than it was written in."""
    chat_id = receive(emulator, "+525550100134")["chat_id"]
    report = erase_person(client, "+5215550100134")
    assert (report.direct_chats, report.messages_deleted) == ([chat_id], 1)


@pytest.mark.parametrize("tombstones", [False, True])
def test_what_is_theirs_goes_and_what_is_of_others_stays(
    emulator: Emulator, client: LinqClient, direct: str, group: str, tombstones: bool
) -> None:
    emulator.control("PATCH", "switches", {"tombstones": tombstones})
    other = client.chats.create(emulator.lines[0], BOB, "Hi Bob").id
    report = erase_person(client, ANN)
    assert (report.messages, report.messages_deleted) == (5, 5)
    assert (report.attachments, report.attachments_deleted) == (1, 1)
    assert (texts(client, direct), texts(client, group), texts(client, other)) == (0, 3, 1)
    client.attachments.get(report.files_of_yours[0])  # it stays
    again = erase_person(client, ANN)
    assert (again.messages, again.messages_deleted, again.not_deleted) == (0, 0, [])
    assert again.empty_messages == (5 if tombstones else 0)


def test_a_call_that_ends_with_an_error_is_continued_by_the_next(
    emulator: Emulator, client: LinqClient, direct: str, group: str
) -> None:
    third = list(client.messages.list(direct))[2].id
    emulator.control(
        "POST", "faults", {"kind": "status", "status": 500, "code": 3006, "method": "DELETE", "path": third}
    )
    with (
        LinqClient(emulator.api_key, base_url=emulator.base_url, max_retries=0) as impatient,
        pytest.raises(ServerError),
    ):
        erase_person(impatient, ANN)
    emulator.control("DELETE", "faults")
    before = texts(client, direct) + texts(client, group)
    assert texts(client, direct) in (2, 3)
    report = erase_person(client, ANN)
    assert report.messages_deleted == before - 3
    assert (texts(client, direct), texts(client, group)) == (0, 3)


def test_what_the_api_refuses_is_reported_and_the_rest_goes(
    emulator: Emulator, client: LinqClient, direct: str
) -> None:
    emulator.control(
        "POST",
        "faults",
        {"kind": "status", "status": 403, "code": 2005, "method": "DELETE", "path": "/messages/", "count": 1},
    )
    report = erase_person(client, ANN)
    assert (report.messages, report.messages_deleted) == (4, 3)
    (refused,) = report.not_deleted
    assert (refused.kind, refused.reason) == ("message", "access_denied")
    assert texts(client, direct) == 1


def test_a_chat_that_they_are_not_in_is_not_touched(
    emulator: Emulator, client: LinqClient, caplog: pytest.LogCaptureFixture
) -> None:
    other = client.chats.create(emulator.lines[0], BOB, "Hi Bob").id
    report = erase_person(client, ANN, chat_ids=[other])
    assert (report.messages, report.direct_chats, report.group_chats) == (0, [], [])
    assert report.chats_passed_over == [other]
    assert f"Chat {other} is passed over: a…@… is not in it" in caplog.text
    assert texts(client, other) == 1


@pytest.mark.parametrize(("handle", "why"), [("", "must be"), ("line", "must be that of a person, got a line")])
def test_who_is_no_person_is_refused(emulator: Emulator, client: LinqClient, handle: str, why: str) -> None:
    with pytest.raises(InvalidRequestError, match=f"handle: {why}"):
        erase_person(client, emulator.lines[0] if handle == "line" else handle)


def test_a_page_of_a_proxy_is_no_word_that_a_message_is_gone(
    emulator: Emulator, client: LinqClient, direct: str
) -> None:
    emulator.control(
        "POST", "faults", {"kind": "status", "status": 404, "envelope": False, "method": "DELETE", "count": 20}
    )
    with pytest.raises(LinqError):
        erase_person(client, ANN)
    assert texts(client, direct) == 4
