"""Real loaders, started once; `LINQ_DRILLS=full` runs these tests at their full length.

What is shown here, by file:

| file | what |
| --- | --- |
| test_odd_records.py | one odd record costs no more than itself, through three loaders and DuckDB |
| test_drawn_records.py | the same of records that Hypothesis draws |
| test_documented_sql.py | the SQL of docs/how-to/extract.md, on what loaders have made |
| test_odd_state.py | STATE and catalogs as other programs leave them |
| test_outages.py | an API that is down for a while |
| test_refusals.py | an API that says no for ever, or something else than it should |
| test_account.py | lines, webhook subscriptions and dates of all forms |
| test_endings.py | signals, and loaders that die |
| test_killed_loader.py | a real loader under Meltano that is killed, with what the tap remembers of earlier runs |
| test_files.py | stores for files that do not work |

They were written from the documents alone: nothing here imports the tap, or knows how it does it.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.environments import kept_environment
from tests.support.loaders import TARGET_JSONL, Loaders
from tests.support.tap_runs import Extraction, make_catalog
from tests.system.loaders.scenarios import EARLY, Played, Scenario, slug


@pytest.fixture(scope="session")
def target_jsonl(request: pytest.FixtureRequest) -> Path:
    """The program target-jsonl in an environment of its own, which is kept for the next session."""
    return kept_environment(request.config.cache.mkdir("loaders"), TARGET_JSONL) / "target-jsonl"


@pytest.fixture(scope="session")
def loaders(postgres_server: str, target_jsonl: Path, tmp_path_factory: pytest.TempPathFactory) -> Loaders:
    return Loaders(postgres_server, target_jsonl, tmp_path_factory.mktemp("loaders"))


@pytest.fixture(scope="session")
def full_catalog(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The tap's catalog with all streams selected."""
    return make_catalog(tmp_path_factory.mktemp("catalog"))


@pytest.fixture(scope="module", autouse=True)
def played(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    """How a scenario ended, by its name in `EARLY`: all that the tests of a file ask for begin with its first one."""
    tests = [item for item in request.session.items if isinstance(item, pytest.Function) and item.path == request.path]
    items = [item for item in tests if hasattr(item, "callspec")]
    names = [str(item.callspec.params["early"]) for item in items if "early" in item.callspec.params]
    scenarios = {name: EARLY[name]() for name in names}
    with ThreadPoolExecutor(10) as threads:
        ends = {
            name: threads.submit(scenario.play, tmp_path_factory.mktemp(slug(name)))
            for name, scenario in scenarios.items()
        }

        def end_of(name: str) -> tuple[Scenario, Extraction]:
            extraction = ends[name].result()
            assert "Traceback" not in extraction.log, extraction.log[-1_500:]
            return scenarios[name], extraction

        yield end_of
        threads.shutdown(wait=False, cancel_futures=True)
        for name, end in ends.items():
            run = scenarios[name].run
            if not end.done() and run is not None:
                run.send(signal.SIGKILL)
