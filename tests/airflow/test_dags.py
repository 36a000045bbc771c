"""Whole DAG runs, real Airflow in this process, against the emulator."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import pytest

from tests.airflow.conftest import Run
from tests.emulator_process import Emulator

ANN, BOB, CAT = "+12125550110", "+12125550111", "+12125550112"
SECRET_TEXT = "Your table is number seventeen"

# Warnings are errors here too, but for those that Airflow's own code and its dependencies give.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Using `httpx` with `starlette.testclient` is deprecated"),
]


@contextmanager
def recipients(emulator: Emulator, answers: Mapping[str, str]) -> Iterator[None]:
    """While the block runs, answer once whoever is written to, on the frozen clock."""
    done = threading.Event()

    def answer() -> None:
        left = dict(answers)
        while not done.is_set():
            for row in emulator.ledger():
                for handle in row["to"]:
                    if row["direction"] == "outbound" and (text := left.pop(handle, None)):
                        time.sleep(1.5)  # let the sensor poke in vain first
                        emulator.control("POST", "inbound", {"line": row["line"], "from": handle, "text": text})
            done.wait(0.2)

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def test_the_campaign_as_it_stands(
    emulator: Emulator, run_dag: Callable[..., Run], capfd: pytest.CaptureFixture[str]
) -> None:
    with recipients(emulator, {ANN: "YES", BOB: "no", CAT: "Who is this?"}):
        run = run_dag("linq_campaign_with_replies")
    assert run.state == "success"
    assert run.xcom("summarize") == {"recipients": 3, "replied": 3, "confirmed": 1, "declined": 1, "other": 1}
    assert Counter(row["direction"] for row in emulator.ledger()) == {"outbound": 3, "inbound": 3}
    logs = "".join(capfd.readouterr())
    assert "Campaign: {'recipients': 3" in logs
    for secret in ("Who is this?", "ready to be booked", emulator.api_key, ANN):
        assert secret not in logs
