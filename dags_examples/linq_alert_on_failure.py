"""
### A message when something fails or is late

Tells the person on call when a task has failed for good, and when the DAG is not done in time.

* A callback that Airflow calls twice in the same try sends once.
* The deadline alert is sent by the triggerer.

It needs the connection `linq_default` with a default line.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import AsyncCallback, DeadlineAlert, DeadlineReference, Param, dag, task

from airflow_provider_linq.notifications.linq import LinqNotifier

ON_CALL = "+12125550110"


@dag(
    schedule=None,
    catchup=False,
    tags=["example", "linq"],
    doc_md=__doc__,
    deadline=DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(hours=2),
        callback=AsyncCallback(LinqNotifier, kwargs={"to": ON_CALL, "message": "The nightly load is late."}),
    ),
    params={"rows": Param(0, type="integer", description="How many rows the load finds; with none it fails.")},
)
def linq_alert_on_failure() -> None:
    @task(
        on_failure_callback=LinqNotifier(
            to=ON_CALL, message="{{ ti.dag_id }}: {{ ti.task_id }} has failed in try {{ ti.try_number }}."
        )
    )
    def load(params: dict[str, int]) -> int:
        if not params["rows"]:
            raise ValueError("nothing to load")
        return params["rows"]

    load()


linq_alert_on_failure()
