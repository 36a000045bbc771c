"""The virtual clock and its heap of scheduled actions.

Every time in the emulator is an integer of milliseconds since the epoch, read from one `Clock`. A delivery, an
expiry or a retry is an action on its heap. The clock runs each action at its due time and in order, however far
it jumped.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from typing import Literal

__all__ = [
    "DAY",
    "EARLIEST",
    "HOUR",
    "LATEST",
    "MINUTE",
    "SECOND",
    "Action",
    "Clock",
    "ClockError",
    "DateForm",
    "http_date",
    "iso",
    "iso_or_none",
    "parse_iso",
]

SECOND = 1000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

EARLIEST = 0
"""The first time that the clock shows: 1970-01-01."""
LATEST = 29_348_006_400 * SECOND
"""The last one: 2900-01-01. What is scheduled from there is still before 3000, where some systems' calendars end."""

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

Action = Callable[[], None]
DateForm = Literal["imf", "asctime", "numeric_zone"]


# The end of a timestamp for each millisecond of a minute. Lists show several timestamps a message, and two look-ups
# are several times as fast as formatting.
_WITHIN_MINUTE = tuple(f"{ms // SECOND:02d}.{ms % SECOND:03d}Z" for ms in range(MINUTE))


@lru_cache(maxsize=16384)
def _to_minute(minutes: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:", time.gmtime(minutes * 60))


@lru_cache(maxsize=16)
def _http_date(seconds: int, form: DateForm) -> str:
    # strftime's %a and %b follow the locale, so the names are spelled out here.
    utc = time.gmtime(seconds)
    day = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")[utc.tm_wday]
    months = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
    month = months[utc.tm_mon - 1]
    clock = time.strftime("%H:%M:%S", utc)
    if form == "asctime":
        return f"{day} {month} {utc.tm_mday:2d} {clock} {utc.tm_year:04d}"
    zone = "GMT" if form == "imf" else "-0000"
    return f"{day}, {utc.tm_mday:02d} {month} {utc.tm_year:04d} {clock} {zone}"


def iso(ms: int) -> str:
    """Format a time as RFC 3339 in UTC with milliseconds, as the API does."""
    return _to_minute(ms // MINUTE) + _WITHIN_MINUTE[ms % MINUTE]


def iso_or_none(ms: int | None) -> str | None:
    """Format a time, or return None for None."""
    return None if ms is None else iso(ms)


def http_date(ms: int, form: DateForm = "imf") -> str:
    """Format a time as the value of a ``Date`` header.

    Args:
        ms: The time.
        form: IMF-fixdate or asctime, the forms of RFC 9110, or with the zone ``-0000``, as mail has it.
    """
    return _http_date(ms // SECOND, form)


def parse_iso(text: str) -> int:
    """Parse an RFC 3339 time with an offset into milliseconds.

    Raises:
        ValueError: The text is not such a time, or not one that the clock can show.
    """
    parsed = datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith(("Z", "z")) else text)
    if parsed.tzinfo is None:
        raise ValueError("a time needs an offset, such as Z")
    ms = round((parsed - _EPOCH) / timedelta(milliseconds=1))
    if not EARLIEST <= ms <= LATEST:
        raise ValueError("a time must lie between 1970 and 2900")
    return ms


class ClockError(ValueError):
    """A time that the clock cannot show."""


class Clock:
    """Virtual time. It follows the real time by default; it can be frozen, moved forward and sped up.

    Args:
        start: First reading in milliseconds; the real time if omitted.
        frozen: Whether the clock stands still until it is moved.
        speed: Virtual seconds per real second while the clock is not frozen.
    """

    def __init__(self, start: int | None = None, *, frozen: bool = False, speed: float = 1.0) -> None:
        self._base = round(time.time() * SECOND) if start is None else start
        self._since = time.monotonic()
        self.frozen = frozen
        self.speed = speed
        self._action_time: int | None = None
        self._pinned: int | None = None
        self._heap: list[tuple[int, int, Action]] = []
        self._scheduled = 0
        self.on_change: Action = lambda: None

    def now(self) -> int:
        """The current virtual time in milliseconds. Within an action it is the time at which the action was due."""
        return self._reading() if self._action_time is None else self._action_time

    @contextmanager
    def held(self) -> Iterator[int]:
        """One reading, which stays the same within the ``with`` unless the clock is set: a request has one time."""
        before = self._pinned
        self._pinned = self._reading()
        try:
            yield self._pinned
        finally:
            if before is None:
                self._pinned = None

    def pin(self, reading: int) -> None:
        """Let the clock show a time, until `unpin` or until it is set, while requests of that time are made again."""
        self._pinned = reading

    def unpin(self) -> None:
        """Let the clock go on from the time that it shows."""
        if self._pinned is not None:
            self._base, self._since, self._pinned = self._pinned, time.monotonic(), None

    def _reading(self) -> int:
        if self._pinned is not None:
            return self._pinned
        if self.frozen:
            return self._base
        return min(LATEST, self._base + int((time.monotonic() - self._since) * SECOND * self.speed))

    def call_at(self, due: int, action: Action) -> None:
        """Schedule an action at a virtual time. Actions of the same time run in the order they were added."""
        first = self._heap[0][0] if self._heap else None
        self._scheduled += 1
        heapq.heappush(self._heap, (due, self._scheduled, action))
        if first is None or due < first:
            self.on_change()

    def run_due(self) -> None:
        """Run every due action at its own time, including those that these actions add."""
        if not self._heap or self._action_time is not None:
            return
        target = self._reading()
        while self._heap and self._heap[0][0] <= target:
            due, _, action = heapq.heappop(self._heap)
            self._action_time = due
            try:
                action()
            finally:
                self._action_time = None

    def seconds_until_due(self) -> float | None:
        """Real seconds until the next action; None if there is no action or the clock is frozen."""
        if not self._heap or self.frozen:
            return None
        return max(0.0, (self._heap[0][0] - self._reading()) / SECOND / self.speed)

    def set(
        self,
        *,
        frozen: bool | None = None,
        now: int | None = None,
        advance: int = 0,
        speed: float | None = None,
    ) -> None:
        """Change the clock and run what becomes due.

        Args:
            frozen: Freeze or unfreeze it; None leaves it.
            now: New reading in milliseconds; None leaves it.
            advance: Milliseconds added to the reading.
            speed: New speed; None leaves it.

        Raises:
            ClockError: It would show a time before `EARLIEST` or after `LATEST`. It is unchanged.
        """
        base = (self._reading() if now is None else now) + advance
        if not EARLIEST <= base <= LATEST:
            raise ClockError("the clock must stay between 1970 and 2900")
        self._base = base
        self._pinned = None if self._pinned is None else base
        self._since = time.monotonic()
        self.frozen = self.frozen if frozen is None else frozen
        self.speed = self.speed if speed is None else speed
        self.run_due()
        self.on_change()

    def clear(self) -> None:
        """Drop every scheduled action."""
        self._heap.clear()
