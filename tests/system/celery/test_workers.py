"""Workers, broker, triggerer and database die under campaigns and extractions: nothing twice, nothing lost."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from itertools import cycle

import pytest

from tests.support.brokers import Redis
from tests.support.campaign_drills import FULL, slow
from tests.support.emulator_process import Emulator
from tests.support.postgres import server_processes
from tests.system.celery.cluster import Cluster, ObjectStore, stopped

full = pytest.mark.skipif(not FULL, reason="one of the long drills: LINQ_DRILLS=full")


def campaign(
    cluster: Cluster, store: ObjectStore, name: str, number: int, zones: Sequence[str] = ("Etc/UTC",)
) -> tuple[str, list[str]]:
    """Start a campaign over people of these zones in turn, and return the id of its run and whom it is to reach."""
    people = [f"{name}{index}@example.com" for index in range(number)]
    rows = [f"{to},Ann,{zone}" for to, zone in zip(people, cycle(zones), strict=False)]
    store.put(f"{name}/rows.csv", "\n".join(["to,name,zone", *rows]))
    return cluster.run("moved_campaign", folder=f"{store.url}/{name}"), people


def sent(emulator: Emulator, name: str) -> Counter[str]:
    """How many messages each recipient got, of those whose addresses begin so."""
    outbound = [row for row in emulator.ledger() if row["direction"] == "outbound"]
    return Counter(to for row in outbound for to in row["to"] if to.startswith(name))


def check(cluster: Cluster, store: ObjectStore, emulator: Emulator, name: str, run: str, people: list[str]) -> None:
    """Wait for the end of a campaign, and see that each recipient got one message, also by its own account."""
    cluster.until("moved_campaign", run, "send", "success")
    assert sent(emulator, name) == Counter(people)
    assert cluster.xcom("moved_campaign", run, "send")["sent"] == len(people)
    outcomes = [json.loads(line) for line in store.get(f"{name}/outcomes.jsonl").splitlines()]
    assert Counter(to for row in outcomes for to in row["to"]) == Counter(people)
    assert {row["status"] for row in outcomes} == {"sent"}


@pytest.fixture(autouse=True)
def slow_sends(celery_emulator: Emulator) -> None:
    """A campaign takes long enough to be killed."""
    celery_emulator.control("DELETE", "faults")
    slow(celery_emulator, 0.1)


def test_workers_killed_under_a_campaign(cluster: Cluster, store: ObjectStore, celery_emulator: Emulator) -> None:
    run, people = campaign(cluster, store, "moved", 2_000)
    killed: list[str] = []
    for count in (300, 800, 1300):
        cluster.wait_until(lambda count=count: sent(celery_emulator, "moved").total() >= count, f"{count} are sent")
        name = cluster.wait_until(lambda: cluster.worker_of("moved_campaign", run, "send"), "it runs on a worker")
        cluster.kill_worker(name)
        assert sent(celery_emulator, "moved").total() < len(people)
        killed.append(name)
        # It moves to the other one, and only then this one comes back.
        cluster.wait_until(lambda: cluster.worker_of("moved_campaign", run, "send"), "it runs on the other worker")
        cluster.start_worker(name)
    check(cluster, store, celery_emulator, "moved", run, people)
    tries = cluster.task("moved_campaign", run, "send")["try_number"]
    print(f"killed {killed}, {tries} tries")
    assert tries > len(killed)
    assert set(killed) == {"one", "two"}


@full
def test_the_broker_restarted_under_a_campaign(
    cluster: Cluster, broker: Redis, store: ObjectStore, celery_emulator: Emulator
) -> None:
    run, people = campaign(cluster, store, "broker", 800)
    cluster.wait_until(lambda: sent(celery_emulator, "broker").total() >= 200, "200 are sent")
    broker.stop()
    cluster.wait_until(lambda: sent(celery_emulator, "broker").total() >= 400, "it sends without a broker")
    broker.start()
    check(cluster, store, celery_emulator, "broker", run, people)
    assert cluster.task("moved_campaign", run, "send")["try_number"] == 1

    # The workers have come back to it.
    run, people = campaign(cluster, store, "afterwards", 10)
    check(cluster, store, celery_emulator, "afterwards", run, people)


@full
def test_the_triggerer_killed_while_the_window_is_closed(
    cluster: Cluster, store: ObjectStore, celery_emulator: Emulator
) -> None:
    # What takes two minutes or less is waited for on the worker.
    early = celery_emulator.now().replace(hour=8, minute=56, second=30) + timedelta(days=1)
    celery_emulator.set_clock(now=early)
    run, people = campaign(cluster, store, "window", 300, ["Asia/Tokyo", "Etc/UTC"])  # half past five, and too early
    cluster.until("moved_campaign", run, "send", "deferred")
    assert sent(celery_emulator, "window") == Counter(people[::2])
    with cluster.without_triggerer():
        assert celery_emulator.now().hour == 8
        cluster.wait_until(lambda: celery_emulator.now().hour == 9, "the window is open")
        assert cluster.task("moved_campaign", run, "send")["state"] == "deferred"
    check(cluster, store, celery_emulator, "window", run, people)


@full
def test_a_line_each_on_both_workers(cluster: Cluster, store: ObjectStore, celery_emulator: Emulator) -> None:
    lines = [f"+120255501{number}" for number in range(10, 30)]
    for line in lines:
        celery_emulator.control("POST", "lines", {"phone_number": line})
    celery_emulator.control("DELETE", "faults")
    celery_emulator.seed(200, messages_per_chat=10, lines=lines)
    before = {row["id"] for row in celery_emulator.ledger() if row["line"] in lines}
    run = cluster.run("extract_lines", folder=f"{store.url}/extract", lines=lines)
    cluster.wait_until(lambda: len(store.keys("extract/state/")) >= 4, "four lines are done")
    cluster.kill_worker("two")
    cluster.start_worker("two")
    cluster.wait_until(lambda: cluster.runs("extract_lines")[0]["state"] == "success", "all lines are done")

    states = store.keys("extract/state/")
    assert len(states) == len(lines)
    rows = [json.loads(line) for key in store.keys("extract/messages/") for line in store.get(key).splitlines()]
    assert before
    assert {row["id"] for row in rows} == before
    instances = cluster.call("GET", f"dags/extract_lines/dagRuns/{run}/taskInstances?limit=50")["task_instances"]
    print(f"{len(rows)} rows for {len(before)} messages; tries {Counter(one['try_number'] for one in instances)}")
    assert max(one["try_number"] for one in instances) > 1


@full
def test_the_database_out_of_reach_for_half_a_minute(
    cluster: Cluster, store: ObjectStore, celery_emulator: Emulator, postgres_server: str
) -> None:
    run, people = campaign(cluster, store, "database", 2_000)
    cluster.wait_until(lambda: sent(celery_emulator, "database").total() >= 200, "200 are sent")
    with stopped(server_processes(postgres_server)):
        time.sleep(30)  # this is what is tried: an outage that lasts so long
    check(cluster, store, celery_emulator, "database", run, people)
    print(f"tries: {cluster.task('moved_campaign', run, 'send')['try_number']}")
