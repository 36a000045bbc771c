"""The API's clock as its responses show it, and what is made of a response that shows another time."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from threading import Lock
from typing import Final

from linq_client.times import ServerClock

#: How far a response may be off the clock that the ones before it made. Servers behind one name, and caches between,
#: differ by seconds; what bookmarks and time windows are made of is safe by minutes.
TOLERANCE: Final = timedelta(minutes=5)

log = logging.getLogger(__name__)


class BelievedClock:
    """The server's clock, safe to use from several threads.

    One wrong `Date` must not move what only moves forward, such as a bookmark. So a time far off the clock counts only
    when the next response confirms it.

    Attributes:
        latest: the server's time at its latest response; None before the first one.
    """

    def __init__(self) -> None:
        self.latest: datetime | None = None
        self._clock: ServerClock | None = None
        self._doubted: ServerClock | None = None
        self._has_warned = False
        self._lock = Lock()

    def note(self, date: datetime) -> datetime:
        """Take note of the time that a response names, and return the time that it was made at."""
        with self._lock:
            if self._clock is not None and not any(
                abs(clock.now() - date) <= TOLERANCE for clock in (self._clock, self._doubted) if clock is not None
            ):
                self._warn(date, self._clock)
                self._doubted = ServerClock(date)
                self.latest = self._clock.now().replace(microsecond=0)
                return self.latest
            if self._clock is None or self._doubted is not None:
                self._clock, self._doubted = ServerClock(date), None
            self._clock.note(date)
            self.latest = date
            return date

    def _warn(self, date: datetime, clock: ServerClock) -> None:
        if not self._has_warned:
            self._has_warned = True
            log.warning(
                "a response says that it is %s, where it should be %s by those before it; not believed until the next "
                "one says so too (further ones are not logged)",
                date.isoformat(),
                clock.now().isoformat(timespec="seconds"),
            )
