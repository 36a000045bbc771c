"""What was emitted of a line, from run to run: a record goes out if it is new or differs, and not otherwise.

Digests stand for records, so that nothing of what people wrote is kept. What differs whenever one looks does not
count: when it was read, and the signatures of URLs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta, timezone
from hashlib import blake2b
from threading import Lock
from typing import Any, Final

import msgspec

from tap_linq.extraction.plan import is_changed_since
from tap_linq.extraction.records import Record
from tap_linq.extraction.seen_files import SeenFile
from tap_linq.extraction.seen_table import CHANGED, KEY_SIZE, VERSION_SIZE, SeenNotes, SeenTable

__all__ = ["SEEN_STREAMS", "SeenItems", "last_shown"]

#: The columns that identify a record, of the streams whose records are remembered.
SEEN_STREAMS: Final[Mapping[str, tuple[str, ...]]] = {
    "messages": ("id",),
    "reactions": ("id",),
    "attachments": ("message_id", "part_index"),
    "chats": ("id",),
    "chat_participants": ("chat_id", "handle"),
}

#: For how long a message is remembered after it was last shown: its events may come late, out of a spool.
MESSAGES_KEPT: Final = timedelta(days=30)

#: Fields with URLs, which the platform signs whenever it is asked. Signatures stand behind the question mark.
_SIGNED: Final = frozenset({"url", "group_chat_icon"})

_encode: Final[Callable[[object], bytes]] = msgspec.json.Encoder().encode


class SeenItems:
    """What is known of a line when a pass begins, and what it emits. Safe for several threads.

    Args:
        file: of the line.
        configurations: by stream, a digest of all that decides what becomes of a record on its way out, of 16 bytes.
            What was emitted under another one is not known.
        since: when the last pass began, less the overlap; None if there was none.
        full_table: names of the streams whose records go out whatever is known.
        secret: key of the digests, so that nobody can try out handles; empty for none.

    Attributes:
        repeated: number of records that were known, and are not emitted.
        quiet_changes: number of messages that have changed though none of their times has moved.
    """

    def __init__(
        self,
        file: SeenFile,
        configurations: Mapping[str, bytes],
        since: datetime | None = None,
        full_table: frozenset[str] = frozenset(),
        secret: bytes = b"",
    ) -> None:
        self._file = file
        self._configurations = configurations
        self._since = since
        self._full_table = full_table
        self._secret = secret
        self._notes = {"messages": SeenNotes(), "others": SeenNotes()}
        self._lock = Lock()
        self.repeated = 0
        self.quiet_changes = 0

    def new_of(self, stream: str, records: Iterable[Record], shown_at: datetime) -> list[Record]:
        """Return the records that are to go out, and note all of them.

        Args:
            shown_at: when the API has shown them, by its clock.
        """
        columns = SEEN_STREAMS[stream]
        section = "messages" if stream == "messages" else "others"
        table = getattr(self._file, section)
        at = int(shown_at.timestamp())
        found, notes = [], []
        quiet = 0
        for record in records:
            # Messages are looked up by `last_shown`, too, and their key is an id.
            secret = b"" if section == "messages" else self._secret
            key = _key(stream, *[record.get(name) for name in columns], secret=secret)
            version = self._version(stream, record)
            known = table.find(key)
            differs = known is None or known[0] != version or version == CHANGED
            if differs or stream in self._full_table:
                found.append(record)
            if differs and known is not None and section == "messages":
                quiet += not is_changed_since(record, self._since)
            notes.append((key, version))
        with self._lock:
            for key, version in notes:
                self._notes[section].add(key, version, at)
            self.repeated += len(notes) - len(found)
            self.quiet_changes += quiet
        return found

    def _version(self, stream: str, record: Record) -> bytes:
        """Return the digest of a record; of one that has none, one that no other is equal to."""
        compared = {name: value for name, value in record.items() if name != "observed_at"}
        try:
            encoded = _encode(compared)
            if b"://" in encoded:
                encoded = _encode(_without_signatures(compared))
        except (TypeError, ValueError, OverflowError, RecursionError):
            return CHANGED
        return blake2b(encoded, digest_size=VERSION_SIZE, person=self._configurations[stream]).digest()

    def save(self, now: datetime, *, is_sweep: bool) -> str | None:
        """Write what is known after a complete pass, and return the name of the file for STATE; None if there is none.

        A sweep has shown all that lives: what it has not is forgotten, messages only after a while.

        Args:
            now: the server's time.
        """
        kept = int((now - MESSAGES_KEPT).timestamp())
        with self._lock:
            messages = self._notes["messages"].after(self._file.messages, kept)
            others = self._notes["others"].after(self._file.others, int(now.timestamp()) + 1 if is_sweep else 0)
        return self._file.write(messages, others, now)


def last_shown(messages: SeenTable, message_id: str) -> datetime | None:
    """Return when the API has last shown a message that was emitted then; None if that is not known."""
    found = messages.find(_key("messages", message_id))
    return None if found is None else datetime.fromtimestamp(found[1], timezone.utc)


def _key(stream: str, *values: object, secret: bytes = b"") -> bytes:
    text = f"{stream} {values[0]}" if len(values) == 1 else f"{stream} {values!r}"
    return blake2b(text.encode(errors="replace"), digest_size=KEY_SIZE, key=secret).digest()


def _without_signatures(value: Any) -> Any:
    """Return a value without the signatures of the URLs in it."""
    if isinstance(value, dict):
        return {
            name: one.partition("?")[0] if name in _SIGNED and isinstance(one, str) else _without_signatures(one)
            for name, one in value.items()
        }
    return [_without_signatures(one) for one in value] if isinstance(value, list) else value
