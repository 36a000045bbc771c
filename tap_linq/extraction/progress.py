"""How far a pass is, for somebody who watches the log."""

from __future__ import annotations

import logging
import time
from datetime import timedelta
from typing import Final

from linq_client import RetentionWindow
from tap_linq.extraction.plan import format_hours

__all__ = ["Progress"]

#: Seconds between two lines.
INTERVAL: Final = 10.0

log = logging.getLogger(__name__)


class Progress:
    """Counts of a pass over a line, logged every `INTERVAL` seconds at the most.

    Args:
        oldest_unread: how old the oldest message can be that no pass has read, when the pass begins; None where that
            is not known or does not matter.

    Attributes:
        chats: read so far.
        messages: read so far.
        emitted: messages emitted so far.
        total: chats to read; None until the listing is through.
    """

    def __init__(self, line: str, oldest_unread: timedelta | None, window: RetentionWindow | None) -> None:
        self.chats = 0
        self.messages = 0
        self.emitted = 0
        self.total: int | None = None
        self._line = line
        self._oldest_unread = oldest_unread
        self._window = window
        self._started = self._logged = time.monotonic()

    def tick(self) -> None:
        """Log a line if it is time."""
        now = time.monotonic()
        if now - self._logged < INTERVAL:
            return
        self._logged = now
        seconds = now - self._started
        log.info(
            "line %s: %d of %s chats, %d messages read, %.0f a second%s%s",
            self._line,
            self.chats,
            "?" if self.total is None else self.total,
            self.messages,
            self.messages / seconds,
            self._left(seconds),
            self._age(seconds),
        )

    def _left(self, seconds: float) -> str:
        if not self.total or not self.chats:
            return ""
        return f", about {seconds / self.chats * (self.total - self.chats):.0f} s left"

    def _age(self, seconds: float) -> str:
        if self._oldest_unread is None or self._window is None:
            return ""
        age = self._oldest_unread + timedelta(seconds=seconds)
        return f", the oldest unread message is at most {format_hours(age)} old of {self._window.hours:g} h"
