"""A day of hourly runs: how many rows come out for each version of a message, with `seen_path` and without."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from typing import Any, NamedTuple

from benchmarks.account import LINE, SEED, account
from benchmarks.measure import TAP, RunError, run
from benchmarks.table import Found, at_most, beside
from linq_emulator.testing import EmulatorProcess

HOURS = 24
CHATS = 50
CHANGED_SHARE = 0.05


class Day(NamedTuple):
    """What a day came to.

    Attributes:
        rows: of `messages` that came out.
        versions: of messages that there were to emit.
        cpu: seconds of CPU of all runs; `sweeps` of those that were full sweeps.
        state_size: bytes of the largest STATE.
        peak: bytes of memory that a run took at most.
    """

    rows: int
    versions: int
    cpu: float
    sweeps: float
    state_size: int
    peak: float


def day(quick: bool) -> Found:
    """A day, 24 hours' window, a run an hour: rows for each distinct version of a message."""
    messages = 960 if quick else 9_600
    with tempfile.TemporaryDirectory() as folder:
        plain, seen = _day(messages, {}), _day(messages, {"seen_path": folder})
    what = f"{messages:,} messages, {CHANGED_SHARE:.0%} changed later, {HOURS} runs: rows / distinct versions"
    found = Found()
    found.rows = [
        at_most(f"{what}, with seen_path", 1.1, seen.rows / seen.versions),
        beside(f"{what}, without", plain.rows / plain.versions),
        at_most("CPU of the full sweeps of that day, with seen_path / without", 1.15, seen.sweeps / plain.sweeps),
        beside("CPU of all runs of that day, with seen_path / without", seen.cpu / plain.cpu),
        beside("peak memory of a run of that day, with seen_path / without", seen.peak / plain.peak),
        beside("largest STATE with seen_path", seen.state_size, " bytes"),
    ]
    found.figures = [
        f"{name}: {one.rows:,} rows of {one.versions:,} versions, {one.cpu:.1f} s of CPU, "
        f"{one.sweeps:.1f} s in sweeps, at most {one.peak / 1e6:.1f} MB"
        for name, one in (("without seen_path", plain), ("with seen_path", seen))
    ]
    return found


def _day(messages: int, settings: dict[str, Any]) -> Day:
    rows = versions = state_size = 0
    cpu = sweeps = peak = 0.0
    state: Any = None
    swept: str | None = None
    with account(0, 0, ephemeral_hours=24) as emulator:
        for new_versions in hours_of(emulator, messages, HOURS):
            versions += new_versions
            one = run(TAP, emulator, state, **settings)
            state = one.written.state
            rows += one.written.messages
            cpu += one.cpu
            peak = max(peak, one.peak)
            state_size = max(state_size, one.written.largest_state)
            (partition,) = state["bookmarks"]["messages"]["partitions"]
            if partition["swept_at"] != swept:
                swept = partition["swept_at"]
                sweeps += one.cpu
    if rows < versions:
        raise RunError(f"{rows} rows came out of {versions} versions")
    return Day(rows, versions, cpu, sweeps, state_size, peak)


def hours_of(emulator: EmulatorProcess, messages: int, hours: int) -> Iterator[int]:
    """Let so many messages come in over so many hours, and others change; yield each hour how many versions are new."""
    chance = random.Random(SEED)
    an_hour = messages // hours
    known: list[str] = []
    for _ in range(hours):
        changed = chance.sample(known, min(int(an_hour * CHANGED_SHARE), len(known)))
        for message_id in changed:
            emulator.edit_message(message_id, f"changed {chance.random()}")
        new = [_inbound(emulator, chance.randrange(CHATS)) for _ in range(an_hour)]
        known += new
        emulator.advance(3600)
        yield len(changed) + len(new)


def _inbound(emulator: EmulatorProcess, chat: int) -> str:
    return str(emulator.inbound(f"+1212555{100 + chat:04}", "An answer.", line=LINE)["id"])
