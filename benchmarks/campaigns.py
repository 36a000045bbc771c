"""A campaign beside a loop over the vendor's client and a mapped task; and what a very large one needs."""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import reference
from benchmarks.account import LINE, account, slow_down
from benchmarks.airflow_process import Airflow
from benchmarks.measure import ROOT, Run, RunError, run
from benchmarks.table import Found, at_least, at_most, beside
from linq_emulator.testing import EmulatorProcess

CAMPAIGN = [sys.executable, "-m", "benchmarks.campaign_task"]
VENDOR_SEND = [sys.executable, "-m", "benchmarks.vendor_send"]
DAGS = Path(__file__).parent / "dags"

LATENCY = 0.05
CONCURRENCY = 16
MEGABYTE = 1e6
#: Bytes of JSON, of all values together: 64 kB is what the store is meant for.
STORE_LIMIT = 64_000


class Sent(NamedTuple):
    """What a program took, by the kernel and by its own figures, and the standard library to read the same rows."""

    run: Run
    figures: dict[str, Any]
    reading: float


def campaigns(quick: bool) -> Found:
    """Messages to many recipients: a campaign, a loop over the vendor's client, a mapped task; and a large campaign."""
    found = Found()
    _fast(400 if quick else 2_000, found, best_of=1 if quick else 3, mapped=8 if quick else 64)
    _large(5_000 if quick else 100_000, found)
    return found


def _fast(recipients: int, found: Found, *, best_of: int, mapped: int) -> None:
    # One after the other in turns: what else the machine does at the moment then slows both.
    tries = [(_campaign(recipients, LATENCY), _bare(recipients)) for _ in range(best_of)]
    campaign = min((one for one, _ in tries), key=lambda one: one.figures["seconds"])
    bare = min((sends for _, sends in tries), key=lambda sends: sends.wall)
    looped = recipients // 20
    vendor = _vendor_loop(looped)
    seconds_mapped = _mapped(mapped)
    least = recipients * LATENCY / CONCURRENCY
    seconds = campaign.figures["seconds"]
    what = f"{recipients:,} recipients at {LATENCY * 1000:.0f} ms"
    found.rows += [
        at_most(f"{what}: campaign without imports / (recipients x latency / {CONCURRENCY})", 1.2, seconds / least),
        beside(f"{what}: the same with imports", campaign.run.wall / least),
        beside(
            f"{what}: the same requests with http.client / (recipients x latency / {CONCURRENCY})", bare.wall / least
        ),
        beside(f"{what}: campaign without imports / the same requests with http.client", seconds / bare.wall),
        beside(f"{what}: CPU of the campaign without imports / of http.client", campaign.figures["cpu"] / bare.cpu),
        at_least(
            f"{what}: vendor loop / campaign, both without imports, a recipient",
            8,
            vendor.figures["seconds"] / looped / (seconds / recipients),
        ),
        at_least(
            f"{what}: mapped task / campaign with imports, a recipient",
            50,
            seconds_mapped / mapped / (campaign.run.wall / recipients),
        ),
    ]
    found.figures += [
        f"campaign of {recipients:,}, {CONCURRENCY} concurrently: {_shown(campaign)}",
        f"http.client, {recipients:,}, {CONCURRENCY} concurrently: {bare.wall:.2f} s, {bare.cpu:.2f} s CPU",
        f"vendor loop of {looped:,}: {vendor.figures['seconds']:.2f} s",
        f"mapped task of {mapped:,} under a real scheduler, {CONCURRENCY} concurrently: {seconds_mapped:.1f} s from "
        f"the first start to the last end, {seconds_mapped / mapped:.2f} s a recipient",
    ]


def _large(recipients: int, found: Found) -> None:
    large = _campaign(recipients, None)
    figures = large.figures
    what = f"{recipients:,} recipients"
    found.rows += [
        at_most(f"{what}: peak memory, with all of Airflow's imports", 300, large.run.peak / MEGABYTE, " MB"),
        at_most(f"{what}: the task state store, at its largest", STORE_LIMIT, figures["store_size"], " bytes"),
        at_most(
            f"{what}: reading and checking, before the first send / reading the file with the standard library",
            3,
            figures["before_first"] / large.reading,
        ),
        beside(f"{what}: writes to the task state store", figures["store_writes"]),
    ]
    found.figures += [
        f"campaign of {recipients:,}, without latency: {_shown(large)}",
        f"before the first send: {figures['before_first']:.2f} s; reading the file with the standard library: "
        f"{large.reading:.2f} s; CPU for 1,000 recipients: {figures['cpu'] / recipients * 1000:.2f} s",
    ]


def _campaign(recipients: int, latency: float | None) -> Sent:
    with account(0, 0) as emulator, tempfile.TemporaryDirectory() as folder:
        if latency is not None:
            slow_down(emulator, latency)
        options = ["--concurrency", str(CONCURRENCY), "--outcomes", str(Path(folder, "outcomes.jsonl"))]
        sent = _sent([*CAMPAIGN, *options], recipients, emulator, folder)
    if sent.figures["sent"] != recipients:
        raise RunError(f"of {recipients:,} recipients, {sent.figures['sent']:,} count as sent")
    return sent


def _vendor_loop(recipients: int) -> Sent:
    with account(0, 0) as emulator, tempfile.TemporaryDirectory() as folder:
        slow_down(emulator, LATENCY)
        return _sent(VENDOR_SEND, recipients, emulator, folder)


def _bare(recipients: int) -> reference.Sends:
    """Return what as many sends cost with nothing but the standard library: what the machine allows."""
    with account(0, 0) as emulator:
        slow_down(emulator, LATENCY)
        return reference.send(emulator, recipients, CONCURRENCY)


def _sent(program: list[str], recipients: int, emulator: EmulatorProcess, folder: str) -> Sent:
    """Run a program on so many rows, and see that each recipient got one message."""
    rows, figures = Path(folder, "rows.jsonl"), Path(folder, "figures.json")
    with rows.open("w") as file:
        file.writelines(json.dumps(_row(number)) + "\n" for number in range(recipients))
    one = run([*program, "--line", LINE, "--rows", str(rows), "--figures", str(figures)], emulator)
    _check_ledger(emulator, recipients)
    return Sent(one, json.loads(figures.read_text()), reference.read_rows(rows))


def _row(number: int) -> dict[str, str]:
    return {
        "to": f"person{number}@example.com",
        "first_name": f"Person {number}",
        "order": f"A-{number:06d}",
        "closes": "18:00",
        "city": f"Town {number % 500}",
        "segment": "spring",
    }


def _check_ledger(emulator: EmulatorProcess, recipients: int) -> None:
    messages = Counter(handle for message in emulator.ledger() for handle in message["to"])
    if len(messages) != recipients or set(messages.values()) != {1}:
        raise RunError(f"{recipients:,} recipients: {len(messages):,} got {messages.total():,} messages")


def _mapped(recipients: int) -> float:
    """Return the seconds of a mapped task, from the first start of an instance to the last end, on a real Airflow."""
    with EmulatorProcess(lines=[LINE]) as emulator, tempfile.TemporaryDirectory() as home:
        slow_down(emulator, LATENCY)
        airflow = Airflow(Path(home), emulator, {"benchmarks": DAGS})
        airflow.environment |= {
            "AIRFLOW__CORE__PARALLELISM": str(CONCURRENCY),
            "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": str(CONCURRENCY),
            "PYTHONPATH": str(ROOT),
        }
        try:
            airflow.start()
            return _seconds_of(airflow, recipients)
        except AssertionError as error:
            raise RunError(f"Airflow: {error}") from error
        finally:
            airflow.stop()


def _seconds_of(airflow: Airflow, recipients: int) -> float:
    run_id = airflow.run("mapped_send", recipients=recipients)
    airflow.wait_until(lambda: airflow.runs("mapped_send")[0]["state"] in ("success", "failed"), "the run has ended")
    answer = airflow.call("GET", f"dags/mapped_send/dagRuns/{run_id}/taskInstances?task_id=send&limit=100")
    instances = [one for one in answer["task_instances"] if one["task_id"] == "send" and one["state"] == "success"]
    if len(instances) != recipients:
        raise RunError(f"of {recipients} mapped instances, {len(instances)} succeeded")
    started = min(datetime.fromisoformat(one["start_date"]) for one in instances)
    ended = max(datetime.fromisoformat(one["end_date"]) for one in instances)
    return (ended - started).total_seconds()


def _shown(sent: Sent) -> str:
    one, figures = sent.run, sent.figures
    return (
        f"{figures['seconds']:.2f} s and {figures['cpu']:.2f} s CPU without imports, {one.wall:.2f} s and "
        f"{one.cpu:.2f} s CPU with them, {one.peak / MEGABYTE:.0f} MB, {one.requests:,} requests, "
        f"{figures['store_writes']:,} writes to the store"
    )
