"""The Singer SDK's own suite of tests, against the emulator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from singer_sdk.testing import get_tap_test_class

from tap_linq.tap import TapLinq
from tests.emulator_process import running_emulator
from tests.tap.running import FIRST_LINE, config_for, seed

# The SDK makes its tests when this module is imported; the emulator's address comes later.
CONFIG: dict[str, Any] = {"api_key": "replaced-later"}

Standard = get_tap_test_class(TapLinq, config=CONFIG, parse_env_config=False)


class TestTapLinq(Standard):  # type: ignore[misc, valid-type]  # made at run time
    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def seeded_emulator(cls) -> Iterator[None]:
        with running_emulator("--freeze", "2026-03-01T12:00:00Z") as emulator:
            seed(emulator, 8, 3)
            late = {"from": "+12125550100", "line": FIRST_LINE, "text": "late", "sent_at": "2026-02-28T09:00:00Z"}
            emulator.control("POST", "inbound", {**late, "reconciled": True})
            CONFIG.update(config_for(emulator))
            yield
