"""
### One message, on weekday mornings

Sends a message at nine on weekdays, by New York time, and waits until it has been delivered.

* The schedule is in the time zone of the people who get it, so nobody is woken by a change of daylight saving time.
* In the quiet hours the message is skipped: that of a run that comes late, after an outage or by hand, and that of a
  retry. They are checked right before the send, since a task of its own may be hours ahead of it.
* A retry never sends a second message.

It needs the connection `linq_default` with a default line.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pendulum
from airflow.sdk import Param, dag
from airflow.sdk.exceptions import AirflowSkipException

from airflow_provider_linq.operators.messages import LinqSendMessageOperator
from airflow_provider_linq.sensors.linq import LinqDeliverySensor

NEW_YORK = pendulum.timezone("America/New_York")


def is_quiet(hour: int, quiet_from: int, quiet_to: int) -> bool:
    """Whether an hour is in the quiet ones, which may go over midnight."""
    if quiet_from < quiet_to:
        return quiet_from <= hour < quiet_to
    return hour >= quiet_from or hour < quiet_to


def skip_in_quiet_hours(context: Any) -> None:
    params = context["params"]
    if is_quiet(datetime.now(NEW_YORK).hour, params["quiet_from"], params["quiet_to"]):
        raise AirflowSkipException("These are quiet hours")


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
    send = LinqSendMessageOperator(
        task_id="send",
        to="{{ params.to }}",
        message="{{ params.text }}",
        pre_execute=skip_in_quiet_hours,
    )
    # A task of its own: what is checked before a task is executed is checked again when it comes back from the
    # triggerer, and a message that has been sent must not be marked as skipped.
    LinqDeliverySensor(
        task_id="arrived",
        message_id=send.output["message_id"],
        timeout=timedelta(hours=1),
        poke_interval=5,
        deferrable=True,
    )


linq_send_message()
