"""Records that Hypothesis draws: good ones, spoilt in places that nobody thought of."""

from __future__ import annotations

import copy
import json
import math
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.support.hostile_api import Chat, HostileAPI, chat_row, message_row, serving, text_part
from tests.support.loaders import Loaders
from tests.support.singer_checks import read, violations
from tests.support.tap_runs import Extraction, run_tap
from tests.system.loaders.odd_records import clean
from tests.system.loaders.scenarios import FULL

#: Any text, with halves of pairs and U+0000.
TEXTS = st.text(st.characters(exclude_categories=()), max_size=12)
ODD_TEXTS = st.sampled_from(
    ["", "\u0000", "\ud83d", "null", "true", "12", "2026-11-26T05:00:00Z", "2026-02-30T05:00:00Z"]
)
NUMBERS = (
    st.integers() | st.sampled_from([2**63, -(2**63) - 1, 10**40]) | st.floats(allow_nan=True, allow_infinity=True)
)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS | ODD_TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
NAMES = TEXTS | st.sampled_from(
    ["id", "Id", "text", "line", "_extra", "parts", "handle", "value", "type", "updated_at"]
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """All places in a record, the outermost not included."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = []
    for step, one in inner:
        found += [(*path, step), *places(one, (*path, step))]
    return found


@st.composite
def spoilt_rows(draw: st.DrawFn, good: dict[str, Any]) -> dict[str, Any]:
    """A good row after one to three changes: a value of any kind, a field less, a field more. Its id stays."""
    row = copy.deepcopy(good)
    for _ in range(draw(st.integers(1, 3))):
        there = [path for path in places(row) if path != ("id",)]
        path = draw(st.sampled_from(there))
        target: Any = row
        for step in path[:-1]:
            target = target[step]
        what = draw(st.sampled_from(["replace", "replace", "remove", "add"]))
        if what == "remove":
            del target[path[-1]]
        elif what == "add" and isinstance(target, dict):
            name = draw(NAMES)
            if (*path[:-1], name) != ("id",):
                target[name] = draw(VALUES)
        else:
            target[path[-1]] = draw(VALUES)
    return row


def accounts(count: int) -> st.SearchStrategy[list[Chat]]:
    """Chats of spoilt rows with spoilt messages, each beside a good one."""
    chats = []
    for number in range(count):
        chat_id = f"chat-{number:03d}"
        rows = [spoilt_rows(message_row(f"{chat_id}-odd-{k}", chat_id, 10 + k)) for k in range(4)]
        good = message_row(f"{chat_id}-good", chat_id, 5, parts=[text_part("good")])
        chats.append(
            st.builds(
                lambda row, odd, chat_id=chat_id, good=good: Chat(chat_id, row, [good, *odd]),
                spoilt_rows(chat_row(chat_id)),
                st.tuples(*rows),
            )
        )
    return st.tuples(*chats).map(list)


def extract(account: list[Chat], folder: Path) -> Extraction:
    with serving(HostileAPI(chats=account)) as api:
        extraction = run_tap(api, folder)
    assert extraction.code == 0, extraction.log[-1_500:]
    return extraction


def check(account: list[Chat], extraction: Extraction) -> None:
    schemas = {}
    for line in extraction.output.read_bytes().splitlines():
        message = read(line)
        if message["type"] == "SCHEMA":
            schemas[message["stream"]] = message["schema"]
        elif message["type"] == "RECORD":
            faults = list(violations(message["record"], schemas[message["stream"]]))
            assert not faults, f"{message['stream']}: {faults}"
    assert {row["id"] for row in extraction.records("chats")} == {chat.id for chat in account}
    rows = {row["id"]: row for row in extraction.records("messages")}
    assert rows.keys() == {message["id"] for chat in account for message in chat.messages}
    for chat in account:
        for message in chat.messages:
            for name in message:
                if name not in schemas["messages"]["properties"] and message[name] is not None:
                    kept = json.dumps(rows[message["id"]]["_extra"], ensure_ascii=False)
                    assert json.dumps(clean(name), ensure_ascii=False)[1:-1] in kept or not finite(message[name])


def finite(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


@settings(max_examples=40 if FULL else 5, suppress_health_check=list(HealthCheck))
@given(accounts(5))
def test_each_row_fits_its_schema(account: list[Chat]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        check(account, extract(account, Path(folder)))


@settings(max_examples=10 if FULL else 1, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(accounts(15))
def test_the_loaders_take_them(loaders: Loaders, account: list[Chat]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        extraction = extract(account, Path(folder))
        names = ("postgres", "jsonl", "csv")
        with ThreadPoolExecutor() as threads:
            ends = threads.map(lambda name: loaders.load(name, extraction.output), names)
        for name, loaded in zip(names, ends, strict=True):
            assert loaded.code == 0, f"{name}: {loaded.log[-1_500:]}"
            assert {row["id"] for row in loaded.rows["messages"]} == {
                row["id"] for row in extraction.records("messages")
            }
