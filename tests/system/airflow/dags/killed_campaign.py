"""A campaign that notes the process of each of its tries, for a drill that kills them."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG

from airflow_provider_linq.campaigns import RateLimits
from airflow_provider_linq.operators.campaigns import LinqSendCampaignOperator


def note_process(context: Any) -> None:
    note = Path(context["params"]["pid_file"])
    fresh = note.with_suffix(".new")
    fresh.write_text(f"{context['ti'].try_number} {os.getpid()}")
    fresh.replace(note)


with DAG("killed_campaign", schedule=None, params={"pid_file": ""}):
    LinqSendCampaignOperator(
        task_id="send",
        message="Hello {{ row.name }}",
        rows=[{"to": f"person{index}@example.com", "name": f"Person {index}"} for index in range(500)],
        line_limits=RateLimits(new_chats_per_day=None),
        pre_execute=note_process,
        retries=200,
        retry_delay=timedelta(seconds=0.1),
    )
