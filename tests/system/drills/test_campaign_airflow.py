"""`kill -9` of a campaign's worker under a real Airflow: scheduler, executor, and its own task state store."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from benchmarks.airflow_process import Airflow
from tests.support.campaign_drills import FULL, Figures, chance, slow
from tests.support.emulator_process import Emulator
from tests.support.seeds import seed

KILLS = 100
#: Airflow needs some seconds from a death to the next try; after so many of them it is killed no more.
TIME_TO_KILL = 12 * 60
DAG, TASK = "killed_campaign", "send"
DAGS = Path(__file__).parents[1] / "airflow" / "dags"


class Worker:
    """The processes of the task's tries, as the task notes them."""

    def __init__(self, airflow: Airflow, note: Path) -> None:
        self._airflow = airflow
        self._note = note
        self._run = airflow.run(DAG, pid_file=str(note))
        self._latest = 0

    def task(self) -> dict[str, object]:
        return dict(self._airflow.task(DAG, self._run, TASK))

    def next_process(self) -> int | None:
        """The process of the next try; None if the task has succeeded."""
        try_number, process = self._airflow.wait_until(self._noted, "there is another try")
        self._latest = try_number
        return process

    def _noted(self) -> tuple[int, int | None] | None:
        if self._note.exists():
            try_number, process = map(int, self._note.read_text().split())
            if try_number > self._latest:
                return try_number, process
        return (self._latest, None) if self.task()["state"] == "success" else None

    def result(self) -> dict[str, int]:
        """Wait for the end, and return what the task did."""
        self._airflow.until(DAG, self._run, TASK, "success")
        found: dict[str, int] = self._airflow.xcom(DAG, self._run, TASK)
        return found


@pytest.mark.skipif(not FULL, reason="takes a quarter of an hour: LINQ_DRILLS=full")
def test_each_recipient_once_under_airflow(tmp_path: Path) -> None:
    rng = Random(seed())
    rows = [{"to": f"person{index}@example.com"} for index in range(500)]
    home = tmp_path / "airflow"
    home.mkdir()
    with Emulator() as emulator:
        slow(emulator, 0.5)
        airflow = Airflow(home, emulator, {"killed": DAGS})
        try:
            airflow.start()
            worker = Worker(airflow, tmp_path / "process")
            kills = 0
            deadline = time.monotonic() + TIME_TO_KILL
            while kills < KILLS and time.monotonic() < deadline and (process := worker.next_process()):
                event = chance(emulator, rng, 20)
                while not event() and worker.task()["state"] == "running":
                    pass
                if worker.task()["state"] == "running":
                    with suppress(ProcessLookupError):
                        os.kill(process, signal.SIGKILL)
                        kills += 1
            result = worker.result()
            tries = int(str(worker.task()["try_number"]))
        finally:
            airflow.stop()
        Figures.of(emulator, rows, kills=kills, retries=tries - 1).check()
        assert (result["sent"], result["unknown"]) == (500, 0)
