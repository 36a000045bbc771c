"""What a look into the chats reads, what that proves, and on which platforms."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path
from threading import Barrier
from typing import Any, TypeAlias

import pytest

from airflow_provider_linq._internal.in_doubt import ChatLookup, Found, Handles, Resolution
from airflow_provider_linq._internal.key_lifetimes import LATE_ACCEPTANCE, LIST_LAG
from airflow_provider_linq.campaigns._model import Recipient
from airflow_provider_linq.campaigns._sender import reading_counts_from
from airflow_provider_linq.campaigns._state import SendJob
from linq_client import LinqClient, LinqError
from linq_client.times import ServerClock
from tests.support.contract_server import ContractServer
from tests.support.emulator_process import Emulator
from tests.support.looks import ABSENT, ANN, BOB, CAT, MOBILE, SHOWN, UNCLEAR, Look, Send, sender, words


@pytest.fixture
def client(emulator: Emulator) -> Iterator[LinqClient]:
    with LinqClient(emulator.api_key, base_url=emulator.base_url, max_retries=0) as opened:
        yield opened


@pytest.fixture
def look(emulator: Emulator, client: LinqClient) -> Look:
    return Look(client, emulator.lines[0])


@pytest.fixture
def send(emulator: Emulator, client: LinqClient) -> Send:
    return sender(client, emulator.lines[0])


def chats_read(emulator: Emulator) -> list[str]:
    """What was read of chats, oldest first: "chats" for lists of them, "to" for filtered ones, else an id of a chat."""
    read = []
    for request in emulator.requests_served():
        steps = request["path"].strip("/").split("/")
        if request["method"] == "GET" and steps[1] == "chats":
            read.append(steps[2] if len(steps) > 2 else "to" if "to" in request["query"] else "chats")
    return read


# What can't be read proves nothing.


@pytest.mark.parametrize("path", ["^/v3/chats$", "^/v3/chats/[^/]+/messages$"])
@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 500, "code": 3006},
        {"kind": "status", "status": 403, "code": 2006},
        {"kind": "status", "status": 404, "code": 2002},  # of something else
        {"kind": "status", "status": 404, "code": 1005},
        {"kind": "status", "status": 429, "code": 1007},
        {"kind": "malformed"},
        {"kind": "reset"},
    ],
)
def test_a_read_that_fails_is_an_error(
    emulator: Emulator, look: Look, send: Send, path: str, fault: dict[str, Any]
) -> None:
    send(SHOWN)
    emulator.control("POST", "faults", {"path": path, "method": "GET", **fault})
    for to in (MOBILE, SHOWN):
        with pytest.raises(LinqError):
            look(to)


def test_a_chat_that_goes_while_it_is_looked_at_makes_it_unclear(emulator: Emulator, look: Look, send: Send) -> None:
    made = send(ANN)
    send(SHOWN)
    emulator.control(
        "POST", "faults", {"path": "/messages$", "method": "GET", "kind": "status", "status": 404, "code": 2001}
    )
    assert look(ANN) is UNCLEAR
    assert look(MOBILE) is UNCLEAR
    assert look.lookup.resolve_chat(made.id, words(), since=look.began) is ABSENT


# What is read once for all who ask.


def test_the_chats_of_a_line_are_read_once_for_many(emulator: Emulator, look: Look, send: Send) -> None:
    unexplained = send(SHOWN, text="Other words")
    before = len(chats_read(emulator))
    for index in range(20):
        assert look(f"person{index}@example.com") is ABSENT
    assert sorted(chats_read(emulator)[before:]) == sorted([unexplained.id, "chats", *["to"] * 20])


def test_a_reading_counts_for_all_who_asked_before_it_began(emulator: Emulator, client: LinqClient) -> None:
    """Those who wait for the line's chats while they are read need not have them read again, each after the other."""
    emulator.control("POST", "clock", {"freeze": False})
    look = Look(client, emulator.lines[0])
    clock = ServerClock(look.began)
    lookup = ChatLookup(client, lambda: set(emulator.lines), None, clock.now)
    all_have_asked = Barrier(8)

    def absent(index: int) -> Found | Resolution:
        asked = clock.now()
        all_have_asked.wait()
        to = (f"person{index}@example.com",)
        return lookup.resolve(to, words(), line=look.line, since=look.began, as_of=asked)

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(absent, range(8))) == {ABSENT}
    assert chats_read(emulator).count("chats") == 1


def test_an_old_reading_counts_only_as_far_as_the_caller_says(emulator: Emulator, look: Look, send: Send) -> None:
    assert look(MOBILE) is ABSENT
    emulator.advance(1)
    send(SHOWN)  # accepted late
    read_at = look.began
    emulator.advance(LIST_LAG.total_seconds() - 1)
    assert look(MOBILE) is ABSENT  # it may not have been listed, if read now
    assert look(MOBILE, as_of=read_at) is ABSENT
    assert look(MOBILE, as_of=read_at + timedelta(seconds=1)) is UNCLEAR


def test_by_default_a_reading_counts_for_as_long_as_lists_lag(emulator: Emulator, look: Look, send: Send) -> None:
    assert look(MOBILE) is ABSENT
    send(SHOWN)
    emulator.advance(LIST_LAG.total_seconds() + 1)
    assert look(MOBILE) is UNCLEAR


def test_what_was_read_of_a_chat_for_a_later_doubt_does_not_hide_what_is_older(
    emulator: Emulator, look: Look, send: Send
) -> None:
    """Doubts of two recipients began at different times: the chat that nobody explains is read for the first."""
    emulator.advance(1)
    send(SHOWN)
    emulator.advance(3600)
    later = look.began + timedelta(hours=1)
    assert look(MOBILE, since=later) is ABSENT
    assert look(MOBILE) is UNCLEAR


def test_what_was_read_of_a_group_is_read_again(emulator: Emulator, look: Look, send: Send) -> None:
    """A group that is found by a member is read for others, too, and also where the own group was found."""
    send(ANN, BOB, text="Other words")
    emulator.advance(3600)
    since = look.began + timedelta(hours=1)
    other = send(ANN, CAT, text="Made before")
    emulator.advance(3600)
    since += timedelta(hours=1)
    assert look(ANN, BOB, since=since) is ABSENT
    emulator.advance(LIST_LAG.total_seconds() + 1)
    assert send(ANN, CAT).id == other.id
    assert look(ANN, BOB, since=since) is UNCLEAR


@pytest.mark.parametrize(
    ("age", "counts_for"),
    [
        (timedelta(hours=3), timedelta(hours=3) - LATE_ACCEPTANCE),  # nothing has changed since
        (LATE_ACCEPTANCE + timedelta(seconds=7), timedelta(seconds=7)),
        (LATE_ACCEPTANCE, timedelta(0)),
        (LATE_ACCEPTANCE - timedelta(seconds=1), LIST_LAG),  # it may be accepted at any moment
        (timedelta(minutes=1), LIST_LAG),
        (LIST_LAG + timedelta(seconds=4), timedelta(seconds=4)),  # lists have shown it only since
        (LIST_LAG, timedelta(0)),
        (timedelta(seconds=3), timedelta(0)),
    ],
)
def test_a_campaign_says_for_how_long_a_reading_counts(age: timedelta, counts_for: timedelta) -> None:
    now = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
    job = SendJob(Recipient(1, (ANN,), "key", {}, "UTC"), last_request_at=now - age)
    assert now - reading_counts_from(job, now) == counts_for


# What the emulator does not do, on a server written from the contract.


@pytest.fixture
def contract(tmp_path: Path) -> Iterator[Callable[..., ContractServer]]:
    """Start the contract's server with these knobs."""
    started: list[ContractServer] = []

    def start(**knobs: Any) -> ContractServer:
        started.append(ContractServer(tmp_path, **knobs))
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.fixture
def at(contract: Callable[..., ContractServer]) -> Iterator[Callable[..., tuple[ContractServer, Look]]]:
    """A server with these knobs, and a look at it."""
    clients: list[LinqClient] = []

    def at(**knobs: Any) -> tuple[ContractServer, Look]:
        server = contract(**knobs)
        clients.append(LinqClient("contract-key", base_url=server.base_url, max_retries=0))
        return server, Look(clients[-1], server.lines[0])

    yield at
    for client in clients:
        client.close()


def sent_at(look: Look, *to: str) -> str:
    assert look.line is not None
    return sender(look.client, look.line)(*to).message.id


def show(handle: str) -> str:
    return SHOWN if handle == MOBILE else handle


Platform: TypeAlias = Callable[..., tuple[ContractServer, Look]]


@pytest.mark.parametrize(
    ("knobs", "to"),
    [
        ({}, (ANN,)),
        ({}, (ANN, BOB)),
        ({"created_at_skew": -30}, (ANN,)),
        ({"created_at_skew": -30}, (ANN, BOB)),
        ({"created_at_skew": 30}, (ANN,)),
        ({"to_filter": "direct"}, (ANN,)),
        ({"to_filter": "direct"}, (ANN, BOB)),
        ({"to_filter": "direct", "newest_first": False, "messages_move_chats": False}, (ANN, BOB, CAT)),
        ({"shown_as": show}, (MOBILE,)),  # the filter knows both forms
    ],
)
def test_it_is_found_whatever_the_platform_does(at: Platform, knobs: dict[str, Any], to: Handles) -> None:
    server, look = at(**knobs)
    sent_at(look, BOB)
    sent_at(look, BOB, CAT)
    message_id = sent_at(look, *to)
    for line in (server.lines[0], None):
        found = look(*to, line=line)
        assert isinstance(found, Found)
        assert (found.line, found.message.id) == (server.lines[0], message_id)
    assert look("nobody@example.org", content=words("Other words")) is ABSENT


@pytest.mark.parametrize("to_filter", ["all", "direct"])
def test_a_group_shown_in_another_form_makes_it_unclear(at: Platform, to_filter: str) -> None:
    _, look = at(shown_as=show, to_filter=to_filter)
    sent_at(look, ANN, MOBILE)
    assert look(ANN, MOBILE) is UNCLEAR
    assert look(ANN, BOB) is UNCLEAR
    assert look(BOB, CAT, since=look.began + timedelta(hours=1)) is ABSENT


@pytest.mark.parametrize("to_filter", ["all", "direct"])
def test_a_group_that_somebody_has_joined_makes_it_unclear(at: Platform, to_filter: str) -> None:
    server, look = at(to_filter=to_filter)
    sent_at(look, ANN, BOB)
    server.joins(CAT, server.chats[0])
    assert look(ANN, BOB) is UNCLEAR


def test_what_is_not_listed_yet_is_absent_so_the_age_of_the_request_decides(at: Platform) -> None:
    server, look = at(list_lag=8)
    sent_at(look, ANN)
    assert look(ANN) is ABSENT
    server.advance(LIST_LAG.total_seconds())
    assert isinstance(look(ANN, as_of=look.began + LIST_LAG), Found)
