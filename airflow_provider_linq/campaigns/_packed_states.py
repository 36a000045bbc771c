"""The states of a campaign's recipients, small enough for the task state store: one byte each, compressed.

The bytes stand in the order of the keys, which are hashes, so that the order of the input does not matter. They are
split into values of about 50,000 recipients each, so that a value stays under the 64 KB that the store is meant for,
however many recipients there are: bytes of few kinds compress to 1 or 2 bits, and to 3 at worst.

The input may change between two tries. Each value therefore also has, for each of 512 ranges of keys, the number of its
recipients and a digest of their keys: 128 bits of SHA-256, too many for two sets of keys to share one, by chance or by
design. If a range has lost nobody and gained up to three recipients, trial shows which; a checksum, the XOR of 16 bits
of the keys, tells beforehand which trials are worth a digest. The states of a range that has changed in another way are
lost: all of its recipients count as claimed, from a line that is not on record.
"""

from __future__ import annotations

import base64
import hashlib
import struct
import zlib
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, reduce
from itertools import combinations, pairwise
from math import comb
from operator import xor
from typing import Any, Final, NamedTuple

from airflow_provider_linq._internal import durable
from airflow_provider_linq._internal.durable import StateStore

SHARD: Final = 50_000
RANGES: Final = 512

#: How many sets of keys are tried to find those that were added to a range: enough for three, if the value is full.
_TRIALS: Final = 10_000


#: States in long rows compress best with a search for repetitions, and those at random without.
_STRATEGIES: Final = (zlib.Z_DEFAULT_STRATEGY, zlib.Z_RLE)


class _Check(NamedTuple):
    """What tells whether a range has the same recipients as before."""

    size: int
    checksum: int
    digest: bytes


_DIGEST_SIZE: Final = 16
_NOBODY: Final = _Check(0, 0, hashlib.sha256().digest()[:_DIGEST_SIZE])

#: Sizes, checksums and digests of the ranges, each in a row: digests can't be compressed, and would be in the way.
_NUMBERS: Final = struct.Struct(f"<{RANGES}I{RANGES}H")


class PackedStates:
    """
    A number below 256 for each recipient.

    :param keys: the idempotency keys, in any order, which differ in nothing but their hash.
    :param shards: how many values they are split into.
    :param name: of the values in the store; a number follows.
    :param first: the number of the first value.
    :param lost: the state of a recipient whose state is lost.
    """

    def __init__(self, keys: Sequence[str], shards: int, name: str, *, first: int = 0, lost: int) -> None:
        self._keys = sorted(keys)
        self._states = bytearray(len(self._keys))
        self._name = name
        self._first = first
        self._lost = lost
        # Where each range begins and, at the end, where the last one ends.
        prefix = self._keys[0][:-64] if self._keys else ""
        self._bounds = [bisect_left(self._keys, prefix + start) for start in _starts_of(shards * RANGES)]
        self._bounds.append(len(self._keys))
        self._checks = [_check_of(self._keys[low:high]) for low, high in pairwise(self._bounds)]
        self._shards = shards
        self._changed = set(range(shards))

    def __getitem__(self, key: str) -> int:
        return self._states[bisect_left(self._keys, key)]

    def __setitem__(self, key: str, state: int) -> None:
        self._states[bisect_left(self._keys, key)] = state
        self._changed.add(_place(key) * self._shards >> 32)

    def __contains__(self, key: str) -> bool:
        position = bisect_left(self._keys, key)
        return position < len(self._keys) and self._keys[position] == key

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return zip(self._keys, self._states, strict=True)

    def counts(self) -> Counter[int]:
        """Return how many recipients are in which state."""
        return Counter(self._states)

    def has(self, state: int) -> bool:
        """Whether any recipient is in this state."""
        return state in self._states

    def fill(self, state: int) -> None:
        """Put all recipients into this state."""
        self._states[:] = bytes([state]) * len(self._states)
        self._changed = set(range(self._shards))

    def save(self, store: StateStore) -> None:
        """Write the values that have changed since they were last written."""
        while self._changed:
            shard = next(iter(self._changed))
            store.set(self._name_of(shard), durable.write(self._encoded(shard)))
            self._changed.discard(shard)  # not before: a signal may come at any moment

    def load(self, store: StateStore, *, has_changed: bool = False) -> bool:
        """
        Take over the states of an earlier try, and return whether those of a range were lost.

        :param has_changed: the input has changed before: recipients who had been sent to may have been out of it.
        :raises FormatError: they were written by another version.
        """
        lost = False
        for shard in range(self._shards):
            name = self._name_of(shard)
            value = store.get(name)
            if value is not None:
                lost = self._decode(shard, durable.check_format(name, value), has_changed) or lost
        return lost

    def split_further(self, shards: int) -> PackedStates:
        """Return the same states, split into more values, which take numbers of their own."""
        split = PackedStates(self._keys, shards, self._name, first=self._first + self._shards, lost=self._lost)
        split._states[:] = self._states
        return split

    def _name_of(self, shard: int) -> str:
        return f"{self._name}_{self._first + shard}"

    def _encoded(self, shard: int) -> dict[str, str]:
        start, stop = shard * RANGES, (shard + 1) * RANGES
        sizes, checksums, digests = zip(*self._checks[start:stop], strict=True)
        states = self._states[self._bounds[start] : self._bounds[stop]]
        return {"ranges": _packed(_NUMBERS.pack(*sizes, *checksums) + b"".join(digests)), "states": _packed(states)}

    def _decode(self, shard: int, value: Mapping[str, Any], has_changed: bool) -> bool:
        has_lost = False
        states = _unpacked(value["states"])
        position = 0
        for index, before in enumerate(_checks_in(_unpacked(value["ranges"])), start=shard * RANGES):
            states_before = states[position : position + before.size]
            position += before.size
            low, high = self._bounds[index : index + 2]
            if before == self._checks[index]:
                self._states[low:high] = states_before
            elif has_changed or any(states_before):
                added = self._added(index, before)
                if added is None:
                    self._states[low:high] = bytes([self._lost]) * (high - low)
                else:
                    kept = iter(states_before)
                    new = self._lost if has_changed else 0
                    self._states[low:high] = bytes(new if at in added else next(kept) for at in range(low, high))
                has_lost = has_lost or has_changed or added is None
        return has_lost

    def _added(self, index: int, before: _Check) -> tuple[int, ...] | None:
        """Return the positions of the keys that a range did not have before, if it had all others and no more."""
        low, high = self._bounds[index : index + 2]
        number = high - low - before.size
        if number < 1 or comb(high - low, number - 1) > _TRIALS:
            return None
        wanted = self._checks[index].checksum ^ before.checksum
        for places in _places_with(wanted, number, {at: _checksum(self._keys[at]) for at in range(low, high)}):
            others = [self._keys[at] for at in range(low, high) if at not in places]
            if _check_of(others) == before:
                return places
        return None


def shards_for(recipients: int) -> int:
    """Return how many values so many recipients need."""
    return max(1, -(-recipients // SHARD))


def _check_of(keys: Sequence[str]) -> _Check:
    if not keys:  # as in most ranges of a small campaign
        return _NOBODY
    digest = hashlib.sha256("".join(keys).encode()).digest()[:_DIGEST_SIZE]
    return _Check(len(keys), reduce(xor, map(_checksum, keys), 0), digest)


def _checks_in(data: bytes) -> Iterator[_Check]:
    numbers, digests = _NUMBERS.unpack_from(data), data[_NUMBERS.size :]
    for index in range(RANGES):
        digest = digests[index * _DIGEST_SIZE : (index + 1) * _DIGEST_SIZE]
        yield _Check(numbers[index], numbers[RANGES + index], digest)


def _places_with(wanted: int, number: int, checksums: Mapping[int, int]) -> Iterator[tuple[int, ...]]:
    """Yield the sets of so many places whose checksums make this one; the last place follows from the others."""
    places_of: dict[int, list[int]] = {}
    for place, checksum in checksums.items():
        places_of.setdefault(checksum, []).append(place)
    for places in combinations(checksums, number - 1):
        rest = reduce(xor, map(checksums.__getitem__, places), wanted)
        for last in places_of.get(rest, ()):
            if not places or last > places[-1]:
                yield (*places, last)


def _place(key: str) -> int:
    """The place of a key among all possible ones: the first 32 bits of its hash."""
    return int(key[-64:-56], 16)


def _checksum(key: str) -> int:
    return int(key[-56:-52], 16)


@cache
def _starts_of(parts: int) -> list[str]:
    """The first place in each of so many equal parts, in hexadecimal."""
    return [f"{-(-(index << 32) // parts):08x}" for index in range(parts)]


def _packed(data: bytes | bytearray) -> str:
    return base64.b64encode(min((_compressed(data, how) for how in _STRATEGIES), key=len)).decode()


def _compressed(data: bytes | bytearray, strategy: int) -> bytes:
    compressor = zlib.compressobj(strategy=strategy)
    return compressor.compress(data) + compressor.flush()


def _unpacked(text: str) -> bytes:
    return zlib.decompress(base64.b64decode(text))
