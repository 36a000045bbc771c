"""The documents say what the tap does: settings, streams, and SQL that runs."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import jsonschema
import meltano.core
import psycopg
import pytest
import yaml
from meltano.core.plugin import PluginType
from meltano.core.plugin.base import PluginDefinition

from tap_linq.tap import TapLinq
from tests.emulator_process import Emulator
from tests.support.documented_sql import sql
from tests.support.postgres import for_sqlalchemy
from tests.tap.running import PERSON, TAP, cli, inbound, succeed

ROOT = Path(__file__).parents[2]
STREAMS: dict[str, Any] = TapLinq(config={"api_key": "key"}).streams
make_streams: Any = SimpleNamespace(**runpy.run_path(str(ROOT / "docs" / "make_streams.py")))
README = (ROOT / "README.md").read_text()
HUB = yaml.safe_load((ROOT / "docs" / "meltano-hub.yml").read_text())


def some_messages(emulator: Emulator) -> list[list[dict[str, Any]]]:
    """The messages of two runs, the first of which was edited between them."""
    first = inbound(emulator, "one")
    inbound(emulator, parts=[{"type": "text", "value": "two"}, {"type": "media", "url": "https://example.com/a.png"}])
    runs = [succeed(emulator).records("messages")]
    emulator.advance(60)
    emulator.control("POST", "edits", {"message_id": first, "text": "three"})
    runs.append(succeed(emulator).records("messages"))
    return runs


def test_the_sql_for_duckdb(emulator: Emulator, tmp_path: Path) -> None:
    (tmp_path / "output").mkdir()
    for number, messages in enumerate(some_messages(emulator)):
        file = tmp_path / "output" / f"messages-2026030{number}T120000.jsonl"
        file.write_text("".join(json.dumps(message) + "\n" for message in messages))
    with duckdb.connect() as connection:
        connection.execute(sql("duckdb").replace("output/", f"{tmp_path}/output/"))
        parts = connection.execute("select part_index, type, value from message_parts").fetchall()
        ((count,),) = connection.execute("select count(*) from newest_messages").fetchall()
    check(parts, count)


def check(parts: list[tuple[Any, ...]], count: int) -> None:
    assert count == 2
    texts = sorted(part for part in parts if part[1] == "text")
    assert texts == [(0, "text", "three"), (0, "text", "two")]
    assert [part[:2] for part in parts if part[1] == "media"] == [(1, "media")]


def test_the_sql_for_postgresql(emulator: Emulator, postgres: str, tmp_path: Path) -> None:
    """On the tables that the loader makes."""
    message = inbound(emulator, "one")
    inbound(emulator, parts=[{"type": "text", "value": "two"}, {"type": "media", "url": "https://example.com/a.png"}])
    reaction = {"message_id": message, "from": PERSON, "type": "love"}
    emulator.control("POST", "reactions", reaction)
    emulator.control("POST", "reactions", {**reaction, "type": "like"})
    runs = [succeed(emulator)]
    emulator.advance(60)
    emulator.control("POST", "edits", {"message_id": message, "text": "three"})
    emulator.control("POST", "reactions", {**reaction, "operation": "remove"})
    runs.append(succeed(emulator, state=runs[0].state))
    config = tmp_path / "config.json"
    loading = {"sqlalchemy_url": for_sqlalchemy(postgres), "default_target_schema": "linq", "add_record_metadata": True}
    config.write_text(json.dumps(loading))
    for run in runs:
        lines = "".join(f"{json.dumps(one)}\n" for one in run.messages)
        command = [TAP.with_name("target-postgres"), "--config", config]
        subprocess.run(command, input=lines, check=True, text=True, timeout=120, capture_output=True)
    with psycopg.connect(postgres) as connection:
        connection.execute(sql("postgres"))
        parts = connection.execute("select part_index, type, value from message_parts").fetchall()
        ((count,),) = connection.execute("select count(*) from newest_messages").fetchall()
        reactions = connection.execute("select type from present_reactions").fetchall()
    check(parts, count)
    assert reactions == [("like",)]


def settings_table(document: str) -> list[str]:
    """The rows of the table of settings in a Markdown document."""
    (table,) = re.findall(r"^\| Setting \|.*\n((?:\|.*\n)+)", document, re.MULTILINE)
    return str(table).splitlines()


def test_the_settings_table_is_what_the_tap_says() -> None:
    """Row for row, so that nothing is missing on either side."""
    about = cli("--about", "--format=markdown").stdout
    assert settings_table(README) == settings_table(about)


def test_all_streams_stand_in_the_readme() -> None:
    for name, stream in TapLinq(config={"api_key": "key"}).streams.items():
        key = ", ".join(f"`{one}`" for one in stream.primary_keys or ())
        assert f"| `{name}` | {key} |" in README


def test_meltano_takes_the_definition_for_the_hub() -> None:
    definition = PluginDefinition(PluginType.EXTRACTORS, **HUB)
    assert definition.find_variant().name == "linq-connectors"
    schema = json.loads((Path(meltano.core.__file__ or "").parents[1] / "schemas" / "meltano.schema.json").read_text())
    for setting in HUB["settings"]:
        jsonschema.validate(setting, {**schema["$defs"]["base_setting"], "$defs": schema["$defs"]})


def test_the_page_of_the_streams_is_up_to_date() -> None:
    assert make_streams.PAGE.read_text() == make_streams.page(), "run `make docs`"
    assert set(make_streams.SAMPLES) == set(STREAMS)


@pytest.mark.parametrize("name", sorted(STREAMS))
def test_the_sample_of_a_stream_has_its_columns_and_fits(name: str) -> None:
    stream = STREAMS[name]
    row = {"_extra": None, **make_streams.SAMPLES[name]}
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


@pytest.mark.parametrize("dialect", ["snowflake", "bigquery"])
def test_what_has_not_been_run_says_so(dialect: str) -> None:
    text = (ROOT / "docs" / "explanation" / "extraction.md").read_text()
    assert f"(not run):\n\n```sql {dialect}" in text
