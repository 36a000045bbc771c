"""What all resources share: how a path, a body and a response are made."""

from __future__ import annotations

import builtins
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from pydantic import ValidationError

from linq_client import models
from linq_client._outgoing import Message
from linq_client._pagination import APIResponse, Paginator
from linq_client._verdict import MAX_QUOTED, quoted
from linq_client.errors import APIConnectionError, Effect, InvalidRequestError, LinqError, RequestKind

if TYPE_CHECKING:
    from linq_client.client import LinqClient

M = TypeVar("M", bound=models.APIModel)


class Resource:
    """A group of endpoints of one client."""

    def __init__(self, client: LinqClient) -> None:
        self._client = client

    def _call(self, model: type[M], method: str, path: str, **request: Any) -> M:
        """Send a request whose response is one object; `request` as `LinqClient.request` takes it.

        Raises:
            APIConnectionError: the API says that it succeeded, and nothing more: the one such response that is known
                stands for a request that did nothing.
        """
        response = self._client.request(method, path, **request)
        return parse(model, response.body, response)

    def _list(self, model: type[M], path: str, field: str, **params: Any) -> Paginator[M]:
        """Make a list that reads its pages from `field` of the responses."""
        return Paginator(
            lambda page: self._client.request("GET", path, params=page, list_field=field),
            field,
            lambda item: parse(model, item),
            params,
        )

    def _raw(self, path: str, field: str) -> builtins.list[Any]:
        """Read all items of a list as decoded JSON, also what is no object."""
        return [item for page in self._list(models.APIModel, path, field).pages() for item in page.items]

    def _send(
        self,
        model: type[M],
        path: str,
        message: Message,
        fields: Mapping[str, Any] | None = None,
        *,
        override_optout: bool | None,
        key_in_header: bool = False,
    ) -> M:
        """Send a message, with an idempotency key made for this call if it has none: only so may it be repeated.

        The key is part of the result, and of an error too, so that the caller can ask again.
        """
        key = message.idempotency_key or str(uuid.uuid4())
        body = {**(fields or {}), "message": {**message.to_wire(), "idempotency_key": key}}
        try:
            response = self._client.request(
                "POST",
                path,
                json={**body, **omit_none(override_optout=override_optout)},
                headers={"Idempotency-Key": key} if key_in_header else None,
                kind=RequestKind.SEND if message.reply_to is None else RequestKind.REPLY,
                has_text=True,
            )
            return parse(model, {**response.body, "idempotency_key": key, "trace_id": response.trace_id}, response)
        except LinqError as error:
            error.idempotency_key = key
            raise


def path_to(template: str, **id_: str) -> str:
    """Put an id into a path; whatever it holds, it stays one segment of the path."""
    ((field, value),) = id_.items()
    try:
        segment = quote(value, safe="") if isinstance(value, str) and value.strip("./ ") else ""
    except UnicodeEncodeError:  # half a surrogate pair
        segment = ""
    if not segment:
        raise InvalidRequestError(f"{field}: must be an id, got {value!r}"[:MAX_QUOTED])
    return template.format(segment)


def omit_none(**fields: Any) -> dict[str, Any]:
    """Return the fields that are not None."""
    return {name: value for name, value in fields.items() if value is not None}


def parse(model: type[M], body: object, response: APIResponse | None = None) -> M:
    """Read the body of a response, or one item of it.

    Args:
        response: where the body comes from; of an item of a list, it may be None.

    Raises:
        APIConnectionError: it is not what was asked for. It is not worth a retry: the API has changed.
    """
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
