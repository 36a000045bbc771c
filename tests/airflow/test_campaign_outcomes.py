"""What became of a campaign's rows, on file."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any, get_args

import pyarrow.parquet
import pytest
from airflow.sdk import ObjectStoragePath
from airflow.sdk.io import attach
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_linq.campaigns._model import Outcome, Status
from airflow_provider_linq.campaigns._journal import COLUMNS, Journal, Latest, as_row, check_output_path, write_outcomes
from airflow_provider_linq.campaigns._rows import Row, rows_from
from linq_client import InvalidRequestError

ANN, BOB = "+12025550121", "+12025550122"
SENT = Outcome(1, (ANN,), "sent", idempotency_key="k1", line="+12025550101", chat_id="c1", message_id="m1")
FAILED = Outcome(2, (ANN, BOB), "failed", "refused", "2,005: no", code=2005, idempotency_key="k2")

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"))  # Python 3.10 reads no NUL in CSV
MAYBE = st.none() | TEXT
HANDLES = st.lists(st.sampled_from([ANN, BOB, "ann@example.org"]), max_size=3).map(tuple)
NUMBERS = st.integers(0, 2**31)
OUTCOMES = st.builds(
    Outcome,
    row=NUMBERS,
    to=HANDLES,
    status=st.sampled_from(get_args(Status)),
    reason=MAYBE,
    detail=MAYBE,
    code=st.none() | NUMBERS,
    idempotency_key=MAYBE,
    line=MAYBE,
    chat_id=MAYBE,
    message_id=MAYBE,
    created_at=MAYBE,
)


@pytest.fixture(params=["local", "url", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder that is not there yet, on a disk and in an object store."""
    attach("memory", fs=MemoryFileSystem())
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]
    return {"local": f"{tmp_path}/out", "url": f"file://{tmp_path}/out", "memory": "memory://bucket/out"}[request.param]


def read(path: str) -> list[Row]:
    return list(rows_from(None, path, None, sql_conn_id=None, parameters=None))


def names(folder: str) -> list[str]:
    """What lies in a folder, hidden files and all; nothing if there is none."""
    path = ObjectStoragePath(folder)
    return sorted(found.name for found in path.iterdir()) if path.exists() else []


@pytest.mark.parametrize("suffix", ["jsonl", "ndjson", "parquet"])
@given(outcomes=st.lists(OUTCOMES, max_size=5))
def test_outcomes_come_back_as_they_were(suffix: str, outcomes: list[Outcome], tmp_path_factory: Any) -> None:
    path = str(tmp_path_factory.mktemp("outcomes") / f"out.{suffix}")
    assert write_outcomes(path, map(as_row, outcomes), COLUMNS) == len(outcomes)
    assert [Outcome(**{**row, "to": tuple(row["to"])}) for row in read(path)] == outcomes


@given(outcomes=st.lists(OUTCOMES, max_size=5))
def test_csv_has_the_same_as_text(outcomes: list[Outcome], tmp_path_factory: Any) -> None:
    path = str(tmp_path_factory.mktemp("outcomes") / "out.csv")
    assert write_outcomes(path, map(as_row, outcomes), COLUMNS) == len(outcomes)
    expected = [
        {
            name: "" if value is None else ",".join(value) if name == "to" else str(value)
            for name, value in as_row(outcome).items()
        }
        for outcome in outcomes
    ]
    assert read(path) == expected


def test_csv_to_be_read_by_people(tmp_path: Path) -> None:
    write_outcomes(f"{tmp_path}/out.csv", [as_row(FAILED)], ("row", "to", "detail", "chat_id"))
    assert (tmp_path / "out.csv").read_bytes() == (
        b'row,to,detail,chat_id\r\n2,"+12025550121,+12025550122","2,005: no",\r\n'
    )


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_files_are_written_to_any_store(store: str, suffix: str) -> None:
    path = f"{store}/2026/out.{suffix}"
    assert write_outcomes(path, [as_row(SENT), as_row(FAILED)], COLUMNS) == 2
    assert [str(row["row"]) for row in read(path)] == ["1", "2"]
    assert write_outcomes(path, [as_row(FAILED)], COLUMNS) == 1  # in the place of the earlier one
    assert [str(row["row"]) for row in read(path)] == ["2"]
    assert write_outcomes(path, [], COLUMNS) == 0
    assert read(path) == []
    assert names(f"{store}/2026") == [f"out.{suffix}"]


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_a_file_is_there_in_full_or_not_at_all(store: str, suffix: str) -> None:
    def broken() -> Iterator[Mapping[str, Any]]:
        yield from [as_row(FAILED)] * 6_000
        raise ConnectionError("the source is gone")

    path = f"{store}/out.{suffix}"
    with pytest.raises(ConnectionError):
        write_outcomes(path, broken(), COLUMNS)
    assert names(store) == []
    write_outcomes(path, [as_row(SENT)], COLUMNS)
    with pytest.raises(ConnectionError):
        write_outcomes(path, broken(), COLUMNS)
    assert len(read(path)) == 1
    assert names(store) == [f"out.{suffix}"]


def test_who_reads_a_file_while_it_is_replaced_reads_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    write_outcomes(str(path), [as_row(SENT)] * 3, COLUMNS)
    with path.open() as reader:
        write_outcomes(str(path), [as_row(FAILED)], COLUMNS)
        assert [json.loads(line)["row"] for line in reader] == [1, 1, 1]


def test_other_columns_than_those_of_outcomes(tmp_path: Path) -> None:
    rows: list[Row] = [
        {"row": 1, "to": [ANN], "replied": True, "message": {"parts": ["Hi"]}, "left": "out"},
        {"row": 2, "to": (BOB,), "replied": False, "message": "Hi \ud83d"},
        {"row": 3},
    ]
    columns = ("row", "to", "replied", "message")
    for suffix in ("csv", "jsonl", "parquet"):
        write_outcomes(f"{tmp_path}/out.{suffix}", rows, columns)
    assert read(f"{tmp_path}/out.csv") == [
        {"row": "1", "to": ANN, "replied": "true", "message": '{"parts": ["Hi"]}'},
        {"row": "2", "to": BOB, "replied": "false", "message": r"Hi \ud83d"},
        {"row": "3", "to": "", "replied": "", "message": ""},
    ]
    assert read(f"{tmp_path}/out.jsonl") == [
        {"row": 1, "to": [ANN], "replied": True, "message": {"parts": ["Hi"]}},
        {"row": 2, "to": [BOB], "replied": False, "message": "Hi \ud83d"},
        {"row": 3, "to": None, "replied": None, "message": None},
    ]
    assert read(f"{tmp_path}/out.parquet") == [
        {"row": 1, "to": [ANN], "replied": True, "message": '{"parts": ["Hi"]}'},
        {"row": 2, "to": [BOB], "replied": False, "message": r"Hi \ud83d"},
        {"row": 3, "to": None, "replied": None, "message": None},
    ]


def test_parquet_is_written_as_the_rows_come(tmp_path: Path) -> None:
    write_outcomes(f"{tmp_path}/out.parquet", ({"row": n, "to": ()} for n in range(12_000)), ("row", "to"))
    file = pyarrow.parquet.ParquetFile(tmp_path / "out.parquet")
    assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == [5_000, 5_000, 2_000]
    assert [row["row"] for row in read(f"{tmp_path}/out.parquet")] == list(range(12_000))


def test_a_path_is_checked_before_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    for path in ("out.csv", "s3://shop@bucket/OUT.JSONL", "gs://bucket/out.ndjson", "out.parquet"):
        check_output_path(path)
    with pytest.raises(InvalidRequestError, match=r"^outcomes_path: must end in one of .*, got '\.txt'$"):
        check_output_path("out.txt")
    with pytest.raises(InvalidRequestError, match=r"^report_path: must end in one of .*, got ''$"):
        check_output_path("s3://bucket/out", "report_path")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(InvalidRequestError, match=r"linq-connectors\[parquet\]"):
        check_output_path("out.parquet")


def test_a_path_that_is_signed_is_not_shown() -> None:
    with pytest.raises(InvalidRequestError) as raised:
        check_output_path("https://store.example.org/out.txt?signature=secret.x")
    assert "secret" not in str(raised.value)


@given(parts=st.lists(st.lists(OUTCOMES, max_size=4), max_size=4))
def test_a_journal_gives_back_what_it_was_given(parts: list[list[Outcome]], tmp_path_factory: Any) -> None:
    path = str(tmp_path_factory.mktemp("journal") / "out.csv")
    for part in parts:
        Journal(path, "spring").append(part)
    assert list(Journal(path, "spring").read()) == [outcome for part in parts for outcome in part]


def test_a_journal_in_any_store(store: str) -> None:
    journal = Journal(f"{store}/2026/out.csv", "spring")
    assert list(journal.read()) == []
    journal.append([SENT, FAILED])
    journal.append([])
    journal.append([replace(FAILED, status="sent")])
    assert len(names(f"{store}/2026/out.csv.parts")) == 2
    assert list(Journal(f"{store}/2026/out.csv", "spring").read()) == [SENT, FAILED, replace(FAILED, status="sent")]


def test_a_journal_is_of_one_campaign_alone(store: str) -> None:
    spring, autumn = Journal(f"{store}/out.csv", "spring"), Journal(f"{store}/out.csv", "autumn")
    spring.append([SENT])
    autumn.append([FAILED])
    assert (list(spring.read()), list(autumn.read())) == ([SENT], [FAILED])


def test_two_tasks_may_keep_a_journal_at_once(store: str) -> None:
    path = f"{store}/out.csv"
    outcomes = [replace(SENT, row=number) for number in range(80)]

    def keep(mine: list[Outcome]) -> None:
        journal = Journal(path, "spring")
        for outcome in mine:
            journal.append([outcome])

    threads = [threading.Thread(target=keep, args=(outcomes[start::4],)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = list(Journal(path, "spring").read())
    assert sorted(outcome.row for outcome in kept) == list(range(80))
    for start in range(4):  # each in its own order
        assert [outcome for outcome in kept if outcome.row % 4 == start] == outcomes[start::4]


def test_files_go_where_the_connection_of_the_path_says(tmp_path: Path) -> None:
    # A store with folders that have to be made, such as one by SFTP.
    attach("memory", conn_id="shop", fs=DirFileSystem(str(tmp_path), LocalFileSystem()))
    path = "memory://shop@bucket/2026/out.jsonl"
    journal = Journal(path, "spring")
    journal.append([SENT])
    assert len(list(tmp_path.glob("**/out.jsonl.parts/*.jsonl"))) == 1
    assert list(Journal(path, "spring").read()) == [SENT]
    write_outcomes(path, [as_row(SENT)], COLUMNS)
    (written,) = tmp_path.glob("**/out.jsonl")
    assert json.loads(written.read_text())["row"] == 1
    other = path.replace("out", "other/out")
    write_outcomes(other, [as_row(SENT)], COLUMNS)
    assert len(read(other)) == 1


@given(cut=st.integers(min_value=0, max_value=1_000))
def test_a_part_that_was_not_written_to_its_end_loses_only_that(cut: int, tmp_path_factory: Any) -> None:
    path = tmp_path_factory.mktemp("journal") / "out.csv"
    journal = Journal(str(path), "spring")
    journal.append([SENT, FAILED])
    (part,) = Path(f"{path}.parts").iterdir()
    whole = part.read_bytes()
    cut = cut % (len(whole) + 1)
    part.write_bytes(whole[:cut])
    journal.append([replace(SENT, row=3)])
    first = len(whole.splitlines()[0])
    expected = [SENT] * (cut >= first) + [FAILED] * (cut >= len(whole) - 1) + [replace(SENT, row=3)]
    assert list(journal.read()) == expected


def test_a_journal_that_was_cut_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    journal = Journal(f"{tmp_path}/out.csv", "spring")
    journal.append([SENT])
    (part,) = Path(f"{tmp_path}/out.csv.parts").iterdir()
    part.write_bytes(part.read_bytes()[:40])
    assert list(journal.read()) == []
    assert part.name in caplog.text
    assert ANN not in caplog.text


def test_a_journal_keeps_its_order_when_the_clock_is_set_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([2_000, 1_000, 1_000])
    monkeypatch.setattr("time.time_ns", lambda: next(times))
    journal = Journal(f"{tmp_path}/out.csv", "spring")
    outcomes = [replace(SENT, row=number) for number in (1, 2, 3)]
    for outcome in outcomes:
        journal.append([outcome])
    assert list(journal.read()) == outcomes


def test_the_lines_of_a_journal_are_those_of_an_outcomes_file(tmp_path: Path) -> None:
    Journal(f"{tmp_path}/out.jsonl", "spring").append([SENT])
    (part,) = Path(f"{tmp_path}/out.jsonl.parts").iterdir()
    assert json.loads(part.read_text()) == {**as_row(SENT), "to": [ANN]}


@given(st.lists(OUTCOMES))
def test_the_latest_outcome_of_each_key(outcomes: list[Outcome]) -> None:
    wanted = {outcome.idempotency_key: outcome for outcome in outcomes}
    latest = Latest(BytesIO(), outcomes)
    for key in list(wanted)[::2]:
        assert latest.pop(key) == wanted.pop(key)
        assert latest.pop(key) is None
    assert list(latest.rest()) == list(wanted.values())
