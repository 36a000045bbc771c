"""An account to measure on: an emulator in another process, filled before anything is measured."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import requests

from benchmarks.measure import Run, best_run
from linq_emulator.testing import EmulatorOptions, EmulatorProcess

LINE = "+12025550101"
SEED = int(os.environ.get("LINQ_SEED", "1"))
"""Of the messages of every account."""
#: With this text, a message is 1 kB of JSON: 18 fields, one of them a handle of 8 and one a part of 3.
KILOBYTE_TEXT = 310
_PORTION = 50_000
"""Messages that one request makes: seconds of work, where a request is given up after two minutes."""


@contextmanager
def account(
    chats: int,
    per_chat: int,
    *,
    text_bytes: int = KILOBYTE_TEXT,
    hours: float = 20,
    ephemeral_hours: float | None = None,
) -> Iterator[EmulatorProcess]:
    """An emulator with one line and so many chats with so many messages each, encoded beforehand."""
    options: EmulatorOptions = {"seed": SEED, "lines": [LINE]}
    if ephemeral_hours is not None:
        options["ephemeral_hours"] = ephemeral_hours
    with EmulatorProcess(**options) as emulator:
        portion = max(1, _PORTION // max(1, per_chat))
        for first in range(0, chats, portion):
            some = min(portion, chats - first)
            emulator.seed(some, messages_per_chat=per_chat, text_bytes=text_bytes, hours=hours, seed=SEED, warm=True)
        yield emulator


def start_up(program: list[str], by: Callable[[Run], float]) -> Run:
    """What a program takes on an account without chats: its imports, mostly. Of several runs, the best by `by`."""
    with account(0, 0) as emulator:
        return best_run(program, emulator, by)


def slow_down(emulator: EmulatorProcess, seconds: float) -> None:
    """Let each request to the API wait, as long as the network would."""
    emulator.fault("latency", seconds=seconds)


def get(emulator: EmulatorProcess, path: str, **params: Any) -> Any:
    """Ask the API for something."""
    headers = {"Authorization": f"Bearer {emulator.api_key}"}
    answer = requests.get(f"{emulator.base_url}/v3/{path}", params=params, headers=headers, timeout=60)
    answer.raise_for_status()
    return answer.json()
