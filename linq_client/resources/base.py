"""What all resources share: how a path, a body and an answer are made."""

from __future__ import annotations

import builtins
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from pydantic import ValidationError

from linq_client import models
from linq_client.errors import APIConnectionError, Effect, InvalidRequestError, LinqError, RequestKind
from linq_client.listing import Listing, Reply
from linq_client.outgoing import Message

if TYPE_CHECKING:
    from linq_client.client import LinqClient

A = TypeVar("A", bound=models.Answer)


class Resource:
    """A group of endpoints of one client."""

    def __init__(self, client: LinqClient) -> None:
        self._client = client

    def _call(self, model: type[A], method: str, path: str, **request: Any) -> A:
        """Send a request whose answer is one object; `request` as `LinqClient.request` takes it."""
        reply = self._client.request(method, path, **request)
        return parse(model, reply.body, reply)

    def _list(self, model: type[A], path: str, field: str, **params: Any) -> Listing[A]:
        """Make a list that reads its pages from `field` of the answers."""
        return Listing(
            lambda page: self._client.request("GET", path, params=page, list_field=field),
            field,
            lambda item: parse(model, item),
            params,
        )

    def _items(self, model: type[A], path: str, field: str, **params: Any) -> builtins.list[A]:
        """Read a list that has no pages."""
        reply = self._client.request("GET", path, params=params, list_field=field)
        return [parse(model, item, reply) for item in reply.body[field] or ()]

    def _send(
        self,
        model: type[A],
        path: str,
        message: Message,
        fields: Mapping[str, Any] | None = None,
        *,
        override_optout: bool | None,
        key_in_header: bool = False,
    ) -> A:
        """Send a message, with an idempotency key made for this call if it has none: only so may it be repeated.

        The key is part of the result, and of an error too, so that the caller can ask again.
        """
        key = message.idempotency_key or str(uuid.uuid4())
        body = {**(fields or {}), "message": {**message.to_wire(), "idempotency_key": key}}
        try:
            reply = self._client.request(
                "POST",
                path,
                json=given(body, override_optout=override_optout),
                headers={"Idempotency-Key": key} if key_in_header else None,
                kind=RequestKind.SEND if message.reply_to is None else RequestKind.REPLY,
                has_text=True,
            )
            return parse(model, {**reply.body, "idempotency_key": key, "trace_id": reply.trace_id}, reply)
        except LinqError as error:
            error.idempotency_key = key
            raise


def path_to(template: str, **id_: str) -> str:
    """Put an id into a path; whatever it holds, it stays one segment of the path."""
    ((field, value),) = id_.items()
    if not isinstance(value, str) or not value.strip("./ "):
        raise InvalidRequestError(f"{field}: must be an id, got {value!r}")
    return template.format(quote(value, safe=""))


def given(body: Mapping[str, Any], **optional: Any) -> dict[str, Any]:
    """Return the fields of a body with those of the optional ones that are not None."""
    return {**body, **{name: value for name, value in optional.items() if value is not None}}


def parse(model: type[A], body: object, reply: Reply | None = None) -> A:
    """Read an answer, or one item of it, which came with `reply`.

    Raises:
        APIConnectionError: it is not what was asked for. It is not worth a retry: the API has changed.
    """
    try:
        return model.model_validate(body)
    except ValidationError as error:
        wrong = ", ".join(
            ".".join(map(str, found["loc"])) or "all of it" for found in error.errors(include_input=False)
        )
    refused = APIConnectionError(
        f"the answer is not a {model.__name__}: wrong or missing {wrong}",
        status=reply.status if reply else None,
        trace_id=reply.trace_id if reply else None,
        effect=Effect.NONE if reply is None or reply.kind is RequestKind.READ else Effect.UNKNOWN,
    )
    refused.retryable = False
    raise refused
