"""What the server process of the drills imports before it forks tries of tasks, so that no try spends time on it.

A try is a fork, as a task is one of a worker. It would import Airflow's parts at their first use, in a tenth of a
second or two, which is more than all else that a short try does.
"""

from __future__ import annotations

import gc
import importlib

from airflow.sdk import DAG

from linq_client import LinqClient

__all__: list[str] = []

for name in (
    "airflow.sdk.execution_time.supervisor",
    "pytest",
    "tests.support.campaign_drills",
    "tests.support.provider",
    "tests.support.task_child",
    "time_machine",
):
    importlib.import_module(name)

# They import, too, or keep what they have read: timetables, and the certificates of this machine.
DAG("imports")
LinqClient("key").close()

# A fork that looks for garbage in what all share would copy it.
gc.collect()
gc.freeze()
