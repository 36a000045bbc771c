"""Sliding windows for every documented rate limit, on the virtual clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable

from linq_emulator.clock import DAY, MINUTE, SECOND
from linq_emulator.errors import ApiError

# Name -> (calls, window in milliseconds). API reference, rate limits; the one for location requests is a
# stand-in, since only its existence is documented.
RATES: dict[str, tuple[int, int]] = {
    "pair": (30, 60 * SECOND),
    "capability": (1, 10 * SECOND),
    "contact_card": (3, 10 * MINUTE),
    "share_contact_card": (1, 5 * MINUTE),
    "location_request": (1, MINUTE),
}
SANDBOX_MESSAGES_A_DAY = 100


class Limits:
    """Counts accepted calls and refuses the one too many with 429, code 1007."""

    def __init__(self) -> None:
        self._taken: dict[tuple[str, Hashable], deque[int]] = {}
        self._day = 0
        self._sent_today = 0

    def check(self, name: str, key: Hashable, now: int) -> deque[int]:
        """Refuse when the window of `key` is full; the calls in it otherwise."""
        calls, window = RATES[name]
        taken = self._taken.setdefault((name, key), deque())
        while taken and taken[0] <= now - window:
            taken.popleft()
        if len(taken) >= calls:
            wait = -(-(taken[0] + window - now) // SECOND)
            raise ApiError(1007, f"at most {calls} calls in {window // SECOND} s ({name})", retry_after=max(1, wait))
        return taken

    def take(self, name: str, key: Hashable, now: int) -> None:
        """`check`, and count this call."""
        self.check(name, key, now).append(now)

    def check_sandbox(self, now: int) -> None:
        """Refuse the message after the last one of a sandbox day (UTC)."""
        if now // DAY == self._day and self._sent_today >= SANDBOX_MESSAGES_A_DAY:
            wait = -(-((self._day + 1) * DAY - now) // SECOND)
            raise ApiError(1007, f"a sandbox sends {SANDBOX_MESSAGES_A_DAY} messages a day", retry_after=wait)

    def count_sandbox(self, now: int) -> None:
        """Count a message towards the day."""
        if now // DAY != self._day:
            self._day, self._sent_today = now // DAY, 0
        self._sent_today += 1
