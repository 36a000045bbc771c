"""What may be sent, and how a refusal reads."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linq_client import (
    InvalidRequestError,
    Link,
    Media,
    Message,
    Text,
    check_handle,
    check_line,
    check_recipients,
    check_sender,
    message_from,
)

SECRET = "the cake is in the cellar"


def refusal(value: Any) -> str:
    with pytest.raises(InvalidRequestError) as caught:
        message_from(value)
    return str(caught.value)


def test_a_string_is_a_text_only_message() -> None:
    assert message_from("Hi").to_wire() == {"parts": [{"type": "text", "value": "Hi"}]}


def test_all_ways_to_build_a_message_agree() -> None:
    expected = message_from({"parts": [{"type": "text", "value": "Hi"}, {"type": "media", "attachment_id": "a"}]})
    assert message_from(["Hi", Media(attachment_id="a")]) == expected
    assert message_from(Message(parts=(Text(value="Hi"), Media(attachment_id="a")))) == expected


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("", "parts[0].value: string should have at least 1 character, got 0 characters"),
        ("x" * 10_001, "got 10,001 characters"),
        ([], "parts: must be 1 to 100, got 0"),
        ([Media(url="https://x.example/a")] * 41, "parts: at most 40 media by url, got 41"),
        ([{"type": "text", "value": "Hi", "mention_range": [0, 2]}], "mention_range: needs a mention, got [0, 2]"),
        ([{"type": "text", "value": "Hi", "text_decorations": [{"range": [0, 2]}]}], "style: give it or animation"),
        (["a", Media(attachment_id="m")] * 51, "parts: must be 1 to 100, got 102"),
        (["a", "b"], "parts: two texts must not follow each other, got them at 0 and 1"),
        ([Link(value="https://x.example"), "a"], "parts: a link must be the only part, got ['link', 'text']"),
        ([{"type": "link", "value": "ftp://x.example"}], "parts[0].value: must be an http or https URL without spaces"),
        ([{"type": "link", "value": "https://x.example/" + "a" * 2_048}], "got 2,066 characters"),
        ([{"type": "media"}], "parts[0].url: give it or attachment_id, not both, got None and None"),
        ([{"type": "media", "url": "https://x.example/a", "attachment_id": "m"}], "not both"),
        (
            [{"type": "media", "url": "http://x.example/a"}],
            "parts[0].url: must be an https URL without spaces, got 'http://x'",
        ),
        ([{"type": "poll"}], "parts[0]: type must be one of text, media, link"),
        ({"parts": ["a"], "efect": {}}, "efect: extra inputs are not permitted"),
        ({"parts": ["a"], "effect": {"type": "screen", "name": "slam"}}, "effect.name: must be one of confetti"),
        ({"parts": ["a"], "preferred_service": "Fax"}, "preferred_service: input should be 'iMessage', 'RCS' or 'SMS'"),
        ({"parts": ["a"], "idempotency_key": "k" * 256}, "idempotency_key: must be 1 to 255 printable ASCII"),
        ({"parts": ["a"], "idempotency_key": ""}, "got '' of 0"),
        ({"parts": ["a"], "idempotency_key": " k"}, "got ' k' of 2"),
        ({"parts": ["a"], "idempotency_key": "k\n"}, "got 'k\\n' of 2"),
        ({"parts": ["a"], "idempotency_key": "\u65e5"}, "idempotency_key: must be 1 to 255 printable ASCII"),
        ([{"type": "link", "value": "https://x.example/a b"}], "without spaces"),
        ({"parts": ["a"], "reply_to": {"message_id": "m", "part_index": -1}}, "reply_to.part_index"),
        (7, "message: must be text, parts or a message, got int"),
    ],
)
def test_a_refusal_names_field_rule_and_value(value: Any, words: str) -> None:
    assert words in refusal(value)


@pytest.mark.parametrize(
    "value",
    [
        [SECRET, SECRET],
        {"parts": [{"type": "text", "value": SECRET, "text_decorations": [{"range": [0, 999], "style": "bold"}]}]},
        {"parts": [{"type": "text", "value": [SECRET]}]},
        {"parts": [{"type": "text", "value": SECRET, "colour": 1}]},
        {"parts": [SECRET], "effect": {"type": "screen", "name": "none"}},
        SECRET * 1_000,
        [{"type": "text", "text": SECRET}],
        {"text": SECRET},
        {"parts": SECRET},
        {"parts": ["a"], "body": SECRET},
        {SECRET: 1},
        [{"type": SECRET}],
        [{"type": "media", "url": SECRET}],
        [{"type": "link", "value": SECRET}],
        {"parts": ["a"], "effect": SECRET},
        {"parts": ["a"], "reply_to": SECRET},
    ],
)
def test_a_refusal_never_holds_the_text(value: Any) -> None:
    assert SECRET not in refusal(value)


def test_direct_construction_refuses_in_the_same_form() -> None:
    with pytest.raises(InvalidRequestError, match=r"^value: .*got 0 characters"):
        Text(value="")


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("see https://x.example", "parts[0].value: no URL"),
        ("see www.x.example", "parts[0].value: no URL"),
        ([Link(value="https://x.example")], "parts[0]: no link"),
        ({"parts": ["a"], "reply_to": {"message_id": "m"}}, "message.reply_to"),
        ({"parts": ["a"], "effect": {"type": "bubble", "name": "slam"}}, "message.effect"),
    ],
)
def test_what_a_first_message_may_not_hold(message: Any, words: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        message_from(message).check_first_in_chat()
    assert words in str(caught.value)


@given(text=st.text(min_size=1, max_size=40), start=st.integers(0, 90), length=st.integers(0, 90))
def test_decoration_ranges_count_utf16_units(text: str, start: int, length: int) -> None:
    decoration = {"range": [start, start + length], "style": "bold"}
    units = sum(2 if ord(character) > 0xFFFF else 1 for character in text)
    fits = length > 0 and start + length <= units
    part = {"type": "text", "value": text, "text_decorations": [decoration]}
    if fits:
        assert message_from([part]).to_wire()["parts"][0]["text_decorations"] == [decoration]
    else:
        assert "text_decorations" in refusal([part])


def test_an_animation_overlaps_nothing() -> None:
    def styled(*ranges: tuple[int, int, str, str]) -> Any:
        decorations = [{"range": [start, end], kind: name} for start, end, kind, name in ranges]
        return [{"type": "text", "value": "a" * 20, "text_decorations": decorations}]

    assert message_from(styled((0, 5, "style", "bold"), (3, 8, "style", "italic"))).parts
    assert message_from(styled((0, 5, "style", "bold"), (5, 8, "animation", "shake"))).parts
    assert "must not overlap" in refusal(styled((0, 5, "style", "bold"), (4, 8, "animation", "shake")))


@given(st.from_regex(r"\A\+[1-9][0-9]{1,14}\Z"))
def test_every_e164_number_is_a_handle(number: str) -> None:
    assert check_handle(number) == number


@pytest.mark.parametrize(
    "handle",
    [
        "",
        "12025550101",
        "+0125550101",
        "+1 202 555 0101",
        "+1(202)5550101",
        "+1-202-5550101",
        "a@b",
        "a b@c.d",
        "<a@b.cd>",
    ],
)
def test_what_is_no_handle(handle: str) -> None:
    with pytest.raises(InvalidRequestError, match=r"^to: must be an E\.164 number"):
        check_handle(handle, "to")


@pytest.mark.parametrize(
    "sender", ["+12025550123", "ann@mail.example", "123", "24273", "12345678", "ACME", "My Shop", "7Eleven"]
)
def test_what_a_message_can_come_from(sender: str) -> None:
    assert check_sender(sender, "from_handle") == sender


@pytest.mark.parametrize(
    "sender", ["", "12", "123456789", "2025550123", "+0123", "A" * 16, " ACME", "ACME\n", "a@b", 123, None]
)
def test_what_no_message_can_come_from(sender: Any) -> None:
    with pytest.raises(InvalidRequestError, match="^from_handle: must be an E.164 number"):
        check_sender(sender, "from_handle")


def test_handles_may_be_email_addresses() -> None:
    assert check_recipients("ann@mail.example") == ["ann@mail.example"]


@pytest.mark.parametrize("value", [None, 7, {"+12025550101": 1}])
def test_what_is_no_list_of_recipients(value: Any) -> None:
    with pytest.raises(InvalidRequestError, match="^to: must be a handle or a list of them"):
        check_recipients(value)


def test_a_refused_handle_is_shown_unless_it_may_be_a_text() -> None:
    for typo in ("+1 (202) 555-0101", "ann@mail", "home"):
        with pytest.raises(InvalidRequestError, match=re.escape(repr(typo))):
            check_handle(typo)
    for check in (check_handle, check_line):
        with pytest.raises(InvalidRequestError, match=r"got 25 characters$") as caught:
            check(SECRET)
        assert SECRET not in str(caught.value)


@pytest.mark.parametrize("count", [0, 32])
def test_number_of_recipients(count: int) -> None:
    with pytest.raises(InvalidRequestError, match=f"^to: must be 1 to 31 handles, got {count}"):
        check_recipients([f"+120255501{index:02}" for index in range(count)])


@given(st.lists(st.sampled_from(["text", "media"]), min_size=1, max_size=8))
def test_texts_and_media_mix_unless_two_texts_meet(kinds: list[str]) -> None:
    parts = [{"type": "text", "value": "a"} if kind == "text" else Media(attachment_id="m") for kind in kinds]
    if ("text", "text") in pairwise(kinds):
        assert "two texts" in refusal(parts)
    else:
        assert [part["type"] for part in message_from(parts).to_wire()["parts"]] == kinds
