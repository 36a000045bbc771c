"""Asks whether an address is on iMessage, and goes on with one of two tasks."""

from __future__ import annotations

from airflow.sdk import DAG, task

from airflow_provider_linq.operators.chats import LinqCheckCapabilityOperator

with DAG("reachable", schedule=None, params={"address": ""}):
    check = LinqCheckCapabilityOperator(
        task_id="check", address="{{ params.address }}", if_available="yes", if_unavailable=["no"]
    )

    @task
    def yes(available: bool) -> bool:
        return available

    @task
    def no(available: bool) -> bool:
        return available

    check >> [yes(check.output["available"]), no(check.output["available"])]  # type: ignore[list-item]
