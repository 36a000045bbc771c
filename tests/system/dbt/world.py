"""Some days of an account, three runs of the tap on them, and the databases that loaders have made of these."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import psycopg

from linq_client import LinqClient, Message, Text
from linq_client.times import parse_datetime
from linq_emulator.testing import EmulatorProcess
from tests.support.archived_webhooks import ArchivedWebhooks
from tests.support.loaders import Loaders
from tests.support.tap_runs import Extraction, run_tap

ANN, BEN, CAT, DAN, DEE, EVE, FAY, GUS, HAL = (f"+1212555010{number}" for number in range(1, 10))

#: A Friday, two days before the clocks of New York go forward. All that follows is by the clock of the emulator.
BEGIN = "2026-03-06T15:00:00Z"
END = "2026-03-09T15:00:00Z"

#: The account as it was known after the first run, in a schema of its own: what does not belong to the other must not
#: count there. The third has never been loaded.
ACCOUNTS = [
    {"name": "main", "schema": "linq"},
    {"name": "second", "schema": "linq_second"},
    {"name": "absent", "schema": "linq_absent"},
]
VARIABLES = {
    "linq_sources": ACCOUNTS,
    "linq_as_of": END,
    "linq_business_time_zone": "America/New_York",
    "linq_business_hours_start": "08:30",
}


@dataclass
class World:
    """What happened, and what the tap wrote of it.

    Attributes:
        runs: after the first hours, on Friday evening, and on Monday.
        ledger: every message that the emulator ever accepted.
        chats: ids of chats by what they are about.
        sent: ids of messages by what they are about.
        outcomes: rows of a campaign's outcomes files.
    """

    lines: list[str]
    runs: list[Extraction] = field(default_factory=list)
    ledger: list[dict[str, Any]] = field(default_factory=list)
    chats: dict[str, str] = field(default_factory=dict)
    sent: dict[str, str] = field(default_factory=dict)
    outcomes: list[dict[str, Any]] = field(default_factory=list)


class _Days:
    """Lets the days pass."""

    def __init__(self, emulator: EmulatorProcess, client: LinqClient, folder: Path) -> None:
        self.emulator, self.client, self.folder = emulator, client, folder
        self.world = World(list(emulator.lines))
        archive = f"file://{folder / 'archive'}"
        self.webhooks = ArchivedWebhooks(emulator, archive)
        self._settings = {"webhook_archive": archive, "retention_window_hours": 24, "on_gap": "warn"}

    def until(self, time: str) -> None:
        """Let the clock go on to a moment, with all that becomes due before."""
        self.emulator.advance((parse_datetime(time) - self.emulator.now()).total_seconds())

    def begin(
        self, about: str, to: str | list[str], text: str, key: str | None = None, failure: int | None = None
    ) -> None:
        """Send a first message, which may fail."""
        message = Message(parts=(Text(value=text),), idempotency_key=key)
        created = self.client.chats.create(self.emulator.lines[0], to, message)
        self.world.chats[about], self.world.sent[about] = created.id, created.message.id
        if failure is not None:
            self.emulator.report_receipt(created.message.id, "failed", code=failure)
        self.emulator.advance(60)

    def answer(self, about: str, text: str) -> str:
        """Send a message in a chat, and return its id."""
        sent = self.client.messages.send(self.world.chats[about], text).message.id
        self.emulator.advance(60)
        return sent

    def receive(self, about: str, who: str, text: str, line: int = 0) -> None:
        """Let somebody write, in a chat or in a new one."""
        chat = self.world.chats.get(about)
        where = {"chat_id": chat} if chat else {"line": self.emulator.lines[line]}
        received = self.emulator.inbound(who, text, **where)
        self.world.chats[about], self.world.sent[f"{about}: {text}"] = received["chat_id"], received["id"]
        self.emulator.advance(60)

    def extract(self) -> None:
        """Store what webhooks have delivered, and run the tap."""
        self.webhooks.store()
        state = self.world.runs[-1].state if self.world.runs else None
        folder = self.folder / f"run-{len(self.world.runs)}"
        api: Any = self.emulator
        run = run_tap(api, folder, state=state, api_key=self.emulator.api_key, **self._settings)
        assert run.code == 0, run.log[-2_000:]
        self.world.runs.append(run)


def live(folder: Path) -> World:
    """Let it all happen."""
    with EmulatorProcess(freeze=BEGIN, ephemeral_hours=24, seed=1, lines=["+12025550101", "+12025550102"]) as emulator:
        with LinqClient(emulator.api_key, base_url=emulator.base_url) as client:
            days = _Days(emulator, client, folder)
            _friday(days)
            _weekend(days)
        days.world.ledger = emulator.ledger()
        return days.world


def _friday(days: _Days) -> None:
    emulator, world = days.emulator, days.world
    days.begin("ben", BEN, "Are you coming?", key="key-ben")
    days.begin("cat", CAT, "Are you coming?", key="key-cat")
    days.begin("hal", HAL, "Are you coming?", key="key-hal")
    days.begin("dan", DAN, "By iMessage")
    days.begin("fay", FAY, "Never arrives", failure=4001)
    days.begin("group", [BEN, FAY], "All of you")
    days.receive("ben", BEN, "Yes")
    days.receive("cat", CAT, "STOP")
    days.receive("dee", DEE, "STOP")
    days.receive("dee", DEE, "Here I am again")
    days.receive("group", FAY, "Hello all")
    days.receive("eve and line 1", EVE, "Anybody there?")
    days.receive("eve and line 2", EVE, "Or here?", line=1)
    days.answer("eve and line 2", "Here.")
    emulator.set_handle(DAN, services=["SMS"])
    world.sent["downgraded"] = days.answer("dan", "By SMS")
    emulator.react(world.sent["ben"], BEN, "love")
    emulator.react(world.sent["hal"], HAL, "like")
    days.until("2026-03-06T16:30:00Z")
    days.extract()
    emulator.react(world.sent["ben"], BEN, "love", operation="remove")
    emulator.edit_message(world.sent["group: Hello all"], "Hello everybody")
    days.until("2026-03-06T21:00:00Z")
    days.receive("ann", ANN, "Are you open?")
    days.until("2026-03-06T21:30:00Z")
    days.receive("ann", ANN, "Hello?")
    days.until("2026-03-06T22:40:00Z")  # late enough for a full sweep
    days.extract()


def _weekend(days: _Days) -> None:
    """Nobody extracts for longer than the window."""
    days.until("2026-03-07T12:00:00Z")
    days.receive("gus", GUS, "Is it Saturday?")
    days.until("2026-03-09T14:00:00Z")
    days.answer("ann", "We are open.")
    days.until(END)
    days.extract()
    sent = days.world.sent

    def outcome(row: int, to: str, status: str, **more: Any) -> dict[str, Any]:
        names = (
            "reason",
            "detail",
            "code",
            "idempotency_key",
            "line",
            "chat_id",
            "message_id",
            "created_at",
            "replaces",
        )
        return {"campaign": "spring", "row": row, "to": [to], "status": status, **dict.fromkeys(names), **more}

    days.world.outcomes = [
        # The first run of the campaign did not know what had become of two of them; the next one asked for one.
        outcome(1, BEN, "unknown", reason="no_answer", idempotency_key="key-ben"),
        outcome(1, BEN, "sent", idempotency_key="key-ben", message_id=sent["ben"], chat_id=days.world.chats["ben"]),
        outcome(2, CAT, "sent", idempotency_key="key-cat", message_id=sent["cat"], chat_id=days.world.chats["cat"]),
        outcome(3, HAL, "unknown", reason="no_answer", idempotency_key="key-hal"),
        outcome(4, GUS, "skipped", reason="opted_out", code=2024, idempotency_key="key-gus"),
        # Both of its files have these.
        *[outcome(5, "nobody", "skipped", reason="invalid"), outcome(6, BEN, "skipped", reason="duplicate")] * 2,
    ]


def into_postgres(world: World, loaders: Loaders, uri: str) -> dict[str, Any]:
    """Load all runs, and return the target for dbt."""
    for run in world.runs:
        loaded = loaders.into_postgres(run.output, uri, "linq")
        assert loaded.code == 0, loaded.log[-2_000:]
        if run is world.runs[0]:
            with psycopg.connect(uri) as connection:
                connection.execute("create schema linq_second")
                for table in loaded.rows:
                    connection.execute(f"create table linq_second.{table} as table linq.{table}")
    with psycopg.connect(uri) as connection:
        connection.execute(
            'create table linq.campaign_outcomes (campaign text, "row" bigint, "to" jsonb, status text, reason text, '
            "detail text, code bigint, idempotency_key text, line text, chat_id text, message_id text, "
            "created_at text, replaces text)"
        )
        rows = json.dumps(world.outcomes)
        connection.execute(
            "insert into linq.campaign_outcomes select * from jsonb_populate_recordset("
            "null::linq.campaign_outcomes, %s::jsonb)",
            [rows],
        )
        info = connection.info
        return {
            **{"type": "postgres", "host": info.host, "port": info.port, "user": info.user},
            **{"password": info.password or "none", "dbname": info.dbname, "schema": "models"},
        }


def into_duckdb(world: World, loaders: Loaders, folder: Path) -> dict[str, Any]:
    """Let target-jsonl append files, make views of them, and return the target for dbt."""
    files = folder / "files"
    files.mkdir(parents=True)
    for number, run in enumerate(world.runs):
        for file in loaders.into_jsonl(run.output).folder.glob("*.jsonl"):
            file.rename(files / f"{file.name.partition('-')[0]}-2026030{number}T000000.jsonl")
    outcomes = "".join(json.dumps(row) + "\n" for row in world.outcomes)
    (files / "campaign_outcomes-20260309T000000.jsonl").write_text(outcomes)
    database = folder / "warehouse.duckdb"
    with duckdb.connect(str(database)) as connection:
        for schema, names in (("linq", "*"), ("linq_second", "20260300T000000")):
            connection.execute(f"create schema {schema}")
            for stream in sorted({file.name.partition("-")[0] for file in files.glob(f"*-{names}.jsonl")}):
                connection.execute(
                    f"create view {schema}.{stream} as select * from "
                    f"read_json('{files}/{stream}-{names}.jsonl', filename = true, union_by_name = true)"
                )
    return {"type": "duckdb", "path": str(database), "schema": "models"}
