"""Storms: all that can happen at once, by chance, over several tries of a campaign. The ledger says what came of it.

`LINQ_SEED=<seed>` repeats one storm; threads race, so it may need some goes.
"""

from __future__ import annotations

import os
import random
import signal
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

import pytest

from tests.support.contract_events import Fate, first_sends, gateway, page, refused, to
from tests.support.contract_server import LINES, ContractServer
from tests.support.contract_world import Message
from tests.support.expectations import (
    HOUR,
    MINUTE,
    OUTCOMES,
    TEXT,
    nobody_got_two,
    outcomes,
    recipients,
    reports_are_true,
    rows_for,
)
from tests.support.seeds import GIVEN_SEED, seed
from tests.support.task_child import Ending
from tests.support.task_process import Task, Try

pytestmark = pytest.mark.usefixtures("workers")

FULL = os.environ.get("LINQ_DRILLS") == "full"
#: How many there are, of each kind.
STORMS = {"kind": 40 if FULL else 2, "wild": 300 if FULL else 3}
ZONES = ["Asia/Tokyo", "America/New_York", "Europe/Berlin"]
WINDOW = ("09:00", "18:00")
SENT = {"sent"}

#: What may come in place of an answer to what was accepted, or instead of the acceptance.
KIND_FATES = [
    Fate("now", "reset"),
    Fate("now", "cut"),
    Fate("now", "garbage"),
    Fate("now", refused(502, 3004)),
    Fate("now", page(504)),
    Fate("never", "reset"),
    Fate("never", refused(503, 4004)),
    Fate("never", refused(429, 1007, retry_after=0.2)),
]
WILD_FATES = [
    *KIND_FATES,
    Fate("now", page(403)),
    Fate("now", page(404)),
    Fate("now", gateway(400)),
    Fate("never", page(401)),
    Fate(2.0, refused(504, 3005)),
    Fate(2 * MINUTE, "reset"),
]


@dataclass
class Storm:
    """One campaign and its weather. `is_wild`: with all that the contract leaves open, not only what is likely."""

    folder: Path
    seed: int
    is_wild: bool

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.server = ContractServer(self.folder, **self._knobs())
        self.rows = self._rows()
        self.ever = {*recipients(self.rows)}
        lines = self.rng.choice([LINES[0], LINES, LINES, "any"])
        self.asleep: list[Try] = []
        given = {"from_": lines, "concurrency": self.rng.choice([1, 2, 8])}
        path = str(self.folder / OUTCOMES)
        record: Literal["store", "none"] = self.rng.choice(["store", "store", "none"])
        if self.rng.random() < 0.4 and (self.is_wild or record == "store"):
            given |= {"send_window": WINDOW, "timezone_field": "zone"}
        self.task = Task(
            self.server,
            self.folder,
            "campaign",
            {"message": TEXT, "rows": self.rows, "groups": True, "outcomes_path": path, **given},
            record=record,
            retries=100,
            ahead=self.rng.choice([0, 60, -60]),
        )
        print(f"seed {self.seed}: {record} {given} {self.server.knobs}")

    def _knobs(self) -> dict[str, Any]:
        choice = self.rng.choice
        kind = {
            "key_scope": choice(["account", "line", "chat"]),
            "key_lifetime": choice([None, 31 * MINUTE, 2 * HOUR, 24 * HOUR]),
            "refusals_first": choice([True, False]),
            "newest_first": choice([True, False]),
            "messages_move_chats": choice([True, False]),
            "list_lag": choice([0, 0, 0.3]),
        }
        wild = {
            "key_under_way": choice(["wait", 2009, 2015]),
            "key_known": choice(["replay", "replay", 2015]),
            "list_lag": choice([0, 2, 8]),
            "created_at_skew": choice([0, -30, 30]),
            "to_filter": choice(["all", "direct"]),
        }
        return {**kind, **wild} if self.is_wild else kind

    def _rows(self) -> list[dict[str, Any]]:
        rows = rows_for(self.rng.randint(15, 50))
        for index, row in enumerate(rows):
            row["zone"] = self.rng.choice(ZONES)
            if index % 7 == 6:
                row["to"] += f",friend{index}@example.com"
        return rows

    def run(self) -> None:
        try:
            for _ in range(self.rng.randint(1, 4)):
                self._break_something()
                if not self._one_try():
                    break
                self._edit_something()
            self._end_well()
        finally:
            for one in (*self.asleep, *([self.task.under_way] if self.task.under_way else [])):
                one.send_signal(signal.SIGKILL)
            self.server.close()

    def _break_something(self) -> None:
        """The weather of the next try."""
        server, rng = self.server, self.rng
        server.no_rules()
        everybody = sorted(self.ever, key=sorted)  # a set has another order in each process
        for fate in rng.sample(WILD_FATES if self.is_wild else KIND_FATES, 3):
            match = to(rng.sample(everybody, max(1, len(everybody) // 8)), rng.choice([first_sends, lambda r: True]))
            server.rule(fate, match, times=rng.randint(1, 5))
        server.ineligible = set(rng.sample(LINES, rng.choice([0, 0, 0, 1])))
        server.reputation = {line: rng.choice(["HEALTHY", "HEALTHY", "AT_RISK"]) for line in LINES}
        for people in rng.sample(everybody, 2):
            if len(people) == 1:
                rng.choice([server.opted_out, server.blocked]).update(people)

    def _one_try(self) -> bool:
        """One try, which may be killed or interrupted at an event; whether the campaign goes on."""
        ways = ["kill before the answer", "kill after the answer", "kill at a write", "let it be"]
        if self.is_wild:
            ways.append("interrupt")
        if self.is_wild and self.task.arguments["concurrency"] == 1:
            ways.append("freeze")
        how, nth = self.rng.choice(ways), self.rng.randint(1, 12)
        if self.task.ending is not None and self.task.ending.state == "deferred":
            self.task.skip_wait()
        ending = self._befallen(how, nth)
        print(f"  {how} {nth}: {ending.state} {ending.error[:100]}, {self.server.sent_to().total()} sent")
        if ending.state in ("success", "failed"):
            if self.rng.random() < 0.5:
                return False
            self.task.clear()
        self.server.advance(self.rng.choice([1, 5 * MINUTE, 45 * MINUTE, 3 * HOUR, 13 * HOUR]))
        return True

    def _befallen(self, how: str, nth: int) -> Ending:
        """One try, to which this happens at the n-th message that it sends, or at a write."""
        self.server.no_events()
        if how == "kill at a write":
            return self.task.go(dies_at_write=nth % 4)
        if how == "let it be":
            return self.task.go()
        if how != "freeze":
            act = self.task.interrupt if how == "interrupt" else self.task.kill
            self.server.at("answered" if how == "kill after the answer" else "accepted", nth, act)
            return self.task.go()
        frozen = self.server.at("accepted", nth, self.task.freeze)
        asleep = self.task.start()
        if asleep.ends_before(frozen.happened):
            return self.task.ended(asleep.end())
        self.asleep.append(asleep)
        return self.task.ended(Ending("killed"))

    def _edit_something(self) -> None:
        """Rows come and change places; where it is wild, they go, where not, the next try is on another machine."""
        if self.rng.random() < 0.5:
            more = rows_for(self.rng.randint(1, 8), 1000 * len(self.ever))
            self.rows = [*self.rows, *({**row, "zone": self.rng.choice(ZONES)} for row in more)]
        if not self.is_wild and self.rng.random() < 0.2:
            self.task.lose_files(f"{OUTCOMES}.parts")
        if self.is_wild and self.rng.random() < 0.5:
            self.rows = self.rng.sample(self.rows, len(self.rows) - self.rng.randint(1, 5))
        self.rng.shuffle(self.rows)
        self.ever |= {*recipients(self.rows)}
        self.task.arguments["rows"] = self.rows

    def _end_well(self) -> None:
        """The sky clears; the campaign comes to its end, and to what is due to it."""
        server = self.server
        server.no_rules()
        server.no_events()
        server.ineligible.clear()
        server.advance(15 * MINUTE)
        if self.task.ending is None or self.task.ending.state not in ("success", "failed"):
            self.task.finish(waits=12, tries=6, between=15 * MINUTE)
        assert self.task.ending is not None
        assert self.task.ending.state == "success", self.task.ending
        server.advance(45 * MINUTE)
        for one in self.asleep:
            one.send_signal(signal.SIGCONT)
            one.end()
        nobody_got_two(server)
        told = {people: row["status"] for people, row in outcomes(self.folder / OUTCOMES).items()}
        wanted = set(recipients(self.rows))
        if not self.is_wild:
            told = {people: status for people, status in told.items() if people in wanted}
        # Whose row is gone is not written to any more, so their message can't be told from others.
        reports_are_true(server, told, wanted, may_be_unknown=self.ever - wanted)
        assert not {people for people in wanted if told[people] in ("pending", "failed")}
        if "send_window" in self.task.arguments:
            zones = {frozenset(row["to"].split(",")): row["zone"] for row in self.rows}
            late = [row for row in server.ledger if row.people in zones and not is_open(row, zones[row.people])]
            assert not late or self.is_wild, f"{len(late)} messages were sent while the window was closed"


def is_open(row: Message, zone: str) -> bool:
    at = datetime.fromtimestamp(row.accepted, timezone.utc).astimezone(ZoneInfo(zone))
    # The window is that of the moment of sending; a request may wait for its repeat.
    return WINDOW[0] <= f"{at:%H:%M}" <= WINDOW[1]


@pytest.mark.parametrize("weather", ["kind", "wild"])
def test_storms(tmp_path_factory: pytest.TempPathFactory, workers: None, weather: str) -> None:
    first = seed()
    for number in range(1 if GIVEN_SEED is not None else STORMS[weather]):
        folder = tmp_path_factory.mktemp("storm")
        print(folder)
        Storm(folder, first + number, weather == "wild").run()
