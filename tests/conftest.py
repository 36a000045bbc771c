"""Fixtures for all tests."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from linq_emulator.testing import EmulatorOptions, EmulatorProcess
from tests.support.postgres import new_database, running_postgres

if TYPE_CHECKING:
    from xdist.scheduler import LoadFileScheduling

pytest_plugins = ["linq_emulator.pytest_plugin"]

# A busy machine is no failure.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Spare what is imported by now the garbage collector, which would look at all of it again and again."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling | None:
    """With `--dist loadfile`, run the files that run DAGs in one process, as if they were one file.

    A process that runs its first DAG makes an API server of Airflow within it, which takes fifteen seconds of work.
    """
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = str(super()._split_scope(nodeid))
            return "files that run DAGs" if _runs_dags(config.rootpath / file) else file

    return Scheduling(config, log) if config.getoption("dist") == "loadfile" else None


@cache
def _runs_dags(file: Path) -> bool:
    return "airflow_db" in (text := file.read_text()) or "run_dag" in text


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
