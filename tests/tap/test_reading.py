"""Reading a list that shifts: what was there from beginning to end is found, as long as not too much of it moves."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linq_client import Page
from tap_linq.extraction.reading import FIRST, MAX_READINGS, PAGE, SAFE_MOVES, Reading, UnstableListError

NOW = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


class ShiftingList:
    """A list with cursors that are offsets; before each page, items jump to one end of it, go away, or come in."""

    def __init__(self, size: int, moves: list[list[tuple[str, int]]], *, to_the_front: bool = True) -> None:
        self.items = [{"id": str(number), "created_at": "2026-03-01T11:00:00Z"} for number in range(size)]
        self.moves = iter(moves)
        self.to_the_front = to_the_front
        self.pages_read = 0
        self.removed: set[str] = set()
        self.jumped: set[str] = set()
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
                self.jumped.add(moved["id"])
            else:
                self.removed.add(moved["id"])

    def pages(self, limit: int, cursor: str | None) -> Iterator[Page]:
        offset = int(cursor or 0)
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


LONGEST = 800
# What hides things happens at the front, and where pages end.
AT_AN_END = st.builds(
    lambda page, first, places: page * PAGE + first + places,
    st.integers(0, LONGEST // PAGE),
    st.sampled_from([0, FIRST]),
    st.integers(-3, 3),
).filter(lambda index: index >= 0)
MOVE = st.tuples(
    st.sampled_from(["jump", "remove", "insert"]), st.one_of(st.integers(0, 3), AT_AN_END, st.integers(0, LONGEST))
)


@settings(max_examples=200)
@given(data=st.data(), size=st.integers(PAGE + 1, LONGEST), to_the_front=st.booleans())
def test_nothing_is_hidden_and_nothing_comes_twice(data: st.DataObject, size: int, to_the_front: bool) -> None:
    pages = size // PAGE + 1
    moves: list[list[tuple[str, int]]] = [[] for _ in range(3 * pages)]
    for move in data.draw(st.lists(MOVE, max_size=SAFE_MOVES)):
        moves[data.draw(st.integers(0, 3 * pages - 1))].append(move)
    source = ShiftingList(size, moves, to_the_front=to_the_front)
    ids = found(source)
    assert len(ids) == len(set(ids))
    # What jumps to the end can jump to just where a page is about to end.
    excused = source.removed if to_the_front else source.removed | source.jumped
    assert {str(number) for number in range(size)} - excused <= set(ids)


@given(start=st.integers(1, 8), then=st.integers(0, 8))
def test_an_item_that_moves_from_one_page_end_towards_another_is_found(start: int, then: int) -> None:
    """The item behind the end of a page is pulled over it, and all other moves go to where the next reading hides it.

    One move more would do that.
    """
    pages = 10
    moves: list[list[tuple[str, int]]] = [[] for _ in range(3 * pages)]
    moves[start].append(("remove", 0))
    place, end = start * PAGE - 1, then * PAGE + FIRST
    way = [("insert", 0) if end > place else ("remove", 0)] * min(abs(end - place), SAFE_MOVES - 2)
    moves[pages + then].extend(way)
    moves[pages + then + 1].append(("remove", 0))
    source = ShiftingList(pages * PAGE, moves)
    assert {str(number) for number in range(pages * PAGE)} - source.removed <= set(found(source))


@pytest.mark.parametrize("end", range(1, 5))
def test_what_is_shifted_out_of_sight_and_then_jumps_is_found(end: int) -> None:
    """Two moves: the item behind the end of a page is pulled over it, and gets to the front in the next reading."""
    source = ShiftingList(450, [])
    hidden = source.items[end * PAGE]["id"]
    for page in range(5, 11):
        source = ShiftingList(450, [])
        moves: list[list[tuple[str, int]]] = [[] for _ in range(page + 1)]
        moves[end].append(("remove", 0))
        moves[page].append(("jump", end * PAGE - 1))
        source.moves = iter(moves)
        assert hidden in found(source)


def shifting_both_ways() -> ShiftingList:
    """In five pages, item 200 is pulled over the end of the second; if the next reading ends a page there, again."""
    moves: list[list[tuple[str, int]]] = [[] for _ in range(8)]
    moves[2], moves[5], moves[7] = [("remove", 0)], [("insert", 0)], [("remove", 0)]
    return ShiftingList(450, moves)


def test_shifts_in_both_directions_do_not_hide_the_same_item_again() -> None:
    assert "200" in found(shifting_both_ways())


def test_an_empty_page_moves_no_end_of_a_page() -> None:
    source = shifting_both_ways()

    def begins_empty(limit: int, cursor: str | None) -> Iterator[Page]:
        if cursor is None:
            yield Page([], "0", NOW)
        yield from source.pages(limit, cursor or "0")

    assert "200" in [item["id"] for item in Reading(begins_empty)]


def test_one_page_is_read_once() -> None:
    source = ShiftingList(PAGE, [])
    reading = Reading(source.pages)
    assert len(list(reading)) == PAGE
    assert source.pages_read == 1
    assert reading.started == NOW


def test_what_came_into_being_meanwhile_asks_for_no_further_reading() -> None:
    source = ShiftingList(2 * PAGE, [])

    def growing(limit: int, cursor: str | None) -> Iterator[Page]:
        item: dict[str, Any] = {"id": f"new {source.pages_read}", "created_at": "2026-03-01T12:00:01Z"}
        source.items.append(item)
        yield from source.pages(limit, cursor)

    list(Reading(growing))
    assert source.pages_read == 7, "two readings, and the front once more"


def test_a_list_that_never_holds_still_is_given_up() -> None:
    source = ShiftingList(2 * PAGE, [])

    def ever_new(limit: int, cursor: str | None) -> Iterator[Page]:
        source.items.append({"id": f"old {source.pages_read}", "created_at": "2026-03-01T11:00:00Z"})
        yield from source.pages(limit, cursor)

    with pytest.raises(UnstableListError, match=f"{MAX_READINGS} readings"):
        list(Reading(ever_new))
