"""One emulator for all tests of the tap, as good as new for each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.emulator_process import Emulator, running_emulator

NOON = "2026-03-01T12:00:00Z"


@pytest.fixture(scope="session")
def emulator_process() -> Iterator[Emulator]:
    with running_emulator("--freeze", NOON) as started:
        yield started


@pytest.fixture
def emulator(emulator_process: Emulator) -> Emulator:
    """An emulator without chats, on a clock frozen at noon."""
    emulator_process.control("POST", "reset")
    emulator_process.control("POST", "clock", {"now": NOON, "freeze": True})
    return emulator_process
