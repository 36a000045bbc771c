"""An archive of files: segments of JSON lines in folders by hour, in a folder or an object store."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from linq_webhooks._records import DamagedError, encode_event, event_of
from linq_webhooks.archive import ArchiveError, ArchiveReplacedError, StoredEvent
from linq_webhooks.sinks._listings import recent_segments, settled_segments
from linq_webhooks.sinks._positions import Position, hour_of, settled_hour
from linq_webhooks.sinks._segment_writers import SegmentWriter, make_writer
from linq_webhooks.sinks._segments import OnDamage, Segment, SegmentReader, dates, newest_hour
from linq_webhooks.stores import Store

if TYPE_CHECKING:
    from linq_webhooks._encryption import BodyCipher

__all__ = ["FileArchive"]

log = logging.getLogger(__name__)

#: How often in a row a read lists again because a segment was compressed or merged between listing and opening.
_MAX_LISTINGS: Final = 20


class FileArchive:
    """An archive of files; see `linq_webhooks.archive.Archive`.

    Args:
        url: a folder, or a URL that fsspec knows.
        cipher: encrypts and decrypts bodies.
        writer: name of this writer in the names of files; the machine's by default.
        on_damage: is called for each record that can't be read, before it is passed over. It is logged in any case. It
            is for files that nobody else writes: one that is cut short stays so, and is passed over as a whole.
    """

    def __init__(
        self,
        url: str,
        *,
        cipher: BodyCipher | None = None,
        writer: str | None = None,
        on_damage: OnDamage | None = None,
    ) -> None:
        self._store = Store(url)
        self.cipher = cipher
        self._writer: SegmentWriter = make_writer(self._store, writer)
        self._on_damage = on_damage
        self._damaged: set[tuple[str, int]] = set()
        self._reader = SegmentReader(self._store, self._pass_over)

    def append(self, events: Sequence[StoredEvent]) -> None:
        if events:
            self._writer.append(b"".join(encode_event(event, self.cipher) + b"\n" for event in events))

    def read(self, since: str | None = None) -> Iterator[tuple[StoredEvent, str]]:
        position = Position.parse(since)
        listings = 0
        while listings < _MAX_LISTINGS:
            before = position.text()
            try:
                yield from self._read_listed(position)
                return
            except FileNotFoundError:  # what was read up to here is not read again
                listings = listings + 1 if position.text() == before else 0
        raise ArchiveError(f"webhook archive {self._store.name}: its files go while they are read")

    def _read_listed(self, position: Position) -> Iterator[tuple[StoredEvent, str]]:
        with self._store.errors("list it"):
            newest = newest_hour(self._store)
            if newest is None:
                if not position.is_beginning:
                    raise ArchiveReplacedError(
                        f"webhook archive {self._store.name}: has nothing any more, though it was read before: it was "
                        "removed, emptied, or is not mounted"
                    )
                return
            settled = settled_hour(newest)
            days = [date for date in dates(self._store) if date >= position.floor[:10]]
        # What is settled can be listed and read day by day. Of the rest, all is listed before anything is read: where a
        # writer's next segment is listed, the one before was complete.
        for day in (date for date in days if date < settled[:10]):
            with self._store.errors("list it"):
                segments = settled_segments(self._store, f"date={day}", settled)
            yield from self._read_segments(segments, position, settled)
        with self._store.errors("list it"):
            segments = recent_segments(self._store, (date for date in days if date >= settled[:10]), position)
        self._reader.forget_all_but(segments)
        yield from self._read_segments(segments, position, settled)

    def _read_segments(
        self, segments: Sequence[Segment], position: Position, settled: str
    ) -> Iterator[tuple[StoredEvent, str]]:
        # Writers of whose segment the rest may yet be shown: what they wrote later is read after that.
        held_up: set[str] = set()
        for segment in segments:
            if segment.hour < position.floor or segment.writer in held_up:
                continue
            position.begin_hour(segment.hour, settled)
            for line in self._reader.unread(segment, position):
                where = f"webhook archive {self._store.name}: {segment.path}, up to byte {line.place.end}"
                try:
                    event = event_of(line.record, self.cipher, where)
                except DamagedError as error:
                    self._pass_over(segment, line.raw, line.place.end, error)
                else:
                    yield event, position.advance(line.writer, line.place)
            if not self._reader.is_cut_short(segment):
                continue
            if self._on_damage is not None:
                self._pass_over_rest(segment)
            elif segment.hour >= settled:
                if segment.writer is None:  # nobody knows whose lines the rest has
                    return
                held_up.add(segment.writer)

    def _pass_over_rest(self, segment: Segment) -> None:
        """Pass over what can't be read of a file that nobody else writes: it was whole, and will not be again."""
        with self._store.errors(f"read {segment.path}"), self._store.open(segment.path) as file:
            raw = file.read()
        error = DamagedError(f"webhook archive {self._store.name}: {segment.path} is cut short")
        self._pass_over(segment, raw, len(raw), error)

    def _pass_over(self, segment: Segment, raw: bytes, end: int, error: DamagedError) -> None:
        if (segment.path, end) in self._damaged:
            return
        if self._on_damage is not None:
            self._on_damage(segment, raw, end, error)
        self._damaged.add((segment.path, end))
        log.error("%s; it is passed over, the %d. so far", error, len(self._damaged))

    def position_before(self, moment: datetime) -> str | None:
        with self._store.errors("list it"):
            newest = newest_hour(self._store)
        # Not beyond the hour before which nothing more appears: a writer whose clock is behind would be passed over.
        return None if newest is None else Position(min(hour_of(moment), settled_hour(newest))).text()

    def check(self) -> None:
        path = f"probe-{uuid4().hex}.new"
        try:
            with self._store.errors("write"):
                self._store.write_whole(path, b"probe")
                self._store.remove(path)
        except FileNotFoundError:
            raise ArchiveError(f"webhook archive {self._store.name}: cannot write: it does not exist") from None

    def close(self) -> None:
        self._writer.close()
