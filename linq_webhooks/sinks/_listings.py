"""Listings of segments that miss none.

A listing is no snapshot. It takes a folder after the other, and a large one in pieces. While it is made, a segment may
appear where it has looked already, and its writer's next one where it looks later; or a file and what takes its place,
compressed or merged, may both be missed. A reader that goes on after such a listing would pass events over.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import groupby, pairwise

from linq_webhooks.sinks._positions import Position
from linq_webhooks.sinks._segments import Segment, list_segments
from linq_webhooks.stores import Store

__all__ = ["recent_segments", "settled_segments"]


def settled_segments(store: Store, folder: str, end: str) -> list[Segment]:
    """Return the segments of hours that nobody writes into any more, in the order in which they are to be read.

    What still changes there is compressed or merged. An hour counts as two listings in a row show it.

    Args:
        store: where they are.
        folder: of a date or an hour.
        end: the hour from which on there may be writers. They would keep the listings from ever being the same.
    """
    before: dict[str, list[Segment]] | None = None
    agreed: dict[str, list[Segment]] = {}
    while True:
        listed = [segment for segment in list_segments(store, folder) if segment.hour < end]
        found = {hour: list(segments) for hour, segments in groupby(listed, key=lambda segment: segment.hour)}
        if before is not None:
            agreed |= {hour: segments for hour, segments in found.items() if before.get(hour) == segments}
            if found.keys() <= agreed.keys():
                return [segment for hour in sorted(agreed) for segment in agreed[hour]]
        before = found


def recent_segments(store: Store, dates: Iterable[str], position: Position) -> list[Segment]:
    """Return the segments of dates that are written to, in the order in which they are to be read.

    If one is listed, so is each that its writer has begun before. Writers count their segments, so one that is missing
    shows, and is looked for by another listing. What two in a row lack is not there: its write has failed, or it is in
    a merged one.
    """
    dates = list(dates)
    before: set[tuple[str, int, int]] | None = None
    while True:
        segments = [segment for date in dates for segment in list_segments(store, f"date={date}")]
        gaps = _gaps(segments, position)
        if not gaps or (before is not None and gaps <= before):
            return segments
        before = gaps


def _gaps(segments: Sequence[Segment], position: Position) -> set[tuple[str, int, int]]:
    """Return the writers of whose segments some are missing among those after a position, and between which numbers."""
    numbers: dict[str, list[int]] = defaultdict(list)
    for segment in segments:
        if segment.writer is not None and segment.hour >= position.floor:
            numbers[segment.writer].append(segment.number)
    gaps = set()
    for writer, listed in numbers.items():
        place = position.places.get(writer)
        read = place.segment if place is not None else 0
        unread = sorted(number for number in listed if number > read)
        gaps |= {(writer, one, other) for one, other in pairwise([read, *unread]) if other != one + 1}
    return gaps
