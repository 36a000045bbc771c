"""What is done to an archive now and then: `compact` merges small files, `erase` removes the events of a person."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone

from linq_client import check_sender, handle_forms
from linq_client.errors import LinqError, SettingsError
from linq_client.webhooks import decode, message_fields
from linq_webhooks.archive import Archive, StoredEvent, open_archive
from linq_webhooks.sinks._compaction import Compaction
from linq_webhooks.sinks._compaction import compact as compact_files
from linq_webhooks.sinks.files import FileArchive

__all__ = ["Compaction", "Erasure", "compact", "erase"]


@dataclass(frozen=True, slots=True)
class Erasure:
    """What was erased.

    Attributes:
        erased: number of events that were removed.
        left: number of events that are still there, since the files of the last 3 hours, and the newest hour until a
            day has passed, can't be rewritten yet.
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


def erase(url: str, handle: str, *, chats: Collection[str] = (), encryption_key: bytes | None = None) -> Erasure:
    """Remove the events in which a handle occurs, and all of the direct chats with it.

    What was sent in a direct chat names the own line alone. Which chats are direct, and whose, is known by the events
    that have both; name others yourself.

    In files, those of the last 3 hours stay until they are older, and those of the newest hour until a day has passed
    or later ones have come: run it again then. Copies elsewhere (a spool, a warehouse, backups) are not touched.

    Args:
        url: of the archive.
        handle: a phone number in E.164 form, an e-mail address, or what else a message can come from.
        chats: ids of further chats of which all goes.
        encryption_key: as in `open_archive`.

    Raises:
        InvalidRequestError: it is no handle.
        SettingsError: the archive can't be searched in this way, nothing was ever stored there, or it is encrypted with
            another key.
        ArchiveError: it can't be read or written.
    """
    from linq_webhooks.sinks.database import DatabaseArchive  # here: a receiver starts without SQLAlchemy

    check_sender(handle, "handle")
    archive = open_archive(url, encryption_key=encryption_key)
    try:
        if not isinstance(archive, DatabaseArchive | FileArchive):
            raise SettingsError("erase: this kind of archive forgets by itself, and can't be searched")
        _check_in_use(archive)
        person = _Person(handle, chats)
        for event, _ in archive.read():
            person.note(event)
        if isinstance(archive, DatabaseArchive):
            found = [event.event_id for event, _ in archive.read() if person.is_in(event)]
            return Erasure(archive.delete(found), 0)
        erased = compact_files(url, erase=person.is_in, cipher=archive.cipher).erased
        return Erasure(erased, sum(person.is_in(event) for event, _ in archive.read()))
    finally:
        archive.close()


class _Person:
    """Somebody with a handle, and the direct chats with them.

    Args:
        handle: in any case.
        chats: ids of chats that are known to be theirs.
    """

    def __init__(self, handle: str, chats: Collection[str]) -> None:
        self._forms = frozenset(map(str.casefold, handle_forms(handle)))
        self._named = frozenset(chats)
        self._occurs_in: set[str] = set()
        self._direct: set[str] = set()
        self._groups: set[str] = set()

    def note(self, event: StoredEvent) -> None:
        """Take note of what an event says of a chat."""
        chat_id, is_group = _chat_of(event)
        if chat_id is None:
            return
        if is_group is not None:
            (self._groups if is_group else self._direct).add(chat_id)
        if self._is_named_in(event):
            self._occurs_in.add(chat_id)

    def is_in(self, event: StoredEvent) -> bool:
        """Whether an event has to go."""
        chat_id, _ = _chat_of(event)
        is_theirs = chat_id in self._named or (
            chat_id in self._occurs_in and chat_id in self._direct and chat_id not in self._groups
        )
        return is_theirs or self._is_named_in(event)

    def _is_named_in(self, event: StoredEvent) -> bool:
        try:
            return not self._forms.isdisjoint(_texts_of(decode(event.body)))
        except (LinqError, RecursionError):  # nobody can say where in it
            text = event.body.decode(errors="replace").casefold()
            return any(form in text for form in self._forms)


def _check_in_use(archive: Archive) -> None:
    """Refuse a place without an archive: a name with a typo would pass for one that has nothing of a person."""
    if archive.position_before(datetime.now(timezone.utc)) is None:
        raise SettingsError("webhook archive: nothing was ever stored at this place; is it the right one?")


def _texts_of(fields: object) -> Iterator[str]:
    """Yield every text in decoded JSON, whatever its field is called, and those names, in lower case.

    A handle stands in fields of many names (`handle`, `from`, `shared_by`), and the set of events is open.
    """
    pending = [fields]
    while pending:
        node = pending.pop()
        if isinstance(node, str):
            yield node.casefold()
        elif isinstance(node, dict):
            pending += node.keys()
            pending += node.values()
        elif isinstance(node, list):
            pending += node


def _chat_of(event: StoredEvent) -> tuple[str | None, bool | None]:
    """Return the id of the chat that an event is about, and whether that is a group; None where it does not say."""
    try:
        data = decode(event.body).get("data")
    except (LinqError, RecursionError):
        return None, None
    if not isinstance(data, dict):
        return None, None
    fields = message_fields(data)
    chat = fields.get("chat")
    if not isinstance(chat, dict):
        # The events of chats are about the chat itself.
        own = fields.get("id") if event.event_type.startswith("chat.") else None
        chat = {"id": fields.get("chat_id") or own, "is_group": fields.get("is_group")}
    chat_id, is_group = chat.get("id"), chat.get("is_group")
    return (
        chat_id if isinstance(chat_id, str) and chat_id else None,
        is_group if isinstance(is_group, bool) else None,
    )
