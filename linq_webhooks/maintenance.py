"""What is done to an archive now and then: `compact` merges small files, `erase` removes the events of a person."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone

from linq_client import check_sender
from linq_client.errors import SettingsError
from linq_webhooks.archive import Archive, StoredEvent, open_archive
from linq_webhooks.sinks._compaction import CLOSED_AFTER, Compaction
from linq_webhooks.sinks._compaction import compact as compact_files
from linq_webhooks.sinks.database import DatabaseArchive
from linq_webhooks.sinks.files import FileArchive

__all__ = ["Compaction", "Erasure", "compact", "erase"]


@dataclass(frozen=True, slots=True)
class Erasure:
    """What was erased.

    Attributes:
        erased: number of events that were removed.
        left: number of events that are still there, since files of the last 3 hours can't be rewritten yet.
    """

    erased: int
    left: int


def compact(url: str) -> Compaction:
    """Write the small files of each closed hour of an archive into one.

    Readers and receivers may run meanwhile, another compaction must not. It may be ended at any time, and run again.

    Raises:
        SettingsError: the archive is not one of files.
        ArchiveError: it can't be read or written, or a record is damaged; what is there stays.
    """
    archive = open_archive(url)
    archive.close()
    if not isinstance(archive, FileArchive):
        raise SettingsError("compact: only an archive of files has anything to merge")
    return compact_files(url)


def erase(url: str, handle: str, *, encryption_key: bytes | None = None) -> Erasure:
    """Remove the events in which a handle occurs.

    In files, those of the last 3 hours stay until they are older: run it again then. Copies elsewhere (a spool, a
    warehouse, backups) are not touched.

    Args:
        url: of the archive.
        handle: a phone number in E.164 form, an e-mail address, or what else a message can come from.
        encryption_key: as in `open_archive`.

    Raises:
        InvalidRequestError: it is no handle.
        SettingsError: the archive can't be searched in this way, nothing was ever stored there, or it is encrypted with
            another key.
        ArchiveError: it can't be read or written.
    """

    check_sender(handle, "handle")

    def concerns(event: StoredEvent) -> bool:
        return handle.casefold() in _texts_of(event)

    archive = open_archive(url, encryption_key=encryption_key)
    try:
        if isinstance(archive, DatabaseArchive):
            _check_in_use(archive)
            return Erasure(archive.delete([event.event_id for event, _ in archive.read() if concerns(event)]), 0)
        if isinstance(archive, FileArchive):
            _check_in_use(archive)
            # Before the erasure: an event that an hour closes over meanwhile counts as left, and not as erased.
            recent = archive.position_before(datetime.now(timezone.utc) - CLOSED_AFTER)
            erased = compact_files(url, erase=concerns, cipher=archive.cipher).erased
            return Erasure(erased, sum(concerns(event) for event, _ in archive.read(recent)))
    finally:
        archive.close()
    raise SettingsError("erase: this kind of archive forgets by itself, and can't be searched")


def _check_in_use(archive: Archive) -> None:
    """Refuse a place without an archive: a name with a typo would pass for one that has nothing of a person."""
    if archive.position_before(datetime.now(timezone.utc)) is None:
        raise SettingsError("webhook archive: nothing was ever stored at this place; is it the right one?")


def _texts_of(event: StoredEvent) -> Iterator[str]:
    """Yield every text in the body of an event, whatever its field is called, in lower case.

    A handle stands in fields of many names (`handle`, `from`, `shared_by`), and the set of events is open.
    """
    try:
        pending = [json.loads(event.body)]
    except (ValueError, RecursionError):
        return
    while pending:
        node = pending.pop()
        if isinstance(node, str):
            yield node.casefold()
        elif isinstance(node, dict):
            pending += node.values()
        elif isinstance(node, list):
            pending += node
