"""`meltano run tap-linq target-postgres` with `seen_path`, whose loader is killed: the tables have everything.

Between a run that dies and the next one, messages become again what they were before: what the dead run has loaded is
wrong then, and no run but the next one can know.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg

from tests.support.emulator_process import Emulator
from tests.support.killed_target import COUNTS, EVENTS, KILLED_AT
from tests.support.postgres import for_sqlalchemy
from tests.support.seeds import IS_FULL, seed

ROOT = Path(__file__).parents[3]

PROJECT = f"""\
default_environment: dev
environments: [{{name: dev}}]
send_anonymous_usage_stats: false
plugins:
  extractors:
  - name: tap-linq
    namespace: tap_linq
    executable: {Path(sys.executable).parent / "tap-linq"}
    capabilities: [catalog, discover, state]
    settings: [{{name: api_key, sensitive: true}}, {{name: base_url}}, {{name: seen_path}}]
    config: {{full_sweep_interval_hours: 0}}
  loaders:
  - name: target-postgres
    namespace: target_postgres
    executable: ./target-postgres
    settings: [{{name: sqlalchemy_url, sensitive: true}}, {{name: default_target_schema}}, {{name: batch_size_rows}}]
    config: {{batch_size_rows: 20}}
"""

TABLES = ("messages", "chats", "chat_participants", "reactions", "phone_numbers")
BEFORE, MEANWHILE = "See you at nine", "See you at ten"


class Pipeline:
    """A project of Meltano.

    Attributes:
        counts: how many events of each kind the loader had in the last run.
    """

    def __init__(self, emulator: Emulator, uri: str, folder: Path) -> None:
        self.counts: dict[str, int] = {}
        self._folder = folder
        self._uri = uri
        self._environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "TAP_LINQ_API_KEY": emulator.api_key,
            "TAP_LINQ_BASE_URL": emulator.base_url,
            "TARGET_POSTGRES_SQLALCHEMY_URL": for_sqlalchemy(uri),
            COUNTS: str(folder / "counts.json"),
        }
        (folder / "meltano.yml").write_text(PROJECT)
        loader = folder / "target-postgres"
        loader.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec {sys.executable} -m tests.support.killed_target "$@"\n')
        loader.chmod(0o755)

    def run(self, killed_at: str = "", schema: str = "linq", seen: bool = True) -> bool:
        """Run it, and return whether the loader was killed; a schema of its own has STATE of its own."""
        own = {"TARGET_POSTGRES_DEFAULT_TARGET_SCHEMA": schema, KILLED_AT: killed_at}
        if seen:
            own["TAP_LINQ_SEEN_PATH"] = str(self._folder / "seen")
        command = ["meltano", "run", f"--state-id-suffix={schema}", "tap-linq", "target-postgres"]
        environment = {**self._environment, **own}
        done = subprocess.run(command, cwd=self._folder, env=environment, capture_output=True, text=True)
        self.counts = json.loads((self._folder / "counts.json").read_text())
        event, _, number = killed_at.partition(" ")
        is_killed = bool(event) and self.counts[event] >= int(number)
        assert (done.returncode != 0) == is_killed, done.stdout[-3_000:] + done.stderr[-3_000:]
        return is_killed

    def rows(self, table: str, schema: str = "linq") -> list[dict[str, Any]]:
        with psycopg.connect(self._uri) as connection:
            found = connection.execute(f'select to_jsonb(t)::text from {schema}."{table}" t'.encode())
            rows = [json.loads(text) for (text,) in found.fetchall()]
        plain = [{name: value for name, value in row.items() if not name.startswith("_sdc_")} for row in rows]
        return sorted(plain, key=json.dumps)


def events(counts: dict[str, int]) -> list[str]:
    """Where the loader is killed, of the events that a run has."""
    if not IS_FULL:
        # Some rows are there, all of them are, and all of them are known to be.
        return ["loaded 1", "state 1", "confirmed 1"]
    chance = random.Random(seed())
    numbers = {event: sorted({1, *chance.choices(range(1, count + 1), k=4), count}) for event, count in counts.items()}
    return [f"{event} {number}" for event in EVENTS for number in numbers[event]]


def edit(emulator: Emulator, message_ids: list[str], text: str) -> None:
    for message_id in message_ids:
        emulator.edit_message(message_id, text)


def test_the_tables_have_everything_after_a_kill_of_the_loader(
    emulator: Emulator, postgres: str, tmp_path: Path
) -> None:
    emulator.seed(12, messages_per_chat=6, hours=2, seed=1)
    changing = [receive(emulator, f"+12125550{number}", BEFORE) for number in range(110, 140)]
    pipeline = Pipeline(emulator, postgres, tmp_path)
    for text in (BEFORE, MEANWHILE):
        edit(emulator, changing, text)
        pipeline.run()
    kills = 0
    for killed_at in events(pipeline.counts):
        edit(emulator, changing, BEFORE)
        kills += pipeline.run(killed_at)
        edit(emulator, changing, MEANWHILE)
        receive(emulator, "+12125550101", killed_at)
        pipeline.run()
        assert texts(pipeline) == {row["id"]: row["text"] for row in emulator.ledger()}, killed_at
    assert kills >= 3
    pipeline.run(schema="afterwards", seen=False)
    for table in TABLES:
        assert pipeline.rows(table) == pipeline.rows(table, "afterwards"), table


def receive(emulator: Emulator, who: str, text: str) -> str:
    return str(emulator.inbound(who, text, line=emulator.lines[0])["id"])


def texts(pipeline: Pipeline) -> dict[str, str | None]:
    rows = pipeline.rows("messages")
    found = {row["id"]: row["text"] for row in rows}
    assert len(found) == len(rows)
    return found
