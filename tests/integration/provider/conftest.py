"""Airflow in this process, connected to an emulator."""

from __future__ import annotations

from tests.support.airflow import _emulator, airflow_db, connect, emulator, impatient, offline, run_dag

__all__ = ["_emulator", "airflow_db", "connect", "emulator", "impatient", "offline", "run_dag"]
