"""The files that campaigns read and write: rows as CSV, JSONL or Parquet, each there in full or not at all."""

from __future__ import annotations

import csv
import importlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal, TypeAlias

from airflow_provider_linq._internal.files import replacing
from airflow_provider_linq._internal.version_compat import storage_path
from linq_client import InvalidRequestError

Kind: TypeAlias = Literal["csv", "jsonl", "parquet"]

#: How many rows a Parquet file takes at once.
BATCH: Final = 5_000

#: The columns that hold no text, of outcomes and of delivery reports.
_NUMBERS: Final = frozenset({"row", "code"})
_FLAGS: Final = frozenset({"replied", "opted_out"})
_LISTS: Final = frozenset({"to"})

_KINDS: Final[Mapping[str, Kind]] = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}


def kind_of(path: str, field: str) -> Kind:
    """
    Tell by its suffix what kind of file this is.

    :param field: that the path was given in.
    :raises InvalidRequestError: it is none that is known.
    """
    suffix = _suffix(path)
    if suffix not in _KINDS:
        raise InvalidRequestError(f"{field}: must end in one of {', '.join(_KINDS)}, got {suffix!r}")
    return _KINDS[suffix]


def is_page(path: str) -> bool:
    """Whether this is a file of HTML, which holds no rows."""
    return _suffix(path) == ".html"


def _suffix(path: str) -> str:
    # What stands behind a question mark may be a signature, which no message may show.
    return PurePosixPath(path.partition("?")[0]).suffix.lower()


def pyarrow(module: str) -> Any:
    """
    Import a module of PyArrow, which only Parquet needs.

    :raises InvalidRequestError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InvalidRequestError("Parquet needs PyArrow: install linq-connectors[parquet]") from error


def check_output_path(path: str, field: str, *, may_be_page: bool = False) -> None:
    """
    Refuse a path that nothing could be written to in the end, before anything is sent.

    :param may_be_page: whether it may be a file of HTML.
    :raises InvalidRequestError: its suffix is not known, it needs PyArrow, which is not installed, it is a folder, or
        its folder can't be written to.
    """
    if not (may_be_page and is_page(path)) and kind_of(path, field) == "parquet":
        pyarrow("pyarrow.parquet")
    target = storage_path(path)
    try:
        if target.fs.isdir(target.path):
            raise IsADirectoryError
        with replacing(target, keep=False):
            pass
    except OSError as error:
        shown = path.partition("?")[0]
        raise InvalidRequestError(f"{field}: must be a file that can be written, got {shown!r}") from error


def write_rows(path: str, rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> int:
    """
    Write rows to a file, which is there in full or not at all, and return how many they were.

    ``row`` and ``code`` are numbers, ``replied`` and ``opted_out`` are true or false, and ``to`` is a list (in CSV
    joined by commas). In CSV and Parquet all other columns are text, and what is no text is written as JSON. CSV
    holds the data as they are: handles start with ``+``, so what keeps spreadsheets from reading formulas would spoil
    them. Import such a file as text.

    :param path: a path or URL that ends in ``.csv``, ``.jsonl``, ``.ndjson`` or ``.parquet``; overwritten.
    :param columns: what of each row is written, in this order; what a row lacks is empty.
    :raises InvalidRequestError: as :func:`check_output_path`.
    """
    write = _WRITERS[kind_of(path, "path")]
    with replacing(storage_path(path)) as file:
        return write(file, rows, columns)


def write_text(path: str, text: str) -> None:
    """Write text to a file, which is there in full or not at all, and is overwritten."""
    with replacing(storage_path(path)) as file:
        file.write_text(text, encoding="utf-8")


def _write_jsonl(file: Path, rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> int:
    count = 0
    with file.open("w", encoding="utf-8") as opened:
        for row in rows:
            opened.write(json.dumps({name: row.get(name) for name in columns}, default=str) + "\n")
            count += 1
    return count


def _write_csv(file: Path, rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> int:
    count = 0
    with file.open("w", encoding="utf-8", newline="") as opened:
        lines = csv.writer(opened)
        lines.writerow(columns)
        for row in rows:
            lines.writerow([_flat(_cell(name, row.get(name))) for name in columns])
            count += 1
    return count


def _write_parquet(file: Path, rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> int:
    parquet, arrow = pyarrow("pyarrow.parquet"), pyarrow("pyarrow")
    kinds = {
        **dict.fromkeys(_NUMBERS, arrow.int64()),
        **dict.fromkeys(_FLAGS, arrow.bool_()),
        **dict.fromkeys(_LISTS, arrow.list_(arrow.string())),
    }
    schema = arrow.schema([(name, kinds.get(name, arrow.string())) for name in columns])
    count = 0
    remaining = iter(rows)
    with parquet.ParquetWriter(file, schema) as writer:
        while batch := [{name: _cell(name, row.get(name)) for name in columns} for row in islice(remaining, BATCH)]:
            writer.write_table(arrow.Table.from_pylist(batch, schema=schema))
            count += len(batch)
    return count


_WRITERS: Final[Mapping[Kind, Callable[[Path, Iterable[Mapping[str, Any]], Sequence[str]], int]]] = {
    "csv": _write_csv,
    "jsonl": _write_jsonl,
    "parquet": _write_parquet,
}


def _flat(cell: Any) -> Any:
    if isinstance(cell, list):
        return ",".join(cell)
    return json.dumps(cell) if isinstance(cell, bool) else cell


def _cell(column: str, value: Any) -> Any:
    if value is None or column in _NUMBERS or column in _FLAGS:
        return value
    if column in _LISTS:
        return [str(item) for item in value]
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    # Half a pair of surrogates has no form in UTF-8. A file that can't be written in the end would be worse.
    return text.encode("utf-8", "backslashreplace").decode()
