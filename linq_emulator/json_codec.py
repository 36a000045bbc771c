"""JSON in and out.

Out: text may hold U+0000 and halves of surrogate pairs, since senders write them and platforms pass them on; they go
out as escapes. In: a body that is no JSON, or is nested too deeply, is a `ValueError` with a sentence.
"""

from __future__ import annotations

import json
import re
from typing import Any, TypeVar

import msgspec

__all__ = ["MAX_DEPTH", "decode", "encode"]

T = TypeVar("T")

MAX_DEPTH = 100
"""Levels of objects and arrays in a body. Deeper ones could not be sent again: encoding adds levels of its own."""

_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_BRACKET = re.compile(rb"[][{}]")

_encode = msgspec.json.Encoder().encode


def encode(value: object) -> bytes:
    """A value as JSON."""
    try:
        return _encode(value)
    except UnicodeEncodeError:
        # A lone surrogate has no UTF-8. As JavaScript's JSON.stringify does, it is written as an escape.
        return json.dumps(value, default=_as_builtins, separators=(",", ":")).encode()


def _as_builtins(value: object) -> Any:
    return json.loads(bytes(value)) if isinstance(value, msgspec.Raw) else msgspec.to_builtins(value)


def decode(content: bytes, kind: type[T], *, with_lone_surrogates: bool = False) -> T:
    """The value of a JSON text.

    Args:
        content: The text, in UTF-8.
        kind: Type of the value.
        with_lone_surrogates: Whether an escape of half a surrogate pair is accepted.

    Raises:
        msgspec.ValidationError: The value is of another type. It is a ValueError from msgspec 0.21 on.
        ValueError: The text is no JSON, or is nested deeper than `MAX_DEPTH`.
    """
    try:
        try:
            value = msgspec.json.decode(content, type=kind)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError as error:
            if not with_lone_surrogates:
                raise ValueError(str(error)) from None  # which DecodeError itself is from msgspec 0.21 on
            value = msgspec.convert(json.loads(content, parse_constant=_refuse_constant), kind)
    except RecursionError:
        raise _too_deep() from None
    if content.count(b"{") + content.count(b"[") > MAX_DEPTH and _depth(content) > MAX_DEPTH:
        raise _too_deep()
    return value


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON")


def _too_deep() -> ValueError:
    return ValueError(f"the body is nested deeper than {MAX_DEPTH} levels")


def _depth(content: bytes) -> int:
    """The deepest level of a valid JSON text."""
    level = deepest = 0
    for bracket in _BRACKET.findall(_STRING.sub(b"", content)):
        level += 1 if bracket in b"{[" else -1
        deepest = max(deepest, level)
    return deepest
