"""A campaign whose rows and outcomes are in an object store, so that any worker can continue it."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG

from airflow_provider_linq.campaigns import RateLimits
from airflow_provider_linq.operators.campaigns import LinqSendCampaignOperator

with DAG("moved_campaign", schedule=None, params={"folder": ""}):
    LinqSendCampaignOperator(
        task_id="send",
        message="Hello {{ row.name }}",
        rows_path="{{ params.folder }}/rows.csv",
        outcomes_path="{{ params.folder }}/outcomes.jsonl",
        line_limits=RateLimits(new_chats_per_day=None),
        send_window=("09:00", "20:00"),
        timezone_field="zone",
        deferrable=True,
        retries=20,
        retry_delay=timedelta(seconds=1),
    )
