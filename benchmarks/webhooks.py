"""What the receiver of webhooks costs, beside one that syncs at each request."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from time import perf_counter, process_time

import psutil

from benchmarks.measure import RunError
from benchmarks.postgres import running_postgres
from benchmarks.table import Found, at_least, at_most, beside
from benchmarks.webhook_sender import SECRET, Sender
from linq_webhooks.archive import open_archive

CONNECTIONS = 64
#: Seconds that a sync takes more on many disks of the cloud than on a fast one.
SLOWER_SYNC = 0.005


def webhooks(quick: bool) -> Found:
    """Deliveries of 1 kB to the receiver: a folder, PostgreSQL, and one fsync a request; latency at half the load."""
    events = 2_000 if quick else 20_000
    found = Found()
    with tempfile.TemporaryDirectory(prefix="linq-webhooks-") as name:
        folder = Path(name)
        with _receiver("folder", [str(folder / "archive")]) as (port, process):
            rate, per_cpu = _throughput(found, "folder", port, process, events)
            found.rows.append(at_least("folder: durable events a second of the receiver's CPU", 2_000, per_cpu))
            _latency(found, "folder", port, rate / 2, events // 2)
        with _plain(folder) as (port, process):
            plain, _ = _throughput(found, "one fsync a request", port, process, events // 4)
        found.rows.append(at_least("folder / one fsync a request, durable events a second", 5, rate / plain))
        _on_a_slow_disk(found, folder, events // 10)
        with running_postgres(folder / "postgres") as url, _receiver("PostgreSQL", [url]) as (port, process):
            rate, per_cpu = _throughput(found, "PostgreSQL", port, process, events)
            found.rows.append(at_least("PostgreSQL: durable events a second of the receiver's CPU", 2_000, per_cpu))
            _latency(found, "PostgreSQL", port, rate / 2, events // 2)
        _memory(found, folder, 20_000 if quick else 1_000_000)
        _reading(found, folder, 5_000 if quick else 50_000)
    return found


def _on_a_slow_disk(found: Found, folder: Path, events: int) -> None:
    """Both again, where it is the disk that limits them, and not the CPU."""
    slower = f"{SLOWER_SYNC * 1_000:.0f} ms"
    rates = []
    for name, started in (
        ("folder", _receiver("folder", [str(folder / "slow")], SLOWER_SYNC)),
        ("one fsync a request", _plain(folder, SLOWER_SYNC)),
    ):
        with started as (port, process):
            rates.append(_throughput(found, f"{name}, a sync takes {slower} more", port, process, events)[0])
    what = f"folder / one fsync a request, durable events a second where a sync takes {slower} more"
    found.rows.append(at_least(what, 5, rates[0] / rates[1]))


def _throughput(found: Found, name: str, port: int, process: psutil.Process, events: int) -> tuple[float, float]:
    """The events a second, and a second of CPU, under as much load as the connections can make."""
    sender = Sender(port, CONNECTIONS)
    sender.send(500)
    before = _cpu(process)
    seconds = sender.send(events)
    cpu = _cpu(process) - before
    if sender.failed:
        raise RunError(f"{name}: {sender.failed} deliveries failed")
    found.figures.append(f"{name}: {events:,} events in {seconds:.2f} s, {cpu:.2f} s of CPU")
    found.rows.append(beside(f"{name}: durable events a second, {CONNECTIONS} at a time", events / seconds))
    return events / seconds, events / cpu


def _latency(found: Found, name: str, port: int, rate: float, events: int) -> None:
    sender = Sender(port, CONNECTIONS)
    sender.send(events, rate)
    slowest = sorted(sender.seconds)[int(len(sender.seconds) * 0.99)]
    found.rows.append(at_most(f"{name}: 99 % are acknowledged at half that load within", 100, slowest * 1000, " ms"))


def _memory(found: Found, folder: Path, events: int) -> None:
    with _receiver("memory", [str(folder / "long")]) as (port, process):
        sender = Sender(port, CONNECTIONS)
        sender.send(10_000)
        first = process.memory_info().rss
        for _ in range(events // 10_000):
            sender.send(10_000)
        last = process.memory_info().rss
    found.figures.append(f"memory: {first / 1e6:.1f} MB after 10,000 events, {last / 1e6:.1f} MB after {events:,} more")
    found.rows.append(at_most(f"receiver's memory after {events:,} events / after 10,000", 1.1, last / first))


def _reading(found: Found, folder: Path, events: int) -> None:
    archive = open_archive(str(folder / "long"))
    started, cpu = perf_counter(), process_time()
    count = 0
    for count, _ in enumerate(archive.read(), start=1):
        if count == events:
            break
    found.figures.append(f"reading: {count:,} events in {perf_counter() - started:.2f} s")
    found.rows.append(beside("events a second of CPU that are read from a folder", count / (process_time() - cpu)))
    archive.close()


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _receiver(
    name: str, arguments: list[str], slower_sync: float = 0.0
) -> AbstractContextManager[tuple[int, psutil.Process]]:
    return _started(name, ["linq_webhooks", "serve", "--port", "0", "--archive", *arguments], slower_sync)


def _plain(folder: Path, slower_sync: float = 0.0) -> AbstractContextManager[tuple[int, psutil.Process]]:
    return _started("plain receiver", ["benchmarks.plain_receiver", str(folder)], slower_sync)


@contextmanager
def _started(name: str, program: list[str], slower_sync: float) -> Iterator[tuple[int, psutil.Process]]:
    environment = os.environ | {"LINQ_WEBHOOK_SECRET": SECRET}
    slow = ["benchmarks.slow_disk", str(slower_sync)] if slower_sync else []
    with subprocess.Popen([sys.executable, "-m", *slow, *program], stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RunError(f"{name} did not start")
        try:
            yield json.loads(line)["port"], psutil.Process(process.pid)
        finally:
            process.terminate()
