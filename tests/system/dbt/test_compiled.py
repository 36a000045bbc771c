"""Snowflake and BigQuery without an account: the models are compiled, and a parser of the dialect can read them.

Nothing is connected to, so all tables are taken to be there, with all columns as text. The environment is large: this
is for `LINQ_DRILLS=full`.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from docs_tools.dbt import STAGING
from tests.support.dbt import CLOUDS, Dbt
from tests.support.environments import kept_environment

pytestmark = pytest.mark.skipif(os.environ.get("LINQ_DRILLS") != "full", reason="for LINQ_DRILLS=full")

TARGETS: dict[str, dict[str, Any]] = {
    "snowflake": dict.fromkeys(("account", "user", "password", "database", "warehouse", "schema"), "none"),
    "bigquery": {"method": "oauth-secrets", "token": "none", "project": "none", "dataset": "none"},
}

#: Reads each of the files, and says which it can't.
READ = """
import sys
from pathlib import Path
import sqlglot
for file in sys.argv[2:]:
    sqlglot.parse(Path(file).read_text(), dialect=sys.argv[1])
"""


@pytest.mark.parametrize("dialect", TARGETS)
def test_models_are_read_by_a_parser_of_the_dialect(
    dialect: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    programs = kept_environment(Path(request.config.cache.mkdir("dbt-clouds")), *CLOUDS)
    offline = ("--no-introspect", "--no-populate-cache", "--select", "resource_type:model")
    variables = {"linq_sources": [{"name": "one", "schema": "a"}, {"name": "two", "schema": "b", "database": "c"}]}
    compiled = Dbt(programs).run("compile", tmp_path, {"type": dialect, **TARGETS[dialect]}, variables, *offline)
    assert compiled.code == 0, compiled.log[-5_000:]
    files = sorted((tmp_path / "target" / "compiled").rglob("*.sql"))
    assert {file.name for file in files} >= {file.name for file in STAGING.parent.rglob("*.sql")}
    subprocess.run([programs / "python", "-c", READ, dialect, *files], check=True, timeout=300)
