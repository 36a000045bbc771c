"""What the vendor's client offers, by introspection: each operation as it goes over the wire, and what comes back.

Everything is made of its type hints, with all optional fields filled in, so that a new release needs no change here.
"""

from __future__ import annotations

import inspect
import json
import types
import typing
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, get_args, get_origin, get_type_hints
from urllib.parse import parse_qsl, unquote

import httpx
import linq
import typing_extensions
from linq._resource import SyncAPIResource
from linq._types import Omit
from linq.types import webhook_event_type
from pydantic import BaseModel

LINE = "+12025550101"

#: What a string has to be where the name of its field says so; any other is its own name.
_STRINGS = {"phone_number": LINE, "next_cursor": None}


@dataclass(frozen=True)
class Operation:
    """
    One operation of the vendor's client.

    :param path: with the names of its ids in their places.
    :param fields: what can be sent: `query to`, `header idempotency-key`, `body message.parts[text].value`.
    :param response: the JSON of a full response; None if it has none.
    """

    method: str
    path: str
    fields: frozenset[str]
    response: Any


def operations() -> dict[str, Operation]:
    """Return all operations by their names in the vendor's client, `chats.messages.send` for example."""
    sent: list[httpx.Request] = []

    def respond(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200, json={})

    found = {}
    transport = httpx.MockTransport(respond)
    with linq.LinqAPIV3(api_key="k", base_url="http://api.test", http_client=httpx.Client(transport=transport)) as api:
        for name, method in _methods(api, ""):
            hints = get_type_hints(method, include_extras=True)
            arguments = {key: sample(hints[key], key) for key in _own_parameters(method)}
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # the deprecated ones count, too
                method(**arguments)
            request = sent[-1]
            response = hints["return"]
            found[name] = Operation(
                request.method,
                unquote(request.url.path),
                fields_of(request.url.query.decode(), request.headers, request.content),
                None if response is type(None) else sample(response, ""),
            )
    return found


def events() -> dict[str, Any]:
    """Return the `data` of each event by its type; None of those that the vendor's client has no form for."""
    forms: dict[str, Any] = dict.fromkeys(get_args(webhook_event_type.WebhookEventType))
    for name in forms:
        event = getattr(linq.types, _class_name(name), None)
        if event is not None:
            forms[name] = sample(event.model_fields["data"].annotation, "data")
    return forms


def _class_name(event_type: str) -> str:
    """The vendor's name of a class: `api_token.created` is `APITokenCreatedWebhookEvent`."""
    wanted = f"{event_type.replace('.', '').replace('_', '')}webhookevent"
    return next((name for name in dir(linq.types) if name.lower() == wanted), "")


def fields_of(query: str, headers: Mapping[str, str], body: bytes) -> frozenset[str]:
    """Return what a request carries, as :class:`Operation` names it."""
    names = {f"query {key}" for key, _ in parse_qsl(query)}
    names |= {f"header {key.lower()}" for key in headers if key.lower() == "idempotency-key"}
    return frozenset(names | {f"body {path}" for path in _leaves(json.loads(body), "")} if body else names)


def _leaves(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _leaves(item, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and value and isinstance(value[0], Mapping):
        for item in value:
            yield from _leaves(item, f"{path}[{item.get('type', '')}]")
    else:
        yield path


def _methods(resource: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for name in sorted(dir(type(resource))):
        if name.startswith(("_", "with_")):
            continue
        attribute = inspect.getattr_static(type(resource), name)
        if inspect.isfunction(attribute):
            if "extra_headers" in inspect.signature(attribute).parameters and isinstance(resource, SyncAPIResource):
                yield f"{prefix}{name}", getattr(resource, name)
        elif isinstance(value := getattr(resource, name, None), SyncAPIResource):
            yield from _methods(value, f"{prefix}{name}.")


def _own_parameters(method: Any) -> list[str]:
    return [
        name for name in inspect.signature(method).parameters if not name.startswith("extra_") and name != "timeout"
    ]


def sample(hint: Any, name: str) -> Any:
    """Return a value of a type, with all that it can have."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (typing.Annotated, typing_extensions.Required, typing_extensions.NotRequired):
        return sample(arguments[0], name)
    if origin in (typing.Literal, typing_extensions.Literal):
        return arguments[0]
    if origin in (typing.Union, types.UnionType):
        return sample(next(one for one in arguments if one not in (type(None), Omit)), name)
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return {
            field.alias or key: sample(field.annotation, field.alias or key) for key, field in hint.model_fields.items()
        }
    if typing_extensions.is_typeddict(hint):
        return {key: sample(value, key) for key, value in get_type_hints(hint, include_extras=True).items()}
    if origin is dict:
        return {"name": sample(arguments[1], "name")}
    if origin is not None:  # a list, or what the vendor's client takes for one
        return [sample(one, name) for one in _variants(arguments[0])]
    return _scalar(hint, name)


def _variants(hint: Any) -> Iterable[Any]:
    """The members of a union of objects, which are one item each; else the type itself."""
    if get_origin(hint) is typing.Annotated:
        hint = get_args(hint)[0]
    is_union = get_origin(hint) in (typing.Union, types.UnionType)
    return [one for one in get_args(hint) if one is not type(None)] if is_union else [hint]


def _scalar(hint: Any, name: str) -> Any:
    if hint in (datetime, date):
        return "2026-03-01T12:00:00Z"
    if hint in (bool, int, float):
        return hint(1)
    if hint in (str, object):
        return _STRINGS.get(name, name)
    raise AssertionError(f"{name}: no sample of {hint!r}")
