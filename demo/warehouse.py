"""What the loader has written, held against what the platform ever accepted, message by message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb

from demo.programs import say

# Each run of the loader writes files of its own, in order of their names; the newest row of an id counts.
NEWEST = """
    select id, line, direction, text
    from read_json(?, format = 'newline_delimited', filename = true, union_by_name = true, sample_size = -1)
    qualify row_number() over (partition by id order by filename desc) = 1
"""


def compare(ledger: Sequence[Mapping[str, Any]], output: Path) -> bool:
    """Print a table of the ledger against the warehouse and return whether every message is there, as it was last.

    Args:
        ledger: rows with `id`, `line`, `direction` and `text`.
        output: folder of the JSONL files.
    """
    rows = duckdb.execute(NEWEST, [str(output / "messages*.jsonl")]).fetchall()
    stored = {str(id_): (line, direction, text) for id_, line, direction, text in rows}
    say("The ledger of the emulator against the warehouse (JSONL, read with DuckDB, newest row of each id):")
    print(f"  {'line':<14}{'direction':<11}{'ledger':>8}{'warehouse':>11}{'missing':>9}{'different':>11}")
    total = [0, 0, 0, 0]
    for line, direction in sorted({(row["line"], row["direction"]) for row in ledger}):
        accepted = [row for row in ledger if (row["line"], row["direction"]) == (line, direction)]
        found = [row for row in accepted if row["id"] in stored]
        different = [row for row in found if stored[row["id"]] != (line, direction, row["text"])]
        counts = [len(accepted), len(found), len(accepted) - len(found), len(different)]
        print(f"  {line:<14}{direction:<11}{counts[0]:>8}{counts[1]:>11}{counts[2]:>9}{counts[3]:>11}")
        total = [one + other for one, other in zip(total, counts, strict=True)]
        for row in accepted:
            if row not in found or row in different:
                print(f"    {row['id']} is {'different' if row in found else 'missing'}")
    extra = len(stored.keys() - {row["id"] for row in ledger})
    print(f"  {'all':<25}{total[0]:>8}{total[1]:>11}{total[2]:>9}{total[3]:>11}")
    if extra:
        print(f"    {extra} in the warehouse that the ledger does not know")
    return total[0] > 0 and total[2] == 0 and total[3] == 0 and not extra
