"""Whether what a tap wrote keeps the Singer specification, and what loaders need beyond it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from tests.support.loaders import instant

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)")
_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "boolean": bool,
    "integer": int,  # also to draft 4, for which 12.0 is none
    "number": (int, float),
    "object": dict,
    "array": list,
    "null": type(None),
}


def _no_constant(name: str) -> Any:
    raise AssertionError(f"{name} is no JSON")


def read(line: bytes) -> dict[str, Any]:
    """Read a line of output, which must be strict JSON without U+0000 and lone surrogates."""
    found: dict[str, Any] = json.loads(line, parse_constant=_no_constant)
    text = json.dumps(found, ensure_ascii=False)
    text.encode()  # a lone surrogate can't be encoded
    assert "\\u0000" not in text.replace("\\\\", ""), "a U+0000"
    return found


def violations(value: Any, schema: dict[str, Any], path: str = "", column: bool = True) -> Iterator[str]:
    """Say where a value does not fit a schema, or holds what the schema does not declare.

    Args:
        column: whether the value is one of a row, in which SQL loaders have 64 bits for an integer.
    """
    types = schema.get("type", list(_TYPES))
    types = [types] if isinstance(types, str) else types
    fits = any(
        isinstance(value, _TYPES[name]) and not (isinstance(value, bool) and name in ("integer", "number"))
        for name in types
    )
    if not fits:
        yield f"{path}: {json.dumps(value)[:80]} is not of {types}"
    elif isinstance(value, str) and schema.get("format") == "date-time":
        if not _TIME.fullmatch(value) or instant(value) is None:
            yield f"{path}: {value[:40]!r} is no time"
    elif isinstance(value, int) and column and not -(2**63) <= value < 2**63:
        yield f"{path}: {value} is above 64 bits"
    elif isinstance(value, dict) and "properties" in schema:
        for name, inner in value.items():
            where = f"{path}.{name}" if path else name
            if name in schema["properties"]:
                yield from violations(inner, schema["properties"][name], where, column=not path)
            else:
                yield f"{where[:80]} is not declared"
        for name in schema.get("required", ()):
            if name not in value:
                yield f"{path}.{name} is required"
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from violations(inner, schema.get("items", {}), f"{path}.{number}", column=False)
