"""`kill -9` of a campaign's worker at random moments: the ledger shows each recipient exactly once."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from random import Random

import pytest

from tests.support.campaign_drills import FULL, LINES, SCOPES, TEXT, Figures, Task, kill_often, people, prepare
from tests.support.emulator_process import Emulator
from tests.support.seeds import seed

pytestmark = pytest.mark.usefixtures("workers")

#: What is there beside the keys: with Airflow 3.2 no store; with no path for them, or on another machine, no outcomes.
RECORDS = ["store", "store+outcomes", "store+lost outcomes", "none", "outcomes"]

CASES = {
    True: [("account", "one", "store+outcomes", 100)]
    + [(scope, lines, record, 12) for scope, lines, record in product(SCOPES, LINES, RECORDS)],
    False: [
        ("account", "one", "store+outcomes", 8),
        ("line", "any", "store+lost outcomes", 2),
    ],
}


@pytest.mark.parametrize(("scope", "lines", "record", "kills"), CASES[FULL])
def test_each_recipient_once(
    emulator: Emulator, tmp_path: Path, scope: str, lines: str, record: str, kills: int
) -> None:
    rows = people(500)
    prepare(emulator, scope, chats=rows[:40])
    task = Task(emulator, tmp_path, {"message": TEXT, "rows": rows, "from_": LINES[lines]}, record)
    kill_often(task, Random(seed()), kills, rows)
    result = task.succeed()
    assert (result["sent"], result["unknown"]) == (500, 0)
    Figures.of(emulator, rows, task).check()
