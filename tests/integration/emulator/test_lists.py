"""Paging, order, filters and cursors over HTTP; `test_internals` has the properties of the index."""

from __future__ import annotations

import itertools

import pytest

LINE, OTHER_LINE = "+12025550101", "+12025550102"
ANN, BOB, CAT = "+12025550150", "+12025550151", "+12025550152"
ORDERS = ("newest", "oldest", "unordered")
KINDS = ("offset", "key")


def test_key_cursors_do_not_shift_and_offsets_do(server):
    chat = server.create("+12025550150", text="0")
    for number in range(1, 6):
        server.send(chat["id"], str(number))
    path = f"/v3/chats/{chat['id']}/messages"
    for kind, wanted in (("key", ["3", "2"]), ("offset", ["4", "3"])):
        server.set_switches(cursor=kind)
        first = server.ok("GET", path, params={"limit": 2})
        added = server.inbound("+12025550150", "new")
        second = server.ok("GET", path, params={"limit": 2, "cursor": first["next_cursor"]})
        assert [one["parts"][0]["value"] for one in second["messages"]] == wanted
        server.call("DELETE", f"/v3/messages/{added['id']}")


@pytest.mark.parametrize(("order", "kind"), [*itertools.product(ORDERS, KINDS)])
def test_chats_and_messages_page_over_http(server, order, kind):
    server.seed(23, messages_per_chat=7, seed=5)
    server.set_switches(chat_order=order, message_order=order, cursor=kind, empty_pages=True)
    chats = server.walk("/v3/chats", "chats", limit=5)
    assert len({chat["id"] for chat in chats}) == len(chats) == 23
    times = [chat["updated_at"] for chat in chats]
    assert (times == sorted(times)) is (order == "oldest")
    assert (times == sorted(times, reverse=True)) is (order == "newest")
    messages = server.walk(f"/v3/chats/{chats[0]['id']}/messages", "messages", limit=2)
    assert len({message["id"] for message in messages}) == len(messages) == 7


def test_empty_pages_carry_a_cursor(server):
    server.seed(40, messages_per_chat=0)
    server.set_switches(empty_pages=True)
    empty, cursor = 0, None
    while True:
        page = server.ok("GET", "/v3/chats", params={"limit": 1, **({"cursor": cursor} if cursor else {})})
        cursor = page["next_cursor"]
        if cursor is None:
            break
        empty += not page["chats"]
    assert 2 <= empty <= 25


def test_filters_by_line_and_participant(server):
    one = server.create("+12025550150")
    group = server.create("+12025550150", "+12025550151")
    other = server.create("+12025550150", line=OTHER_LINE)

    def ids(**query):
        return {chat["id"] for chat in server.ok("GET", "/v3/chats", params=query)["chats"]}

    assert ids() == {one["id"], group["id"], other["id"]}
    assert ids(**{"from": LINE}) == {one["id"], group["id"]}
    assert ids(to="+12025550151") == {group["id"]}
    assert ids(to="+12025550150", **{"from": OTHER_LINE}) == {other["id"]}
    assert ids(to="+12025550199") == set()


@pytest.mark.parametrize(
    ("query", "refusal"),
    [
        ({"limit": "0"}, (400, 1005)),
        ({"limit": "101"}, (400, 1005)),
        ({"limit": "ten"}, (400, 1005)),
        ({"limit": "-1"}, (400, 1005)),
        ({"cursor": "??"}, (400, 1005)),
        ({"from": "2025550101"}, (400, 1002)),
        ({"from": "+12025550199"}, (403, 2006)),
        ({"to": "nobody@"}, (400, 1002)),
    ],
)
def test_wrong_queries_are_refused(server, query, refusal):
    assert server.refused("GET", "/v3/chats", params=query) == refusal


def test_default_page_sizes(server):
    server.seed(25, messages_per_chat=60)
    chats = server.ok("GET", "/v3/chats")
    assert len(chats["chats"]) == 20
    assert len(server.ok("GET", f"/v3/chats/{chats['chats'][0]['id']}/messages")["messages"]) == 50


@pytest.mark.parametrize(("moves", "first"), [(True, "old"), (False, "new")])
def test_whether_a_message_moves_its_chat(server, moves, first):
    server.set_switches(message_moves_chat=moves)
    chats = {"old": server.create("+12025550150")["id"]}
    server.advance(10)
    chats["new"] = server.create("+12025550151")["id"]
    server.advance(10)
    server.inbound("+12025550150", "hi")
    listed = server.ok("GET", "/v3/chats")["chats"]
    assert listed[0]["id"] == chats[first]
    moved = next(chat for chat in listed if chat["id"] == chats["old"])
    assert (moved["updated_at"] > moved["created_at"]) is moves


# --- items without parts ----------------------------------------------------------------------------------------


def test_a_deleted_message_can_leave_a_tombstone(server):
    server.set_switches(tombstones=True)
    server.set_line(LINE, retention_hours=1)
    chat = server.create(ANN)
    reply = server.send(chat["id"], "two", reply_to={"message_id": chat["message"]["id"]})
    gone = f"/v3/messages/{chat['message']['id']}"
    assert server.call("DELETE", gone).status_code == 204
    shown = {one["id"]: one for one in server.ok("GET", f"/v3/chats/{chat['id']}/messages")["messages"]}
    assert set(shown) == {chat["message"]["id"], reply["id"]}
    assert shown[chat["message"]["id"]]["parts"] is None
    assert shown[reply["id"]]["reply_to"] is None
    assert server.refused("GET", gone) == (404, 2002)
    assert server.refused("DELETE", gone) == (404, 2002)
    thread = server.ok("GET", f"/v3/messages/{reply['id']}/thread")["messages"]
    assert [one["id"] for one in thread] == [reply["id"]]
    server.advance(3600 + 300)
    assert server.ok("GET", f"/v3/chats/{chat['id']}/messages")["messages"] == [], "a tombstone expires, too"
    assert len(server.ledger()) == 2


def test_changes_of_a_group_can_be_items_without_parts(server):
    server.set_switches(system_events=True, group_update_seconds=0)
    chat = server.create(ANN, BOB)
    path = f"/v3/chats/{chat['id']}"
    server.ok("PUT", path, {"display_name": "Team"})
    server.ok("POST", f"{path}/participants", {"handle": CAT})
    server.ok("DELETE", f"{path}/participants", {"handle": CAT})
    items = server.ok("GET", f"{path}/messages")["messages"]
    events = [one for one in items if one["id"] != chat["message"]["id"]]
    assert [(one["parts"], one["is_from_me"]) for one in events] == [(None, True)] * 3
    assert server.ok("GET", f"/v3/messages/{events[0]['id']}")["parts"] is None
    edit = server.refused("PATCH", f"/v3/messages/{events[0]['id']}", {"text": "x"})
    assert edit == (400, 1005)
    assert [one["id"] for one in server.ledger()] == [chat["message"]["id"]], "nobody has sent them"
