"""
### One message, on weekday mornings

Sends a message at nine on weekdays, by New York time, and finishes when it has been delivered.

* The schedule is in the time zone of the people who get it, so nobody is woken by a change of daylight saving time.
* `quiet_hours` stops a run that comes late, after an outage or by hand in the night: its message is skipped.
* A retry never sends a second message.

It needs the connection `linq_default` with a default line.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import pendulum
from airflow.sdk import Param, dag, task

from airflow_provider_linq.operators.linq import LinqSendMessageOperator

NEW_YORK = pendulum.timezone("America/New_York")


@dag(
    schedule="0 9 * * MON-FRI",
    start_date=pendulum.datetime(2026, 3, 2, tz=NEW_YORK),
    catchup=False,
    tags=["example", "linq"],
    doc_md=__doc__,
    default_args={"retries": 3, "retry_delay": timedelta(seconds=30)},
    params={
        "to": Param("+12125550110", type="string", description="Handle to write to: E.164 number or e-mail address."),
        "text": Param("Good morning! We open at ten today.", type="string", minLength=1),
        "quiet_from": Param(21, type="integer", minimum=0, maximum=24, description="Write to nobody from this hour"),
        "quiet_to": Param(8, type="integer", minimum=0, maximum=24, description="until this one."),
    },
)
def linq_send_message() -> None:
    @task.short_circuit
    def quiet_hours(params: dict[str, int]) -> bool:
        hour = datetime.now(NEW_YORK).hour
        return params["quiet_to"] <= hour < params["quiet_from"]

    send = LinqSendMessageOperator(
        task_id="send",
        to="{{ params.to }}",
        message="{{ params.text }}",
        wait_for_delivery="delivered",
        delivery_timeout=timedelta(hours=1),
        poll_interval=5,
        deferrable=True,
    )
    quiet_hours() >> send


linq_send_message()
