"""One response of the API, and lists that read themselves page by page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Generic, TypeVar

from linq_client.errors import InvalidRequestError, LinqError, PaginationError, RequestKind

MAX_PAGE: Final = 100

T = TypeVar("T")


@dataclass(frozen=True)
class APIResponse:
    """One response of the API.

    Attributes:
        body: the decoded JSON object, {} if there was none.
        status: HTTP status.
        trace_id: the API's id for the request, to quote to its support.
        server_time: the server's clock (UTC).
        kind: of the request; it decides what is certain if the body turns out to be another than was asked for.
    """

    body: dict[str, Any]
    status: int
    trace_id: str | None
    server_time: datetime
    kind: RequestKind = RequestKind.READ


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

    Iterate over it for models, or over `pages()` for the raw pages. An empty page that carries a cursor is read past;
    a cursor seen before raises `PaginationError`. The lists are not snapshots: an item may come twice, and in any
    order.
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
            PaginationError: a cursor came a second time.
            LinqError: as `LinqClient.request`.
        """
        params = dict(self._params)
        if limit is not None:
            params["limit"] = _checked_limit(limit)
        if cursor is not None:
            params["cursor"] = cursor
        seen: set[str] = set()
        while True:
            response = self._fetch(params)
            cursor = response.body.get("next_cursor")
            if not isinstance(cursor, str | None):
                raise PaginationError(f"list of {self._key}: next_cursor must be text, got {type(cursor).__name__}")
            yield Page(response.body[self._key] or [], cursor, response.server_time)
            if not cursor:
                return
            if cursor in seen:
                raise PaginationError(f"list of {self._key}: the API named a cursor twice after {len(seen)} pages")
            seen.add(cursor)
            params["cursor"] = cursor

    def parsed(self, page: Page) -> list[T]:
        """Return the items of a page as models."""
        return [self._model(item) for item in page.items]


def _checked_limit(limit: Any) -> int:
    if not isinstance(limit, int) or not 1 <= limit <= MAX_PAGE:
        raise InvalidRequestError(f"limit: must be 1 to {MAX_PAGE}, got {limit!r}")
    return limit
