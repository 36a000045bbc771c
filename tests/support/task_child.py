"""What runs in the process of a try: an operator, with what Airflow gives it, in the time of the world.

All that outlives such a process is what outlives a worker: the task state store on disk, and files. Its wall clock is
the world's (`Clock`): it moves as the test moves it, also while the process stands still, as on a machine asleep.
"""

from __future__ import annotations

import asyncio
import faulthandler
import json
import os
import signal
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

from tests.support.contract_world import Clock

#: A sleep that is longer passes by the world's clock alone.
LONG_SLEEP = 3.0


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
    :param store: folder of the task state store; None where Airflow has none (before 3.3).
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
    from airflow_provider_linq._internal.version_compat import (
        AirflowFailException,
        AirflowSkipException,
        AirflowTaskTimeout,
        TaskDeferred,
    )

    _follow(order.clock, order.ahead)
    _connect(order.connection)

    def on_signal(number: int, frame: object) -> None:
        if number == signal.SIGALRM:
            raise AirflowTaskTimeout("the test says so")
        _connect(order.connection)
        acks.send("connected")

    faulthandler.register(signal.SIGUSR2)
    signal.signal(signal.SIGUSR1, on_signal)
    signal.signal(signal.SIGALRM, on_signal)
    parent.send("executing")
    parent.recv()
    try:
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
    except BaseException as error:  # also of a signal that comes when the operator has just ended
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
    ti = SimpleNamespace(**order.instance, get_task_states=partial(_task_states, order))
    context: Any = {"ti": ti, "dag_run": SimpleNamespace(**order.run)}
    if order.store is not None:
        context["task_state_store"] = FileStore(order.store, order.instance["id"], order.dies_at_write)
    with set_current_context(context):
        if order.operator == "function":
            return Ending("success", provider.run_campaign(arguments))
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


def _task_states(order: Order, *, dag_id: str, task_ids: list[str], run_ids: list[str]) -> dict[str, Any]:
    """What Airflow says of all instances of the task."""
    (name,), (run,) = task_ids, run_ids
    beginning = f"{run}-{name}-"
    found = {file.stem.removeprefix(beginning): file for file in order.log.parent.glob(f"{beginning}*.state")}
    return {run: {name if index == "-1" else f"{name}_{index}": file.read_text() for index, file in found.items()}}


async def _first_event(deferral: Deferral) -> Any:
    """What the triggerer does: run the trigger up to its first event."""
    from airflow.sdk.module_loading import import_string  # type: ignore[attr-defined]

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

    def skip(seconds: Any) -> None:
        if seconds > LONG_SLEEP:
            clock.advance(float(seconds))
        else:
            sleep(seconds)

    time.sleep = skip
