"""The archive is down for longer than the platform repeats a delivery; at full length, for two hours.

Receiver and emulator show the same time, which the test moves. Only where there is no spool is anything lost, and then
exactly what the platform has given up in the meantime.
"""

from __future__ import annotations

import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import psutil
import psycopg
import pytest
import requests

from benchmarks.ports import free_port
from linq_webhooks.archive import open_archive
from tests.support.archiving_receiver import settle
from tests.support.emulator_process import Emulator
from tests.support.postgres import for_sqlalchemy, server_processes
from tests.support.webhook_events import ids_of
from tests.support.webhook_receiver import ReceiverProcess, subscribe, wait_until_drained

PERSON = "+12025550150"
OUTAGE = {False: timedelta(minutes=44), True: timedelta(hours=2)}
#: For how long the platform repeats a delivery: ten tries in all.
REPEATED = timedelta(minutes=30)
TRIES = 10

#: Less than the age of a delivery that the receiver refuses.
STEP = timedelta(minutes=4)

Down = Callable[[ReceiverProcess], AbstractContextManager[None]]


@dataclass
class Platform:
    """The emulator and a receiver on one clock, and when each event was emitted."""

    emulator: Emulator
    receiver: ReceiverProcess

    def __post_init__(self) -> None:
        self.emitted: list[datetime] = []

    def go_on(self, span: timedelta) -> None:
        """Let time pass, in which people write."""
        for step in range(span // STEP):
            if step % 2 == 0:
                self.emitted.append(self.emulator.now())
                self.emulator.inbound(PERSON, f"message {len(self.emitted)}")
            self.emulator.advance(STEP.total_seconds())
            settle(self.emulator)
            self.receiver.set_clock(self.emulator.now())


@contextmanager
def full_disk(receiver: ReceiverProcess) -> Iterator[None]:
    """No file of the receiver can grow, its spool neither."""
    pid = receiver.process.pid
    unlimited = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (10, unlimited[1]))
    yield
    resource.prlimit(pid, resource.RLIMIT_FSIZE, unlimited)


@pytest.fixture
def missing(tmp_path: Path) -> Down:
    """The file system with the database is not mounted."""

    @contextmanager
    def down(_receiver: ReceiverProcess) -> Iterator[None]:
        (tmp_path / "place").rename(tmp_path / "elsewhere")
        yield
        (tmp_path / "elsewhere").rename(tmp_path / "place")

    return down


@pytest.fixture
def refusing(postgres_server: str, postgres: str) -> Down:
    @contextmanager
    def down(_receiver: ReceiverProcess) -> Iterator[None]:
        name = psycopg.conninfo.conninfo_to_dict(postgres)["dbname"]
        with psycopg.connect(postgres_server, autocommit=True) as connection:
            connection.execute(f"alter database {name} allow_connections false")
            connection.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [name])
            yield
            connection.execute(f"alter database {name} allow_connections true")

    return down


@pytest.fixture
def hanging(postgres_server: str) -> Down:
    @contextmanager
    def down(_receiver: ReceiverProcess) -> Iterator[None]:
        processes = [psutil.Process(pid) for pid in server_processes(postgres_server)]
        for process in processes:
            process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for process in processes:
                process.send_signal(signal.SIGCONT)

    return down


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="needs Linux, to limit files of another process")
@pytest.mark.parametrize(
    ("how", "has_spool"),
    [(how, has_spool) for how in ("full", "missing", "refusing", "hanging") for has_spool in (False, True)],
)
def test_only_what_the_platform_gives_up_is_lost(
    how: str, has_spool: bool, request: pytest.FixtureRequest, emulator: Emulator, tmp_path: Path, is_full: bool
) -> None:
    if not is_full and (how, has_spool) not in (("full", False), ("missing", True)):
        pytest.skip("LINQ_DRILLS=full")
    down: Down = full_disk if how == "full" else request.getfixturevalue(how)
    (tmp_path / "place").mkdir()
    if how == "full":
        archive = str(tmp_path / "place")
    elif how == "missing":
        archive = f"sqlite:///{tmp_path}/place/archive.db"
    else:
        archive = for_sqlalchemy(request.getfixturevalue("postgres"))
    options = ["--spool", str(tmp_path / "spool")] if has_spool else []
    port = free_port()
    url = f"http://127.0.0.1:{port}/webhooks/linq"
    emulator.set_clock(freeze=True)
    secret = subscribe(emulator, url, "message.received")
    with ReceiverProcess(
        archive, *options, secrets=secret, port=port, now=emulator.now(), log=tmp_path / "log", archive_seconds=2
    ) as receiver:
        platform = Platform(emulator, receiver)
        platform.go_on(2 * STEP)
        with down(receiver):
            platform.go_on(OUTAGE[is_full])
            assert requests.get(f"http://127.0.0.1:{port}/healthz", timeout=60).ok
        recovered = emulator.now()
        platform.go_on(REPEATED + STEP)
        deliveries = settle(emulator)
        if has_spool:
            wait_until_drained(url)
        assert receiver.stop() == 0, "it was not ended by anything else"
    with closing(open_archive(archive)) as reader:
        stored, _ = ids_of(reader)

    given_up = [one["event_id"] for one in deliveries if one["state"] == "failed"]
    delivered = [one["event_id"] for one in deliveries if one["state"] == "delivered"]
    assert len(given_up) + len(delivered) == len(platform.emitted)
    for one in deliveries:
        *repeated, last = one["attempts"]
        assert {attempt["status"] for attempt in repeated} <= {503}, "it comes again"
        assert last["status"] == (503 if one["state"] == "failed" else 200)
    if has_spool and how != "full":
        assert not given_up
        assert stored == delivered, "in the order in which they came"
    else:
        late = [at for at in platform.emitted[1:] if at + REPEATED <= recovered]
        assert given_up == [one["event_id"] for one in deliveries[1 : 1 + len(late)]]
        assert {len(one["attempts"]) for one in deliveries if one["state"] == "failed"} == {TRIES}, "and something was"
        # What hung may have been stored all the same.
        assert set(delivered) <= set(stored) <= set(delivered) | set(given_up if how == "hanging" else ())
    assert b"Traceback" not in (tmp_path / "log").read_bytes()
