"""The documents say what the tap does: settings, streams, and SQL that runs."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import duckdb
import psycopg

from linq_client import LinqClient
from tests.support.archiving_receiver import Receiver
from tests.support.documented_sql import sql
from tests.support.emulator_process import Emulator
from tests.support.postgres import for_sqlalchemy
from tests.support.running import PERSON, TAP, Output, inbound, succeed

#: Tables without handles.
UNNAMED = ("attachments", "message_events")


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


def load(runs: list[Output], postgres: str, folder: Path) -> None:
    """Load what runs emitted into the schema `linq`."""
    config = folder / "config.json"
    loading = {"sqlalchemy_url": for_sqlalchemy(postgres), "default_target_schema": "linq", "add_record_metadata": True}
    config.write_text(json.dumps(loading))
    for run in runs:
        lines = "".join(f"{json.dumps(one)}\n" for one in run.messages)
        command = [TAP.with_name("target-postgres"), "--config", config]
        subprocess.run(command, input=lines, check=True, text=True, timeout=300, capture_output=True)


def test_a_person_is_erased(emulator: Emulator, postgres: str, tmp_path: Path) -> None:
    """What they wrote, what was written to them alone, and who they are; others keep what they wrote."""
    with Receiver(emulator, f"sqlite:///{tmp_path}/archive.db") as receiver:
        receiver.subscribe()
        check_erasure(emulator, receiver, postgres, tmp_path)


def check_erasure(emulator: Emulator, receiver: Receiver, postgres: str, tmp_path: Path) -> None:
    other = "+12125550177"
    similar = f"{PERSON}@example.com"  # the person's handle is a part of it
    media = {"type": "media", "url": "https://example.com/a.png"}
    mine = inbound(emulator, parts=[{"type": "text", "value": "mine"}, media])
    with LinqClient(emulator.api_key, base_url=emulator.base_url) as client:
        alone = client.chats.create(emulator.lines[0], other, "To another")
        group = client.chats.create(emulator.lines[0], [PERSON, other], "Hello all")
    for sender in (PERSON, other):
        emulator.control(
            "POST", "inbound", {"chat_id": group.id, "from": sender, "text": f"In the group, {sender[-4:]}"}
        )
    reaction = {"message_id": group.message.id, "type": "love"}
    emulator.control("POST", "reactions", {**reaction, "from": PERSON})
    emulator.advance(60)
    emulator.control("POST", "edits", {"message_id": mine, "text": "still mine"})
    for sender in (PERSON, similar):
        emulator.control("POST", "inbound", {"line": emulator.lines[0], "from": sender, "text": "STOP"})
    receiver.settle()
    load([succeed(emulator, webhook_archive=receiver.url)], postgres, tmp_path)
    of_events = ("webhook_events", "message_events", "opt_outs")
    tables = ("messages", "reactions", "attachments", "chats", "chat_participants", *of_events)
    names_person = rf"\{PERSON}([^0-9@]|$)"
    with psycopg.connect(postgres) as connection:
        before = [
            connection.execute(f"select * from linq.{table} t where t::text ~ %s", [names_person]).fetchall()
            for table in tables
        ]
        # Files and changes of messages name nobody.
        assert all(rows for table, rows in zip(tables, before, strict=True) if table not in UNNAMED), (
            "something in each"
        )
        edits = "select text from linq.message_events where text is not null"
        assert connection.execute(edits).fetchall() == [("still mine",)]
        for dialect in ("postgres", "postgres-archive"):
            connection.execute(sql(dialect, "erase-a-person.md").replace("+12025550123", PERSON))
        assert connection.execute(edits).fetchall() == []
        ((others,),) = connection.execute("select count(*) from linq.webhook_events").fetchall()
        assert others, "events that concern others alone stay"
        for table in tables:
            left = connection.execute(f"select * from linq.{table} t where t::text ~ %s", [names_person]).fetchall()
            assert left == [], table
        opted_out = connection.execute("select distinct handle from linq.opt_outs where opted_out").fetchall()
        texts = connection.execute("select text from linq.messages order by text").fetchall()
        chats = connection.execute("select id from linq.chats").fetchall()
        ((files,),) = connection.execute("select count(*) from linq.attachments").fetchall()
    assert [text for (text,) in texts] == ["Hello all", "In the group, 0177", "STOP", "To another"]
    assert {chat for (chat,) in chats} >= {alone.id, group.id}
    assert len(chats) == 3
    assert opted_out == [(similar,)]
    assert files == 0


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
    load(runs, postgres, tmp_path)
    with psycopg.connect(postgres) as connection:
        connection.execute(sql("postgres"))
        parts = connection.execute("select part_index, type, value from message_parts").fetchall()
        ((count,),) = connection.execute("select count(*) from newest_messages").fetchall()
        reactions = connection.execute("select type from present_reactions").fetchall()
    check(parts, count)
    assert reactions == [("like",)]
