"""The documents say what the tap does: settings, streams, and SQL that runs."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import duckdb
import psycopg

from tests.support.documented_sql import sql
from tests.support.emulator_process import Emulator
from tests.support.postgres import for_sqlalchemy
from tests.support.running import PERSON, TAP, cli, inbound, succeed

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text()


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
        subprocess.run(command, input=lines, check=True, text=True, timeout=300, capture_output=True)
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
