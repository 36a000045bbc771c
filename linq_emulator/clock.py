"""The virtual clock and the heap of what is due on it.

Every time in the emulator is an integer of milliseconds since the epoch, read from one `Clock`. Whatever
happens later (a delivery, an expiry, a retry) is an action on its heap, so that moving the clock applies
each due action at its own time and in order, however far the clock jumped.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable
from datetime import datetime, timezone
from functools import lru_cache

SECOND = 1000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

Action = Callable[[], None]


# The tail of a timestamp for each millisecond of a minute: lists show several timestamps for each message, and
# two look-ups are several times as fast as formatting.
_WITHIN_MINUTE = tuple(f"{rest // SECOND:02d}.{rest % SECOND:03d}Z" for rest in range(MINUTE))


@lru_cache(maxsize=16384)
def _to_minute(minutes: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:", time.gmtime(minutes * 60))


@lru_cache(maxsize=16)
def _http_date(seconds: int) -> str:
    # Names are spelled out here because strftime's %a and %b follow the locale.
    moment = time.gmtime(seconds)
    day = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")[moment.tm_wday]
    months = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
    month = months[moment.tm_mon - 1]
    return f"{day}, {moment.tm_mday:02d} {month} {moment.tm_year} {time.strftime('%H:%M:%S', moment)} GMT"


def iso(moment: int) -> str:
    """RFC 3339 in UTC with milliseconds, as every timestamp of the API."""
    return _to_minute(moment // MINUTE) + _WITHIN_MINUTE[moment % MINUTE]


def iso_or_none(moment: int | None) -> str | None:
    """`iso`, for a time that may not have come yet."""
    return None if moment is None else iso(moment)


def http_date(moment: int) -> str:
    """The value of a ``Date`` header (RFC 9110)."""
    return _http_date(moment // SECOND)


def parse_iso(text: str) -> int:
    """Milliseconds of an RFC 3339 time with an offset; ValueError for anything else."""
    moment = datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith(("Z", "z")) else text)
    if moment.tzinfo is None:
        raise ValueError("a time needs an offset, such as Z")
    return round(moment.astimezone(timezone.utc).timestamp() * SECOND)


class Clock:
    """Virtual time: real by default; it can be frozen, moved forward and sped up.

    Args:
        start: First reading in milliseconds; the real time when omitted.
        frozen: Whether the clock stands still until it is moved.
        speed: Virtual seconds for each real second while it is not frozen.
    """

    def __init__(self, start: int | None = None, *, frozen: bool = False, speed: float = 1.0) -> None:
        self._base = round(time.time() * SECOND) if start is None else start
        self._since = time.monotonic()
        self.frozen = frozen
        self.speed = speed
        self._pinned: int | None = None
        self._heap: list[tuple[int, int, Action]] = []
        self._count = 0
        self.on_change: Action = lambda: None

    def now(self) -> int:
        """The current virtual time; within a due action, the time at which that was due."""
        return self._reading() if self._pinned is None else self._pinned

    def _reading(self) -> int:
        if self.frozen:
            return self._base
        return self._base + int((time.monotonic() - self._since) * SECOND * self.speed)

    def call_at(self, due: int, action: Action) -> None:
        """Run `action` when the clock reads `due`; actions of one time run in the order they were added."""
        first = self._heap[0][0] if self._heap else None
        self._count += 1
        heapq.heappush(self._heap, (due, self._count, action))
        if first is None or due < first:
            self.on_change()

    def run_due(self) -> None:
        """Run every action that is due, each at its own time, those added meanwhile included."""
        if not self._heap or self._pinned is not None:
            return
        target = self._reading()
        while self._heap and self._heap[0][0] <= target:
            due, _, action = heapq.heappop(self._heap)
            self._pinned = due
            try:
                action()
            finally:
                self._pinned = None

    def seconds_until_due(self) -> float | None:
        """Real seconds until the next action; None when nothing is due or the clock is frozen."""
        if not self._heap or self.frozen:
            return None
        return max(0.0, (self._heap[0][0] - self._reading()) / SECOND / self.speed)

    def change(
        self,
        *,
        frozen: bool | None = None,
        now: int | None = None,
        advance: int = 0,
        speed: float | None = None,
    ) -> None:
        """Set what is given, in this order: the reading, its advance in ms, the mode, the speed."""
        self._base = (self._reading() if now is None else now) + advance
        self._since = time.monotonic()
        self.frozen = self.frozen if frozen is None else frozen
        self.speed = self.speed if speed is None else speed
        self.run_due()
        self.on_change()

    def forget(self) -> None:
        """Drop every action that is still to come."""
        self._heap.clear()
