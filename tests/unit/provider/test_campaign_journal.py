"""The journal of a campaign: who may have been sent to, what became of them, and which task sends at present."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.io import attach
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_linq._internal.durable import FORMAT, FormatError
from airflow_provider_linq.campaigns._journal import (
    Claim,
    Entry,
    Journal,
    Latest,
    Release,
    Writer,
    as_row,
    key_of,
)
from airflow_provider_linq.campaigns._model import Outcome
from tests.support.airflow_versions import HAS_CONNECTIONS_IN_PATHS
from tests.support.campaigns import (
    HANDLES,
    OUTCOMES,
    STORES,
    TEXT,
    folder_in,
    names,
)

ANN, BOB = "+12025550121", "+12025550122"
LINE = "+12025550101"
NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
SENT = Outcome(1, (ANN,), "sent", idempotency_key="k1", line=LINE, chat_id="c1", message_id="m1")
FAILED = Outcome(2, (ANN, BOB), "failed", "refused", "2,005: no", code=2005, idempotency_key="k2")
CLAIM = Claim("k1", (ANN,), 1, LINE, "2026-03-01T12:00:00Z")
RELEASE = Release("k1")
ME, OTHER = Writer("me", 2), Writer("other", 0)


def entries_of(keys: st.SearchStrategy[str]) -> st.SearchStrategy[Entry]:
    claims = st.builds(Claim, key=keys, to=HANDLES, row=st.integers(0, 9), line=st.none() | TEXT, at=TEXT)
    return claims | st.builds(Release, keys) | st.builds(replace, OUTCOMES, idempotency_key=keys) | OUTCOMES


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder that is not there yet, on a disk and in an object store."""
    return folder_in(request.param, tmp_path)


def journal_at(path: str, campaign_key: str = "spring", writer: Writer = ME) -> Journal:
    return Journal(path, campaign_key, writer)


def entries(journal: Journal) -> list[Entry]:
    return [entry for _, entry in journal.read()]


def parts_of(path: str) -> list[Path]:
    return sorted(Path(f"{path}.parts").iterdir())


def change(part: Path, line: int, edit: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Edit a line of a part, from 0, as another version would have written it."""
    lines = [json.loads(text) for text in part.read_text().splitlines()]
    lines[line] = edit(lines[line])
    part.write_text("".join(json.dumps(value) + "\n" for value in lines))


ENTRIES = st.lists(entries_of(st.text(min_size=1, max_size=3)), max_size=3)


@given(parts=st.lists(st.tuples(st.sampled_from([ME, OTHER]), ENTRIES), max_size=3))
def test_a_journal_gives_back_what_it_was_given_and_who_wrote_it(parts: list[tuple[Writer, list[Entry]]]) -> None:
    with TemporaryDirectory() as folder:
        path = f"{folder}/out.csv"
        for writer, part in parts:
            journal_at(path, writer=writer).append(part)
        read = list(journal_at(path).read())
    assert read == [(writer, entry) for writer, part in parts for entry in part]


def test_a_journal_in_any_store(store: str) -> None:
    path = f"{store}/2026/out.csv"
    journal = journal_at(path)
    assert entries(journal) == []
    journal.append([CLAIM, FAILED])
    journal.append([])
    journal.append([SENT, RELEASE])
    assert len(names(f"{path}.parts")) == 2
    assert entries(journal_at(path)) == [CLAIM, FAILED, SENT, RELEASE]


def test_a_journal_is_of_one_campaign_alone(store: str) -> None:
    spring, autumn = journal_at(f"{store}/out.csv", "spring"), journal_at(f"{store}/out.csv", "autumn")
    spring.append([SENT])
    autumn.append([FAILED])
    assert (entries(spring), entries(autumn)) == ([SENT], [FAILED])
    assert spring.owner.take(NOON)
    assert autumn.owner.take(NOON)


def test_two_tasks_may_keep_a_journal_at_once(store: str) -> None:
    path = f"{store}/out.csv"
    outcomes = [replace(SENT, row=number) for number in range(80)]

    def keep(mine: list[Outcome], writer: Writer) -> None:
        journal = journal_at(path, writer=writer)
        for outcome in mine:
            journal.append([outcome])

    writers = [Writer(f"task {start}", 0) for start in range(4)]
    threads = [threading.Thread(target=keep, args=(outcomes[n::4], writer)) for n, writer in enumerate(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = list(journal_at(path).read())
    assert len(kept) == 80
    for start, writer in enumerate(writers):  # each in its own order
        assert [entry for found, entry in kept if found == writer] == outcomes[start::4]


@pytest.mark.skipif(not HAS_CONNECTIONS_IN_PATHS, reason="in Airflow 3.1.0 such a path never finds its connection")
def test_a_journal_goes_where_the_connection_of_the_path_says(tmp_path: Path) -> None:
    # A store with folders that have to be made, such as one by SFTP.
    attach("memory", conn_id="pantry", fs=DirFileSystem(str(tmp_path), LocalFileSystem()))
    path = "memory://pantry@bucket/2026/out.jsonl"
    journal = journal_at(path)
    assert journal.owner.take(NOON)
    journal.append([SENT])
    assert len(list(tmp_path.glob("**/out.jsonl.parts/*.jsonl"))) == 1
    assert len(list(tmp_path.glob("**/out.jsonl.parts/*.owner.json"))) == 1
    assert entries(journal_at(path)) == [SENT]
    assert not journal_at(path, writer=OTHER).owner.take(NOON)


@given(cut=st.integers(min_value=0, max_value=2_000))
def test_a_part_that_was_not_written_to_its_end_loses_only_that(cut: int) -> None:
    with TemporaryDirectory() as folder:
        path = f"{folder}/out.csv"
        journal = journal_at(path)
        journal.append([CLAIM, FAILED, RELEASE])
        (part,) = parts_of(path)
        whole = part.read_bytes()
        cut %= len(whole) + 1
        part.write_bytes(whole[:cut])
        journal.append([replace(SENT, row=3)])
        read = entries(journal)
    ends = [whole.index(b"\n", 0)]
    while len(ends) < 4:
        ends.append(whole.index(b"\n", ends[-1] + 1))
    kept = [entry for entry, end in zip([CLAIM, FAILED, RELEASE], ends[1:], strict=True) if cut >= end]
    assert read == [*kept, replace(SENT, row=3)]


@pytest.mark.parametrize("kept", [0, 20, 150])
def test_a_journal_that_was_cut_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture, kept: int) -> None:
    path = f"{tmp_path}/out.csv"
    journal = journal_at(path)
    journal.append([SENT])
    (part,) = parts_of(path)
    part.write_bytes(part.read_bytes()[:kept])
    assert entries(journal) == []
    assert part.name in caplog.text
    assert ANN not in caplog.text


def test_a_journal_keeps_its_order_when_the_clock_is_set_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([2_000, 1_000, 1_000])
    monkeypatch.setattr("time.time_ns", lambda: next(times))
    journal = journal_at(f"{tmp_path}/out.csv")
    outcomes = [replace(SENT, row=number) for number in (1, 2, 3)]
    for outcome in outcomes:
        journal.append([outcome])
    assert entries(journal) == outcomes


def test_the_lines_of_a_part(tmp_path: Path) -> None:
    """What another version has to read."""
    journal_at(f"{tmp_path}/out.jsonl").append([CLAIM, SENT, Release("k2")])
    (part,) = parts_of(f"{tmp_path}/out.jsonl")
    assert [json.loads(line) for line in part.read_text().splitlines()] == [
        {"format": 1, "task": "me", "max_tries": 2},
        {"claim": {"key": "k1", "to": [ANN], "row": 1, "line": LINE, "at": "2026-03-01T12:00:00Z"}},
        {"outcome": {**as_row(SENT), "to": [ANN]}},
        {"released": "k2"},
    ]


@pytest.mark.parametrize(
    ("change_of", "written"),
    [({"format": FORMAT + 1}, "has format 2"), ({"format": None}, "has no format"), ({"format": "1"}, "has no format")],
)
def test_a_part_of_another_format_is_refused(tmp_path: Path, change_of: dict[str, Any], written: str) -> None:
    path = f"{tmp_path}/out.jsonl"
    journal_at(path).append([SENT])
    (part,) = parts_of(path)
    change(part, 0, lambda head: {**head, **change_of})
    with pytest.raises(FormatError, match=rf"^journal .*{part.name}: .* the record {written}.*This task sends nothing"):
        entries(journal_at(path))


def test_a_part_of_version_0_1_0_is_refused(tmp_path: Path) -> None:
    path = f"{tmp_path}/out.jsonl"
    journal_at(path).append([FAILED])
    (part,) = parts_of(path)
    part.write_text(json.dumps(as_row(SENT)) + "\n")  # it had no head: each line was an outcome
    with pytest.raises(FormatError, match=r"has no format, as version 0\.1\.0 wrote it"):
        entries(journal_at(path))


def test_what_a_later_version_adds_to_the_format_is_passed_over(tmp_path: Path) -> None:
    path = f"{tmp_path}/out.jsonl"
    journal_at(path).append([CLAIM, SENT, RELEASE, FAILED])
    (part,) = parts_of(path)
    change(part, 0, lambda head: {**head, "host": "worker-1"})
    change(part, 1, lambda line: {"claim": {**line["claim"], "colour": "blue"}, "colour": "blue"})
    change(part, 2, lambda line: {"outcome": {**line["outcome"], "colour": "blue"}})
    change(part, 3, lambda line: {"note": {"key": "k1"}})
    assert list(journal_at(path).read()) == [(ME, CLAIM), (ME, SENT), (ME, FAILED)]


def test_a_writer_is_the_same_in_all_tries_until_a_clear() -> None:
    def writer(**changed: Any) -> Writer:
        ids = {"dag_id": "dag", "run_id": "run", "task_id": "task", "map_index": -1, "try_number": 1, "max_tries": 2}
        return Writer.of(SimpleNamespace(**{**ids, **changed}))

    assert writer() == writer(try_number=2)
    assert writer().task == writer(max_tries=5).task
    assert writer() != writer(max_tries=5)
    others = [writer(dag_id="other"), writer(run_id="other"), writer(task_id="other"), writer(map_index=1)]
    assert len({one.task for one in (writer(), *others)}) == 5


@given(st.lists(entries_of(st.sampled_from("abcd")), max_size=9))
def test_the_latest_entry_of_each_key(given_entries: list[Entry]) -> None:
    wanted: dict[str, Claim | Outcome] = {}
    for entry in given_entries:
        before = wanted.get(key_of(entry))
        if isinstance(before, Outcome) and before.status == "sent" and not isinstance(entry, Outcome):
            continue
        wanted.pop(key_of(entry), None)
        if not isinstance(entry, Release):
            wanted[key_of(entry)] = entry
    latest = Latest(BytesIO(), given_entries)
    for key in list(wanted)[::2]:
        assert latest.pop(key) == wanted.pop(key)
        assert latest.pop(key) is None
    rest = list(latest.rest())
    assert {outcome.idempotency_key: outcome for outcome in rest if outcome.reason != "unsettled"} == {
        entry.idempotency_key: entry for entry in wanted.values() if isinstance(entry, Outcome)
    }
    claimed = {(entry.row, entry.to, entry.key, entry.line) for entry in wanted.values() if isinstance(entry, Claim)}
    assert {(o.row, o.to, o.idempotency_key, o.line) for o in rest if o.reason == "unsettled"} == claimed


def test_who_is_claimed_and_asked_for_by_nobody_may_have_been_sent_to() -> None:
    (outcome,) = Latest(BytesIO(), [CLAIM]).rest()
    detail = "An earlier try may have written to them; they are not among the rows any more"
    assert outcome == Outcome(1, (ANN,), "unknown", "unsettled", detail, idempotency_key="k1", line=LINE)


def test_who_was_sent_to_and_is_claimed_again_was_sent_to() -> None:
    """The claim is one to send another message in its place, or the same one: nothing makes the first undone."""
    (outcome,) = Latest(BytesIO(), [SENT, CLAIM]).rest()
    assert outcome == SENT
