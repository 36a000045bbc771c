"""The table of what was emitted: it says what a dict would."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tap_linq.extraction.seen_table import CHANGED, ENTRY_SIZE, SeenNotes, SeenTable

#: Few of them, some of which look like the end of one entry and the beginning of the next.
BYTES = st.sampled_from([b"\0", b"\1", b"\x7f", b"\x80", b"\xff"])
KEYS = st.lists(BYTES, min_size=8, max_size=8).map(b"".join)
VERSIONS = st.sampled_from([b"\1" * 8, b"\0" * 7 + b"\1", b"\xff" * 8])
NOTED = st.lists(st.tuples(KEYS, VERSIONS, st.integers(0, 50)), max_size=300)


def entries_of(noted: list[tuple[bytes, bytes, int]]) -> dict[bytes, tuple[bytes, int]]:
    found: dict[bytes, tuple[bytes, int]] = {}
    for key, version, at in noted:
        before = found.get(key, (version, at))
        found[key] = (version if before[0] == version else CHANGED, max(at, before[1]))
    return found


@settings(max_examples=40)
@given(NOTED, NOTED, st.integers(0, 60))
def test_a_table_says_what_was_noted(
    first: list[tuple[bytes, bytes, int]], second: list[tuple[bytes, bytes, int]], since: int
) -> None:
    table = SeenTable()
    for noted, kept_since in ((first, 0), (second, since)):
        notes = SeenNotes()
        for one in noted:
            notes.add(*one)
        table = SeenTable(bytes(notes.after(table, kept_since)))
    kept = {key: one for key, one in entries_of(first).items() if one[1] >= since}
    wanted = {**kept, **entries_of(second)}
    assert len(table) == len(wanted) == len(table.data) / ENTRY_SIZE
    assert {key: table.find(key) for key in wanted} == wanted
    assert table.data == b"".join(
        key + version + at.to_bytes(4, "big") for key, (version, at) in sorted(wanted.items())
    )
    for key, _, _ in first:
        assert (table.find(key) is None) == (key not in wanted)


def test_many_entries_are_found() -> None:
    notes = SeenNotes()
    keys = [(number * 0x9E3779B97F4A7C15 % 2**64).to_bytes(8, "big") for number in range(5_000)]
    for number, key in enumerate(keys):
        notes.add(key, number.to_bytes(8, "big"), number)
    table = SeenTable(bytes(notes.after(SeenTable(), 0)))
    assert [table.find(key) for key in keys] == [(n.to_bytes(8, "big"), n) for n in range(5_000)]
    assert table.find(b"\0" * 7 + b"\7") is None
