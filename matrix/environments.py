"""Which environments there are, and how each is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]

#: Where environments are; `make clean` removes it.
FOLDER: Final = ROOT / ".matrix"

_WITH_AIRFLOW: Final = "airflow,tap,emulator,webhooks,webhooks-brokers,parquet,docs"


@dataclass(frozen=True)
class Environment:
    """Versions that go together.

    Args:
        python: Version of Python, such as "3.12", which has to be on this machine; with pyenv, among those that the
            variable PYENV_VERSION names ("3.12.1:3.13.0").
        airflow: Version of Airflow; None takes what `libraries` leads to.
        until: Day (YYYY-MM-DD) until which the libraries of that Airflow were released: with newer ones few run it.
        libraries: "tested" (those of constraints.txt), "newest", "lowest" (the lowest that pyproject.toml allows), or
            "of then" (those of the day `until`).
    """

    python: str
    airflow: str | None
    libraries: str
    until: str | None = None

    @property
    def name(self) -> str:
        return f"py{self.python}-airflow{self.airflow or ''}-{self.libraries.replace(' ', '-')}"

    @property
    def interpreter(self) -> Path:
        return FOLDER / self.name / "venv" / "bin" / "python"

    def install(self) -> None:
        """Make the environment.

        Raises:
            subprocess.CalledProcessError: uv could not; it has said why.
        """
        folder = FOLDER / self.name
        folder.mkdir(parents=True, exist_ok=True)
        uv("venv", "--quiet", "--clear", "--python", self.python, str(folder / "venv"))
        pins = self._pins(folder)
        options = ["--resolution", "lowest-direct"] if self.libraries == "lowest" else []
        target = ["--quiet", "--python", str(self.interpreter), *(("--constraints", str(pins)) if pins else ())]
        project = ["--editable", f"{ROOT}[{_WITH_AIRFLOW}]"]
        # The tools of the tests are never the lowest ones: these would be tests of other projects.
        uv("pip", "install", *target, *options, *project)
        installed = folder / "installed.txt"
        installed.write_text(uv("pip", "freeze", "--exclude-editable", "--python", str(self.interpreter)))
        uv("pip", "install", *target[:3], "--constraints", str(installed), "--group", f"{ROOT}/pyproject.toml:test")

    def _pins(self, folder: Path) -> Path | None:
        if self.libraries == "tested":
            return ROOT / "constraints.txt"
        if self.until is None:
            return None
        pins = folder / "pins.txt"
        wanted = f"apache-airflow=={self.airflow}\napache-airflow-providers-standard\n"
        options = ["--exclude-newer", self.until, "--python", str(self.interpreter), "--output-file", str(pins)]
        uv("pip", "compile", "--quiet", *options, "-", given=wanted)
        return pins


#: The oldest and the newest release of each minor version of Airflow that is worth it, and each Python at least once.
ENVIRONMENTS: Final = (
    Environment("3.12", "3.1.8", "of then", "2026-04-01"),
    Environment("3.13", "3.2.2", "of then", "2026-06-30"),
    Environment("3.11", None, "tested"),
    Environment("3.14", None, "tested"),
    # Six days later came pydantic 2.12, with which the API of Airflow 3.1.0 starts no run.
    Environment("3.10", "3.1.0", "lowest", "2025-10-01"),
    Environment("3.14", None, "newest"),
    Environment("3.10", "3.1.8", "of then", "2026-04-01"),
    Environment("3.13", None, "newest"),
)


def uv(*arguments: str, given: str | None = None) -> str:
    """Run uv and return what it prints; on a failure it has said why."""
    command = [Path(sys.executable).with_name("uv"), *arguments]
    # Not into the environment that this runs in, and no interpreter is fetched: whoever has none sees that.
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    environment["UV_PYTHON_DOWNLOADS"] = "never"
    return subprocess.run(command, check=True, text=True, input=given, stdout=subprocess.PIPE, env=environment).stdout
