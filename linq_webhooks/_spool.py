"""The spool: events on the local disk while the archive can't be written to."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Final

from linq_client.errors import SettingsError
from linq_webhooks._records import FORMAT, DamagedError, check_format
from linq_webhooks.archive import ArchiveError, ArchiveReplacedError, StoredEvent
from linq_webhooks.sinks import _local
from linq_webhooks.sinks._positions import Position
from linq_webhooks.sinks._segments import Segment, dates
from linq_webhooks.sinks.files import FileArchive
from linq_webhooks.stores import Store

if TYPE_CHECKING:
    from linq_webhooks._encryption import BodyCipher

__all__ = ["Spool"]

log = logging.getLogger(__name__)

_POSITION_FILE: Final = "drained.json"

#: Of one `peek`.
_BATCH: Final = 1000
_BATCH_BYTES: Final = 16 * 1024 * 1024


class Spool:
    """An archive of files in a local folder, which one receiver has to itself, and how much of it was handed on.

    `append`, `clear` and `close` are called in one thread, the others in one other.

    Args:
        path: of the folder; it is made if it does not exist.
        cipher: encrypts what is stored here too.

    Raises:
        SettingsError: the folder can't be used, or another receiver uses it.
    """

    def __init__(self, path: Path, cipher: BodyCipher | None) -> None:
        self._path = path.absolute()
        try:
            self._path.mkdir(mode=0o750, parents=True, exist_ok=True)
            self._lock = os.open(self._path / "lock", os.O_RDWR | os.O_CREAT, 0o640)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingsError(f"spool: {path} is used by another receiver; each needs one of its own") from None
        except OSError as error:
            raise SettingsError(f"spool: {path} can't be used: {error.strerror}") from None
        self._cipher = cipher
        self._writer = self._new_archive()
        self._reader = self._new_archive()
        self._drained: str | None = None

    def _new_archive(self) -> FileArchive:
        # Of an hour, the files of one writer are read after those of another by their names: so of an earlier process,
        # in front of this one's. Versions before this had `spool-` and no time.
        writer = f"spool_{time.time_ns():020d}"
        return FileArchive(str(self._path), cipher=self._cipher, writer=writer, on_damage=self._keep_damaged)

    def _keep_damaged(self, segment: Segment, raw: bytes, end: int, _error: DamagedError) -> None:
        """Keep a record that can't be handed on: the file that it is in is removed when the others were."""
        kept = self._path / "damaged" / f"{Path(segment.path).name}.{end}"
        try:
            _local.replace(str(kept), raw)
        except OSError as error:
            raise ArchiveError(f"spool {self._path}: cannot write: {error.strerror}") from None

    def append(self, events: Sequence[StoredEvent]) -> None:
        """Store events durably.

        Raises:
            ArchiveError: perhaps they are not.
        """
        self._writer.append(events)

    def peek(self) -> list[tuple[StoredEvent, str]]:
        """Return the oldest events that were not handed on, as many as one write takes, with positions for `mark`.

        Raises:
            ArchiveError: the spool can't be read.
        """
        batch = []
        size = 0
        for event, position in self._unmoved(self._reader):
            batch.append((event, position))
            size += len(event.body)
            if len(batch) == _BATCH or size > _BATCH_BYTES:
                break
        return batch

    def count(self) -> int:
        """Return how many events were not handed on."""
        return sum(1 for _ in self._unmoved(self._reader))

    def _unmoved(self, archive: FileArchive) -> Iterator[tuple[StoredEvent, str]]:
        try:
            yield from archive.read(self._position())
        except ArchiveReplacedError:  # the files are gone, and all of them were handed on
            return

    def mark(self, position: str) -> None:
        """Note that everything up to a position was handed on.

        If that can't be written (the disk may be full, and is freed when all was handed on), this process knows it, and
        after a crash the events are handed on again.
        """
        self._drained = position
        content = json.dumps({"format": FORMAT, "position": position}).encode()
        try:
            _local.replace(str(self._path / _POSITION_FILE), content)
        except OSError as error:
            log.warning("spool %s: cannot write down what was moved: %s", self._path, error.strerror)

    def clear(self) -> bool:
        """Remove all that was handed on; return False, and remove nothing, if something was not."""
        if self._has_more():
            return False
        self._writer.close()
        self._writer = self._new_archive()
        # First the position: without it, what is left after a crash is handed on again; without the events, a later
        # reader could take the position for one in the new ones.
        _local.remove(str(self._path / _POSITION_FILE))
        self._drained = None
        for date in dates(Store(str(self._path))):
            shutil.rmtree(self._path / f"date={date}", ignore_errors=True)
        return True

    def _has_more(self) -> bool:
        archive = self._new_archive()
        try:
            return any(True for _ in self._unmoved(archive))
        finally:
            archive.close()

    def check(self) -> None:
        """Write something, and take it away again.

        Raises:
            ArchiveError: it can't be written to.
        """
        self._writer.check()

    def close(self) -> None:
        """Close the files, and let others use the folder."""
        self._writer.close()
        self._reader.close()
        with suppress(OSError):
            os.close(self._lock)

    def _position(self) -> str | None:
        if self._drained is not None:
            return self._drained
        try:
            fields = json.loads((self._path / _POSITION_FILE).read_bytes())
            check_format(fields["format"], f"spool {self._path}: {_POSITION_FILE}")
            return Position.parse(fields["position"]).text()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ArchiveError(f"spool {self._path}: {_POSITION_FILE}: {error.strerror}") from None
        except (DamagedError, SettingsError, ValueError, KeyError, TypeError):
            # As a loss of power or a full disk leaves it.
            log.error("spool %s: %s can't be read; all is moved again", self._path, _POSITION_FILE)
            return None

    def oldest_written_at(self) -> datetime | None:
        """Return about when the oldest file was written to first; None if there is none, also if it can't be read."""
        times = []
        for path in self._path.glob("date=*/**/*"):
            with suppress(OSError):
                times.append(path.stat().st_mtime)
        return datetime.fromtimestamp(min(times), timezone.utc) if times else None
