"""What the server process of the drills imports before it forks tries of tasks, so that no try spends time on it.

A try is a fork, as a task is one of a worker. It would import Airflow's parts at their first use, in a tenth of a second
or two, which is more than all else that a short try does.
"""

from __future__ import annotations

import gc

import airflow.sdk.execution_time.supervisor  # of `Connection.get`
import croniter
import jinja2.ext
import pytest
import time_machine
from airflow.sdk import DAG

import tests.support.campaign_drills
import tests.support.provider
import tests.support.task_child
from linq_client._network import ca_certificates

__all__: list[str] = []

# They import, too, or keep what they have read: timetables, and the certificates of this machine.
DAG("imports")
ca_certificates(True)

# A fork that looks for garbage in what all share would copy it.
gc.collect()
gc.freeze()
