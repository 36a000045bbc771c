"""A stranger's text on all ways from one Airflow task to another."""

from __future__ import annotations

from tests.integration.provider.dags.foreign_text import made

dag = made("foreign_text_plain", native=False)
