"""
### A weekly campaign from a table

Asks once a week all customers in a table, by day in their own time zone, waits for the deliveries, and takes those who
have opted out off the list. Linq allows no blasts: let somebody read the replies.

* The campaign key names the week: a retry, a cleared task and another DAG run in the same week write to nobody twice.
* Nobody hears of it later than thirty hours after Tuesday, 13:00: not after an outage, nor when the DAG is unpaused.
* Who is in the send window gets the message immediately. For the others the task waits, deferred, without a worker.
* Deliveries are polled when all have been sent to, and every five minutes from then on, for the delivery report.
* A row that can't be sent to is left out, and is in the outcomes file with what is wrong with it. If more than half of
  the rows are, nobody is written to.
* Beside the outcomes file lies the journal: a try, or another DAG run, continues with it.
* The pause between tries is long enough for looks: some of who is in doubt can only be settled after five minutes.
* Opt-outs come from two places: whom the platform refused is in the outcomes, who answered with STOP is in the report.
  They are written back even if the campaign has failed; the run then still counts as failed.

It needs the connection `linq_default` with a default line, a connection `customers_db` to a database with the table
`customers (handle, first_name, time_zone, opted_out_at)`, and a running triggerer. For more than one worker, let
`folder` be on a shared disk or in an object store.
"""

from __future__ import annotations

import json
from contextlib import closing
from datetime import timedelta
from typing import Any

import pendulum
from airflow.sdk import BaseHook, ObjectStoragePath, Param, dag, teardown

from airflow_provider_linq.campaigns import DeliveryReport, RateLimits
from airflow_provider_linq.operators.campaigns import LinqSendCampaignOperator

WEEK = "{{ dag_run.run_after.strftime('%G-W%V') }}"
OUTCOMES = f"{{{{ params.folder }}}}/{WEEK}-outcomes.jsonl"
REPORT = f"{{{{ params.folder }}}}/{WEEK}-report.jsonl"


@dag(
    schedule="0 13 * * TUE",
    start_date=pendulum.datetime(2026, 3, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,  # a campaign with low limits may take days
    tags=["example", "linq"],
    doc_md=__doc__,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=6)},
    params={"folder": Param("/tmp/linq", type="string", description="Where outcomes and report are written.")},
)
def campaign() -> None:
    send = LinqSendCampaignOperator(
        task_id="send",
        sql="select handle, first_name, time_zone from customers where opted_out_at is null order by handle",
        sql_conn_id="customers_db",
        to_field="handle",
        message=(
            "Hello {{ row.first_name | default('there') }}! Our soup of the week is pumpkin. Shall we keep you a bowl? "
            "Reply STOP if you would rather not hear from us."
        ),
        campaign_key=f"soup-{WEEK}",
        on_invalid="skip",
        max_invalid=0.5,
        line_limits=RateLimits(messages_per_minute=60, messages_per_day=3_000, new_chats_per_day=50),
        send_window=("09:00", "20:00"),
        timezone="America/New_York",
        timezone_field="time_zone",
        not_after=timedelta(hours=30),  # the soup is this week's; without it, a run that begins late would still send
        max_failures=0.05,
        outcomes_path=OUTCOMES,
        delivery_report=DeliveryReport(delivered_share=0.95, timeout=timedelta(hours=6)),
        report_path=REPORT,
        deferrable=True,
    )

    @teardown  # runs also when `send` has failed, and does not hide that it has
    def write_back(outcomes: str, report: str) -> int:
        rows = [row for path in (outcomes, report) for row in read(path)]
        opted_out = {
            handle for row in rows if row.get("reason") == "opted_out" or row.get("opted_out") for handle in row["to"]
        }
        hook: Any = BaseHook.get_connection("customers_db").get_hook()
        update = (
            "update customers set opted_out_at = current_timestamp "
            f"where lower(handle) = {hook.placeholder} and opted_out_at is null"
        )
        with closing(hook.get_conn()) as connection, closing(connection.cursor()) as cursor:
            cursor.executemany(update, [(handle,) for handle in sorted(opted_out)])
            connection.commit()
        return len(opted_out)

    send >> write_back(OUTCOMES, REPORT)


def read(path: str) -> list[dict[str, Any]]:
    """Read a file of JSON Lines; a campaign that has failed may have left none."""
    file = ObjectStoragePath(path)
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


campaign()
