"""Airflow in this process, connected to an emulator."""

from __future__ import annotations

from tests.support.airflow import airflow_db, connect, impatient, new_clients, offline, run_dag, supervised
from tests.support.webhook_receiver import patient_receivers

__all__ = ["airflow_db", "connect", "impatient", "new_clients", "offline", "patient_receivers", "run_dag", "supervised"]
