"""Fixtures of the receiver's drills. `LINQ_DRILLS=full` runs them at their full length."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(scope="session")
def is_full() -> bool:
    return os.environ.get("LINQ_DRILLS") == "full"
