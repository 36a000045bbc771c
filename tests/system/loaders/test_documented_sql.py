"""The SQL of docs/how-to/extract.md, on the tables and files that loaders have made of two runs of the tap."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import psycopg
import pytest

from tests.support.documented_sql import sql
from tests.support.hostile_api import HostileAPI, ago, media_part, message_row, serving, small_account, text_part
from tests.support.loaders import Loaders
from tests.support.tap_runs import Extraction, make_catalog, run_tap


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Extraction]:
    """Two runs: messages of many forms, one of which has been edited when the second comes."""
    account = small_account(1, 1)
    chat = account[0]
    edited = message_row("edited", chat.id, 7, parts=[text_part("before")])
    several = [
        text_part("look"),
        media_part("file"),
        {"type": "link", "value": "https://example.com", "reactions": None},
    ]
    chat.messages = [
        edited,
        message_row("several", chat.id, 8, parts=several),
        message_row("system", chat.id, 9, parts=None),
        message_row("none", chat.id, 9, parts=[]),
        message_row("odd", chat.id, 9, parts=["text", text_part("good"), None, {"type": 5, "value": {"a": 1}}]),
    ]
    api = HostileAPI(chats=account)
    with serving(api):
        catalog = make_catalog(tmp_path_factory.mktemp("catalog"), select=["messages", "reactions"])
        first = run_tap(api, tmp_path_factory.mktemp("first"), catalog=catalog)
        edited.update(parts=[text_part("after")], updated_at=ago())
        chat.row["updated_at"] = ago()
        second = run_tap(api, tmp_path_factory.mktemp("second"), catalog=catalog, state=first.state)
    assert (first.code, second.code) == (0, 0), first.log[-800:] + second.log[-800:]
    assert "edited" in {row["id"] for row in second.records("messages")}
    return [first, second]


def check(newest: list[tuple[str, str | None]], parts: list[tuple[str, int, str | None, str | None]]) -> None:
    assert dict(newest) == {"edited": "after", "several": "look", "system": None, "none": None, "odd": "good"}
    assert len(newest) == 5
    assert sorted(part for part in parts if part[0] == "edited") == [("edited", 0, "text", "after")]
    assert sorted(part[:3] for part in parts if part[0] == "several") == [
        ("several", 0, "text"),
        ("several", 1, "media"),
        ("several", 2, "link"),
    ]
    assert ("several", 2, "link", "https://example.com") in parts
    assert [part[3] for part in parts if part[0] == "odd" and part[2] == "text"] == ["good"]
    assert not [part for part in parts if part[0] in ("system", "none")]


def test_the_sql_for_postgresql(runs: list[Extraction], loaders: Loaders, postgres: str) -> None:
    for run in runs:
        loaded = loaders.into_postgres(run.output, postgres, "linq")
        assert loaded.code == 0, loaded.log[-1_500:]
    with psycopg.connect(postgres) as connection:
        connection.execute(sql("postgres"))
        newest = connection.execute("select id, text from newest_messages").fetchall()
        parts = connection.execute("select id, part_index, type, value from message_parts").fetchall()
    check(newest, parts)


def test_the_sql_for_duckdb(runs: list[Extraction], loaders: Loaders, tmp_path: Path) -> None:
    output = tmp_path / "output"
    output.mkdir()
    for number, run in enumerate(runs):
        loaded = loaders.into_jsonl(run.output)
        assert loaded.code == 0, loaded.log[-1_500:]
        for file in loaded.folder.glob("*.jsonl"):  # of another second, as two runs of a schedule are
            file.rename(output / re.sub(r"T\d+\.", f"T00000{number}.", file.name))
    with duckdb.connect() as connection:
        connection.execute(sql("duckdb").replace("output/", f"{output}/"))
        newest = connection.execute("select id, text from newest_messages").fetchall()
        parts = connection.execute("select id, part_index, type, value from message_parts").fetchall()
    check(newest, parts)
