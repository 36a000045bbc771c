"""`dbt_linq` on what real loaders have made of real runs of the tap, in PostgreSQL and in DuckDB.

| file | what |
| --- | --- |
| world.py | some days of an account, and the loaders that ran on them |
| test_answers.py | what the models answer, against what is known of that account |
| test_compiled.py | Snowflake and BigQuery, as far as that goes without an account |
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.airflow import HOME as HOME  # what makes the models imports Airflow, which has to find this home
from tests.support.dbt import DATABASES, Dbt
from tests.support.environments import kept_environment
from tests.support.loaders import TARGET_JSONL


@pytest.fixture(scope="session")
def dbt(request: pytest.FixtureRequest) -> Dbt:
    """dbt with the adapters of databases that run here."""
    return Dbt(kept_environment(Path(request.config.cache.mkdir("dbt")), *DATABASES))


@pytest.fixture(scope="session")
def target_jsonl(request: pytest.FixtureRequest) -> Path:
    """The program target-jsonl, in the environment that the tests of loaders keep."""
    return kept_environment(Path(request.config.cache.mkdir("loaders")), TARGET_JSONL) / "target-jsonl"
