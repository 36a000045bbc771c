"""The tap as its users run it: real Meltano, real loaders, a real PostgreSQL, and the emulator as the API."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from linq_client import LinqClient
from tests.support.emulator_process import Emulator
from tests.support.postgres import for_sqlalchemy

ROOT = Path(__file__).parents[3]
PROJECT = re.compile(r"^```yaml\n(plugins:\n.*?)^```$", re.DOTALL | re.MULTILINE)

Run = Callable[..., None]


@pytest.fixture
def meltano_run(emulator: Emulator, tmp_path: Path) -> Run:
    """Run `meltano run tap-linq <loader>` in a project, by default this repository's, with state of the test's own."""

    def run(loader: str, project: Path = ROOT, options: Sequence[str] = (), **settings: str) -> None:
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "MELTANO_DATABASE_URI": f"sqlite:///{tmp_path}/meltano.db",
            "TAP_LINQ_BASE_URL": emulator.base_url,
            "TAP_LINQ_API_KEY": emulator.api_key,
            **settings,
        }
        done = subprocess.run(
            ["meltano", "run", *options, "tap-linq", loader],
            cwd=project,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]
        assert emulator.api_key not in done.stdout + done.stderr

    return run


def some_history(emulator: Emulator) -> None:
    emulator.control("POST", "seed", {"chats": 30, "messages_per_chat": 20, "hours": 20, "seed": 7})


def some_changes(emulator: Emulator) -> tuple[str, str]:
    """An hour later: a message comes in and another one is edited; their ids are returned."""
    emulator.advance(3_600)
    chat = next(row for row in emulator.ledger() if row["direction"] == "inbound" and len(row["to"]) == 1)
    with LinqClient(emulator.api_key, base_url=emulator.base_url) as client:
        sent = client.messages.send(chat["chat_id"], "We open at nihne.").message.id
        emulator.advance(60)
        inbound = {"from": chat["from"], "chat_id": chat["chat_id"], "text": "Thanks"}
        received: str = emulator.control("POST", "inbound", inbound)["id"]
        client.messages.edit(sent, "We open at nine.")
    emulator.advance(60)
    return received, sent


def test_jsonl_twice(emulator: Emulator, meltano_run: Run, tmp_path: Path) -> None:
    def written() -> list[dict[str, Any]]:
        files = sorted((tmp_path / "out").glob("messages*.jsonl"))
        rows = [json.loads(line) for file in files for line in file.read_text().splitlines()]
        for file in files:
            file.unlink()
        return rows

    (tmp_path / "out").mkdir()
    some_history(emulator)
    meltano_run("target-jsonl", TARGET_JSONL_DESTINATION_PATH=str(tmp_path / "out"))
    everything = written()
    assert {row["id"]: row["text"] for row in everything} == {row["id"]: row["text"] for row in emulator.ledger()}
    assert len(everything) == len(emulator.ledger())

    changed = some_changes(emulator)
    meltano_run("target-jsonl", TARGET_JSONL_DESTINATION_PATH=str(tmp_path / "out"))
    second = {row["id"]: row["text"] for row in written()}
    assert set(changed) <= set(second)
    assert second[changed[1]] == "We open at nine."
    assert len(second) < len(everything) / 4, "the second run is incremental"


def test_a_state_a_line(emulator: Emulator, meltano_run: Run, tmp_path: Path) -> None:
    """With a suffix, runs of single lines share a project and its state backend, and each line has STATE of its own."""
    lines = emulator.lines[:2]
    emulator.seed(10, messages_per_chat=10, lines=lines)
    for line in lines:
        (tmp_path / line).mkdir()
        meltano_run(
            "target-jsonl",
            options=[f"--state-id-suffix={line.removeprefix('+')}"],
            TARGET_JSONL_DESTINATION_PATH=str(tmp_path / line),
            TAP_LINQ_PHONE_NUMBERS=json.dumps([line]),
        )
        (file,) = (tmp_path / line).glob("messages*.jsonl")
        loaded = {json.loads(row)["id"] for row in file.read_text().splitlines()}
        assert loaded == {row["id"] for row in emulator.ledger() if row["line"] == line}

    with closing(sqlite3.connect(tmp_path / "meltano.db")) as connection:
        states = dict(connection.execute("select state_id, completed_state from state").fetchall())
    assert set(states) == {f"dev:tap-linq-to-target-jsonl:{line.removeprefix('+')}" for line in lines}
    for line, other in (lines, lines[::-1]):
        state = states[f"dev:tap-linq-to-target-jsonl:{line.removeprefix('+')}"]
        assert line in state
        assert other not in state


def test_the_project_of_the_readme_upserts(emulator: Emulator, meltano_run: Run, postgres: str, tmp_path: Path) -> None:
    """In a project of its own, whose plugins are on the path instead of installed, and whose tap asks the emulator."""
    (documented,) = PROJECT.findall((ROOT / "README.md").read_text())
    assert documented in (ROOT / "docs" / "how-to" / "extract.md").read_text()
    project = re.sub(r"^ *pip_url: .*\n", "", documented, flags=re.MULTILINE)
    project = project.replace("- name: api_key\n", "- name: base_url\n    - name: api_key\n")
    (tmp_path / "meltano.yml").write_text(
        f"send_anonymous_usage_stats: false\ndefault_environment: dev\nenvironments: [{{name: dev}}]\n{project}"
    )

    def load() -> None:
        meltano_run("target-postgres", tmp_path, TARGET_POSTGRES_SQLALCHEMY_URL=for_sqlalchemy(postgres))

    def stored() -> dict[str, str | None]:
        with psycopg.connect(postgres) as connection:
            rows = connection.execute("select id, text from linq.messages").fetchall()
        assert len(rows) == len({id_ for id_, _ in rows})
        return dict(rows)

    some_history(emulator)
    load()
    before = {row["id"]: row["text"] for row in emulator.ledger()}
    assert stored() == before

    some_changes(emulator)
    load()
    assert stored() == {row["id"]: row["text"] for row in emulator.ledger()}
    assert len(stored()) == len(before) + 2

    with psycopg.connect(postgres) as connection:
        ((chats, numbers),) = connection.execute(
            "select (select count(*) from linq.chats), (select count(*) from linq.phone_numbers)"
        ).fetchall()
    assert chats == len({row["chat_id"] for row in emulator.ledger()})
    assert numbers == len(emulator.lines)
