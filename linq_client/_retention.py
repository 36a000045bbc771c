"""The retention window of an ephemeral line: when a message is deleted, and how long that is away.

On the ephemeral tier the platform deletes each message for good, in both directions, one window after it was
created: 24 hours, or a shorter agreed time of at least 1 hour. No event and no field says so; this module does.
Times are aware UTC datetimes, and *now* is always the server's (`LinqClient.server_time`), never the worker's.

Source: API reference, "Ephemeral tier".
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from linq_client.errors import InvalidRequestError
from linq_client.times import to_utc

if TYPE_CHECKING:
    import pendulum


@dataclass(frozen=True)
class RetentionWindow:
    """How long the platform keeps a message of a line.

    Args:
        hours: 1 to 24, fractions allowed.

    Raises:
        InvalidRequestError: `hours` is outside of 1 to 24.
    """

    hours: float = 24

    def __post_init__(self) -> None:
        if not isinstance(self.hours, int | float) or not 1 <= self.hours <= 24:
            raise InvalidRequestError(f"retention window: must be 1 to 24 hours, got {self.hours!r}")

    @cached_property
    def length(self) -> timedelta:
        """The window as a duration."""
        return timedelta(hours=self.hours)

    def expires_at(self, created_at: datetime) -> datetime:
        """The first time at which a message created at `created_at` may be gone (the sweep comes minutes later)."""
        return _utc(created_at) + self.length

    def time_left(self, created_at: datetime, *, now: datetime) -> pendulum.Duration:
        """How long a message created at `created_at` can still be read with certainty; zero when it may be gone."""
        import pendulum  # it takes as long as the whole of this package

        seconds = (self.expires_at(created_at) - _utc(now)).total_seconds()
        return pendulum.duration(seconds=max(0.0, seconds))

    def oldest_kept(self, now: datetime) -> datetime:
        """Messages created before this time may be gone; all later ones are still there."""
        return _utc(now) - self.length


def _utc(time: datetime) -> datetime:
    if time.tzinfo is None:
        raise InvalidRequestError(f"datetime: must carry a time zone, got {time.isoformat()}")
    try:
        return to_utc(time)
    except ValueError as error:
        raise InvalidRequestError(f"datetime: {error}, got {time.isoformat()}") from None
