"""The API's clock as its responses show it, and what is made of a response that shows another time."""

from __future__ import annotations

import logging
import time
from datetime import datetime, timedelta
from threading import Lock
from typing import Final

#: How far a response may be off the clock that the ones before it made. Servers behind one name, and caches between,
#: differ by seconds; what bookmarks and time windows are made of is safe by minutes.
TOLERANCE: Final = timedelta(minutes=5)

log = logging.getLogger(__name__)


class _Reading:
    """The time that a response named, and when it came."""

    def __init__(self, date: datetime) -> None:
        self.date = date
        self._monotonic = time.monotonic()
        self._wall = time.time()

    def expected(self) -> datetime:
        """What the clock shows now."""
        return self.date + timedelta(seconds=time.monotonic() - self._monotonic)

    def fits(self, date: datetime) -> bool:
        """Whether the clock may show a time now. A machine that was suspended notices only by the time of day."""
        passed = (time.monotonic() - self._monotonic, time.time() - self._wall)
        return any(abs(self.date + timedelta(seconds=seconds) - date) <= TOLERANCE for seconds in passed)


class BelievedClock:
    """The server's clock, safe to use from several threads.

    One wrong `Date` must not move what only moves forward, such as a bookmark. So a time far off the clock counts only
    when the next response confirms it.

    Attributes:
        latest: the server's time at its latest response; None before the first one.
    """

    def __init__(self) -> None:
        self.latest: datetime | None = None
        self._believed: _Reading | None = None
        self._doubted: _Reading | None = None
        self._has_warned = False
        self._lock = Lock()

    def note(self, date: datetime) -> datetime:
        """Take note of the time that a response names, and return the time that it was made at."""
        with self._lock:
            believed, doubted = self._believed, self._doubted
            if believed is None or believed.fits(date) or (doubted is not None and doubted.fits(date)):
                self._believed, self._doubted = _Reading(date), None
                self.latest = date
            else:
                self._doubted = _Reading(date)
                self.latest = believed.expected().replace(microsecond=0)
                self._warn(date, self.latest)
            return self.latest

    def _warn(self, date: datetime, expected: datetime) -> None:
        if not self._has_warned:
            self._has_warned = True
            log.warning(
                "a response says that it is %s, where the ones before it make it %s; that counts only if the next one "
                "says so too, which is not logged",
                date.isoformat(),
                expected.isoformat(),
            )
