"""Where the rows of a campaign come from: a list, a file of any storage that Airflow knows, or a query."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import IO, Any, Final, TypeAlias

from airflow.sdk import BaseHook

from airflow_provider_linq._internal.arguments import NamedTwiceError, json_value
from airflow_provider_linq._internal.version_compat import conf, storage_path
from airflow_provider_linq.campaigns._files import kind_of, pyarrow
from linq_client import InvalidRequestError

Row: TypeAlias = Mapping[str, Any]

#: How many rows are taken at once from a query.
BATCH: Final = 5_000
#: How many rows are taken at once from a Parquet file, where few bytes on a disk can be many in memory.
PARQUET_BATCH: Final = 64
#: More characters in the values of one row are no row of a campaign.
ROW_SIZE: Final = 100_000
#: A larger file is refused, unless `[linq] max_rows_file_mb` allows it.
FILE_MB: Final = 1_000

#: What may stand between the values of a CSV file.
_SEPARATORS: Final = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}

#: Words in the place of a value that is missing, as databases and data frames write them. Only these spellings count:
#: "Null" and "Nan" are names of people.
NULL_VALUES: Final = frozenset(
    ("NULL", "null", "<null>", "(null)", "[NULL]", "\\N", "None", "nan", "NaN", "NaT", "<NA>", "N/A", "n/a", "#N/A")
)


@dataclass(frozen=True)
class BadRow:
    """What stands in the place of a row that can't be read."""

    why: str


def is_missing(value: Any) -> bool:
    """Whether a value of a row counts as a gap: None, an empty string, or not a number."""
    if value is None or hasattr(value, "__len__"):
        return value is None or (isinstance(value, str) and value == "")
    try:
        # What is not equal to itself is a NaN, which data frames have in the place of what is missing.
        return bool(value != value)
    except (ArithmeticError, TypeError, ValueError):  # a NaN that signals, and the NA of pandas
        return True


def rows_from(
    rows: Iterable[Row] | None,
    rows_path: str | None,
    sql: str | None,
    *,
    sql_conn_id: str | None,
    parameters: Mapping[str, Any] | Sequence[Any] | None,
    null_values: Collection[str] | None = None,
) -> Iterator[Row | BadRow]:
    """
    Return the rows of the one source that is given.

    :param rows: the rows themselves.
    :param rows_path: a path or URL that ends in ``.csv`` (UTF-8, with a header line that tells which of comma,
        semicolon, tab and bar is between the values; all values are strings), ``.jsonl``, ``.ndjson`` or ``.parquet``.
    :param sql: one query; the columns of its result are those of the rows.
    :param sql_conn_id: connection to the database of ``sql``.
    :param parameters: of ``sql``.
    :param null_values: words that stand for a value that is missing; None: those of `NULL_VALUES`, in CSV, which has no
        other way to say so.
    :raises InvalidRequestError: not exactly one source is given, or it can't be read, or (while the rows are taken)
        something in it is no row.
    """
    given = [name for name, value in (("rows", rows), ("rows_path", rows_path), ("sql", sql)) if value is not None]
    if len(given) != 1:
        raise InvalidRequestError(f"rows: give exactly one of rows, rows_path and sql, got {given or 'none'}")
    if rows is not None:
        if isinstance(rows, str | bytes | Mapping) or not isinstance(rows, Iterable):
            hint = "; a template makes rows only with render_template_as_native_obj" if isinstance(rows, str) else ""
            raise InvalidRequestError(f"rows: must be a list of rows, got {type(rows).__name__}{hint}")
        return _mappings(rows, "rows", frozenset(null_values or ()))
    if rows_path is not None:
        return rows_of_file(rows_path, "rows_path", null_values)
    return rows_of_query(
        str(sql), sql_conn_id, parameters, field="sql", conn_field="sql_conn_id", null_values=null_values or ()
    )


def rows_of_file(path: str, field: str, null_values: Collection[str] | None = None) -> Iterator[Row | BadRow]:
    """
    Return the rows of a file; arguments and errors as of `rows_from`.

    :param field: the argument that names the file, for errors.
    """
    kind = kind_of(path, field)
    if null_values is None:
        null_values = NULL_VALUES if kind == "csv" else ()
    found = {"csv": _csv, "jsonl": _jsonl, "parquet": _parquet}[kind](path, field)
    return _mappings(found, field, frozenset(null_values))


def rows_of_query(
    sql: str,
    conn_id: str | None,
    parameters: Mapping[str, Any] | Sequence[Any] | None,
    *,
    field: str,
    conn_field: str,
    null_values: Collection[str] = (),
) -> Iterator[Row | BadRow]:
    """
    Return the rows of a query; arguments and errors as of `rows_from`.

    :param field: the argument that has the query, for errors.
    :param conn_field: the argument that names the connection.
    """
    return _mappings(_query(sql, conn_id, parameters, field, conn_field), field, frozenset(null_values))


def _mappings(found: Iterable[Any], field: str, null_values: frozenset[str]) -> Iterator[Row | BadRow]:
    for number, row in enumerate(found, start=1):
        if isinstance(row, BadRow):
            yield row
            continue
        if type(row) is not dict and not isinstance(row, Mapping):  # the second takes ten times as long
            raise InvalidRequestError(f"{field}: row {number} must have names and values, got {type(row).__name__}")
        texts = [value for value in row.values() if isinstance(value, str)]
        if sum(map(len, texts)) > ROW_SIZE:
            yield BadRow(f"row: must have at most {ROW_SIZE:,} characters, got more")
        elif null_values and not null_values.isdisjoint(texts):
            is_null = [isinstance(value, str) and value in null_values for value in row.values()]
            yield {name: None if null else row[name] for name, null in zip(row, is_null, strict=True)}
        else:
            yield row


def _csv(path: str, field: str) -> Iterator[Row]:
    with _opened(path, field, "r", encoding="utf-8-sig", newline="") as file:
        first, separator, skipped = _csv_header(file)
        # Strict: a quote that is not closed would make the rest of the file one value, and send it to somebody.
        lines = csv.reader(chain(first, _lines(file)), delimiter=separator, strict=True)
        try:
            names = next(lines, None)
            if names is None:
                raise InvalidRequestError(f"{field}: {path!r} has no header line")
            _check_names(names, field)
            for values in lines:
                if not values:  # an empty line, such as the last one of many files
                    continue
                if len(values) != len(names):
                    line = skipped + lines.line_num
                    raise InvalidRequestError(
                        f"{field}: line {line} of {path!r}, with {_SEPARATORS[separator]} between values, "
                        f"must have the {len(names)} fields of its header, got {len(values)}"
                    )
                # What spreadsheets leave beside the table has no name.
                yield {name: value for name, value in zip(names, values, strict=True) if name}
        except csv.Error as error:
            line = skipped + lines.line_num
            raise InvalidRequestError(f"{field}: line {line} of {path!r} is no CSV: {error}") from None


def _csv_header(file: IO[str]) -> tuple[list[str], str, int]:
    """
    Return the lines of the header, what is between the values, and how many lines are above.

    The header line tells: it is what stands there most often, outside of quotes. Excel also writes ``sep=;`` above it.
    """
    first = file.readline(ROW_SIZE)
    if (named := re.fullmatch(r"sep=(.)\s*", first, re.IGNORECASE)) and named[1] in _SEPARATORS:
        return [], named[1], 1
    found = [first] if first else []
    while "".join(found).count('"') % 2 and len(found) < 100 and (line := file.readline(ROW_SIZE)):
        found.append(line)  # a name goes over several lines
    bare = re.sub(r'"[^"]*"', "", "".join(found))
    # Of equals the first, so that a single column is one of a file with commas.
    return found, max(_SEPARATORS, key=bare.count), 0


def _jsonl(path: str, field: str) -> Iterator[Any]:
    with _opened(path, field, "r", encoding="utf-8-sig") as file:
        for number, line in enumerate(_lines(file), start=1):
            if not line.strip():
                continue
            try:
                row = json_value(line)
            except NamedTwiceError as twice:
                yield BadRow(f"row: must have each name once, got {twice.name[:40]!r} twice")
                continue
            except json.JSONDecodeError as error:
                raise InvalidRequestError(
                    f"{field}: line {number} of {path!r} is no JSON: {error.msg} at character {error.pos}"
                ) from None  # the error holds the line
            except (ValueError, RecursionError):  # Python's limits: digits of a number, and depth
                yield BadRow("row: must be JSON with numbers of at most 4,300 digits, not nested too deeply, got other")
                continue
            # The names are the same in all rows: one copy of them will do.
            yield {sys.intern(name): value for name, value in row.items()} if isinstance(row, dict) else row


def _lines(file: Any) -> Iterator[str]:
    """Yield the lines of a text file; one that Airflow before 3.1.1 has opened can't be iterated."""
    return iter(file.readline, "")


def _parquet(path: str, field: str) -> Iterator[Row]:
    parquet = pyarrow("pyarrow.parquet")
    broken = pyarrow("pyarrow").ArrowInvalid
    with _opened(path, field, "rb") as file:
        try:
            table = parquet.ParquetFile(file)
        except broken as error:
            raise InvalidRequestError(f"{field}: {path!r} is no Parquet file") from error
        _check_names(table.schema_arrow.names, field)
        for number, batch in enumerate(table.iter_batches(batch_size=PARQUET_BATCH, use_threads=False)):
            try:
                rows = batch.to_pylist()
            except UnicodeDecodeError:
                raise
            except (LookupError, OverflowError, ValueError) as error:
                raise InvalidRequestError(
                    f"{field}: rows {number * PARQUET_BATCH + 1} and following of {path!r} hold what Python has no "
                    "value for, such as a time in nanoseconds, of a far year or of an unknown zone "
                    f"({type(error).__name__})"
                ) from None  # the error holds the value
            yield from rows


@contextmanager
def _opened(path: str, field: str, mode: str, **options: Any) -> Iterator[Any]:
    try:
        opened = storage_path(path)
        _ = opened.fs
    except (ImportError, ValueError) as error:
        scheme = path.partition("://")[0]
        raise InvalidRequestError(f"{field}: must be in a store that Airflow knows, got {scheme!r}") from error
    try:
        megabytes = opened.stat().st_size / 1_000_000
        most = conf.getint("linq", "max_rows_file_mb", fallback=FILE_MB)
        if megabytes > most:
            raise InvalidRequestError(
                f"{field}: must be a file of at most {most:,} MB ([linq] max_rows_file_mb), got {megabytes:,.0f} MB"
            )
        with opened.open(mode, **options) as file:  # type: ignore[no-untyped-call]
            yield file
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:  # others, of the network say, can pass
        raise InvalidRequestError(f"{field}: must be a file that can be read, got {path!r}") from error
    except UnicodeDecodeError:
        raise InvalidRequestError(f"{field}: must be UTF-8, {path!r} is not") from None  # the error holds the text


def _query(
    sql: str,
    conn_id: str | None,
    parameters: Mapping[str, Any] | Sequence[Any] | None,
    field: str,
    conn_field: str,
) -> Iterator[dict[str, Any]]:
    if conn_id is None:
        raise InvalidRequestError(f"{conn_field}: must name the connection that {field} is for, got None")
    hook = BaseHook.get_connection(conn_id).get_hook()  # type: ignore[no-untyped-call]
    if not hasattr(hook, "run"):
        raise InvalidRequestError(f"{conn_field}: must be a connection to a database, got {type(hook).__name__}")
    hook.log_sql = False  # it would log the parameters
    rows: list[dict[str, Any]] = []

    def collect(cursor: Any) -> list[Any]:
        if cursor.description is None:
            raise InvalidRequestError(f"{field}: must be a query that returns rows, got a statement that returns none")
        names = [column[0] for column in cursor.description]
        _check_names(names, field)
        while batch := cursor.fetchmany(BATCH):
            rows.extend(dict(zip(names, values, strict=True)) for values in batch)
        # Some hooks make tuples of what a handler returns, and take nothing but their own kind of rows for that.
        return []

    hook.run(sql, parameters=parameters, handler=collect)
    return iter(rows)


def _check_names(names: Sequence[str], field: str) -> None:
    """Refuse columns of the same name: only one of them would be left."""
    if twice := sorted({name for name in names if name and names.count(name) > 1}):
        raise InvalidRequestError(f"{field}: must have columns of different names, got {', '.join(twice)} twice")
