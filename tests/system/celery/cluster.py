"""Airflow over several machines: CeleryExecutor with Redis and PostgreSQL, and workers that share no disk."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import requests

from benchmarks.airflow_process import Airflow, dag_bundles, kill_with_children
from benchmarks.ports import free_port
from linq_emulator.testing import Emulator
from tests.support.brokers import Redis
from tests.support.waiting import wait_until

__all__ = ["Cluster", "ObjectStore"]

#: Seconds without a heartbeat after which a task counts as gone. Airflow's default is 300.
HEARTBEAT_TIMEOUT = 20


class ObjectStore:
    """moto's S3 server, with one bucket.

    Args:
        program: the command `moto_server`.
        folder: where its log is written.
    """

    def __init__(self, program: Path, folder: Path) -> None:
        port = free_port()
        self.endpoint = f"http://127.0.0.1:{port}"
        self.url = "s3://linq"
        with (folder / "moto.log").open("wb") as log:
            command = [program, "-H", "127.0.0.1", "-p", str(port)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)

        def makes_the_bucket() -> bool:
            assert self._process.poll() is None, "moto_server has ended"
            try:
                return requests.put(f"{self.endpoint}/linq", timeout=60).ok
            except requests.ConnectionError:
                return False

        wait_until(makes_the_bucket, "there is a bucket")

    def put(self, key: str, content: str) -> None:
        self._request("PUT", key, data=content.encode())

    def get(self, key: str) -> str:
        return self._request("GET", key).decode()

    def keys(self, prefix: str) -> list[str]:
        """All keys that begin so; up to 1,000."""
        listed = ET.fromstring(self._request("GET", "", params={"list-type": "2", "prefix": prefix}))
        return [element.text or "" for element in listed.iter() if element.tag.endswith("}Key")]

    def _request(self, method: str, key: str, **more: Any) -> bytes:
        # It checks no signature, but that there is one.
        signature = {"Authorization": "AWS key:signature"}
        answer = requests.request(method, f"{self.endpoint}/linq/{key}", headers=signature, timeout=60, **more)
        answer.raise_for_status()
        return answer.content

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


class Cluster(Airflow):
    """Scheduler, API server, DAG processor, triggerer and two Celery workers, each a process of its own.

    Each worker has a home, a copy of the DAGs and a working folder of its own, and knows the addresses of the API
    server, the broker, the object store and of the database in which Celery keeps its results.

    Args:
        home: folder of all homes.
        emulator: what the connection `linq_default` leads to.
        dags: folder of DAGs.
        programs: folder of the command `airflow`.
        database: URI of an empty database.
        broker: a Redis that is running.
        store: object store that all workers reach.
    """

    def __init__(
        self,
        home: Path,
        emulator: Emulator,
        dags: Path,
        programs: Path,
        *,
        database: str,
        broker: Redis,
        store: ObjectStore,
    ) -> None:
        super().__init__(home, emulator, {"dags": dags}, programs)
        self._dags = dags
        scheme, address = database.split(":", 1)
        self._database = {
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"{scheme}+psycopg:{address}",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC": f"{scheme}+asyncpg:{address}",
        }
        self.environment |= {
            "PYTHONPATH": str(Path(__file__).parents[3]),
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
            "AIRFLOW__CORE__PARALLELISM": "16",
            "AIRFLOW__CELERY__BROKER_URL": f"redis://{urlsplit(broker.url).netloc}/0",
            # Not Redis: the scheduler ends when it can't read results.
            "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{scheme}+psycopg:{address}",
            "AIRFLOW__CELERY__WORKER_CONCURRENCY": "3",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": str(HEARTBEAT_TIMEOUT),
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
            # What a killed worker had taken and not begun is found by these two.
            "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "60",
            "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "10",
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "2",
            "AIRFLOW__API__WORKERS": "1",
            "C_FORCE_ROOT": "true",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": store.endpoint,
        }
        self.workers: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        self.home.mkdir(exist_ok=True)
        assert self._central("db", "migrate").wait() == 0, self.logs()[-5000:]
        self._processes.clear()
        for component in ("api-server", "scheduler", "dag-processor", "triggerer"):
            self._central(component)
        for name in ("one", "two"):
            self.start_worker(name)
        self.log_in()
        for name in self.workers:
            self.wait_for_worker(name)

    def stop(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                kill_with_children(process.pid)
            process.wait()

    def start_worker(self, name: str) -> None:
        """Start a worker with an empty folder, as on a machine that is new."""
        home = self.home / name
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(self._dags, home / "dags")
        log_port = free_port()
        own = {
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": dag_bundles({"dags": home / "dags"}),
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(log_port),
            "TMPDIR": str(home),
        }
        self.workers[name] = self.spawn("celery", "worker", "-H", f"{name}@%h", home=home, environment=own)

    def wait_for_worker(self, name: str) -> None:
        log = self.home / name / "celery.out.log"
        self.wait_until(lambda: " ready." in log.read_text(errors="replace"), f"worker {name} is ready")

    def worker_of(self, dag_id: str, run_id: str, task_id: str) -> str | None:
        """Return the name of the worker on which a task runs; None if it runs on none now."""
        task = self.task(dag_id, run_id, task_id)
        try:
            above = {process.pid for process in psutil.Process(task["pid"]).parents()}
        except (TypeError, psutil.NoSuchProcess):  # it has not begun, or has just ended
            return None
        return next((name for name, worker in self.workers.items() if worker.pid in above), None)

    def kill_worker(self, name: str) -> None:
        """Kill a worker and the tasks that it runs, and take its disk away."""
        self._kill(self.workers.pop(name))
        shutil.rmtree(self.home / name)

    @contextmanager
    def without_triggerer(self) -> Iterator[None]:
        (triggerer,) = [process for process in self._processes if list(process.args)[1:] == ["triggerer"]]
        self._kill(triggerer)
        yield
        self._central("triggerer")

    def _kill(self, process: subprocess.Popen[bytes]) -> None:
        kill_with_children(process.pid)
        process.wait()
        self._processes.remove(process)

    def _central(self, *command: str) -> subprocess.Popen[bytes]:
        return self.spawn(*command, environment=self._database)


@contextmanager
def stopped(pids: list[int]) -> Iterator[None]:
    """Processes that do nothing, as long as the block lasts, and don't say so."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
