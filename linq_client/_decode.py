"""JSON of the platform, read so that no character that somebody wrote makes a whole response unreadable.

What comes out holds no U+0000, which databases refuse, and no half of a surrogate pair, which no encoder can write.
Well-formed JSON takes the fast path, and nothing but one search for an escaped U+0000 is added to it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

#: Levels of nesting that are read; what is below becomes null. The fast path gives up at about as many.
MAX_DEPTH: Final = 200

#: Digits of an integer. Python, and so the fast path, refuses to read or write more.
MAX_DIGITS: Final = 4300

REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"

_BAD_CHARACTER: Final = re.compile("[\x00\ud800-\udfff]")
#: A surrogate that was encoded to UTF-8 by itself, as CESU-8 and some databases do.
_ENCODED_SURROGATE: Final = re.compile(rb"\xed[\xa0-\xbf][\x80-\xbf]")
_STRUCTURE: Final = re.compile(r'\\.|["\[\]{}]', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a body says.

    Attributes:
        value: the decoded JSON.
        repaired: whether it is not what the body says to the letter.
    """

    value: Any
    repaired: bool


def decode_json(content: bytes) -> Decoded:
    r"""Decode JSON, strictly if that works, else as far as it can be understood.

    U+0000, half a surrogate pair and bytes that are no UTF-8 become U+FFFD, in keys too. A byte order mark is passed
    over, and UTF-16 and UTF-32 are recognized. Control characters within a text are kept. What can't be held is null:
    NaN, infinity, an integer of more than `MAX_DIGITS` digits, and whatever is nested deeper than `MAX_DEPTH`.

    Raises:
        ValueError: it is no JSON.
    """
    from pydantic_core import from_json  # see `_lazy`

    try:
        root = [from_json(content, allow_inf_nan=False)]
    except ValueError:
        root = []
    if root:
        # A single byte is found ten times faster, and most pages hold no escape.
        repaired = b"\\" in content and b"\\u0000" in content and _clean(root)
        return Decoded(root[0], repaired)
    root = _read_leniently(content)
    if not root:
        raise ValueError("must be JSON")
    _clean(root)
    return Decoded(root[0], True)


def _read_leniently(content: bytes) -> list[Any]:
    """Return a list of what the JSON says, an empty one if it is none: the error of the decoder holds all of it."""
    try:
        value = json.loads(
            _cut(_text(content)),
            strict=False,
            parse_int=_integer,
            parse_float=_finite,
            parse_constant=lambda name: None,
        )
    except ValueError:
        return []
    return [value]


def _text(content: bytes) -> str:
    encoding = json.detect_encoding(content)
    if encoding.startswith("utf-8"):
        # As an escape, a half finds its other half, if that comes next.
        content = _ENCODED_SURROGATE.sub(
            lambda found: rb"\u%04x" % ord(found[0].decode("utf-8", "surrogatepass")), content
        )
    return content.decode(encoding, "replace")


def _cut(text: str) -> str:
    """Put null in the place of every object and list that is nested too deep."""
    return "".join(_shallow_pieces(text))


def _shallow_pieces(text: str) -> Iterator[str]:
    depth, begin, in_string = 0, 0, False
    for found in _STRUCTURE.finditer(text):
        token = found[0]
        if token == '"':
            in_string = not in_string
        elif in_string or token[0] == "\\":
            continue
        elif token in "[{":
            depth += 1
            if depth == MAX_DEPTH + 1:
                yield text[begin : found.start()]
                yield "null"
        else:
            depth -= 1
            if depth == MAX_DEPTH:
                begin = found.end()
    if depth <= MAX_DEPTH:
        yield text[begin:]


def _integer(digits: str) -> int | None:
    return int(digits) if len(digits) <= MAX_DIGITS else None


def _finite(number: str) -> float | None:
    value = float(number)
    return value if math.isfinite(value) else None


def _clean(root: list[Any]) -> bool:
    """Replace what must not be in a text, in place and without recursion; False if there was nothing."""
    found = False
    pending: list[Any] = [root]
    while pending:
        node = pending.pop()
        if isinstance(node, dict) and any(map(_BAD_CHARACTER.search, node)):
            found = True
            _clean_names(node)
        for place, item in node.items() if isinstance(node, dict) else enumerate(node):
            if isinstance(item, str):
                if _BAD_CHARACTER.search(item):
                    found = True
                    node[place] = _BAD_CHARACTER.sub(REPLACEMENT, item)
            elif isinstance(item, dict | list):
                pending.append(item)
    return found


def _clean_names(node: dict[str, Any]) -> None:
    """Replace what must not be in a name; a name that is taken gets one character more, so that no value is lost."""
    fields = list(node.items())
    taken = set(node)
    node.clear()
    for name, item in fields:
        if _BAD_CHARACTER.search(name):
            name = _BAD_CHARACTER.sub(REPLACEMENT, name)
            while name in taken:
                name += REPLACEMENT
            taken.add(name)
        node[name] = item
