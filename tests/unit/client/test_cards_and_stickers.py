"""Cards, stickers, polls and backgrounds: what is refused before anything is sent, and how that reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linq_client import (
    AppCard,
    AppClip,
    CardApp,
    CardLayout,
    Experience,
    InvalidRequestError,
    LinqClient,
    Message,
    Placement,
    Text,
    message_from,
)

SECRET = "the cake is in the cellar"
APP = {"name": "Shop", "team_id": "ABCDE12345", "bundle_id": "example.shop"}
URL = "https://files.example/a.png"


def card(**fields: Any) -> dict[str, Any]:
    return {"type": "imessage_app", "app": APP, "layout": {"caption": "a"}, **fields}


def refusal(value: Any) -> str:
    with pytest.raises(InvalidRequestError) as caught:
        message_from(value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([card(app={**APP, "team_id": "abc"})], "parts[0].app.team_id: must be 10 capital letters and digits, got 3"),
        (
            [card(app={**APP, "bundle_id": "a:b"})],
            "parts[0].app.bundle_id: must be a bundle identifier without a colon",
        ),
        ([card(layout={})], "parts[0].layout.caption: give it, another caption or image_url, got none"),
        ([card(layout={"caption": ""})], "parts[0].layout.caption: give it, another caption or image_url"),
        ([card(layout={"caption": "a", "image_title": "b"})], "parts[0].layout.image_title: needs an image_url"),
        ([card(layout={"caption": "a", "image_url": "b"})], "parts[0].layout.image_url: must be an http or https URL"),
        ([card(url="http://x.example")], "parts[0].url: must be an https or a data URL without spaces, got 16"),
        (
            [card(url="https://x.example/" + "a" * 2_048)],
            "parts[0].url: must be 2,048 characters at most as a URL of ht",
        ),
        ([card(url="data:," + "a" * 16_384)], "parts[0].url: must be 16,384 characters at most as a URL of data"),
        ([card(), "a"], "parts: an app card must be the only part, got ['imessage_app', 'text']"),
        ([{"type": "app_clip", "value": "http://x.example"}], "parts[0].value: must be an https URL without spaces"),
        ([{"type": "app_clip", "value": URL}, "a"], "parts: an App Clip must be the only part"),
        (
            {"parts": [card()], "preferred_service": "SMS"},
            "preferred_service: a card goes by iMessage alone, got 'SMS'",
        ),
        (
            {"experience": {"name": "x", "action": "y"}, "preferred_service": "RCS"},
            "preferred_service: a card goes by iMessage alone, got 'RCS'",
        ),
        (
            {"parts": ["a"], "experience": {"name": "x", "action": "y"}},
            "experience: give it or parts, not both, got it",
        ),
        ({"experience": {"name": "x", "action": ""}}, "experience.action: string should have at least 1 character"),
        ({"experience": {"name": "x", "action": "y", "params": {"a": {"b": 1}}}}, "experience.params.a"),
        ({}, "parts: must be 1 to 100, got 0"),
    ],
)
def test_what_no_card_may_be(value: Any, words: str) -> None:
    assert words in refusal(value)


@pytest.mark.parametrize(
    "value",
    [
        [card(url=SECRET)],
        [card(layout={"caption": [SECRET]})],
        [card(fallback_text=[SECRET])],
        [card(app={**APP, "team_id": SECRET})],
        [{"type": "app_clip", "value": SECRET}],
        {"experience": {"name": "x", "action": "y", "params": {SECRET: [SECRET]}}},
        {"experience": SECRET},
    ],
)
def test_a_refusal_never_holds_what_a_card_says(value: Any) -> None:
    assert SECRET not in refusal(value)


def test_cards_go_over_the_wire_as_they_are_documented() -> None:
    sent = AppCard(app=CardApp(**APP), layout=CardLayout(caption="a"), url="data:,x", interactive=False)
    assert message_from([sent]).to_wire() == {"parts": [card(url="data:,x", interactive=False)]}
    assert message_from([AppClip(value=URL)]).to_wire() == {"parts": [{"type": "app_clip", "value": URL}]}
    experience = Experience(name="x", action="y", params={"url": URL, "cents": 5})
    assert Message(experience=experience).to_wire() == {
        "experience": {"name": "x", "action": "y", "params": {"url": URL, "cents": 5}}
    }


def stickers(value: str, *ranges: tuple[int, int], **fields: Any) -> list[dict[str, Any]]:
    return [
        {"type": "text", "value": value, "inline_stickers": [{"range": one, "url": URL} for one in ranges]} | fields
    ]


@given(text=st.text(min_size=1, max_size=30), start=st.integers(0, 70), length=st.integers(0, 5))
def test_an_inline_sticker_covers_whole_characters_of_its_text(text: str, start: int, length: int) -> None:
    ends = {0}
    for character in text:
        ends.add(max(ends) + (2 if ord(character) > 0xFFFF else 1))
    if length and {start, start + length} <= ends:
        part = message_from(stickers(text, (start, start + length))).parts[0]
        assert isinstance(part, Text)
        assert part.inline_stickers
    else:
        assert "inline_stickers" in refusal(stickers(text, (start, start + length)))


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (stickers("abcdef", (0, 3), (2, 4)), "inline_stickers: must overlap nothing, got ([2, 4], [0, 3])"),
        (
            stickers("abcdef", (0, 3), text_decorations=[{"range": [2, 4], "style": "bold"}]),
            "inline_stickers: must overlap nothing",
        ),
        (stickers("abcdef", (0, 3), mention="+12025550121"), "inline_stickers: not together with a mention, got 1"),
        (stickers("a" * 101, *((n, n + 1) for n in range(101))), "must be 100 of 10 images at most, got 101 of 1"),
        (stickers("abc", (2, 2)), "inline_stickers[0].range: must end after it starts"),
        (
            [{"type": "text", "value": "a", "inline_stickers": [{"range": [0, 1]}]}],
            "give it or attachment_id, not both",
        ),
    ],
)
def test_what_no_inline_sticker_may_be(parts: Any, words: str) -> None:
    assert words in refusal(parts)


def test_ten_images_are_enough() -> None:
    images = [{"range": [n, n + 1], "attachment_id": str(n)} for n in range(11)]
    assert "got 11 of 11" in refusal([{"type": "text", "value": "a" * 11, "inline_stickers": images}])


CALLS: list[tuple[Callable[[LinqClient], object], str]] = [
    (lambda c: c.messages.react("m", "sticker"), "emoji: give one of emoji, url and attachment_id with type sticker"),
    (lambda c: c.messages.react("m", "sticker", emoji="a", url=URL), "emoji: give one of"),
    (lambda c: c.messages.react("m", "love", emoji="a"), "emoji: give one of"),
    (lambda c: c.messages.react("m", "love", placement=Placement(x=0)), "placement: goes with type sticker alone"),
    (
        lambda c: c.messages.react("m", "sticker", emoji="a", operation="remove"),
        "operation: a sticker can't be removed",
    ),
    (lambda c: c.messages.react("m", "sticker", url="http://x.example"), "url: must be an https URL"),
    (lambda c: c.messages.react("m", "wow"), "type: must be one of love, like"),  # type: ignore[arg-type]
    (lambda c: c.messages.react("m", "love", part_index=-1), "part_index: must be 0 or more, got -1"),
    (lambda c: c.messages.move_sticker("m", "", Placement(x=0)), "reaction_id: must be an id"),
    (lambda c: Placement(x=2), "x: input should be less than or equal to 1, got 2"),
    (lambda c: Placement(rotation=float("nan")), "rotation: input should be a finite number, got nan"),
    (lambda c: c.messages.update_card("m", {"caption": "a"}, url="x"), "url: must be an https or a data URL"),
    (lambda c: c.messages.update_card("m", {"image_title": "a"}), "layout.caption: give it"),
    (
        lambda c: c.messages.update_card("m", {"caption": "a"}, url=URL, experience={"name": "x", "action": "y"}),
        "url: give it or experience, not both",
    ),
    (lambda c: c.polls.create("c", ["a"]), "options: must be a list of 2 texts or more, got 1"),
    (lambda c: c.polls.create("c", "ab"), "options: must be a list of 2 texts or more, got str"),
    (lambda c: c.polls.create("c", ["a", ""]), "options[1]: must be text of 1 to 10,000 characters, got 0"),
    (lambda c: c.polls.create("c", ["a", "b"], idempotency_key=""), "idempotency_key: must be 1 to 255 printable"),
    (lambda c: c.polls.add_options("m", []), "options: must be a list of 1 texts or more, got 0"),
    (lambda c: c.polls.vote("m", ""), "option_id: must be an id"),
    (lambda c: c.polls.vote("m", "o", operation="undo"), "operation: must be one of add, remove"),  # type: ignore[arg-type]
    (lambda c: c.background.set("c", "video"), "type: must be one of color, dynamic, photo"),  # type: ignore[arg-type]
    (lambda c: c.background.set("c", "color", variant="blue"), "variant: must be one of mango"),
    (lambda c: c.background.set("c", "color"), "shades: go with the variant custom alone, got None"),
    (lambda c: c.background.set("c", "color", variant="ice", shades=["#FFFFFF"]), "shades: go with the variant custom"),
    (lambda c: c.background.set("c", "color", shades=["#FFF", "#000"]), "shades: must be two colors like #F2C4E1"),
    (lambda c: c.background.set("c", "dynamic", style="sky", variant="green"), "variant: must be one of dusk"),
    (lambda c: c.background.set("c", "dynamic", variant="green"), "style: must be one of sky"),
    (lambda c: c.background.set("c", "photo"), "image_url: must be an https URL"),
    (lambda c: c.background.set("c", "photo", image_url=URL, variant="ice"), "variant: goes with another type"),
    (lambda c: c.available_number.get(to=[]), "to: must be 1 to 31 handles, got 0"),
    (lambda c: c.available_number.get(exclude_from=["555"]), "exclude_from: must be E.164"),
    (lambda c: c.available_number.get(type="SMS"), "type: must be one of iMessage, RCS"),  # type: ignore[arg-type]
    (lambda c: c.blocked_handles.block("12"), "handle: must be an E.164 number"),
    (lambda c: c.blocked_handles.unblock(""), "handle: must be an E.164 number"),
    (lambda c: c.phone_numbers.start_reputation_audit("5550101"), "phone_number: must be E.164"),
    (lambda c: c.experiences.get("."), "name: must be an id"),
    (lambda c: c.request("GET", "@evil.example/v3/chats"), "path: must begin with /v3/ and have no query"),
    (lambda c: c.request("GET", "https://evil.example/v3/chats"), "path: must begin with /v3/"),
    (lambda c: c.request("GET", ":1@evil.example/"), "path: must begin with /v3/"),
    (lambda c: c.request("GET", "/v3/../../chats"), "path: must begin with /v3/"),
    (lambda c: c.request("GET", "/v3/%2e%2e/chats"), "path: must begin with /v3/"),
    (lambda c: c.request("GET", "/v3/chats?limit=1"), "path: must begin with /v3/"),
    (lambda c: c.request("GET", "/v3/chats\r\nX: y"), "path: must begin with /v3/"),
    (lambda c: c.request("POST", "/v3/payments", idempotency_key="a\n"), "idempotency_key: must be 1 to 255"),
]


@pytest.mark.parametrize(("call", "words"), CALLS, ids=[words[:40] for _, words in CALLS])
def test_a_refusal_names_field_rule_and_value(call: Callable[[LinqClient], object], words: str) -> None:
    """There is no server: whatever is sent fails in another way."""
    with LinqClient("k", base_url="http://127.0.0.1:9", max_retries=0) as client:
        with pytest.raises(InvalidRequestError) as caught:
            call(client)
        assert words in str(caught.value)
        assert client.stats.requests == 0
