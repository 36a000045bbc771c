"""Sends one message; a worker that dies takes one try with it."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG

from airflow_provider_linq.operators.messages import LinqSendMessageOperator

with DAG("edge_send", schedule=None, params={"to": ""}):
    LinqSendMessageOperator(
        task_id="send",
        to="{{ params.to }}",
        message="Hello from the edge",
        retries=5,
        retry_delay=timedelta(seconds=1),
    )
