"""Reading one list of the API to its end, although it is no snapshot.

A single page is a snapshot. Over several pages, with cursors that are offsets, the list shifts while it is read:

- Something comes in before the place read to (a new chat at the front): all behind moves right, and an item comes
  twice. Items are taken once, by id.
- Something read goes away (a message expires or is deleted; in a list that is oldest first, a chat gets a message and
  moves to the end): all behind moves left, and the item at the edge of the page is never shown.
- An item not yet read jumps to the front (in a list that is newest first, a chat gets a message): never shown.

The last two hide something that was there when the reading began, and nothing in the pages tells. So the list is read
again until a reading shows nothing of that kind for the first time. Why that closes it: an item that was hidden stands
just left of where a page ended, or at the front, and to be hidden again it must stand at the end of a page once more.
Every other reading takes smaller pages, so that no page of it ends near the end of one of the first reading: of a list
of `n` pages, each ends at least `100 / (n + 1)` places away. So fewer moves than that in the time of two readings, in
whatever directions, hide nothing: 33 for 2 pages, 9 for 10. More moves can do it only where they hit the right places
at the right moments, and pass only if the same reading finds nothing else that was hidden before.
Where each reading still finds something after `MAX_READINGS`, the list is given up, loudly.

A second reading may be short where only the recent items matter (`recent_from`) and the pages of the first one have
proven the order: each item at or before the one above it in `updated_at`, from the first page to the last. Then all
that matters stands in front, and what jumps goes to the front, so the reading ends with the first page that goes back
beyond the moment. Whatever has no order, or another one, is read again to its end.

A reading remembers ids, so the memory it takes grows with one list, never with all lists of a run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Final

from linq_client import LinqError, Page
from tap_linq.extraction.decisions import parse_moment, was_there

MAX_READINGS: Final = 6

#: Items a page, the most that the API gives.
PAGE: Final = 100


class UnstableListError(LinqError):
    """A list shifted so much that no reading of it was complete."""


class NoIdError(LinqError):
    """A list holds something that can't be told from others: all else in it was read."""


class Reading:
    """One list, iterated over once: each item once, in the order of the API.

    Args:
        pages: starts the list anew and yields its pages, of as many items as it is told.
        recent_from: only items whose `updated_at` is at or after this moment must not be missed; None for all items.

    Attributes:
        started: the server's time (UTC) in the first answer; None before it came.
    """

    def __init__(self, pages: Callable[[int], Iterator[Page]], recent_from: datetime | None = None) -> None:
        self._pages = pages
        self._recent_from = recent_from
        self._lacks_ids = False
        self.started: datetime | None = None

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield each item.

        Raises:
            UnstableListError: the list did not hold still.
            LinqError: a page could not be had.
        """
        for page in self.pages():
            yield from page.items

    def pages(self) -> Iterator[Page]:
        """Yield the pages with those items that were not seen before; raises as `__iter__`."""
        yield from self._pages_until_still()
        if self._lacks_ids:
            raise NoIdError("the list holds items without an id, which are left out")

    def _pages_until_still(self) -> Iterator[Page]:
        seen: set[int | str] = set()
        order = _Order()
        ends = 0
        for reading in range(MAX_READINGS):
            found_late = 0
            for number, page in enumerate(self._pages(_other_size(ends) if reading % 2 else PAGE)):
                started = self.started = self.started or page.server_time
                items = self._with_id(page.items)
                if reading == 0:
                    ends = number
                    if self._recent_from is not None:
                        order.look_at(items)
                if reading == number == 0 and not page.next_cursor:
                    yield Page(items, None, page.server_time)
                    return
                fresh = _unseen(items, seen)
                found_late += sum(was_there(item, started) for item in fresh) if reading else 0
                yield Page(fresh, page.next_cursor, page.server_time)
                if reading and order.is_newest_first and _goes_beyond(items, self._recent_from):
                    break
            if reading and not found_late:
                return
        raise UnstableListError(f"the list still showed something new after {MAX_READINGS} readings")

    def _with_id(self, items: list[Any]) -> list[dict[str, Any]]:
        good = [item for item in items if isinstance(item, dict) and isinstance(item.get("id"), str)]
        self._lacks_ids |= len(good) < len(items)
        return good


def _other_size(ends: int) -> int:
    """Return the size of pages that end farthest from the first `ends` multiples of `PAGE`."""
    return PAGE - max(1, PAGE // (ends + 2))


class _Order:
    """What the items of one reading prove about their order."""

    def __init__(self) -> None:
        self._newest: datetime | None = None
        self._last: datetime | None = None
        self._descends = True

    @property
    def is_newest_first(self) -> bool:
        """Whether every item was as old as the one before or older, and the last one older than the first."""
        ends = self._newest, self._last
        return self._descends and ends[0] is not None and ends[1] is not None and ends[1] < ends[0]

    def look_at(self, items: list[dict[str, Any]]) -> None:
        for item in items:
            moment = parse_moment(item.get("updated_at"))
            if moment is None or (self._last is not None and moment > self._last):
                self._descends = False
                return
            self._newest = self._newest or moment
            self._last = moment


def _unseen(items: list[dict[str, Any]], seen: set[int | str]) -> list[dict[str, Any]]:
    fresh = []
    for item in items:
        key = _compact(item["id"])
        if key not in seen:
            seen.add(key)
            fresh.append(item)
    return fresh


def _compact(id_: str) -> int | str:
    """The same id in half the memory, if it is a UUID in its usual form: a chat can hold a million messages."""
    if len(id_) == 36 and id_.count("-") == 4:
        try:
            return int(id_.replace("-", ""), 16)
        except ValueError:
            pass
    return id_


def _goes_beyond(items: list[dict[str, Any]], moment: datetime | None) -> bool:
    if not items or moment is None:
        return False
    last = parse_moment(items[-1].get("updated_at"))
    return last is not None and last < moment
