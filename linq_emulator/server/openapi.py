"""The OpenAPI document of what is emulated, made of the routes and of the types of their bodies."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from linq_emulator.errors import CODES, DOCS
from linq_emulator.schemas.common import Identifier, Phone
from linq_emulator.schemas.responses import Error
from linq_emulator.server.endpoints import EMULATED
from linq_emulator.server.gateway import PREFIX
from linq_emulator.server.route import Route

__all__ = ["document"]

JSON = dict[str, Any]

_REF = "#/components/schemas/{name}"
_TRACE = {"description": "32 hexadecimal digits that name this request", "schema": {"type": "string"}}


def document(origin: str) -> JSON:
    """The document of an emulator at this scheme, host and port.

    It has every operation that is emulated, with all statuses that the switches allow.
    """
    paths: dict[str, JSON] = {}
    for route in EMULATED:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "linq-emulator",
            "summary": "What linq-emulator serves of the Linq Partner API v3",
            "description": f"It is no document of the vendor's, which is at {DOCS}.",
            "version": "3",
        },
        "servers": [{"url": origin + PREFIX}],
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "schemas": _schemas(),
        },
    }


def _schemas() -> JSON:
    types = {kind for route in EMULATED for kind in (route.response, route.body) if kind is not None}
    ordered = sorted({*types, Error}, key=lambda kind: kind.__name__)
    return msgspec.json.schema_components(ordered, ref_template=_REF)[1]


def _operation(route: Route) -> JSON:
    # Docstrings begin with method and path.
    text = re.sub(r"^[A-Z].*?/v3[^\s:]*[:.]?\s*", "", " ".join((route.run.__doc__ or "").split()))
    name = re.sub(r"[^a-z0-9]+", "_", route.path.removeprefix("/v3")).rstrip("_")
    operation: JSON = {
        "operationId": route.method.lower() + name,
        "summary": route.run.__name__.replace("_", " ").capitalize(),
        "tags": [route.path.split("/")[2]],
        "parameters": list(_parameters(route)),
        "responses": _responses(route),
    }
    if text:
        operation["description"] = text[0].upper() + text[1:]
    if route.body is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": _ref(route.body)}}}
    return operation


def _parameters(route: Route) -> Iterator[JSON]:
    for name in re.findall(r"\{(\w+)\}", route.path):
        kind: object = Identifier if name.endswith("_id") else Phone if name == "phone_number" else str
        yield {"name": name, "in": "path", "required": True, "schema": msgspec.json.schema(kind)}
    for place, kind in (("query", route.query), ("header", route.headers)):
        if kind is None:
            continue
        (_,), components = msgspec.json.schema_components([kind], ref_template=_REF)
        schema = components[kind.__name__]
        for name, field in schema["properties"].items():
            yield {"name": name, "in": place, "required": name in schema["required"], "schema": field}


def _responses(route: Route) -> JSON:
    responses = {str(status): _success(route) for status in route.success_statuses()}
    if route.also_empty is not None:
        responses[str(route.also_empty)] = {
            "description": "There is nothing to show",
            "headers": {"X-Trace-ID": _TRACE},
        }
    for status, codes in sorted(route.refusals_by_status().items()):
        responses[str(status)] = _refusal(status, codes)
    return responses


def _success(route: Route) -> JSON:
    description = "Success"
    if isinstance(route.status, str):
        description += f", of which the switch {route.status} chooses the status"
    response: JSON = {"description": description, "headers": {"X-Trace-ID": _TRACE}}
    if route.response is not None:
        response["content"] = {route.media_type: {"schema": _ref(route.response)}}
    return response


def _refusal(status: int, codes: set[int]) -> JSON:
    headers = {"X-Trace-ID": _TRACE}
    if status == 429:
        headers["Retry-After"] = {"description": "Seconds to wait", "schema": {"type": "integer"}}
    return {
        "description": "; ".join(f"{code}: {CODES[code][1]}" for code in sorted(codes)),
        "headers": headers,
        "content": {"application/json": {"schema": _ref(Error)}},
        "x-codes": sorted(codes),
    }


def _ref(kind: type) -> JSON:
    return {"$ref": _REF.format(name=kind.__name__)}
