"""What a reader has read of segments.

Writers don't wait for each other, and their clocks differ. So a position names, for each writer, how far its segments
were read: writers number them, and never append to one after they have begun the next. Writers come and go, and a
position must not grow with them: it also has a floor, an hour before which everything was read. Nothing appears before
the floor that was not read: a receiver whose clock is off by more than 5 minutes accepts no delivery, since it takes
their timestamps for wrong, and no writer begins a segment in an hour that is far behind the newest one
(`_segment_writers`).
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Final, NamedTuple

from linq_client.errors import SettingsError
from linq_webhooks._records import FORMAT, check_format
from linq_webhooks.archive import ArchiveError

__all__ = ["HOUR_FORM", "SETTLING", "Place", "Position", "hour_of", "settled_hour"]

HOUR_FORM: Final = "%Y-%m-%dT%H"

#: How long after an hour nothing more appears in it, by any writer's clock. See `MAX_LAG` in `_segment_writers`.
SETTLING: Final = timedelta(hours=24)


def hour_of(moment: datetime) -> str:
    """Return the hour of a moment, in UTC, in a form that sorts."""
    return moment.astimezone(timezone.utc).strftime(HOUR_FORM)


def settled_hour(newest: str) -> str:
    """Return the hour before which nothing more appears.

    Args:
        newest: the newest hour in the archive. A writer's clock may be wrong, so the reader's has a say too.
    """
    latest = min(datetime.strptime(newest, HOUR_FORM).replace(tzinfo=timezone.utc), datetime.now(timezone.utc))
    return hour_of(latest - SETTLING)


class Place(NamedTuple):
    """How far a writer's segments were read: to `end` bytes of a segment (before compression), of an hour."""

    hour: str
    segment: int
    end: int


class Position:
    """A reader's position, which moves while it reads.

    Attributes:
        floor: everything in the hours before it was read; empty if nothing was.
        places: of the writers with something in later hours that was read.
    """

    def __init__(self, floor: str = "", places: dict[str, Place] | None = None) -> None:
        self.floor = floor
        self.places = places or {}
        self._head: str | None = None
        self._writer = ""

    @property
    def is_beginning(self) -> bool:
        """Whether nothing was read yet."""
        return not self.floor and not self.places

    @classmethod
    def parse(cls, text: str | None) -> Position:
        """Return the position that a text stands for; the beginning of the archive for None.

        Raises:
            SettingsError: it is no position in files.
            ArchiveError: its format is newer.
        """
        if text is None:
            return cls()
        try:
            fields = json.loads(text)
            check_format(fields["format"], "position in the webhook archive")
            places = {str(writer): Place(str(hour), int(segment), int(end))
                      for writer, (hour, segment, end) in fields["writers"].items()}  # fmt: skip
            return cls(str(fields["floor"]), places)
        except ArchiveError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError):
            raise SettingsError("since: is no position in an archive of files, it may be of another archive") from None

    def text(self) -> str:
        """Return the position as a text."""
        return json.dumps({"format": FORMAT, "floor": self.floor, "writers": self.places}, separators=(",", ":"))

    def has_read(self, writer: str, segment: int, end: int) -> bool:
        """Whether a writer's segment was read as far as this."""
        place = self.places.get(writer)
        return place is not None and (place.segment, place.end) >= (segment, end)

    def begin_hour(self, hour: str, settled: str) -> None:
        """Note that all hours before this one were read.

        Args:
            hour: the one that is read next.
            settled: see `settled_hour`.
        """
        floor = min(hour, settled)
        if floor > self.floor:
            self.floor = floor
            self.places = {writer: place for writer, place in self.places.items() if place.hour >= floor}
            self._head = None

    def advance(self, writer: str, place: Place) -> str:
        """Note that a writer's segments were read up to a place, and return the position after that, as a text."""
        known = self.places.get(writer)
        if self._head is None or writer != self._writer or known is None or known[:2] != place[:2]:
            others = {name: other for name, other in self.places.items() if name != writer}
            # Only the last number changes from event to event: the rest is written once a segment.
            listed = json.dumps(others, separators=(",", ":"))[1:-1]
            self._head = (
                f'{{"format":{FORMAT},"floor":"{self.floor}","writers":{{{listed}{"," * bool(others)}'
                f'{json.dumps(writer)}:["{place.hour}",{place.segment},'
            )
            self._writer = writer
        self.places[writer] = place
        return f"{self._head}{place.end}]}}}}"
