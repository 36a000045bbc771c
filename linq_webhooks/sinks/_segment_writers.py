"""Writers of segments: of files of this machine, which are appended to and synced, and of objects, one a batch."""

from __future__ import annotations

import contextlib
import errno
import gzip
import logging
import os
import re
import shutil
import socket
import time
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from typing import Final
from uuid import uuid4

from linq_client.errors import SettingsError
from linq_webhooks.archive import ArchiveError
from linq_webhooks.sinks import _local
from linq_webhooks.sinks._positions import HOUR_FORM, hour_of
from linq_webhooks.sinks._segments import newest_hour, segment_name
from linq_webhooks.stores import Store

__all__ = ["MAX_LAG", "SegmentWriter", "make_writer"]

log = logging.getLogger(__name__)

#: A segment is closed after so many bytes or seconds.
ROLL_BYTES: Final = 16 * 1024 * 1024
ROLL_SECONDS: Final = 300

#: How far a writer's clock may be behind the newest hour in the archive. One that is further behind writes into that
#: hour, since readers don't look back further than `_positions.SETTLING`.
MAX_LAG: Final = timedelta(hours=2)

#: Speed matters more than size: compression takes the receiver's own time.
_COMPRESSION: Final = 1
#: Bytes that are compressed at a time.
_CHUNK: Final = 256 * 1024


class SegmentWriter(ABC):
    """Writes the segments of one writer, numbered from 1, in hours that never go back.

    Args:
        store: where to.
        name: of the writer, in front of the random part that makes it the only one of its name.
    """

    def __init__(self, store: Store, name: str | None) -> None:
        if name is None:
            name = re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname())[:40] or "receiver"
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
            raise SettingsError(f"writer: must be 1 to 64 letters, digits, - and _, got {name!r}")
        self._store = store
        self.writer = f"{name}-{uuid4().hex[:8]}"
        self._number = 0
        self._hour = ""
        self._archive_hour: str | None = None
        self._looked_at = -float("inf")

    @abstractmethod
    def append(self, lines: bytes) -> None:
        """Write whole lines; durable when it returns.

        Raises:
            ArchiveError: perhaps they are not.
        """

    @abstractmethod
    def close(self) -> None:
        """Complete what is open."""

    def _next_path(self) -> str:
        """Return the path of the next segment."""
        if time.monotonic() - self._looked_at > ROLL_SECONDS:
            self._archive_hour = newest_hour(self._store)
            self._looked_at = time.monotonic()
        now = datetime.now(timezone.utc)
        hour = max(hour_of(now), self._hour)
        newest = self._archive_hour
        if newest is not None and datetime.strptime(newest, HOUR_FORM).replace(tzinfo=timezone.utc) > now + MAX_LAG:
            log.warning(
                "webhook archive %s: it has events of %s:00 UTC, and here it is %s; a clock is wrong, on this machine "
                "or on another one that writes to it. This one writes into the folder of that hour, so that no reader "
                "passes it over",
                self._store.name,
                newest,
                now.strftime("%Y-%m-%dT%H:%M"),
            )
            hour = max(hour, newest)
        self._hour = hour
        self._number += 1
        return segment_name(hour, self.writer, self._number)


class ObjectWriter(SegmentWriter):
    """Writes each batch as an object."""

    def append(self, lines: bytes) -> None:
        try:
            with self._store.errors("write"):
                self._store.write_whole(f"{self._next_path()}.gz", gzip.compress(lines, _COMPRESSION))
        except FileNotFoundError:
            raise ArchiveError(f"webhook archive {self._store.name}: cannot write: it does not exist") from None

    def close(self) -> None:
        pass


class FileWriter(SegmentWriter):
    """Appends batches to a file, and compresses it when it is closed."""

    def __init__(self, store: Store, name: str | None) -> None:
        super().__init__(store, name)
        self._descriptor: int | None = None
        self._path = ""
        self._size = 0
        self._opened_at = 0.0
        self._opened_hour = ""  # by this machine's clock
        self._compressor = ThreadPoolExecutor(1, "linq-webhooks-gzip")

    def append(self, lines: bytes) -> None:
        with self._store.errors("write"):
            self._roll_if_due()
            try:
                if self._descriptor is None:
                    self._path = self._store.path(self._next_path())
                    self._descriptor = _local.create(self._path)
                    self._size, self._opened_at = 0, time.monotonic()
                    self._opened_hour = hour_of(datetime.now(timezone.utc))
                _local.write(self._descriptor, lines)
                os.fsync(self._descriptor)
                # Whoever removes or replaces the file leaves this one open without a name, and nobody can read it.
                if os.stat(self._path).st_size < self._size + len(lines):
                    raise FileNotFoundError(errno.ENOENT, "its file was cut or replaced")
                self._size += len(lines)
            except OSError as error:
                # What came of it is not known, and a second fsync would not say: nothing more is written to this file.
                self._abandon()
                raise ArchiveError(f"webhook archive {self._store.name}: cannot write: {error.strerror}") from error

    def close(self) -> None:
        self._complete()
        self._compressor.shutdown()

    def _roll_if_due(self) -> None:
        if self._descriptor is None:
            return
        age = time.monotonic() - self._opened_at
        if self._size >= ROLL_BYTES or age > ROLL_SECONDS or hour_of(datetime.now(timezone.utc)) != self._opened_hour:
            self._complete()

    def _complete(self) -> None:
        if self._descriptor is None:
            return
        descriptor, self._descriptor = self._descriptor, None
        os.close(descriptor)
        self._compressor.submit(_compress, self._path)

    def _abandon(self) -> None:
        if self._descriptor is None:
            return
        descriptor, self._descriptor = self._descriptor, None
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, self._size)
        with contextlib.suppress(OSError):
            os.close(descriptor)


def _compress(path: str) -> None:
    """Put a compressed file in the place of a closed one, which can be read as well if that fails."""
    try:
        # Bit by bit: a whole segment would double what the receiver needs of memory.
        with (
            open(path, "rb") as content,
            _local.writing(f"{path}.gz") as file,
            gzip.GzipFile(filename="", mode="wb", compresslevel=_COMPRESSION, fileobj=file) as compressed,
        ):
            shutil.copyfileobj(content, compressed, _CHUNK)
        _local.remove(path)
    except FileNotFoundError:  # it was merged
        pass
    except OSError as error:
        log.warning("webhook archive: cannot compress a segment: %s", error.strerror)


def make_writer(store: Store, name: str | None) -> SegmentWriter:
    """Return a writer that suits a store."""
    return FileWriter(store, name) if store.is_local else ObjectWriter(store, name)
