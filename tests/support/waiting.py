"""Waiting for what happens elsewhere: a test waits for an event, and never for a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["PATIENCE", "until", "wait_until"]

T = TypeVar("T")

#: Seconds after which what has not happened never will, also on a busy machine.
PATIENCE = 300.0


def wait_until(find: Callable[[], T | None], what: str) -> T:
    """Return what a function finds as soon as that is true; fail if it is not so that `what`."""
    deadline, pause = time.monotonic() + PATIENCE, 0.01
    while not (found := find()):
        assert time.monotonic() < deadline, f"after {PATIENCE:g} seconds it is still not so that {what}"
        time.sleep(pause)
        pause = min(0.5, pause * 1.2)
    return found


async def until(is_so: Callable[[], object], what: Callable[[], str] = lambda: "") -> None:
    """Let the event loop go on until it is so; fail with `what` if it never is."""
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline, f"after {PATIENCE:g} seconds it has not come to that: {what()}"
        await asyncio.sleep(0.01)
