"""`kill -9` of the receiver at random moments, while the emulator delivers and retries.

What was acknowledged is in the archive, everything is there after the retries, and a database has nothing twice.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests

from linq_client import LinqClient
from linq_emulator.testing import EmulatorProcess
from linq_webhooks.archive import open_archive
from linq_webhooks.subscriptions import ensure_subscription
from tests.support.postgres import for_sqlalchemy
from tests.support.webhook_events import ids_of
from tests.support.webhook_receiver import ReceiverProcess

KILLS = 50
PERSON = "+12025550150"


class Platform:
    """The emulator, with people who write all the time, and a subscription to the receiver."""

    def __init__(self, emulator: EmulatorProcess, url: str) -> None:
        self.emulator = emulator
        self.secret = ""
        with LinqClient(emulator.api_key, base_url=emulator.base_url, allow_http=True) as client:
            ensure_subscription(client, url, ["message.received"], keep_secret=self._keep)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def _keep(self, subscription_id: str, secret: str) -> None:
        self.secret = f"{subscription_id} {secret}"

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


def free_port() -> int:
    with ReceiverProcess("memory://nothing") as receiver:
        return receiver.port


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
    with EmulatorProcess(switches={"webhook_retries": "ten"}) as emulator:
        platform = Platform(emulator, f"http://127.0.0.1:{port}/webhooks/linq")
        with platform:
            for _ in range(KILLS):
                receiver = ReceiverProcess(archive, *options, secrets=platform.secret, port=port)
                time.sleep(rng.uniform(0, 1.5))
                receiver.kill()
                ids, position = ids_of(reader, position)
                read.update(ids)
        with ReceiverProcess(archive, *options, secrets=platform.secret, port=port) as receiver:
            deliveries = platform.settled()
            while "spool" in place and _spooled(receiver):
                time.sleep(0.1)
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


def _spooled(receiver: ReceiverProcess) -> bool:
    page = requests.get(f"http://127.0.0.1:{receiver.port}/metrics", timeout=60).text
    return "\nlinq_webhooks_spooled_events 0.0" not in page
