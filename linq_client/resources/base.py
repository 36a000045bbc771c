"""What all resources share: how a path, a body and an answer are made."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from pydantic import ValidationError

from linq_client import models
from linq_client.errors import APIConnectionError, InvalidRequestError
from linq_client.listing import Listing

if TYPE_CHECKING:
    from linq_client.client import LinqClient

A = TypeVar("A", bound=models.Answer)


class Resource:
    def __init__(self, client: LinqClient) -> None:
        self._client = client

    def _list(self, path: str, key: str, model: type[A], **params: Any) -> Listing[A]:
        return Listing(
            lambda page: self._client.request("GET", path, params=page), key, lambda item: parse(model, item), params
        )


def path_to(template: str, **id_: str) -> str:
    """Put an id into a path; whatever it holds, it stays one segment of the path."""
    ((field, value),) = id_.items()
    if not isinstance(value, str) or not value.strip("./ "):
        raise InvalidRequestError(f"{field}: must be an id, got {value!r}")
    return template.format(quote(value, safe=""))


def given(body: Mapping[str, Any], **optional: Any) -> dict[str, Any]:
    return {**body, **{name: value for name, value in optional.items() if value is not None}}


def with_key(message: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Make sure that a message carries an idempotency key: only so may its send be repeated."""
    key = message.setdefault("idempotency_key", str(uuid.uuid4()))
    return message, key


def parse(model: type[A], body: object) -> A:
    try:
        return model.model_validate(body)
    except ValidationError as error:
        wrong = ", ".join(".".join(map(str, found["loc"])) for found in error.errors(include_input=False))
        raise APIConnectionError(f"the answer is not a {model.__name__}: wrong or missing {wrong}") from None
