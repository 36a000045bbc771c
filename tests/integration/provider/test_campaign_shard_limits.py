"""Limits for a day over divisions that come and go by chance: no day has more, nobody gets two, and all get one."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random

import pytest

from airflow_provider_linq._internal.version_compat import TaskDeferred
from airflow_provider_linq.campaigns import RateLimits
from airflow_provider_linq.campaigns._limits import Days
from tests.support.airflow import Store
from tests.support.campaigns import DiesAt, Mapped, people
from tests.support.emulator_process import Emulator
from tests.support.seeds import seed

pytestmark = pytest.mark.usefixtures("connect")

HOUR = 3600
DAYS = 3


class Drill:
    """Two tasks with one campaign, which divide it as they like. The limits are those of a line, and of all lines."""

    def __init__(self, emulator: Emulator, folder: Path, rng: Random) -> None:
        self._emulator = emulator
        self._rng = rng
        self._rows = people(40)
        lines = emulator.lines[:2]
        for row in rng.sample(self._rows, 12):
            emulator.control("POST", "inbound", {"line": rng.choice(lines), "from": row["to"], "text": "Hello"})
        self.line_limits = RateLimits(messages_per_day=rng.randint(5, 12), new_chats_per_day=rng.randint(5, 9))
        self.total_limits = RateLimits(messages_per_day=rng.randint(8, 16), new_chats_per_day=rng.randint(6, 16))
        limits = {"line_limits": self.line_limits, "total_limits": self.total_limits}
        given = {"campaign_key": "spring", "from_": lines, "concurrency": 1, **limits}
        self._tasks = [Mapped(folder, self._rows, task_id=name, **given) for name in ("send", "other")]

    def step(self, of: int) -> None:
        """An instance of a division sends, for a while; its process may end in the middle."""
        rng, mapped, number = self._rng, self._rng.choice(self._tasks), self._rng.randint(1, of)
        store = mapped.stores.setdefault(number - 1, DiesAt())
        assert isinstance(store, DiesAt)
        store.left = rng.randint(1, 6) if rng.random() < 0.4 else 10**6
        if rng.random() < 0.1:
            store.values.clear()  # as that of another task
        print(f"{self._emulator.now()}: {mapped.task_id} sends {number}/{of}, writes {store.left}")
        try:
            mapped.run(number, of, rows=self._rows[: rng.randint(20, 40)])
        except (KeyboardInterrupt, TaskDeferred) as error:
            print(repr(error))
        self._emulator.advance(HOUR / 2)

    def finish(self) -> None:
        """One task sends to all who are left, day after day."""
        self._tasks[0].stores[0] = Store()
        for _ in self._rows:
            self._emulator.advance(24 * HOUR)
            try:
                self._tasks[0].run(1, 1)
            except TaskDeferred:
                continue
            return

    def check(self) -> None:
        days: dict[str, Days] = {}
        chats: set[str] = set()
        got: Counter[str] = Counter()
        for message in self._emulator.ledger():
            if message["direction"] == "outbound":
                day = days.setdefault(message["created_at"][:10], {})
                counts = day.setdefault(message["line"], [0, 0])
                counts[0] += 1
                counts[1] += message["chat_id"] not in chats
                got.update(message["to"])
            chats.add(message["chat_id"])
        print(days)
        for lines in days.values():
            totals = [sum(column) for column in zip(*lines.values(), strict=True)]
            for limits, counts in [(self.total_limits, totals), *((self.line_limits, each) for each in lines.values())]:
                assert counts[0] <= (limits.messages_per_day or 0), (limits, lines)
                assert counts[1] <= (limits.new_chats_per_day or 0), (limits, lines)
        assert got == {row["to"]: 1 for row in self._rows}


@pytest.mark.parametrize("turn", range(3))
def test_limits_of_a_day_hold_over_divisions(emulator: Emulator, tmp_path: Path, turn: int) -> None:
    rng = Random(f"{seed()} {turn}")
    drill = Drill(emulator, tmp_path, rng)
    drill.step(of=2)  # of one that was never divided, each task has a count of its own
    for _ in range(DAYS):
        for _ in range(rng.randint(2, 5)):
            drill.step(of=rng.choice([1, 2, 2, 3, 4, 5]))
        emulator.advance(18 * HOUR)
    drill.finish()
    drill.check()
