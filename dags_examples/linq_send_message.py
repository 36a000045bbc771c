"""
### One message, on weekday mornings

Sends a message at nine on weekdays, by New York time, and waits until it has been delivered.

* The schedule is in the time zone of the people who get it, so nobody is woken by a change of daylight saving time.
* What is late is not sent: a run after an outage, the slot that Airflow makes up for when the DAG is unpaused, and a
  retry or a clear in the evening are skipped.
* A retry never sends a second message.

It needs the connection `linq_default` with a default line.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.sdk import Param, dag

from airflow_provider_linq.operators.messages import LinqSendMessageOperator
from airflow_provider_linq.sensors.linq import LinqDeliverySensor


@dag(
    schedule="0 9 * * MON-FRI",
    start_date=pendulum.datetime(2026, 3, 2, tz="America/New_York"),
    catchup=False,
    tags=["example", "linq"],
    doc_md=__doc__,
    default_args={"retries": 3, "retry_delay": timedelta(seconds=30)},
    params={
        "to": Param("+12125550110", type="string", description="Handle to write to: E.164 number or e-mail address."),
        "text": Param("Good morning! We open at ten today.", type="string", minLength=1),
    },
)
def linq_send_message() -> None:
    send = LinqSendMessageOperator(
        task_id="send",
        to="{{ params.to }}",
        message="{{ params.text }}",
        not_after=timedelta(hours=3),
    )
    LinqDeliverySensor(
        task_id="arrived",
        message_id=send.output["message_id"],
        timeout=timedelta(hours=1),
        poke_interval=5,
        deferrable=True,
    )


linq_send_message()
