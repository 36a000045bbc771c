"""One response of the API, and what it says as a model."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from linq_client._verdict import quoted
from linq_client.errors import APIConnectionError, Effect, RequestKind

if TYPE_CHECKING:
    from pydantic import BaseModel

M = TypeVar("M", bound="BaseModel")


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

    @property
    def is_empty(self) -> bool:
        """Whether the API has said that the request succeeded, and nothing more (204)."""
        return self.status == 204

    def parse(self, model: type[M]) -> M:
        """Read the body as a pydantic model: one of `linq_client.models`, or your own, best based on its `APIModel`.

        Raises:
            APIConnectionError: it is not what was asked for. It is not worth a retry: the API has changed.
        """
        return parse(model, self.body, self)


def parse(model: type[M], body: object, response: APIResponse | None = None) -> M:
    """Read the body of a response, or one item of it.

    Args:
        response: where the body comes from; of an item of a list, it may be None.

    Raises:
        APIConnectionError: it is not what was asked for. It is not worth a retry: the API has changed.
    """
    from pydantic import ValidationError  # see `_lazy`

    if response is not None and response.is_empty:
        problem = "it has no body (HTTP 204)"
    else:
        try:
            return model.model_validate(body, context=response.server_time if response else None)
        except ValidationError as error:
            # Some of it can be the other side's: the names in an object whose names are free.
            names = (".".join(map(str, found["loc"])) or "all of it" for found in error.errors(include_input=False))
            problem = f"wrong or missing {quoted(', '.join(names))}"
    failure = APIConnectionError(
        f"the response is not a {model.__name__}: {problem}",
        status=response.status if response else None,
        trace_id=response.trace_id if response else None,
        effect=Effect.NONE if response is None or response.kind is RequestKind.READ else Effect.UNKNOWN,
    )
    failure.retryable = False
    raise failure
