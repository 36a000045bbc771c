"""What STATE keeps of the webhook archive from one run to the next, and the format that it has there.

It is the bookmark of the stream `webhook_events`, one for all lines. Rules as in `state`: a field that this version
does not know is passed over, and left out when the bookmark is written again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from linq_client.times import format_datetime, parse_datetime_or_none
from tap_linq.extraction.coverage import Deliveries
from tap_linq.extraction.state import Coverage, StateFormatError

__all__ = ["ARCHIVE_STREAM", "FORMAT", "MAX_OPTED_OUT", "ArchiveState"]

#: The stream whose bookmark it is.
ARCHIVE_STREAM: Final = "webhook_events"

#: A change that an older version would misread takes the next number.
FORMAT: Final = 1

#: Positions of the trail that STATE keeps, the newest. They reach back for two windows, see `ArchivePass`.
MAX_TRAIL: Final = 9

#: People who have opted out that STATE knows, those who did last.
MAX_OPTED_OUT: Final = 1_000


@dataclass(frozen=True)
class ArchiveState:
    """What is known of an archive; None where there is nothing yet.

    Attributes:
        archive: digest of its URL: a position means nothing in another one.
        position: all before it is emitted.
        coverage: what was emitted of it.
        deliveries: when deliveries came.
        opted_out: who has opted out, by digests of their handles, and when.
        trail: positions, each with a time after which no event before it was delivered, in order.
        compared: of each line, the time before which messages were compared with the API.
    """

    archive: str | None = None
    position: str | None = None
    coverage: Coverage | None = None
    deliveries: Deliveries = field(default_factory=Deliveries)
    opted_out: Mapping[str, datetime] = field(default_factory=dict)
    trail: tuple[tuple[datetime, str], ...] = ()
    compared: Mapping[str, datetime] = field(default_factory=dict)

    def with_trail(self, at: datetime, spacing: timedelta) -> ArchiveState:
        """Return it with its position in the trail.

        Args:
            at: when the newest event before the position was delivered.
            spacing: positions in less time after another are left out.
        """
        if self.position is None or (self.trail and at - self.trail[-1][0] < spacing):
            return self
        return replace(self, trail=(*self.trail, (at, self.position))[-MAX_TRAIL:])

    def position_before(self, moment: datetime) -> str | None:
        """Return a position before all events that were delivered at or after a moment; None for the start."""
        return next((position for at, position in reversed(self.trail) if at < moment), None)

    @classmethod
    def from_bookmark(cls, bookmark: Mapping[str, Any]) -> ArchiveState:
        """Read it from the bookmark.

        Raises:
            StateFormatError: another version wrote it. Its events would be emitted again, or passed over.
        """
        if "format" not in bookmark:
            return cls()  # at most what the SDK has put there
        if bookmark["format"] != FORMAT:
            raise StateFormatError(
                f"STATE of the webhook archive has format {bookmark['format']!r}, and this version of tap-linq reads "
                f"format {FORMAT}: run the version that wrote it, or a later one"
            )
        position = _text(bookmark, "position")
        return cls(
            archive=_text(bookmark, "archive"),
            position=position,
            coverage=Coverage.from_json(bookmark.get("coverage")),
            deliveries=Deliveries.from_json(bookmark.get("deliveries")),
            opted_out=_times(bookmark.get("opted_out")),
            trail=_trail(bookmark.get("trail")),
            compared=_times(bookmark.get("compared")),
        )

    def write_to(self, bookmark: dict[str, Any]) -> None:
        """Put it into the bookmark, in place of all that was there: short, without what is None."""
        newest = sorted(self.opted_out.items(), key=lambda item: item[1], reverse=True)[:MAX_OPTED_OUT]
        fields: dict[str, Any] = {
            "format": FORMAT,
            "archive": self.archive,
            "position": self.position,
            "coverage": self.coverage and self.coverage.to_json(),
            "deliveries": self.deliveries.to_json() or None,
            "opted_out": {who: format_datetime(at) for who, at in newest} or None,
            "trail": [[format_datetime(at), position] for at, position in self.trail] or None,
            "compared": {line: format_datetime(at) for line, at in self.compared.items()} or None,
        }
        bookmark.clear()
        bookmark.update((name, value) for name, value in fields.items() if value is not None)


def _times(value: object) -> dict[str, datetime]:
    times = {name: parse_datetime_or_none(at) for name, at in value.items()} if isinstance(value, dict) else {}
    return {name: at for name, at in times.items() if at is not None}


def _trail(value: object) -> tuple[tuple[datetime, str], ...]:
    found = []
    for one in value if isinstance(value, list) else ():
        at, position = one if isinstance(one, list) and len(one) == 2 else (None, None)
        moment = parse_datetime_or_none(at)
        if moment is not None and isinstance(position, str):
            found.append((moment, position))
    return tuple(sorted(found))


def _text(bookmark: Mapping[str, Any], name: str) -> str | None:
    value = bookmark.get(name)
    if not isinstance(value, str | None):
        raise StateFormatError(f"STATE of the webhook archive: {name} must be text, got {type(value).__name__}")
    return value
