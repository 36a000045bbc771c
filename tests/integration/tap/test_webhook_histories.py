"""Poller and receiver together: a message is missing only if both were out, and then a gap says so.

Random histories as in `test_histories`, with a receiver beside the poller, on the emulator's virtual clock.
"""

from __future__ import annotations

import random
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.tap.test_histories import FULL, SWITCHES
from tests.support.captured_world import CapturedWorld, live_on
from tests.support.emulator_process import Emulator


@settings(max_examples=20 if FULL else 3, deadline=None, suppress_health_check=list(HealthCheck))
@given(switches=SWITCHES, hours=st.sampled_from([1, 2, 6, 24]), seed=st.integers(0, 2**32))
@pytest.mark.parametrize("outages", [False, True])
def test_nothing_is_missing_without_a_word(
    linq_emulator_process: Emulator, switches: dict[str, Any], hours: int, seed: int, outages: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        with closing(CapturedWorld(linq_emulator_process, hours, switches, Path(folder))) as world:
            live_on(world, 8, random.Random(seed), outages=outages)
            world.end()
