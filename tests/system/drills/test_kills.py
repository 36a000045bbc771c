"""`kill -9` at random events: the next run starts from the last STATE that reached the loader, and nothing is missing.

The loader is one that keeps each record it has read and, as Meltano does, the last STATE line that came whole.
"""

from __future__ import annotations

import json
import random
import signal
import time
from pathlib import Path
from typing import Any

from tests.support.emulator_process import Emulator
from tests.support.running import PERSON, config_for, inbound, set_window
from tests.support.running import seed as fill
from tests.support.seeds import seed
from tests.support.tap_runs import start_command

KILLS = {True: 50, False: 10}


class Loader:
    """What is left of the runs on the other side of the pipe."""

    def __init__(self, emulator: Emulator, folder: Path) -> None:
        self.messages: set[str] = set()
        self.state: dict[str, Any] | None = None
        self._emulator = emulator
        self._folder = folder / "run"
        self._config = folder / "config.json"
        self._config.write_text(json.dumps(config_for(emulator)))
        self._state = folder / "state.json"

    def run(self, *, kill_at_request: int | None = None, kill_at_line: int | None = None) -> bool:
        """Run the tap, and kill it when it has made so many requests or written so many lines; whether it was."""
        arguments = ["--config", str(self._config)]
        if self.state is not None:
            self._state.write_text(json.dumps(self.state))
            arguments += ["--state", str(self._state)]
        before = self._requests()
        run = start_command(arguments, self._folder)
        while not run.is_over():
            if kill_at_request is not None and self._requests() - before >= kill_at_request:
                run.send(signal.SIGKILL)
            if kill_at_line is not None and (self._folder / "out.singer").read_bytes().count(b"\n") >= kill_at_line:
                run.send(signal.SIGKILL)
            time.sleep(0.01)
        ended = run.end()
        for line in ended.output.read_bytes().splitlines(keepends=True):
            if line.endswith(b"\n"):
                self._take(json.loads(line))
        return ended.code == -signal.SIGKILL

    def _requests(self) -> int:
        return sum(row["count"] for row in self._emulator.request_summary())

    def _take(self, message: dict[str, Any]) -> None:
        if message["type"] == "STATE":
            self.state = message["value"]
        elif message["type"] == "RECORD" and message["stream"] == "messages":
            self.messages.add(message["record"]["id"])


def test_nothing_is_missing_after_kills(emulator: Emulator, tmp_path: Path, is_full: bool) -> None:
    rng = random.Random(seed())
    set_window(emulator, 24)
    fill(emulator, 60, 20, hours=1)
    emulator.control("POST", "faults", {"kind": "latency", "seconds": 0.01})
    loader = Loader(emulator, tmp_path)
    kills = 0
    while kills < KILLS[is_full]:
        if rng.random() < 0.5:
            killed = loader.run(kill_at_request=rng.randint(0, 60))
        else:
            killed = loader.run(kill_at_line=rng.randint(1, 1500))
        kills += killed
        emulator.advance(120)
        inbound(emulator, **{"from": rng.choice([PERSON, "+12125550101", "+12125550102"])})
        emulator.advance(120)
    assert not loader.run()
    assert loader.messages == {row["id"] for row in emulator.ledger()}
