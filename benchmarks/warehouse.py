"""A day of hourly runs of `meltano run … target-postgres`: with `seen_path`, without, and with the plain tap."""

from __future__ import annotations

import os
import resource
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Final

import psycopg

from benchmarks.account import account
from benchmarks.day import HOURS, hours_of
from benchmarks.measure import PLAIN_TAP, ROOT, TAP, RunError
from benchmarks.postgres import running_postgres
from benchmarks.table import Found, beside

_PROJECT: Final = """\
default_environment: dev
environments: [{name: dev}]
send_anonymous_usage_stats: false
plugins:
  extractors:
  - name: tap-linq
    namespace: tap_linq
    executable: tap-linq
    capabilities: [catalog, discover, state]
    settings: [{name: api_key, sensitive: true}, {name: base_url}, {name: seen_path}]
  - name: tap-plain
    namespace: tap_plain
    executable: ./tap-plain
    capabilities: [catalog, discover, state]
    settings: [{name: api_key, sensitive: true}, {name: base_url}]
  loaders:
  - name: target-postgres
    namespace: target_postgres
    executable: target-postgres
    settings: [{name: sqlalchemy_url, sensitive: true}, {name: default_target_schema}]
"""


@dataclass
class Pipeline:
    """A pipeline, and what its runs took.

    Attributes:
        text: SQL for the text of a row of `messages`.
        settings: environment variables of its own.
        wall: seconds of all runs; `cpu` of Meltano, tap and loader, without the database.
    """

    name: str
    extractor: str
    text: str
    settings: dict[str, str] = field(default_factory=dict)
    wall: float = 0.0
    cpu: float = 0.0

    @property
    def schema(self) -> str:
        """Of its tables."""
        return self.name.replace(" ", "_")

    def run(self, folder: Path, environment: dict[str, str]) -> None:
        """Run it once in a project.

        Raises:
            RunError: it failed.
        """
        command = ["meltano", "run", f"--state-id-suffix={self.schema}", self.extractor, "target-postgres"]
        own = {**environment, "TARGET_POSTGRES_DEFAULT_TARGET_SCHEMA": self.schema, **self.settings}
        started, cpu = perf_counter(), _cpu_of_children()
        done = subprocess.run(command, cwd=folder, env=own, capture_output=True, text=True)
        self.wall += perf_counter() - started
        self.cpu += _cpu_of_children() - cpu
        if done.returncode:
            raise RunError(f"{self.name}: {done.stdout[-1_000:]}{done.stderr[-1_000:]}")


def warehouse(quick: bool) -> Found:
    """The day through `meltano run` into PostgreSQL, an hour of each pipeline after the other."""
    messages, hours = (1_600, 8) if quick else (9_600, HOURS)
    found = Found()
    with (
        tempfile.TemporaryDirectory(prefix="linq-warehouse-") as name,
        running_postgres(Path(name, "postgres")) as url,
        account(0, 0, ephemeral_hours=24) as emulator,
    ):
        folder = _project(Path(name))
        pipelines = [
            Pipeline("with seen_path", "tap-linq", "text", {"TAP_LINQ_SEEN_PATH": str(folder / "seen")}),
            Pipeline("without seen_path", "tap-linq", "text"),
            Pipeline("plain tap", "tap-plain", "parts[1]->>'value'"),
        ]
        environment = _environment(url, emulator.api_key, emulator.base_url)
        for _ in hours_of(emulator, messages, hours):
            for pipeline in pipelines:
                pipeline.run(folder, environment)
        wanted = {row["id"]: row["text"] for row in emulator.ledger()}
        for pipeline in pipelines:
            if _stored(url, pipeline) != wanted:
                raise RunError(f"{pipeline.name}: the table does not have all {len(wanted)} messages as they are")
    of_all = f"of {hours} runs with {messages:,} messages into PostgreSQL"
    for pipeline in pipelines:
        found.figures.append(f"{pipeline.name}: {pipeline.wall:.0f} s, {pipeline.cpu:.0f} s of CPU {of_all}")
    seen, *others = pipelines
    for other in others:
        found.rows.append(beside(f"wall clock {of_all}, with seen_path / {other.name}", seen.wall / other.wall))
        found.rows.append(beside(f"CPU {of_all}, with seen_path / {other.name}", seen.cpu / other.cpu))
    return found


def _project(folder: Path) -> Path:
    (folder / "meltano.yml").write_text(_PROJECT)
    plain = folder / "tap-plain"
    plain.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec {" ".join(PLAIN_TAP)} "$@"\n')
    plain.chmod(0o755)
    return folder


def _environment(url: str, api_key: str, base_url: str) -> dict[str, str]:
    taps = {
        f"{prefix}_{name}": value
        for prefix in ("TAP_LINQ", "TAP_PLAIN")
        for name, value in (("API_KEY", api_key), ("BASE_URL", base_url))
    }
    path = f"{Path(TAP[0]).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, **taps, "PATH": path, "TARGET_POSTGRES_SQLALCHEMY_URL": url}


def _stored(url: str, pipeline: Pipeline) -> dict[str, str]:
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        return dict(connection.execute(f"select id, {pipeline.text} from {pipeline.schema}.messages").fetchall())


def _cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
