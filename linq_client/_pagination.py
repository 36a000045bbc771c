"""Lists that read themselves page by page."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Generic, TypeVar

from linq_client._response import APIResponse
from linq_client.errors import (
    ChatNotFoundError,
    CursorExpiredError,
    InvalidRequestError,
    LinqError,
    MessageNotFoundError,
    PaginationError,
)

MAX_PAGE: Final = 100

#: Pages in a row that bring nothing. A list may hide what was deleted by empty pages, but does not consist of them.
MAX_IDLE_PAGES: Final = 1000

#: How the API refuses a cursor that it does not know any more, as far as other APIs show: no source says it.
_CURSOR_REFUSED: Final = frozenset({400, 404, 410})

T = TypeVar("T")


@dataclass(frozen=True)
class Page:
    """One page of a list, as it came.

    Attributes:
        items: decoded JSON.
        next_cursor: of the next page; None at the end.
        server_time: the server's clock (UTC) when the page was made.
    """

    items: list[dict[str, Any]]
    next_cursor: str | None
    server_time: datetime


class Paginator(Generic[T]):
    """A list of the API, read page by page while it is iterated over.

    Iterate over it for models, or over `pages()` for the raw pages. An empty page that carries a cursor is read past.
    The lists are not snapshots: an item may come twice, and in any order. That a list has come to its end is never
    guessed at: see the errors of `pages`.
    """

    def __init__(
        self,
        fetch: Callable[[Mapping[str, Any]], APIResponse],
        key: str,
        model: Callable[[Any], T],
        params: Mapping[str, Any],
    ) -> None:
        _checked_limit(params.get("limit", MAX_PAGE))
        self._fetch = fetch
        self._key = key
        self._model = model
        self._params = params
        self._items = (model(item) for page in self.pages() for item in page.items)
        self._error: LinqError | None = None

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        if self._error is not None:  # a list that broke must not look like one that has come to its end
            raise self._error
        try:
            return next(self._items)
        except LinqError as error:
            self._error = error
            raise

    def pages(self, *, limit: int | None = None, cursor: str | None = None) -> Iterator[Page]:
        """Yield the raw pages from the first on, each fetched when it is asked for.

        Args:
            limit: items a page, if not as many as this list was made with.
            cursor: where to begin, if not where this list does.

        Raises:
            InvalidRequestError: the limit is out of range.
            CursorExpiredError: the API does not know the cursor of the page.
            PaginationError: a cursor is not text or came a second time, a full page lacks one, or `MAX_IDLE_PAGES`
                pages one after the other were empty or the same.
            LinqError: as `LinqClient.request`.
        """
        params = dict(self._params)
        if limit is not None:
            params["limit"] = _checked_limit(limit)
        if cursor is not None:
            params["cursor"] = cursor
        seen: set[str] = set()
        last: object = None
        idle = 0
        while True:
            page = self._page(params)
            # Not all of the items, which whoever gets the page may change: a page has many, and this is as certain.
            ends = [item.get("id") if isinstance(item, dict) else item for item in (page.items[:1] + page.items[-1:])]
            idle = idle + 1 if not ends or ends == last else 0
            last = ends
            yield page
            if not page.next_cursor:
                return
            if page.next_cursor in seen:
                raise self._broken(f"the API named a cursor twice after {len(seen)} pages")
            if idle >= MAX_IDLE_PAGES:
                raise self._broken(f"{idle} pages one after the other brought nothing, and the API named another one")
            seen.add(page.next_cursor)
            params["cursor"] = page.next_cursor

    def _page(self, params: Mapping[str, Any]) -> Page:
        try:
            response = self._fetch(params)
        except (ChatNotFoundError, MessageNotFoundError):
            raise
        except LinqError as error:
            if params.get("cursor") is None or error.status not in _CURSOR_REFUSED:
                raise
            expired = self._expired(error)
        else:
            cursor = response.body.get("next_cursor")
            items = response.body[self._key]
            if not isinstance(cursor, str | None):
                raise self._broken(f"next_cursor must be text, got {type(cursor).__name__}")
            if "next_cursor" not in response.body and len(items) >= params.get("limit", math.inf):
                raise self._broken(f"a full page of {len(items)} must name a next_cursor or null, got neither")
            return Page(items, cursor, response.server_time)
        raise expired

    def _expired(self, error: LinqError) -> CursorExpiredError:
        expired = CursorExpiredError(
            f"list of {self._key}: the API does not know the cursor, or not any more (HTTP {error.status})",
            code=error.code,
            status=error.status,
            trace_id=error.trace_id,
            doc_url=error.doc_url,
        )
        expired.verdict = error.verdict
        return expired

    def _broken(self, problem: str) -> PaginationError:
        return PaginationError(f"list of {self._key}: {problem}")

    def parsed(self, page: Page) -> list[T]:
        """Return the items of a page as models."""
        return [self._model(item) for item in page.items]


def _checked_limit(limit: Any) -> int:
    if not isinstance(limit, int) or not 1 <= limit <= MAX_PAGE:
        raise InvalidRequestError(f"limit: must be 1 to {MAX_PAGE}, got {limit!r}")
    return limit
