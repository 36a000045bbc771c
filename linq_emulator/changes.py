"""Wakes those who watch an emulator: the page of the inbox, and requests that wait for a message."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Changes"]


class Changes:
    """Counts what may have changed something, and wakes those who watch."""

    def __init__(self) -> None:
        self.number = 0
        """Of the last change. It only grows."""
        self._watchers: set[asyncio.Event] = set()
        self.is_closed = False

    def notify(self) -> None:
        """Something may have changed."""
        self.number += 1
        for event in self._watchers:
            event.set()

    def close(self) -> None:
        """The server ends: those who watch return."""
        self.is_closed = True
        self.notify()

    @contextmanager
    def watch(self) -> Iterator[asyncio.Event]:
        """An event that is set with each change, until the end of the ``with``."""
        event = asyncio.Event()
        self._watchers.add(event)
        try:
            yield event
        finally:
            self._watchers.discard(event)
