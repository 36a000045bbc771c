"""An extraction with an instance for each line, whose STATE and rows are in an object store."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, task

from airflow_provider_linq.operators.extract import LinqExtractOperator

with DAG("extract_lines", schedule=None, params={"folder": "", "lines": []}):

    @task
    def lines(params: dict[str, Any]) -> list[str]:
        return list(params["lines"])

    LinqExtractOperator.partial(
        task_id="extract",
        folder="{{ params.folder }}",
        retries=20,
        retry_delay=timedelta(seconds=1),
        max_active_tis_per_dag=6,
    ).expand(lines=lines())
