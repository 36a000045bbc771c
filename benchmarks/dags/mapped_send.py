"""What a campaign is compared with: a mapped task, an instance of it for each recipient."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, task

from airflow_provider_linq.operators.messages import LinqSendMessageOperator

with DAG("mapped_send", schedule=None, params={"recipients": 1}):

    @task
    def recipients(params: dict[str, Any]) -> list[str]:
        return [f"mapped{number}@example.com" for number in range(int(params["recipients"]))]

    LinqSendMessageOperator.partial(task_id="send", message="Hello, your order is ready.").expand(to=recipients())
