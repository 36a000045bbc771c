"""Makes every record fit the SCHEMA of its stream, whatever the API has said.

A loader stops at the first record that does not fit, and keeps nothing of what came with it. So a value of another type
than declared becomes null in its column. It is kept as it came in one declared property, `_extra`, together with all
that is not declared. Nothing undeclared goes out beside it: a user who has selected two columns gets two.

Nearly all records fit. That is seen for a whole page in one go, by msgspec types that are made from the schema; only
what they refuse is walked through in Python.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Annotated, Any, Final, Protocol

import msgspec

from linq_client.times import format_datetime, parse_datetime_or_none
from tap_linq.extraction.records import EXTRA, Record

__all__ = ["COMMON_TIME", "Conformer", "Misfits", "columns_of"]

JsonSchema = Mapping[str, Any]
IsSelected = Callable[[tuple[str, ...]], bool]
#: Takes the path of a value that has no place in its record, and the value.
Keep = Callable[[str, Any], None]

#: Integers that databases can hold.
MIN_INTEGER: Final = -(2**63)
MAX_INTEGER: Final = 2**63 - 1

#: Integers below have few enough digits to be written in the decimal system.
MAX_BITS: Final = 10_000

#: The largest integer that databases take within JSON.
MAX_JSON_INTEGER: Final = 2**64 - 1

#: Levels of objects and arrays that a value may have where anything goes. DuckDB refuses a file with 128 in a row.
MAX_LEVELS: Final = 64

#: So many are seen to fit without a walk through them.
COMMON_LEVELS: Final = 4

#: Up to here, a float that is a whole number is exact.
MAX_EXACT_FLOAT: Final = 2.0**53

#: A date-time that goes out as it came, of the years that `parse_datetime` takes. All loaders read this form, and it
#: names UTC, which those need that drop zones. The 29th of February is left to `_fit_time`: one search is half of what
#: it costs to parse, and a message has five times.
COMMON_TIME: Final = re.compile(
    r"""
    (?!0000|0001|9999)\d{4}-
    (?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)
    T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,6})?(?:Z|\+00:00)
    """,
    flags=re.ASCII | re.VERBOSE,
)

_INDEX: Final = re.compile(r"\.\d+(?=\.|$)", flags=re.ASCII)


@dataclass
class Misfits:
    """How much did not fit a schema.

    Attributes:
        left_out: number of records without their key, which are left out.
        paths: how often a value had no place, by the path of its column; an empty one for what has no column.
    """

    left_out: int = 0
    paths: Counter[str] = field(default_factory=Counter)

    @property
    def summary(self) -> str:
        """The same in words for the log, without any value; empty if all did fit."""
        kept = [f"{path or 'undeclared fields'} ({count})" for path, count in sorted(self.paths.items())]
        said = [f"not as declared: {', '.join(kept)}"] if kept else []
        if self.left_out:
            said.append(f"{self.left_out} records without their key left out")
        return "; ".join(said)


def columns_of(schema: JsonSchema, prefix: str = "") -> Iterator[str]:
    """Yield the paths of all properties in a schema, without the places in arrays."""
    inner = schema.get("items", schema)
    for name, one in inner.get("properties", {}).items():
        yield prefix + name
        yield from columns_of(one, f"{prefix}{name}.")


class Conformer:
    """Makes the records of one stream fit its schema, and counts what did not.

    Args:
        schema: of the stream, as the catalog has it. Only types, formats, properties, items and required count.
        is_selected: tells whether a property is selected, by its breadcrumb. The value of one that is not must not come
            out by way of `_extra`.
    """

    def __init__(self, schema: JsonSchema, is_selected: IsSelected) -> None:
        self._misfits = Misfits()
        self._has_extra = EXTRA in schema["properties"]
        self._keeps_extra = self._has_extra and is_selected(("properties", EXTRA))
        self._keys = tuple(schema.get("required", ()))
        self._columns = frozenset(columns_of(schema))
        self._row = _Object(schema, is_selected, ())
        self._page_type = list[self._row.fast_type]  # type: ignore[name-defined]

    def conform(self, records: Sequence[Record]) -> Sequence[Record]:
        """Return the records so that each fits the schema, without those whose key does not."""
        if _fits(records, self._page_type):
            return records
        rows = (record if _fits(record, self._row.fast_type) else self._conform(record) for record in records)
        return [row for row in rows if row is not None]

    def take_misfits(self) -> Misfits:
        """Return what did not fit since this was last called."""
        misfits, self._misfits = self._misfits, Misfits()
        return misfits

    def _conform(self, record: Record) -> Record | None:
        extra: dict[str, Any] = {}

        def keep(path: str, value: Any) -> None:
            while path in extra:  # a name may hold a point, which separates names
                path += "~"
            extra[path] = _as_json(value)

        given = dict(record)
        replaced = given.pop(EXTRA, None) or {}
        row: Record = self._row.fit(given, "", keep)
        if any(row.get(name) is None for name in self._keys):
            self._misfits.left_out += 1
            return None
        for name, value in replaced.items():
            keep(name, value)
        for path in extra:
            column = _INDEX.sub("", path)
            self._misfits.paths[column if column in self._columns else ""] += 1
        if self._has_extra:
            row[EXTRA] = (extra if self._keeps_extra else None) or None
        return row


class _Misfit(Exception):  # it goes to `_extra`
    """A value is not of the type that is declared."""


class _Kind(Protocol):
    """A type of a schema.

    Attributes:
        fast_type: what msgspec checks a value against, null apart. It may refuse what `fit` takes.
    """

    fast_type: Any

    def fit(self, value: Any, path: str, keep: Keep) -> Any:
        """Return a value that is not null so that it fits.

        Raises:
            _Misfit: it is of another type.
        """


class _Object:
    """An object of known properties, and nothing else."""

    def __init__(self, schema: JsonSchema, is_selected: IsSelected, breadcrumb: tuple[str, ...]) -> None:
        self._kinds: dict[str, _Kind | None] = {}
        required = schema.get("required", ())
        fields: list[Any] = []
        for name, one in schema["properties"].items():
            inner = (*breadcrumb, "properties", name)
            kind: _Kind | None = None
            if name == EXTRA:
                kind = _NOTHING
            elif is_selected(inner):
                kind = _kind(one, is_selected, inner)
            self._kinds[name] = kind
            # msgspec wants names of fields that Python could take.
            place = f"field_{len(fields)}"
            fast_type: Any = Any if kind is None else kind.fast_type
            fields.append((place, fast_type) if name in required else (place, fast_type | None, None))
        self.fast_type: Any = msgspec.defstruct(
            "_Fast",
            fields,
            rename={f"field_{place}": name for place, name in enumerate(self._kinds)},
            forbid_unknown_fields=True,
            kw_only=True,
            gc=False,
        )

    def fit(self, value: Any, path: str, keep: Keep) -> Any:
        if not isinstance(value, dict):
            raise _Misfit
        fitted: dict[str, Any] = {}
        for name, one in value.items():
            if name not in self._kinds:
                if one is not None:
                    keep(path + name, one)
                continue
            kind = self._kinds[name]
            if one is None or kind is None:
                fitted[name] = one
                continue
            try:
                if isinstance(kind, _Scalar):
                    fitted[name] = kind.fit(one, "", keep)
                else:
                    fitted[name] = one if _fits(one, kind.fast_type) else kind.fit(one, f"{path}{name}.", keep)
            except _Misfit:
                fitted[name] = None
                keep(path + name, one)
        return fitted


class _Array:
    """An array. An object in it that is none becomes an empty one, so that the others keep their places."""

    def __init__(self, schema: JsonSchema, is_selected: IsSelected, breadcrumb: tuple[str, ...]) -> None:
        self.items = _kind(schema.get("items", {}), is_selected, breadcrumb)
        self.fast_type: Any = list[self.items.fast_type]  # type: ignore[name-defined]

    def fit(self, value: Any, path: str, keep: Keep) -> Any:
        if not isinstance(value, list):
            raise _Misfit
        fitted = []
        for place, one in enumerate(value):
            try:
                fitted.append(self.items.fit(one, f"{path}{place}.", keep))
            except _Misfit:
                if not isinstance(self.items, _Object):
                    raise
                fitted.append({})
                if one is not None:
                    keep(f"{path}{place}", one)
        return fitted


class _Scalar:
    """A value without parts."""

    def __init__(self, fast_type: Any, fit: Callable[[Any], Any]) -> None:
        self.fast_type = fast_type
        self._fit = fit

    def fit(self, value: Any, path: str, keep: Keep) -> Any:
        return self._fit(value)


class _Time:
    """Stands for a date-time in the types for msgspec, whose own type takes more than RFC 3339 and loaders do."""


def _fit_text(value: Any) -> Any:
    if isinstance(value, str):
        return value
    raise _Misfit


def _fit_time(value: Any) -> Any:
    if isinstance(value, str) and COMMON_TIME.fullmatch(value):
        return value
    moment = parse_datetime_or_none(value)
    if moment is None:
        raise _Misfit
    return format_datetime(moment)


def _fit_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    raise _Misfit


def _fit_integer(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer() and abs(value) <= MAX_EXACT_FLOAT:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and MIN_INTEGER <= value <= MAX_INTEGER:
        return value
    raise _Misfit


def _fit_number(value: Any) -> Any:
    if isinstance(value, float) and math.isfinite(value):
        return value
    return _fit_integer(value)


# The times of a message are often the same, and of a handle always.
@lru_cache(maxsize=1024)
def _check_time(_: type, value: object) -> _Time:
    if isinstance(value, str) and COMMON_TIME.fullmatch(value):
        return _SOME_TIME
    raise ValueError("must be a date-time in UTC")


_SOME_TIME: Final = _Time()
_SCALARS: Final[dict[str, _Kind]] = {
    "string": _Scalar(str, _fit_text),
    "boolean": _Scalar(bool, _fit_boolean),
    "integer": _Scalar(Annotated[int, msgspec.Meta(ge=MIN_INTEGER, le=MAX_INTEGER)], _fit_integer),
    # With bounds, as NaN and the infinities are no JSON.
    "number": _Scalar(Annotated[float, msgspec.Meta(ge=-sys.float_info.max, le=sys.float_info.max)], _fit_number),
}
_TIME: Final = _Scalar(_Time, _fit_time)


def _kind(schema: JsonSchema, is_selected: IsSelected, breadcrumb: tuple[str, ...]) -> _Kind:
    """Return what a schema declares; anything goes where it is none of the types that the streams have."""
    declared = schema.get("type", ())
    (name, *others) = [one for one in ([declared] if isinstance(declared, str) else declared) if one != "null"] or [""]
    if others:
        return _ANYTHING
    if name == "object" and schema.get("properties"):
        return _Object(schema, is_selected, breadcrumb)
    if name == "array":
        return _Array(schema, is_selected, breadcrumb)
    if name == "string" and schema.get("format") == "date-time":
        return _TIME
    return _SCALARS.get(name, _ANYTHING)


def _fits(value: object, fast_type: Any) -> bool:
    try:
        msgspec.convert(value, fast_type, dec_hook=_check_time)  # type: ignore[arg-type]  # lru_cache keeps no types of arguments
    except msgspec.ValidationError:
        return False
    return True


def _as_json(value: Any, levels: int = MAX_LEVELS) -> Any:
    """Return a value so that each loader reads it.

    Numbers that are no JSON, or too large for databases, are text. What has more than `levels` levels of objects and
    arrays is JSON text from there on.
    """
    if isinstance(value, dict | list):
        if not levels:
            return json.dumps(_as_json(value, sys.maxsize), ensure_ascii=False)
        if isinstance(value, dict):
            return {name: _as_json(one, levels - 1) for name, one in value.items()}
        return [_as_json(one, levels - 1) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, int) and not MIN_INTEGER <= value <= MAX_JSON_INTEGER:
        # Python refuses to write thousands of digits.
        return str(value) if value.bit_length() < MAX_BITS else hex(value)
    return value


def _any_type(levels: int) -> Any:
    """Return a type of what `_as_json` leaves as it is, up to some levels of objects and arrays."""
    numbers = Annotated[int, msgspec.Meta(ge=MIN_INTEGER, le=MAX_INTEGER)] | _SCALARS["number"].fast_type
    found: Any = str | bool | None | numbers
    for _ in range(levels):
        found = str | bool | None | numbers | dict[str, found] | list[found]
    return found


_ANYTHING: Final[_Kind] = _Scalar(_any_type(COMMON_LEVELS), _as_json)
#: Of `_extra`, which is null in a record that fits.
_NOTHING: Final[_Kind] = _Scalar(type(None), _as_json)
