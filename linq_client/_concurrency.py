"""How many reads all threads of a client make concurrently.

A 429 on a read is about the account and not about the one request, so it has to slow every thread: all of them pause
until the time that the API named, then half as many requests as before may be under way. Each read that works lets
the number recover, by about one for as many reads as are allowed. Sends are not limited here: their limits are those
of one pair of line and recipient, which must not hold up the others.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from linq_client._deadline import Lifetime
from linq_client.errors import RateLimitedError

T = TypeVar("T")


class AdaptiveConcurrency:
    """Lets as many reads through as the API takes; safe to use from several threads.

    Args:
        most: reads under way when nothing is wrong.
        longest_pause: seconds; an API that asks for more gets this much, and is then asked again.
        pause: seconds to wait where a 429 names no time.
        lifetime: of the client.
    """

    def __init__(self, most: int, longest_pause: float, pause: float, lifetime: Lifetime) -> None:
        self._most = most
        self._longest_pause = longest_pause
        self._pause = pause
        self._allowed = float(most)
        self._under_way = 0
        self._resume_at = 0.0
        self._lifetime = lifetime
        self._changed = lifetime.new_condition()

    @property
    def allowed(self) -> int:
        """Reads that may be under way at present."""
        return max(1, int(self._allowed))

    def run(self, read: Callable[[], T]) -> T:
        """Read when there is room for it, and learn from what came of it."""
        self._enter()
        try:
            result = read()
        except RateLimitedError as error:
            self._limited(error.retry_after)
            raise
        else:
            self._worked()
            return result
        finally:
            self._leave()

    def _enter(self) -> None:
        with self._changed:
            while True:
                self._lifetime.check()
                pause = self._resume_at - time.monotonic()
                if pause <= 0 and self._under_way < self.allowed:
                    break
                self._changed.wait(pause if pause > 0 else None)
            self._under_way += 1

    def _leave(self) -> None:
        with self._changed:
            self._under_way -= 1
            self._changed.notify_all()

    def _worked(self) -> None:
        with self._changed:
            self._allowed = min(self._most, self._allowed + 1 / self._allowed)

    def _limited(self, retry_after: float | None) -> None:
        with self._changed:
            now = time.monotonic()
            # What was under way with the one that came first gets the same response, and counts once.
            if now >= self._resume_at:
                self._allowed = max(1.0, self._allowed / 2)
            pause = self._pause if retry_after is None else min(retry_after, self._longest_pause)
            self._resume_at = max(self._resume_at, now + pause)
            self._changed.notify_all()
