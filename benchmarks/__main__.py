"""`python -m benchmarks [name ...] [--quick]`: run the comparisons and print what was found."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from time import perf_counter

from benchmarks.account import SEED
from benchmarks.campaigns import campaigns
from benchmarks.comparisons import cpu, latency, many_chats, memory
from benchmarks.day import day
from benchmarks.measure import RunError
from benchmarks.pace import pace
from benchmarks.start import start
from benchmarks.table import Found, Row, table
from benchmarks.warehouse import warehouse
from benchmarks.webhooks import webhooks

COMPARISONS: dict[str, Callable[[bool], Found]] = {
    "emulator": pace,
    "start": start,
    "latency": latency,
    "cpu": cpu,
    "chats": many_chats,
    "memory": memory,
    "day": day,
    "warehouse": warehouse,
    "campaigns": campaigns,
    "webhooks": webhooks,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"one of {', '.join(COMPARISONS)}; all if left out")
    parser.add_argument("--quick", action="store_true", help="a tenth of the work: to see that everything runs")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.names) - set(COMPARISONS))
    if unknown:
        parser.error(f"no comparison is called {', '.join(unknown)}; there are {', '.join(COMPARISONS)}")
    rows: list[Row] = []
    failed = [name for name in arguments.names or COMPARISONS if not compare(name, arguments.quick, rows)]
    print(f"{os.cpu_count()} cores, LINQ_SEED={SEED}{', --quick' if arguments.quick else ''}\n\n{table(rows)}")
    if failed:
        print(f"\nFAILED: {', '.join(failed)}; see above.")
    return 1 if failed else 0


def compare(name: str, quick: bool, rows: list[Row]) -> bool:
    """Run one comparison, print its figures and add its rows; False if a run failed."""
    comparison, started = COMPARISONS[name], perf_counter()
    print(f"{name}: {comparison.__doc__}", flush=True)
    try:
        found = comparison(quick)
    except RunError as error:
        print(f"  FAILED: {error}\n", flush=True)
        return False
    for figure in found.figures:
        print(f"  {figure}")
    print(f"  ({perf_counter() - started:.0f} s)\n", flush=True)
    rows += found.rows
    return True


if __name__ == "__main__":
    sys.exit(main())
