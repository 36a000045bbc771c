"""A world that moves between the runs of the tap, and what must hold of them whatever happens in it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import Any

from linq_client import LinqClient
from tests.support.emulator_process import Emulator
from tests.support.running import Output, run_tap, set_window

START = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
PEOPLE = 6

Row = dict[str, Any]


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


class World:
    """An emulator on a frozen clock, what its contacts do, and all that the runs of a tap have emitted.

    Args:
        hours: the window of all lines.
        switches: of the emulator.
    """

    def __init__(self, emulator: Emulator, hours: float, switches: dict[str, Any]) -> None:
        self.emulator = emulator
        self.window = timedelta(hours=hours)
        self.now = START
        self.state: dict[str, Any] | None = None
        self.emitted: dict[str, Row] = {}
        self.gaps: list[Row] = []
        self.passed: dict[str, datetime] = {}
        self.runs = 0
        emulator.control("POST", "reset")
        emulator.control("POST", "clock", {"now": "2026-03-01T12:00:00Z", "freeze": True})
        emulator.control("PATCH", "switches", switches)
        set_window(emulator, hours)
        self._client = LinqClient(emulator.api_key, base_url=emulator.base_url)

    def close(self) -> None:
        self._client.close()

    # What happens.

    def advance(self, minutes: float) -> None:
        seconds = round(minutes * 60)  # the server's clock shows whole ones
        self.now += timedelta(seconds=seconds)
        self.emulator.advance(seconds)

    def receive(self, person: int, hours_late: float | None = None) -> None:
        """A message comes in; if it is late, it was sent before and the platform has recovered it."""
        body: Row = {
            "from": f"+1212555010{person % PEOPLE}",
            "line": self.emulator.lines[person % len(self.emulator.lines)],
            "text": f"message at {self.now.isoformat()}",
        }
        if hours_late is not None:
            sent = self.now - timedelta(hours=hours_late)
            body |= {"sent_at": sent.isoformat(), "reconciled": True}
        self.emulator.control("POST", "inbound", body)

    def send(self, number: int) -> None:
        chats = sorted({row["chat_id"] for row in self.live()})
        if chats:
            self._client.messages.send(chats[number % len(chats)], "An answer.")

    def edit(self, number: int) -> None:
        inbound = [row for row in self.live() if row["direction"] == "inbound"]
        if inbound:
            text = f"edited at {self.now.isoformat()}"
            body = {"message_id": inbound[number % len(inbound)]["id"], "text": text}
            self.emulator.control("POST", "edits", body)

    def react(self, number: int) -> None:
        inbound = [row for row in self.live() if row["direction"] == "inbound"]
        if inbound:
            row = inbound[number % len(inbound)]
            body = {"message_id": row["id"], "from": row["from"], "type": ("love", "like", "laugh")[number % 3]}
            self.emulator.control("POST", "reactions", body)

    def live(self) -> list[Row]:
        return [row for row in self.emulator.ledger() if row["expired_at"] is None]

    # What the tap does, and what must hold.

    def run(self, **settings: Any) -> Output:
        """Run the tap at this moment and check what it did; then a little time passes."""
        self.runs += 1
        hours = self.window / timedelta(hours=1)
        output = run_tap(self.emulator, state=self.state, retention_window_hours=hours, **settings)
        live = self.live()
        ids = output.ids()
        assert len(ids) == len(set(ids)), "exactly once within a run"
        self.emitted |= {row["id"]: row for row in output.records("messages")}
        found = output.records("extraction_gaps")
        bookmark = self.now.strftime("%Y-%m-%dT%H:%M:%SZ")
        complete = [line for line in self.emulator.lines if output.bookmarks().get(line) == bookmark]
        if output.error is None:
            assert complete == self.emulator.lines
        for line in self.emulator.lines:
            gaps = [gap for gap in found if gap["line"] == line]
            if line in complete:
                missing = [row for row in live if row["line"] == line and row["id"] not in self.emitted]
                assert not missing, "whatever a complete pass could have read is emitted"
                self._check_gaps(line, gaps)
                self.passed[line] = self.now
            else:
                assert gaps == []
        self.gaps += found
        self.state = output.state or self.state
        self.advance(1)
        return output

    def _check_gaps(self, line: str, gaps: list[Row]) -> None:
        """Each gap that is real is told, and no other."""
        kept_from, last = self.now - self.window, self.passed.get(line)
        if last is None:
            assert [(gap["gap_start"], gap["reason"]) for gap in gaps] == [(None, "first_run")]
        elif last < kept_from:
            assert [moment(gap["gap_start"]) for gap in gaps] == [last]
        else:
            assert gaps == []
        assert all(moment(gap["gap_end"]) == kept_from for gap in gaps)

    def end(self) -> None:
        """A last full sweep: then all is as the API has it, and what is missing lies in a gap that was told."""
        self.run(full_sweep_interval_hours=0)
        ledger = self.emulator.ledger()
        for row in ledger:
            if row["expired_at"] is None:
                emitted = self.emitted[row["id"]]
                assert emitted["text"] == row["text"]
                assert emitted["delivery_status"] == row["delivery_status"]
                shown = [one["id"] for part in emitted["parts"] for one in part["reactions"] or ()]
                assert shown == [one["id"] for one in row["reactions"]]
            elif row["id"] not in self.emitted:
                assert self._is_excused(row), row

    def _is_excused(self, row: Row) -> bool:
        """It lay in a gap, or was recovered so late that it never lived for a whole window."""
        created = moment(row["created_at"])
        return created < moment(row["accepted_at"]) or any(
            gap["line"] == row["line"]
            and (gap["gap_start"] is None or moment(gap["gap_start"]) <= created)
            and created < moment(gap["gap_end"])
            for gap in self.gaps
        )

    @contextmanager
    def trouble(self, path: str, probability: float) -> Iterator[None]:
        """Let requests to a path fail in a way that no retry helps against."""
        fault = {"kind": "status", "status": 403, "code": 2005, "path": path, "probability": probability}
        self.emulator.control("POST", "faults", fault)
        yield
        self.emulator.control("DELETE", "faults")


def live_on(world: World, days: float, rng: random.Random, *, longest_pause: float) -> None:
    """Let days pass: somebody writes, changes or reacts every now and then, and the tap runs on an uneven schedule.

    Args:
        longest_pause: between two runs, in windows.
    """
    end = world.now + timedelta(days=days)
    while world.now < end:
        pause = rng.uniform(0.02, 1) * longest_pause * world.window / timedelta(minutes=1)
        happenings = rng.randint(0, 5)
        for _ in range(happenings):
            world.advance(pause / (happenings + 1))
            something(world, rng)
        world.advance(pause / (happenings + 1))
        if rng.random() < 0.1:
            with world.trouble(rng.choice([r"/v3/chats$", "/messages"]), rng.choice([0.3, 1])):
                world.run()
        else:
            world.run()


def something(world: World, rng: random.Random) -> None:
    number = rng.randrange(1000)
    kind = rng.choice(["message", "message", "message", "late", "send", "edit", "react"])
    if kind == "message":
        world.receive(number)
    elif kind == "late":
        world.receive(number, hours_late=rng.uniform(0, 1.2) * (world.window / timedelta(hours=1)))
    elif kind == "send":
        world.send(number)
    elif kind == "edit":
        world.edit(number)
    else:
        world.react(number)
