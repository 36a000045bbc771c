"""Changes of existing messages and groups."""

from __future__ import annotations

import pytest

LINE, ANN, BOB, CAT, DAN = "+12025550101", "+12025550150", "+12025550151", "+12025550152", "dan@example.com"


def shown(server, message_id):
    return server.ok("GET", f"/v3/messages/{message_id}")


# --- edits ------------------------------------------------------------------------------------------------------


def test_five_edits_within_fifteen_minutes(server):
    message = server.create(ANN, text="0")["message"]["id"]
    path = f"/v3/messages/{message}"
    for number in range(1, 6):
        edited = server.ok("PATCH", path, {"text": str(number)})
        assert edited["parts"][0]["value"] == str(number)
    assert server.refused("PATCH", path, {"text": "6"}) == (400, 1005)
    edits = server.ledger()[0]["edits"]
    assert [(one["before"], one["text"]) for one in edits] == [(str(n), str(n + 1)) for n in range(5)]
    late = server.create(BOB)["message"]["id"]
    server.advance(901)
    assert server.ok("PATCH", f"/v3/messages/{late}", {"text": "x"}), "the window runs from sent_at, one second later"
    server.advance(1)
    assert server.refused("PATCH", f"/v3/messages/{late}", {"text": "y"}) == (400, 1005)


def test_what_cannot_be_edited(server):
    chat = server.create(ANN)["id"]
    inbound = server.inbound(ANN, "hi")
    assert server.refused("PATCH", f"/v3/messages/{inbound['id']}", {"text": "x"}) == (403, 2005)
    sms = server.send(chat, preferred_service="SMS")["id"]
    assert server.refused("PATCH", f"/v3/messages/{sms}", {"text": "x"}) == (400, 1005)
    media = {"message": {"parts": [{"type": "media", "url": "https://example.com/a.png"}]}}
    picture = server.ok("POST", f"/v3/chats/{chat}/messages", media)["message"]["id"]
    assert server.refused("PATCH", f"/v3/messages/{picture}", {"text": "x"}) == (400, 1005)
    text = server.send(chat)["id"]
    assert server.refused("PATCH", f"/v3/messages/{text}", {"text": "x", "part_index": 1}) == (400, 1005)
    assert server.refused("PATCH", f"/v3/messages/{text}", {}) == (400, 1001)
    assert server.refused("PATCH", f"/v3/messages/{text}", {"text": ""}) == (400, 1004)


@pytest.mark.parametrize("moves", [True, False])
def test_whether_edits_and_reactions_move_updated_at(server, moves):
    server.set_switches(delivery_moves_message=False, edit_moves_message=moves, reaction_moves_message=moves)
    chat = server.create(ANN)["id"]
    first, second = server.send(chat)["id"], server.send(chat)["id"]
    server.advance(60)
    server.ok("PATCH", f"/v3/messages/{first}", {"text": "new"})
    server.react(second, ANN, "love")
    for message in (first, second):
        answer = shown(server, message)
        assert (answer["updated_at"] > answer["created_at"]) is moves


def test_edits_and_reactions_can_become_visible_later(server):
    server.set_switches(edit_seconds=5, reaction_seconds=5)
    message = server.create(ANN, text="old")["message"]["id"]
    server.ok("PATCH", f"/v3/messages/{message}", {"text": "new"})
    server.ok("POST", f"/v3/messages/{message}/reactions", {"operation": "add", "type": "like"})
    for wait, text, reactions in ((4.9, "old", 0), (0.1, "new", 1)):
        server.advance(wait)
        part = shown(server, message)["parts"][0]
        assert (part["value"], len(part["reactions"] or [])) == (text, reactions)


def test_a_contact_edits_its_message(server):
    inbound = server.inbound(ANN, "helo")
    edited = server.edit_message(inbound["id"], "hello")
    assert edited["parts"][0]["value"] == "hello"


# --- reactions --------------------------------------------------------------------------------------------------


def test_one_tapback_for_each_person_and_part(server):
    message = server.create(ANN)["message"]["id"]
    path = f"/v3/messages/{message}/reactions"
    server.ok("POST", path, {"operation": "add", "type": "love"})
    server.ok("POST", path, {"operation": "add", "type": "custom", "custom_emoji": "🎉"})
    server.react(message, ANN, "laugh")
    reactions = shown(server, message)["parts"][0]["reactions"]
    assert [(one["type"], one["custom_emoji"], one["is_me"]) for one in reactions] == [
        ("custom", "🎉", True),
        ("laugh", None, False),
    ]
    server.ok("POST", path, {"operation": "remove", "type": "custom", "custom_emoji": "🎉"})
    server.ok("POST", path, {"operation": "remove", "type": "like"})
    assert [one["type"] for one in shown(server, message)["parts"][0]["reactions"]] == ["laugh"]


def test_stickers_stack_and_stay(server):
    message = server.create(ANN)["message"]["id"]
    path = f"/v3/messages/{message}/reactions"
    for _ in range(2):
        server.ok("POST", path, {"operation": "add", "type": "sticker", "emoji": "🎂"})
    reactions = shown(server, message)["parts"][0]["reactions"]
    assert [one["type"] for one in reactions] == ["sticker", "sticker"]
    assert reactions[0]["sticker"]["mime_type"] == "image/png"
    assert server.refused("POST", path, {"operation": "remove", "type": "sticker", "emoji": "🎂"}) == (400, 1005)
    assert server.refused("POST", path, {"operation": "add", "type": "sticker"}) == (400, 1005)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"type": "love"}, 1001),
        ({"operation": "add"}, 1001),
        ({"operation": "toggle", "type": "love"}, 1005),
        ({"operation": "add", "type": "hate"}, 1005),
        ({"operation": "add", "type": "custom"}, 1001),
        ({"operation": "add", "type": "love", "part_index": 1}, 1005),
    ],
)
def test_refused_reactions(server, body, code):
    message = server.create(ANN)["message"]["id"]
    assert server.refused("POST", f"/v3/messages/{message}/reactions", body) == (400, code)


# --- threads, deletion, read ------------------------------------------------------------------------------------


def test_a_thread_is_its_first_message_and_all_answers(server):
    chat = server.create(ANN, text="0")
    root = chat["message"]["id"]
    ids = [root]
    for number in range(1, 5):
        server.advance(10)
        ids.append(server.send(chat["id"], str(number), reply_to={"message_id": ids[number // 2]})["id"])
    server.send(chat["id"], "not of the thread")
    for member in ids:
        assert [one["id"] for one in server.walk(f"/v3/messages/{member}/thread", "messages", limit=2)] == ids
    newest = server.walk(f"/v3/messages/{root}/thread", "messages", limit=3, order="desc")
    assert [one["id"] for one in newest] == ids[::-1]
    assert server.refused("GET", f"/v3/messages/{root}/thread", params={"order": "up"}) == (400, 1005)
    lone = server.inbound(ANN, "hi")
    assert [one["id"] for one in server.ok("GET", f"/v3/messages/{lone['id']}/thread")["messages"]] == [lone["id"]]


def test_a_reply_needs_a_message_of_the_chat(server):
    chat, other = server.create(ANN)["id"], server.create(BOB)
    foreign = {"parts": [{"type": "text", "value": "x"}], "reply_to": {"message_id": other["message"]["id"]}}
    assert server.refused("POST", f"/v3/chats/{chat}/messages", {"message": foreign}) == (404, 2002)


def test_a_deleted_message_is_gone_and_in_the_ledger(server):
    chat = server.create(ANN)
    message = chat["message"]["id"]
    assert server.call("DELETE", f"/v3/messages/{message}").status_code == 204
    assert server.refused("DELETE", f"/v3/messages/{message}") == (404, 2002)
    assert server.refused("GET", f"/v3/messages/{message}") == (404, 2002)
    edited = server.call("PATCH", f"/v3/messages/{message}", {"text": "x"})
    assert (edited.status_code, edited.content) == (204, b""), "an edit of what is deleted says nothing"
    assert server.refused("PATCH", "/v3/messages/00000000-0000-4000-8000-000000000000", {"text": "x"}) == (404, 2002)
    assert server.ok("GET", f"/v3/chats/{chat['id']}/messages")["messages"] == []
    assert server.ledger()[0]["deleted_at"] == "2026-11-21T10:00:00.000Z"


def test_marking_a_chat_as_read(server):
    inbound = server.inbound(ANN, "hi")
    assert server.call("POST", f"/v3/chats/{inbound['chat_id']}/read").status_code == 204
    answer = shown(server, inbound["id"])
    assert (answer["delivery_status"], answer["is_read"]) == ("read", True)
    group = server.create(ANN, BOB)["id"]
    unread = server.inbound(ANN, "hi", chat_id=group)
    server.call("POST", f"/v3/chats/{group}/read")
    assert shown(server, unread["id"])["delivery_status"] == "received"


# --- groups -----------------------------------------------------------------------------------------------------


def test_names_and_icons_apply_later(server):
    chat = server.create(ANN, BOB)["id"]
    body = {"display_name": "Team", "group_chat_icon": "https://example.com/icon.png"}
    accepted = server.call("PUT", f"/v3/chats/{chat}", body)
    assert (accepted.status_code, accepted.json()) == (202, {"chat_id": chat, "status": "pending"})
    assert server.ok("GET", f"/v3/chats/{chat}")["display_name"] == f"{ANN}, {BOB}"
    server.advance(1)
    answer = server.ok("GET", f"/v3/chats/{chat}")
    assert (answer["display_name"], answer["group_chat_icon"]) == ("Team", "https://example.com/icon.png")
    assert answer["updated_at"] == "2026-11-21T10:00:01.000Z"


@pytest.mark.parametrize(("status", "of_participants"), [(409, 400), (400, 409)])
def test_group_actions_on_a_direct_chat(server, status, of_participants):
    if status != 409:
        server.set_switches(direct_group_action_status=status, direct_participants_status=of_participants)
    chat = server.create(ANN)["id"]
    assert server.refused("PUT", f"/v3/chats/{chat}", {"display_name": "x"}) == (status, 1006)
    for method, handle in (("POST", BOB), ("DELETE", ANN)):
        assert server.refused(method, f"/v3/chats/{chat}/participants", {"handle": handle}) == (of_participants, 1006)
    assert server.refused("POST", f"/v3/chats/{chat}/leave") == (status, 1006)


def test_participants(server):
    chat = server.create(ANN, BOB)["id"]
    path = f"/v3/chats/{chat}/participants"
    assert server.refused("DELETE", path, {"handle": BOB}) == (409, 2015)
    added = server.call("POST", path, {"handle": CAT})
    assert (added.status_code, added.json()["status"]) == (202, "accepted")
    assert added.json()["trace_id"] == added.headers["X-Trace-ID"]
    server.advance(1)
    assert server.refused("POST", path, {"handle": CAT}) == (409, 2015)
    sent = server.send(chat)["id"]
    server.ok("DELETE", path, {"handle": BOB})
    server.advance(1)
    handles = {one["handle"]: one["status"] for one in server.ok("GET", f"/v3/chats/{chat}")["handles"]}
    assert handles == {LINE: "active", ANN: "active", BOB: "removed", CAT: "active"}
    assert server.ok("GET", "/v3/chats", params={"to": BOB})["chats"] == []
    assert set(next(one for one in server.ledger() if one["id"] == sent)["to"]) == {ANN, BOB, CAT}
    server.set_handle(DAN, services=["SMS"])
    assert server.refused("POST", path, {"handle": DAN}) == (409, 2017)


def test_leaving_a_group_of_four(server):
    small = server.create(ANN, BOB)["id"]
    assert server.refused("POST", f"/v3/chats/{small}/leave") == (409, 2015)
    chat = server.create(ANN, BOB, CAT)
    assert server.call("POST", f"/v3/chats/{chat['id']}/leave").status_code == 202
    server.advance(1)
    base, text = f"/v3/chats/{chat['id']}", {"parts": [{"type": "text", "value": "x"}]}
    for method, path, body in (
        ("POST", f"{base}/messages", {"message": text}),
        ("POST", f"{base}/typing", None),
        ("POST", f"{base}/read", None),
        ("POST", f"{base}/participants", {"handle": DAN}),
        ("POST", f"/v3/messages/{chat['message']['id']}/reactions", {"operation": "add", "type": "love"}),
    ):
        assert server.refused(method, path, body) == (409, 2013), path
    assert server.ok("GET", f"{base}/messages")["messages"][0]["from_handle"]["status"] == "left"
