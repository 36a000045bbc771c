"""A campaign in a process of its own, as a worker of Airflow has it; what it took is written to a file.

It takes ``--config FILE`` like a tap, and besides that the rows, the path of the outcomes, and a path for the figures.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from time import perf_counter, process_time
from types import SimpleNamespace
from typing import Any

MESSAGE = "Hello {{ row.first_name }}, your order {{ row.order }} is ready. We are here until {{ row.closes }}."


class Store:
    """A task state store in memory that keeps count of what stands in it."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}
        self.writes = 0
        self.largest = 0
        self.first_write: float | None = None

    def get(self, key: str, default: Any = None) -> Any:
        return json.loads(self._values[key]) if key in self._values else default

    def set(self, key: str, value: Any, *, retention: Any) -> None:
        if self.first_write is None:
            self.first_write = perf_counter()
        self._values[key] = json.dumps(value)
        self.writes += 1
        self.largest = max(self.largest, sum(map(len, self._values.values())))

    def delete(self, key: str) -> None:
        self._values.pop(key, None)


def send(config: Mapping[str, str], line: str, rows: str, outcomes: str, concurrency: int) -> dict[str, Any]:
    """Send the campaign, and return what that took, without the imports."""
    conn = {"conn_type": "linq", "password": config["api_key"], "host": config["base_url"]}
    os.environ["AIRFLOW_CONN_LINQ_DEFAULT"] = json.dumps(conn)
    # Not above: Airflow reads its home when first imported. A task runs in a fork of its supervisor, so both are there.
    import airflow.sdk.execution_time.supervisor
    import airflow.sdk.execution_time.task_runner  # noqa: F401
    from airflow.sdk import DAG

    from airflow_provider_linq.campaigns.config import NO_CEILING
    from airflow_provider_linq.operators.campaigns import LinqSendCampaignOperator

    operator = LinqSendCampaignOperator(
        task_id="campaign",
        message=MESSAGE,
        rows_path=rows,
        outcomes_path=outcomes,
        from_=line,
        concurrency=concurrency,
        line_limits=NO_CEILING,
    )
    ids = {"dag_id": "dag", "run_id": "run", "task_id": "campaign", "map_index": -1, "try_number": 1, "max_tries": 0}
    store, run = Store(), SimpleNamespace(start_date=datetime.now(timezone.utc))
    context: Any = {"dag": DAG("dag"), "ti": SimpleNamespace(**ids), "dag_run": run, "task_state_store": store}
    started, cpu = perf_counter(), process_time()
    result = operator.execute(context)
    return {
        "sent": result["sent"],
        "seconds": perf_counter() - started,
        "cpu": process_time() - cpu,
        "before_first": (store.first_write or started) - started,
        "store_writes": store.writes,
        "store_size": store.largest,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--line", required=True)
    parser.add_argument("--rows", required=True)
    parser.add_argument("--outcomes", required=True)
    parser.add_argument("--figures", type=Path, required=True)
    parser.add_argument("--concurrency", type=int, required=True)
    given = parser.parse_args()
    config = json.loads(given.config.read_text())
    os.dup2(2, 1)  # Airflow logs to standard output, where only a tap's messages are looked for
    with tempfile.TemporaryDirectory() as home:
        os.environ["AIRFLOW_HOME"] = home
        figures = send(config, given.line, given.rows, given.outcomes, given.concurrency)
    given.figures.write_text(json.dumps(figures))
