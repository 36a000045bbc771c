"""The last act: dbt makes the models of `dbt_linq` of what the loader has written, and they answer what people ask."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import duckdb

from demo.programs import HOME, attempt, run, say

DATABASE: Final = HOME / "warehouse.duckdb"

#: The first Python that dbt-core 1.11 can't run on: it says 3.13, and a library that it pins fails with a newer one.
_TOO_NEW: Final = (3, 14)

_QUESTIONS: Final = {
    "How far did our messages come?": """
        select line, service, sum(message_count) as sent, sum(delivered_count) as delivered,
            sum(failed_count) as failed, sum(downgraded_count) as downgraded
        from linq__delivery_funnel
        group by line, service
        order by line, service
    """,
    "Whose turn is it, and how long do people wait for an answer?": """
        select line, count(distinct chat_id) filter (status = 'open') as open_conversations,
            count(*) filter (status = 'answered') as answers,
            cast(median(calendar_seconds) / 60 as integer) as median_minutes
        from linq__response_times
        where not is_group
        group by line
        order by line
    """,
    "When did nobody poll in time, and what do we know of it?": """
        select line, reason, round(gap_seconds / 3600, 1) as hours,
            round(covered_seconds / 3600, 1) as hours_in_archive, recovered_message_count as messages_recovered
        from linq__extraction_coverage
        where gap_start is not null
        order by gap_start, line
    """,
}


def answer(ledger: Sequence[Mapping[str, Any]], loaded: Path, as_of: datetime) -> bool:
    """Build the models, print three answers, and return whether they know every message; True where dbt can't be had.

    Args:
        ledger: rows with `id` and `direction`.
        loaded: folder of the JSONL files.
        as_of: the moment for which the models speak.
    """
    missing = _install()
    if missing:
        say(f"The act with dbt is left out, since dbt can't be had here: {missing}")
        return True
    _make_views(loaded)
    say("dbt: meltano invoke dbt-duckdb:build, which makes the models of dbt_linq and tests them ...")
    variables = json.dumps({"linq_as_of": as_of.isoformat()})
    run(["meltano", "invoke", "dbt-duckdb:build", "--vars", variables], {}, HOME / "dbt-build.log")
    with duckdb.connect(str(DATABASE), read_only=True) as database:
        database.execute("set schema = 'models'")
        for question, sql in _QUESTIONS.items():
            say(question)
            _print(database.execute(sql))
        found = dict(database.execute("select message_id, direction from linq__messages").fetchall())
    say(f"The models know {len(found)} messages. Ask them more: they are in {DATABASE.relative_to(HOME.parent)}.")
    return found == {row["id"]: row["direction"] for row in ledger}


def _install() -> str | None:
    """Install dbt, unless it is there, and return why that can't be done."""
    if sys.version_info >= _TOO_NEW:
        return f"it does not know Python {'.'.join(map(str, sys.version_info[:2]))}"
    say("dbt: meltano install dbt-duckdb ...")
    log = HOME / "dbt-install.log"
    if attempt(["meltano", "install", "dbt-duckdb"], {}, log) == 0:
        return None
    reasons = [line.strip("│ ") for line in log.read_text().splitlines() if "error:" in line or "cause:" in line]
    return f"{'; '.join(reasons[:2]) or 'it was not installed'} (all of it is in {log.relative_to(HOME.parent)})"


def _make_views(loaded: Path) -> None:
    """Make a view for each stream, of all files that the loader has made of it, as the guide says."""
    streams = sorted({file.name.rpartition("-")[0] for file in loaded.glob("*.jsonl")})
    folder = str(loaded).replace("'", "''")
    with duckdb.connect(str(DATABASE)) as database:
        database.execute("create schema linq")
        for stream in streams:
            files = f"read_json('{folder}/{stream}-*.jsonl', filename = true, union_by_name = true)"
            database.execute(f"create view linq.{stream} as select * from {files}")


def _print(found: duckdb.DuckDBPyConnection) -> None:
    names = [column[0].replace("_", " ") for column in found.description or ()]
    rows = [["" if value is None else str(value) for value in row] for row in found.fetchall()]
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
    for row in (names, *rows):
        print("  " + "  ".join(value.ljust(width) for value, width in zip(row, widths, strict=True)).rstrip())
