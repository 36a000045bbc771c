"""The tutorial, and the project of "Test your DAGs", in a shell, as a reader types them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from linq_emulator.testing import EmulatorProcess
from tests.support.pages import TEST_DAGS, TUTORIAL, commands_of, run_commands, save_files


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the reader, with an Airflow in it once one of the tests has made it."""
    return tmp_path_factory.mktemp("linq-tutorial")


def test_the_tutorial(folder: Path) -> None:
    assert re.findall(r"^\$ linq-emulator (.+)$", TUTORIAL, re.MULTILINE) == ["--ephemeral-hours 24"]
    save_files(TUTORIAL, folder)
    with EmulatorProcess(ephemeral_hours=24) as emulator:
        here = emulator.base_url.removesuffix("/api/partner")
        shown = run_commands(commands_of(TUTORIAL).replace("http://127.0.0.1:8181", here), folder)
        assert [fault["hits"] for fault in emulator.faults()] == [2]
    assert '"text":"Yes, two bowls!"' in shown


def test_the_project_with_tests(folder: Path) -> None:
    """With the DAGs of the tutorial."""
    save_files(TUTORIAL + TEST_DAGS, folder)
    assert "3 passed" in run_commands(commands_of(TEST_DAGS), folder)
