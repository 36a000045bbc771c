"""Campaigns whose workers die: tries in processes of their own, a state store on disk, and what the ledger says.

A server process (fixture `workers`) imports Airflow once and forks a child for each try of a task, as a worker does.
The child can be killed at any moment; all that outlives it is what outlives a worker: the task state store, and the
outcomes.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import signal
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

from tests.support.emulator_process import Emulator

SENDS = "^/v3/(chats|messages)$"
POOL = ["+12025550101", "+12025550102", "+12025550103"]
#: Of the emulator's sends, so that a campaign takes long enough to be killed often.
LATENCY = 0.03
#: Airflow's clock need not be that of the API.
AHEAD = timedelta(seconds=60)

LINES: dict[str, Any] = {"one": POOL[0], "pool": POOL, "any": "any"}
SCOPES = ["account", "line", "chat"]
#: Seconds between two tries, as Airflow has by default, and one more.
RETRY_DELAY = 301
TEXT = "Hello {{ row.name }}"

#: Seconds between two looks whether an event has happened: each is a request, which takes time from the campaign.
BETWEEN_LOOKS = 0.02
#: Whether something has happened by now.
Event = Callable[[], bool]
FULL = os.environ.get("LINQ_DRILLS") == "full"

_processes = multiprocessing.get_context("forkserver")


@dataclass(frozen=True)
class Order:
    """What a try needs to know.

    :param store: folder of the task state store; None where Airflow has none (before 3.3).
    :param dies_at_write: the try kills itself at this write to the store, before or after it.
    """

    arguments: Mapping[str, Any]
    instance: Mapping[str, Any]
    run: Mapping[str, Any]
    store: Path | None
    log: Path
    environment: Mapping[str, str]
    resumed: bool
    dies_at_write: float | None


@dataclass(frozen=True)
class Ending:
    """What became of a try: Airflow's word for it, and the result or the error."""

    state: Literal["killed", "success", "deferred", "up_for_retry", "failed"]
    result: Any = None
    error: str = ""


class FileStore:
    """A task state store on disk. A value is there in full or not at all, as in the database of Airflow.

    :param dies_at: half-way between two writes (2.5) it kills the process; -0.5 is before any.
    """

    def __init__(self, folder: Path, dies_at: float | None = None) -> None:
        self._folder = folder
        self._folder.mkdir(exist_ok=True)
        self._dies_at = dies_at
        self._writes = 0

    def get(self, key: str, default: Any = None) -> Any:
        file = self._folder / key
        return json.loads(file.read_text()) if file.exists() else default

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        if self._dies_at is not None and self._writes > self._dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        self._writes += 1
        text = json.dumps(value)
        assert len(text) < 64_000
        fresh = self._folder.with_name(f"{key}.{os.getpid()}")
        fresh.write_text(text)
        fresh.replace(self._folder / key)

    def delete(self, key: str) -> None:
        (self._folder / key).unlink(missing_ok=True)


def run_try(order: Order, parent: Connection) -> None:
    """One try of the task, in a process of its own: tell the parent when it begins and how it ends."""
    os.environ.update(order.environment)
    with order.log.open("a") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    # Here, and not above: the process of the tests must not import Airflow.
    from airflow_provider_linq._internal.version_compat import AirflowFailException, TaskDeferred
    from airflow_provider_linq.campaigns import RateLimits
    from airflow_provider_linq.operators.campaigns import LinqSendCampaignOperator

    context: Any = {
        "ti": SimpleNamespace(**order.instance),
        "dag_run": SimpleNamespace(**order.run),
    }
    if order.store is not None:
        context["task_state_store"] = FileStore(order.store, order.dies_at_write)
    # All on one day, however many are strangers.
    defaults = {"deferrable": True, "groups": True, "line_limits": RateLimits(new_chats_per_day=None)}
    operator = LinqSendCampaignOperator(task_id="campaign", **{**defaults, **order.arguments})
    parent.send("executing")
    try:
        ending = Ending("success", (operator.execute_complete if order.resumed else operator.execute)(context))
    except TaskDeferred as deferred:
        ending = Ending("deferred", deferred.kwargs)
    except AirflowFailException as error:
        ending = Ending("failed", error=str(error))
    except BaseException as error:
        traceback.print_exc()
        ending = Ending("up_for_retry", error=f"{type(error).__name__}: {error}")
    parent.send(ending)


class Try:
    """A try that is under way."""

    def __init__(self, order: Order) -> None:
        self._connection, child = _processes.Pipe()
        self._process = _processes.Process(target=run_try, args=(order, child), daemon=True)
        self._process.start()
        child.close()
        self._began = False

    def until_it_executes(self) -> None:
        if not self._began:
            assert self._connection.poll(600), "the try did not begin"
            assert self._connection.recv() == "executing"
            self._began = True

    def reaches(self, event: Event) -> bool:
        """Wait for an event; False if the try ends before."""
        self.until_it_executes()
        while not event():
            if self._connection.poll(BETWEEN_LOOKS):
                return False
        return True

    def end(self, killed_at: Event | None = None, limit: float = 600) -> Ending:
        """Wait for the end, and kill it at an event."""
        self.until_it_executes()
        if killed_at is not None and self.reaches(killed_at):
            self._process.kill()
        try:
            assert self._connection.poll(limit), f"a try does not end within {limit:g} seconds"
            ending = self._connection.recv()
        except EOFError:
            ending = Ending("killed")
        finally:
            self._process.kill()
            self._process.join()
            self._process.close()
            self._connection.close()
        return ending


@dataclass
class Task:
    """A task instance with a campaign: its tries, and what outlives them.

    :param record: what there is beside the keys: the state store, an outcomes file that every machine sees, one that
        is gone in the next try, which runs on another machine; or nothing.
    """

    emulator: Emulator
    folder: Path
    arguments: dict[str, Any]
    record: str = "store"
    name: str = "campaign"
    extra: dict[str, Any] = field(default_factory=dict)
    tries: int = 0
    kills: int = 0

    def __post_init__(self) -> None:
        if "outcomes" in self.record:
            self.arguments.setdefault("outcomes_path", str(self.folder / self.name / "outcomes.jsonl"))
        began = self.emulator.now() + AHEAD
        self._run = {"run_after": began, "start_date": began, "clear_number": 0}
        self._resumed = False

    def clear(self) -> None:
        """What a user does to a task that has ended: its run starts anew."""
        self._run |= {"start_date": self.emulator.now() + AHEAD, "clear_number": 1}
        self._resumed = False

    def start(self, *, dies_at_write: float | None = None) -> Try:
        """Begin the next try, or go on with one that was deferred."""
        if not self._resumed:
            self.tries += 1
            if "lost" in self.record:
                shutil.rmtree(self.folder / self.name, ignore_errors=True)
        ids = {"dag_id": "drill", "run_id": "run", "task_id": self.name, "map_index": -1}
        conn = {"conn_type": "linq", "password": self.emulator.api_key, "host": self.emulator.base_url}
        order = Order(
            arguments=self.arguments,
            instance={**ids, "try_number": self.tries, "max_tries": 1000},
            run=dict(self._run),
            store=self.folder / f"{self.name}.store" if "store" in self.record else None,
            log=self.folder / f"{self.name}.log",
            environment={"AIRFLOW_CONN_LINQ_DEFAULT": json.dumps({**conn, "extra": self.extra})},
            resumed=self._resumed,
            dies_at_write=dies_at_write,
        )
        return Try(order)

    def go(self, *, killed_at: Event | None = None, dies_at_write: float | None = None) -> Ending:
        """One try, from its start or where it was deferred to."""
        return self.ended(self.start(dies_at_write=dies_at_write).end(killed_at))

    def ended(self, ending: Ending) -> Ending:
        """Take note of how a try has ended."""
        self._resumed = ending.state == "deferred"
        self.kills += ending.state == "killed"
        assert ending.state != "failed", ending.error
        return ending

    def succeed(self, tries: int = 5) -> Any:
        """Try until it is done, and return the result; it must not be deferred."""
        for _ in range(tries):
            ending = self.go()
            if ending.state == "success":
                return ending.result
            assert ending.state == "up_for_retry", ending
            # Airflow's own delay: a request of this try can't be accepted any more.
            pass_time(self.emulator, RETRY_DELAY)
        raise AssertionError(f"not done after {tries} tries: {ending.error}")


def messages(emulator: Emulator, number: int) -> Event:
    """So many more messages have been accepted, of which some may not have been answered."""
    # Those before the last one that counts need not be read each time that this is asked.
    last = len(emulator.ledger()) + number - 1
    return lambda: number == 0 or bool(emulator.ledger(skip=last))


def sends(emulator: Emulator, number: int) -> Event:
    """So many more sends have come, of which some may not have been accepted. See `slow`."""

    def come() -> int:
        return sum(fault["hits"] for fault in emulator.faults() if fault["kind"] == "latency")

    before = come()
    return lambda: come() >= before + number


def responses(emulator: Emulator, number: int) -> Event:
    """So many more requests of any kind have been answered."""

    def answered() -> int:
        return sum(row["count"] for row in emulator.request_summary())

    before = answered()
    return lambda: answered() >= before + number


def chance(emulator: Emulator, rng: random.Random, most: int) -> Event:
    """Up to so many of one of these."""
    return rng.choice([messages, sends, responses])(emulator, rng.randint(0, most))


def people(number: int, first: int = 0) -> list[dict[str, Any]]:
    """So many rows; each tenth is a group of three."""
    rows = []
    for index in range(first, first + number):
        to = [f"person{index}@example.com"]
        if index % 10 == 9:
            to += [f"friend{index}@example.com", f"other{index}@example.com"]
        rows.append({"to": ",".join(to), "name": f"Person {index}"})
    return rows


def handles(row: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(row["to"].split(","))


def prepare(
    emulator: Emulator, scope: str = "account", hours: float = 0, *, chats: Iterable[Mapping[str, Any]] = ()
) -> None:
    """Three lines, a clock that runs, keys of this scope, and people who have written to one of the lines or two.

    :param hours: for which the platform knows a key; 0 is for ever.
    """
    emulator.control("POST", "lines", {"phone_number": POOL[2]})
    emulator.control("POST", "clock", {"freeze": False})
    emulator.control("PATCH", "switches", {"idempotency_scope": scope, "idempotency_hours": hours})
    for index, row in enumerate(row for row in chats if len(handles(row)) == 1):
        for line in {POOL[index % 3], POOL[index % 2]}:
            emulator.control("POST", "inbound", {"line": line, "from": row["to"], "text": "Hello"})
    slow(emulator)


def pass_time(emulator: Emulator, seconds: float) -> None:
    """Move the clock, when the requests of a worker that was killed are done: the API does not hold them for hours."""
    emulator.wait_until_idle()
    emulator.advance(seconds)


def slow(emulator: Emulator, seconds: float = LATENCY, **more: Any) -> None:
    emulator.control("POST", "faults", {"kind": "latency", "seconds": seconds, "path": SENDS, "method": "POST", **more})


def sent_to(emulator: Emulator) -> Counter[frozenset[str]]:
    """How many messages each recipient got."""
    return Counter(frozenset(row["to"]) for row in emulator.ledger() if row["direction"] == "outbound")


@dataclass(frozen=True)
class Figures:
    """What a drill came to; `hits` are sends that were accepted and made no message, since their key was known."""

    kills: int
    retries: int
    hits: int
    duplicates: int
    missing: int

    @classmethod
    def of(
        cls, emulator: Emulator, rows: Sequence[Mapping[str, Any]], *tasks: Task, kills: int = 0, retries: int = 0
    ) -> Figures:
        emulator.wait_until_idle()  # a worker that was killed may have left some
        sent = sent_to(emulator)
        accepted = [
            row
            for row in emulator.requests_served()
            if row["method"] == "POST"
            and row["path"] in ("/v3/chats", "/v3/messages")
            and (row["status"] in (201, 202) or "/after" in (row["fault"] or ""))
        ]
        return cls(
            kills=kills + sum(task.kills for task in tasks),
            retries=retries + sum(task.tries - 1 for task in tasks),
            hits=len(accepted) - sum(sent.values()),
            duplicates=sum(number - 1 for number in sent.values()),
            missing=len({handles(row) for row in rows} - sent.keys()),
        )

    def check(self, *, missing: int = 0) -> None:
        print(self)
        assert (self.duplicates, self.missing) == (0, missing), self


def kill_often(
    task: Task,
    rng: random.Random,
    kills: int,
    rows: Sequence[Mapping[str, Any]],
    step: Callable[[], None] = lambda: None,
) -> None:
    """Kill tries at random events, spread over the campaign, until it was killed so often or is done.

    :param step: what else happens in the world between two tries.
    """
    before = task.kills
    while task.kills - before < kills:
        left = max(0, len(rows) - sent_to(task.emulator).total())
        # Twice the mean, and some are left for after the last one.
        most = 2 * left // (kills - task.kills + before + 1)
        if task.go(killed_at=chance(task.emulator, rng, most)).state == "success":
            break
        step()
