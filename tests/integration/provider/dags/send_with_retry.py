"""Sends one message and may try twice."""

from __future__ import annotations

from airflow.sdk import DAG

from airflow_provider_linq.operators.messages import LinqSendMessageOperator

with DAG("send_with_retry", schedule=None, params={"to": "", "text": ""}) as dag:
    LinqSendMessageOperator(task_id="send", to="{{ params.to }}", message="{{ params.text }}", retries=1, retry_delay=0)
