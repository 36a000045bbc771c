"""Polls and votes, from both sides, and the events that tell of them."""

from __future__ import annotations

import json

import pytest

LINE, ANN, BOB, CAT = "+12025550101", "+12025550150", "+12025550151", "+12025550152"
FIRST = ["Friday", "Saturday"]


@pytest.fixture
def chat(server):
    return delivered_chat(server, ANN, BOB)


def delivered_chat(server, *to):
    """A chat whose first message has been delivered."""
    made = server.create(*to)["id"]
    server.advance(60)
    return made


def options(*texts):
    return [{"text": text} for text in texts]


def create(server, chat, *texts, **more):
    return server.ok("POST", f"/v3/chats/{chat}/polls", {"poll": {"options": options(*(texts or FIRST)), **more}})


def votes(poll):
    return {option["text"]: [voter["handle"] for voter in option["voters"]] for option in poll["poll"]["options"]}


def subscribe(server):
    body = {"target_url": "https://hooks.example/polls", "subscribed_events": events_of(server, "poll.", "message.")}
    server.ok("POST", "/v3/webhook-subscriptions", body)


def events_of(server, *starts):
    return [name for name in server.ok("GET", "/v3/webhook-events")["events"] if name.startswith(starts)]


def events(server):
    """Type and data of every event so far."""
    bodies = [json.loads(delivery["body"]) for delivery in server.webhook_deliveries()]
    return [(body["event_type"], body["data"]) for body in bodies]


def test_options_and_votes_of_both_sides(server, chat):
    poll = create(server, chat)
    path = f"/v3/messages/{poll['message_id']}/poll"
    assert votes(poll) == {"Friday": [], "Saturday": []}
    assert poll["poll"]["options"][0]["creator_handle"]["is_me"]

    added = server.ok("POST", f"{path}/options", {"options": options("Sunday")})
    assert [option["text"] for option in added["poll"]["options"]] == [*FIRST, "Sunday"]
    sunday = added["poll"]["options"][2]["option_id"]
    server.ok("POST", f"{path}/votes", {"operation": "add", "option_id": sunday})
    server.vote(poll["message_id"], ANN, "Sunday")
    server.vote(poll["message_id"], ANN, "Friday")
    theirs = server.add_poll_options(poll["message_id"], BOB, ["Monday"])["poll"]["options"][3]
    assert theirs["creator_handle"]["handle"] == BOB

    now = server.ok("GET", path)
    assert votes(now) == {"Friday": [ANN], "Saturday": [], "Sunday": [LINE, ANN], "Monday": []}
    assert now["poll"]["total_voters"] == 2, "who votes for two options counts once"

    server.vote(poll["message_id"], ANN, "Friday", operation="remove")
    left = server.ok("POST", f"{path}/votes", {"operation": "remove", "option_id": sunday})
    assert votes(left) == {"Friday": [], "Saturday": [], "Sunday": [ANN], "Monday": []}


def test_events_of_an_outbound_poll(server, chat):
    subscribe(server)
    poll = create(server, chat)
    server.advance(60)
    path = f"/v3/messages/{poll['message_id']}/poll"
    option = poll["poll"]["options"][0]["option_id"]
    for _ in range(2):  # the second one changes nothing
        server.ok("POST", f"{path}/votes", {"operation": "add", "option_id": option})
    server.vote(poll["message_id"], ANN, "Friday")
    server.vote(poll["message_id"], ANN, "Friday", operation="remove")
    server.add_poll_options(poll["message_id"], BOB, ["Sunday"])
    server.react(poll["message_id"], ANN, "sticker", emoji="🎂")
    got = events(server)
    assert [name for name, _ in got] == [
        "poll.sent",
        "poll.vote.added",
        "poll.vote.added",
        "poll.vote.removed",
        "poll.updated",
        "poll.reaction.added",
    ], "a group has no receipts"
    assert [(data["direction"], data["sender_handle"]["handle"]) for _, data in got[:5]] == [
        ("outbound", LINE),
        ("outbound", LINE),
        ("inbound", ANN),
        ("inbound", ANN),
        ("inbound", LINE),
    ]
    added = got[4][1]["added_options"]
    assert [(option["text"], option["creator_handle"]["handle"]) for option in added] == [("Sunday", BOB)]
    assert all(data["message_id"] == poll["message_id"] for _, data in got)


def test_a_direct_poll_is_delivered_and_can_fail(server):
    chat = delivered_chat(server, ANN)
    subscribe(server)
    server.set_switches(read_share=1)
    create(server, chat)
    server.advance(60)
    failed = create(server, chat)["message_id"]
    server.report_receipt(failed, "failed", code=4005)
    assert [name for name, _ in events(server)] == ["poll.sent", "poll.delivered", "poll.read", "poll.failed"]
    assert events(server)[-1][1]["error"]["code"] == 4005


def test_an_inbound_poll(server):
    subscribe(server)
    poll = server.receive_poll(ANN, FIRST, line=LINE)
    assert server.ok("GET", f"/v3/messages/{poll['message_id']}/poll") == poll
    (name, data), *_ = events(server)
    assert (name, data["direction"], data["sender_handle"]["handle"]) == ("poll.received", "inbound", ANN)
    assert [option["text"] for option in data["poll"]["options"]] == FIRST
    server.set_handle(ANN, blocked=True)
    assert server.receive_poll(ANN, FIRST, line=LINE) == {"dropped": True}


@pytest.mark.parametrize("listed", [True, False])
def test_a_poll_in_the_list_of_messages(server, chat, listed):
    server.set_switches(poll_messages=listed)
    server.set_line(LINE, retention_hours=1)
    poll = create(server, chat)["message_id"]
    items = {item["id"]: item for item in server.walk(f"/v3/chats/{chat}/messages", "messages")}
    assert (poll in items) == listed
    assert server.ok("GET", f"/v3/messages/{poll}")["parts"] is None
    server.advance(3600 + 301)
    assert server.refused("GET", f"/v3/messages/{poll}/poll") == (404, 2002), "it expires like any message"
    assert server.refused("GET", f"/v3/messages/{poll}") == (404, 2002)


def test_a_deleted_poll_is_gone(server, chat):
    server.set_switches(poll_messages=False)
    poll = create(server, chat)["message_id"]
    server.ok("DELETE", f"/v3/messages/{poll}")
    assert server.refused("GET", f"/v3/messages/{poll}/poll") == (404, 2002)


def test_a_key_makes_one_poll(server, chat):
    first, again = (create(server, chat, idempotency_key="k-1") for _ in range(2))
    assert first == again
    assert len(server.ledger()) == 2, "the first message of the chat, and one poll"


def test_without_retention_only_the_one_who_writes_them_sees_the_texts(server):
    server.set_line(LINE, zero_retention=True)
    chat = delivered_chat(server, ANN)
    subscribe(server)
    poll = create(server, chat)
    path = f"/v3/messages/{poll['message_id']}/poll"
    assert [option["text"] for option in poll["poll"]["options"]] == FIRST
    assert [option["text"] for option in server.ok("GET", path)["poll"]["options"]] == ["", ""]
    for wrong in (["Sunday"], ["Saturday", "Friday", "Sunday"], FIRST):
        assert server.refused("POST", f"{path}/options", {"options": options(*wrong)}) == (400, 1004)
    server.ok("POST", f"{path}/options", {"options": options(*FIRST, "Sunday")})
    server.add_poll_options(poll["message_id"], ANN, ["Monday"])
    server.vote(poll["message_id"], ANN, "Monday")
    server.advance(60)
    told = {name: data for name, data in events(server) if name != "poll.updated"}
    updates = [data["added_options"][0]["text"] for name, data in events(server) if name == "poll.updated"]
    assert updates == ["", "Monday"], "an event of what a contact adds comes from the wire, and not from a database"
    assert {option["text"] for option in told["poll.sent"]["poll"]["options"]} == {""}
    assert all(data["zero_retention"] for data in told.values())
    assert server.refused("GET", f"/v3/messages/{poll['message_id']}") == (404, 2002)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, 1001),
        ({"poll": []}, 1003),
        ({"poll": {}}, 1001),
        ({"poll": {"options": []}}, 1004),
        ({"poll": {"options": options("Only one")}}, 1004),
        ({"poll": {"options": ["a", "b"]}}, 1003),
        ({"poll": {"options": options("a", "")}}, 1004),
        ({"poll": {"options": [{"text": "a"}, {"text": 7}]}}, 1003),
        ({"poll": {"options": options("a", "b"), "idempotency_key": ""}}, 1005),
    ],
)
def test_refused_polls(server, chat, body, code):
    assert server.refused("POST", f"/v3/chats/{chat}/polls", body)[1] == code
    assert len(server.ledger()) == 1


def test_other_refusals(server, chat):
    message = server.send(chat)["id"]
    assert server.refused("GET", f"/v3/messages/{message}/poll") == (404, 2002)
    poll = create(server, chat)["message_id"]
    path = f"/v3/messages/{poll}/poll"
    assert server.refused("POST", f"{path}/votes", {"operation": "toggle", "option_id": poll}) == (400, 1005)
    assert server.refused("POST", f"{path}/votes", {"operation": "add", "option_id": poll}) == (400, 1005)
    assert server.refused("POST", f"{path}/options", {"options": []}) == (400, 1004)
    assert server.refused("PATCH", f"/v3/messages/{poll}", {"text": "x"}) == (400, 1005)
    server.set_handle(CAT, services=["SMS"])
    texting = server.create(CAT)["id"]
    assert server.refused("POST", f"/v3/chats/{texting}/polls", {"poll": {"options": options("a", "b")}}) == (409, 2017)
    server.set_handle(ANN, opted_out=True)
    direct = server.create(BOB)["id"]
    server.set_handle(BOB, opted_out=True)
    assert server.refused("POST", f"/v3/chats/{direct}/polls", {"poll": {"options": options("a", "b")}}) == (403, 2024)


def test_who_votes_must_be_there(server, chat):
    poll = create(server, chat)["message_id"]
    assert server.wrong("POST", "votes", {"message_id": poll, "from": CAT, "option": "Friday"})["field"] == "from"
    assert server.wrong("POST", "votes", {"message_id": poll, "from": ANN})["field"] == "option"
    other = server.send(chat)["id"]
    assert server.wrong("POST", "votes", {"message_id": other, "from": ANN, "option": "x"})["field"] == "message_id"
