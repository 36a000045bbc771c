"""One odd record costs no more than itself, up to and including the loader.

One run of the tap over an account that holds every oddness there is, and one run of each loader over what came out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.support.documented_sql import sql
from tests.support.hostile_api import location_row, serving
from tests.support.loaders import Loaded, Loaders, without
from tests.support.singer_checks import read, violations
from tests.support.tap_runs import Extraction, run_tap
from tests.system.loaders.judging import same, verdict
from tests.system.loaders.odd_records import CASES, CHATS_WITHOUT_A_KEY
from tests.system.loaders.odd_world import World, build, tag

KINDS = sorted({(case.stream, case.kind) for case in CASES})
NUMBER = {case: number for number, case in enumerate(CASES)}
KEY = {"chat_participants": "handle", "chat_locations": "handle"}
LOADERS = ["postgres", "jsonl", "csv"]


@pytest.fixture(scope="module")
def world() -> World:
    return build(CASES)


@pytest.fixture(scope="module")
def extraction(world: World, full_catalog: Any, tmp_path_factory: pytest.TempPathFactory) -> Extraction:
    with serving(world.api):
        return run_tap(world.api, tmp_path_factory.mktemp("odd"), catalog=full_catalog)


@pytest.fixture(scope="module")
def emitted(extraction: Extraction) -> dict[str, list[dict[str, Any]]]:
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for message in extraction.messages:
        if message["type"] == "RECORD":
            rows[message["stream"]].append(message["record"])
    return rows


@pytest.fixture(scope="module")
def loaded(extraction: Extraction, loaders: Loaders) -> dict[str, Loaded]:
    """What each loader has made of it, all of them at the same time."""
    with ThreadPoolExecutor() as threads:
        return dict(zip(LOADERS, threads.map(lambda name: loaders.load(name, extraction.output), LOADERS), strict=True))


def key_of(stream: str, row: dict[str, Any]) -> Any:
    return row.get(KEY.get(stream, "id"))


def by_tag(stream: str, rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Rows of cases, by the tag in their keys."""
    odd = {}
    for row in rows:
        key = str(key_of(stream, row))
        if key.startswith("case") and (stream != "messages" or key.endswith("-odd")):
            odd[key[: len(tag(0))]] = row
    return odd


def test_odd_records_are_no_failure(extraction: Extraction) -> None:
    assert extraction.code == 0, extraction.log[-2_000:]
    assert "Traceback" not in extraction.log
    assert extraction.bookmarks


def faults_of_lines(extraction: Extraction) -> Iterator[str]:
    schemas: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(extraction.output.read_bytes().splitlines(), 1):
        try:
            message = read(line)
        except (AssertionError, ValueError, RecursionError) as error:
            yield f"line {number}: {type(error).__name__} {str(error)[:100]}: {line[:80]!r}"
            continue
        if message["type"] == "SCHEMA":
            schemas[message["stream"]] = message["schema"]
        elif message["type"] == "RECORD":
            for fault in violations(message["record"], schemas[message["stream"]]):
                yield f"{message['stream']} {key_of(message['stream'], message['record'])}: {fault}"


def test_each_row_fits_its_schema_and_has_nothing_beside_it(extraction: Extraction) -> None:
    faults = list(faults_of_lines(extraction))
    assert not faults, f"{len(faults)} faults, such as\n" + "\n".join(faults[:: max(1, len(faults) // 40)])


def test_all_good_rows_are_out(world: World, emitted: dict[str, list[dict[str, Any]]]) -> None:
    for stream, wanted in world.expected.items():
        missing = wanted - {key_of(stream, row) for row in emitted[stream]}
        assert not missing, f"{len(missing)} of {len(wanted)} good {stream} are missing: {sorted(missing)[:10]}"


@pytest.mark.parametrize(("stream", "kind"), KINDS, ids=[f"{stream}-{kind}" for stream, kind in KINDS])
def test_what_becomes_of(stream: str, kind: str, world: World, emitted: dict[str, list[dict[str, Any]]]) -> None:
    rows = by_tag(stream, emitted[stream])
    cases = [case for case in CASES if (case.stream, case.kind) == (stream, kind)]
    faults = {str(case): verdict(case, world.good[case], rows.get(tag(NUMBER[case]))) for case in cases}
    faults = {name: found for name, found in faults.items() if found}
    shown = "\n".join(f"{name}: {'; '.join(found)}" for name, found in list(faults.items())[:60])
    assert not faults, f"{len(faults)} of {len(cases)}:\n{shown}"


@pytest.mark.parametrize("stream", ["messages", "chats", "webhook_subscriptions", "phone_numbers"])
def test_nothing_else_is_out(stream: str, world: World, emitted: dict[str, list[dict[str, Any]]]) -> None:
    """A record without a key does not come out under another."""
    known = {tag(number) for number in range(len(CASES))}
    strays = [
        key
        for key in (key_of(stream, row) for row in emitted[stream])
        if str(key)[: len(tag(0))] not in known and key not in world.expected[stream] and key not in ("", "line-0101")
    ]
    assert not strays


def culprits(loaders: Loaders, name: str, output: Path, folder: Path, limit: int = 3) -> list[str]:
    """The cases whose rows a loader can't stand, some of them: by leaving out halves until it goes well."""
    found: list[str] = []
    numbers = list(range(len(CASES)))

    def goes_well(kept: list[int]) -> bool:
        dropped = {tag(number) for number in NUMBER.values()} - {tag(number) for number in kept}
        return loaders.load(name, without(output, dropped, folder / "some.singer")).code == 0

    while len(found) < limit and not goes_well(numbers):
        low, high = 0, len(numbers)  # the first `low` go well, the first `high` don't
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if goes_well(numbers[:middle]) else (low, middle)
        found.append(str(CASES[numbers.pop(high - 1)]))
    return found


@pytest.mark.parametrize("name", LOADERS)
def test_the_loader_takes_it_all(
    name: str, extraction: Extraction, loaded: dict[str, Loaded], loaders: Loaders, tmp_path: Path
) -> None:
    if loaded[name].code != 0:
        tail = loaded[name].log[-1_500:]
        pytest.fail(
            f"{name} ended with {loaded[name].code}: {culprits(loaders, name, extraction.output, tmp_path)}\n{tail}"
        )


@pytest.mark.parametrize("name", LOADERS)
def test_each_row_is_in_the_warehouse_as_the_tap_wrote_it(
    name: str, extraction: Extraction, emitted: dict[str, list[dict[str, Any]]], loaded: dict[str, Loaded]
) -> None:
    faults = []
    for stream, rows in emitted.items():
        key = extraction.schemas[stream]["key_properties"]
        stored = {tuple(str(row.get(column) or 0) for column in key): row for row in loaded[name].rows.get(stream, ())}
        for row in rows:
            identity = tuple(str(row.get(column) or 0) for column in key)
            if identity not in stored:
                faults.append(f"{stream} {identity}: not there")
                continue
            for column, value in row.items():
                found = stored[identity].get(column)
                if not as_stored(found, value, name):
                    faults.append(f"{stream} {identity}: {column} is {found!r:.80} instead of {value!r:.80}")
    assert not faults, f"{len(faults)} faults, such as\n" + "\n".join(faults[:: max(1, len(faults) // 40)])


def test_duckdb_reads_what_target_jsonl_wrote(
    emitted: dict[str, list[dict[str, Any]]], loaded: dict[str, Loaded]
) -> None:
    """All of it: one line that it can't read costs the whole file."""
    for file in loaded["jsonl"].folder.glob("*.jsonl"):
        with duckdb.connect() as connection:
            ((count,),) = connection.execute(f"select count(*) from read_json('{file}')").fetchall()
        assert count == len(emitted[file.name.partition("-")[0]]), file.name


def test_the_sql_for_duckdb_on_odd_records(
    world: World, emitted: dict[str, list[dict[str, Any]]], loaded: dict[str, Loaded]
) -> None:
    """Whatever `_extra` holds, the other columns keep their types."""
    with duckdb.connect() as connection:
        connection.execute(sql("duckdb").replace("output/", f"{loaded['jsonl'].folder}/"))
        ((count,),) = connection.execute("select count(*) from newest_messages").fetchall()
        ((texts,),) = connection.execute("select count(*) from message_parts where type = 'text'").fetchall()
    assert count == len({row["id"] for row in emitted["messages"]})
    assert texts >= len(world.expected["messages"])


def as_stored(stored: Any, value: Any, name: str) -> bool:
    if name != "csv":
        return same(stored, value)
    if isinstance(value, dict | list):
        return bool(stored)  # Python's way to write it, from which nothing is read back
    if value is None or value == "":
        return stored in (None, "")
    return bool(same(stored, str(value)) or stored == str(value).replace("\r\n", "\n") or stored == value)


def test_what_was_odd_is_counted_in_the_log(world: World, extraction: Extraction) -> None:
    """Not a line for each, and no values: they may be what people wrote."""
    without_key = sum(1 for case in CASES if case.row == "no" and case.stream == "messages")
    lines = [line for line in extraction.log.splitlines() if "messages" in line and str(without_key) in line]
    assert lines or str(without_key + 1) in extraction.log, f"no line says that {without_key} messages had no key"
    assert len(extraction.log.splitlines()) < 100 + 5 * len(world.api.lines)
    for text in ("v-quotes", "half an emoji", "pizza?"):
        assert text not in extraction.log


def test_each_stream_declares_where_the_rest_goes(extraction: Extraction) -> None:
    for stream, message in extraction.schemas.items():
        if stream != "extraction_gaps":  # made by the tap itself
            assert "object" in message["schema"]["properties"]["_extra"]["type"], stream


def test_chats_without_an_id_do_not_stop_the_others(full_catalog: Any, tmp_path: Path) -> None:
    """Their own messages can't be asked for, which may fail the run; all else is out, locations too."""
    world = build(CHATS_WITHOUT_A_KEY)
    for chat in world.api.chats:
        chat.locations = [location_row(f"{chat.id}@example.com")]
    with serving(world.api):
        extraction = run_tap(world.api, tmp_path, catalog=full_catalog)
    assert "Traceback" not in extraction.log
    for stream, wanted in world.expected.items():
        assert wanted <= {row["id"] for row in extraction.records(stream)}, stream
    assert {row["chat_id"] for row in extraction.records("chat_locations")} >= world.expected["chats"]
    assert extraction.code == 0 or "without an id" in extraction.log
