"""Sliding windows for every documented rate limit, on the virtual clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable

from linq_emulator.clock import DAY, MINUTE, SECOND
from linq_emulator.errors import ApiError

__all__ = ["LIMITS", "SANDBOX_MESSAGES_A_DAY", "RateLimits"]

# Name -> (requests, window in milliseconds). API reference, rate limits. Of the limit of location requests only the
# existence is documented, so its numbers are a stand-in.
LIMITS: dict[str, tuple[int, int]] = {
    "pair": (30, 60 * SECOND),
    "capability": (1, 10 * SECOND),
    "contact_card": (3, 10 * MINUTE),
    "share_contact_card": (1, 5 * MINUTE),
    "location_request": (1, MINUTE),
}
SANDBOX_MESSAGES_A_DAY = 100


class RateLimits:
    """Counts accepted requests and refuses those above a limit with 429, code 1007."""

    def __init__(self) -> None:
        self._times: dict[tuple[str, Hashable], deque[int]] = {}
        self._sandbox_day = 0
        self._sandbox_count = 0

    def check(self, name: str, key: Hashable, now: int) -> deque[int]:
        """Return the times of the requests in the window of `key`.

        Raises:
            ApiError: 1007 if the window is full.
        """
        limit, window = LIMITS[name]
        times = self._times.setdefault((name, key), deque())
        while times and times[0] <= now - window:
            times.popleft()
        if len(times) >= limit:
            wait = -(-(times[0] + window - now) // SECOND)
            raise ApiError(1007, f"at most {limit} requests in {window // SECOND} s ({name})", retry_after=max(1, wait))
        return times

    def acquire(self, name: str, key: Hashable, now: int) -> None:
        """Check the limit and count this request."""
        self.check(name, key, now).append(now)

    def check_sandbox(self, now: int) -> None:
        """Refuse a message above the limit of a sandbox day (UTC)."""
        if now // DAY == self._sandbox_day and self._sandbox_count >= SANDBOX_MESSAGES_A_DAY:
            wait = -(-((self._sandbox_day + 1) * DAY - now) // SECOND)
            raise ApiError(1007, f"a sandbox sends {SANDBOX_MESSAGES_A_DAY} messages a day", retry_after=wait)

    def count_sandbox(self, now: int) -> None:
        """Count a message of the day."""
        if now // DAY != self._sandbox_day:
            self._sandbox_day, self._sandbox_count = now // DAY, 0
        self._sandbox_count += 1
