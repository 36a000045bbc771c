"""What the tests were run on: the results of `make matrix`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from docs_tools.markdown import table
from matrix.environments import ENVIRONMENTS, Environment

_RESULTS = Path(__file__).parents[1] / "matrix" / "results.json"


def tested() -> str:
    """Return every environment with its newest result."""
    results = json.loads(_RESULTS.read_text())["results"]
    lines = [("Python", "Airflow", "libraries", "passed", "skipped", "failed", "on")]
    lines += [_line(environment, results.get(environment.name)) for environment in ENVIRONMENTS]
    return table(*lines)


def _line(environment: Environment, result: dict[str, Any] | None) -> tuple[str, ...]:
    airflow = (result or {}).get("versions", {}).get("apache-airflow", environment.airflow or "")
    known = (environment.python, airflow, environment.libraries)
    if result is None:
        return (*known, "not run yet", "", "", "")
    if "passed" not in result:
        return (*known, result["outcome"], "", "", result["day"])
    return (*known, *(str(result[name]) for name in ("passed", "skipped", "failed")), result["day"])
