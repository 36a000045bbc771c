"""The tap as a program, and real loaders behind it."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import uuid
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import duckdb
import psycopg

from tests.support.hostile_api import KEY, HostileAPI

BIN = Path(sys.executable).parent
TAP = BIN / "tap-linq"


@dataclass
class Extraction:
    """A run of the tap: what it wrote, and how it ended."""

    output: Path
    log: str
    code: int

    def messages(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.output.read_bytes().splitlines()]

    def records(self, stream: str) -> list[dict[str, Any]]:
        return [one["record"] for one in self.messages() if one["type"] == "RECORD" and one["stream"] == stream]

    def schemas(self) -> dict[str, dict[str, Any]]:
        return {one["stream"]: one for one in self.messages() if one["type"] == "SCHEMA"}

    @property
    def state(self) -> dict[str, Any]:
        states = [one["value"] for one in self.messages() if one["type"] == "STATE"]
        return states[-1] if states else {}

    def bookmarks(self) -> dict[str, str]:
        """When the last complete pass over each line began."""
        partitions = self.state.get("bookmarks", {}).get("messages", {}).get("partitions", [])
        return {one["context"]["line"]: one["passed_at"] for one in partitions if "passed_at" in one}

    @property
    def complaints(self) -> list[str]:
        """The lines of the log but those that only inform."""
        return [line for line in self.log.splitlines() if line.strip() and "| INFO " not in line]

    @property
    def last_line(self) -> str:
        lines = [line for line in self.log.splitlines() if line.strip()]
        return lines[-1] if lines else ""


def settings_for(api: HostileAPI, **settings: Any) -> dict[str, Any]:
    return {"api_key": KEY, "base_url": api.base_url, **settings}


def _arguments(folder: Path, files: dict[str, Any]) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    arguments = []
    for name, content in files.items():
        if content is not None:
            file = folder / f"{name}.json"
            file.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
            arguments += [f"--{name}", str(file)]
    return arguments


def start_tap(
    api: HostileAPI,
    folder: Path,
    *,
    state: Any = None,
    catalog: Any = None,
    env: dict[str, str] | None = None,
    **settings: Any,
) -> tuple[subprocess.Popen[bytes], Extraction]:
    """Start the tap, with its files in a folder; bytes are written as they are, all else as JSON."""
    files = {"config": settings_for(api, **settings), "state": state, "catalog": catalog}
    arguments = [TAP, *_arguments(folder, files)]
    extraction = Extraction(folder / "out.singer", "", -1)
    with extraction.output.open("wb") as out, (folder / "err.log").open("wb") as err:
        process = subprocess.Popen(arguments, stdout=out, stderr=err, env={**os.environ, **(env or {})}, cwd=folder)
    return process, extraction


def end_of(process: subprocess.Popen[bytes], extraction: Extraction, timeout: float = 180) -> Extraction:
    """Wait for the end of a started tap."""
    try:
        extraction.code = process.wait(timeout)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        extraction.log = (extraction.output.parent / "err.log").read_text(errors="replace")
    assert KEY not in extraction.log
    return extraction


def run_tap(api: HostileAPI, folder: Path, **options: Any) -> Extraction:
    return end_of(*start_tap(api, folder, **options))


_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["tap_linq.tap", __name__])


def _tap_in_a_fork(arguments: list[str], folder: Path, env: dict[str, str]) -> None:
    for name, number in (("out.singer", 1), ("err.log", 2)):
        file = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
        os.close(file)
    os.chdir(folder)
    os.environ.update(env)
    if "LINQ_TEST_FILE_SIZE" in env:  # a disk that is full after so many bytes of a file
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(env["LINQ_TEST_FILE_SIZE"]),) * 2)
    sys.argv = ["tap-linq", *arguments]
    from tap_linq.tap import TapLinq

    TapLinq.cli()


def _fork_tap(
    arguments: list[str], folder: Path, env: dict[str, str] | None = None, timeout: float = 100
) -> Extraction:
    process = _forks.Process(target=_tap_in_a_fork, args=(arguments, folder, env or {}))
    process.start()
    process.join(timeout)
    if process.exitcode is None:
        process.kill()
        process.join()
    log = (folder / "err.log").read_text(errors="replace")
    assert KEY not in log
    return Extraction(folder / "out.singer", log, process.exitcode if process.exitcode is not None else -1)


def run_tap_quickly(
    api: HostileAPI,
    folder: Path,
    *,
    state: Any = None,
    catalog: Any = None,
    env: dict[str, str] | None = None,
    **settings: Any,
) -> Extraction:
    """The same in a process that has imported everything already, which spares seconds of work."""
    files = {"config": settings_for(api, **settings), "state": state, "catalog": catalog}
    return _fork_tap(_arguments(folder, files), folder, env)


def catalog_of(folder: Path, *, select: Collection[str] | None = None) -> dict[str, Any]:
    """The tap's catalog with these streams selected, or all of them."""
    arguments = _arguments(folder / "discovery", {"config": {"api_key": KEY}})
    catalog: dict[str, Any] = json.loads(
        _fork_tap([*arguments, "--discover"], folder / "discovery").output.read_bytes()
    )
    for stream in catalog["streams"]:
        (top,) = (entry for entry in stream["metadata"] if not entry["breadcrumb"])
        top["metadata"]["selected"] = select is None or stream["tap_stream_id"] in select
    return catalog


@dataclass
class Loaded:
    """What a loader made of what the tap wrote.

    Attributes:
        rows: by stream. From target-csv, all values are text.
    """

    code: int
    log: str
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

    def _run(self, program: Path, config: dict[str, Any], output: Path) -> tuple[Path, Loaded]:
        folder = self.folder / uuid.uuid4().hex
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(config | ({} if config else {"destination_path": str(folder)})))
        with output.open("rb") as file:
            done = subprocess.run(
                [program, "--config", folder / "config.json"], stdin=file, capture_output=True, cwd=folder, timeout=180
            )
        return folder, Loaded(done.returncode, done.stderr.decode(errors="replace"))

    def into_postgres(self, output: Path, schema: str | None = None) -> Loaded:
        schema = schema or f"s{uuid.uuid4().hex}"
        url = self.postgres.replace("postgresql://", "postgresql+psycopg://")
        config = {"sqlalchemy_url": url, "default_target_schema": schema}
        _, loaded = self._run(BIN / "target-postgres", config, output)
        with psycopg.connect(self.postgres) as connection:
            tables = connection.execute("select tablename from pg_tables where schemaname = %s", [schema]).fetchall()
            for (table,) in tables:
                # As JSON, since PostgreSQL knows times that Python does not.
                found = connection.execute(f'select to_jsonb(t)::text from {schema}."{table}" t').fetchall()
                loaded.rows[table] = [json.loads(text) for (text,) in found]
        return loaded

    def jsonl_files(self, output: Path) -> Path:
        """Run target-jsonl, which must not fail, and return the folder with its files."""
        folder, loaded = self._run(self.jsonl, {}, output)
        assert loaded.code == 0, loaded.log[-1_500:]
        return folder

    def into_jsonl(self, output: Path) -> Loaded:
        folder, loaded = self._run(self.jsonl, {}, output)
        for file in folder.glob("*.jsonl"):
            stream = file.name.partition("-")[0]
            loaded.rows[stream] = [json.loads(line) for line in file.read_text().splitlines()]
        return loaded

    def into_csv(self, output: Path) -> Loaded:
        folder, loaded = self._run(BIN / "target-csv", {}, output)
        for file in folder.glob("*.csv"):
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
