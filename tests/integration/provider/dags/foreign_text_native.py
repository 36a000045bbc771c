"""A stranger's text on all ways from one Airflow task to another, with native rendering."""

from __future__ import annotations

from tests.integration.provider.dags.foreign_text import made

dag = made("foreign_text_native", native=True)
