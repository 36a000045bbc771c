"""Reading one list of the API to its end, although it is no snapshot.

A single page is a snapshot. Over several pages, with cursors that are offsets, the list shifts while it is read:

- Something comes in before the place read to (a new chat at the front): all behind moves right, and an item comes
  twice. Items are taken once, by id.
- Something read goes away (a message expires or is deleted; in a list that is oldest first, a chat gets a message and
  moves to the end): all behind moves left, and the item at the edge of the page is never shown.
- An item not yet read jumps to the front (in a list that is newest first, a chat gets a message): never shown.

The last two hide something that was there when the reading began, and nothing in the pages tells. So the list is read
again until a reading shows nothing of that kind for the first time. Why that closes it: an item that was hidden stands
just left of the edge of a page, or at the front, and so a page away from the next place where it could be hidden. To
hide it again, about a page of items (100) must move in the time of two readings; fewer, all in one direction, can't.
Where each reading still finds something after `MAX_READINGS`, the list is given up, loudly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Final

from linq_client import LinqError, Page
from tap_linq.extraction.decisions import was_there

MAX_READINGS: Final = 6


class UnstableListError(LinqError):
    """A list shifted so much that no reading of it was complete."""


class Reading:
    """One list, iterated over once: each item once, in the order of the API.

    Args:
        pages: starts the list anew and yields its pages.

    Attributes:
        started: the server's time (UTC) in the first answer; None before it came.
    """

    def __init__(self, pages: Callable[[], Iterator[Page]]) -> None:
        self._pages = pages
        self.started: datetime | None = None

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield each item.

        Raises:
            UnstableListError: the list did not hold still.
            LinqError: a page could not be had.
        """
        seen: set[str] = set()
        for reading in range(MAX_READINGS):
            page_count, found_late = 0, 0
            for page in self._pages():
                page_count += 1
                started = self.started = self.started or page.server_time
                for item in page.items:
                    if item["id"] not in seen:
                        seen.add(item["id"])
                        found_late += was_there(item, started)
                        yield item
            if page_count == 1 or (reading > 0 and not found_late):
                return
        raise UnstableListError(f"the list still showed something new after {MAX_READINGS} readings")
