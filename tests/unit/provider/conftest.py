"""Airflow in this process, connected to nothing."""

from __future__ import annotations

from tests.support.airflow import offline

__all__ = ["offline"]
