"""Compaction: of each closed hour, one segment; and erasure, which is the same without some events."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import groupby
from typing import TYPE_CHECKING, Final, NoReturn, TypeAlias
from uuid import uuid4

from linq_webhooks._records import DamagedError, encode_line, event_of
from linq_webhooks.archive import ArchiveError, StoredEvent
from linq_webhooks.sinks._listings import settled_segments
from linq_webhooks.sinks._positions import Position, hour_of
from linq_webhooks.sinks._segments import Line, Segment, SegmentReader, dates, folder_of, newest_hour
from linq_webhooks.stores import Store

if TYPE_CHECKING:
    from linq_webhooks._encryption import BodyCipher

__all__ = ["CLOSED_AFTER", "QUIET_AFTER", "Compaction", "compact"]

#: An hour is closed when nobody writes into it any more, also with a clock that is behind (`MAX_LAG`).
CLOSED_AFTER: Final = timedelta(hours=3)

#: The newest hour is closed later: a clock that is ahead, here, must not take it for one that nobody writes into.
QUIET_AFTER: Final = timedelta(hours=25)

_COMPRESSION: Final = 6

#: How often an hour is listed again because a file has gone meanwhile.
_MAX_LISTINGS: Final = 20


Erase: TypeAlias = Callable[[StoredEvent], bool]


@dataclass(frozen=True, slots=True)
class Compaction:
    """What was done.

    Attributes:
        hours: hours whose segments were written again.
        segments: segments that there were in them.
        events: events that were kept.
        erased: events that were left out.
    """

    hours: int
    segments: int
    events: int
    erased: int

    def __add__(self, other: Compaction) -> Compaction:
        return Compaction(
            self.hours + other.hours,
            self.segments + other.segments,
            self.events + other.events,
            self.erased + other.erased,
        )


def compact(url: str, *, erase: Erase | None = None, cipher: BodyCipher | None = None) -> Compaction:
    """Write the segments of each closed hour into one.

    Positions of readers hold afterwards. It may be ended at any time, and run again; readers and receivers may run
    meanwhile, another compaction must not.

    Args:
        url: of the archive of files.
        erase: which events to leave out; None for none. Every hour that has one is written again, also one that is a
            single segment already. Events of the last hours can't be left out yet.
        cipher: decrypts the bodies that `erase` is shown.

    Raises:
        ArchiveError: the archive can't be read or written, or a record is damaged; what is there stays.
    """
    store = Store(url)
    done = Compaction(0, 0, 0, 0)
    end = _end_of_closed_hours(store)
    for hour, found in _closed_hours(store, end):
        for _ in range(_MAX_LISTINGS):
            with store.errors(f"merge {folder_of(hour)}"):
                try:
                    done += _rewrite(store, hour, found, erase, cipher)
                    break
                except FileNotFoundError:  # a receiver that was quiet for hours has compressed its last segment
                    found = settled_segments(store, folder_of(hour), end)
        else:
            raise ArchiveError(f"webhook archive {store.name}: its files go while they are merged")
    return done


def _rewrite(
    store: Store, hour: str, segments: list[Segment], erase: Erase | None, cipher: BodyCipher | None
) -> Compaction:
    """Write the segments of an hour into one, if there is a reason to."""
    # An erasure has to look into all; else, one segment alone, compressed, is as it should be.
    if erase is None:
        is_due = len(segments) > 1 or not all(segment.is_complete for segment in segments)
    else:
        is_due = any(_is_erased(line, erase, cipher, store) for line in _lines_of(store, segments))
    if not is_due:
        return Compaction(0, 0, 0, 0)
    kept, dropped = _merge(store, hour, segments, erase, cipher)
    return Compaction(1, len(segments), kept, dropped)


def _is_erased(line: Line, erase: Erase | None, cipher: BodyCipher | None, store: Store) -> bool:
    return erase is not None and erase(event_of(line.record, cipher, f"webhook archive {store.name}"))


def _merge(
    store: Store, hour: str, segments: list[Segment], erase: Erase | None, cipher: BodyCipher | None
) -> tuple[int, int]:
    kept = dropped = 0
    with (
        store.writing(f"{folder_of(hour)}/merged-{uuid4().hex}.jsonl.gz") as file,
        gzip.GzipFile(fileobj=file, mode="wb", compresslevel=_COMPRESSION) as content,
    ):
        for line in _lines_of(store, segments):
            if _is_erased(line, erase, cipher, store):
                dropped += 1
            else:
                kept += 1
                content.write(_with_origin(line))
    for segment in segments:
        store.remove(segment.path)
        if segment.is_complete and segment.writer is not None:
            store.remove(segment.path.removesuffix(".gz"))
    return kept, dropped


def _end_of_closed_hours(store: Store) -> str:
    """Return the hour before which all are closed."""
    with store.errors("list it"):
        newest = newest_hour(store)
    now = datetime.now(timezone.utc)
    # Nobody writes into the newest hour either after a day, whatever the clocks.
    return max(min(newest or "", hour_of(now - CLOSED_AFTER)), hour_of(now - QUIET_AFTER))


def _closed_hours(store: Store, end: str) -> Iterator[tuple[str, list[Segment]]]:
    with store.errors("list it"):
        days = [date for date in dates(store) if date <= end[:10]]
    for day in days:
        with store.errors("list it"):
            segments = settled_segments(store, f"date={day}", end)
        for hour, found in groupby(segments, key=lambda segment: segment.hour):
            yield hour, list(found)


def _lines_of(store: Store, segments: Iterable[Segment]) -> Iterator[Line]:
    """Read the lines of segments once each, of each writer in its order, as a reader does.

    Raises:
        FileNotFoundError: a segment is gone: list again.
        ArchiveError: a line is damaged, or a segment is cut short.
    """
    position = Position()
    reader = SegmentReader(store, _refuse)
    for segment in segments:
        for line in reader.unread(segment, position):
            position.advance(line.writer, line.place)
            yield line
        if reader.is_cut_short(segment):  # it would be removed, and its rest with it
            raise ArchiveError(
                f"webhook archive {store.name}: {segment.path} is cut short, and not merged; repair or remove it"
            )


def _refuse(_segment: Segment, _raw: bytes, _end: int, error: DamagedError) -> NoReturn:
    # Its file would be removed, and somebody may be able to repair it.
    raise error


def _with_origin(line: Line) -> bytes:
    if "origin" in line.record:
        return line.raw
    origin = encode_line({"writer": line.writer, "segment": line.place.segment, "end": line.place.end})
    # The rest stays as it is, byte by byte.
    return line.raw.rstrip()[:-1] + b',"origin":' + origin + b"}\n"
