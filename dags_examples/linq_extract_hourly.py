"""
### Extraction every hour, one task a line

Runs `tap-linq` for each line of the account side by side, keeps what it emits as JSON Lines, and fails when messages
may have expired before they were read.

* Each line has its own STATE, so that one line that fails does not hold the others back, and goes on where it stopped.
* STATE is replaced only when the rows that it stands for are stored. A run that is killed leaves the older STATE: the
  next one emits the same rows again, so load them by key and take the newest of each.
* Choose the schedule by your window: an hour suits one of 24 hours; every 10 minutes suits one of 1 hour.

The asset `linq_messages` is updated by each line; its events say how far the line is read, and DAGs can be scheduled on
it.

It needs the connection `linq_default`, and `linq-connectors[tap]` with the workers. For more than one worker, let
`folder` be an object store that all of them reach.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.sdk import Asset, Param, dag, task

from airflow_provider_linq.hooks.linq import LinqHook
from airflow_provider_linq.operators.extract import LinqExtractOperator


@dag(
    schedule="@hourly",
    start_date=pendulum.datetime(2026, 3, 1, tz="America/New_York"),
    catchup=False,
    max_active_runs=1,  # two runs of one line would race for its STATE
    tags=["example", "linq"],
    doc_md=__doc__,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    params={"folder": Param("/tmp/linq", type="string", description="Where files and STATE are kept.")},
)
def linq_extract_hourly() -> None:
    @task
    def list_lines() -> list[str]:
        return [line.phone_number for line in LinqHook().client.phone_numbers.list()]

    LinqExtractOperator.partial(
        task_id="extract",
        folder="{{ params.folder }}",
        on_gap="fail",
        outlets=[Asset("linq_messages")],
        map_index_template="{{ task.lines }}",
    ).expand(lines=list_lines())


linq_extract_hourly()
