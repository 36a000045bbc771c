"""`kill -9` of the tap before each change of the files of `seen_path`, and loaders that die: the table has everything.

What a loader has read is in the table, and the last STATE among it is what the next run begins with, as with Meltano.
"""

from __future__ import annotations

import json
import random
import signal
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tap_linq.writer import BUFFER_SIZE
from tests.support.emulator_process import Emulator
from tests.support.running import FIRST_LINE, config_for, history, inbound
from tests.support.seeds import seed
from tests.support.tap_runs import FOLDER, KILLED_BEFORE, start_command

RUNS = 100
LONG, CHANGED = "hello" * 1_900, "for a while" * 800


class Warehouse:
    """A table that rows are merged into by key, and the STATE that was confirmed."""

    def __init__(self, emulator: Emulator, folder: Path) -> None:
        self.table: dict[str, str | None] = {}
        self.rows = 0
        self._state: dict[str, Any] | None = None
        self._seen = folder / "seen"
        self._folder = folder / "run"
        self._config = folder / "config.json"
        self._config.write_text(
            json.dumps(
                config_for(emulator, phone_numbers=[FIRST_LINE], full_sweep_interval_hours=0, seen_path=str(self._seen))
            )
        )

    @property
    def remembers(self) -> bool:
        """Whether STATE names a file."""
        assert self._state is not None
        (partition,) = self._state["bookmarks"]["messages"]["partitions"]
        return partition.get("seen") is not None

    def run(self, *, killed_before: int = 0, lines: int | None = None) -> bool:
        """
        Run the tap, killed before a change of its files (from 1), and load so many lines; whether it was killed.
        """
        arguments = ["--config", str(self._config)]
        if self._state is not None:
            state = self._folder / "state.json"
            state.write_text(json.dumps(self._state))
            arguments += ["--state", str(state)]
        environment = {FOLDER: str(self._seen), KILLED_BEFORE: str(killed_before)}
        ended = start_command(arguments, self._folder, environment).end()
        is_killed = ended.code == -signal.SIGKILL
        assert is_killed or ended.code == 0, ended.log
        self.rows = 0
        written = ended.output.read_bytes().splitlines(keepends=True)
        for message in [json.loads(line) for line in written[:lines] if line.endswith(b"\n")]:
            if message["type"] == "STATE":
                self._state = message["value"]
            elif message["type"] == "RECORD" and message["stream"] == "messages":
                self.table[message["record"]["id"]] = message["record"]["text"]
                self.rows += 1
        return is_killed


def truth(emulator: Emulator) -> dict[str, str | None]:
    return {row["id"]: row["text"] for row in emulator.ledger()}


def long_history(emulator: Emulator) -> list[str]:
    """So much that the tap writes some of it before the end of a run."""
    return [one for _ in range(BUFFER_SIZE // len(LONG) // 2 + 1) for one in history(emulator, text=LONG)]


def edit(emulator: Emulator, message_ids: list[str], text: str) -> None:
    for message_id in message_ids:
        emulator.control("POST", "edits", {"message_id": message_id, "text": text})


def test_the_table_has_everything_after_a_kill_before_each_change_of_the_files(
    emulator: Emulator, tmp_path: Path
) -> None:
    ids = long_history(emulator)
    warehouse = Warehouse(emulator, tmp_path)
    for _ in range(2):  # the file of the first run is replaced by that of the second, and goes in the third
        warehouse.run()
        inbound(emulator)
    kills = 0
    for number in count(1):
        # The killed run may bring the one text into the table, after which the other one, of before, is true again.
        edit(emulator, ids, CHANGED)
        is_killed = warehouse.run(killed_before=number)
        edit(emulator, ids, LONG)
        warehouse.run()
        assert warehouse.table == truth(emulator)
        if not is_killed:
            break
        kills += 1
        while not warehouse.remembers:  # a run after one that was killed leaves nothing to the next
            warehouse.run()
        warehouse.run()
        assert warehouse.rows == 0
    assert kills >= 5, "before and after the claim, the file and what it replaces"


def test_the_table_has_everything_whatever_dies(emulator: Emulator, tmp_path: Path, is_full: bool) -> None:
    if not is_full:
        pytest.skip("LINQ_DRILLS=full")
    chance = random.Random(seed())
    ids = long_history(emulator)
    warehouse = Warehouse(emulator, tmp_path)
    for _ in range(RUNS):
        for _ in range(chance.randrange(3)):
            edit(emulator, chance.sample(ids, chance.choice([1, len(ids)])), chance.choice([LONG, CHANGED]))
        ids += [inbound(emulator) for _ in range(chance.randrange(2))]
        dies = chance.random() < 0.7
        warehouse.run(killed_before=chance.randrange(12) if dies else 0, lines=chance.randrange(60) if dies else None)
        if not dies:
            assert warehouse.table == truth(emulator)
    warehouse.run()
    assert warehouse.table == truth(emulator)
