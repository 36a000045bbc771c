"""What the models answer about some days of an account, on both databases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest

from docs_tools.dbt import tables
from tests.support.dbt import ZONE, Build, Dbt
from tests.support.loaders import Loaders
from tests.support.postgres import new_database
from tests.system.dbt.world import ANN, BEN, CAT, DEE, GUS, HAL, VARIABLES, World, into_duckdb, into_postgres, live

Rows = list[tuple[Any, ...]]
Query = Callable[[str], Rows]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return live(tmp_path_factory.mktemp("world"))


class Warehouse:
    """A database in which dbt has built the models.

    Attributes:
        query: returns the rows of a query; models are found by their names alone, times are in UTC, numbers floats.
    """

    def __init__(self, build: Build, query: Query) -> None:
        self.build = build
        self.query = query

    def main(self, model: str, columns: str) -> Rows:
        """Rows of the first account."""
        return self.query(f"select {columns} from {model} where source_relation = 'main'")


def plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    return float(value) if isinstance(value, Decimal) else value


def as_plain(time: str) -> str:
    return plain(datetime.fromisoformat(time.replace("Z", "+00:00")))


@pytest.fixture(scope="module")
def builds(
    world: World, dbt: Dbt, target_jsonl: Path, postgres_server: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[dict[str, Any], Build]]:
    """The targets of both databases, and what became of `dbt build` on them, side by side."""
    folders = {name: tmp_path_factory.mktemp(name) for name in ("postgres", "duckdb")}
    loaders = {name: Loaders(postgres_server, target_jsonl, folder) for name, folder in folders.items()}
    fill: dict[str, Callable[[], dict[str, Any]]] = {
        "postgres": lambda: into_postgres(world, loaders["postgres"], new_database(postgres_server)),
        "duckdb": lambda: into_duckdb(world, loaders["duckdb"], folders["duckdb"]),
    }

    def build(name: str) -> tuple[dict[str, Any], Build]:
        target = fill[name]()
        return target, dbt.run("build", folders[name], target, VARIABLES)

    with ThreadPoolExecutor() as threads:
        return dict(zip(folders, threads.map(build, folders), strict=True))


@pytest.fixture(scope="module", params=["postgres", "duckdb"])
def warehouse(request: pytest.FixtureRequest, builds: dict[str, tuple[dict[str, Any], Build]]) -> Iterator[Warehouse]:
    """In a session whose zone is not UTC."""
    target, build = builds[request.param]
    if request.param == "postgres":
        login = {name: target[name] for name in ("host", "port", "user", "dbname")}
        with psycopg.connect(**login, options=f"-c search_path=models -c timezone={ZONE}") as connection:
            yield Warehouse(build, lambda sql: [tuple(map(plain, row)) for row in connection.execute(sql.encode())])
    else:
        with duckdb.connect(target["path"], read_only=True) as database:
            database.execute(f"set timezone = '{ZONE}'; set schema = 'models'")
            yield Warehouse(build, lambda sql: [tuple(map(plain, row)) for row in database.execute(sql).fetchall()])


def test_all_is_built_and_no_test_complains(warehouse: Warehouse) -> None:
    """Also where tables, columns and a whole account are missing."""
    assert warehouse.build.code == 0, warehouse.build.log[-5_000:]
    assert warehouse.build.results.keys() >= {f"stg_linq__{table.name}" for table in tables()}
    assert set(warehouse.build.results.values()) <= {"success", "pass"}, warehouse.build.results


def test_the_newest_row_of_every_message_is_there(warehouse: Warehouse, world: World) -> None:
    found = warehouse.main("linq__messages", "message_id, chat_id, line, direction, text")
    names = ("id", "chat_id", "line", "direction", "text")
    assert sorted(found) == sorted(tuple(row[name] for name in names) for row in world.ledger)
    states = warehouse.main("linq__messages", "message_id, source, is_expired, status, is_downgraded, failure_code")
    by_id = {row[0]: row[1:] for row in states}
    gus = world.sent["gus: Is it Saturday?"]
    assert {id_ for id_, row in by_id.items() if row[0] == "webhook"} == {gus}
    (answer,) = (id_ for id_, row in by_id.items() if not row[1])
    assert next(row["text"] for row in world.ledger if row["id"] == answer) == "We are open."
    assert by_id[world.sent["fay"]][2] == "failed"
    assert by_id[world.sent["ben"]][2] == "delivered"
    assert {id_ for id_, row in by_id.items() if row[3]} == {world.sent["downgraded"]}
    assert not warehouse.query("select 1 from linq__messages where is_system_event")


def test_reactions_that_were_taken_back_do_not_count(warehouse: Warehouse, world: World) -> None:
    counts = warehouse.main("linq__messages", "message_id, reaction_count, part_count, text_part_count")
    assert {row[0] for row in counts if row[1]} == {world.sent["hal"]}
    assert {row[2:] for row in counts} == {(1, 1)}
    assert len(warehouse.main("linq__message_parts", "value")) == len(world.ledger)
    reactions = warehouse.main("stg_linq__reactions", "message_id, removed_at is not null")
    assert sorted(reactions) == sorted([(world.sent["ben"], True), (world.sent["hal"], False)])


def test_a_response_over_the_weekend(warehouse: Warehouse, world: World) -> None:
    columns = "chat_id, inbound_count, first_inbound_at, answered_at, status, calendar_seconds, business_seconds"
    found = {row[0]: row[1:] for row in warehouse.main("linq__response_times", columns)}
    weekend = (2, "2026-03-06T21:00:00Z", "2026-03-09T14:00:00Z", "answered", 234_000, 9_000)
    assert found[world.chats["ann"]] == weekend
    assert found[world.chats["eve and line 2"]][3:] == ("answered", 60, 60)
    assert found[world.chats["cat"]][3:] == ("opted_out", None, None)
    assert found[world.chats["dee"]][0] == 2
    assert found[world.chats["dee"]][3] == "open"
    assert world.chats["fay"] not in found


def test_conversations(warehouse: Warehouse, world: World) -> None:
    columns = "chat_id, contact, began_with, inbound_count, outbound_count, failed_count, status"
    found = {row[0]: row[1:] for row in warehouse.main("linq__conversations", columns)}
    assert found.keys() == set(world.chats.values())
    about = {name: found[id_] for name, id_ in world.chats.items()}
    assert about["ann"] == (ANN, "inbound", 2, 1, 0, "answered")
    assert about["ben"] == (BEN, "outbound", 1, 1, 0, "open")
    assert about["cat"] == (CAT, "outbound", 1, 1, 0, "opted_out")
    assert about["dee"] == (DEE, "inbound", 2, 0, 0, "open")
    assert about["hal"] == (HAL, "outbound", 0, 1, 0, "no_reply")
    assert about["group"] == (None, "outbound", 1, 1, 0, "open")
    assert about["eve and line 1"][-1] == "open"
    assert about["eve and line 2"][-1] == "answered"
    assert about["fay"][3:5] == (1, 1)
    assert about["gus"][1:] == ("inbound", 1, 0, 0, "open")


def test_the_funnel_counts_every_outbound_message(warehouse: Warehouse, world: World) -> None:
    counts = "message_count, delivered_count, failed_count, downgraded_count, sent_with_receipts_count, delivered_rate"
    found = warehouse.main("linq__delivery_funnel", f"line, day, service, {counts}")
    outbound = [row for row in world.ledger if row["direction"] == "outbound"]
    by_group = Counter((row["line"], date.fromisoformat(row["created_at"][:10]), row["service"]) for row in outbound)
    assert {row[:3]: row[3] for row in found} == by_group
    one, friday = world.lines[0], date(2026, 3, 6)
    (sms,) = (row for row in found if row[2] == "SMS")
    assert sms == (one, friday, "SMS", 1, 0, 0, 1, 0, None)
    (busiest,) = (row for row in found if row[:3] == (one, friday, "iMessage"))
    assert busiest[5] == 1
    assert sum(row[5] for row in found) == 1
    assert all(row[8] is None or 0 < row[8] <= 1 for row in found)


def test_the_health_of_lines(warehouse: Warehouse, world: World) -> None:
    columns = "line, day, sent_count, received_count, new_chat_count, written_to_7d, replied_7d, opted_out_7d"
    found = {row[:2]: row[2:] for row in warehouse.main("linq__line_health", columns)}
    one, two = world.lines
    # Ben and the group have answered, Cat with a word that opts out; Dee has opted out and in again.
    assert found[one, date(2026, 3, 6)] == (7, 8, 6, 5, 3, 2)
    # Ann wrote on Friday, and was answered on Monday.
    assert found[one, date(2026, 3, 9)] == (1, 0, 0, 6, 3, 2)
    assert found[two, date(2026, 3, 6)] == (1, 1, 0, 1, 0, 0)
    rates = warehouse.main("linq__line_health", "line, day, reply_rate_7d, is_below_reply_rate, has_too_many_new_chats")
    assert {row[3:] for row in rates if row[0] == one} == {(False, False)}
    assert [row[2:4] for row in rates if row[0] == two] == [(0, True)]


def test_who_has_opted_out(warehouse: Warehouse, world: World) -> None:
    found = warehouse.main("linq__opt_outs", "handle, opted_out, opted_in_at is not null")
    assert sorted(found) == sorted([(CAT, True, False), (DEE, False, True)])
    (stop,) = (row for row in world.ledger if row["text"] == "STOP" and row["from"] == CAT)
    times = warehouse.main("linq__opt_out_events", "evidence, happened_at")
    assert {evidence for evidence, _ in times} >= {"keyword", "message", "health_status"}
    first = dict(warehouse.main("linq__opt_outs", "handle, first_opted_out_at"))
    assert first[CAT] == as_plain(stop["created_at"])


def test_results_of_a_campaign(warehouse: Warehouse, world: World) -> None:
    columns = "recipients, status, outcome, reason, message_id, delivery_status, replied_at, opted_out_at"
    found = {row[0]: row[1:] for row in warehouse.main("linq__campaign_results", columns) if row[3] != "duplicate"}
    assert len(warehouse.main("linq__campaign_results", "1")) == 6
    assert found[BEN][:5] == ("sent", "sent", None, world.sent["ben"], "delivered")
    assert found[BEN][5] == next(as_plain(row["created_at"]) for row in world.ledger if row["text"] == "Yes")
    assert found[CAT][6] is not None
    # Nobody knew, but an event names the key.
    assert found[HAL][:5] == ("sent", "unknown", "no_answer", world.sent["hal"], "delivered")
    assert found[GUS][:5] == ("skipped", "skipped", "opted_out", None, None)


def test_what_webhooks_cover_of_gaps(warehouse: Warehouse, world: World) -> None:
    columns = "line, reason, gap_start, gap_seconds, archive_coverage, covered_seconds, recovered_message_count"
    found = warehouse.main("linq__extraction_coverage", f"{columns}, may_lack_messages")
    gaps = {row["id"]: row for run in world.runs for row in run.records("extraction_gaps")}
    assert len(found) == len(gaps) == 4
    for row in found:
        assert row[7] == (row[4] != "full")
    (late,) = (row for row in found if row[0] == world.lines[0] and row[1] == "late_run")
    (gap,) = (row for row in gaps.values() if row["line"] == world.lines[0] and row["reason"] == "late_run")
    assert late[2][:16] == gap["gap_start"][:16]
    assert late[4] == gap["archive_coverage"]
    covered = [datetime.fromisoformat(one["end"]) - datetime.fromisoformat(one["start"]) for one in gap["covered"]]
    assert late[5] == pytest.approx(sum(one.total_seconds() for one in covered), abs=0.01)
    assert late[6] == 1


def test_accounts_do_not_mix(warehouse: Warehouse, world: World) -> None:
    """The second one holds what the first run brought, with the same ids."""
    counts = dict(warehouse.query("select source_relation, count(*) from linq__messages group by source_relation"))
    assert counts == {"main": len(world.ledger), "second": len(world.runs[0].records("messages"))}
    second = dict(warehouse.query("select contact, status from linq__conversations where source_relation = 'second'"))
    assert ANN not in second
    assert second[BEN] == "open"
    (reactions,) = warehouse.query("select sum(reaction_count) from linq__messages where source_relation = 'second'")
    assert reactions == (2,)
    assert not warehouse.query("select 1 from linq__campaign_results where source_relation <> 'main'")


def test_times_are_instants(warehouse: Warehouse, world: World) -> None:
    """Whatever the zone of the session: here it is not UTC."""
    found = dict(warehouse.main("linq__messages", "message_id, occurred_at"))
    assert found == {row["id"]: as_plain(row["created_at"]) for row in world.ledger}
