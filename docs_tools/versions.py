"""What the tests were run on: the results of `make matrix`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from docs_tools.markdown import table
from matrix.environments import ENVIRONMENTS, Environment

_RESULTS = Path(__file__).parents[1] / "matrix" / "results.json"


def tested() -> str:
    """Return every environment with its newest results."""
    stored = json.loads(_RESULTS.read_text())
    results, live = stored["results"], stored.get("live", {})
    lines = [("Python", "Airflow", "libraries", "passed", "skipped", "failed", "on", "on a running Airflow")]
    lines += [_line(one, results.get(one.name), live.get(one.name)) for one in ENVIRONMENTS]
    return table(*lines)


def _line(environment: Environment, result: dict[str, Any] | None, live: dict[str, Any] | None) -> tuple[str, ...]:
    airflow = (result or live or {}).get("versions", {}).get("apache-airflow", environment.airflow or "")
    known = (environment.python, airflow, environment.libraries)
    if result is None:
        return (*known, "not run yet", "", "", "", _in_words(live))
    if "passed" not in result:
        return (*known, result["outcome"], "", "", result["day"], _in_words(live))
    counts = (str(result[name]) for name in ("passed", "skipped", "failed"))
    return (*known, *counts, result["day"], _in_words(live))


def _in_words(live: dict[str, Any] | None) -> str:
    if live is None:
        return "not run yet"
    if "passed" not in live:
        return f"{live['outcome']}, {live['day']}"
    counts = ", ".join(f"{live[name]} {name}" for name in ("passed", "skipped", "failed") if live[name])
    return f"{counts}, {live['day']}"
