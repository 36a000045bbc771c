"""Where the rows of a campaign come from."""

from __future__ import annotations

import csv
import json
import logging
import sqlite3
import sys
import tracemalloc
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from airflow.sdk import ObjectStoragePath
from airflow.sdk.io import attach
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import assume, given
from hypothesis import strategies as st

from airflow_provider_linq.campaigns._rows import NULL_VALUES, BadRow, Row, is_missing, rows_from
from linq_client import InvalidRequestError
from tests.support.campaigns import campaign

ANN, BOB = "+12025550121", "+12025550122"


class Array:
    """Has, as an array of NumPy, no truth value, and compares element by element."""

    def __len__(self) -> int:
        return 2

    def __eq__(self, other: object) -> Any:
        return Array()

    def __ne__(self, other: object) -> Any:
        return Array()

    def __bool__(self) -> bool:
        raise ValueError("the truth value of an array is ambiguous")


def pandas_na() -> Any:
    """Return what compares as the NA of pandas does."""

    class NA:
        def __eq__(self, other: object) -> Any:
            return self

        def __ne__(self, other: object) -> Any:
            return self

        def __bool__(self) -> bool:
            raise TypeError("boolean value of NA is ambiguous")

    return NA()


def read(
    rows: Any = None,
    path: Path | str | None = None,
    sql: str | None = None,
    conn_id: str | None = "people",
    parameters: Mapping[str, Any] | Sequence[Any] | None = None,
    **options: Any,
) -> list[Row | BadRow]:
    path = None if path is None else str(path)
    return list(rows_from(rows, path, sql, sql_conn_id=conn_id, parameters=parameters, **options))


@pytest.fixture
def people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection `people` to a database with a table of that name."""
    file = tmp_path / "people.db"
    database = sqlite3.connect(file)
    database.execute("CREATE TABLE people (phone TEXT, name TEXT, visits INTEGER)")
    database.executemany("INSERT INTO people VALUES (?, ?, ?)", [(ANN, "Ann", 3), (BOB, None, 5)])
    database.commit()
    database.close()
    monkeypatch.setenv("AIRFLOW_CONN_PEOPLE", json.dumps({"conn_type": "sqlite", "host": str(file)}))


def test_rows_that_are_given_are_taken_as_they_are() -> None:
    rows = [{"phone": ANN}, {"phone": BOB, "name": None}]
    assert read(rows) == rows
    assert read(iter(rows)) == rows
    assert read([]) == []


@pytest.mark.parametrize(
    ("given_rows", "path", "sql"),
    [(None, None, None), ([], "a.csv", None), (None, "a.csv", "SELECT 1"), ([], None, "")],
)
def test_exactly_one_source_is_needed(given_rows: Any, path: str | None, sql: str | None) -> None:
    # At once, not when the first row is taken: an operator may check its arguments without reading anything.
    with pytest.raises(InvalidRequestError, match="give exactly one of rows, rows_path and sql"):
        rows_from(given_rows, path, sql, sql_conn_id=None, parameters=None)


@pytest.mark.parametrize("not_rows", ["+12025550121", {"phone": ANN}, 7])
def test_rows_must_be_a_list(not_rows: Any) -> None:
    with pytest.raises(InvalidRequestError, match="rows: must be a list of rows"):
        read(not_rows)


def test_what_is_no_row_is_named_by_its_number_and_not_shown() -> None:
    with pytest.raises(InvalidRequestError, match=r"^rows: row 2 must have names and values, got str$"):
        read([{"phone": ANN}, "secret"])


@pytest.mark.parametrize("rows", [iter([{"to": ANN}]), ({"to": to} for to in (ANN, BOB)), map(dict, [[("to", ANN)]])])
def test_an_operator_takes_no_rows_that_can_be_read_once(rows: Any) -> None:
    with pytest.raises(ValueError, match=r"^rows must be a list, which can be read more than once, got \w+$"):
        campaign(rows=rows)


VALUES = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text() | st.lists(st.text(), max_size=3)
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"))  # Python 3.10 reads no NUL in CSV
NAMES = st.lists(TEXT.filter(bool), min_size=1, max_size=5, unique=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The examples of a property write the same file again and again."""
    return tmp_path_factory.mktemp("rows")


@given(rows=st.lists(st.dictionaries(st.text(), VALUES, min_size=1, max_size=4), max_size=4))
def test_json_lines_come_back_as_they_were(rows: list[Row], folder: Path) -> None:
    path = folder / "people.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert read(path=path) == rows


@given(
    names=st.lists(TEXT.filter(lambda name: name and not set(name) & set(";\t|")), min_size=1, max_size=4, unique=True),
    data=st.data(),
)
def test_csv_comes_back_as_it_was(names: list[str], data: st.DataObject, folder: Path) -> None:
    row = st.lists(TEXT, min_size=len(names), max_size=len(names))
    rows = [dict(zip(names, values, strict=True)) for values in data.draw(st.lists(row, max_size=4))]
    path = folder / "people.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)
    assume(not any("sep=" in name for name in names))
    assert read(path=path, null_values=()) == rows


@given(data=st.data(), names=st.lists(TEXT.filter(bool), min_size=1, max_size=4, unique=True))
def test_parquet_comes_back_as_it_was(names: list[str], data: st.DataObject, folder: Path) -> None:
    row = st.fixed_dictionaries({name: st.none() | TEXT for name in names})
    rows = data.draw(st.lists(row, max_size=4))
    path = folder / "people.parquet"
    schema = pyarrow.schema([(name, pyarrow.string()) for name in names])
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema=schema), path)
    assert read(path=path) == rows


def test_parquet_keeps_what_is_no_text(tmp_path: Path) -> None:
    rows = [{"to": [ANN, BOB], "visits": 3, "regular": True}] * 12_000  # of more than one batch
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "people.parquet")
    assert read(path=tmp_path / "people.parquet") == rows


def test_csv_as_spreadsheets_write_it(tmp_path: Path) -> None:
    path = tmp_path / "People.CSV"
    path.write_bytes(b'\xef\xbb\xbfphone,name\r\n+12025550121,"Ann, ""A."""\r\n\r\n+12025550122,\r\n')
    assert read(path=path) == [{"phone": ANN, "name": 'Ann, "A."'}, {"phone": BOB, "name": ""}]


@pytest.mark.parametrize(
    ("name", "text", "rule"),
    [
        ("a.csv", 'phone,name\n+12025550121,"secret\nman"\n+12025550122\n', r"line 4 of .* the 2 fields of .*, got 1$"),
        # Else the rest of the file is one value, and what is written to Ann has the numbers of the others.
        ("a.csv", 'phone,name\n+12025550121,"Ann\n+12025550122,Bob\n', r"line 3 of .* is no CSV: unexpected end"),
        ("a.csv", 'phone,name\n+12025550121,"Ann\n+12025550122,"Bob"\n', r"line 3 of .* is no CSV: ',' expected"),
        ("a.csv", "phone,name\n+12025550121,secret,man\n", r"line 2 of .* the 2 fields of its header, got 3$"),
        ("a.csv", "phone,name,phone\n", r"columns of different names, got phone twice$"),
        ("a.csv", "", r"has no header line$"),
        ("a.csv", f"phone\n{'secret' * 30_000}\n", r"line 2 of .* is no CSV: field larger than field limit"),
        ("a.csv", b"phone\nsecret\xff\n", r"must be UTF-8, '.*a\.csv' is not$"),
        ("a.jsonl", '{"phone": "+12025550121"}\n\n{"phone": secret}\n', r"line 3 of .* is no JSON: Expecting value"),
        (
            "a.jsonl",
            '{"phone": "+12025550121"}\n["secret"]\n',
            r"^rows_path: row 2 must have names and values, got list$",
        ),
        ("a.ndjson", b'{"phone": "secret\xff"}\n', r"must be UTF-8"),
        ("a.parquet", "secret", r"is no Parquet file$"),
        ("a.parquet", "", r"is no Parquet file$"),
        ("a.xlsx", "secret", r"rows_path: must end in one of \.csv, .*, got '\.xlsx'$"),
        ("secret", "secret", r"rows_path: must end in one of \.csv, .*, got ''$"),
    ],
)
def test_a_file_that_is_broken_is_refused_without_its_text(
    tmp_path: Path, name: str, text: str | bytes, rule: str
) -> None:
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InvalidRequestError, match=rule) as raised:
        read(path=tmp_path / name)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_a_file_that_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidRequestError, match=rf"must be a file that can be read, got '{tmp_path}/{name}'"):
        read(path=tmp_path / name)
    (tmp_path / name).mkdir()
    with pytest.raises(InvalidRequestError, match="must be a file that can be read"):
        read(path=tmp_path / name)


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_files_of_other_stores(name: str) -> None:
    attach("memory", fs=MemoryFileSystem())
    path = ObjectStoragePath(f"memory://bucket/{name}")
    with path.open("wb") as file:
        if name == "a.parquet":
            pyarrow.parquet.write_table(pyarrow.table({"phone": [ANN]}), file)
        else:
            file.write(f"phone\n{ANN}\n".encode() if name == "a.csv" else json.dumps({"phone": ANN}).encode())
    assert read(path=str(path)) == [{"phone": ANN}]


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(InvalidRequestError, match=r"linq-connectors\[parquet\]"):
        read(path=tmp_path / "a.parquet")


@pytest.mark.usefixtures("people")
def test_a_query() -> None:
    found = read(sql="SELECT phone, name, visits AS times FROM people WHERE visits > ? ORDER BY visits", parameters=[2])
    assert found == [{"phone": ANN, "name": "Ann", "times": 3}, {"phone": BOB, "name": None, "times": 5}]
    assert read(sql="SELECT phone FROM people WHERE name = :name", parameters={"name": "Ann"}) == [{"phone": ANN}]
    assert read(sql="SELECT phone FROM people WHERE visits > 9") == []


@pytest.mark.usefixtures("people")
def test_neither_parameters_nor_values_are_logged(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG, logger="airflow.task")
    assert len(read(sql="SELECT * FROM people WHERE phone = ?", parameters=[ANN])) == 1
    logged = (
        "".join(capsys.readouterr()) + caplog.text
    )  # hooks log by structlog, which prints, or by the logging module
    assert ANN not in logged
    assert "Ann" not in logged


@pytest.mark.usefixtures("people")
def test_a_query_of_many_rows() -> None:
    sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12000) SELECT i FROM n"
    assert [row["i"] for row in read(sql=sql)] == list(range(1, 12_001))


@pytest.mark.usefixtures("people")
@pytest.mark.parametrize(
    ("sql", "conn_id", "rule"),
    [
        ("SELECT phone, name AS phone FROM people", "people", r"^sql: .* different names, got phone twice$"),
        ("DELETE FROM people", "people", r"^sql: must be a query that returns rows"),
        ("SELECT 1", None, r"^sql_conn_id: must name the connection that sql is for, got None$"),
        ("SELECT 1", "linq_default", r"^sql_conn_id: must be a connection to a database, got LinqHook$"),
    ],
)
def test_what_is_no_query_is_refused(offline: None, sql: str, conn_id: str | None, rule: str) -> None:
    with pytest.raises(InvalidRequestError, match=rule):
        read(sql=sql, conn_id=conn_id)


@pytest.mark.usefixtures("people")
def test_a_statement_that_is_no_query_changes_nothing() -> None:
    with pytest.raises(InvalidRequestError):
        read(sql="DELETE FROM people")
    assert len(read(sql="SELECT * FROM people")) == 2


@pytest.mark.parametrize(
    "text",
    [
        "to,name\n+12025550121,Ann\n",
        "to;name\n+12025550121;Ann\n",
        "to\tname\n+12025550121\tAnn\n",
        "to|name\r\n+12025550121|Ann\r\n",
        "sep=;\nto;name\n+12025550121;Ann\n",
        "\ufeffsep=|\r\nto|name\r\n+12025550121|Ann\r\n",
        'to,"name",,\n+12025550121,Ann,,\n',
        "to;name;;\n+12025550121;Ann;;note\n",
    ],
)
def test_csv_says_itself_what_is_between_its_values(tmp_path: Path, text: str) -> None:
    path = tmp_path / "people.csv"
    path.write_text(text, encoding="utf-8", newline="")
    assert read(path=path) == [{"to": ANN, "name": "Ann"}]


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (2**30, pyarrow.date32()),
        (2**62, pyarrow.duration("s")),
        (0, pyarrow.timestamp("s", "Mars/Phobos")),
    ],
)
def test_a_parquet_value_that_python_has_not(tmp_path: Path, value: int, kind: pyarrow.DataType) -> None:
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"to": [ANN], "at": pyarrow.array([value], kind)}), path)
    with pytest.raises(InvalidRequestError, match=r"^rows_path: rows 1 and following of .* has no value for"):
        read(path=path)


def test_a_header_may_hold_what_separates_nothing(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text('to,"first; last;\nname;"\n+12025550121,a;b\n+12025550122;x\n')
    with pytest.raises(InvalidRequestError, match=r"line 4 of .*, with commas between values, .* got 1$"):
        read(path=path)


def test_words_for_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    words = [*sorted(NULL_VALUES), "Null", "Nan", "NULLA", "-"]
    path.write_text("name\n" + "".join(f"{word}\n" for word in words))
    assert [row["name"] for row in read(path=path)] == [None] * len(NULL_VALUES) + ["Null", "Nan", "NULLA", "-"]
    assert [row["name"] for row in read(path=path, null_values=())] == words
    assert [row["name"] for row in read(path=path, null_values=("-",))] == [*words[:-1], None]
    assert read([{"name": "NULL", "n": 1}]) == [{"name": "NULL", "n": 1}]
    assert read([{"name": "NULL", "n": 1}], null_values=("NULL",)) == [{"name": None, "n": 1}]


@pytest.mark.parametrize("value", [None, "", float("nan"), Decimal("NaN"), Decimal("sNaN"), pandas_na()])
def test_what_is_missing(value: Any) -> None:
    assert is_missing(value)


@pytest.mark.parametrize("value", ["x", " ", 0, False, [], [None], {}, Array(), Decimal(0)])
def test_what_is_not_missing(value: Any) -> None:
    assert not is_missing(value)


def test_a_row_that_can_not_be_read_is_one_row(tmp_path: Path) -> None:
    path = tmp_path / "people.jsonl"
    deep = '{"a": ' * 100_000 + "1" + "}" * 100_000
    good = json.dumps({"to": ANN})
    path.write_text(
        "\n".join([good, deep, f'{{"to": "{BOB}", "n": {"7" * 5_000}}}', '{"x": "' + "y" * 100_001 + '"}', good])
    )
    found = read(path=path)
    assert [type(row) for row in found] == [dict, BadRow, BadRow, BadRow, dict]


@pytest.mark.parametrize(
    ("line", "name"),
    [
        (f'{{"to": "{ANN}", "name": "Ann", "to": "{BOB}"}}', "to"),
        (f'{{"name": "Ann", "to": "{ANN}", "name": "Bob"}}', "name"),
        (f'{{"to": "{ANN}", "address": {{"city": "Bern", "city": "Rome"}}}}', "city"),
    ],
)
def test_a_row_with_two_values_of_one_name_is_one_row_that_can_not_be_read(
    tmp_path: Path, line: str, name: str
) -> None:
    path = tmp_path / "people.jsonl"
    path.write_text(f'{line}\n{{"to": "{BOB}"}}\n')
    assert read(path=path) == [BadRow(f"row: must have each name once, got {name!r} twice"), {"to": BOB}]


def test_a_parquet_file_that_is_larger_in_memory_than_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "people.parquet"
    column = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 300), pyarrow.array(["x" * 1_000_000]))
    pyarrow.parquet.write_table(pyarrow.table({"text": column.cast(pyarrow.string())}), path)
    tracemalloc.start()
    try:
        assert sum(isinstance(row, BadRow) for row in read(path=path)) == 300
        assert tracemalloc.get_traced_memory()[1] < 200_000_000
    finally:
        tracemalloc.stop()


def test_a_file_has_a_largest_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "people.csv"
    path.write_text("to\n" + f"{ANN}\n" * 100_000)
    assert len(read(path=path)) == 100_000
    monkeypatch.setenv("AIRFLOW__LINQ__MAX_ROWS_FILE_MB", "1")
    with pytest.raises(InvalidRequestError, match=r"rows_path: must be a file of at most 1 MB .*, got 1 MB"):
        read(path=path)


def test_a_store_that_nobody_knows_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="rows_path: must be in a store that Airflow knows, got 'x'"):
        read(path="x://people.csv")
