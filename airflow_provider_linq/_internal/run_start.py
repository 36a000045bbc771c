"""Since when a task may have made requests of which nothing is on record."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from linq_client.times import to_server_time

if TYPE_CHECKING:
    from airflow.sdk import Context

#: How far apart the clocks of Airflow's database and of the worker may be.
CLOCKS_APART: Final = timedelta(minutes=10)


def earliest_request(context: Context, server_now: datetime) -> datetime:
    """
    Return a moment before which no try of the task can have made a request, by the API's clock.

    :param server_now: by the API's clock.
    """
    run = context["dag_run"]
    # A clear sets the start anew. When the run was due stays; for a backfill that can be long ago, so only then.
    start = run.run_after if run.clear_number else run.start_date or run.run_after
    return to_server_time(start, server_now) - CLOCKS_APART
