"""What became of a campaign's rows, on file: in full at its end, and in parts while it runs."""

from __future__ import annotations

import csv
import hashlib
import json
import logging
import os
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, Final

from airflow.sdk import ObjectStoragePath

from airflow_provider_linq.campaigns.files import Kind, kind_of, pyarrow
from airflow_provider_linq.campaigns.model import Outcome

#: The columns of an outcomes file.
COLUMNS: Final = tuple(field.name for field in fields(Outcome))

#: How many rows a Parquet file takes at once.
BATCH: Final = 5_000

#: The columns that hold no text, of outcomes and of delivery reports.
_NUMBERS: Final = frozenset({"row", "code"})
_FLAGS: Final = frozenset({"replied", "opted_out"})
_LISTS: Final = frozenset({"to"})

log = logging.getLogger(__name__)


def check_output_path(path: str, field: str = "outcomes_path") -> None:
    """
    Refuse a path that nothing could be written to in the end, before anything is sent.

    :raises InvalidRequestError: its suffix is not known, or is that of Parquet and PyArrow is not installed.
    """
    if kind_of(path, field) == "parquet":
        pyarrow("pyarrow.parquet")


def as_row(outcome: Outcome) -> dict[str, Any]:
    """Return an outcome as the row of an outcomes file."""
    return {name: getattr(outcome, name) for name in COLUMNS}


def write_outcomes(path: str, rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> int:
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
    with _replacing(ObjectStoragePath(path)) as file:
        return write(file, rows, columns)


@contextmanager
def _replacing(target: ObjectStoragePath) -> Iterator[Path]:
    """Give a local file to write, which takes the place of another one when it is complete."""
    local = target.protocol in ("", "file", "local")
    folder = Path(target.path).parent if local else None
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)  # beside the target, since a rename can't leave the file system
    with TemporaryDirectory(dir=folder, prefix=".linq-") as temporary:
        file = Path(temporary) / "file"
        yield file
        if local:
            os.replace(file, target.path)
        else:
            _with_folder(target, lambda: target.fs.put_file(str(file), target.path))


def _with_folder(file: ObjectStoragePath, write: Callable[[], object]) -> None:
    """Make the folder of a file if it can't be written without; object stores have none."""
    try:
        write()
    except FileNotFoundError:
        file.fs.makedirs(file.parent.path, exist_ok=True)
        write()


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


class Journal:
    """
    The outcomes of a campaign as they come, so that another try, on another machine, knows them.

    They lie in a folder beside the outcomes file, in one new file for each :meth:`append`, since object stores
    can't append. The names of the files sort by time, and tell the campaigns that write to the same path apart. They
    stay when the campaign is over: a cleared task, or a later run with the same campaign key, goes on with them.

    :param outcomes_path: of the file that is written in the end.
    :param campaign_key: of the campaign.
    """

    def __init__(self, outcomes_path: str, campaign_key: str) -> None:
        self._folder = ObjectStoragePath(f"{outcomes_path}.parts")
        self._campaign = hashlib.sha256(campaign_key.encode()).hexdigest()[:16]
        self._latest = 0

    def append(self, outcomes: Sequence[Outcome]) -> None:
        """Keep these outcomes; they replace earlier ones of the same keys."""
        if not outcomes:
            return
        self._latest = max(self._latest + 1, time.time_ns())  # clocks may stand still, or be set back
        part = self._folder / f"{self._campaign}-{self._latest:020d}-{uuid.uuid4().hex}.jsonl"
        lines = b"".join(map(_line_of, outcomes))
        _with_folder(part, lambda: part.fs.pipe_file(part.path, lines))

    def read(self) -> Iterator[Outcome]:
        """Yield all outcomes that were kept, in their order; of a part that a killed worker left, what is whole."""
        fs = self._folder.fs
        for part in self._parts():
            for line in fs.cat_file(part).splitlines():
                try:
                    kept = _outcome_of(line)
                except ValueError:
                    log.warning("Part of the campaign's journal was not written to its end: %s", part)
                    break
                yield kept

    def _parts(self) -> list[str]:
        fs = self._folder.fs
        fs.invalidate_cache()  # another task may have written since
        try:
            found = fs.ls(self._folder.path, detail=False)
        except FileNotFoundError:
            return []
        return sorted(part for part in found if part.rpartition("/")[2].startswith(f"{self._campaign}-"))


class Latest:
    """
    The latest outcome of each key, in a file: in memory they would need nearly as much as the campaign.

    :param file: an empty one.
    :param outcomes: in their order.
    """

    def __init__(self, file: IO[bytes], outcomes: Iterable[Outcome]) -> None:
        self._file = file
        self._places: dict[str | None, int] = {}
        end = 0
        for outcome in outcomes:
            self._places[outcome.idempotency_key] = end
            end += self._file.write(_line_of(outcome))

    def pop(self, key: str | None) -> Outcome | None:
        """Return the outcome of a key, once."""
        place = self._places.pop(key, None)
        return None if place is None else self._at(place)

    def rest(self) -> Iterator[Outcome]:
        """Yield the outcomes that nobody has asked for."""
        return map(self._at, self._places.values())

    def _at(self, place: int) -> Outcome:
        self._file.seek(place)
        return _outcome_of(self._file.readline())


def _line_of(outcome: Outcome) -> bytes:
    return json.dumps(as_row(outcome)).encode() + b"\n"


def _outcome_of(line: bytes) -> Outcome:
    kept = json.loads(line)
    return Outcome(**{**kept, "to": tuple(kept["to"])})
