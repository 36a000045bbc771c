"""What came of an odd record, against what should have."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.support.loaders import instant
from tests.system.loaders.odd_records import MISSING, OPEN, Case, Place, clean

#: Columns that follow from others, by the column that they follow from.
FOLLOW = {"parts": {"text"}, "is_from_me": {"direction"}, "created_at": {"expires_at"}}
#: Columns that the tap knows without the record's word.
KNOWN = {("messages", "chat_id")}


def same(found: Any, wanted: Any) -> bool:
    """Whether two values say the same: times of one instant, a field that is null or absent."""
    if found == wanted and isinstance(found, bool) == isinstance(wanted, bool):
        return True
    if isinstance(found, dict) and isinstance(wanted, dict):
        return all(same(found.get(name), wanted.get(name)) for name in found.keys() | wanted.keys())
    if isinstance(found, list) and isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(same, found, wanted))
    moment = instant(found)
    return moment is not None and moment == instant(wanted)


def differences(found: Any, wanted: Any, place: Place | None, case: Case, where: str = "") -> Iterator[str]:
    """Say where a row is not as it should be.

    Args:
        place: the way from here to the odd place; None where it is not below.
    """
    if place == ():
        if case.becomes is OPEN or (case.unless is not MISSING and same(found, case.unless)):
            return
        wanted = None if case.becomes is MISSING else case.becomes
        if not same(found, wanted):
            yield f"{where} is {_short(found)} instead of {_short(wanted)}"
    elif isinstance(wanted, dict) and isinstance(found, dict):
        for name in sorted(wanted.keys() | found.keys()):
            below = place[1:] if place and place[0] == name else None
            yield from differences(found.get(name), wanted.get(name), below, case, f"{where}.{name}")
    elif isinstance(wanted, list) and isinstance(found, list):
        if place and len(place) == 1 and case.becomes is OPEN:  # an item without a form may have gone
            number = int(place[0])
            rest = found[:number] + (found[number + 1 :] if len(found) > len(wanted) - 1 else found[number:])
            if not same([one for one in rest if one], wanted[:number] + wanted[number + 1 :]):
                yield f"{where} lost an item beside the odd one"
            return
        if len(wanted) != len(found):
            yield f"{where} has {len(found)} items instead of {len(wanted)}"
            return
        for number, one in enumerate(wanted):
            below = place[1:] if place and place[0] == number else None
            yield from differences(found[number], one, below, case, f"{where}.{number}")
    elif not same(found, wanted):
        yield f"{where} is {_short(found)} instead of {_short(wanted)}"


def _short(value: Any) -> str:
    return json.dumps(value, default=repr)[:60]


def holds(extra: Any, value: Any) -> bool:
    """Whether a value stands somewhere in what was kept, as it is or as JSON text."""
    if same(extra, value) and type(extra) is type(value):
        return True
    if isinstance(extra, dict):
        return any(holds(one, value) for one in extra.values())
    if isinstance(extra, list):
        return any(holds(one, value) for one in extra)
    if isinstance(extra, str):
        try:
            return bool(same(json.loads(extra), value))
        except ValueError:
            return False
    return False


def names(extra: Any, key: str) -> bool:
    """Whether a name stands somewhere among the keys of what was kept, alone or within a path."""
    forms = {key, key.replace("~", "~0").replace("/", "~1"), json.dumps(key), repr(key), key.replace(".", "\\.")}
    if isinstance(extra, dict):
        return any(any(form in str(name) for form in forms) or names(one, key) for name, one in extra.items())
    return isinstance(extra, list) and any(names(one, key) for one in extra)


def row_of(case: Case, good: Any) -> tuple[dict[str, Any], Place]:
    """The columns that a good record fills, and the odd place among them."""
    if case.stream != "chat_locations":
        return good, case.path
    columns = {"geometry": good["geometry"], **good["properties"]}
    return columns, case.path[1:] if case.path[:1] == ("properties",) else case.path


def verdict(case: Case, good: Any, row: dict[str, Any] | None) -> list[str]:
    """Say what is wrong with the row that a case has become, which is None if there is none."""
    if row is None:
        return [] if case.row in ("no", "open") else ["no row"]
    if case.row == "no":
        return ["there is a row, but it has no key"]
    if case.row == "open":
        return []
    columns, place = row_of(case, good)
    if (case.stream, place[0]) in KNOWN:
        columns = {name: value for name, value in columns.items() if name != place[0]}
    if isinstance(columns, dict) and len(place) > 1 and place[-1] not in _container(columns, place[:-1]):
        columns = _with(columns, place, None)
    own = {name: row.get(name) for name in columns}
    found = list(differences(own, columns, place, case))
    if case.keeps is not MISSING and case.keeps is not OPEN and not _was_read(case, row, place):
        if not holds(row.get("_extra"), clean(case.keeps)):
            found.append(f"_extra does not hold {_short(case.keeps)}: {_short(row.get('_extra'))}")
        elif case.kind == "unknown" and not names(row.get("_extra"), clean(str(place[-1]))):
            found.append(f"_extra has the value, but not under {str(place[-1])[:40]!r}")
    return [f"{one}"[:300] for one in found]


def _was_read(case: Case, row: dict[str, Any], place: Place) -> bool:
    if case.unless is MISSING:
        return False
    value: Any = row
    for step in place:
        value = value.get(step) if isinstance(value, dict) else value[int(step)] if isinstance(value, list) else None
    return value is not None and same(value, case.unless)


def _container(columns: Any, place: Place) -> Any:
    for step in place:
        columns = columns[step] if not isinstance(columns, list) or int(step) < len(columns) else {}
    return columns if columns is not None else {}


def _with(columns: dict[str, Any], place: Place, value: Any) -> dict[str, Any]:
    """A copy in which a list has an item more where the odd one was put."""
    columns = json.loads(json.dumps(columns))
    target = _container(columns, place[:-1])
    if isinstance(target, list):
        target.insert(int(place[-1]), value)
    return columns
