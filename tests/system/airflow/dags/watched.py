"""A campaign and an extraction that somebody watches in Airflow's UI."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG

from airflow_provider_linq.campaigns import DeliveryReport, RateLimits
from airflow_provider_linq.operators.campaigns import LinqSendCampaignOperator
from airflow_provider_linq.operators.extract import LinqExtractOperator

with DAG("watched", schedule=None, params={"folder": ""}):
    send = LinqSendCampaignOperator(
        task_id="send",
        message="Hello {{ row.name }}",
        rows=[{"to": f"watched{index}@example.com", "name": f"Person {index}"} for index in range(300)],
        line_limits=RateLimits(messages_per_day=7000),
        total_limits=RateLimits(messages_per_minute=900),
        outcomes_path="{{ params.folder }}/outcomes.jsonl",
        delivery_report=DeliveryReport(delivered_share=1, poll_interval=timedelta(seconds=5)),
        retries=3,
        retry_delay=timedelta(seconds=1),
    )
    send >> LinqExtractOperator(task_id="extract", folder="{{ params.folder }}/extracts")
