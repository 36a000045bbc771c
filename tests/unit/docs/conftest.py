"""Some of what makes the documentation imports Airflow, which finds a home of the tests here."""

from __future__ import annotations

from tests.support.airflow import HOME

__all__ = ["HOME"]
