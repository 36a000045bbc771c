"""Records as nobody promised them: one oddness each, and what has to come of it.

Messages have every oddness there is: in a row of its own, in an object within a list, and a few in all other places.
Other streams have a few of each kind, since the same loaders take them by the same rules.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.support.hostile_api import Raw

Place = tuple[str | int, ...]

#: Where a record has no such field at all.
MISSING: Any = type("Missing", (), {"__repr__": lambda self: "missing"})()
#: Where it is left open what an odd value becomes, or whether it is kept.
OPEN: Any = type("Open", (), {"__repr__": lambda self: "open"})()

TEXT, FLAG, NUMBER, TIME, OBJECT, LIST = "text", "flag", "number", "time", "object", "list"

_HANDLE = {
    "id": TEXT,
    "handle": TEXT,
    "joined_at": TIME,
    "left_at": TIME,
    "service": TEXT,
    "is_me": FLAG,
    "status": TEXT,
    "line_type": TEXT,
}


def _below(prefix: str, fields: dict[str, str]) -> dict[str, str]:
    return {f"{prefix}.{name}": kind for name, kind in fields.items()}


#: The declared places of each stream that the API fills, with dots where they are nested.
PLACES: dict[str, dict[str, str]] = {
    "messages": {
        "chat_id": TEXT,
        "parts": LIST,
        "parts.0.type": TEXT,
        "parts.0.value": TEXT,
        "parts.0.reactions": LIST,
        "parts.1.id": TEXT,
        "parts.1.url": TEXT,
        "parts.1.filename": TEXT,
        "parts.1.mime_type": TEXT,
        "parts.1.size_bytes": NUMBER,
        "parts.0.reactions.0.type": TEXT,
        "parts.0.reactions.0.custom_emoji": TEXT,
        "parts.0.reactions.0.is_me": FLAG,
        "parts.0.reactions.0.handle": OBJECT,
        "parts.0.reactions.0.sticker": OBJECT,
        "from": TEXT,
        "from_handle": OBJECT,
        **_below("from_handle", _HANDLE),
        "is_from_me": FLAG,
        "delivery_status": TEXT,
        "is_delivered": FLAG,
        "is_read": FLAG,
        "service": TEXT,
        "preferred_service": TEXT,
        "effect": OBJECT,
        "effect.type": TEXT,
        "effect.name": TEXT,
        "reply_to": OBJECT,
        "reply_to.message_id": TEXT,
        "reply_to.part_index": NUMBER,
        "created_at": TIME,
        "updated_at": TIME,
        "sent_at": TIME,
        "delivered_at": TIME,
        "read_at": TIME,
        "reconciled_at": TIME,
    },
    "chats": {
        "display_name": TEXT,
        "service": TEXT,
        "is_group": FLAG,
        "is_archived": FLAG,
        "group_chat_icon": TEXT,
        "handles": LIST,
        "health_status": OBJECT,
        "health_status.status": TEXT,
        "health_status.doc_url": TEXT,
        "health_status.updated_at": TIME,
        "created_at": TIME,
        "updated_at": TIME,
    },
    "chat_participants": {name: kind for name, kind in _HANDLE.items() if name != "handle"},
    "phone_numbers": {
        "reputation": OBJECT,
        "reputation.status": TEXT,
        "reputation.doc_url": TEXT,
        "reputation.updated_at": TIME,
        "forwarding_number": TEXT,
        "line_type": TEXT,
    },
    "webhook_subscriptions": {
        "target_url": TEXT,
        "subscribed_events": LIST,
        "is_active": FLAG,
        "phone_numbers": LIST,
        "routing_key_header": TEXT,
        "routing_id_header": TEXT,
        "created_at": TIME,
        "updated_at": TIME,
    },
    "chat_locations": {
        "geometry": OBJECT,
        "properties.address": TEXT,
        "properties.locality": TEXT,
        "properties.updated_at": TIME,
    },
}

_HUGE = 10**400

WRONG: dict[str, list[Any]] = {
    TEXT: [5, 1.5, True, [], ["a"], {}, {"a": 1}],
    FLAG: ["true", "", 0, 1, [], {}],
    NUMBER: ["1234", "", 1234.5, True, [], {}, Raw(b"1e400"), Raw(b"NaN")],
    OBJECT: ["HEALTHY", "", 5, False, [], ["a"]],
    LIST: ["a", "", 5, True, {"a": [1]}],
    TIME: [
        "",
        "soon",
        "2026-02-30T05:00:00Z",
        "2026-13-01T05:00:00Z",
        "2026-11-26T25:00:00Z",
        "2026-11-26T05:00:00+25:00",
        "2026-11-26T05:00:00 America/New_York",
        "Thu, 26 Nov 2026 05:00:00 GMT",
        "0000-01-01T00:00:00Z",
        "10000-01-01T00:00:00Z",
        "-2026-11-26T05:00:00Z",
        1_764_140_400,
        1_764_140_400_000,
        1.5,
        True,
        [],
        {"seconds": 1_764_140_400},
    ],
}

#: Texts that are times for some readers and not for others: read right, or null and kept; never another time.
AMBIGUOUS_TIMES = {
    "2026-11-25T23:59:60Z": "2026-11-26T00:00:00Z",
    "2026-11-25T24:00:00Z": "2026-11-26T00:00:00Z",
    "2026-11-26": "2026-11-26T00:00:00Z",
    "20261126T050000Z": "2026-11-26T05:00:00Z",
    "2026-11-26T05:00Z": "2026-11-26T05:00:00Z",
    "2026-W48-4T05:00:00Z": "2026-11-26T05:00:00Z",
    "2026-11-26t05:00:00z": "2026-11-26T05:00:00Z",
    " 2026-11-26T05:00:00Z ": "2026-11-26T05:00:00Z",
    "2026-11-26T05:00:00,5Z": "2026-11-26T05:00:00.5Z",
    "2026-11-26T05:00:00Z\u0000": "2026-11-26T05:00:00Z",
    "\u0662\u0660\u0662\u0666-11-26T05:00:00Z": "2026-11-26T05:00:00Z",
    "9999-12-31T23:59:59Z": "9999-12-31T23:59:59Z",
    "9999-12-31T23:59:59-05:00": MISSING,
    "0001-01-01T00:00:00Z": "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00+01:00": MISSING,
}
#: Times in other clothes than the API's usual ones, all of which are to be read.
TIMES = {
    "2026-11-26 05:00:00": "2026-11-26T05:00:00Z",
    "2026-11-26T05:00:00": "2026-11-26T05:00:00Z",
    "2026-11-26T10:30:00+05:30": "2026-11-26T05:00:00Z",
    "2026-11-26T05:00:00.123456789Z": "2026-11-26T05:00:00.123456Z",
    "2026-11-26T05:00:00.5Z": "2026-11-26T05:00:00.5Z",
    "2026-11-26T05:00:00-00:00": "2026-11-26T05:00:00Z",
}

#: Texts that no loader may stumble over, and what comes of them.
TEXTS: dict[str, tuple[Any, str]] = {
    "nul": ("a\u0000b", "a\ufffdb"),
    "only-nul": ("\u0000", "\ufffd"),
    "words-of-a-nul": ("a\\u0000b", "a\\u0000b"),
    "words-of-a-surrogate": ("a\\ud83db", "a\\ud83db"),
    "half-emoji": ("half an emoji \ud83d", "half an emoji \ufffd"),
    "other-half": ("\ude00 half", "\ufffd half"),
    "halves-the-wrong-way": ("\ude00\ud83d", "\ufffd\ufffd"),
    "nul-and-half": ("\u0000\ud83d", "\ufffd\ufffd"),
    "escaped-emoji": (Raw(rb'"\ud83d\ude00"'), "\U0001f600"),
    "latin-1": (Raw(b'"caf\xe9"'), "caf\ufffd"),
    "surrogate-in-utf-8": (Raw(b'"a\xed\xa0\xbdb"'), OPEN),
    "raw-tab-and-line": (Raw(b'"a\tb\nc\x01"'), "a\tb\nc\x01"),
    "lines": ("a\r\nb\nc\u2028d\u2029e\u0085f\u000bg", "a\r\nb\nc\u2028d\u2029e\u0085f\u000bg"),
    "controls": ("\u0001\u001b[31m\u007f\u009f", "\u0001\u001b[31m\u007f\u009f"),
    "bidi-bom-noncharacter": ("\u202eabc\ufeff\uffff\ufffe", "\u202eabc\ufeff\uffff\ufffe"),
    "family": ("\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f468\u200d\U0001f469\u200d\U0001f467"),
    "quotes": ('"\'`\\,;\t|""', '"\'`\\,;\t|""'),
    "sql": ("'); drop table messages; --", "'); drop table messages; --"),
    "copy-null": ("\\N", "\\N"),
    "words-of-null": ("null", "null"),
    "empty": ("", ""),
    "template": ("{{ 7*7 }} %s %(a)s $1 :a", "{{ 7*7 }} %s %(a)s $1 :a"),
    "long": ("x" * 70_000, "x" * 70_000),
}
TEXT_PLACES = {
    "messages": ["parts.0.value", "parts.1.filename", "from", "delivery_status", "reply_to.message_id"],
    "chats": ["display_name"],
    "chat_participants": ["status"],
    "phone_numbers": ["forwarding_number"],
    "webhook_subscriptions": ["target_url"],
    "chat_locations": ["properties.address"],
}

#: What an API may add one day, by name and value.
UNKNOWN: dict[str, tuple[str, Any]] = {
    "object": ("poll", {"question": "pizza?", "options": ["yes", None, 3, {"a": [1, "b", None]}]}),
    "text": ("mood", "glad"),
    "number": ("score", 12),
    "huge-number": ("score", _HUGE),
    "small-number": ("score", 1e-300),
    "more-than-64-bits": ("score", 2**64),
    "flag": ("starred", True),
    "empty-object": ("labels", {}),
    "empty-list": ("labels", []),
    "mixed-list": ("labels", [1, "a", None, {}, [], True, 1.5]),
    "nested-nulls": ("labels", {"a": None, "b": {"c": None, "d": "x"}}),
    "dots": ("a.b.c", "v-dots"),
    "quotes": ("a\"b'c`d", "v-quotes"),
    "spaces": (" a b ", "v-spaces"),
    "no-name": ("", "v-no-name"),
    "nul": ("a\u0000b", "v-nul"),
    "half-emoji": ("a\ud83d", "v-half-emoji"),
    "emoji": ("\U0001f600", "v-emoji"),
    "long-name": ("k" * 300, "v-long-name"),
    "slashes": ("a/b~c\\d", "v-slashes"),
    "percent": ("%s %(a)s :a $1", "v-percent"),
    "reference": ("$ref", "#/nowhere"),
    "prototype": ("__proto__", "v-prototype"),
    "id-with-a-capital": ("Id", "v-id"),
    "id-in-capitals": ("ID", "v-id"),
    "line-in-capitals": ("LINE", "v-line"),
    "created-at-in-camel-case": ("createdAt", "v-created"),
    "extra": ("_extra", "v-extra"),
    "extra-object": ("_extra", {"_extra": {"a": 1}}),
    "extra-in-capitals": ("_EXTRA", {"a": 1}),
    "of-the-loader": ("_sdc_extracted_at", "v-sdc"),
    "of-the-loader-2": ("_sdc_deleted_at", "2026-11-26T05:00:00Z"),
    "nul-inside": ("labels", {"a\u0000": ["b\u0000", {"\ud83d": "\ud83d"}]}),
    "two-alike": ("labels", {"Id": 1, "id": 2, "ID": 3, "iD": {"a": 1, "A": 2}}),
    "types-that-change": ("sometimes", 1),
    "types-that-change-2": ("sometimes", "one"),
    "types-that-change-3": ("sometimes", {"one": 1}),
    "types-that-change-4": ("sometimes", [1]),
    "time": ("seen_at", "not a time"),
    "long": ("note", "y" * 70_000),
    "many": ("labels", {f"k{n}": n for n in range(300)}),
    "depth-40": ("deep", json.loads("[" * 40 + '"v-deep"' + "]" * 40)),
}
#: The same, where JSON from Python can't say it, or what remains of it is left open.
UNKNOWN_RAW: dict[str, tuple[str, Any]] = {
    "infinite": ("score", Raw(b"1e400")),
    "less-than-infinite": ("score", Raw(b"-1e400")),
    "nan": ("score", Raw(b"NaN")),
    "infinity": ("score", Raw(b"Infinity")),
    "minus-nothing": ("score", Raw(b"-0.0")),
    "5000-digits": ("score", Raw(b"7" * 5_000)),
    "200-places": ("score", Raw(b"0." + b"3" * 200)),
    "key-twice": ("labels", Raw(b'{"a": 1, "a": [2]}')),
    "depth-300": ("deep", Raw(b"[" * 300 + b"]" * 300)),
    "depth-300-objects": ("deep", Raw(b'{"a":' * 300 + b"1" + b"}" * 300)),
    "depth-3000": ("deep", Raw(b"[" * 3_000 + b"]" * 3_000)),
    "depth-100000": ("deep", Raw(b"[" * 100_000 + b"]" * 100_000)),
    "depth-10000-objects": ("deep", Raw(b'{"a":' * 10_000 + b"1" + b"}" * 10_000)),
    "null": ("nothing", None),
}
#: Where all of them are tried; elsewhere these few.
ALL_UNKNOWN = {("messages", ""), ("messages", "parts.0")}
FEW_UNKNOWN = {
    "object",
    "more-than-64-bits",
    "dots",
    "nul",
    "half-emoji",
    "id-in-capitals",
    "extra",
    "of-the-loader",
    "nul-inside",
    "two-alike",
    "types-that-change",
    "types-that-change-3",
    "infinite",
    "depth-300",
    "depth-3000",
}
FEW_TEXTS = {"nul", "half-emoji", "latin-1", "raw-tab-and-line", "controls", "sql", "copy-null", "empty"}
FEW_WRONG_TIMES = ["soon", 1_764_140_400, {"seconds": 1_764_140_400}]
UNKNOWN_PLACES = {
    "messages": ["", "from_handle", "effect", "reply_to", "parts.0", "parts.1", "parts.0.reactions.0"],
    "chats": ["", "health_status", "handles.1"],
    "chat_participants": [""],
    "phone_numbers": [""],
    "webhook_subscriptions": [""],
    "chat_locations": ["properties"],
}

#: Items of the lists that records hold.
ITEMS: list[Any] = [None, "text", 5, True, [], [[]], {}]
ITEM_PLACES = {
    "messages": ["parts.2", "parts.0.reactions.1"],
    "chats": ["handles.2"],
}
LISTS_OF_TEXTS = {"subscribed_events": ["message.received", "message.failed"], "phone_numbers": ["+12025550101"]}

#: Records that are no records, or have no key: left out, and counted.
NO_RECORDS: list[Any] = [None, "text", 5, True, [], {}, [{"id": "x"}]]
KEYS = {
    "messages": "id",
    "chats": "id",
    "chat_participants": "handle",
    "webhook_subscriptions": "id",
    "chat_locations": "properties.handle",
}
WRONG_KEYS: list[Any] = [MISSING, None, 5, 1.5, True, [], ["a"], {}]


@dataclass(frozen=True, eq=False)
class Case:
    """One oddness.

    Attributes:
        kind: cases of one kind in one stream are judged together.
        path: where it is in the API's row; empty where the row itself is odd.
        becomes: what stands there in the end; None for null, OPEN for anything that the schema allows.
        unless: what may stand there as well; then nothing has to be kept.
        keeps: what has to be found in `_extra`; MISSING for nothing.
        row: whether the row is there in the end: "yes", "no" or "open".
    """

    stream: str
    kind: str
    name: str
    path: Place
    value: Any
    becomes: Any = None
    keeps: Any = MISSING
    row: str = "yes"
    unless: Any = MISSING

    def __str__(self) -> str:
        return f"{self.stream}: {self.name}"


def _path(text: str) -> Place:
    return tuple(int(step) if step.isdigit() else step for step in text.split(".")) if text else ()


def _label(value: Any) -> str:
    return (repr(value) if isinstance(value, bytes) else json.dumps(value, default=repr))[:40]


def clean(value: Any) -> Any:
    """The value as it may leave the tap: no U+0000, no half of a pair."""
    if isinstance(value, str):
        return value.replace("\u0000", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {clean(key): clean(one) for key, one in value.items()}
    if isinstance(value, list):
        return [clean(one) for one in value]
    return value


def _cases() -> Iterator[Case]:
    for stream, places in PLACES.items():
        times = [place for place, kind in places.items() if kind == TIME]
        tried = times[: 2 if stream == "messages" else 1]
        for place, kind in places.items():
            path = _path(place)
            for value in FEW_WRONG_TIMES if place in times and place not in tried else WRONG[kind]:
                keeps = OPEN if isinstance(value, Raw) else value
                yield Case(stream, "wrong types", f"{place}={_label(value)}", path, value, None, keeps)
            yield Case(stream, "nulls", f"{place}=null", path, None)
            yield Case(stream, "nulls", f"{place} missing", path, MISSING)
        for place in tried:
            for text, right in AMBIGUOUS_TIMES.items():
                yield Case(stream, "times", f"{place}={_label(text)}", _path(place), text, None, text, unless=right)
            for text, right in TIMES.items():
                yield Case(stream, "times", f"{place}={_label(text)}", _path(place), text, right)
        for place in TEXT_PLACES[stream]:
            for name, (value, becomes) in TEXTS.items():
                if stream == "messages" or name in FEW_TEXTS:
                    yield Case(stream, "texts", f"{place} {name}", _path(place), value, becomes)
        yield from _unknown_cases(stream)
        for place in ITEM_PLACES.get(stream, ()):
            for item in ITEMS:
                keeps = item if item else OPEN
                yield Case(stream, "items", f"{place}={_label(item)}", _path(place), item, OPEN, keeps)
    for number in (2**63, -(2**63) - 1, 10**30, Raw(b"12.0"), Raw(b"1e3")):
        for path in ("parts", 1, "size_bytes"), ("reply_to", "part_index"):
            yield Case("messages", "numbers", f"{path[-1]}={_label(number)}", path, number, OPEN, OPEN)
    for name in ("line", "direction", "text", "expires_at"):
        yield Case("messages", "unknown", f"own column {name}", (name,), {"from": "the API"}, OPEN, OPEN)
    yield from _lists_of_texts()
    yield from _keyless()


def _unknown_cases(stream: str) -> Iterator[Case]:
    for place in UNKNOWN_PLACES[stream]:
        for name, (key, value) in {**UNKNOWN, **UNKNOWN_RAW}.items():
            if (stream, place) in ALL_UNKNOWN or name in FEW_UNKNOWN:
                keeps = OPEN if name in UNKNOWN_RAW else value
                yield Case(stream, "unknown", f"{place} {name}", (*_path(place), key), value, MISSING, keeps)


def _lists_of_texts() -> Iterator[Case]:
    """A list of texts that holds something else is no list of texts."""
    for place, good in LISTS_OF_TEXTS.items():
        for item in ITEMS:
            value = [*good, item]
            becomes = value if isinstance(item, str) else None
            keeps = MISSING if isinstance(item, str) else value
            yield Case("webhook_subscriptions", "items", f"{place}+{_label(item)}", (place,), value, becomes, keeps)


def _keyless() -> Iterator[Case]:
    for stream, key in KEYS.items():
        for value in WRONG_KEYS:
            yield Case(stream, "keys", f"key={_label(value)}", _path(key), value, row="no")
        yield Case(stream, "keys", 'key=""', _path(key), "", row="open")
        if stream != "chat_locations":
            for value in NO_RECORDS:
                yield Case(stream, "keys", f"record={_label(value)}", (), value, row="no")
    for value in (None, "text", 5, [], {}, {"properties": "x"}, {"properties": None}, {"properties": []}):
        yield Case("chat_locations", "keys", f"record={_label(value)}", (), value, row="no")


_ALL = list(_cases())
#: What does not keep a run from reading all there is.
CASES = [case for case in _ALL if (case.stream, case.kind) != ("chats", "keys")]
#: Chats whose messages can't be asked for.
CHATS_WITHOUT_A_KEY = [case for case in _ALL if (case.stream, case.kind) == ("chats", "keys")]
