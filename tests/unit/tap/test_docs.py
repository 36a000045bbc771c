"""The documents say what the tap does: settings, streams, and SQL that runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from docs_tools.streams import CONFIG, SAMPLES
from tap_linq.tap import TapLinq

ROOT = Path(__file__).parents[3]
STREAMS: dict[str, Any] = TapLinq(config=CONFIG).streams


def test_every_stream_has_a_sample() -> None:
    assert set(SAMPLES) == set(STREAMS)


@pytest.mark.parametrize("name", sorted(STREAMS))
def test_the_sample_of_a_stream_has_its_columns_and_fits(name: str) -> None:
    stream = STREAMS[name]
    row = {"_extra": None, **SAMPLES[name]}
    assert set(row) == set(stream.schema["properties"])
    given = {**row, "_extra": None}
    assert stream.conformer.conform([given])[0] is given


def described(schema: dict[str, Any], path: str) -> Iterator[tuple[str, str]]:
    yield path, schema.get("description", "")
    for name, one in schema.get("properties", {}).items():
        yield from described(one, f"{path}.{name}")
    for name, one in schema.get("items", {}).get("properties", {}).items():
        yield from described(one, f"{path}[].{name}")


@pytest.mark.parametrize("name", sorted(STREAMS))
def test_every_stream_and_every_property_has_a_description(name: str) -> None:
    for path, description in described(STREAMS[name].schema, name):
        assert re.fullmatch(r"\S.*\.", description), path


@pytest.mark.parametrize("dialect", ["Snowflake", "BigQuery"])
def test_what_has_not_been_run_says_so(dialect: str) -> None:
    text = (ROOT / "docs" / "how-to" / "dbt.md").read_text()
    assert re.search(rf"^\|.*{dialect}.*\*\*never run\*\*", text, re.MULTILINE)
