"""dbt as a program, with `dbt_linq` as its project, on a database that loaders have filled."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

ROOT = Path(__file__).parents[2]


def _pinned(*names: str) -> tuple[str, ...]:
    lines = (ROOT / "constraints-dbt.txt").read_text().splitlines()
    pins = {line.partition("==")[0]: line for line in lines}
    return tuple(pins[name] for name in names)


#: The tests write the file that DuckDB reads here.
DATABASES = (*_pinned("dbt-core", "dbt-duckdb", "dbt-postgres"), f"duckdb=={duckdb.__version__}")

#: Those that need an account, and what reads their dialects.
CLOUDS = _pinned("dbt-core", "dbt-snowflake", "dbt-bigquery", "sqlglot")

ZONE = "Asia/Kolkata"


@dataclass
class Build:
    """What became of a command of dbt.

    Attributes:
        results: by name of the model or test, its status.
    """

    code: int
    log: str
    results: dict[str, str]

    def of_status(self, status: str) -> set[str]:
        """The names of those of a status."""
        return {name for name, found in self.results.items() if found == status}


@dataclass
class Dbt:
    """An installed dbt.

    Attributes:
        programs: folder of the environment's programs.
    """

    programs: Path

    def run(self, command: str, folder: Path, output: dict[str, Any], variables: dict[str, Any], *more: str) -> Build:
        """Run a command, with all that it writes in a folder.

        Args:
            output: the target, as in profiles.yml.
            variables: of the package.
        """
        folder.mkdir(parents=True, exist_ok=True)
        profile = {"linq": {"target": "test", "outputs": {"test": {"threads": 1, **output}}}}
        (folder / "profiles.yml").write_text(json.dumps(profile))
        done = subprocess.run(
            [
                *(self.programs / "dbt", "--no-use-colors", command, "--profile", "linq"),
                *("--project-dir", ROOT / "dbt_linq", "--profiles-dir", folder),
                *("--target-path", folder / "target", "--log-path", folder, "--log-level-file", "none"),
                *("--vars", json.dumps(variables), *more),
            ],
            # In sessions whose zone is not UTC.
            env={**os.environ, "DBT_SEND_ANONYMOUS_USAGE_STATS": "false", "TZ": ZONE, "PGTZ": ZONE},
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=600,
        )
        results = folder / "target" / "run_results.json"
        found = json.loads(results.read_text())["results"] if results.exists() else []
        names = {one["unique_id"].split(".")[2]: one["status"] for one in found}
        return Build(done.returncode, done.stdout + done.stderr, names)
