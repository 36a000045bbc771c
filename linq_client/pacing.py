"""The pace that all threads of a client keep together when they read.

A 429 on a read is about the account and not about the one request, so it has to slow every thread: all of them pause
until the time that the API named, then half as many requests as before may be under way at once. Each read that works
lets the number recover, by about one for as many reads as are allowed. Sends are not paced here: their limits are
those of one pair of line and recipient, which must not hold up the others.
"""

from __future__ import annotations

import time
from threading import Condition
from typing import Final

#: Seconds to pause where a 429 names no time.
DEFAULT_PAUSE: Final = 1.0


class Pace:
    """A context manager around each read; safe to use from several threads.

    Args:
        most: reads under way at once when nothing is wrong.
        longest_pause: seconds; an API that asks for more gets this much, and is then asked again.
    """

    def __init__(self, most: int, longest_pause: float) -> None:
        self._most = most
        self._longest_pause = longest_pause
        self._allowed = float(most)
        self._under_way = 0
        self._resume_at = 0.0
        self._changed = Condition()

    @property
    def allowed(self) -> int:
        """Reads that may be under way at once at present."""
        return max(1, int(self._allowed))

    def __enter__(self) -> None:
        with self._changed:
            while True:
                pause = self._resume_at - time.monotonic()
                if pause <= 0 and self._under_way < self.allowed:
                    break
                self._changed.wait(pause if pause > 0 else None)
            self._under_way += 1

    def __exit__(self, *exc_info: object) -> None:
        with self._changed:
            self._under_way -= 1
            self._changed.notify_all()

    def worked(self) -> None:
        """A read was answered: let the pace recover a little."""
        with self._changed:
            self._allowed = min(self._most, self._allowed + 1 / self._allowed)

    def limited(self, retry_after: float | None) -> None:
        """A read was answered 429: pause all of them, and halve the pace."""
        with self._changed:
            now = time.monotonic()
            # What was under way with the one that came first is told the same, and counts once.
            if now >= self._resume_at:
                self._allowed = max(1.0, self._allowed / 2)
            pause = DEFAULT_PAUSE if retry_after is None else min(retry_after, self._longest_pause)
            self._resume_at = max(self._resume_at, now + pause)
            self._changed.notify_all()
