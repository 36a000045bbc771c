"""Fixtures for all tests."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from linq_emulator.testing import EmulatorOptions, EmulatorProcess
from tests.support.postgres import new_database, running_postgres
from tests.support.seeds import IS_FULL

pytest_plugins = ["linq_emulator.pytest_plugin"]

# A busy machine is no failure. And what one example in thousands shows is found by full drills, which draw others each
# time, and not by a change that has nothing to do with it.
settings.register_profile("gate", deadline=None, derandomize=not IS_FULL)
settings.load_profile("gate")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that run DAGs, one after the other: they take longer than all that goes on beside them."""
    items.sort(key=lambda item: not _runs_dags(item.path))


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Spare what is imported by now the garbage collector, which would look at all of it again and again."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `--dist loadfile`, run the files that run DAGs in one process, as if they were one file.

    A process that runs its first DAG makes an API server of Airflow within it, which takes fifteen seconds of work.
    """
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]

    scheduling = LoadFileScheduling(config, log)
    file_of = scheduling._split_scope

    def scope_of(nodeid: str) -> str:
        file = str(file_of(nodeid))
        return "files that run DAGs" if _runs_dags(config.rootpath / file) else file

    scheduling._split_scope = scope_of
    return scheduling


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
