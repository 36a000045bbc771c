"""Tries of a task in processes of their own, which can be killed, stopped, signalled, retried, cleared and resumed.

A server process (fixture `workers`) imports Airflow once and forks a child for each try, as a worker does; see
`task_child`.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from tests.support.contract_server import API_KEY, ContractServer
from tests.support.task_child import Deferral, Ending, Order, run_try

_processes = multiprocessing.get_context("forkserver")

#: Seconds after which what has not come never comes, also on a busy machine.
PATIENCE = 600


class Try:
    """A try that is under way."""

    def __init__(self, order: Order, server: ContractServer) -> None:
        self._server = server
        self._log = order.log
        self._is_over = False
        server.clients += 1
        self._connection, child = _processes.Pipe()
        self._acks, acks = _processes.Pipe()
        self._process = _processes.Process(target=run_try, args=(order, child, acks), daemon=True)
        self._process.start()
        child.close()
        acks.close()

    def until_it_executes(self) -> None:
        assert self._connection.poll(PATIENCE), "the try did not begin"
        assert self._connection.recv() == "executing"
        self._connection.send("go on")  # by now an event can find the process that it is to befall

    def send_signal(self, number: int) -> None:
        if not self._is_over:
            with suppress(ProcessLookupError):
                os.kill(self._process.pid or 0, number)

    def _last_words(self) -> str:
        log = self._log.read_text()
        return log[log.find("Thread 0x") :] if "Thread 0x" in log else log[-2000:]

    def ends_before(self, event: threading.Event) -> bool:
        """Wait until the try has ended, or the event has happened; whether it was the first."""
        while not event.is_set():
            if self._connection.poll(0.05):
                return True
        return False

    def renewed(self) -> None:
        """The connection in Airflow has changed: return when the process would see it."""
        self.send_signal(signal.SIGUSR1)
        assert self._acks.poll(PATIENCE), "the try did not look at its connection"
        self._acks.recv()

    def end(self, limit: float = PATIENCE) -> Ending:
        """Wait for the end."""
        try:
            if not self._connection.poll(limit):
                self.send_signal(signal.SIGUSR2)
                self._connection.poll(1)
                raise AssertionError(f"a try does not end within {limit:g} seconds; where it is:\n{self._last_words()}")
            ending: Ending = self._connection.recv()
        except EOFError:
            ending = Ending("killed")
        finally:
            self._is_over = True
            self._process.kill()
            self._process.join()
            self._process.close()
            self._server.clients -= 1
            self._connection.close()
            self._acks.close()
        return ending


@dataclass
class Task:
    """A task instance: its tries, and what outlives them.

    :param record: "store", or "none" where Airflow has no task state store (before 3.3).
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
        self._due = self._began = self._airflow_time()
        self._clears = 0
        self._deferral: Deferral | None = None
        self._id = ""
        self._note("scheduled")

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
        began = {"run_after": self._due, "start_date": self._began, "clear_number": self._clears}
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
        self._note("running")
        self.under_way = Try(order, self.server)
        self.under_way.until_it_executes()
        return self.under_way

    def go(self, limit: float = PATIENCE, **how: Any) -> Ending:
        """One try, from its start or where it was deferred to, to its end."""
        return self.ended(self.start(**how).end(limit))

    def ended(self, ending: Ending) -> Ending:
        """Take note of how a try has ended, as Airflow does."""
        self.under_way = None
        self.server.quiet()
        self.kills += ending.state == "killed"
        if ending.state == "up_for_retry" and self.tries > self.max_tries:
            ending = Ending("failed", error=ending.error)
        self._deferral = ending.deferral
        self.ending = ending
        self._note(ending.state)
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
        self._note("scheduled")

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

    def _note(self, state: str) -> None:
        """The state that Airflow shows of the instance."""
        self._path.with_suffix(".state").write_text(state)

    def _write_connection(self) -> None:
        made = {"conn_type": "linq", "password": self.api_key, "host": self.server.base_url, "extra": self.extra}
        self._path.with_suffix(".connection").write_text(json.dumps(made))
