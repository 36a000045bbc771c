"""The tutorial, and the project of "Test your DAGs": their files are saved, their commands run in a shell."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from linq_emulator.testing import EmulatorProcess

DOCS = Path(__file__).parents[3] / "docs"
TUTORIAL = (DOCS / "tutorial" / "index.md").read_text()
PROJECT = (DOCS / "how-to" / "test-dags.md").read_text()
BLOCK = re.compile(r'^```(sh|python title="(.+?)")\n(.*?)^```$', re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the reader, with an Airflow in it once one of the tests has made it."""
    return tmp_path_factory.mktemp("linq-tutorial")


def save_files(page: str, folder: Path) -> None:
    for _, name, text in BLOCK.findall(page):
        if name:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)


def run_commands(commands: str, folder: Path) -> str:
    """Run them in one shell, which ends with the first that fails."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(
        ["bash", "-eux", "-o", "pipefail", "-c", commands],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
    )
    logs = "".join(log.read_text()[-3000:] for log in folder.glob("*.log"))
    assert done.returncode == 0, f"{done.stderr[-3000:]}\n{done.stdout[-3000:]}\n{logs}"
    return done.stdout


def commands_of(page: str) -> str:
    return "\n".join(text for kind, _, text in BLOCK.findall(page) if kind == "sh")


def test_the_tutorial(folder: Path) -> None:
    assert re.findall(r"^\$ linq-emulator (.+)$", TUTORIAL, re.MULTILINE) == ["--ephemeral-hours 24"]
    save_files(TUTORIAL, folder)
    with EmulatorProcess(ephemeral_hours=24) as emulator:
        here = emulator.base_url.removesuffix("/api/partner")
        shown = run_commands(commands_of(TUTORIAL).replace("http://127.0.0.1:8181", here), folder)
        assert [fault["hits"] for fault in emulator.faults()] == [2]
    assert '"text":"Yes, two bowls!"' in shown


def test_the_project_with_tests(folder: Path) -> None:
    """With the DAG of the tutorial."""
    save_files(TUTORIAL + PROJECT, folder)
    assert "3 passed" in run_commands(commands_of(PROJECT), folder)
