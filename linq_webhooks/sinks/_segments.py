"""Segments: how they are named, listed and read.

    date=2026-03-01/hour=12/<writer>.000000001.jsonl       being written, or left by a crash
    date=2026-03-01/hour=12/<writer>.000000001.jsonl.gz    complete
    date=2026-03-01/hour=12/merged-<random>.jsonl.gz       several of that hour in one, by `_compaction`

A line of a merged segment says in `origin` where it was, so that a position made before the merger holds after it. The
hour is that of writing, by the writer's clock; it is the hour of receipt, unless the event was in a spool meanwhile.
"""

from __future__ import annotations

import gzip
import json
import logging
import os
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeAlias

from linq_webhooks._records import DamagedError
from linq_webhooks.sinks._positions import HOUR_FORM, Place, Position
from linq_webhooks.stores import Store

__all__ = [
    "Line",
    "OnDamage",
    "Segment",
    "SegmentReader",
    "dates",
    "folder_of",
    "list_segments",
    "newest_hour",
    "segment_name",
]

log = logging.getLogger(__name__)

_NAME: Final = re.compile(
    r"date=(?P<date>\d{4}-\d\d-\d\d)/hour=(?P<hour>\d\d)/"
    r"(?:(?P<writer>[A-Za-z0-9_-]+)\.(?P<number>\d{9,})|merged-[0-9a-f]+)\.jsonl(?P<gz>\.gz)?"
)
_DATE: Final = re.compile(r"date=(\d{4}-\d\d-\d\d)")
_HOUR: Final = re.compile(r"hour=(\d\d)")


def folder_of(hour: str) -> str:
    """Return the folder of an hour."""
    date, of_day = hour.split("T")
    return f"date={date}/hour={of_day}"


def segment_name(hour: str, writer: str, number: int) -> str:
    """Return the path of a segment while it is written."""
    return f"{folder_of(hour)}/{writer}.{number:09d}.jsonl"


def dates(store: Store) -> list[str]:
    """Return the dates that the archive has folders for, oldest first."""
    return [match[1] for name in store.folders() if (match := _DATE.fullmatch(name)) and _is_hour(f"{match[1]}T00")]


def newest_hour(store: Store) -> str | None:
    """Return the newest hour of the archive; None if it is empty."""
    for date in reversed(dates(store)):
        names = [match[1] for name in store.folders(f"date={date}") if (match := _HOUR.fullmatch(name))]
        hours = [hour for name in names if _is_hour(hour := f"{date}T{name}")]
        if hours:
            return hours[-1]
    return None


def _is_hour(text: str) -> bool:
    try:
        datetime.strptime(text, HOUR_FORM)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Segment:
    """A file of the archive.

    Attributes:
        path: relative to the archive.
        hour: of its folder.
        writer: None of a merged one.
        number: 0 of a merged one.
        is_complete: whether it is compressed, and does not change any more.
    """

    path: str
    hour: str
    writer: str | None
    number: int
    is_complete: bool


def list_segments(store: Store, folder: str) -> list[Segment]:
    """Return the segments in a folder, in the order in which they are to be read.

    Merged ones come first: they hold what their hour had when they were made, and the rest of it is newer.
    """
    found: dict[object, Segment] = {}
    for path in sorted(store.files(folder)):
        match = _NAME.fullmatch(path)
        if match is None:  # of a write that did not come to its end, or of somebody else
            continue
        hour = f"{match['date']}T{match['hour']}"
        if not _is_hour(hour):
            continue
        segment = Segment(path, hour, match["writer"], int(match["number"] or 0), bool(match["gz"]))
        # While one is compressed, both are there. They sort such that the compressed one, which is written whole, wins.
        found[(hour, segment.writer, segment.number) if segment.writer else path] = segment
    return sorted(found.values(), key=lambda one: (one.hour, one.writer or "", one.number, one.path))


@dataclass(frozen=True, slots=True)
class Line:
    """A record, and where its writer wrote it."""

    record: dict[str, Any]
    raw: bytes
    writer: str
    place: Place


#: What is done with a line that is damaged: its segment, the line, the byte at which it ends, and what is wrong.
OnDamage: TypeAlias = Callable[[Segment, bytes, int, DamagedError], None]


class SegmentReader:
    """Reads the segments of one archive.

    Args:
        store: where they are.
        on_damage: passes a damaged line over, or raises.
    """

    def __init__(self, store: Store, on_damage: OnDamage) -> None:
        self._store = store
        self._on_damage = on_damage
        #: How far each complete segment goes, so that one that was read is not decompressed again at each poll.
        self._ends: dict[str, dict[str, tuple[int, int]]] = {}
        #: Complete segments of which only the beginning could be read when this was last tried.
        self._cut_short: set[str] = set()

    def unread(self, segment: Segment, position: Position) -> Iterator[Line]:
        """Read the whole lines of a segment that are after a position.

        Raises:
            FileNotFoundError: it was compressed or merged meanwhile: list again.
            ArchiveError: it can't be read.
        """
        ends = self._ends.get(segment.path)
        if ends and all(position.has_read(writer, *end) for writer, end in ends.items()):
            return
        if segment.writer is not None and position.has_read(segment.writer, segment.number + 1, 0):
            return
        place = position.places.get(segment.writer or "")
        start = place.end if segment.writer and place and place.segment == segment.number else 0
        ends = {segment.writer: (segment.number, start)} if segment.writer else {}
        for line in self._lines(segment, start):
            ends[line.writer] = line.place[1:]
            if not position.has_read(line.writer, *line.place[1:]):
                yield line
        if segment.is_complete and not self.is_cut_short(segment):
            self._ends[segment.path] = ends

    def is_cut_short(self, segment: Segment) -> bool:
        """Whether only the beginning of a complete segment could be read."""
        return segment.path in self._cut_short

    def forget_all_but(self, segments: Iterable[Segment]) -> None:
        """Drop what is remembered of segments that are not listed any more."""
        listed = {segment.path for segment in segments}
        self._ends = {path: ends for path, ends in self._ends.items() if path in listed}
        self._cut_short &= listed

    def _lines(self, segment: Segment, start: int) -> Iterator[Line]:
        with self._store.errors(f"read {segment.path}"), self._store.open(segment.path) as file:
            end = start
            for raw in self._whole_lines(file, segment, start):
                end += len(raw)
                try:
                    # In front of a line may be pages that a loss of power kept from the disk.
                    line = _line_of(raw.lstrip(b"\0"), segment, end, self._store.name)
                except DamagedError as error:
                    self._on_damage(segment, raw, end, error)
                else:
                    yield line

    def _whole_lines(self, file: Any, segment: Segment, start: int) -> Iterator[bytes]:
        content = gzip.GzipFile(fileobj=file) if segment.is_complete else file
        try:
            # Nothing at all would pass for a compressed file without a line, as an erasure may leave one.
            if segment.is_complete and file.seek(0, os.SEEK_END) == 0:
                raise EOFError
            file.seek(0)
            content.seek(start)
            for raw in content:
                if not raw.endswith(b"\n"):  # being written, or cut by a crash before it was acknowledged
                    break
                yield raw
        except (EOFError, zlib.error, gzip.BadGzipFile):
            # Written by a store that shows what is not complete yet: the rest may be there the next time.
            if segment.path not in self._cut_short:
                log.warning(
                    "webhook archive %s: %s is cut short. What its receiver wrote later is read when it is whole, or a "
                    "day after it",
                    self._store.name,
                    segment.path,
                )
            self._cut_short.add(segment.path)
        else:
            self._cut_short.discard(segment.path)


def _line_of(raw: bytes, segment: Segment, end: int, archive: str) -> Line:
    where = f"webhook archive {archive}: {segment.path}, up to byte {end}"
    try:
        record = json.loads(raw)
        if segment.writer is not None:
            writer, place = segment.writer, Place(segment.hour, segment.number, end)
        else:
            origin = record["origin"]
            writer, place = str(origin["writer"]), Place(segment.hour, int(origin["segment"]), int(origin["end"]))
        if not isinstance(record, dict):
            raise ValueError("must be an object")
    except (ValueError, KeyError, TypeError):
        raise DamagedError(f"{where}: a record is damaged, it is no JSON object") from None
    return Line(record, raw, writer, place)
