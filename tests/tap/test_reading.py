"""Reading a list that shifts: what was there from beginning to end is found, as long as less than a page moves."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linq_client import Page
from tap_linq.extraction.reading import MAX_READINGS, Reading, UnstableListError

NOW = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
PAGE = 5


class ShiftingList:
    """A list with cursors that are offsets; before each page some items move to one end of it."""

    def __init__(self, size: int, moves: list[list[int]], *, to_the_front: bool) -> None:
        self.items = [{"id": str(number), "created_at": "2026-03-01T11:00:00Z"} for number in range(size)]
        self.moves = iter(moves)
        self.to_the_front = to_the_front
        self.pages_read = 0

    def pages(self) -> Iterator[Page]:
        offset = 0
        while True:
            for index in next(self.moves, ()):
                moved = self.items.pop(index % len(self.items))
                self.items.insert(0 if self.to_the_front else len(self.items), moved)
            self.pages_read += 1
            more = offset + PAGE < len(self.items)
            yield Page(self.items[offset : offset + PAGE], str(offset + PAGE) if more else None, NOW)
            if not more:
                return
            offset += PAGE


def moves_of_less_than_a_page() -> st.SearchStrategy[list[list[int]]]:
    one_page = st.lists(st.integers(0, 40), max_size=3)
    return st.lists(one_page, max_size=24).filter(lambda moves: sum(map(len, moves)) < PAGE)


@given(size=st.integers(1, 40), moves=moves_of_less_than_a_page(), to_the_front=st.booleans())
def test_nothing_is_hidden_and_nothing_comes_twice(size: int, moves: list[list[int]], to_the_front: bool) -> None:
    found = [item["id"] for item in Reading(ShiftingList(size, moves, to_the_front=to_the_front).pages)]
    assert sorted(found, key=int) == [str(number) for number in range(size)]


def test_one_page_is_read_once() -> None:
    source = ShiftingList(PAGE, [], to_the_front=True)
    reading = Reading(source.pages)
    assert len(list(reading)) == PAGE
    assert source.pages_read == 1
    assert reading.started == NOW


def test_what_came_into_being_meanwhile_asks_for_no_further_reading() -> None:
    source = ShiftingList(2 * PAGE, [], to_the_front=True)

    def growing() -> Iterator[Page]:
        item: dict[str, Any] = {"id": f"new {source.pages_read}", "created_at": "2026-03-01T12:00:01Z"}
        source.items.append(item)
        yield from source.pages()

    list(Reading(growing))
    assert source.pages_read == 6, "two readings of three pages"


def test_a_list_that_never_holds_still_is_given_up() -> None:
    source = ShiftingList(2 * PAGE, [], to_the_front=True)

    def ever_new() -> Iterator[Page]:
        source.items.append({"id": f"old {source.pages_read}", "created_at": "2026-03-01T11:00:00Z"})
        yield from source.pages()

    with pytest.raises(UnstableListError, match=f"{MAX_READINGS} readings"):
        list(Reading(ever_new))
