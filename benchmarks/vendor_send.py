"""The vendor's client in a loop, as one would write it first: a chat for each row, one after the other.

It takes ``--config FILE`` like a tap, and besides that the rows, and a path for the seconds that it took.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter

from linq import LinqAPIV3


def send(config: Mapping[str, str], line: str, rows: Path) -> float:
    """Send, and return the seconds, without those of the imports."""
    started = perf_counter()
    client = LinqAPIV3(api_key=config["api_key"], base_url=config["base_url"])
    with rows.open() as lines:
        for number, row in enumerate(map(json.loads, lines)):
            text = f"Hello {row['first_name']}, your order {row['order']} is ready. We are here until {row['closes']}."
            parts = [{"type": "text", "value": text}]
            client.chats.create(
                from_=line, to=[row["to"]], message={"parts": parts, "idempotency_key": f"vendor-{number}"}
            )
    return perf_counter() - started


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--line", required=True)
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--figures", type=Path, required=True)
    given = parser.parse_args()
    seconds = send(json.loads(given.config.read_text()), given.line, given.rows)
    given.figures.write_text(json.dumps({"seconds": seconds}))
