"""A campaign with all that a campaign may have, once in one task and once in shards: nobody can tell them apart."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_linq._internal.version_compat import TaskDeferred
from airflow_provider_linq.campaigns import DeliveryReport
from airflow_provider_linq.campaigns._shards import Shard
from tests.support.airflow import Store
from tests.support.campaigns import campaign, context, people
from tests.support.emulator_process import Emulator

pytestmark = pytest.mark.usefixtures("connect")

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
MINUTE = 60

ASLEEP = "America/Los_Angeles"  # until 17:00 UTC
ROWS: list[dict[str, Any]] = [
    *({**row, "zone": ASLEEP if index % 4 == 3 else "UTC"} for index, row in enumerate(people(24))),
    *(
        {"to": f"ann{index}@example.com; ben@example.com", "name": f"Group {index}", "zone": "UTC"}
        for index in range(6)
    ),
    {"to": ["ann0@example.com", "cat@example.com"], "name": "List", "zone": None},
    {"to": "no handle", "name": "Nobody", "zone": "UTC"},
    {"to": "dan@example.com", "name": None, "zone": "UTC"},
    {"to": "PERSON9@example.com", "name": "Twice", "zone": "UTC"},
]
SUPPRESSED = ["person5@example.com", "person6@example.com", "ann1@example.com"]
OPTED_OUT = "person8@example.com"
#: Whose first message fails: two people, and a group, in both shards.
FAILED = [["person0@example.com"], ["person4@example.com"], ["ann4@example.com", "ben@example.com"]]
#: Whose second one fails, too.
FAILED_TWICE = FAILED[1]


class Play:
    """All tries of all instances of a campaign, from noon on."""

    def __init__(self, emulator: Emulator, folder: Path, shards: Sequence[str | None]) -> None:
        self.emulator = emulator
        self.path = folder / "outcomes.jsonl"
        self.shards = shards
        self.stores = [Store() for _ in shards]
        self.results: dict[int, Any] = {}
        emulator.control("PATCH", "switches", {"automatic_delivery": False})
        emulator.control("POST", "inbound", {"line": emulator.lines[1], "from": OPTED_OUT, "text": "STOP"})
        emulator.control("POST", "inbound", {"line": emulator.lines[1], "from": ROWS[2]["to"], "text": "Hello"})

    def all_go(self, *, try_number: int, resumed: bool = False) -> None:
        """Each instance runs until it ends, or waits."""
        for index, shard in enumerate(self.shards):
            if index in self.results:
                continue
            task = campaign(
                rows=ROWS,
                groups=True,
                on_invalid="skip",
                suppression=SUPPRESSED,
                from_=self.emulator.lines[:2],
                campaign_key="spring",
                send_window="09:00-20:00",
                timezone_field="zone",
                not_after=NOON + timedelta(hours=3),
                resend_failed=True,
                delivery_report=DeliveryReport(delivered_share=1, timeout=30 * MINUTE, poll_interval=10 * MINUTE),
                outcomes_path=str(self.path),
                shard=shard,
            )
            states = {number: "success" if number in self.results else "running" for number in range(len(self.shards))}
            where = context(
                self.stores[index],
                due=NOON,
                map_index=-1 if shard is None else index,
                task_id="campaign",
                try_number=try_number,
                states={-1: "running"} if shard is None else states,
            )
            try:
                self.results[index] = task.execute_complete(where) if resumed else task.execute(where)
            except TaskDeferred:
                continue

    def receipts(self, status: str, wanted: Callable[[list[str]], bool]) -> None:
        """What becomes of the latest messages to those who are wanted."""
        latest = {tuple(row["to"]): row["id"] for row in self.emulator.ledger() if row["direction"] == "outbound"}
        for to, message in latest.items():
            if wanted([*to]):
                self.emulator.control("POST", "receipts", {"message_id": message, "status": status})

    def play(self) -> None:
        self.all_go(try_number=1)  # all but those who are asleep
        self.receipts("failed", lambda to: sorted(to) in FAILED)
        self.emulator.advance(10 * MINUTE)
        self.all_go(try_number=2)  # as where the worker of the waiting task is gone: what has failed goes again
        self.emulator.advance(10 * MINUTE)
        self.receipts("failed", lambda to: to == FAILED_TWICE)
        self.receipts("delivered", lambda to: len(to) == 1 and to not in ([ROWS[2]["to"]], FAILED_TWICE))
        self.emulator.advance(180 * MINUTE)
        for _ in range(5):  # too late for those who are asleep; then deliveries are waited for
            self.all_go(try_number=2, resumed=True)
            self.emulator.advance(10 * MINUTE)
        assert len(self.results) == len(self.shards)

    @property
    def outcomes(self) -> list[dict[str, Any]]:
        """All but the ids of the platform."""
        rows = [json.loads(line) for line in self.path.read_text().splitlines()]
        ids = dict.fromkeys(("chat_id", "message_id", "replaces"))
        return [{**row, **{name: row[name] is not None for name in ids}} for row in rows]

    @property
    def ledger(self) -> Counter[str]:
        """Each message, without ids and the second in which it went."""
        kept = ("direction", "line", "to", "parts")
        return Counter(json.dumps({name: row[name] for name in kept}) for row in self.emulator.ledger())

    @property
    def counts(self) -> Counter[str]:
        """The numbers of all results, added up."""
        found: Counter[str] = Counter()
        for result in self.results.values():
            for name, value in result.items():
                if isinstance(value, dict):
                    found.update({f"{name}.{each}": number for each, number in value.items()})
                elif isinstance(value, int):
                    found[name] += value
        return found


def test_shards_do_what_one_task_does(emulator: Emulator, tmp_path: Path) -> None:
    plays = []
    for number, shards in enumerate([[None], ["1/2", "2/2"]]):
        emulator.restart()
        (tmp_path / str(number)).mkdir()
        play = Play(emulator, tmp_path / str(number), shards)
        play.play()
        plays.append((play.outcomes, play.ledger, play.counts))
    one, two = plays
    assert two[0] == one[0]
    assert two[1] == one[1]
    assert two[2] == one[2]
    counts = one[2]
    assert (counts["skipped.late"], counts["skipped.suppressed"], counts["skipped.opted_out"]) == (6, 3, 1)
    assert (counts["skipped.invalid"], counts["skipped.duplicate"], counts["failed"]) == (2, 1, 0)
    assert sum(row["replaces"] for row in one[0]) == len(FAILED)
    assert (counts["report.failed"], counts["report.sent"]) == (1, counts["sent"])
    assert 0 < sum(Shard(1, 2).has(row["to"]) for row in one[0] if row["replaces"]) < len(FAILED)
