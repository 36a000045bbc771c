"""A table of what was emitted, as small as it can be: 20 bytes an item, as runs keep it for many of them.

An entry is 8 bytes of a digest of the item's key, 8 of a digest of its record, and when it was last shown, in seconds
since 1970 (4 bytes, big-endian). Entries are sorted, so that a part of them can be searched by `bytes.find`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from typing import Final

__all__ = ["CHANGED", "ENTRY_SIZE", "SeenNotes", "SeenTable"]

KEY_SIZE: Final = 8
VERSION_SIZE: Final = 8
ENTRY_SIZE: Final = KEY_SIZE + VERSION_SIZE + 4

#: The version of an item that was emitted in more than one: which of them came out last is not known.
CHANGED: Final = bytes(VERSION_SIZE)

#: Entries that are searched together, about.
_PER_BUCKET: Final = 32


class SeenTable:
    """Entries that don't change. Safe for several threads.

    Args:
        data: sorted entries.
    """

    def __init__(self, data: bytes = b"") -> None:
        self.data = data
        count = len(data) // ENTRY_SIZE
        bits = max(count // _PER_BUCKET, 1).bit_length() - 1
        self._shift = 8 * KEY_SIZE - bits
        self._starts = [0]
        for bucket in range(1, 1 << bits):
            first = (bucket << self._shift).to_bytes(KEY_SIZE, "big")
            self._starts.append(bisect_left(range(count), first, lo=self._starts[-1], key=self._key))
        self._starts.append(count)

    def _key(self, place: int) -> bytes:
        return self.data[place * ENTRY_SIZE : place * ENTRY_SIZE + KEY_SIZE]

    def __len__(self) -> int:
        return len(self.data) // ENTRY_SIZE

    def find(self, key: bytes) -> tuple[bytes, int] | None:
        """Return version and time of an item; None if it is not in here."""
        bucket = int.from_bytes(key, "big") >> self._shift
        start, end = self._starts[bucket] * ENTRY_SIZE, self._starts[bucket + 1] * ENTRY_SIZE
        at = self.data.find(key, start, end)
        while at >= 0 and at % ENTRY_SIZE:  # the end of one and the beginning of the next
            at = self.data.find(key, at + 1, end)
        if at < 0:
            return None
        rest = self.data[at + KEY_SIZE : at + ENTRY_SIZE]
        return rest[:VERSION_SIZE], int.from_bytes(rest[VERSION_SIZE:], "big")


class SeenNotes:
    """Entries that are noted, in any order."""

    def __init__(self) -> None:
        self._by_first_byte: defaultdict[int, bytearray] = defaultdict(bytearray)

    def add(self, key: bytes, version: bytes, shown_at: int) -> None:
        """Note an item; it may have been noted before."""
        self._by_first_byte[key[0]] += key + version + shown_at.to_bytes(4, "big")

    def after(self, before: SeenTable, shown_since: int) -> bytearray:
        """Return all entries, sorted, each item once: as noted; of others those that were shown since a time.

        The notes are gone after it: with millions of items, only one copy of them fits well into memory.
        """
        found = bytearray()
        for first in range(256):
            # Of an item that is noted, what was before comes first here.
            items = {entry[:KEY_SIZE]: entry for entry in _with_first_byte(before, first, shown_since)}
            for key, entry in _merged(self._by_first_byte.pop(first, b"")):
                items[key] = entry
            found += b"".join(items[key] for key in sorted(items))
        return found


def _with_first_byte(table: SeenTable, first: int, shown_since: int) -> Iterator[bytes]:
    data, count = table.data, len(table)
    ends = [bisect_left(range(count), first + more, key=lambda place: data[place * ENTRY_SIZE]) for more in (0, 1)]
    for at in range(ends[0] * ENTRY_SIZE, ends[1] * ENTRY_SIZE, ENTRY_SIZE):
        entry = data[at : at + ENTRY_SIZE]
        if int.from_bytes(entry[-4:], "big") >= shown_since:
            yield entry


def _merged(noted: bytes | bytearray) -> Iterator[tuple[bytes, bytes]]:
    """Yield the entries that were noted, each item once, with the time when it was last shown."""
    items: dict[bytes, tuple[bytes, int]] = {}
    for at in range(0, len(noted), ENTRY_SIZE):
        key = bytes(noted[at : at + KEY_SIZE])
        version = bytes(noted[at + KEY_SIZE : at + KEY_SIZE + VERSION_SIZE])
        shown = int.from_bytes(noted[at + KEY_SIZE + VERSION_SIZE : at + ENTRY_SIZE], "big")
        known = items.get(key)
        if known is not None:
            version, shown = version if known[0] == version else CHANGED, max(shown, known[1])
        items[key] = version, shown
    for key, (version, shown) in items.items():
        yield key, key + version + shown.to_bytes(4, "big")
