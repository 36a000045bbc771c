"""Which ids were seen, in as little memory as that takes."""

from __future__ import annotations

from collections import defaultdict
from hashlib import blake2b
from typing import Final

#: So many ids are kept as they are: those of a page or two.
_FIRST_IDS: Final = 256
_DIGEST_SIZE: Final = 16


class SeenIds:
    """The ids that were seen, in little more than 16 bytes each: a chat can hold a million messages.

    A set takes six times as much, and every thread has one; it takes a tenth of the time, so the first ids are in one.
    Two texts with the same 16 bytes of BLAKE2 don't happen.
    """

    def __init__(self) -> None:
        self._first: set[str] = set()
        self._by_first_byte: defaultdict[int, bytearray] = defaultdict(bytearray)

    def add(self, id_: str) -> bool:
        """Note an id; False if it was noted before."""
        if id_ in self._first:
            return False
        if len(self._first) < _FIRST_IDS:
            self._first.add(id_)
            return True
        digest = _digest(id_)
        is_new = not self._is_noted(digest)
        if is_new:
            self._by_first_byte[digest[0]] += digest
        return is_new

    def __contains__(self, id_: str) -> bool:
        """Whether an id was noted."""
        return id_ in self._first or (bool(self._by_first_byte) and self._is_noted(_digest(id_)))

    def _is_noted(self, digest: bytes) -> bool:
        noted = self._by_first_byte[digest[0]]
        at = noted.find(digest)
        while at >= 0 and at % _DIGEST_SIZE:  # the end of one and the beginning of the next
            at = noted.find(digest, at + 1)
        return at >= 0


def _digest(id_: str) -> bytes:
    return blake2b(id_.encode(), digest_size=_DIGEST_SIZE).digest()
