"""A send that waits for its delivery on the worker, and sends again when it is cleared."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG

from airflow_provider_linq.operators.messages import LinqCreateChatOperator

with DAG("cleared_send", schedule=None, params={"to": ""}):
    LinqCreateChatOperator(
        task_id="send",
        to="{{ params.to }}",
        message="Your table is number seventeen, shall we keep it?",
        on_clear="resend",
        wait_for_delivery="delivered",
        poll_interval=1,
        deferrable=False,
        retries=3,
        retry_delay=timedelta(seconds=1),
    )
