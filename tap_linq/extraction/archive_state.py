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

__all__ = ["ARCHIVE_STREAM", "FORMAT", "ArchiveState", "Handled"]

#: The stream whose bookmark it is.
ARCHIVE_STREAM: Final = "webhook_events"

#: A change that an older version would misread takes the next number.
FORMAT: Final = 1

#: Positions of the trail that STATE keeps, the newest. They reach back for two windows, see `ArchivePass`.
MAX_TRAIL: Final = 9

#: Characters of a position that the trail may have: in files it grows with the receivers of a day. Of longer ones there
#: is none, and the archive is asked.
MAX_TRAIL_POSITION: Final = 2_000


@dataclass(frozen=True)
class Handled:
    """What a pass had emitted before the archive was read again from its start.

    Attributes:
        position: all before it was emitted.
        coverage: as far as this says.
    """

    position: str
    coverage: Coverage

    @classmethod
    def from_json(cls, value: object) -> Handled | None:
        """Read it from STATE; None of what makes no sense: then all counts as new."""
        fields = value if isinstance(value, dict) else {}
        position, coverage = fields.get("position"), Coverage.from_json(fields.get("coverage"))
        return cls(position, coverage) if isinstance(position, str) and coverage is not None else None

    def to_json(self) -> dict[str, Any]:
        """Return it as it stands in STATE."""
        return {"position": self.position, "coverage": self.coverage.to_json()}


@dataclass(frozen=True)
class ArchiveState:
    """What is known of an archive; None where there is nothing yet.

    Attributes:
        archive: digest of its URL: a position means nothing in another one.
        position: all before it is emitted.
        coverage: what was emitted of it.
        newest: when the newest event before the position was made, or delivered.
        handled: of an archive that is being read again, what was emitted before.
        deliveries: when deliveries came.
        opted_out: who has opted out, and when; see `opt_outs`.
        heard: who has written lately, and when.
        trail: positions, each with a time after which no event before it was made or delivered, in order.
        compared: of each line, the time before which messages were compared with the API.
    """

    archive: str | None = None
    position: str | None = None
    coverage: Coverage | None = None
    deliveries: Deliveries = field(default_factory=Deliveries)
    opted_out: Mapping[str, datetime] = field(default_factory=dict)
    trail: tuple[tuple[datetime, str], ...] = ()
    compared: Mapping[str, datetime] = field(default_factory=dict)
    heard: Mapping[str, datetime] = field(default_factory=dict)
    newest: datetime | None = None
    handled: Handled | None = None

    def with_trail(self, at: datetime, spacing: timedelta) -> ArchiveState:
        """Return it with its position in the trail.

        Args:
            at: when the newest event before the position was made, or delivered.
            spacing: positions in less time after another are left out.
        """
        if self.position is None or not self.has_trail or (self.trail and at - self.trail[-1][0] < spacing):
            return self
        return replace(self, trail=(*self.trail, (at, self.position))[-MAX_TRAIL:])

    @property
    def has_trail(self) -> bool:
        """Whether earlier positions are kept of this archive."""
        return self.position is None or len(self.position) <= MAX_TRAIL_POSITION

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
            heard=_times(bookmark.get("heard")),
            newest=parse_datetime_or_none(bookmark.get("newest")),
            handled=Handled.from_json(bookmark.get("handled")),
        )

    def write_to(self, bookmark: dict[str, Any]) -> None:
        """Put it into the bookmark, in place of all that was there: short, without what is None."""
        fields: dict[str, Any] = {
            "format": FORMAT,
            "archive": self.archive,
            "position": self.position,
            "coverage": self.coverage and self.coverage.to_json(),
            "deliveries": self.deliveries.to_json() or None,
            "opted_out": _formatted(self.opted_out),
            "heard": _formatted(self.heard),
            "trail": [[format_datetime(at), position] for at, position in self.trail] if self.has_trail else None,
            "compared": _formatted(self.compared),
            "newest": self.newest and format_datetime(self.newest),
            "handled": self.handled and self.handled.to_json(),
        }
        bookmark.clear()
        bookmark.update((name, value) for name, value in fields.items() if value not in (None, {}, []))


def _formatted(times: Mapping[str, datetime]) -> dict[str, str]:
    return {name: format_datetime(at) for name, at in times.items()}


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
