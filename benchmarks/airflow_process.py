"""A real Airflow: `airflow standalone` with a home of its own, and calls to its REST API. Tests use it, too."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeVar

import psutil
import requests
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from benchmarks.ports import free_port
from linq_emulator.testing import Emulator

BIN = Path(sys.executable).parent
T = TypeVar("T")

#: Seconds after which what has not happened never will, also on a busy machine.
PATIENCE = 900


class Airflow:
    """A running `airflow standalone`.

    Args:
        home: Its folder.
        emulator: What the connection `linq_default` leads to.
        dags: Folders of DAGs, by the name of their bundle.
        programs: Folder of the command `airflow`, if it is not that of this environment.
    """

    def __init__(self, home: Path, emulator: Emulator, dags: Mapping[str, Path], programs: Path = BIN) -> None:
        self.home = home
        self._programs = programs
        port, log_port, trigger_log_port = free_port(), free_port(), free_port()
        self.url = f"http://127.0.0.1:{port}"
        # Nothing of the Airflow that other tests run in this process, whose home may be in the environment.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        conn = {"conn_type": "linq", "password": emulator.api_key, "host": emulator.base_url}
        self.environment = {
            **inherited,
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "AIRFLOW_HOME": str(home),
            "AIRFLOW_CONN_LINQ_DEFAULT": json.dumps({**conn, "extra": {"default_line": emulator.lines[0]}}),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            # On a busy machine, a try would be lost each time that the server takes longer than five seconds.
            "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "120",
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": dag_bundles(dags),
            "AIRFLOW__API__HOST": "127.0.0.1",  # everybody is an administrator
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(log_port),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(trigger_log_port),
        }
        self._started = datetime.now(timezone.utc)
        self._processes: list[subprocess.Popen[bytes]] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._headers: dict[str, str] = {}

    def start(self) -> None:
        self._process = self.spawn("standalone")
        self.log_in()

    def log_in(self) -> None:
        """Wait until all components are healthy, and become somebody who may call the REST API."""
        self.wait_until(self._is_healthy, "Airflow is healthy")
        token = requests.get(f"{self.url}/auth/token", timeout=300).json()["access_token"]
        self._headers = {"Authorization": f"Bearer {token}"}

    def stop(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
        for process in self._processes:
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                # Airflow's scheduler logs in its signal handler, and hangs if the signal came while it was logging.
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def logs(self) -> str:
        """All that any component or task has written."""
        files = [path for path in self.home.rglob("*.log") if path.is_file()]
        return "\n".join(path.read_text(errors="replace") for path in files)

    def call(self, method: str, path: str, body: Any = None, *, root: str = "/api/v2") -> Any:
        answer = requests.request(method, f"{self.url}{root}/{path}", json=body, headers=self._headers, timeout=300)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text[:1000]}"
        return answer.json()

    def unpause(self, dag_id: str) -> None:
        self.wait_until(
            lambda: dag_id in {dag["dag_id"] for dag in self.call("GET", "dags")["dags"]}, f"there is a DAG {dag_id}"
        )
        self.call("PATCH", f"dags/{dag_id}", {"is_paused": False})

    def asset_state(self, name: str) -> Any:
        """What the state store of an asset holds."""
        (asset,) = self.call("GET", f"assets?name_pattern={name}")["assets"]
        return self.call("GET", f"assets/{asset['id']}/state-store")

    def run(self, dag_id: str, **params: Any) -> str:
        """Start a run and return its id."""
        self.unpause(dag_id)
        run = self.call("POST", f"dags/{dag_id}/dagRuns", {"logical_date": None, "conf": params})
        return str(run["dag_run_id"])

    def runs(self, dag_id: str) -> list[Mapping[str, Any]]:
        return list(self.call("GET", f"dags/{dag_id}/dagRuns")["dag_runs"])

    def task(self, dag_id: str, run_id: str, task_id: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.call("GET", f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}")
        return found

    def until(self, dag_id: str, run_id: str, task_id: str, *states: str) -> Mapping[str, Any]:
        """Wait until a task is in one of these states, and return it."""

        def arrived() -> Mapping[str, Any] | None:
            found = self.task(dag_id, run_id, task_id)
            assert found["state"] != "failed" or "failed" in states, f"{dag_id}.{task_id} has failed"
            return found if found["state"] in states else None

        return self.wait_until(arrived, f"{dag_id}.{task_id} is {' or '.join(states)}")

    def wait_until(self, find: Callable[[], T | None], what: str) -> T:
        """Return what a function finds as soon as that is true; fail if it is not so that `what`."""
        polling = Retrying(
            retry=retry_if_result(lambda found: not found),
            wait=wait_fixed(0.5),
            stop=stop_after_delay(PATIENCE),
            retry_error_callback=lambda state: None,
        )
        found = polling(find)
        assert found, f"after {PATIENCE} seconds it is still not so that {what}"
        return found

    def xcom(self, dag_id: str, run_id: str, task_id: str) -> Any:
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
        return self.call("GET", f"{path}?stringify=false")["value"]

    @contextmanager
    def without_triggerer(self) -> Iterator[None]:
        """Kill the triggerer without a warning; start another one at the end of the block."""
        assert self._process is not None
        for child in psutil.Process(self._process.pid).children():
            if "triggerer" in " ".join(child.cmdline()):
                kill_with_children(child.pid)
        yield
        self.spawn("triggerer")

    def spawn(
        self, *command: str, home: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a command of Airflow's, which `stop` ends.

        Args:
            command: Its words.
            home: Its home and working folder, if it is another one.
            environment: Variables that it has besides or instead.
        """
        home = home or self.home
        with (home / f"{command[0]}.out.log").open("ab") as output:
            # In a session of its own, so that a Ctrl-C in the terminal is not for it; and SIGINT must not be ignored,
            # as it is in what a shell starts in the background, because that is what ends it.
            process = subprocess.Popen(
                [self._programs / "airflow", *command],
                env={**self.environment, "AIRFLOW_HOME": str(home), **(environment or {})},
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=home,
                start_new_session=True,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            )
        self._processes.append(process)
        return process

    def _is_healthy(self) -> bool:
        ended = [process.args for process in self._processes if process.poll() is not None]
        assert not ended, f"these have ended: {ended}"
        try:
            health = requests.get(f"{self.url}/api/v2/monitor/health", timeout=60).json()
        except (requests.RequestException, ValueError):
            return False
        beats = [health[part].get(f"latest_{part}_heartbeat") for part in ("scheduler", "triggerer", "dag_processor")]
        # A row of an Airflow that is gone could look healthy: the heartbeat has to be of this one.
        return all(beat is not None and datetime.fromisoformat(beat) > self._started for beat in beats)


def dag_bundles(dags: Mapping[str, Path]) -> str:
    """Return the value of `dag_bundle_config_list` for folders of DAGs, by the name of their bundle."""
    bundle = "airflow.dag_processing.bundles.local.LocalDagBundle"
    bundles = [
        {"name": name, "classpath": bundle, "kwargs": {"path": str(path), "refresh_interval": 3600}}
        for name, path in dags.items()
    ]
    return json.dumps(bundles)


def kill_with_children(pid: int) -> None:
    """Kill a process and all below it without a warning, as when a machine dies."""
    process = psutil.Process(pid)
    for one in [process, *process.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            one.kill()
