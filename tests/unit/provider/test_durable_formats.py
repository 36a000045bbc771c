"""docs/reference/durable-formats.md lists what outlives a process: all of it, with all of its fields."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_linq._internal import durable
from airflow_provider_linq.campaigns._header import Header
from airflow_provider_linq.campaigns._journal import COLUMNS, Claim
from airflow_provider_linq.campaigns._state import RecipientState
from tests.support.airflow import ROOT

DOCUMENT = (ROOT / "docs" / "reference" / "durable-formats.md").read_text()
SAMPLES = ROOT / "tests" / "data" / "formats"
RECORDS = [*SAMPLES.glob("*_state/linq_*.json"), *SAMPLES.glob("campaign/*.json")]


def names_in(text: str) -> set[str]:
    """What is named in code: `name`."""
    return set(re.findall(r"`([^`]+)`", text))


def section(title: str) -> str:
    """The text below a heading, until the next one."""
    found = re.search(rf"^#+ {title}\n(.*?)(?=^#|\Z)", DOCUMENT, flags=re.DOTALL | re.MULTILINE)
    assert found, f"no section {title!r}"
    return found.group(1)


def fields_in(text: str) -> set[str]:
    """The fields that tables name in all columns but the last; a row may name several."""
    rows = [line.split("|")[1:-2] for line in text.splitlines() if line.startswith("|")]
    return set().union(*(names_in("|".join(cells)) for cells in rows))


def test_the_table_has_every_key_of_the_code() -> None:
    keys = {value for name, value in vars(durable).items() if name.isupper() and isinstance(value, str)}
    listed = re.findall(r"^\| [^|]+ \| `([^`]+)` \|", durable.__doc__ or "", flags=re.MULTILINE)
    assert len(listed) >= 7
    known = names_in(section("Durable formats"))
    assert not {name for name in {*keys, *listed} if not any(one.startswith(name) for one in known)}


@pytest.mark.parametrize(
    "document", ["docs/explanation/exactly-once.md", "docs/how-to/run-campaigns.md", "docs/reference/airflow.md"]
)
def test_it_is_found(document: str) -> None:
    assert "durable-formats.md)" in (ROOT / document).read_text()


def test_the_header_of_a_campaign() -> None:
    assert fields_in(section("Campaigns")) == {field.name for field in fields(Header)}


def test_the_journal_of_a_campaign() -> None:
    lines = {'{"claim": {...}}', '{"outcome": {...}}', '{"released": "<key>"}'}
    head = {"format", "task", "max_tries"}
    assert fields_in(section("Journal")) == lines | head | {field.name for field in fields(Claim)}
    outcomes = (ROOT / "docs" / "reference" / "campaigns.md").read_text().partition("**The outcomes file**")[2]
    listed = outcomes.partition(". ")[0]
    assert names_in(listed) == set(COLUMNS)


def test_the_states_of_recipients() -> None:
    rows = re.findall(r"^\| (\d)(?: \+ i)? \| (\w+)", section("States"), flags=re.MULTILINE)
    words = {str(state.value): state.name.partition("_")[0].lower() for state in RecipientState}
    assert dict(rows) == {**words, "2": "opted", "6": "claimed"}


@pytest.mark.parametrize("sample", RECORDS, ids=lambda path: path.name)
def test_every_field_of_a_sample_is_in_a_table(sample: Path) -> None:
    record: dict[str, Any] = json.loads(sample.read_text())
    assert record["format"] in (durable.FORMAT, durable.CURSOR_FORMAT)
    assert record.keys() - fields_in(DOCUMENT) == set()
