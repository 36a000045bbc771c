"""How far a campaign has come, small enough for the task state store: one byte a recipient, compressed.

The bytes stand in the order of the keys, which are hashes, so that the order of the input does not matter. They are
split into values of about 50,000 recipients each, so that a value stays well under the 64 KB that the store is meant
for, however many recipients there are: bytes of few kinds compress to 1 or 2 bits, and to 3 at worst.

The input may change between two tries. Each value therefore also says, for each of 1,024 ranges of keys, how many
recipients there were and the XOR of their keys. Where keys have only been added to a range, the difference tells which.
A range that has changed in another way is not trusted: its recipients count as begun, from a line that nobody
remembers.
"""

from __future__ import annotations

import base64
import struct
import zlib
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import reduce
from itertools import combinations, pairwise
from itertools import count as count_from
from math import comb
from operator import xor
from typing import Final

from airflow_provider_linq._internal.durable import StateStore
from airflow_provider_linq.campaigns.model import CampaignResult

#: What is known of a recipient. From `BEGUN_SOMEWHERE` on a request may have been made and its outcome is not on
#: record; from `BEGUN` on, from the line with the number `mark - BEGUN`.
PENDING, SENT, OPTED_OUT, BLOCKED, FAILED, UNKNOWN, BEGUN_SOMEWHERE, BEGUN = range(8)

#: A byte has room for so many lines.
MAX_LINES: Final = 256 - BEGUN

SHARD: Final = 50_000
RANGES: Final = 1024

#: How many sets of keys are tried to find those that were added to a range.
_TRIALS: Final = 30_000

HEADER: Final = "linq_campaign"

#: How many recipients and the XOR of their keys, for each range.
_CHECKS: Final = struct.Struct(f"<{2 * RANGES}I")


@dataclass
class Header:
    """What a campaign remembers of itself.

    :param campaign_key: in force since the first try, whatever its template renders to later.
    :param max_tries: of the task instance; another number now means that it was cleared since.
    :param began: when the campaign first sent, by the API's clock (RFC 3339).
    :param shards: how many values the recipients are split into.
    :param recipients: how many there were in the latest stretch.
    :param lines: own lines by number, "" for the platform's choice; only ever appended to.
    :param has_changed: whether the input has, so that marks of recipients may be lost who are not in it at present.
    :param doubt_since: when the first of the requests was made whose outcome is not on record.
    :param days: messages and new chats of each line on a day (UTC): ``{"2026-03-01": {"+1…": [messages, new chats]}}``.
    :param result: of the sending, for the follow-up.
    :param deadline: until when the follow-up waits, by the API's clock.
    """

    campaign_key: str
    max_tries: int
    began: str
    shards: int
    recipients: int = 0
    lines: list[str] = field(default_factory=list)
    has_changed: bool = False
    doubt_since: str | None = None
    days: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    result: CampaignResult | None = None
    deadline: str | None = None

    @classmethod
    def load(cls, store: StateStore) -> Header | None:
        found = store.get(HEADER)
        return None if found is None else cls(**found)

    def save(self, store: StateStore) -> None:
        store.set(HEADER, asdict(self))


class Progress:
    """A mark for each recipient.

    :param keys: the idempotency keys, in any order.
    :param shards: how many values they are split into; the same in all tries of a campaign.
    :param name: under which the values stand in the store.
    :param lost: the mark of whose mark is lost.
    """

    def __init__(self, keys: Sequence[str], shards: int, name: str = HEADER, *, lost: int = BEGUN_SOMEWHERE) -> None:
        self._keys = sorted(keys)
        self._marks = bytearray(len(self._keys))
        self._name = name
        self._lost = lost
        # Where each range begins and, at the end, where the last one ends.
        starts = [_first_of(index, shards * RANGES) for index in range(shards * RANGES)]
        self._bounds = [bisect_left(self._keys, start, key=_place) for start in starts] + [len(self._keys)]
        self._checks = [self._check(low, high) for low, high in pairwise(self._bounds)]
        self._shards = shards
        self._changed = set(range(shards))

    def __getitem__(self, key: str) -> int:
        return self._marks[bisect_left(self._keys, key)]

    def __setitem__(self, key: str, mark: int) -> None:
        self._marks[bisect_left(self._keys, key)] = mark
        self._changed.add(_place(key) * self._shards >> 32)

    def __contains__(self, key: str) -> bool:
        position = bisect_left(self._keys, key)
        return position < len(self._keys) and self._keys[position] == key

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return zip(self._keys, self._marks, strict=True)

    def counts(self) -> Counter[int]:
        """Return how many recipients have which mark."""
        return Counter(self._marks)

    def has(self, mark: int) -> bool:
        """Whether any recipient has this mark."""
        return mark in self._marks

    def fill(self, mark: int) -> None:
        """Give all recipients this mark."""
        self._marks[:] = bytes([mark]) * len(self._marks)
        self._changed = set(range(self._shards))

    def save(self, store: StateStore) -> None:
        """Write the values that have changed since they were last written."""
        while self._changed:
            shard = self._changed.pop()
            store.set(f"{self._name}_{shard}", self._encoded(shard))

    def load(self, store: StateStore, *, has_changed: bool = False) -> bool:
        """
        Take over the marks of an earlier try, and return whether those of a range were not trusted.

        :param has_changed: that was so in an earlier try: a range may have lost recipients who had been sent to.
        """
        values = ((shard, store.get(f"{self._name}_{shard}")) for shard in range(self._shards))
        distrusted = [self._decode(shard, value, has_changed) for shard, value in values if value is not None]
        return any(distrusted)

    def _encoded(self, shard: int) -> dict[str, str]:
        ranges = range(shard * RANGES, (shard + 1) * RANGES)
        checks = [number for index in ranges for number in self._checks[index]]
        marks = self._marks[self._bounds[ranges.start] : self._bounds[ranges.stop]]
        return {"ranges": _packed(_CHECKS.pack(*checks)), "marks": _packed(marks)}

    def _decode(self, shard: int, value: Mapping[str, str], has_changed: bool) -> bool:
        distrusted = False
        checks = _CHECKS.unpack(_unpacked(value["ranges"]))
        marks = _unpacked(value["marks"])
        position = 0
        for index, count, digest in zip(count_from(shard * RANGES), checks[::2], checks[1::2], strict=False):
            low, high = self._bounds[index : index + 2]
            before = marks[position : position + count]
            position += count
            if (count, digest) == self._checks[index]:
                self._marks[low:high] = before
            elif has_changed or any(before):
                added = self._added(index, count, digest)
                if added is not None:
                    kept = iter(before)
                    for place in range(low, high):
                        is_old = place not in added
                        self._marks[place] = next(kept) if is_old else self._lost if has_changed else PENDING
                else:
                    self._marks[low:high] = bytes([self._lost]) * (high - low)
                distrusted = distrusted or has_changed or added is None
        return distrusted

    def _added(self, index: int, count: int, digest: int) -> tuple[int, ...] | None:
        """Return the positions of the keys that a range did not have before, if it had all others and no more."""
        low, high = self._bounds[index : index + 2]
        number = high - low - count
        if number < 1 or comb(high - low, number) > _TRIALS:
            return None
        wanted = self._checks[index][1] ^ digest
        digests = {place: _digest(self._keys[place]) for place in range(low, high)}
        for places in combinations(digests, number):
            if reduce(xor, map(digests.__getitem__, places), 0) == wanted:
                return places
        return None

    def _check(self, low: int, high: int) -> tuple[int, int]:
        return high - low, reduce(xor, map(_digest, self._keys[low:high]), 0)


def shards_for(recipients: int) -> int:
    """Return how many values so many recipients need."""
    return max(1, -(-recipients // SHARD))


def _place(key: str) -> int:
    """The place of a key among all possible ones: the first 32 bits of its hash."""
    return int(key[-64:-56], 16)


def _digest(key: str) -> int:
    return int(key[-56:-48], 16)


def _first_of(index: int, parts: int) -> int:
    """The first place in one of so many equal parts."""
    return -(-(index << 32) // parts)


def _packed(data: bytes | bytearray) -> str:
    return base64.b64encode(zlib.compress(data)).decode()


def _unpacked(text: str) -> bytes:
    return zlib.decompress(base64.b64decode(text))
