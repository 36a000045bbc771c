"""Real loaders with their defaults: target-postgres, target-jsonl and target-csv, and what they have stored."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import duckdb
import psycopg

from tests.support.postgres import for_sqlalchemy

BIN = Path(sys.executable).parent

#: Unmaintained since 2022, and still the loader of most demos; its pins conflict with the Singer SDK's.
TARGET_JSONL = "target-jsonl==0.1.4"


@dataclass
class Loaded:
    """What a loader made of what the tap wrote.

    Attributes:
        folder: where a loader of files has put them.
        rows: by stream. From target-csv, all values are text.
    """

    code: int
    log: str
    folder: Path
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


@dataclass
class Loaders:
    """Loaders with their defaults, each run into a place of its own.

    Attributes:
        postgres: URI of a running server.
        jsonl: the program of target-jsonl, which pins libraries so old that it lives in an environment of its own.
    """

    postgres: str
    jsonl: Path
    folder: Path

    def load(self, loader: str, output: Path) -> Loaded:
        return {"postgres": self.into_postgres, "jsonl": self.into_jsonl, "csv": self.into_csv}[loader](output)

    def _run(self, program: Path, config: dict[str, Any], output: Path) -> Loaded:
        folder = self.folder / uuid.uuid4().hex
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(config))
        command = [str(program), "--config", "config.json"]
        with output.open("rb") as file, (folder / "err.log").open("wb") as err:
            code = subprocess.run(
                command, stdin=file, stdout=subprocess.DEVNULL, stderr=err, cwd=folder, timeout=300
            ).returncode
        return Loaded(code, (folder / "err.log").read_text(errors="replace"), folder)

    def into_postgres(self, output: Path, uri: str | None = None, schema: str | None = None) -> Loaded:
        """Load into a schema of a database: a new one of the shared server, if none is named."""
        uri, schema = uri or self.postgres, schema or f"s{uuid.uuid4().hex}"
        config = {"sqlalchemy_url": for_sqlalchemy(uri), "default_target_schema": schema}
        loaded = self._run(BIN / "target-postgres", config, output)
        with psycopg.connect(uri) as connection:
            tables = connection.execute("select tablename from pg_tables where schemaname = %s", [schema]).fetchall()
            for (table,) in tables:
                # As JSON, since PostgreSQL knows times that Python does not.
                found = connection.execute(f'select to_jsonb(t)::text from {schema}."{table}" t').fetchall()
                loaded.rows[table] = [json.loads(text) for (text,) in found]
        return loaded

    def into_jsonl(self, output: Path) -> Loaded:
        loaded = self._run(self.jsonl, {}, output)
        for file in loaded.folder.glob("*.jsonl"):
            stream = file.name.partition("-")[0]
            loaded.rows[stream] = [json.loads(line) for line in file.read_text().splitlines()]
        return loaded

    def into_csv(self, output: Path) -> Loaded:
        loaded = self._run(BIN / "target-csv", {}, output)
        for file in loaded.folder.glob("*.csv"):
            with duckdb.connect() as connection:
                options = "header = true, all_varchar = true, delim = ',', max_line_size = 20000000"
                quoting = "quote = '\"', escape = '\"'"
                found = connection.execute(f"select * from read_csv('{file}', {options}, {quoting})")
                names = [column[0] for column in found.description or ()]
                loaded.rows[file.stem] = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
        return loaded


def instant(value: Any) -> datetime | None:
    """The moment of a text as loaders and DuckDB write it; without a zone, it is UTC."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value.replace("Z", "+00:00"))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def without(output: Path, stream_records: Iterable[str], to: Path) -> Path:
    """Copy what the tap wrote without the RECORDs that hold any of these texts."""
    unwanted = [text.encode() for text in stream_records]
    with to.open("wb") as file:
        for line in output.read_bytes().splitlines(keepends=True):
            if not (b'"RECORD"' in line and any(text in line for text in unwanted)):
                file.write(line)
    return to
