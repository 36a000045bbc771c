"""Airflow in the process of the tests: a home of its own and one migrated database, without scheduler and server.

`AIRFLOW_HOME` is read when Airflow is first imported, so it is set here, which the provider's conftests
import first. All other settings go to the home's `airflow.cfg` and not to the environment, where tests that start an
Airflow of their own would inherit them.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from linq_client import RetrySettings
from tests.support.airflow_versions import NEEDS_SUPERVISOR
from tests.support.emulator_process import Emulator
from tests.support.locks import one_at_a_time

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from airflow.sdk import DAG

ROOT = Path(__file__).parents[2]
HOME = Path(tempfile.mkdtemp(prefix="airflow-home-"))
BUNDLES = {
    "examples": ROOT / "dags_examples",
    "tests": ROOT / "tests" / "integration" / "provider" / "dags",
    "documentation": HOME / "documentation",
}
BUNDLES["documentation"].mkdir()


def _remove_home(process: int = os.getpid()) -> None:
    if os.getpid() == process:  # what was forked from this process ends before it
        shutil.rmtree(HOME, ignore_errors=True)


atexit.register(_remove_home)

assert "airflow" not in sys.modules, "Airflow has been imported: it would use the home of whoever runs the tests"
for name in [name for name in os.environ if name.startswith("AIRFLOW_")]:
    del os.environ[name]
os.environ["AIRFLOW_HOME"] = str(HOME)

(HOME / "airflow.cfg").write_text("[core]\nload_examples = False\n")


@pytest.fixture(scope="session")
def airflow_db(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The metadata database, migrated once for all processes of a parallel run."""
    folder = tmp_path_factory.getbasetemp()
    shared = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    migrated, database = shared / "airflow.db", HOME / "airflow.db"
    with one_at_a_time(shared / "airflow.lock"):
        if not migrated.exists():
            airflow = Path(sys.executable).with_name("airflow")
            subprocess.run([airflow, "db", "migrate"], check=True, stdout=subprocess.DEVNULL)
            shutil.copy(database, migrated)
        else:
            shutil.copy(migrated, database)


@pytest.fixture(autouse=True)
def new_clients() -> None:
    """Let hooks make new clients: they share them for the life of a process, and a client doubts a clock set back."""
    from airflow_provider_linq.hooks import linq

    linq._shared_client.cache_clear()


@pytest.fixture(autouse=True)
def supervised(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let triggers find connections in the environment on Airflow 3.1.0, too.

    It imports the channel to the supervisor before it looks there; in a triggerer there is one.
    """
    if NEEDS_SUPERVISOR:
        task_runner = importlib.import_module("airflow.sdk.execution_time.task_runner")
        monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", None, raising=False)
        warnings.filterwarnings("ignore", "Using Connection.from_json", DeprecationWarning)  # pytest takes it back


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `linq_default` a connection to port 1, where nothing listens: whoever asks the API fails."""
    conn = {"conn_type": "linq", "password": "a-key", "host": "http://127.0.0.1:1/api/partner"}
    extra = {"default_line": "+12025550101", "retention_window_hours": 1}
    monkeypatch.setenv("AIRFLOW_CONN_LINQ_DEFAULT", json.dumps({**conn, "extra": extra}))


@pytest.fixture
def connect(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make `linq_default` a connection to the emulator, with these extra fields or another password."""

    def connect(password: str = emulator.api_key, **extra: Any) -> None:
        conn = {"conn_type": "linq", "password": password, "host": emulator.base_url}
        extra = {"default_line": emulator.lines[0], **extra}
        monkeypatch.setenv("AIRFLOW_CONN_LINQ_DEFAULT", json.dumps({**conn, "extra": extra}))

    connect()
    return connect


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the clients of hooks hardly wait between their tries."""
    from airflow_provider_linq.hooks.linq import LinqHook

    new_client = LinqHook.new_client
    waits = RetrySettings(first_wait=0.01, longest_wait=0.01)
    monkeypatch.setattr(LinqHook, "new_client", lambda hook, **options: new_client(hook, retry=waits, **options))


@pytest.fixture
def run_dag(airflow_db: None, connect: Callable[..., None]) -> Callable[..., Run]:
    """Run a DAG of `dags_examples` or the tests with these params to its end, task after task."""

    def run_dag(dag_id: str, **params: Any) -> Run:
        return run_to_end(load_dag(dag_id), params)

    return run_dag


@contextmanager
def only_bundle(path: Path) -> Iterator[None]:
    """Let Airflow know of one bundle of DAGs, a file or a folder: each `DAG.test` reads all bundles that there are."""
    bundle = {
        "name": "only",
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": str(path)},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps([bundle]))
        yield


def run_to_end(dag: DAG, params: Mapping[str, Any] | None = None, **options: Any) -> Run:
    """Run a DAG with these params to its end, task after task; options as of `DAG.test`."""
    with only_bundle(Path(dag.fileloc)):
        return Run(dag.test(run_conf=dict(params or {}), **options))


def load_dag(dag_id: str) -> DAG:
    """Import a DAG file of `dags_examples` or `tests/integration/provider/dags` as Airflow does."""
    (path,) = (path for folder in BUNDLES.values() for path in folder.glob(f"{dag_id}.py"))
    return dags_of(path)[dag_id]


def dags_of(path: Path) -> dict[str, DAG]:
    """The DAGs of a file, by id."""
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:  # Airflow 3.1
        from airflow.models.dagbag import DagBag

    bag = DagBag(path)
    assert not bag.import_errors
    return bag.dags


class Store:
    """A task state store in memory; a test that makes one is skipped before Airflow 3.3, which has none."""

    def __init__(self, values: Mapping[str, Any] | None = None) -> None:
        if "NEVER_EXPIRE" not in importlib.import_module("airflow.sdk").__all__:
            pytest.skip("Airflow before 3.3 has no task state store")
        self.values = dict(values or {})

    def get(self, key: str, default: Any = None) -> Any:
        return self.values.get(key, default)

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        self.values[key] = json.loads(json.dumps(value))

    def delete(self, key: str) -> None:
        self.values.pop(key, None)


def context(
    store: Store | None = None,
    *,
    started: datetime | None = None,
    due: datetime | None = None,
    clears: int = 0,
    states: Mapping[int, str | None] | None = None,
    dag: DAG | None = None,
    **instance: Any,
) -> Any:
    """
    What a task's context holds of the run, of the instance and, from Airflow 3.3 on, of the state store.

    :param states: Airflow's, of all instances of the task by map index; by default there is this one alone.
    """
    ids: dict[str, Any] = {
        "dag_id": "dag",
        "run_id": "run",
        "task_id": "task",
        "map_index": -1,
        "try_number": 1,
        "max_tries": 0,
    }
    start = started or datetime.now(timezone.utc)
    run = SimpleNamespace(run_after=due or start, start_date=start, clear_number=clears)
    state = {} if store is None else {"task_state_store": store}
    pushed: dict[str, Any] = {}
    ids |= {"pushed": pushed, "xcom_push": lambda key, value: pushed.update({key: value})}
    ti = SimpleNamespace(**{**ids, **instance})
    found = {ti.map_index: "running"} if states is None else states
    names = {ti.task_id if index < 0 else f"{ti.task_id}_{index}": state for index, state in found.items()}
    ti.get_task_states = lambda *, dag_id, task_ids, run_ids: {ti.run_id: names}
    return {"ti": ti, "dag_run": run, **state, **({} if dag is None else {"dag": dag})}


class Run:
    """A finished DAG run, as the tests look at it."""

    def __init__(self, dag_run: DagRun) -> None:
        self.state = str(dag_run.state)
        self._run = dag_run

    def states(self, task_id: str) -> list[str]:
        """The state of each instance of a task, by map index."""
        return [str(ti.state) for ti in self._instances(task_id)]

    def tries(self, task_id: str) -> list[int]:
        """How often each instance of a task was tried, by map index."""
        return [ti.try_number for ti in self._instances(task_id)]

    def xcom(self, task_id: str) -> Any:
        """What a task that is not mapped returned; None if nothing."""
        (ti,) = self._instances(task_id)
        return ti.xcom_pull(task_ids=task_id)

    def _instances(self, task_id: str) -> list[Any]:
        found = [ti for ti in self._run.get_task_instances() if ti.task_id == task_id]
        return sorted(found, key=lambda ti: ti.map_index)
