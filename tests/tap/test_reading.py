"""Reading a list that shifts: what was there from beginning to end is found, as long as less than a page moves."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linq_client import Page
from tap_linq.extraction.reading import MAX_READINGS, PAGE, Reading, UnstableListError

NOW = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


class ShiftingList:
    """A list with cursors that are offsets; before each page, items jump to one end of it, go away, or come in."""

    def __init__(self, size: int, moves: list[list[tuple[str, int]]], *, to_the_front: bool = True) -> None:
        self.items = [{"id": str(number), "created_at": "2026-03-01T11:00:00Z"} for number in range(size)]
        self.moves = iter(moves)
        self.to_the_front = to_the_front
        self.pages_read = 0
        self.removed: set[str] = set()
        self.inserted = 0

    def move(self, kind: str, index: int) -> None:
        end = 0 if self.to_the_front else len(self.items)
        if kind == "insert":
            self.inserted += 1
            new = {"id": f"new {self.inserted}", "created_at": "2026-03-01T12:00:01Z"}
            self.items.insert(0, new)
        elif self.items:
            moved = self.items.pop(index % len(self.items))
            if kind == "jump":
                self.items.insert(end, moved)
            else:
                self.removed.add(moved["id"])

    def pages(self, limit: int) -> Iterator[Page]:
        offset = 0
        while True:
            for kind, index in next(self.moves, ()):
                self.move(kind, index)
            self.pages_read += 1
            more = offset + limit < len(self.items)
            yield Page(self.items[offset : offset + limit], str(offset + limit) if more else None, NOW)
            if not more:
                return
            offset += limit


def found(source: ShiftingList) -> list[str]:
    return [item["id"] for item in Reading(source.pages)]


MOVE = st.tuples(st.sampled_from(["jump", "remove", "insert"]), st.one_of(st.integers(0, 3), st.integers(0, 450)))


@settings(max_examples=300)
@given(data=st.data(), size=st.integers(1, 450), to_the_front=st.booleans())
def test_nothing_is_hidden_and_nothing_comes_twice(data: st.DataObject, size: int, to_the_front: bool) -> None:
    pages = size // PAGE + 1
    most = PAGE // (pages + 2)
    moves = data.draw(
        st.lists(st.lists(MOVE, max_size=6), max_size=16).filter(lambda all_: sum(map(len, all_)) <= most)
    )
    source = ShiftingList(size, moves, to_the_front=to_the_front)
    ids = found(source)
    assert len(ids) == len(set(ids))
    assert {str(number) for number in range(size)} - source.removed <= set(ids)


def test_shifts_in_both_directions_do_not_hide_the_same_item_again() -> None:
    """The hundredth item is pulled over the end of the first page, and stands behind it again for the next reading."""
    source = ShiftingList(150, [[], [("remove", 0)], [("insert", 0)], [("remove", 0)]])
    assert {str(number) for number in range(150)} - source.removed <= set(found(source))


def test_one_page_is_read_once() -> None:
    source = ShiftingList(PAGE, [])
    reading = Reading(source.pages)
    assert len(list(reading)) == PAGE
    assert source.pages_read == 1
    assert reading.started == NOW


def test_what_came_into_being_meanwhile_asks_for_no_further_reading() -> None:
    source = ShiftingList(2 * PAGE, [])

    def growing(limit: int) -> Iterator[Page]:
        item: dict[str, Any] = {"id": f"new {source.pages_read}", "created_at": "2026-03-01T12:00:01Z"}
        source.items.append(item)
        yield from source.pages(limit)

    list(Reading(growing))
    assert source.pages_read == 6, "two readings, the second of smaller pages"


def test_a_list_that_never_holds_still_is_given_up() -> None:
    source = ShiftingList(2 * PAGE, [])

    def ever_new(limit: int) -> Iterator[Page]:
        source.items.append({"id": f"old {source.pages_read}", "created_at": "2026-03-01T11:00:00Z"})
        yield from source.pages(limit)

    with pytest.raises(UnstableListError, match=f"{MAX_READINGS} readings"):
        list(Reading(ever_new))
