"""What all resources share: how a path, a body and a response are made."""

from __future__ import annotations

import builtins
import uuid
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from linq_client import _outgoing, models
from linq_client._pagination import Paginator
from linq_client._response import parse
from linq_client._verdict import MAX_QUOTED
from linq_client.errors import InvalidRequestError, LinqError, RequestKind

if TYPE_CHECKING:
    from linq_client.client import LinqClient

M = TypeVar("M", bound="models.APIModel")


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
        return self._client.request(method, path, **request).parse(model)

    def _do(self, method: str, path: str, **request: Any) -> None:
        """Send a request whose success says nothing; `request` as `LinqClient.request` takes it."""
        self._client.request(method, path, may_be_empty=True, **request)

    def _list(self, model: Callable[[], type[M]], path: str, field: str, **params: Any) -> Paginator[M]:
        """Make a list that reads its pages from `field` of the responses.

        Args:
            model: returns the model of an item. It is made only if it is asked for: raw pages take none.
        """
        return Paginator(
            lambda page: self._client.request("GET", path, params=page, list_field=field),
            field,
            lambda item: parse(model(), item),
            params,
        )

    def _raw(self, path: str, field: str) -> builtins.list[Any]:
        """Read all items of a list as decoded JSON, also what is no object."""
        return [item for page in self._list(lambda: models.APIModel, path, field).pages() for item in page.items]

    def _send(
        self,
        model: type[M],
        path: str,
        message: _outgoing.Message,
        fields: Mapping[str, Any] | None = None,
        *,
        override_optout: bool | None,
        key_in_header: bool = False,
    ) -> M:
        """Send a message, with an idempotency key made for this call if it has none: only so may it be repeated."""
        return self._send_keyed(
            model,
            path,
            {**(fields or {}), "message": message.to_wire(), **omit_none(override_optout=override_optout)},
            "message",
            kind=RequestKind.SEND if message.reply_to is None else RequestKind.REPLY,
            key_in_header=key_in_header,
        )

    def _send_keyed(
        self,
        model: type[M],
        path: str,
        body: dict[str, Any],
        keyed: str,
        *,
        kind: RequestKind = RequestKind.SEND,
        key_in_header: bool = False,
    ) -> M:
        """Send a body whose field `keyed` carries the idempotency key, which is made here if there is none.

        The key is part of the result, and of an error too, so that the caller can ask again.
        """
        key = body[keyed].get("idempotency_key") or str(uuid.uuid4())
        try:
            response = self._client.request(
                "POST",
                path,
                json={**body, keyed: {**body[keyed], "idempotency_key": key}},
                idempotency_key=key if key_in_header else None,
                kind=kind,
                has_text=True,
            )
            return parse(model, {**response.body, "idempotency_key": key, "trace_id": response.trace_id}, response)
        except LinqError as error:
            error.idempotency_key = key
            raise


def path_to(template: str, **ids: str) -> str:
    """Put ids into a path, in the order of their places; whatever one holds, it stays one segment of the path."""
    return template.format(*(_segment(field, value) for field, value in ids.items()))


def _segment(field: str, value: str) -> str:
    try:
        segment = quote(value, safe="") if isinstance(value, str) and value.strip("./ ") else ""
    except UnicodeEncodeError:  # half a surrogate pair
        segment = ""
    if not segment:
        raise InvalidRequestError(f"{field}: must be an id, got {value!r}"[:MAX_QUOTED])
    return segment


def omit_none(**fields: Any) -> dict[str, Any]:
    """Return the fields that are not None."""
    return {name: value for name, value in fields.items() if value is not None}
