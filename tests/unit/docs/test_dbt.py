"""The staging models of `dbt_linq` are what the tap declares: `make docs` writes them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from docs_tools.dbt import RENAMED, STAGING, VALUES, files, tables

FILES = files()
MARTS = STAGING.parent / "marts"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_it_is_up_to_date(file: Path) -> None:
    assert file.read_text() == FILES[file], "run `make docs`"


def test_nothing_is_left_of_streams_that_are_gone() -> None:
    assert set(STAGING.iterdir()) == set(FILES)


def test_values_are_those_that_the_tap_describes() -> None:
    """Each value that a test accepts stands in the description of its column."""
    described = {(table.name, column.name): column.description for table in tables() for column in table.columns}
    for place, values in VALUES.items():
        for value in values:
            assert re.search(rf"\b{value}\b", described[place]), (place, value)


def test_the_outcomes_of_campaigns_are_described_as_written() -> None:
    (outcomes,) = (table for table in tables() if table.name == "campaign_outcomes")
    page = (Path(__file__).parents[3] / "docs" / "reference" / "campaigns.md").read_text()
    for column in outcomes.columns:
        assert column.name == "campaign" or f"`{column.name}`" in page


@pytest.mark.parametrize("model", sorted(MARTS.glob("*.sql")), ids=lambda file: file.stem)
def test_each_mart_is_described(model: Path) -> None:
    described = {one["name"]: one for one in yaml.safe_load((MARTS / "_marts.yml").read_text())["models"]}
    assert described.keys() == {file.stem for file in MARTS.glob("*.sql")}
    assert all(column["description"] for column in described[model.stem]["columns"])


def test_no_column_has_a_name_that_sql_has_taken() -> None:
    assert not {column.alias for table in tables() for column in table.columns} & RENAMED.keys()
