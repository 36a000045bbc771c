"""`kill -9` of the receiver when so many events were acknowledged, while others are delivered and delivered again.

Or of PostgreSQL. What was acknowledged is in the archive, everything is there after the retries, and a database has
nothing twice.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import threading
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests

from benchmarks.ports import free_port
from linq_emulator.testing import EmulatorProcess
from linq_webhooks.archive import open_archive
from tests.support.postgres import for_sqlalchemy
from tests.support.waiting import PATIENCE, wait_until
from tests.support.webhook_events import ids_of
from tests.support.webhook_receiver import ReceiverProcess, body_of, deliver, subscribe, wait_until_drained

KILLS = 50
#: How many events are acknowledged between two kills, at least and at the most. By chance: a kill may meet any step.
EVENTS = (1, 150)
PERSON = "+12025550150"


class Platform:
    """The emulator, with people who write all the time, and a subscription to the receiver."""

    def __init__(self, emulator: EmulatorProcess, url: str) -> None:
        self.emulator = emulator
        self.secret = subscribe(emulator, url, "message.received")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _write(self) -> None:
        number = 0
        while not self._stop.wait(0.02):
            for _ in range(5):
                number += 1
                self.emulator.inbound(PERSON, f"message {number}")

    def until_delivered(self, count: int) -> None:
        """Wait until so many deliveries were acknowledged."""
        wait_until(
            lambda: sum(one["state"] == "delivered" for one in self.emulator.webhook_deliveries()) >= count,
            f"{count} deliveries were acknowledged",
        )

    def settled(self) -> list[dict[str, Any]]:
        """The deliveries, once none is on its way."""
        ahead = 0
        while True:
            deliveries = self.emulator.webhook_deliveries()
            if all(one["state"] != "pending" for one in deliveries):
                return deliveries
            # Retries come sooner, as far as the receiver takes the time of a delivery for right.
            if ahead < 240:
                self.emulator.advance(10)
                ahead += 10
            time.sleep(0.5)


class Senders:
    """Deliver events to a receiver that comes and goes, several at a time, each until it is acknowledged."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._is_up = threading.Event()
        self._is_stopped = self._is_given_up = False
        self._threads = [threading.Thread(target=self._send) for _ in range(8)]
        self.acknowledged: set[str] = set()
        self.tries: Counter[str] = Counter()

    def __enter__(self) -> Senders:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_given_up = True
        self.finish()

    def finish(self) -> None:
        """Let each end with the event that it has."""
        self._is_stopped = True
        self._is_up.set()
        for thread in self._threads:
            thread.join()

    def until_acknowledged(self, more: int) -> None:
        """Let them deliver until so many more events were acknowledged."""
        with self._changed:
            count = len(self.acknowledged) + more
            self._is_up.set()
            assert self._changed.wait_for(lambda: len(self.acknowledged) >= count, PATIENCE)

    def pause(self) -> set[str]:
        """Let them wait for the receiver, and return what was acknowledged."""
        self._is_up.clear()
        with self._changed:
            return set(self.acknowledged)

    def _send(self) -> None:
        with requests.Session() as session:
            while not self._is_stopped:
                number = next(self._numbers)
                while not self._is_acknowledged(number, session) and not self._is_given_up:
                    self._is_up.wait()

    def _is_acknowledged(self, number: int, session: requests.Session) -> bool:
        self.tries[f"e{number}"] += 1
        try:
            status = deliver(self._url, body_of(number), session)
        except requests.ConnectionError:
            return False
        assert status in (200, 503)
        if status == 200:
            with self._changed:
                self.acknowledged.add(f"e{number}")
                self._changed.notify()
        return status == 200


@pytest.mark.parametrize("place", ["folder", "sqlite"])
def test_what_was_acknowledged_before_a_kill_is_there(place: str, tmp_path: Path, is_full: bool) -> None:
    if place != "folder" and not is_full:
        pytest.skip("LINQ_DRILLS=full")
    rng = random.Random(place)
    archive = f"sqlite:///{tmp_path}/archive.db" if place == "sqlite" else str(tmp_path / "archive")
    port = free_port()
    receiver = ReceiverProcess(archive, port=port)
    with closing(open_archive(archive)) as reader, Senders(receiver.url) as senders:
        for _ in range(KILLS if is_full else 2):
            senders.until_acknowledged(rng.randint(*EVENTS))
            receiver.kill()
            acknowledged = senders.pause()
            assert acknowledged <= set(ids_of(reader)[0])
            receiver = ReceiverProcess(archive, port=port)
        senders.until_acknowledged(rng.randint(*EVENTS))
        senders.finish()
        receiver.stop()
        ids, _ = ids_of(reader)
    assert senders.acknowledged == set(senders.tries) == set(ids)
    assert max(senders.tries.values()) > 1, "some were delivered again"
    if place == "sqlite":
        assert len(ids) == len(set(ids))


@pytest.mark.parametrize("has_spool", [False, True])
def test_what_was_acknowledged_before_postgresql_crashes_is_there(
    has_spool: bool, postgres_server: str, postgres: str, tmp_path: Path, is_full: bool
) -> None:
    """A process of the server is killed: it ends all others, recovers, and takes connections again."""
    if not is_full:
        pytest.skip("waits for the server to recover: LINQ_DRILLS=full")
    rng = random.Random(has_spool)
    options = ["--spool", str(tmp_path / "spool")] if has_spool else []
    archive = for_sqlalchemy(postgres)
    name = psycopg.conninfo.conninfo_to_dict(postgres)["dbname"]
    backend = "select pid from pg_stat_activity where datname = %s"
    with ReceiverProcess(archive, *options, log=tmp_path / "log") as receiver:
        with Senders(receiver.url) as senders:
            for _ in range(KILLS // 2):
                senders.until_acknowledged(rng.randint(*EVENTS))
                with closing(psycopg.connect(postgres_server)) as connection:
                    (pid,) = connection.execute(backend, [name]).fetchone() or (0,)
                    if pid:  # nobody is connected while events go to the spool
                        os.kill(pid, signal.SIGKILL)
                        with pytest.raises(psycopg.OperationalError):  # the server ends this one, too
                            connection.execute("select pg_sleep(%s)", [PATIENCE])
                wait_until(lambda: accepts_connections(postgres_server), "the server is up again")
            senders.until_acknowledged(rng.randint(*EVENTS))
            senders.finish()
        if has_spool:
            wait_until_drained(receiver.url)
        assert receiver.stop() == 0
    with closing(open_archive(archive)) as reader:
        ids, _ = ids_of(reader)
    assert sorted(ids) == sorted(senders.acknowledged) == sorted(senders.tries), "each once, and none is missing"
    assert b"Traceback" not in (tmp_path / "log").read_bytes()


def accepts_connections(server: str) -> bool:
    try:
        psycopg.connect(server).close()
    except psycopg.OperationalError:
        return False
    return True


@pytest.mark.parametrize("place", ["folder", "folder with spool", "postgres"])
def test_nothing_is_lost_by_kills(place: str, request: pytest.FixtureRequest, tmp_path: Path, is_full: bool) -> None:
    if not is_full:
        pytest.skip("waits for the last of the platform's retries, for minutes: LINQ_DRILLS=full")
    rng = random.Random(place)
    archive = for_sqlalchemy(request.getfixturevalue("postgres")) if place == "postgres" else str(tmp_path / "archive")
    options = ["--spool", str(tmp_path / "spool")] if "spool" in place else []
    port = free_port()
    reader = open_archive(archive)
    read: Counter[str] = Counter()
    position = None
    delivered = 0
    with EmulatorProcess(switches={"webhook_retries": "ten"}) as emulator:
        platform = Platform(emulator, f"http://127.0.0.1:{port}/webhooks/linq")
        with platform:
            for _ in range(KILLS):
                receiver = ReceiverProcess(archive, *options, secrets=platform.secret, port=port)
                delivered += rng.randint(*EVENTS)
                platform.until_delivered(delivered)
                receiver.kill()
                ids, position = ids_of(reader, position)
                read.update(ids)
        with ReceiverProcess(archive, *options, secrets=platform.secret, port=port) as receiver:
            deliveries = platform.settled()
            if "spool" in place:
                wait_until_drained(receiver.url)
    ids, position = ids_of(reader, position)
    read.update(ids)
    reader.close()
    assert {one["state"] for one in deliveries} == {"delivered"}
    assert any(len(one["attempts"]) > 1 for one in deliveries), "some were delivered again"
    assert set(read) == {one["event_id"] for one in deliveries}
    with closing(open_archive(archive)) as again:
        assert set(ids_of(again)[0]) == set(read)
    if place == "postgres":
        assert max(read.values()) == 1
