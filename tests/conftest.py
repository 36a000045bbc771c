"""Fixtures for all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

from linq_emulator.testing import EmulatorOptions, EmulatorProcess
from tests.support.postgres import new_database, running_postgres

pytest_plugins = ["linq_emulator.pytest_plugin"]

# A busy machine is no failure.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def linq_emulator_options() -> EmulatorOptions:
    """The clock of the shared emulator is frozen: time passes only if a test moves it."""
    return {"freeze": "2026-03-01T12:00:00Z"}


@pytest.fixture
def emulator(linq_emulator: EmulatorProcess) -> EmulatorProcess:
    """An emulator as if it had just been started, on a frozen clock."""
    return linq_emulator


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URI of a PostgreSQL server for all tests that need one."""
    with running_postgres() as uri:
        yield uri


@pytest.fixture
def postgres(postgres_server: str) -> str:
    """The URI of an empty database of the test's own."""
    return new_database(postgres_server)
