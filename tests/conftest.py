"""Fixtures for all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.emulator_process import Emulator, running_emulator

# A busy machine is no failure.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """An emulator of its own for the test, on a frozen clock: time passes only when the test says so."""
    with running_emulator("--freeze", "2026-03-01T12:00:00Z") as started:
        yield started
