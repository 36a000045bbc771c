"""A reaction that was taken back gets a row that says so."""

from __future__ import annotations

import json
import random
from contextlib import closing
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from linq_client import RetentionWindow
from tap_linq.extraction.shown_reactions import (
    MAX_BYTES,
    MAX_REACTIONS,
    MessageReactions,
    ShownReactions,
    reactions_from_json,
    reactions_to_json,
)
from tap_linq.extraction.state import bound_reactions
from tests.support.emulator_process import Emulator
from tests.support.histories import World
from tests.support.running import FIRST_LINE, PERSON, Output, history, inbound, run_tap, set_window, succeed

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
HOUR = 3600
LINE: dict[str, Any] = {"phone_numbers": [FIRST_LINE]}


def react(emulator: Emulator, message: str, kind: str, **more: Any) -> None:
    emulator.control("POST", "reactions", {"message_id": message, "from": PERSON, "type": kind, **more})


def kept(output: Output) -> dict[str, Any]:
    """What STATE keeps of reactions."""
    (partition,) = output.state["bookmarks"]["messages"]["partitions"]
    found: dict[str, Any] = partition.get("reactions", {})
    return found


def test_a_reaction_that_was_taken_back_reaches_the_warehouse(emulator: Emulator) -> None:
    first, second = history(emulator)
    react(emulator, first, "love")
    react(emulator, second, "like")
    before = succeed(emulator, **LINE)
    rows = {row["message_id"]: row for row in before.records("reactions")}
    assert [row["removed_at"] for row in rows.values()] == [None, None]
    assert set(kept(before)) == {first, second}
    assert PERSON not in str(kept(before))
    emulator.advance(HOUR)
    react(emulator, first, "love", operation="remove")
    inbound(emulator)
    emulator.advance(60)
    after = succeed(emulator, state=before.state, **LINE)
    (row,) = (one for one in after.records("reactions") if one["id"] == rows[first]["id"])
    assert row["removed_at"] == "2026-03-01T13:11:00Z"
    wanted = ("message_id", "part_index", "chat_id", "line")
    assert {name: row[name] for name in wanted} == {name: rows[first][name] for name in wanted}
    assert set(kept(after)) == {second}
    emulator.advance(60)
    again = succeed(emulator, state=after.state, full_sweep_interval_hours=0, **LINE)
    assert [one["removed_at"] for one in again.records("reactions")] == [None], "said once"


def test_what_did_not_arrive_is_emitted_once_more(emulator: Emulator) -> None:
    """The loader fails, so the next run begins with the STATE before."""
    message, _ = history(emulator)
    react(emulator, message, "love")
    before = succeed(emulator, **LINE)
    react(emulator, message, "love", operation="remove")
    emulator.advance(60)
    for _ in range(2):
        gone = succeed(emulator, state=before.state, full_sweep_interval_hours=0, **LINE).records("reactions")
        assert [row["removed_at"] is None for row in gone] == [False]


def test_a_reaction_of_an_incomplete_pass_is_known_to_the_next(emulator: Emulator) -> None:
    message, _ = history(emulator)
    react(emulator, message, "love")
    other = inbound(emulator, **{"from": "+12125550101"})
    broken = next(row["chat_id"] for row in emulator.ledger() if row["id"] == other)
    emulator.control("POST", "faults", {"kind": "status", "status": 403, "path": f"/v3/chats/{broken}/messages"})
    failed = run_tap(emulator, **LINE)
    assert failed.error is not None
    assert len(failed.records("reactions")) == 1
    assert failed.bookmarks() == {}
    emulator.control("DELETE", "faults")
    react(emulator, message, "love", operation="remove")
    emulator.advance(60)
    (row,) = succeed(emulator, state=failed.state, **LINE).records("reactions")
    assert row["removed_at"] is not None


def test_with_their_messages_they_are_forgotten(emulator: Emulator) -> None:
    set_window(emulator, 2)
    message, _ = history(emulator)
    react(emulator, message, "love")
    before = succeed(emulator, retention_window_hours=2, **LINE)
    emulator.advance(1.5 * HOUR)
    inbound(emulator)
    emulator.advance(HOUR)
    after = succeed(emulator, state=before.state, retention_window_hours=2, **LINE)
    assert after.records("reactions") == [], "nobody knows whether it was taken back"
    assert kept(after) == {}


def a_message(number: int = 0, part: Any = None) -> dict[str, Any]:
    created = NOON + timedelta(seconds=number)
    return {
        "id": f"m{number}",
        "created_at": created.isoformat(),
        "parts": [{"reactions": None} if part is None else part],
    }


@pytest.mark.parametrize("part", [{}, {"reactions": "x"}, {"reactions": ["x"]}, "x"])
def test_a_part_that_does_not_tell_takes_nothing_back(part: Any) -> None:
    known = ShownReactions({"m0": MessageReactions(NOON, {"r": 0})})
    assert known.update(a_message(part=part), {}, NOON, is_emitted=True) == {}
    assert known.update({**a_message(), "parts": None}, {}, NOON, is_emitted=True) == {}
    assert known.update({**a_message(), "parts": []}, {}, NOON, is_emitted=True) == {}
    assert known.update(a_message(), {}, NOON, is_emitted=False) == {"r": 0}
    assert "m0" not in known


def test_only_the_newest_are_kept() -> None:
    known = ShownReactions({})
    for number in range(3 * MAX_REACTIONS):
        known.update(a_message(number), {f"r{number}": 0}, NOON, is_emitted=True)
    left = known.after(NOON, None, is_complete=True)
    assert set(left) == {f"m{number}" for number in range(2 * MAX_REACTIONS, 3 * MAX_REACTIONS)}
    assert known.after(NOON + timedelta(days=8), None, is_complete=True) == {}
    assert known.after(NOON + timedelta(hours=3), RetentionWindow(1), is_complete=True) == {}


def test_in_state_those_of_all_lines_share_some_bytes() -> None:
    message, reaction = str(UUID(int=1))[:-6], str(UUID(int=2))[:-6]
    lines = [
        {f"{message}{n:06d}": MessageReactions(NOON + timedelta(seconds=n), {f"{reaction}{n:06d}": 0}) for n in numbers}
        for numbers in (range(0, 2000, 2), range(1, 2000, 2))
    ]
    partitions = [{"context": {"line": str(n)}, "reactions": reactions_to_json(one)} for n, one in enumerate(lines)]
    bound_reactions(partitions)
    assert 0.95 * MAX_BYTES < len(json.dumps([one["reactions"] for one in partitions])) <= MAX_BYTES
    kept = sorted(id_ for one in partitions for id_ in one["reactions"])
    assert len(kept) > 450
    assert kept == sorted(id_ for one in lines for id_ in one)[-len(kept) :]


def test_what_makes_no_sense_in_state_is_not_known() -> None:
    good = {"created_at": "2026-03-01T12:00:00Z", "reactions": [[0, "r"], [1, 2], "x", [0], ["0", "s"]]}
    found = reactions_from_json({"m": good, "n": [], "o": {"created_at": "soon", "reactions": [[0, "r"]]}})
    assert found == {"m": MessageReactions(NOON, {"r": 0})}
    assert reactions_from_json(reactions_to_json(found)) == found
    for odd in (None, [], "x", 5):
        assert reactions_from_json(odd) == {}


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32), moves=st.booleans())
def test_replayed_by_key_they_are_those_of_the_api(linq_emulator_process: Emulator, seed: int, moves: bool) -> None:
    rng = random.Random(seed)
    switches = {"reaction_moves_message": moves, "message_order": rng.choice(["newest", "oldest", "unordered"])}
    with closing(World(linq_emulator_process, 24, switches)) as world:
        rows: dict[str, dict[str, Any]] = {}
        given_: set[tuple[str, str]] = set()

        def run(**options: Any) -> None:
            for row in world.run(**options).records("reactions"):
                rows[row["id"]] = row

        for _ in range(8):
            for _ in range(rng.randint(0, 4)):
                number = rng.randrange(100)
                world.advance(1)
                live = [row for row in world.live() if row["direction"] == "inbound"]
                if not live or rng.random() < 0.3:
                    world.receive(number)
                    continue
                message = live[number % len(live)]
                kind = ("love", "like", "laugh")[number % 3]
                is_there = (message["id"], kind) in given_
                operation = {"operation": "remove"} if is_there else {}
                body = {"message_id": message["id"], "from": message["from"], "type": kind, **operation}
                world.emulator.control("POST", "reactions", body)
                given_ ^= {(message["id"], kind)}
            if rng.random() < 0.2:
                with world.trouble("/messages", 0.5):
                    run()
            else:
                run()
        run(full_sweep_interval_hours=0)
        present = {one["id"] for row in world.live() for one in row["reactions"]}
        assert {key for key, row in rows.items() if row["removed_at"] is None} == present
