"""The moving world of the tap's tests, with a receiver of webhooks beside the poller. Either may be out."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tests.support.archiving_receiver import Receiver
from tests.support.emulator_process import Emulator
from tests.support.histories import Row, World, moment, something
from tests.support.running import Output


class CapturedWorld(World):
    """A world whose events are kept.

    Attributes:
        outages: of the receiver, from when to when.
    """

    def __init__(self, emulator: Emulator, hours: float, switches: dict[str, Any], folder: Path) -> None:
        super().__init__(emulator, hours, switches)
        self.receiver = Receiver(emulator, str(folder)).__enter__()
        self.receiver.subscribe()
        self.outages: list[tuple[datetime, datetime]] = []
        self.events: set[str] = set()

    def close(self) -> None:
        self.receiver.__exit__()
        super().close()

    def receiver_out(self, minutes: float, rng: random.Random) -> None:
        """The receiver refuses everything for a while, in which something happens."""
        start = self.now
        self.receiver.settle()
        self.receiver.is_up = False
        for _ in range(4):
            something(self, rng)
            self.advance(minutes / 4)
        self.receiver.settle()
        self.receiver.is_up = True
        self.outages.append((start, self.now))

    def run(self, **settings: Any) -> Output:
        self.receiver.settle()
        output = super().run(webhook_archive=self.receiver.url, **settings)
        ids = output.ids("webhook_events")
        assert len(ids) == len(set(ids)), "each event once in a run"
        assert self.events.isdisjoint(ids), "and in one run alone"
        self.events |= set(ids)
        for gap in output.records("extraction_gaps"):
            covered = [(moment(span["start"]), moment(span["end"])) for span in gap["covered"]]
            assert covered == sorted(covered)
            assert (gap["archive_coverage"] == "none") is (not covered)
            if gap["archive_coverage"] == "full":
                assert covered == [(moment(gap["gap_start"]), moment(gap["gap_end"]))]
        return output

    def end(self) -> None:
        """A last full sweep: what is missing lies where a gap was told that the archive does not cover."""
        self.run(full_sweep_interval_hours=0)
        for row in self.emulator.ledger():
            emitted = self.emitted.get(row["id"])
            if emitted is None:
                assert self.outages, ("the receiver was never out", row)
                assert self._is_excused(row), ("not excused", row)
                assert not self._is_covered(row), ("covered", row, self.outages, self.gaps)
            elif not self.outages:
                assert emitted["text"] == row["text"], (emitted, row)
                assert emitted["delivery_status"] == row["delivery_status"], (emitted, row)

    def _is_covered(self, row: Row) -> bool:
        """Whether a gap says that the archive holds what was created then."""
        arrived = moment(row["accepted_at"])
        return any(
            moment(span["start"]) <= arrived < moment(span["end"])
            for gap in self.gaps
            if gap["line"] == row["line"]
            for span in gap["covered"]
        )


def live_on(world: CapturedWorld, steps: int, rng: random.Random, *, outages: bool) -> None:
    """Let time pass: somebody writes now and then, the tap runs in time or far too late, the receiver goes and comes.

    Args:
        outages: whether the receiver is out sometimes.
    """
    window = world.window / timedelta(minutes=1)
    for _ in range(steps):
        pause = rng.choice([0.1, 0.3, 0.9, 2.2]) * window * rng.uniform(0.7, 1)
        busy = rng.random() < 0.5
        happenings = int(pause / rng.uniform(3, 12)) if busy else rng.randint(0, 6)
        for _ in range(min(happenings, 40)):
            world.advance(pause / max(happenings, 1))
            something(world, rng)
            if outages and rng.random() < 0.1:
                world.receiver_out(rng.choice([5, 14, 28, 40, 90]), rng)
        if rng.random() < 0.1:
            with world.trouble(rng.choice([r"/v3/chats$", "/messages"]), rng.choice([0.3, 1])):
                world.run()
        else:
            world.run()


__all__ = ["CapturedWorld", "live_on"]
