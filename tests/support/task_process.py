"""Tries of a task in processes of their own, which can be killed, stopped, signalled, retried, cleared and resumed.

A server process imports Airflow once and forks a child for each try, as a worker does. All that outlives a child is
what outlives a worker: the task state store on disk, and files. A child's wall clock is the world's (`Clock`): it moves
as the test moves it, also while the child stands still, as after a machine was asleep.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import shutil
import signal
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

from tests.support.contract_server import API_KEY, ContractServer
from tests.support.contract_world import Clock

#: A sleep that is longer passes by the world's clock alone.
LONG_SLEEP = 3.0

_processes = multiprocessing.get_context("forkserver")


@dataclass(frozen=True)
class Iterates:
    """Rows as an iterator, which does not go through a pipe."""

    rows: list[dict[str, Any]]


@dataclass(frozen=True)
class Deferral:
    """What Airflow keeps of a task that waits."""

    method: str
    kwargs: Mapping[str, Any]
    trigger: str
    trigger_kwargs: Mapping[str, Any]


@dataclass(frozen=True)
class Order:
    """What a try needs to know.

    :param rendered: attributes that a template has other values for than the arguments; they are set after the
        operator was made.
    :param store: folder of the task state store; None where Airflow has none (3.2).
    :param dies_at_write: the try kills itself before this write to the store (2 is the third).
    :param calls: this is called in place of the operator's methods, with the operator and its context.
    """

    operator: str
    arguments: Mapping[str, Any]
    rendered: Mapping[str, Any]
    instance: Mapping[str, Any]
    run: Mapping[str, Any]
    store: Path | None
    log: Path
    connection: Path
    environment: Mapping[str, str]
    clock: Path
    ahead: float
    deferral: Deferral | None
    dies_at_write: int | None
    calls: Callable[[Any, Any], Any] | None


@dataclass(frozen=True)
class Ending:
    """What became of a try: Airflow's word for it, and the result or the error. `refused` is an import error."""

    state: Literal["killed", "success", "skipped", "deferred", "up_for_retry", "failed", "refused"]
    result: Any = None
    error: str = ""
    deferral: Deferral | None = None


class FileStore:
    """A task state store on disk, as one try sees it. A value is there in full or not at all.

    When another try has begun, the store answers this one as Airflow does, whose API then knows its id no more: it
    has no value for it, and a write fails.
    """

    def __init__(self, folder: Path, owner: str, dies_at_write: int | None = None) -> None:
        self._folder = folder
        self._owner = owner
        self._left = dies_at_write

    def get(self, key: str, default: Any = None) -> Any:
        file = self._folder / key
        return json.loads(file.read_text()) if self._is_owned() and file.exists() else default

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        if self._left is not None:
            if self._left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)
            self._left -= 1
        self._refuse_others()
        text = json.dumps(value)
        assert value is not None
        assert len(text) < 64_000, "a value for the task state store is too long"
        fresh = self._folder.with_name(f"{self._folder.name}.{os.getpid()}")
        fresh.write_text(text)
        fresh.replace(self._folder / key)

    def delete(self, key: str) -> None:
        self._refuse_others()
        (self._folder / key).unlink(missing_ok=True)

    def _is_owned(self) -> bool:
        return self._folder.with_suffix(".owner").read_text() == self._owner

    def _refuse_others(self) -> None:
        if not self._is_owned():
            from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
            from airflow.sdk.execution_time.comms import ErrorResponse

            detail = {"status_code": 404, "message": "Task instance not found"}
            raise AirflowRuntimeError(ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail=detail))


def run_try(order: Order, parent: Connection, acks: Connection) -> None:
    """One try of the task, or a part of it between two deferrals: tell the parent when it begins and how it ends."""
    os.environ.update(order.environment)
    with order.log.open("a") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    # Here, and not above: the process of the tests must not import Airflow.
    from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, AirflowTaskTimeout, TaskDeferred

    _follow(order.clock, order.ahead)
    _connect(order.connection)

    def on_signal(number: int, frame: object) -> None:
        if number == signal.SIGALRM:
            raise AirflowTaskTimeout("the test says so")
        _connect(order.connection)
        acks.send("connected")

    signal.signal(signal.SIGUSR1, on_signal)
    signal.signal(signal.SIGALRM, on_signal)
    parent.send("executing")
    try:
        ending = _executed(order)
    except TaskDeferred as deferred:
        path, kwargs = deferred.trigger.serialize()
        ending = Ending("deferred", deferral=Deferral(deferred.method_name, deferred.kwargs or {}, path, kwargs))
    except AirflowSkipException as skip:
        ending = Ending("skipped", error=str(skip))
    except AirflowFailException as error:
        traceback.print_exc()
        ending = Ending("failed", error=str(error))
    except BaseException as error:
        traceback.print_exc()
        ending = Ending("up_for_retry", error=f"{type(error).__name__}: {error}")
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    parent.send(ending)


def _executed(order: Order) -> Ending:
    """Make the operator and run it."""
    from airflow.sdk.execution_time.context import set_current_context

    from tests.support import provider

    provider.hurry()
    arguments = {
        name: iter(value.rows) if isinstance(value, Iterates) else value for name, value in order.arguments.items()
    }
    context: Any = {"ti": SimpleNamespace(**order.instance), "dag_run": SimpleNamespace(**order.run)}
    if order.store is not None:
        context["task_state_store"] = FileStore(order.store, order.instance["id"], order.dies_at_write)
    with set_current_context(context):
        if order.operator == "function":
            return Ending("success", provider.send_campaign(arguments))
        try:
            names = {"task_id": order.instance["task_id"], "retries": order.instance["retries"]}
            operator = provider.OPERATORS[order.operator](**names, **provider.given(arguments))
        except Exception as error:
            traceback.print_exc()
            return Ending("refused", error=f"{type(error).__name__}: {error}")
        for name, value in order.rendered.items():
            setattr(operator, name, value)
        if order.calls is not None:
            return Ending("success", order.calls(operator, context))
        if order.deferral is None:
            return Ending("success", operator.execute(context))
        event = asyncio.run(_first_event(order.deferral))
        kwargs = {**order.deferral.kwargs, "event": event}
        return Ending("success", operator.resume_execution(order.deferral.method, kwargs, context))


async def _first_event(deferral: Deferral) -> Any:
    """What the triggerer does: run the trigger up to its first event."""
    from airflow.sdk.module_loading import import_string

    trigger = import_string(deferral.trigger)(**deferral.trigger_kwargs)
    async for event in trigger.run():
        return event.payload
    raise AssertionError("the trigger has no event")


def _connect(file: Path) -> None:
    os.environ["AIRFLOW_CONN_LINQ_DEFAULT"] = file.read_text()


def _follow(file: Path, ahead: float) -> None:
    """Let this process live in the time of the world, so many seconds ahead of it. `monotonic` stays as it is."""
    import time_machine

    clock = Clock(file, real_time=time_machine.escape_hatch.time.time)

    class Shared(time_machine.Traveller):
        def time_ns(self) -> int:
            return int((clock.now() + ahead) * 1e9)

    time_machine.travel(0).start()
    time_machine.traveller_stack[-1] = Shared(0, None, True)
    sleep = time.sleep

    def skip(seconds: float) -> None:
        if seconds > LONG_SLEEP:
            clock.advance(seconds)
        else:
            sleep(seconds)

    time.sleep = skip


class Try:
    """A try that is under way."""

    def __init__(self, order: Order) -> None:
        self._connection, child = _processes.Pipe()
        self._acks, acks = _processes.Pipe()
        self._process = _processes.Process(target=run_try, args=(order, child, acks), daemon=True)
        self._process.start()
        child.close()
        acks.close()

    def until_it_executes(self) -> None:
        assert self._connection.poll(60), "the try did not begin"
        assert self._connection.recv() == "executing"

    def send_signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(self._process.pid or 0, number)

    def ends_before(self, event: threading.Event) -> bool:
        """Wait until the try has ended, or the event has happened; whether it was the first."""
        while not event.is_set():
            if self._connection.poll(0.05):
                return True
        return False

    def renewed(self) -> None:
        """The connection in Airflow has changed: return when the process would see it."""
        self.send_signal(signal.SIGUSR1)
        assert self._acks.poll(20), "the try did not look at its connection"
        self._acks.recv()

    def end(self, limit: float = 60) -> Ending:
        """Wait for the end."""
        try:
            assert self._connection.poll(limit), f"a try does not end within {limit:g} seconds"
            ending: Ending = self._connection.recv()
        except EOFError:
            ending = Ending("killed")
        finally:
            self._process.kill()
            self._process.join()
            self._process.close()
            self._connection.close()
            self._acks.close()
        return ending


@dataclass
class Task:
    """A task instance: its tries, and what outlives them.

    :param record: "store", or "none" where Airflow has no task state store (3.2).
    :param shared: all machines see the folder of its files; otherwise each try is on another machine.
    :param ahead: seconds by which Airflow's clocks are ahead of the API's.
    """

    server: ContractServer
    folder: Path
    operator: str
    arguments: dict[str, Any]
    record: Literal["store", "none"] = "store"
    name: str = "task"
    run_id: str = "run"
    map_index: int = -1
    retries: int = 10
    api_key: str = API_KEY
    extra: dict[str, Any] = field(default_factory=dict)
    rendered: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    ahead: float = 0
    tries: int = 0
    kills: int = 0
    under_way: Try | None = None
    ending: Ending | None = None

    def __post_init__(self) -> None:
        self.max_tries = self.retries
        self._path = self.folder / f"{self.run_id}-{self.name}-{self.map_index}"
        self._began = self._airflow_time()
        self._clears = 0
        self._deferral: Deferral | None = None
        self._id = ""

    def _airflow_time(self) -> datetime:
        return self.server.clock.moment() + timedelta(seconds=self.ahead)

    def start(self, *, dies_at_write: int | None = None, calls: Callable[[Any, Any], Any] | None = None) -> Try:
        """Begin the next try, or go on with one that was deferred."""
        store = self._path.with_suffix(".store")
        if self._deferral is None:
            self.tries += 1
            self._id = str(uuid.uuid4())
        store.mkdir(exist_ok=True)
        store.with_suffix(".owner").write_text(self._id)
        ids = {"dag_id": "drill", "run_id": self.run_id, "task_id": self.name, "map_index": self.map_index}
        tries = {"try_number": self.tries, "max_tries": self.max_tries, "retries": self.retries}
        began = {"run_after": self._began, "start_date": self._began, "clear_number": self._clears}
        self._write_connection()
        order = Order(
            operator=self.operator,
            arguments=self.arguments,
            rendered=self.rendered,
            instance={**ids, **tries, "id": self._id},
            run={"run_id": self.run_id, "logical_date": self._began, **began},
            store=store if self.record == "store" else None,
            log=self._path.with_suffix(".log"),
            connection=self._path.with_suffix(".connection"),
            environment=self.environment,
            clock=self.server.clock.file,
            ahead=self.ahead,
            deferral=self._deferral,
            dies_at_write=dies_at_write,
            calls=calls,
        )
        self.under_way = Try(order)
        self.under_way.until_it_executes()
        return self.under_way

    def go(self, limit: float = 60, **how: Any) -> Ending:
        """One try, from its start or where it was deferred to, to its end."""
        return self.ended(self.start(**how).end(limit))

    def ended(self, ending: Ending) -> Ending:
        """Take note of how a try has ended, as Airflow does."""
        self.under_way = None
        self.server.quiesce()
        self.kills += ending.state == "killed"
        if ending.state == "up_for_retry" and self.tries > self.max_tries:
            ending = Ending("failed", error=ending.error)
        self._deferral = ending.deferral
        self.ending = ending
        return ending

    def finish(self, *, waits: int = 8, tries: int = 5, between: float = 60) -> Ending:
        """Go on to the end: waits are skipped, and a retry comes so many seconds after the try before."""
        assert self.ending is None or self.ending.state in ("killed", "up_for_retry", "deferred")
        while True:
            if self.ending is not None:
                self.skip_wait() if self._deferral is not None else self.server.advance(between)
            ending = self.go()
            if ending.state == "deferred":
                waits -= 1
            elif ending.state in ("up_for_retry", "killed"):
                tries -= 1
            else:
                return ending
            assert waits > 0, f"it waits without an end, at last {ending.deferral}"
            assert tries > 0, f"it tries without an end: {ending.error}"

    def skip_wait(self) -> None:
        """Move the clock to where the wait of a deferred task is over."""
        assert self._deferral is not None
        moment = self._deferral.trigger_kwargs.get("moment")
        if isinstance(moment, datetime):
            self.server.clock.advance_to(moment - timedelta(seconds=self.ahead - 0.5))

    def clear(self) -> None:
        """What a user does to a task, in its run. If it is running, the scheduler starts it anew when it has ended."""
        self.max_tries = self.tries + self.retries
        self._clears += 1
        if self.under_way is None:
            self._began = self._airflow_time()
        self._deferral = None
        self.ending = None

    def lose_files(self, path: str) -> None:
        """The next try is on another machine, which has no such folder."""
        shutil.rmtree(self.folder / path, ignore_errors=True)

    # What befalls the try that is under way, also from within an event.

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def interrupt(self) -> None:
        """Airflow ends the try: an exception is raised in the main thread."""
        self._signal(signal.SIGALRM)

    def renew_key(self, api_key: str) -> None:
        """The platform has another key from now on, and so has Airflow's connection."""
        self.server.api_keys.add(api_key)
        self.api_key = api_key
        self._write_connection()
        if self.under_way is not None:
            self.under_way.renewed()
        self.server.api_keys = {api_key}

    def _signal(self, number: int) -> None:
        assert self.under_way is not None
        self.under_way.send_signal(number)

    def _write_connection(self) -> None:
        made = {"conn_type": "linq", "password": self.api_key, "host": self.server.base_url, "extra": self.extra}
        self._path.with_suffix(".connection").write_text(json.dumps(made))


def preload() -> None:
    """Let the server process import what all tries need."""
    _processes.set_forkserver_preload(["tests.support.provider", "time_machine", "pytest"])
