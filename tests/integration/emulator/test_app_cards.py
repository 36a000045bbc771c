"""App cards and their updates, App Clips, experiences, and where stickers lie."""

from __future__ import annotations

import pytest

LINE, ANN, BOB = "+12025550101", "+12025550150", "+12025550151"
UUID = "00000000-0000-4000-8000-000000000000"
APP = {"bundle_id": "com.example.game", "name": "Game", "team_id": "ABCDE12345"}


def card(app=None, **more):
    part = {"type": "imessage_app", "app": app or APP, "layout": {"caption": "Your move"}, **more}
    return {"message": {"parts": [part]}}


def send(server, chat, body):
    return server.ok("POST", f"/v3/chats/{chat}/messages", body)["message"]


@pytest.fixture
def chat(server):
    return server.create(ANN)["id"]


def test_a_card_is_shown_as_it_was_sent(server, chat):
    layout = {"caption": "Your move", "image_url": "https://files.example/board.png", "image_title": "Board"}
    data = "data:application/json," + "x" * 16_000
    sent = send(server, chat, card(layout=layout, url=data, fallback_text="A game", interactive=False))
    (part,) = server.ok("GET", f"/v3/messages/{sent['id']}")["parts"]
    assert part["app"] == APP | {"app_store_id": None}
    assert (part["url"], part["fallback_text"]) == (data, "A game")
    assert part["layout"]["caption"] == "Your move"
    hosted = part["layout"]["image_url"]
    assert hosted != layout["image_url"]
    assert server.session.get(hosted, timeout=300).ok, "the platform serves a copy of the image"
    assert send(server, chat, card())["parts"][0]["fallback_text"] == "Your move"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"app": {"bundle_id": "a", "name": "b"}}, 1001),
        ({"app": APP | {"bundle_id": "a:b"}}, 1008),
        ({"app": APP | {"team_id": "abcde12345"}}, 1008),
        ({"app": APP | {"app_store_id": "1"}}, 1003),
        ({"layout": {}}, 1008),
        ({"layout": {"image_title": "t"}}, 1008),
        ({"layout": {"caption": "c", "image_subtitle": "t"}}, 1008),
        ({"layout": {"image_url": "http://files.example/a.png"}}, 1005),
        ({"layout": {"image_url": "https://files.example/a.mp4"}}, 1008),
        ({"url": "ftp://files.example"}, 1005),
        ({"url": "data:" + "x" * 16_380}, 1008),
        ({"url": "https://files.example/" + "x" * 2_048}, 1005),
        ({"interactive": "yes"}, 1003),
    ],
)
def test_refused_cards(server, chat, fields, code):
    assert server.refused("POST", f"/v3/chats/{chat}/messages", card(**fields))[1] == code


def test_only_imessage_carries_cards(server):
    clip = {"message": {"parts": [{"type": "app_clip", "value": "https://shop.example/clip", "caption": "Pay"}]}}
    server.set_handle(BOB, services=["SMS"])
    texting = server.create(BOB)["id"]
    path = f"/v3/chats/{texting}/messages"
    assert server.refused("POST", path, card()) == (409, 2018)
    assert server.refused("POST", path, clip) == (409, 2028)
    # Of a new chat it is not known before: the send is accepted, and fails.
    server.set_handle("+12025550159", services=["SMS"])
    sent = server.ok("POST", "/v3/messages", {"to": ["+12025550159"], **clip})["message"]
    server.advance(10)
    message = server.ok("GET", f"/v3/messages/{sent['id']}")
    assert (message["delivery_status"], message["service"]) == ("failed", "iMessage")


def test_a_card_is_replaced_by_a_new_message(server, chat):
    first = send(server, chat, card(url="https://game.example/1"))["id"]
    path = f"/v3/messages/{first}/update"
    move = {"layout": {"caption": "My move"}, "url": "https://game.example/2"}
    assert server.refused("POST", path, move) == (409, 2015), "it is not sent yet"
    server.advance(10)
    assert server.refused("POST", path, move | {"app": APP | {"name": "Other"}}) == (400, 1008)
    assert server.refused("POST", path, {"layout": {}}) == (400, 1008)
    assert server.refused("POST", path, move | {"experience": {"name": "link", "action": "open"}})[0] == 400
    updated = server.ok("POST", path, move | {"app": APP})
    assert updated["chat_id"] == chat
    second = updated["message"]
    assert second["id"] != first
    assert (second["parts"][0]["app"]["name"], second["parts"][0]["layout"]["caption"]) == ("Game", "My move")
    assert server.ok("GET", f"/v3/messages/{first}")["parts"][0]["url"] == "https://game.example/1"
    server.advance(10)
    text = server.send(chat)["id"]
    inbound = server.inbound(ANN, parts=card()["message"]["parts"], chat_id=chat)["id"]
    for other in (text, inbound):
        assert server.refused("POST", f"/v3/messages/{other}/update", move) == (400, 1005)
    assert server.refused("POST", f"/v3/messages/{UUID}/update", move) == (404, 2002)


def test_experiences(server, chat):
    listed = {one["experience"]: one for one in server.ok("GET", "/v3/experiences")["experiences"]}
    assert {"agentpay", "agentcard", "link"} <= set(listed)
    assert server.ok("GET", "/v3/experiences/link") == listed["link"]
    assert server.refused("GET", "/v3/experiences/none")[0] == 404
    for experience in listed.values():
        for action in experience["actions"]:
            params = {name: "https://shop.example/x" for name, field in action["fields"].items() if field["required"]}
            body = {"experience": {"name": experience["experience"], "action": action["name"], "params": params}}
            (part,) = send(server, chat, {"message": body})["parts"]
            assert part["type"] == "imessage_app"
            for url in params.values():
                assert part["url"] == url


@pytest.mark.parametrize(
    ("experience", "code"),
    [
        ({"name": "none", "action": "open"}, 2011),
        ({"name": "link"}, 1001),
        ({"name": "link", "action": "close"}, 1005),
        ({"name": "link", "action": "open"}, 1001),
        ({"name": "link", "action": "open", "params": {"url": "http://shop.example"}}, 1005),
        ({"name": "link", "action": "open", "params": {"url": "https://shop.example", "color": "red"}}, 1005),
        ({"name": "link", "action": "open", "params": {"url": "https://shop.example", "title": "x" * 101}}, 1005),
        ({"name": "agentcard", "action": "approve_card", "params": {"amount": -1}}, 1005),
        ({"name": "agentcard", "action": "approve_card", "params": {"uses": "1"}}, 1003),
    ],
)
def test_refused_experiences(server, chat, experience, code):
    assert server.refused("POST", f"/v3/chats/{chat}/messages", {"message": {"experience": experience}})[1] == code


def test_an_experience_has_one_recipient(server):
    group = server.create(ANN, BOB)["id"]
    body = {"message": {"experience": {"name": "agentcard", "action": "attach_card"}}}
    assert server.refused("POST", f"/v3/chats/{group}/messages", body) == (409, 2016)


def placements(server):
    """Where the stickers of the last message lie: the API shows it nowhere, and the ledger does."""
    return [reaction["placement"] for reaction in server.ledger()[-1]["reactions"]]


def test_a_sticker_is_placed_and_moved(server, chat):
    message = server.send(chat)["id"]
    path = f"/v3/messages/{message}/reactions"
    server.ok("POST", path, {"operation": "add", "type": "sticker", "emoji": "🎂"})
    placement = {"x": -1, "y": 0.5, "scale": 9, "rotation": 370}
    server.ok("POST", path, {"operation": "add", "type": "sticker", "emoji": "🎂", "placement": placement})
    assert placements(server) == [
        {"x": 0, "y": 0, "scale": 0.5, "rotation": 0},
        {"x": -1, "y": 0.5, "scale": 2.5, "rotation": 370},
    ]
    first, _ = server.ok("GET", f"/v3/messages/{message}")["parts"][0]["reactions"]
    moved = server.ok("PATCH", f"{path}/{first['id']}", {"placement": {"y": 1}})
    assert moved["success"]
    server.ok("PATCH", f"{path}/{first['id']}", {"placement": {"scale": 1}})
    assert placements(server)[0] == {"x": 0, "y": 1, "scale": 1, "rotation": 0}, "what is not given stays"


def test_refused_stickers(server, chat):
    message = server.send(chat)["id"]
    path = f"/v3/messages/{message}/reactions"
    server.ok("POST", path, {"operation": "add", "type": "love"})
    tapback = server.ok("GET", f"/v3/messages/{message}")["parts"][0]["reactions"][0]["id"]
    sticker = {"operation": "add", "type": "sticker", "emoji": "🎂"}
    assert server.refused("PATCH", f"{path}/{tapback}", {"placement": {}}) == (400, 1005)
    assert server.refused("PATCH", f"{path}/{UUID}", {"placement": {}}) == (404, 2002)
    assert server.refused("PATCH", f"{path}/{UUID}", {}) == (400, 1001)
    assert server.refused("POST", path, sticker | {"placement": {"x": 1.1}}) == (400, 1005)
    assert server.refused("POST", path, sticker | {"placement": {"scale": True}}) == (400, 1003)
    assert server.refused("POST", path, sticker | {"url": "https://files.example/a.png"}) == (400, 1005)
    del sticker["emoji"]
    assert server.refused("POST", path, sticker | {"url": "https://files.example/a.png"}) == (400, 1005)
    assert server.refused("POST", path, {"operation": "add", "type": "like", "emoji": "🎂"}) == (400, 1005)
    part = {"type": "text", "value": "hi", "inline_stickers": [{"range": [0, 1], "url": "https://files.example/a.png"}]}
    assert server.refused("POST", f"/v3/chats/{chat}/messages", {"message": {"parts": [part]}}) == (400, 1005)
