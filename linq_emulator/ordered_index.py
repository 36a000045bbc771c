"""Ordered indexes and the pages that are cut from them.

A listing keeps its items sorted by time, and by id from the first time that somebody asks for that. A page
costs as much as its length: it is a slice found by bisection, never a walk over what came before.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, Protocol, TypeVar

import msgspec

from linq_emulator.errors import ApiError
from linq_emulator.switches import Order

Key = tuple[int, int]


class Listed(Protocol):
    """What a listing needs of its items; `seq` breaks ties of time and never changes."""

    id: str
    seq: int


T = TypeVar("T", bound=Listed)

_EMPTY_MARK = "~"
_BAD_CURSOR = "cursor is not one that this listing gave"


def _by_id(item: Listed) -> str:
    return item.id


class Listing(Generic[T]):
    """Items in order of `key`, which is (time, seq) and must not change while an item is in the listing."""

    __slots__ = ("_ids", "_items", "_key")

    def __init__(self, key: Callable[[T], Key], items: Iterable[T] = ()) -> None:
        self._key = key
        self._items: list[T] = sorted(items, key=key)
        self._ids: list[T] | None = None

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[T]:
        return iter(self._items)

    def __reversed__(self) -> Iterator[T]:
        return reversed(self._items)

    def oldest(self) -> T | None:
        """The first item by time."""
        return self._items[0] if self._items else None

    def add(self, item: T) -> None:
        """Put an item where its key belongs; cheapest at the newest end."""
        items, key = self._items, self._key
        if not items or key(items[-1]) < key(item):
            items.append(item)
        else:
            items.insert(bisect_right(items, key(item), key=key), item)
        if self._ids is not None:
            self._ids.insert(bisect_left(self._ids, item.id, key=_by_id), item)

    def remove(self, item: T) -> None:
        """Take out an item that is in the listing."""
        del self._items[bisect_left(self._items, self._key(item), key=self._key)]
        if self._ids is not None:
            del self._ids[bisect_left(self._ids, item.id, key=_by_id)]

    def remove_oldest(self, count: int) -> list[T]:
        """Take out the first items by time, all at once."""
        removed = self._items[:count]
        del self._items[:count]
        self._ids = None
        return removed

    def _sorted_by_id(self) -> list[T]:
        if self._ids is None:
            self._ids = sorted(self._items, key=_by_id)
        return self._ids

    def page(
        self, limit: int, cursor: str | None, *, order: Order, by: str, empty_pages: bool = False
    ) -> tuple[list[T], str | None]:
        """At most `limit` items after `cursor`, and the cursor of the next page, if there is one.

        Args:
            limit: 1 or more.
            cursor: What an earlier page of the same order and kind gave, or None for the first.
            order: By time, either way round, or by id.
            by: ``offset`` or ``key``: what a cursor holds.
            empty_pages: Let about one cursor in four answer with nothing but another cursor.

        Raises:
            ApiError: 1005 for a cursor that is not of this kind.
        """
        plain = (cursor or "").removesuffix(_EMPTY_MARK)
        # The first page, too, can be the empty one: its cursor is then the mark alone.
        if empty_pages and len(self) and not (cursor or "").endswith(_EMPTY_MARK) and _is_empty(plain, self):
            return [], plain + _EMPTY_MARK
        if by == "offset":
            return self._page_at(_offset(plain), limit, order)
        return self._page_after(plain, limit, order)

    def _page_at(self, offset: int, limit: int, order: Order) -> tuple[list[T], str | None]:
        items = self._sorted_by_id() if order == "unordered" else self._items
        if order == "newest":
            end = max(0, len(items) - offset)
            found = items[max(0, end - limit) : end][::-1]
        else:
            found = items[offset : offset + limit]
        return found, str(offset + limit) if offset + limit < len(items) else None

    def _page_after(self, cursor: str, limit: int, order: Order) -> tuple[list[T], str | None]:
        key = _key_cursor(cursor)
        if order == "unordered":
            ids = self._sorted_by_id()
            start = bisect_right(ids, key[2], key=_by_id) if key else 0
            found = ids[start : start + limit]
            more = start + limit < len(ids)
        elif order == "newest":
            end = bisect_left(self._items, key[:2], key=self._key) if key else len(self._items)
            found = self._items[max(0, end - limit) : end][::-1]
            more = end > limit
        else:
            start = bisect_right(self._items, key[:2], key=self._key) if key else 0
            found = self._items[start : start + limit]
            more = start + limit < len(self._items)
        return found, self._cursor_of(found[-1]) if more else None

    def _cursor_of(self, item: T) -> str:
        moment, seq = self._key(item)
        raw = msgspec.json.encode({"ts": moment, "n": seq, "id": item.id})
        return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _is_empty(cursor: str, listing: Listing[T]) -> bool:
    # A checksum rather than chance: the same walk is the same again, and parallel readers do not change it.
    seed = f"{cursor}/{len(listing)}/{listing._items[0].id}"
    return zlib.crc32(seed.encode()) % 4 == 0


def _offset(cursor: str) -> int:
    if not cursor:
        return 0
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 10):
        raise ApiError(1005, _BAD_CURSOR)
    return int(cursor)


class _Position(msgspec.Struct):
    ts: int
    n: int
    id: str


def _key_cursor(cursor: str) -> tuple[int, int, str] | None:
    if not cursor:
        return None
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        position = msgspec.json.decode(raw, type=_Position)
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        raise ApiError(1005, _BAD_CURSOR) from None
    return position.ts, position.n, position.id
