"""Ordered indexes and the pages that are cut from them.

An index keeps its items sorted by time, and also by id once a page in that order was requested. A page costs as much as
its length: it is a slice found by bisection, independent of the pages before.
"""

from __future__ import annotations

import base64
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, Protocol, TypeVar

import msgspec

from linq_emulator.errors import ApiError
from linq_emulator.json_codec import decode, encode
from linq_emulator.switches import CursorKind, SortOrder

__all__ = ["Indexed", "Key", "OrderedIndex", "parse_offset"]

Key = tuple[int, int]


class Indexed(Protocol):
    """What an index needs of its items. `seq` breaks ties of time and never changes."""

    id: str
    seq: int


T = TypeVar("T", bound=Indexed)

_EMPTY_PAGE_MARK = "~"
_WRONG_CURSOR = "cursor is not one that this list returned"


def _by_id(item: Indexed) -> str:
    return item.id


class OrderedIndex(Generic[T]):
    """Items in order of `key`, a (time, seq) that must not change while the item is in the index."""

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
        """Insert an item in order. This is cheapest at the newest end."""
        items, key = self._items, self._key
        if not items or key(items[-1]) < key(item):
            items.append(item)
        else:
            items.insert(bisect_right(items, key(item), key=key), item)
        if self._ids is not None:
            self._ids.insert(bisect_left(self._ids, item.id, key=_by_id), item)

    def remove(self, item: T) -> None:
        """Remove an item that is in the index."""
        del self._items[bisect_left(self._items, self._key(item), key=self._key)]
        if self._ids is not None:
            del self._ids[bisect_left(self._ids, item.id, key=_by_id)]

    def remove_oldest(self, count: int) -> list[T]:
        """Remove and return the first items by time."""
        removed = self._items[:count]
        del self._items[:count]
        self._ids = None
        return removed

    def _sorted_by_id(self) -> list[T]:
        if self._ids is None:
            self._ids = sorted(self._items, key=_by_id)
        return self._ids

    def page(
        self,
        limit: int,
        cursor: str | None,
        *,
        order: SortOrder,
        cursor_kind: CursorKind,
        empty_pages: bool = False,
    ) -> tuple[list[T], str | None]:
        """Return at most `limit` items after `cursor`, and the cursor of the next page, if there is one.

        Args:
            limit: 1 or more.
            cursor: From an earlier page of the same order and kind; None for the first page.
            order: By time, in either direction, or by id.
            cursor_kind: What a cursor holds: an offset, or the key of the last item.
            empty_pages: Whether about one cursor in four gets an empty page with another cursor.

        Raises:
            ApiError: 1005 for a cursor that is not of this kind.
        """
        position = (cursor or "").removesuffix(_EMPTY_PAGE_MARK)
        # The first page can be empty, too. Its cursor is the mark alone.
        if empty_pages and len(self) and not (cursor or "").endswith(_EMPTY_PAGE_MARK) and _is_empty(position, self):
            return [], position + _EMPTY_PAGE_MARK
        if cursor_kind == "offset":
            return self._page_at(parse_offset(position), limit, order)
        return self._page_after(position, limit, order)

    def _page_at(self, offset: int, limit: int, order: SortOrder) -> tuple[list[T], str | None]:
        items = self._sorted_by_id() if order == "unordered" else self._items
        if order == "newest":
            end = max(0, len(items) - offset)
            page = items[max(0, end - limit) : end][::-1]
        else:
            page = items[offset : offset + limit]
        return page, str(offset + limit) if offset + limit < len(items) else None

    def _page_after(self, cursor: str, limit: int, order: SortOrder) -> tuple[list[T], str | None]:
        key = _parse_key(cursor)
        if order == "unordered":
            ids = self._sorted_by_id()
            start = bisect_right(ids, key[2], key=_by_id) if key else 0
            page = ids[start : start + limit]
            has_more = start + limit < len(ids)
        elif order == "newest":
            end = bisect_left(self._items, key[:2], key=self._key) if key else len(self._items)
            page = self._items[max(0, end - limit) : end][::-1]
            has_more = end > limit
        else:
            start = bisect_right(self._items, key[:2], key=self._key) if key else 0
            page = self._items[start : start + limit]
            has_more = start + limit < len(self._items)
        return page, self._cursor_of(page[-1]) if has_more else None

    def _cursor_of(self, item: T) -> str:
        time, seq = self._key(item)
        cursor = encode({"ts": time, "n": seq, "id": item.id})
        return base64.urlsafe_b64encode(cursor).decode().rstrip("=")


def _is_empty(cursor: str, index: OrderedIndex[T]) -> bool:
    # A checksum and not chance: a repeated walk sees the same pages, and parallel readers do not change them.
    seed = f"{cursor}/{len(index)}/{index._items[0].id}"
    return zlib.crc32(seed.encode()) % 4 == 0


def parse_offset(cursor: str) -> int:
    """The number in a cursor; 1005 if it is none."""
    if not cursor:
        return 0
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 16):
        raise ApiError(1005, _WRONG_CURSOR)
    return int(cursor)


class _Position(msgspec.Struct):
    ts: int
    n: int
    id: str


def _parse_key(cursor: str) -> tuple[int, int, str] | None:
    if not cursor:
        return None
    try:
        decoded = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        position = decode(decoded, _Position)
    except (ValueError, msgspec.ValidationError):
        raise ApiError(1005, _WRONG_CURSOR) from None
    return position.ts, position.n, position.id
