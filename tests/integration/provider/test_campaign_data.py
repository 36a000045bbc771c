"""Rows are data: nothing in them is rendered, whichever way they come."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

from tests.support.airflow import dags_of, run_to_end
from tests.support.emulator_process import Emulator

ANSWERS = ["{{ conn.linq_default.password }} {{ 7 * 7 }}", "see .sql", "[{'path': '/etc/hostname'}]", "7"]


@pytest.mark.usefixtures("airflow_db", "connect")
@pytest.mark.filterwarnings("ignore:Using `httpx` with `starlette.testclient` is deprecated")
@pytest.mark.parametrize("dag_id", ["rows_of_strangers", "rows_of_strangers_native"])
def test_what_a_stranger_says_is_sent_as_it_is(emulator: Emulator, dag_id: str) -> None:
    run = run_to_end(dags_of(Path(__file__).parent / "dags" / "rows_of_strangers.py")[dag_id])
    assert run.state == "success"
    sent = defaultdict(list)
    for message in sorted(emulator.ledger(), key=lambda message: message["to"]):
        sent[message["to"][0][2:5]].append(message["parts"][0]["value"])
    assert sent == {"203": ANSWERS, "204": ANSWERS, "205": [*ANSWERS, ANSWERS[0]]}
