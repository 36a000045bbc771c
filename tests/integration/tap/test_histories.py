"""Whatever happens, and however the tap is scheduled: no message is missing that a run could have read.

Random histories (messages of both directions, edits, reactions, late arrivals, expiries, outages) under every position
of the emulator's switches, on schedules that are kept and on such that are not. `World.run` checks after each run.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tap_linq.extraction import line_pass
from tests.support.emulator_process import Emulator
from tests.support.histories import START, World, live_on

ORDERS = ["newest", "oldest", "unordered"]
POSITIONS: dict[str, list[Any]] = {
    "chat_order": ORDERS,
    "message_order": ORDERS,
    "cursor": ["offset", "key"],
    "empty_pages": [False, True],
    "message_moves_chat": [True, False],
    "edit_moves_message": [True, False],
    "reaction_moves_message": [True, False],
    "delivery_moves_message": [True, False],
    "reconciled_created_at": ["ingested", "sent"],
}
FULL = os.environ.get("LINQ_DRILLS") == "full"

SWITCHES = st.fixed_dictionaries({name: st.sampled_from(allowed) for name, allowed in POSITIONS.items()})


@pytest.fixture(autouse=True, scope="module")
def without_a_sample() -> Iterator[None]:
    """No quiet chat is read to be on the safe side: these accounts are small, and the sample would hide mistakes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(line_pass, "SAMPLE_SIZE", 0)
        yield


@settings(max_examples=20 if FULL else 6, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    switches=SWITCHES,
    hours=st.sampled_from([1, 2, 6, 24]),
    longest_pause=st.sampled_from([0.2, 0.7, 1.5]),
    seed=st.integers(0, 2**32),
)
def test_nothing_is_missing_whatever_happens(
    linq_emulator_process: Emulator, switches: dict[str, Any], hours: int, longest_pause: float, seed: int
) -> None:
    with closing(World(linq_emulator_process, hours, switches)) as world:
        live_on(world, days=6 * longest_pause * hours / 24, rng=random.Random(seed), longest_pause=longest_pause)
        world.end()


@pytest.mark.parametrize("message_moves_chat", [True, False])
def test_thirty_days(linq_emulator_process: Emulator, message_moves_chat: bool) -> None:
    rng = random.Random(30 + message_moves_chat)
    switches = {name: rng.choice(allowed) for name, allowed in POSITIONS.items()}
    with closing(World(linq_emulator_process, 24, {**switches, "message_moves_chat": message_moves_chat})) as world:
        live_on(world, days=31, rng=rng, longest_pause=1.1)
        world.end()
        assert world.now - START >= timedelta(days=30)
        assert world.runs > 40
        assert any(gap["reason"] == "late_run" for gap in world.gaps), "the schedule was not kept"
