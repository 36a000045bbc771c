"""A look into the chats for a message whose send has no known outcome: found, absent, or not to be told."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from airflow_provider_linq._internal import in_doubt
from airflow_provider_linq._internal.in_doubt import (
    Content,
    Found,
    Handles,
    Resolution,
    content_of,
    is_comparable,
    may_be_same_handle,
)
from airflow_provider_linq._internal.key_lifetimes import CLOCK_SKEW, LIST_LAG
from linq_client import LinqClient, RetentionWindow, models
from tests.support.emulator_process import Emulator
from tests.support.looks import ABSENT, ANN, BOB, CAT, MOBILE, SHOWN, TEXT, UNCLEAR, Look, Send, inbound, sender, words


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


# What is there.


@pytest.mark.parametrize("to", [(ANN,), ("ann@example.org",), (ANN, BOB), (ANN, "bob@example.org", CAT)])
@pytest.mark.parametrize("line_is_certain", [True, False])
def test_a_message_that_was_sent_is_found(
    emulator: Emulator, look: Look, send: Send, to: Handles, line_is_certain: bool
) -> None:
    emulator.advance(60)
    made = send(*(handle.upper() for handle in to))
    found = look(*to, line=emulator.lines[0] if line_is_certain else None)
    assert isinstance(found, Found)
    assert (found.line, found.chat_id, found.message.id) == (emulator.lines[0], made.id, made.message.id)


def test_among_others_to_the_same_people_it_is_found_by_its_words(emulator: Emulator, look: Look, send: Send) -> None:
    send(ANN, text="Something else")
    made = send(ANN)
    send(ANN, text="Something later")
    send(ANN, BOB)
    found = look(ANN)
    assert isinstance(found, Found)
    assert found.message.id == made.message.id


def test_it_is_looked_for_on_its_line(emulator: Emulator, look: Look, send: Send) -> None:
    first, second = emulator.lines
    made = send(ANN, line=second)
    assert look(ANN, line=first) is ABSENT
    for line in (second, None):
        found = look(ANN, line=line)
        assert isinstance(found, Found)
        assert (found.line, found.message.id) == (second, made.message.id)


def test_an_own_line_may_be_the_recipient(emulator: Emulator, look: Look, send: Send) -> None:
    first, second = emulator.lines
    made = send(second)
    for line in (first, None):
        found = look(second, line=line)
        assert isinstance(found, Found)
        assert (found.line, found.message.id) == (first, made.message.id)


def test_who_has_left_a_group_since_does_not_hide_it(
    emulator: Emulator, client: LinqClient, look: Look, send: Send
) -> None:
    made = send(ANN, BOB, CAT)
    client.participants.remove(made.id, CAT)
    emulator.advance(60)
    found = look(ANN, BOB, CAT)
    assert isinstance(found, Found)
    assert found.message.id == made.message.id


# What is not there.


def test_where_nothing_was_sent_it_is_absent(emulator: Emulator, look: Look, send: Send) -> None:
    assert look(ANN) is ABSENT
    assert look(ANN, BOB) is ABSENT
    assert look(ANN, line=None) is ABSENT
    inbound(emulator, ANN)
    send(ANN, BOB)
    send(CAT)
    assert look(ANN, is_known=lambda others: others in ((BOB,), (CAT,), (ANN, BOB))) is ABSENT
    assert look(ANN, content=None, is_known=lambda others: others == (CAT,)) is ABSENT


def test_what_was_sent_long_before_is_another_message(emulator: Emulator, look: Look, send: Send) -> None:
    send(ANN)
    send(ANN, BOB)
    emulator.advance(CLOCK_SKEW.total_seconds())
    since = look.began + CLOCK_SKEW
    assert isinstance(look(ANN, since=since), Found)  # clocks may be apart by so much
    later = since + timedelta(seconds=1)
    assert look(ANN, since=later) is ABSENT
    assert look(ANN, BOB, since=later) is ABSENT


@pytest.mark.parametrize("content", [words("Hello Bob"), (*words(), *words()), (("media", None),), (), None])
def test_another_message_of_ours_since_makes_it_unclear(
    emulator: Emulator, look: Look, send: Send, content: Content | None
) -> None:
    """The text may have been edited between two tries, and files have other names once they are sent."""
    send(ANN)
    assert look(ANN, content=content) is UNCLEAR


@pytest.mark.parametrize("to", [(CAT,), (ANN, CAT), (MOBILE,), (BOB, MOBILE)])
def test_others_explain_their_own_chats(look: Look, send: Send, to: Handles) -> None:
    others = {(ANN,), (SHOWN,), (ANN, BOB), (BOB, SHOWN)}
    for other in others:
        send(*other)
    assert look(*to) is UNCLEAR
    assert look(*to, is_known=others.__contains__) is ABSENT


@pytest.mark.parametrize(("hours", "expected"), [(2, ABSENT), (1, UNCLEAR)])
def test_what_may_have_expired_is_not_absent(
    emulator: Emulator, client: LinqClient, send: Send, hours: float, expected: Resolution
) -> None:
    emulator.control("POST", "lines", {"phone_number": emulator.lines[0], "retention_hours": hours})
    look = Look(client, emulator.lines[0], RetentionWindow(hours))
    assert look(ANN) is ABSENT
    made = send(BOB)
    assert isinstance(look(BOB), Found)
    emulator.advance(90 * 60)
    for _ in range(2):  # a clock that jumps is believed when a second response shows it
        client.phone_numbers.list()
    assert look(ANN, is_known=lambda others: others == (BOB,)) is expected
    assert (look(BOB) is UNCLEAR) == (hours == 1)
    found = look.lookup.resolve_chat(made.id, words(), since=look.began)
    assert found is UNCLEAR if hours == 1 else isinstance(found, Found)


# What may be it, under another name.


def test_a_number_in_another_form_makes_it_unclear(emulator: Emulator, look: Look, send: Send) -> None:
    send(SHOWN, text="Whatever it says")
    assert look(MOBILE) is UNCLEAR
    assert look(MOBILE, content=None) is UNCLEAR
    assert look(MOBILE, line=None) is UNCLEAR
    assert look(MOBILE, line=emulator.lines[1]) is ABSENT
    assert look(MOBILE, is_known=lambda others: others == (SHOWN,)) is ABSENT
    assert look("+5215550100135") is ABSENT


def test_a_number_in_another_form_to_whom_nothing_was_sent_since_is_no_doubt(
    emulator: Emulator, look: Look, send: Send
) -> None:
    send(SHOWN)
    emulator.advance(3600)
    inbound(emulator, SHOWN)
    assert look(MOBILE, since=look.began + timedelta(hours=1)) is ABSENT


def test_a_group_with_a_number_in_another_form_makes_it_unclear(emulator: Emulator, look: Look, send: Send) -> None:
    send(ANN, SHOWN)
    assert look(ANN, MOBILE) is UNCLEAR
    assert look(BOB, MOBILE) is UNCLEAR
    assert look(MOBILE) is ABSENT  # a group is no direct chat


@pytest.mark.parametrize("change", ["joined", "left and joined"])
def test_a_group_that_has_changed_makes_it_unclear(
    emulator: Emulator, client: LinqClient, look: Look, send: Send, change: str
) -> None:
    made = send(ANN, BOB, CAT)
    if change != "joined":
        client.participants.remove(made.id, CAT)
    client.participants.add(made.id, "dan@example.org")
    emulator.advance(60)
    assert look(ANN, BOB, CAT) is UNCLEAR
    # Nobody knows whether the messages of a group are those of another recipient who has become the same group.
    assert look(ANN, BOB, CAT, since=look.began + timedelta(hours=1)) is ABSENT


def test_a_new_chat_that_nobody_explains_is_doubt_if_it_holds_the_same_words(
    emulator: Emulator, look: Look, send: Send
) -> None:
    stranger = send("stranger@example.org")
    assert look(ANN) is UNCLEAR
    assert look(ANN, content=None) is UNCLEAR
    assert look(ANN, content=(("media", None),)) is UNCLEAR  # files alone tell nothing
    assert look(ANN, content=words("Other words")) is ABSENT
    assert look(ANN, BOB) is ABSENT
    assert look(ANN, is_known=lambda others: others == ("stranger@example.org",)) is ABSENT
    send("stranger@example.org", CAT)
    emulator.advance(LIST_LAG.total_seconds() + 1)
    assert look(BOB, SHOWN) is UNCLEAR
    assert look(BOB, SHOWN, content=words("Other words")) is ABSENT
    assert look(BOB, CAT, content=words("Other words")) is UNCLEAR  # a group with one of them may be theirs
    # A chat that was there before can't have been made by this send.
    emulator.advance(3600)
    assert send("stranger@example.org").id == stranger.id
    assert look(ANN, since=look.began + timedelta(hours=1)) is ABSENT


def test_more_chats_than_are_read_make_it_unclear(
    emulator: Emulator, look: Look, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_doubt, "MAX_UNEXPLAINED", 2)
    send(BOB, text="Other words")
    send(CAT, text="Other words")
    assert look(ANN) is ABSENT
    send("dan@example.org", text="Other words")
    emulator.advance(LIST_LAG.total_seconds() + 1)
    assert look(ANN) is UNCLEAR
    assert look(ANN, is_known=lambda others: others == (BOB,)) is ABSENT


# A chat that is known by its id.


def test_a_look_into_a_chat(emulator: Emulator, client: LinqClient, look: Look, send: Send) -> None:
    def resolve(content: Content | None, since: datetime = look.began) -> Found | Resolution:
        return look.lookup.resolve_chat(made.id, content, since=since)

    made = send(ANN)
    found = resolve(words())
    assert isinstance(found, Found)
    assert (found.line, found.chat_id, found.message.id) == (None, made.id, made.message.id)
    assert resolve(words("Other words")) is UNCLEAR
    assert resolve(None) is UNCLEAR
    emulator.advance(3600)
    inbound(emulator, ANN)
    assert resolve(words(), look.began + timedelta(hours=1)) is ABSENT


# The rules that need no platform.


@pytest.mark.parametrize(
    ("one", "other", "may_be"),
    [
        (MOBILE, SHOWN, True),
        ("+5511987654321", "+551187654321", True),
        ("+5491155501234", "+541155501234", True),
        (ANN, ANN, True),
        (ANN, BOB, False),
        ("Ann@Example.org", "ann@example.org", True),
        ("ann12345678@example.org", "bob12345678@example.org", False),
        ("+12345678", "12345678@example.org", False),
        ("+1234567", "+1234567", True),
        ("+41234567", "+31234567", False),
        ("", ANN, False),
    ],
)
def test_forms_of_one_handle(one: str, other: str, may_be: bool) -> None:
    assert may_be_same_handle(one, other) == may_be_same_handle(other, one) == may_be


def test_what_can_be_compared_of_a_message() -> None:
    def message(parts: Any) -> models.Message:
        made = {"id": "m", "chat_id": "c", "created_at": "2026-03-01T12:00:00Z", "updated_at": "2026-03-01T12:00:00Z"}
        return models.Message.model_validate({**made, "is_from_me": True, "delivery_status": "sent", "parts": parts})

    parts = [{"type": "text", "value": TEXT, "reactions": None}, {"type": "media", "id": "a", "url": "https://x/y"}]
    assert content_of(message(parts).parts) == (("text", TEXT), ("media", None))
    assert is_comparable((("text", TEXT), ("media", None)))
    assert not is_comparable((("media", None),))
    # Joins, leaves, and what is left of a deleted message.
    assert content_of(message(None).parts) == ()
    assert not is_comparable(())
