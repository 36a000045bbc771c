"""What is rarely asked for: stickers in a text, lines without iMessage, and what no client of ours is refused."""

from __future__ import annotations

from typing import Any

import pytest
import requests

LINE, OTHER_LINE, ANN, BOB, CAT = "+12025550101", "+12025550102", "+12025550150", "+12025550151", "+12025550152"
UUID = "00000000-0000-4000-8000-000000000000"


def text(**fields: Any) -> dict[str, Any]:
    return {"parts": [{"type": "text", "value": "hello", **fields}]}


class TestInlineStickers:
    @pytest.fixture
    def image(self, server: Any) -> str:
        return str(server.add_file("star.png", "image/png", b"\x89PNG"))

    def test_they_are_sent_with_their_text(self, server: Any, image: str) -> None:
        chat = server.create(ANN)["id"]
        first = server.send(chat, inline_stickers=[])  # of the message, where it means nothing
        message = text(
            inline_stickers=[{"attachment_id": image, "range": [0, 1]}, {"attachment_id": image, "range": [4, 5]}]
        )
        sent = server.ok("POST", f"/v3/chats/{chat}/messages", {"message": message})["message"]
        assert sent["id"] != first["id"]
        (part,) = sent["parts"]
        assert [(one["id"], one["range"], one["file_name"]) for one in part["inline_stickers"]] == [
            (image, [0, 1], "star.png"),
            (image, [4, 5], "star.png"),
        ]
        assert requests.get(part["inline_stickers"][0]["url"], timeout=60).content == b"\x89PNG"
        again = text(inline_stickers=[{"url": part["inline_stickers"][0]["url"], "range": [0, 1]}])
        other = server.ok("POST", f"/v3/chats/{chat}/messages", {"message": again})["message"]
        assert other["parts"][0]["inline_stickers"][0]["id"] == image

    @pytest.mark.parametrize(
        ("stickers", "code"),
        [
            ([{"range": [0, 1]}], 1004),
            ([1], 1003),
            ([{"attachment_id": "IMAGE"}], 1001),
            ([{"attachment_id": "IMAGE", "range": [0, 6]}], 1004),
            ([{"attachment_id": "IMAGE", "range": [0, 2]}, {"attachment_id": "IMAGE", "range": [1, 3]}], 1004),
            ([{"attachment_id": "IMAGE", "range": [0, 1]}] * 101, 1004),
            ([{"attachment_id": UUID, "range": [0, 1]}], 2003),
            ([{"url": "https://example.com/a.png", "range": [0, 1]}], 1005),
        ],
    )
    def test_what_can_not_be_one(self, server: Any, image: str, stickers: list[Any], code: int) -> None:
        chat = server.create(ANN)["id"]
        for one in stickers:
            if isinstance(one, dict) and one.get("attachment_id") == "IMAGE":
                one["attachment_id"] = image
        message = text(inline_stickers=stickers)
        assert server.refused("POST", f"/v3/chats/{chat}/messages", {"message": message})[1] == code

    def test_no_more_than_ten_images(self, server: Any) -> None:
        images = [server.add_file(f"{number}.png", "image/png", b"\x89PNG") for number in range(11)]
        chat = server.create(ANN)["id"]
        value = "hello hello hello"
        stickers = [{"attachment_id": one, "range": [at, at + 1]} for at, one in enumerate(images)]
        for count, is_taken in ((10, True), (11, False)):
            message = {"parts": [{"type": "text", "value": value, "inline_stickers": stickers[:count]}]}
            assert server.call("POST", f"/v3/chats/{chat}/messages", {"message": message}).ok is is_taken

    def test_none_beside_a_mention(self, server: Any, image: str) -> None:
        chat = server.create(ANN, BOB)["id"]
        message = text(mention=ANN, inline_stickers=[{"attachment_id": image, "range": [0, 1]}])
        assert server.refused("POST", f"/v3/chats/{chat}/messages", {"message": message})[1] == 1004


def test_a_line_of_rcs_sends_no_imessage(server: Any) -> None:
    server.control("POST", "lines", {"phone_number": OTHER_LINE, "line_type": "RCS"})
    assert server.create(ANN)["service"] == "iMessage"
    assert server.create(ANN, line=OTHER_LINE)["service"] == "RCS"
    found = server.ok("GET", "/v3/available_number", params={"type": "rcs"})
    assert found["phone_number"] == OTHER_LINE
    assert server.refused("GET", "/v3/available_number", params={"type": "pigeon"}) == (400, 1005)


@pytest.mark.parametrize("scope", ["account", "line", "chat"])
def test_a_key_is_known_where_the_platform_chooses_the_line(server: Any, scope: str) -> None:
    server.set_switches(idempotency_scope=scope)
    body = {"to": [ANN], "message": {**text(), "idempotency_key": "k"}}
    first, again = (server.ok("POST", "/v3/messages", body) for _ in range(2))
    assert first["message"]["id"] == again["message"]["id"]
    assert len(server.ledger()) == 1


def test_a_location_may_have_an_altitude(server: Any) -> None:
    chat = server.create(ANN)["id"]
    server.set_handle(ANN, location={"latitude": 52.5, "longitude": 13.4, "altitude": 34.0})
    (feature,) = server.ok("GET", f"/v3/chats/{chat}/location")["data"]["features"]
    assert feature["geometry"]["coordinates"] == [13.4, 52.5, 34.0]


def test_a_routing_header_may_change(server: Any) -> None:
    made = server.ok(
        "POST",
        "/v3/webhook-subscriptions",
        {"target_url": "https://example.com/x", "subscribed_events": ["message.sent"]},
    )
    path = f"/v3/webhook-subscriptions/{made['id']}"
    assert server.ok("PUT", path, {"routing_key_header": "X-Key"})["routing_key_header"] == "X-Key"
    changed = server.ok("PUT", path, {"routing_id_header": "X-Id"})
    assert (changed["routing_key_header"], changed["routing_id_header"]) == ("X-Key", "X-Id")


@pytest.mark.parametrize(
    ("method", "path", "body", "code"),
    [
        ("PUT", "/v3/chats/{group}", {}, 1001),
        ("PUT", "/v3/chats/{group}", {"display_name": "  "}, 1005),
        ("DELETE", "/v3/chats/{group}/participants", {"handle": CAT}, 1005),
        ("POST", "/v3/contact_card", {"phone_number": LINE, "first_name": ""}, 1005),
    ],
)
def test_what_is_refused(server: Any, method: str, path: str, body: dict[str, Any], code: int) -> None:
    group = server.create(ANN, BOB)["id"]
    assert server.refused(method, path.format(group=group), body) == (400, code)


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("reactions", {"message_id": "{sent}", "from": ANN, "type": "wave"}, "type"),
        ("reactions", {"message_id": "{sent}", "from": ANN, "type": "like", "custom_emoji": "x"}, "custom_emoji"),
        ("reactions", {"message_id": "{sent}", "from": ANN, "type": "like", "part_index": 9}, "part_index"),
        ("edits", {"message_id": "{sent}", "text": "x"}, "message_id"),
        ("edits", {"message_id": "{got}", "text": "x", "part_index": 1}, "part_index"),
        ("inbound", {"line": "+12025550199", "from": ANN, "text": "x"}, "line"),
        ("inbound", {"chat_id": UUID, "from": ANN, "text": "x"}, "chat_id"),
    ],
)
def test_what_can_not_be_ordered(server: Any, path: str, body: dict[str, Any], field: str) -> None:
    sent = server.create(ANN)["message"]["id"]
    got = server.control("POST", "inbound", {"line": LINE, "from": ANN, "text": "hi"})["id"]
    given = {name: value.format(sent=sent, got=got) if name == "message_id" else value for name, value in body.items()}
    url = f"{server.base_url.removesuffix('/api/partner')}/_emulator/{path}"
    response = server.session.post(url, json=given, timeout=60)
    assert response.status_code in (400, 404)
    assert response.json()["error"]["field"] == field
