"""Sends one message and notes the process that does it, for a test that kills it."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG

from airflow_provider_linq.operators.messages import LinqSendMessageOperator


def note_process(context: Any) -> None:
    Path(context["params"]["pid_file"]).write_text(str(os.getpid()))


with DAG("killed_send", schedule=None, params={"to": "", "pid_file": ""}):
    LinqSendMessageOperator(
        task_id="send",
        to="{{ params.to }}",
        message="Your table is number seventeen",
        pre_execute=note_process,
        retries=10,  # a busy Airflow may fail some tries before they begin
        retry_delay=timedelta(seconds=1),
    )
