"""Paging, order, filters and cursors."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linq_emulator.errors import ApiError
from linq_emulator.domain.ordered_index import OrderedIndex

LINE, OTHER_LINE = "+12025550101", "+12025550102"
ORDERS = ("newest", "oldest", "unordered")
KINDS = ("offset", "key")


class Item:
    def __init__(self, seq, moment, identifier):
        self.seq, self.moment, self.id = seq, moment, identifier


def listing_of(moments, ids):
    listing = OrderedIndex(lambda item: (item.moment, item.seq))
    items = [Item(seq, moment, f"{ids[seq]:08x}") for seq, moment in enumerate(moments)]
    for item in items:
        listing.add(item)
    return listing, items


def walk(listing, limit, order, kind, empty_pages):
    cursor, found = None, []
    for _ in range(1000):
        page, cursor = listing.page(limit, cursor, order=order, cursor_kind=kind, empty_pages=empty_pages)
        assert len(page) <= limit
        found += page
        if cursor is None:
            return found
    raise AssertionError("the walk does not end")


@given(
    moments=st.lists(st.integers(0, 5), max_size=40),
    rnd=st.randoms(use_true_random=False),
    limit=st.integers(1, 7),
    order=st.sampled_from(ORDERS),
    kind=st.sampled_from(KINDS),
    empty_pages=st.booleans(),
)
def test_a_walk_sees_everything_once_and_in_order(moments, rnd, limit, order, kind, empty_pages):
    listing, items = listing_of(moments, rnd.sample(range(1 << 32), len(moments)))
    found = walk(listing, limit, order, kind, empty_pages)
    by_time = sorted(items, key=lambda item: (item.moment, item.seq))
    wanted = {"oldest": by_time, "newest": by_time[::-1], "unordered": sorted(items, key=lambda item: item.id)}
    assert found == wanted[order]


@given(
    moments=st.lists(st.integers(0, 5), min_size=1, max_size=30),
    rnd=st.randoms(use_true_random=False),
    order=st.sampled_from(ORDERS),
)
def test_removed_items_are_gone_from_every_order(moments, rnd, order):
    listing, items = listing_of(moments, rnd.sample(range(1 << 32), len(moments)))
    walk(listing, 3, "unordered", "key", False)
    removed = rnd.choice(items)
    listing.remove(removed)
    assert set(walk(listing, 4, order, "key", False)) == set(items) - {removed}


@given(st.text(max_size=20).filter(lambda cursor: not cursor.rstrip("~").isdigit() and cursor not in ("", "~")))
def test_a_cursor_that_is_none_is_refused_with_1005(cursor):
    listing, _ = listing_of([1, 2, 3], [1, 2, 3])
    for kind in KINDS:
        with pytest.raises(ApiError) as caught:
            listing.page(2, cursor, order="newest", cursor_kind=kind)
        assert caught.value.code == 1005


def test_key_cursors_do_not_shift_and_offsets_do(server):
    chat = server.create("+12025550150", text="0")
    for number in range(1, 6):
        server.send(chat["id"], str(number))
    path = f"/v3/chats/{chat['id']}/messages"
    for kind, wanted in (("key", ["3", "2"]), ("offset", ["4", "3"])):
        server.switch(cursor=kind)
        first = server.ok("GET", path, params={"limit": 2})
        added = server.inbound("+12025550150", "new")
        second = server.ok("GET", path, params={"limit": 2, "cursor": first["next_cursor"]})
        assert [one["parts"][0]["value"] for one in second["messages"]] == wanted
        server.call("DELETE", f"/v3/messages/{added['id']}")


@pytest.mark.parametrize(("order", "kind"), [*itertools.product(ORDERS, KINDS)])
def test_chats_and_messages_page_over_http(server, order, kind):
    server.control("POST", "seed", {"chats": 23, "messages_per_chat": 7, "seed": 5})
    server.switch(chat_order=order, message_order=order, cursor=kind, empty_pages=True)
    chats = server.walk("/v3/chats", "chats", limit=5)
    assert len({chat["id"] for chat in chats}) == len(chats) == 23
    times = [chat["updated_at"] for chat in chats]
    assert (times == sorted(times)) is (order == "oldest")
    assert (times == sorted(times, reverse=True)) is (order == "newest")
    messages = server.walk(f"/v3/chats/{chats[0]['id']}/messages", "messages", limit=2)
    assert len({message["id"] for message in messages}) == len(messages) == 7


def test_empty_pages_carry_a_cursor(server):
    server.control("POST", "seed", {"chats": 40, "messages_per_chat": 0})
    server.switch(empty_pages=True)
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
        ({"to": "nobody"}, (400, 1002)),
    ],
)
def test_wrong_queries_are_refused(server, query, refusal):
    assert server.refused("GET", "/v3/chats", params=query) == refusal


def test_default_page_sizes(server):
    server.control("POST", "seed", {"chats": 25, "messages_per_chat": 60})
    chats = server.ok("GET", "/v3/chats")
    assert len(chats["chats"]) == 20
    assert len(server.ok("GET", f"/v3/chats/{chats['chats'][0]['id']}/messages")["messages"]) == 50


@pytest.mark.parametrize(("moves", "first"), [(True, "old"), (False, "new")])
def test_whether_a_message_moves_its_chat(server, moves, first):
    server.switch(message_moves_chat=moves)
    chats = {"old": server.create("+12025550150")["id"]}
    server.advance(10)
    chats["new"] = server.create("+12025550151")["id"]
    server.advance(10)
    server.inbound("+12025550150")
    listed = server.ok("GET", "/v3/chats")["chats"]
    assert listed[0]["id"] == chats[first]
    moved = next(chat for chat in listed if chat["id"] == chats["old"])
    assert (moved["updated_at"] > moved["created_at"]) is moves
