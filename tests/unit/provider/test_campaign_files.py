"""The files that a campaign writes: each is there in full or not at all."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from airflow.sdk.io import attach
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_linq.campaigns._files import check_output_path, write_rows
from airflow_provider_linq.campaigns._journal import COLUMNS, as_row
from airflow_provider_linq.campaigns._model import Outcome
from airflow_provider_linq.campaigns._rows import NULL_VALUES, Row, rows_from
from linq_client import InvalidRequestError
from tests.support.airflow_versions import HAS_CONNECTIONS_IN_PATHS
from tests.support.campaigns import OUTCOMES, STORES, folder_in, names

ANN, BOB = "+12025550121", "+12025550122"
SENT = Outcome(1, (ANN,), "sent", idempotency_key="k1", line="+12025550101", chat_id="c1", message_id="m1")
FAILED = Outcome(2, (ANN, BOB), "failed", "refused", "2,005: no", code=2005, idempotency_key="k2")


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder that is not there yet, on a disk and in an object store."""
    return folder_in(request.param, tmp_path)


def read(path: str) -> list[Row]:
    return list(rows_from(None, path, None, sql_conn_id=None, parameters=None))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The examples of a property write the same file again and again."""
    return tmp_path_factory.mktemp("outcomes")


@given(outcomes=st.lists(OUTCOMES, max_size=3))
def test_outcomes_come_back_as_they_were(outcomes: list[Outcome], folder: Path) -> None:
    """From a CSV file, their texts do."""
    for suffix in ("jsonl", "ndjson", "parquet"):
        path = f"{folder}/out.{suffix}"
        assert write_rows(path, map(as_row, outcomes), COLUMNS) == len(outcomes)
        assert [Outcome(**{**row, "to": tuple(row["to"])}) for row in read(path)] == outcomes, suffix
    path = f"{folder}/out.csv"
    assert write_rows(path, map(as_row, outcomes), COLUMNS) == len(outcomes)
    texts = [
        {
            name: "" if value is None else ",".join(value) if name == "to" else str(value)
            for name, value in as_row(outcome).items()
        }
        for outcome in outcomes
    ]
    expected = [{name: None if text in NULL_VALUES else text for name, text in row.items()} for row in texts]
    assert read(path) == expected


def test_csv_to_be_read_by_people(tmp_path: Path) -> None:
    write_rows(f"{tmp_path}/out.csv", [as_row(FAILED)], ("row", "to", "detail", "chat_id"))
    assert (tmp_path / "out.csv").read_bytes() == (
        b'row,to,detail,chat_id\r\n2,"+12025550121,+12025550122","2,005: no",\r\n'
    )


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_files_are_written_to_any_store(store: str, suffix: str) -> None:
    path = f"{store}/2026/out.{suffix}"
    assert write_rows(path, [as_row(SENT), as_row(FAILED)], COLUMNS) == 2
    assert [str(row["row"]) for row in read(path)] == ["1", "2"]
    assert write_rows(path, [as_row(FAILED)], COLUMNS) == 1  # in the place of the earlier one
    assert [str(row["row"]) for row in read(path)] == ["2"]
    assert write_rows(path, [], COLUMNS) == 0
    assert read(path) == []
    assert names(f"{store}/2026") == [f"out.{suffix}"]


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_a_file_is_there_in_full_or_not_at_all(store: str, suffix: str) -> None:
    def broken() -> Iterator[Mapping[str, Any]]:
        yield from [as_row(FAILED)] * 6_000
        raise ConnectionError("the source is gone")

    path = f"{store}/out.{suffix}"
    with pytest.raises(ConnectionError):
        write_rows(path, broken(), COLUMNS)
    assert names(store) == []
    write_rows(path, [as_row(SENT)], COLUMNS)
    with pytest.raises(ConnectionError):
        write_rows(path, broken(), COLUMNS)
    assert len(read(path)) == 1
    assert names(store) == [f"out.{suffix}"]


def test_who_reads_a_file_while_it_is_replaced_reads_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    write_rows(str(path), [as_row(SENT)] * 3, COLUMNS)
    with path.open() as reader:
        write_rows(str(path), [as_row(FAILED)], COLUMNS)
        assert [json.loads(line)["row"] for line in reader] == [1, 1, 1]


def test_other_columns_than_those_of_outcomes(tmp_path: Path) -> None:
    rows: list[Row] = [
        {"row": 1, "to": [ANN], "replied": True, "message": {"parts": ["Hi"]}, "left": "out"},
        {"row": 2, "to": (BOB,), "replied": False, "message": "Hi \ud83d"},
        {"row": 3},
    ]
    columns = ("row", "to", "replied", "message")
    for suffix in ("csv", "jsonl", "parquet"):
        write_rows(f"{tmp_path}/out.{suffix}", rows, columns)
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
    write_rows(f"{tmp_path}/out.parquet", ({"row": n, "to": ()} for n in range(12_000)), ("row", "to"))
    file = pyarrow.parquet.ParquetFile(tmp_path / "out.parquet")
    assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == [5_000, 5_000, 2_000]
    assert [row["row"] for row in read(f"{tmp_path}/out.parquet")] == list(range(12_000))


def test_a_path_is_checked_before_it_is_needed(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in ("out.csv", "2026/OUT.JSONL", "out.ndjson", "out.parquet"):
        check_output_path(f"{store}/{path}", "outcomes_path")
    with pytest.raises(InvalidRequestError, match=r"^outcomes_path: must end in one of .*, got '\.txt'$"):
        check_output_path("out.txt", "outcomes_path")
    with pytest.raises(InvalidRequestError, match=r"^report_path: must end in one of .*, got ''$"):
        check_output_path("s3://bucket/out", "report_path")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(InvalidRequestError, match=r"linq-connectors\[parquet\]"):
        check_output_path("out.parquet", "outcomes_path")


def test_a_check_leaves_nothing_behind(store: str) -> None:
    write_rows(f"{store}/out.jsonl", [as_row(SENT)], COLUMNS)
    for path in ("out.jsonl", "other.jsonl"):
        check_output_path(f"{store}/{path}", "outcomes_path")
    assert names(store) == ["out.jsonl"]
    assert len(read(f"{store}/out.jsonl")) == 1


@pytest.mark.parametrize("path", ["folder.csv", "file/out.csv", "file/2026/out.csv"])
def test_a_path_that_can_not_be_written_is_refused(tmp_path: Path, path: str) -> None:
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "file").write_text("no folder")
    rule = rf"^outcomes_path: must be a file that can be written, got '{tmp_path}/{path}'$"
    with pytest.raises(InvalidRequestError, match=rule):
        check_output_path(f"{tmp_path}/{path}", "outcomes_path")


def test_a_path_that_is_signed_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "out.csv?signature=secret.x").mkdir()
    for path in ("https://store.example.org/out.txt?signature=secret.x", f"{tmp_path}/out.csv?signature=secret.x"):
        with pytest.raises(InvalidRequestError) as raised:
            check_output_path(path, "outcomes_path")
        assert "secret" not in str(raised.value)


@pytest.mark.skipif(not HAS_CONNECTIONS_IN_PATHS, reason="in Airflow 3.1.0 such a path never finds its connection")
def test_files_go_where_the_connection_of_the_path_says(tmp_path: Path) -> None:
    # A store with folders that have to be made, such as one by SFTP.
    attach("memory", conn_id="shop", fs=DirFileSystem(str(tmp_path), LocalFileSystem()))
    path = "memory://shop@bucket/2026/out.jsonl"
    write_rows(path, [as_row(SENT)], COLUMNS)
    (written,) = tmp_path.glob("**/out.jsonl")
    assert json.loads(written.read_text())["row"] == 1
    other = path.replace("out", "other/out")
    write_rows(other, [as_row(SENT)], COLUMNS)
    assert len(read(other)) == 1
