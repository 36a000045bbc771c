"""Pages of lists: the page size and the cursor of a request, and how long a cursor works."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from linq_emulator.clock import SECOND
from linq_emulator.domain import validate
from linq_emulator.domain.ordered_index import Indexed, OrderedIndex, parse_offset
from linq_emulator.errors import ApiError
from linq_emulator.server.gateway import Request
from linq_emulator.switches import CursorKind, SortOrder

__all__ = ["page", "short_list"]

T = TypeVar("T", bound=Indexed)


def page(
    request: Request,
    index: OrderedIndex[T],
    default_limit: int,
    *,
    order: SortOrder,
    cursor_kind: CursorKind,
    empty_pages: bool = False,
) -> tuple[list[T], str | None]:
    """The page of an index that a request asks for, and the cursor of the next one.

    Raises:
        ApiError: 1005 for a wrong limit, and for a cursor that is wrong or has expired.
    """
    limit = validate.limit(request.query, default_limit)
    items, position = index.page(
        limit, _position(request), order=order, cursor_kind=cursor_kind, empty_pages=empty_pages
    )
    return items, _cursor(request, position)


def short_list(request: Request, name: str, items: Sequence[Any]) -> dict[str, Any]:
    """The body of a list that is documented without pages. It has pages if the switch `short_list_page_size` says so.

    Raises:
        ApiError: 1005 for a cursor that is wrong or has expired.
    """
    size = request.backend.switches.short_list_page_size
    if not size:
        return {name: items}
    start = parse_offset(_position(request) or "")
    end = start + size
    return {name: items[start:end], "next_cursor": _cursor(request, str(end) if end < len(items) else None)}


def _position(request: Request) -> str | None:
    """What the index made of the cursor of a request, without the time at which it was given."""
    cursor = request.query.get("cursor")
    lifetime = request.backend.switches.cursor_seconds
    if cursor is None or not lifetime:
        return cursor
    position, _, given_at = cursor.rpartition(".")
    if request.backend.now() > parse_offset(given_at) + lifetime * SECOND:
        raise ApiError(1005, "cursor has expired")
    return position


def _cursor(request: Request, position: str | None) -> str | None:
    if position is None or not request.backend.switches.cursor_seconds:
        return position
    return f"{position}.{request.backend.now()}"
