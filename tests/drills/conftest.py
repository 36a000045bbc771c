"""Fixtures of the drills. `LINQ_DRILLS=full` runs them at their full length."""

from __future__ import annotations

import os

import pytest

from tests.tap.conftest import emulator, emulator_process

__all__ = ["emulator", "emulator_process"]


@pytest.fixture
def is_full() -> bool:
    return os.environ.get("LINQ_DRILLS") == "full"
