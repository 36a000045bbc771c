"""Reading one list of the API to its end, although it is no snapshot.

A single page is a snapshot. Over several pages, with cursors that are offsets, the list shifts while it is read:

- Something comes in before the place read to (a new chat at the front): all behind moves right, and an item comes
  twice. Items are taken once, by id.
- Something read goes away (a message expires or is deleted; in a list that is oldest first, a chat gets a message and
  moves to the end): all behind moves left, and the item at the edge of the page is never shown.
- An item not yet read jumps to the front (in a list that is newest first, a chat gets a message): never shown.

The last two hide something that was there when the reading began, and nothing in the pages tells. So the list is read
again until a reading shows nothing of that kind for the first time. To get past that, an item has to be hidden in two
readings one after the other, which takes more than `SAFE_MOVES` moves in their time, in whatever directions, however
long the list is:

- What shifts the item out of sight pulls it from one page to the one before, over the place where that page ends. Every
  move of something else shifts it by one place. All pages have `PAGE` items, but the first one of every other reading
  has `FIRST`, so that no page of it ends nearer than `SAFE_MOVES` places to the end of one in the reading before.
- What jumps to the front stands on the first page, which every reading after the first ends with once more. To be
  behind that page, a whole page of others must have come in before it. What jumps to the end is met there; only where
  the list ends just behind the end of a page can fewer moves pull it over that.

More moves can do it only where they hit the right places at the right moments, and pass only if the same reading finds
nothing else that was hidden before. Where each reading still finds something after `MAX_READINGS`, the list is given
up, loudly.

A second reading may be short where only the recent items matter (`recent_from`) and the pages of the first one have
proven the order: each item at or before the one above it in `updated_at`, from the first page to the last. Then all
that matters stands in front, and what jumps goes to the front, so the reading ends with the first page that goes back
beyond the moment. Whatever has no order, or another one, is read again to its end.

A reading remembers ids, so the memory it takes grows with one list, never with all lists of a run.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime
from hashlib import blake2b
from typing import Any, Final

from linq_client import LinqError, Page
from tap_linq.extraction.decisions import parse_moment, was_there

MAX_READINGS: Final = 6

#: Items a page, the most that the API gives.
PAGE: Final = 100

#: Items of the first page of every other reading. Half a page would put the ends of the pages farthest apart. This is
#: the golden section of a page: should a cursor of the API ever bring the first page's size along, so that all pages
#: get it, it keeps the ends apart as well as one size can (44 places divided by the number of pages).
FIRST: Final = 62

#: Moves in a list, in the time of two readings, that can't hide anything in both of them.
SAFE_MOVES: Final = min(FIRST, PAGE - FIRST)

_DIGEST: Final = 16


class UnstableListError(LinqError):
    """A list shifted so much that no reading of it was complete."""


class NoIdError(LinqError):
    """A list holds something that can't be told from others: all else in it was read."""


class Reading:
    """One list, iterated over once: each item once, in the order of the API.

    Args:
        pages: yields the pages of the list, of as many items as it is told, from a cursor on; None is the front.
        recent_from: only items whose `updated_at` is at or after this moment must not be missed; None for all items.

    Attributes:
        started: the server's time (UTC) in the first answer; None before it came.
    """

    def __init__(self, pages: Callable[[int, str | None], Iterator[Page]], recent_from: datetime | None = None) -> None:
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
        """Yield the pages with those items that were not seen before, each for as long as the next is not asked for.

        Then it is emptied: every thread that reads would hold two of them otherwise.

        Raises:
            UnstableListError, LinqError: as `__iter__`.
        """
        for page in self._pages_until_still():
            yield page
            page.items.clear()
        if self._lacks_ids:
            raise NoIdError("the list holds items without an id, which are left out")

    def _pages_until_still(self) -> Iterator[Page]:
        seen = _Ids()
        order = _Order()
        for reading in range(MAX_READINGS):
            found_late = 0
            for page in self._once(reading, order):
                if self.started is None:
                    self.started = page.server_time
                    if not page.next_cursor:
                        yield page
                        return
                page.items[:] = [item for item in page.items if seen.add(item["id"])]
                found_late += sum(was_there(item, self.started) for item in page.items) if reading else 0
                yield page
            if reading and not found_late:
                return
        raise UnstableListError(f"the list still showed something new after {MAX_READINGS} readings")

    def _once(self, reading: int, order: _Order) -> Iterator[Page]:
        """Yield the pages of one reading, and of each but the first its front once more."""
        for page in self._from_front(FIRST if reading % 2 else PAGE):
            self._drop_without_id(page.items)
            if reading == 0 and self._recent_from is not None:
                order.look_at(page.items)
            is_enough = reading > 0 and order.is_newest_first and _goes_beyond(page.items, self._recent_from)
            yield page
            if is_enough:
                break
        for page in self._pages(PAGE, None) if reading else ():
            holds_any = bool(page.items)
            self._drop_without_id(page.items)
            yield page
            if holds_any:
                break

    def _from_front(self, first: int) -> Iterator[Page]:
        """Yield all pages, the first one that is not empty of another size than the rest."""
        cursor = None
        for page in self._pages(first, None):
            cursor, holds_any = page.next_cursor, bool(page.items)
            yield page
            if holds_any:
                break
        if cursor:
            yield from self._pages(PAGE, cursor)

    def _drop_without_id(self, items: list[Any]) -> None:
        good = [item for item in items if isinstance(item, dict) and isinstance(item.get("id"), str)]
        self._lacks_ids |= len(good) < len(items)
        items[:] = good


class _Ids:
    """The ids that were seen, in little more than 16 bytes each: a chat can hold a million messages.

    A set takes six times as much, and every thread has one. Two texts with the same 16 bytes of BLAKE2 don't happen.
    """

    def __init__(self) -> None:
        self._by_first_byte: defaultdict[int, bytearray] = defaultdict(bytearray)

    def add(self, id_: str) -> bool:
        """Note an id; False if it was noted before."""
        digest = blake2b(id_.encode(), digest_size=_DIGEST).digest()
        noted = self._by_first_byte[digest[0]]
        at = noted.find(digest)
        while at >= 0 and at % _DIGEST:  # the end of one and the beginning of the next
            at = noted.find(digest, at + 1)
        if at < 0:
            noted += digest
        return at < 0


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


def _goes_beyond(items: list[dict[str, Any]], moment: datetime | None) -> bool:
    if not items or moment is None:
        return False
    last = parse_moment(items[-1].get("updated_at"))
    return last is not None and last < moment
