"""Tasks on edge workers, which reach nothing of Airflow but its API server, over HTTP."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from benchmarks.airflow_process import Airflow, dag_bundles, kill_with_children
from tests.support.emulator_process import Emulator
from tests.support.environments import kept_environment

T = TypeVar("T")

ROOT = Path(__file__).parents[3]
DAGS = Path(__file__).parent / "dags"
EDGE_PROVIDER = "apache-airflow-providers-edge3==5.1.0"
ANN, BOB = "+12125550126", "+12125550127"


@pytest.fixture(scope="module")
def programs(request: pytest.FixtureRequest) -> Path:
    """The environment of all components, kept for the next session."""
    kept = request.config.cache.mkdir("edge")
    pins = ("--constraint", str(ROOT / "constraints.txt"))
    try:
        return kept_environment(kept, EDGE_PROVIDER, *pins, "--editable", f"{ROOT}[airflow]")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"{EDGE_PROVIDER} can't be installed here: {error}")


class EdgeAirflow(Airflow):
    """Scheduler, API server, DAG processor and triggerer with a database; edge workers that know the API server alone.

    Each worker has a home and a copy of the DAGs of its own. The connection to Linq is the API server's, too.
    """

    def __init__(self, home: Path, emulator: Emulator, programs: Path) -> None:
        super().__init__(home, emulator, {"dags": DAGS}, programs)
        self.environment |= {
            "AIRFLOW__CORE__EXECUTOR": "airflow.providers.edge3.executors.EdgeExecutor",
            "AIRFLOW__EDGE__API_ENABLED": "True",
            "AIRFLOW__EDGE__API_URL": f"{self.url}/edge_worker/v1/rpcapi",
            "AIRFLOW__EDGE__JOB_POLL_INTERVAL": "1",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "2",
            "AIRFLOW__API__WORKERS": "1",
            # A worker ends if the server gets a request later than twice this after it was signed.
            "AIRFLOW__API_AUTH__JWT_LEEWAY": "300",
        }
        connection = "AIRFLOW_CONN_LINQ_DEFAULT"
        self._central = {connection: self.environment.pop(connection)}
        self._workers: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        assert self.spawn("db", "migrate").wait() == 0, self.logs()[-5000:]
        self._processes.clear()
        for component in ("api-server", "scheduler", "dag-processor", "triggerer"):
            self.spawn(component, environment=self._central)
        self.log_in()

    def start_worker(self, name: str) -> None:
        home = self.home / name
        shutil.copytree(DAGS, home / "dags")
        own = {
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": dag_bundles({"dags": home / "dags"}),
            # What looks for a database on a worker fails.
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/none/airflow.db",
            "TMPDIR": str(home),
        }
        command = ("edge", "worker", "--edge-hostname", name)
        self._workers[name] = self.spawn(*command, home=home, environment=own)

    def wait_until(self, find: Callable[[], T | None], what: str) -> T:
        """As `Airflow` does it; but not for what a worker would do that has ended."""

        def found() -> T | None:
            ended = [name for name, process in self._workers.items() if process.poll() is not None]
            assert not ended, f"these workers have ended: {ended}"
            return find()

        return super().wait_until(found, what)

    def kill_worker(self, name: str) -> None:
        """Kill a worker and the tasks that it runs."""
        process = self._workers.pop(name)
        kill_with_children(process.pid)
        process.wait()
        self._processes.remove(process)

    def stop(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                kill_with_children(process.pid)
            process.wait()


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator() as started:
        yield started


@pytest.fixture(scope="module")
def airflow(programs: Path, emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeAirflow]:
    started = EdgeAirflow(tmp_path_factory.mktemp("edge"), emulator, programs)
    try:
        started.start()
        started.start_worker("one")
        yield started
    finally:
        started.stop()


def sent_to(emulator: Emulator, handle: str) -> list[dict[str, Any]]:
    return [row for row in emulator.ledger() if row["direction"] == "outbound" and row["to"] == [handle]]


def test_a_send(airflow: EdgeAirflow, emulator: Emulator) -> None:
    run = airflow.run("edge_send", to=ANN)
    done = airflow.until("edge_send", run, "send", "success")
    assert done["hostname"] == "one"
    (message,) = sent_to(emulator, ANN)
    assert airflow.xcom("edge_send", run, "send")["message_id"] == message["id"]


def test_a_worker_killed_between_request_and_answer(airflow: EdgeAirflow, emulator: Emulator) -> None:
    # The API has taken the message, and holds the answer back.
    fault = {"kind": "latency", "seconds": 300, "path": "/chats$", "method": "POST", "when": "after", "count": 1}
    emulator.control("POST", "faults", fault)
    run = airflow.run("edge_send", to=BOB)
    airflow.wait_until(lambda: sent_to(emulator, BOB), "the message has been accepted")
    airflow.kill_worker("one")
    airflow.start_worker("two")

    done = airflow.until("edge_send", run, "send", "success")
    assert done["hostname"] == "two"
    assert done["try_number"] > 1
    (message,) = sent_to(emulator, BOB)
    assert airflow.xcom("edge_send", run, "send")["message_id"] == message["id"]
