"""What is done to an archive now and then: `compact` merges small files, `erase` removes the events of a person."""

from __future__ import annotations

import json

from linq_client.errors import SettingsError
from linq_webhooks.archive import StoredEvent, open_archive
from linq_webhooks.sinks._compaction import Compaction
from linq_webhooks.sinks._compaction import compact as compact_files
from linq_webhooks.sinks.database import DatabaseArchive
from linq_webhooks.sinks.files import FileArchive

__all__ = ["Compaction", "compact", "erase", "handles_in"]


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


def erase(url: str, handle: str, *, encryption_key: bytes | None = None) -> int:
    """Remove the events in which a handle occurs, and return how many there were.

    In files, those of the last 3 hours stay until they are older: run it again then. Copies elsewhere (a spool, a
    warehouse, backups) are not touched.

    Args:
        url: of the archive.
        handle: a phone number in E.164 form, or an e-mail address.
        encryption_key: as in `open_archive`.

    Raises:
        SettingsError: the archive can't be searched in this way, or is encrypted with another key.
        ArchiveError: it can't be read or written.
    """

    def concerns(event: StoredEvent) -> bool:
        return handle.casefold() in handles_in(event)

    archive = open_archive(url, encryption_key=encryption_key)
    try:
        if isinstance(archive, DatabaseArchive):
            return archive.delete([event.event_id for event, _ in archive.read() if concerns(event)])
        if isinstance(archive, FileArchive):
            return compact_files(url, erase=concerns, cipher=archive.cipher).erased
    finally:
        archive.close()
    raise SettingsError("erase: this kind of archive forgets by itself, and can't be searched")


def handles_in(event: StoredEvent) -> set[str]:
    """Return the handles in the body of an event, in lower case: the texts in all its fields called `handle` or so."""
    try:
        pending = [json.loads(event.body)]
    except (ValueError, RecursionError):
        return set()
    found: set[str] = set()
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            pending += node.values()
            found |= {
                value.casefold() for name, value in node.items() if isinstance(value, str) and name.endswith("handle")
            }
        elif isinstance(node, list):
            pending += node
    return found
