"""Reading an API that moves: lists that shift while they are read, and chats that may not show their new messages.

`StableListReader` reads a list until it holds still. `arrived_at` says when a message came to be listed. `ListedChat`
and `combine` find out whether `updated_at` of chats can be relied upon to show their new messages. All of them take
decoded JSON, and what is a model in `linq_client.models`.

How a list is read
------------------
A single page is a snapshot. Over several pages, with cursors that are offsets, the list shifts while it is read:

- Something comes in before the place read to (a new chat at the front): all behind moves right, and an item comes
  twice. Items are taken once, by id.
- Something read goes away (a message expires or is deleted; in a list that is oldest first, a chat gets a message and
  moves to the end): all behind moves left, and the item at the edge of the page is never shown.
- An item not yet read jumps to the front (in a list that is newest first, a chat gets a message): never shown.

The last two hide something that was there when the reading began, and nothing in the pages says so. So the list is read
again until a reading shows nothing of that kind for the first time. To get past that, an item has to be hidden in two
readings one after the other, which takes more than `SAFE_MOVES` moves in their time, in whatever directions, however
long the list is:

- What shifts the item out of sight pulls it from one page to the one before, over the place where that page ends. Every
  move of something else shifts it by one place. All pages have `PAGE_SIZE` items, but the first one of every other
  reading has `PROBE_PAGE_SIZE`, so that no page of it ends nearer than `SAFE_MOVES` places to the end of one in the
  reading before.
- What jumps to the front stands on the first page, which every reading after the first ends with once more. To be
  behind that page, a whole page of others must have come in before it. What jumps to the end is met there; only where
  the list ends just behind the end of a page can fewer moves pull it over that.

More moves can do it only where they hit the right places at the right moments, and pass only if the same reading finds
nothing else that was hidden before. Where each reading still finds something after `MAX_READINGS`, the list is given
up with an error.

A second reading may be short where only the recent items matter (`recent_from`) and the pages of the first one have
proven the order: each item at or before the one above it in `updated_at`, from the first page to the last. Then all
that matters stands in front, and what jumps goes to the front, so the reading ends with the first page that goes back
beyond the moment. Whatever has no order, or another one, is read again to its end.

A page may be more than the API can make in its time. Then it is asked for a tenth, from there on and in later readings,
and a tenth of `SAFE_MOVES` is safe.

A cursor may expire before it is used, since a list is read no faster than its items are made use of. Then the reading
starts again at the front. What is known by then goes by quickly, so each start gets further than the one before, or
brings something that was missed. After `MAX_STALLED` starts in a row that do neither, the list is given up with an
error. Only a start that comes to the end counts as a reading above: nothing that is said there depends on the others.

A reader remembers ids, so the memory it takes grows with one list, never with all lists of a run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Final, TypeVar, overload

from linq_client import models
from linq_client._pagination import Page, Paginator
from linq_client._seen_ids import SeenIds
from linq_client.errors import CursorExpiredError, LinqError, PaginationError
from linq_client.times import parse_datetime_or_none

__all__ = [
    "CLOCK_TOLERANCE",
    "MAX_READINGS",
    "MAX_STALLED",
    "PAGE_SIZE",
    "PROBE_PAGE_SIZE",
    "SAFE_MOVES",
    "ListedChat",
    "NoIdError",
    "SeenIds",
    "StableListReader",
    "UnstableListError",
    "UpdatedAtSignal",
    "arrived_at",
    "combine",
    "read_stable",
]

MAX_READINGS: Final = 6

#: Starts of a reading in a row whose cursors expired before they brought anything.
MAX_STALLED: Final = 3

#: Items a page, the most that the API gives.
PAGE_SIZE: Final = 100

#: Items of the first page of every other reading. Half a page would put the ends of the pages farthest apart. This is
#: the golden section of a page: should a cursor of the API ever bring the first page's size along, so that all pages
#: get it, it keeps the ends apart as well as one size can (44 places divided by the number of pages).
PROBE_PAGE_SIZE: Final = 62

#: By what the sizes of pages are divided where the API can't make one that large: it takes too long, or is too large.
_DIVISOR: Final = 10

#: Moves in a list, in the time of two readings, that can't hide anything in both of them.
SAFE_MOVES: Final = min(PROBE_PAGE_SIZE, PAGE_SIZE - PROBE_PAGE_SIZE)

#: How far two times of the API may be apart, by its clocks, and still be of the same moment.
CLOCK_TOLERANCE: Final = timedelta(minutes=1)

#: How soon `updated_at` of a chat follows the message that moves it.
_UPDATE_DELAY: Final = timedelta(seconds=5)

_T = TypeVar("_T")


class UnstableListError(LinqError):
    """A list shifted so much that no reading of it was complete."""


class NoIdError(LinqError):
    """A list holds something that can't be distinguished from others: all else in it was read.

    Attributes:
        count: number of such items.
    """

    def __init__(self, count: int) -> None:
        super().__init__(f"the list holds {count} items without an id, which are left out")
        self.count = count


def read_stable(paginator: Paginator[_T]) -> list[_T]:
    """Return all items of a list as models, each once, in the order of the API, read until the list holds still.

    Raises:
        UnstableListError: the list did not hold still.
        NoIdError: it holds items without an id.
        LinqError: a page could not be had.
    """
    return [item for page in StableListReader.of(paginator).pages() for item in paginator.parsed(page)]


class StableListReader:
    """Reads one list, once, until it holds still: each item once, in the order of the API.

    Args:
        pages: yields the pages of the list, of the given size, from a cursor on; None is the front.
        recent_from: only items whose `updated_at` is at or after this moment must not be missed; None for all items.

    Attributes:
        started: the server's time (UTC) in the first response; None before it came.
    """

    def __init__(self, pages: Callable[[int, str | None], Iterator[Page]], recent_from: datetime | None = None) -> None:
        self._source = pages
        self._divisor = 1
        self._came = 0
        self._recent_from = recent_from
        self._without_id = 0
        self._order = _Order()
        self.started: datetime | None = None

    @classmethod
    def of(cls, paginator: Paginator[Any], recent_from: datetime | None = None) -> StableListReader:
        """Return a reader of the list that a paginator stands for, whose own page size does not matter."""
        return cls(lambda limit, cursor: paginator.pages(limit=limit, cursor=cursor), recent_from)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield each item.

        Raises:
            UnstableListError: the list did not hold still.
            PaginationError: it is not known where it ends.
            CursorExpiredError: its cursors expired before they led anywhere.
            NoIdError: it holds items without an id.
            LinqError: a page could not be had.
        """
        for page in self.pages():
            yield from page.items

    def pages(self) -> Iterator[Page]:
        """Yield the pages with those items that were not seen before, each for as long as the next is not asked for.

        Then it is emptied: every thread that reads would hold two of them otherwise.

        Raises:
            UnstableListError, PaginationError, CursorExpiredError, NoIdError, LinqError: as `__iter__`.
        """
        for page in self._pages_until_still():
            yield page
            page.items.clear()
        if self._without_id:
            raise NoIdError(self._without_id)

    def _pages_until_still(self) -> Iterator[Page]:
        seen = SeenIds()
        for reading in range(MAX_READINGS):
            found_late = 0
            for page in self._read(reading, seen):
                is_first = self.started is None
                self.started = self.started or page.server_time
                if is_first and not page.next_cursor:
                    yield page
                    if self._came >= PAGE_SIZE // self._divisor:
                        self._check_end(self._came)
                    return
                found_late += sum(_may_predate(item, self.started) for item in page.items) if reading else 0
                yield page
            if reading and not found_late:
                return
        raise UnstableListError(f"the list still showed something new after {MAX_READINGS} readings")

    def _check_end(self, count: int) -> None:
        """Ask for fewer items than there are: only an API that says then that there are more has told the end before.

        Raises:
            PaginationError: it calls a smaller page the whole list, too, and the list has not become shorter.
            LinqError: a page could not be had.
        """
        fewer = next(self._pages(PROBE_PAGE_SIZE, None))
        if fewer.next_cursor or len(fewer.items) >= count:
            return
        again = next(self._pages(PAGE_SIZE, None))
        if not again.next_cursor and len(again.items) > len(fewer.items):
            raise PaginationError(
                f"a page of {len(again.items)} items is said to be the whole list, and so is one of "
                f"{len(fewer.items)}: where it ends is not known"
            )

    def _read(self, reading: int, seen: SeenIds) -> Iterator[Page]:
        """Yield the pages of a reading, each with what is new in it; from the front again when a cursor expires."""
        furthest = stalled = 0
        while True:
            count, is_progress = 0, False
            try:
                for page in self._read_once(reading):
                    page.items[:] = [item for item in page.items if seen.add(item["id"])]
                    count += 1
                    # What came into being meanwhile is no progress: it may come as fast as the list is read.
                    is_progress |= count > furthest or any(_may_predate(item, self.started) for item in page.items)
                    yield page
            except CursorExpiredError as error:
                expired = error
            else:
                return
            furthest, stalled = max(furthest, count), 0 if is_progress else stalled + 1
            if stalled == MAX_STALLED:
                expired.args = (
                    f"{expired}, and {stalled} readings from its front got no further than page {furthest}",
                )
                raise expired

    def _read_once(self, reading: int) -> Iterator[Page]:
        """Yield the pages of one reading, and of each but the first its front once more."""
        order = self._order = self._order if reading else _Order()
        without_id = 0
        for page in self._pages_from_front(PROBE_PAGE_SIZE if reading % 2 else PAGE_SIZE):
            without_id += _drop_without_id(page.items)
            self._without_id = max(self._without_id, without_id)
            if reading == 0 and self._recent_from is not None:
                order.observe(page.items)
            is_enough = reading > 0 and order.is_newest_first and _ends_before(page.items, self._recent_from)
            yield page
            if is_enough:
                break
        for page in self._pages(PAGE_SIZE, None) if reading else ():
            holds_any = bool(page.items)
            self._without_id = max(self._without_id, _drop_without_id(page.items))
            yield page
            if holds_any:
                break

    def _pages(self, size: int, cursor: str | None) -> Iterator[Page]:
        """Yield the pages from a cursor on, smaller ones from where one of that size can't be had."""
        while True:
            divisor = self._divisor
            try:
                for page in self._source(size // divisor, cursor):
                    self._came = len(page.items)
                    yield page
                    cursor = page.next_cursor
                return
            except LinqError as error:
                if divisor > 1 or not error._may_be_too_much:
                    raise
            self._divisor = _DIVISOR

    def _pages_from_front(self, first_size: int) -> Iterator[Page]:
        """Yield all pages, the first one that is not empty of another size than the rest."""
        cursor = None
        for page in self._pages(first_size, None):
            cursor, holds_any = page.next_cursor, bool(page.items)
            yield page
            if holds_any:
                break
        if cursor:
            yield from self._pages(PAGE_SIZE, cursor)


def _drop_without_id(items: list[Any]) -> int:
    """Take out of a page what has no id, and return how much that was. A blank one tells nothing from anything."""
    good = [item for item in items if isinstance(item, dict) and isinstance(id_ := item.get("id"), str) and id_.strip()]
    left_out = len(items) - len(good)
    items[:] = good
    return left_out


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

    def observe(self, items: list[dict[str, Any]]) -> None:
        """Take the next items of the list into account."""
        for item in items:
            updated = parse_datetime_or_none(item.get("updated_at"))
            if updated is None or (self._last is not None and updated > self._last):
                self._descends = False
                return
            self._newest = self._newest or updated
            self._last = updated


def _ends_before(items: list[dict[str, Any]], moment: datetime | None) -> bool:
    if not items or moment is None:
        return False
    last = parse_datetime_or_none(items[-1].get("updated_at"))
    return last is not None and last < moment


def _may_predate(item: dict[str, Any], moment: datetime | None) -> bool:
    """Whether a chat or message may have existed before a moment."""
    created = _time_of(item, "created_at")
    return created is None or moment is None or created < moment


@overload
def arrived_at(message: models.Message) -> datetime: ...
@overload
def arrived_at(message: dict[str, Any]) -> datetime | None: ...
def arrived_at(message: dict[str, Any] | models.Message) -> datetime | None:
    """Return when a message came to be listed, as far as it tells; None if it names no time.

    One that the platform recovered late can have an old `created_at`, so `reconciled_at` counts where it is later.
    """
    created, recovered = _time_of(message, "created_at"), _time_of(message, "reconciled_at")
    if created is None or recovered is None:
        return created or recovered
    return max(created, recovered)


class UpdatedAtSignal(Enum):
    """What one chat says about whether `updated_at` of a chat shows its new messages."""

    UNKNOWN = "unknown"
    """It says nothing: no new message, or something else explains the time."""

    ADVANCES = "advances"
    """A new message has moved it."""

    LAGS = "lags"
    """There was a message when the chat was listed that it did not show."""


@dataclass(frozen=True, slots=True)
class ListedChat:
    """The times of a chat as a list has shown it.

    Attributes:
        created: its `created_at`.
        updated: its `updated_at`.
        listed: the server's time of the response that listed it.
        is_explained: whether something else that the chat shows, and no message, happened at `updated`.
    """

    id: str
    created: datetime | None
    updated: datetime | None
    listed: datetime
    is_explained: bool = False

    @classmethod
    def of(cls, chat: dict[str, Any] | models.Chat, listed: datetime) -> ListedChat:
        """Read it from an item of a list of chats, which has an id."""
        updated = _time_of(chat, "updated_at")
        handles = _field(chat, "handles")
        others = [_field(chat, "health_status"), *(handles if isinstance(handles, list) else ())]
        moments = (_time_of(one, name) for one in others for name in ("updated_at", "joined_at", "left_at"))
        is_explained = updated is not None and updated in moments
        return cls(_field(chat, "id"), _time_of(chat, "created_at"), updated, listed, is_explained)

    def newest(self, arrivals: Iterable[datetime | None]) -> datetime | None:
        """Return the latest of the times at which messages arrived that were there, with certainty, when it was listed.

        None if there is none such.
        """
        known_by = self.listed - CLOCK_TOLERANCE
        return max((arrival for arrival in arrivals if arrival is not None and arrival < known_by), default=None)

    def signal(self, arrivals: Iterable[datetime | None]) -> UpdatedAtSignal:
        """Compare when the chat says that it last changed with when its newest message arrived.

        To lag takes a message clearly later than `updated_at`. To advance takes one that came clearly after the chat
        began, and right before `updated_at`, which nothing else explains: a chat that was renamed the day after says
        nothing about the message before, and one that was renamed a little before the message has not shown it.

        Args:
            arrivals: when its messages arrived; see `arrived_at`.
        """
        newest = self.newest(arrivals)
        if newest is None or self.updated is None:
            return UpdatedAtSignal.UNKNOWN
        if newest > self.updated + CLOCK_TOLERANCE:
            return UpdatedAtSignal.LAGS
        is_new = self.created is not None and newest > self.created + CLOCK_TOLERANCE
        is_prompt = newest <= self.updated <= newest + _UPDATE_DELAY
        return UpdatedAtSignal.ADVANCES if is_new and is_prompt and not self.is_explained else UpdatedAtSignal.UNKNOWN


def combine(before: bool | None, signals: Iterable[UpdatedAtSignal]) -> bool | None:
    """Return whether `updated_at` is reliable after some more signals: one chat that lags outweighs all others.

    Args:
        before: what was known without them; None if nothing is, here and in the result.
    """
    seen = set(signals)
    if UpdatedAtSignal.LAGS in seen:
        return False
    return True if UpdatedAtSignal.ADVANCES in seen else before


def _field(source: object, name: str) -> Any:
    """Return a field of decoded JSON or of a model; None of what has no such field."""
    return source.get(name) if isinstance(source, dict) else getattr(source, name, None)


def _time_of(source: object, name: str) -> datetime | None:
    return parse_datetime_or_none(_field(source, name))
