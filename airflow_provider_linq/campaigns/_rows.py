"""Where the rows of a campaign come from: a list, a file of any storage that Airflow knows, or a query."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeAlias

from airflow.sdk import BaseHook, ObjectStoragePath

from airflow_provider_linq.campaigns._files import kind_of, pyarrow
from linq_client import InvalidRequestError

Row: TypeAlias = Mapping[str, Any]

#: How many rows are taken at once from a query or a Parquet file.
BATCH: Final = 5_000


def is_missing(value: Any) -> bool:
    """Whether a value of a row counts as a gap: None, an empty string, or not a number."""
    # What is not equal to itself is a NaN, which data frames have in the place of what is missing.
    return value is None or value == "" or value != value


def rows_from(
    rows: Iterable[Row] | None,
    rows_path: str | None,
    sql: str | None,
    *,
    sql_conn_id: str | None,
    parameters: Mapping[str, Any] | Sequence[Any] | None,
) -> Iterator[Row]:
    """
    Return the rows of the one source that is given.

    :param rows: the rows themselves.
    :param rows_path: a path or URL that ends in ``.csv`` (UTF-8, with a header line; all values are strings),
        ``.jsonl``, ``.ndjson`` or ``.parquet``.
    :param sql: one query; the columns of its result are those of the rows.
    :param sql_conn_id: connection to the database of ``sql``.
    :param parameters: of ``sql``.
    :raises InvalidRequestError: not exactly one source is given, or it can't be read, or (while the rows are taken)
        something in it is no row.
    """
    given = [name for name, value in (("rows", rows), ("rows_path", rows_path), ("sql", sql)) if value is not None]
    if len(given) != 1:
        raise InvalidRequestError(f"rows: give exactly one of rows, rows_path and sql, got {given or 'none'}")
    if rows is not None:
        if isinstance(rows, str | bytes | Mapping) or not isinstance(rows, Iterable):
            raise InvalidRequestError(f"rows: must be a list of rows, got {type(rows).__name__}")
        found: Iterable[Any] = rows
    elif rows_path is not None:
        read = {"csv": _csv, "jsonl": _jsonl, "parquet": _parquet}[kind_of(rows_path, "rows_path")]
        found = read(rows_path)
    else:
        found = _query(str(sql), sql_conn_id, parameters)
    return _mappings(found)


def _mappings(found: Iterable[Any]) -> Iterator[Row]:
    for number, row in enumerate(found, start=1):
        if not isinstance(row, Mapping):
            raise InvalidRequestError(f"rows: row {number} must have names and values, got {type(row).__name__}")
        yield row


def _csv(path: str) -> Iterator[Row]:
    with _opened(path, "r", encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(file)
        try:
            names = next(lines, None)
            if names is None:
                raise InvalidRequestError(f"rows_path: {path!r} has no header line")
            _check_names(names, "rows_path")
            for values in lines:
                if not values:  # an empty line, such as the last one of many files
                    continue
                if len(values) != len(names):
                    raise InvalidRequestError(
                        f"rows_path: line {lines.line_num} of {path!r} must have the {len(names)} fields of its "
                        f"header, got {len(values)}"
                    )
                yield dict(zip(names, values, strict=True))
        except csv.Error as error:
            raise InvalidRequestError(f"rows_path: line {lines.line_num} of {path!r} is no CSV: {error}") from None


def _jsonl(path: str) -> Iterator[Any]:
    with _opened(path, "r", encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise InvalidRequestError(
                    f"rows_path: line {number} of {path!r} is no JSON: {error.msg} at character {error.pos}"
                ) from None  # the error holds the line
            # The names are the same in all rows: one copy of them will do.
            yield {sys.intern(name): value for name, value in row.items()} if isinstance(row, dict) else row


def _parquet(path: str) -> Iterator[Row]:
    parquet = pyarrow("pyarrow.parquet")
    broken = pyarrow("pyarrow").ArrowInvalid
    with _opened(path, "rb") as file:
        try:
            table = parquet.ParquetFile(file)
        except broken as error:
            raise InvalidRequestError(f"rows_path: {path!r} is no Parquet file") from error
        _check_names(table.schema_arrow.names, "rows_path")
        for batch in table.iter_batches(batch_size=BATCH, use_threads=False):
            yield from batch.to_pylist()


@contextmanager
def _opened(path: str, mode: str, **options: Any) -> Iterator[Any]:
    try:
        with ObjectStoragePath(path).open(mode, **options) as file:  # type: ignore[no-untyped-call]
            yield file
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:  # others, of the network say, can pass
        raise InvalidRequestError(f"rows_path: must be a file that can be read, got {path!r}") from error
    except UnicodeDecodeError:
        raise InvalidRequestError(f"rows_path: must be UTF-8, {path!r} is not") from None  # the error holds the text


def _query(
    sql: str, sql_conn_id: str | None, parameters: Mapping[str, Any] | Sequence[Any] | None
) -> Iterator[dict[str, Any]]:
    if sql_conn_id is None:
        raise InvalidRequestError("sql_conn_id: must name the connection that sql is for, got None")
    hook = BaseHook.get_connection(sql_conn_id).get_hook()  # type: ignore[no-untyped-call]
    if not hasattr(hook, "run"):
        raise InvalidRequestError(f"sql_conn_id: must be a connection to a database, got {type(hook).__name__}")
    hook.log_sql = False  # it would log the parameters
    rows: list[dict[str, Any]] = []

    def collect(cursor: Any) -> list[Any]:
        if cursor.description is None:
            raise InvalidRequestError("sql: must be a query that returns rows, got a statement that returns none")
        names = [column[0] for column in cursor.description]
        _check_names(names, "sql")
        while batch := cursor.fetchmany(BATCH):
            rows.extend(dict(zip(names, values, strict=True)) for values in batch)
        # Some hooks make tuples of what a handler returns, and take nothing but their own kind of rows for that.
        return []

    hook.run(sql, parameters=parameters, handler=collect)
    return iter(rows)


def _check_names(names: Sequence[str], field: str) -> None:
    """Refuse columns of the same name: only one of them would be left."""
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InvalidRequestError(f"{field}: must have columns of different names, got {', '.join(twice)} twice")
