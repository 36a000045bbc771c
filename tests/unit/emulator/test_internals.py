"""What HTTP shows too slowly or not at all: orders of pages, the declaration of the switches, a client that has left.

Few other tests import internals of the emulator (`test_boundaries` says which).
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from linq_emulator.backend import Backend, Settings
from linq_emulator.clock import Clock
from linq_emulator.domain.ordered_index import OrderedIndex
from linq_emulator.errors import ApiError
from linq_emulator.server.app import build_app
from linq_emulator.switches import declarations
from tests.support.waiting import PATIENCE

DOCS = Path(__file__).parents[3] / "docs" / "reference" / "emulator.md"
ORDERS = ("newest", "oldest", "unordered")
KINDS = ("offset", "key")


def test_the_table_of_the_docs_is_the_declaration():
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \| (.*) \|$", DOCS.read_text(), re.MULTILINE)
    expected = [
        (
            switch.name,
            switch.allowed,
            f"{switch.default}".lower() if isinstance(switch.default, bool) else f"{switch.default}",
            switch.reason,
        )
        for switch in declarations()
    ]
    assert [row for row in rows if row[0] in {switch.name for switch in declarations()}] == expected


class Item:
    def __init__(self, seq, time, identifier):
        self.seq, self.time, self.id = seq, time, identifier


def index_of(times, ids):
    index = OrderedIndex(lambda item: (item.time, item.seq))
    items = [Item(seq, time, f"{ids[seq]:08x}") for seq, time in enumerate(times)]
    for item in items:
        index.add(item)
    return index, items


def walk(index, limit, order, kind, empty_pages):
    cursor, items = None, []
    for _ in range(1000):
        page, cursor = index.page(limit, cursor, order=order, cursor_kind=kind, empty_pages=empty_pages)
        assert len(page) <= limit
        items += page
        if cursor is None:
            return items
    raise AssertionError("the walk does not end")


@given(
    times=st.lists(st.integers(0, 5), max_size=40),
    rnd=st.randoms(use_true_random=False),
    limit=st.integers(1, 7),
    order=st.sampled_from(ORDERS),
    kind=st.sampled_from(KINDS),
    empty_pages=st.booleans(),
)
def test_a_walk_sees_everything_once_and_in_order(times, rnd, limit, order, kind, empty_pages):
    index, items = index_of(times, rnd.sample(range(1 << 32), len(times)))
    by_time = sorted(items, key=lambda item: (item.time, item.seq))
    expected = {"oldest": by_time, "newest": by_time[::-1], "unordered": sorted(items, key=lambda item: item.id)}
    assert walk(index, limit, order, kind, empty_pages) == expected[order]


@given(
    times=st.lists(st.integers(0, 5), min_size=1, max_size=30),
    rnd=st.randoms(use_true_random=False),
    order=st.sampled_from(ORDERS),
)
def test_removed_items_are_gone_from_every_order(times, rnd, order):
    index, items = index_of(times, rnd.sample(range(1 << 32), len(times)))
    walk(index, 3, "unordered", "key", False)
    removed = rnd.choice(items)
    index.remove(removed)
    assert set(walk(index, 4, order, "key", False)) == set(items) - {removed}


@given(st.text(max_size=20).filter(lambda cursor: not cursor.rstrip("~").isdigit() and cursor not in ("", "~")))
@example("e30")  # {}, in which nothing is
@example("000000000A")  # no JSON
def test_a_wrong_cursor_is_refused_with_1005(cursor):
    index, _ = index_of([1, 2, 3], [1, 2, 3])
    for kind in KINDS:
        with pytest.raises(ApiError) as caught:
            index.page(2, cursor, order="newest", cursor_kind=kind)
        assert caught.value.code == 1005


def test_a_wait_ends_with_its_client():
    """Nothing waits for a client that has left, and the longest wait is ten minutes."""
    backend = Backend(Settings(), Clock())
    requests_ = [{"type": "http.request"}, {"type": "http.disconnect"}]

    async def receive():
        return requests_.pop(0)

    async def send(message):
        pass

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/_emulator/messages/wait",
        "query_string": b"to=x&timeout=600",
        "headers": [(b"host", b"localhost")],
    }

    async def serve():
        await asyncio.wait_for(build_app(backend)(scope, receive, send), PATIENCE)

    asyncio.run(serve())
    assert requests_ == []
