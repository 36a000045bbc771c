"""What the receiver answers, and what it stores: over HTTP in, and what the archive has out."""

from __future__ import annotations

import base64
import gzip
import hashlib
import http.client
import itertools
import json
import logging
import os
import selectors
import shutil
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import requests
import time_machine

from linq_webhooks._encryption import BodyCipher
from linq_webhooks.archive import Archive, ArchiveError, StoredEvent, open_archive
from tests.support.waiting import PATIENCE, wait_until
from tests.support.webhook_events import KEY, OTHER_KEY, ids_of
from tests.support.webhook_receiver import (
    SECRET,
    ReceiverThread,
    body_of,
    deliver,
    deliver_in_one_piece,
    metrics_of,
    signed,
    wait_until_drained,
)

OTHER_SECRET = "whsec_" + base64.b64encode(b"o" * 24).decode()


pytestmark = pytest.mark.usefixtures("patient_receivers")


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(tmp_path / "archive")


@pytest.fixture
def receiver(folder: str) -> Iterator[ReceiverThread]:
    with ReceiverThread(open_archive(folder)) as running:
        yield running


def stored(folder: str) -> list[StoredEvent]:
    return [event for event, _ in open_archive(folder).read()]


def test_a_delivery_is_in_the_archive_when_it_is_acknowledged(receiver: ReceiverThread, folder: str) -> None:
    body = body_of(1)
    headers = signed(body, event_id="e1") | {"Linq-Chat-Id": "c1"}
    assert requests.post(receiver.url, data=body, headers=headers, timeout=60).status_code == 200
    (event,) = stored(folder)
    assert (event.event_id, event.event_type, event.subscription_id) == ("e1", "message.received", "s1")
    assert event.body == body
    assert event.headers["webhook-id"] == "e1"
    assert event.headers["linq-chat-id"] == "c1"
    assert not any("signature" in name for name in event.headers)


@pytest.mark.parametrize(
    ("secrets", "statuses"),
    [
        ({"": [SECRET, OTHER_SECRET]}, {"s1": (200, 200), "s9": (200, 200), None: (200, 200)}),
        ({"s1": [SECRET, OTHER_SECRET]}, {"s1": (200, 200), "s9": (401, 401), None: (200, 200)}),
        ({"s1": [SECRET], "s2": [OTHER_SECRET]}, {"s1": (200, 401), "s2": (401, 200), None: (200, 200)}),
        ({"s1": [SECRET], "": [OTHER_SECRET]}, {"s1": (200, 200), "s2": (401, 200)}),
    ],
)
@pytest.mark.parametrize("used", [{"standard": False}, {"deprecated": False}, {}])
def test_the_secret_is_found_by_the_subscription(
    folder: str,
    secrets: dict[str, list[str]],
    statuses: dict[str | None, tuple[int, int]],
    used: dict[str, bool],
) -> None:
    with ReceiverThread(open_archive(folder), secrets) as receiver:
        for subscription, expected in statuses.items():
            got = tuple(
                deliver(receiver.url, body_of(1), secret=secret, subscription=subscription, **used)
                for secret in (SECRET, OTHER_SECRET)
            )
            assert got == expected, subscription


def test_deprecated_headers_are_noted_and_can_be_refused(folder: str, caplog: pytest.LogCaptureFixture) -> None:
    with ReceiverThread(open_archive(folder)) as receiver, caplog.at_level(logging.WARNING):
        assert deliver(receiver.url, body_of(1), deprecated=False) == 200
        assert "X-Webhook-*" not in caplog.text
        assert deliver(receiver.url, body_of(2), standard=False) == 200
        assert metrics_of(receiver.url)["linq_webhooks_deprecated_headers_total"] == 1
    assert "X-Webhook-* headers alone" in caplog.text
    with ReceiverThread(open_archive(folder), allow_deprecated_headers=False) as receiver:
        assert deliver(receiver.url, body_of(3), standard=False) == 401
        assert deliver(receiver.url, body_of(4)) == 200


def test_what_is_not_genuine_gets_401_and_is_not_stored(
    receiver: ReceiverThread, folder: str, caplog: pytest.LogCaptureFixture
) -> None:
    body = body_of(1)
    headers = signed(body)
    with caplog.at_level(logging.WARNING):
        for wrong in (
            {},
            {"webhook-id": "e"},
            signed(body, secret=OTHER_SECRET),
            signed(body_of(2)),
            *(signed(body, at=time.time() + shift) for shift in (-400, 400, 1e9, -1e9)),
            *(headers | {"webhook-timestamp": stamp} for stamp in ("", "nan", "inf", "soon", "1e999", "-1", "0x7")),
            *(headers | {"webhook-signature": value} for value in ("", "v1", "v1,", "v1,AAAA", "v2,x", "," * 9999)),
            headers | {"webhook-signature": headers["webhook-signature"][:-3]},
            {name: value for name, value in headers.items() if name != "webhook-timestamp"},
        ):
            response = requests.post(receiver.url, data=body, headers=wrong, timeout=60)
            assert (response.status_code, response.content) == (401, b"")
    assert stored(folder) == []
    metrics = metrics_of(receiver.url)
    refused = [count for name, count in metrics.items() if name.startswith("linq_webhooks_refused_total")]
    assert sum(refused) == metrics["linq_webhooks_received_total"] == 23
    assert len(refused) == 3, "by reason"
    assert "see you at ten" not in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    ("body", "status", "event_id"),
    [
        (b"", 400, None),
        (b"{", 400, None),
        (b'{"event_id": "e1"} x', 400, None),
        (b"\xff\xfe\x00", 400, None),
        (b"[]", 200, "e"),
        (b'{"event_id": 7, "event_type": []}', 200, "sha256-"),
        (b'{"event_id": "", "event_type": "parade.started"}', 200, "e"),
        (b'{"event_id": "e1\\u0000\\ud83d", "event_type": "x"}', 200, "sha256-"),
        (b'{"event_id": "' + b"x" * 5000 + b'"}', 200, "sha256-"),
        (b'{"event_id": "e1", "data": "caf\xe9"}', 200, "e1"),
        (b'{"event_id": "e1", "data": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", 200, "e1"),
    ],
)
def test_any_json_that_is_genuine_is_stored_as_it_came(
    receiver: ReceiverThread, folder: str, body: bytes, status: int, event_id: str | None
) -> None:
    assert deliver(receiver.url, body) == status
    if event_id == "sha256-":
        event_id += hashlib.sha256(body).hexdigest()
    assert [(event.event_id, event.body) for event in stored(folder)] == ([(event_id, body)] if event_id else [])


@pytest.mark.parametrize("name", ["webhook-signature", "x-webhook-signature"])
@pytest.mark.parametrize("is_first", [True, False])
def test_a_signature_that_comes_twice_counts_each_time(receiver: ReceiverThread, name: str, is_first: bool) -> None:
    """A hop may sign, too, or repeat a header; and a refusal is final."""
    body = body_of(1)
    headers = list(signed(body, standard=name == "webhook-signature").items())
    headers.insert(0 if not is_first else len(headers), (name, "v1,AAAA"))
    connection = http.client.HTTPConnection("127.0.0.1", receiver.port, timeout=PATIENCE)
    with closing(connection):
        connection.putrequest("POST", "/webhooks/linq")
        for one in [*headers, ("Content-Length", str(len(body)))]:
            connection.putheader(*one)
        connection.endheaders(body)
        assert connection.getresponse().status == 200


def test_an_id_that_nobody_signed_does_not_count(receiver: ReceiverThread, folder: str) -> None:
    """Or one event could be stored under any number of ids."""
    body = b'{"no": "id"}'
    for chosen in ("a", "b"):
        headers = signed(body, standard=False) | {"webhook-id": chosen}
        assert requests.post(receiver.url, data=body, headers=headers, timeout=60).status_code == 200
    assert len({event.event_id for event in stored(folder)}) == 1


def test_a_body_over_the_limit_is_not_read(folder: str) -> None:
    with ReceiverThread(open_archive(folder), max_body_bytes=10_000) as receiver:
        assert deliver(receiver.url, body_of(1, pad="x" * 9000)) == 200
        assert deliver(receiver.url, body_of(2, pad="x" * 10_000)) == 413
        # By its header, and without one. The connection is closed while the client writes.
        for request in (b"Content-Length: 100000000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", receiver.port), 60) as connection:
                connection.sendall(b"POST /webhooks/linq HTTP/1.1\r\nHost: x\r\n" + request)
                if b"chunked" in request:
                    for chunk in [b"3e8\r\n" + b"x" * 1000 + b"\r\n"] * 11:
                        connection.sendall(chunk)
                assert connection.recv(100).startswith(b"HTTP/1.1 413 ")
        assert [event.event_id for event in stored(folder)] == ["e1"]


def test_the_sender_of_a_body_over_the_limit_gets_the_answer(folder: str) -> None:
    """And not a broken connection, which it would take for a reason to send it again."""
    with ReceiverThread(open_archive(folder)) as receiver:
        for body in (b"x" * 5_100_000, (b"x" * 100_000 for _ in range(51))):
            response = requests.post(receiver.url, data=body, headers=signed(body_of(1)), timeout=60)
            assert response.status_code == 413


def test_deliveries_to_another_path_are_counted_and_logged(
    receiver: ReceiverThread, folder: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        for path in ("/", "//webhooks/linq", "/webhooks", "/healthz/"):
            response = requests.post(
                receiver.origin + path, data=body_of(1), headers=signed(body_of(1)), timeout=60, allow_redirects=False
            )
            assert response.status_code == 404
        assert requests.get(f"{receiver.origin}/favicon.ico", timeout=60).status_code == 404
    assert metrics_of(receiver.url)['linq_webhooks_refused_total{reason="wrong_path"}'] == 4
    assert "wrong_path" in caplog.text
    assert deliver(f"{receiver.url}/", body_of(1)) == 200
    assert [event.event_id for event in stored(folder)] == ["e1"]


@pytest.mark.parametrize("method", ["get", "put", "delete", "head"])
def test_only_post_delivers(receiver: ReceiverThread, method: str) -> None:
    assert getattr(requests, method)(receiver.url, timeout=60).status_code == 405
    assert getattr(requests, method)(f"{receiver.origin}/elsewhere", timeout=60).status_code == 404


def a_slow_body(receiver: ReceiverThread) -> socket.socket:
    """A connection on which a byte of a body is sent, and no more."""
    connection = socket.create_connection(("127.0.0.1", receiver.port), PATIENCE)
    connection.sendall(b"POST /webhooks/linq HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
    return connection


def test_slow_bodies_make_room_for_others(receiver: ReceiverThread, folder: str) -> None:
    """More connections than bodies are read at a time: those that have been read longest have to go."""
    with ExitStack() as slow, selectors.DefaultSelector() as answered:
        for _ in range(600):
            answered.register(slow.enter_context(a_slow_body(receiver)), selectors.EVENT_READ)
        refused: list[bytes] = []

        def all_are_refused() -> bool:
            for key, _ in answered.select(0):
                assert isinstance(key.fileobj, socket.socket)
                refused.append(key.fileobj.recv(100)[:12])
                answered.unregister(key.fileobj)
            return len(refused) >= 100

        wait_until(all_are_refused, "those are refused for which there is no room")
        assert refused == [b"HTTP/1.1 503"] * 100
        assert deliver(receiver.url, body_of(1)) == 200
    assert [event.event_id for event in stored(folder)] == ["e1"]


def test_a_slow_body_is_not_waited_for(receiver: ReceiverThread, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be genuine, on a bad connection. After a 4xx the platform would not deliver it again."""
    with monkeypatch.context() as patch:
        patch.setattr("linq_webhooks._intake._MAX_SECONDS", 0.1)
        with a_slow_body(receiver) as connection:
            assert connection.recv(100).startswith(b"HTTP/1.1 503 ")
    assert deliver(receiver.url, body_of(1)) == 200
    assert [event.event_id for event in stored(folder)] == ["e1"]


def test_endless_heads_are_cut_off(receiver: ReceiverThread) -> None:
    with socket.create_connection(("127.0.0.1", receiver.port), 60) as connection:
        connection.sendall(b"POST /webhooks/linq HTTP/1.1\r\nHost: x\r\nX-Long: ")
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            connection.sendall(b"x" * 100_000_000)
    assert deliver(receiver.url, body_of(1)) == 200


class Gate:
    """An archive whose writes wait, fail or succeed as a test says; what it took is in `events`."""

    def __init__(self) -> None:
        self.events: list[StoredEvent] = []
        self.batches: list[int] = []
        self.open = threading.Event()
        self.open.set()
        self.waiting = threading.Event()
        self.fails = False

    def append(self, events: Sequence[StoredEvent]) -> None:
        self.waiting.set()
        self.open.wait(PATIENCE)
        if self.fails:
            raise ArchiveError("webhook archive: down")
        self.batches.append(len(events))
        self.events += events

    def read(self, since: str | None = None) -> Iterator[tuple[StoredEvent, str]]:
        raise NotImplementedError

    def check(self) -> None:
        if self.fails:
            raise ArchiveError("webhook archive: down")

    def close(self) -> None:
        pass


def test_deliveries_that_are_under_way_together_are_one_write() -> None:
    gate = Gate()
    gate.open.clear()
    with ReceiverThread(gate) as receiver, ThreadPoolExecutor(21) as pool:
        first = pool.submit(deliver_in_one_piece, receiver.port, body_of(0))
        assert gate.waiting.wait(PATIENCE)
        others = [pool.submit(deliver_in_one_piece, receiver.port, body_of(number)) for number in range(1, 21)]
        wait_until(lambda: metrics_of(receiver.url)["linq_webhooks_received_total"] == 21, "all deliveries have come")
        assert not first.done(), "nothing is acknowledged before it is stored"
        gate.open.set()
        assert {one.result() for one in (first, *others)} == {200}
    assert gate.batches == [1, 20]


def test_without_a_spool_what_cannot_be_stored_comes_again() -> None:
    gate = Gate()
    gate.fails = True
    with ReceiverThread(gate) as receiver:
        response = requests.post(receiver.url, data=body_of(1), headers=signed(body_of(1)), timeout=60)
        assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
        assert requests.get(f"{receiver.origin}/readyz", timeout=60).status_code == 503
        assert requests.get(f"{receiver.origin}/healthz", timeout=60).status_code == 200
        gate.fails = False
        assert deliver(receiver.url, body_of(1)) == 200
        assert requests.get(f"{receiver.origin}/readyz", timeout=60).json() == {"archive": "ok"}
    assert [event.event_id for event in gate.events] == ["e1"]


def test_an_archive_that_hangs_is_not_waited_for_longer_than_the_platform_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()
    gate = Gate()
    gate.open.clear()
    with ReceiverThread(gate) as receiver:
        # The client gives up after a minute, and what is stored after that would be acknowledged to nobody.
        assert deliver(receiver.url, body_of(1)) == 503
        assert gate.events == []
        gate.open.set()
        assert deliver(receiver.url, body_of(1)) == 200


def read_ids(url: str, since: str | None = None) -> tuple[list[str], str | None]:
    """See `ids_of`. The connection to a database is closed, and not left to the garbage collector."""
    with closing(open_archive(url)) as archive:
        return ids_of(archive, since)


@pytest.mark.parametrize("kind", ["folder", "database"])
@pytest.mark.parametrize("what", ["all", "one file", "cut", "replaced"])
def test_nothing_is_acknowledged_that_goes_into_a_removed_file(kind: str, what: str, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    url = str(place) if kind == "folder" else f"sqlite:///{place / 'a.db'}"
    with ReceiverThread(open_archive(url)) as receiver:
        assert deliver(receiver.url, body_of(0)) == 200
        _, position = read_ids(url)
        assert position
        (file,) = [path for path in place.rglob("*") if path.suffix in (".jsonl", ".db")]
        if what == "all":
            shutil.rmtree(place)
            place.mkdir()
        elif what == "one file":
            file.unlink()
        elif what == "cut" and kind == "folder":
            os.truncate(file, 0)
        else:
            beside = file.with_name("beside")
            shutil.copy(file, beside)
            beside.replace(file)
        acknowledged = {f"e{n}" for n in range(1, 6) if deliver(receiver.url, body_of(n)) == 200}
        assert len(acknowledged) >= 4, "it recovers by itself"
        # Also for a reader who knows the earlier files.
        for since in (None, position):
            assert acknowledged <= set(read_ids(url, since)[0])
    assert acknowledged <= set(read_ids(url, position)[0])


def test_nothing_is_acknowledged_that_goes_into_a_removed_spool(tmp_path: Path) -> None:
    gate = Gate()
    gate.fails = True
    with ReceiverThread(gate, spool=tmp_path / "spool") as receiver:
        assert deliver(receiver.url, body_of(0)) == 200
        shutil.rmtree(tmp_path / "spool")
        acknowledged = {f"e{n}" for n in range(1, 6) if deliver(receiver.url, body_of(n)) == 200}
        assert len(acknowledged) >= 4
        gate.fails = False
        wait_until(lambda: acknowledged <= ids_in(gate), "all that was acknowledged is in the archive")


def ids_in(gate: Gate) -> set[str]:
    return {event.event_id for event in gate.events}


def test_a_spool_takes_events_while_the_archive_is_down_and_hands_them_on_in_order(tmp_path: Path) -> None:
    gate = Gate()
    spool = tmp_path / "spool"
    with ReceiverThread(gate, spool=spool) as receiver:
        assert deliver(receiver.url, body_of(0)) == 200
        gate.fails = True
        for number in range(1, 10):
            assert deliver(receiver.url, body_of(number)) == 200
        assert metrics_of(receiver.url)["linq_webhooks_spooled_events"] == 9
        assert metrics_of(receiver.url)["linq_webhooks_oldest_spooled_age_seconds"] >= 0
        assert requests.get(f"{receiver.origin}/readyz", timeout=60).json() == {"archive": "failed", "spool": "ok"}
        gate.fails = False
        wait_until_drained(receiver.url)
        assert deliver(receiver.url, body_of(10)) == 200
        wait_until_drained(receiver.url)
        assert [event.event_id for event in gate.events] == [f"e{number}" for number in range(11)]
        # The folders go after the last event has been counted as moved.
        wait_until(lambda: not list(spool.glob("date=*")), "the spool is empty")


def test_what_is_in_the_spool_survives_a_restart(tmp_path: Path) -> None:
    gate = Gate()
    gate.fails = True
    with ReceiverThread(gate, spool=tmp_path) as receiver:
        assert [deliver(receiver.url, body_of(number)) for number in range(5)] == [200] * 5
    assert gate.events == []
    gate.fails = False
    with ReceiverThread(gate, spool=tmp_path) as receiver:
        wait_until(lambda: len(gate.events) == 5, "all is in the archive")
        wait_until_drained(receiver.url)
    assert [event.event_id for event in gate.events] == [f"e{number}" for number in range(5)]


def test_what_several_processes_have_spooled_is_handed_on_in_order(tmp_path: Path) -> None:
    gate = Gate()
    gate.fails = True
    numbers = itertools.count()
    for _ in range(5):
        with ReceiverThread(gate, spool=tmp_path) as receiver:
            assert [deliver(receiver.url, body_of(next(numbers))) for _ in range(3)] == [200] * 3
    gate.fails = False
    with ReceiverThread(gate, spool=tmp_path) as receiver:
        wait_until(lambda: len(gate.events) == 15, "all is in the archive")
        wait_until_drained(receiver.url)
    assert [event.event_id for event in gate.events] == [f"e{number}" for number in range(15)]


def spooled_by_an_earlier_process(spool: Path, count: int, **options: object) -> Path:
    """Spool events e0, e1, ... and return the segment that they are in, which was not compressed."""
    gate = Gate()
    gate.fails = True
    # Each hour has segments of its own, and none must begin meanwhile.
    with (
        time_machine.travel("2026-03-01T12:30:00Z"),
        ReceiverThread(gate, spool=spool, **options) as receiver,
    ):
        assert [deliver(receiver.url, body_of(number)) for number in range(count)] == [200] * count
    (path,) = spool.rglob("*.jsonl.gz")
    path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
    path.unlink()
    return path.with_suffix("")


@pytest.mark.parametrize("damage", ["blank", "junk", "drained", "stray"])
def test_damage_in_a_spool_keeps_nothing_else_back(tmp_path: Path, damage: str) -> None:
    path = spooled_by_an_earlier_process(tmp_path, 6)
    lines = path.read_bytes().splitlines(keepends=True)
    damaged = b"\0" * (len(lines[2]) - 1) + b"\n" if damage == "blank" else b"{junk\n"
    stray = tmp_path / "date=2026-13-99" / "hour=77" / "a.000000001.jsonl"
    if damage == "drained":
        (tmp_path / "drained.json").write_bytes(b"")
    elif damage == "stray":
        stray.parent.mkdir(parents=True)
        stray.write_bytes(lines[2])
    else:
        path.write_bytes(b"".join([*lines[:2], damaged, *lines[3:]]))
    gate = Gate()
    with ReceiverThread(gate, spool=tmp_path) as receiver:
        assert deliver(receiver.url, body_of(6)) == 200
        expected = {f"e{number}" for number in range(7) if number != 2 or damage in ("drained", "stray")}
        wait_until(lambda: ids_in(gate) == expected, "all is in the archive")
        wait_until(lambda: not path.parent.exists(), "the spool is empty")
        assert requests.get(f"{receiver.origin}/readyz", timeout=60).json() == {"archive": "ok", "spool": "ok"}
    assert stray.exists() == (damage == "stray")
    kept = [file.read_bytes() for file in tmp_path.glob("damaged/*")]
    assert kept == ([damaged] if damage in ("blank", "junk") else [])


@pytest.mark.parametrize("size", [0, 100])
def test_a_file_of_a_spool_that_is_cut_short_keeps_nothing_else_back(
    tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("linq_webhooks.sinks._segment_writers.ROLL_BYTES", 1)
    gate = Gate()
    gate.fails = True
    with ReceiverThread(gate, spool=tmp_path) as receiver:
        assert [deliver(receiver.url, body_of(number)) for number in range(5)] == [200] * 5
    path = sorted(tmp_path.rglob("*.gz"))[2]
    path.write_bytes(damaged := path.read_bytes()[:size])
    gate.fails = False
    with ReceiverThread(gate, spool=tmp_path):
        wait_until(lambda: not list(tmp_path.glob("date=*")), "the spool is empty")
    assert [event.event_id for event in gate.events] == ["e0", "e1", "e3", "e4"]
    assert [file.read_bytes() for file in tmp_path.glob("damaged/*")] == [damaged]


def test_a_spool_that_cannot_be_read_is_no_secret(tmp_path: Path) -> None:
    spooled_by_an_earlier_process(tmp_path, 3, cipher=BodyCipher(KEY))
    gate = Gate()
    with ReceiverThread(gate, spool=tmp_path, cipher=BodyCipher(OTHER_KEY)) as receiver:
        assert deliver(receiver.url, body_of(3)) == 200
        unreadable = {"archive": "ok", "spool": "failed"}
        wait_until(lambda: requests.get(f"{receiver.origin}/readyz", timeout=60).json() == unreadable, "it is said")
        wait_until(lambda: metrics_of(receiver.url)["linq_webhooks_oldest_spooled_age_seconds"] > 0, "an age is shown")
    with ReceiverThread(gate, spool=tmp_path, cipher=BodyCipher(OTHER_KEY + b" " + KEY)):
        wait_until(lambda: len(gate.events) == 4, "all is in the archive")
    assert sorted(event.event_id for event in gate.events) == ["e0", "e1", "e2", "e3"]


def test_a_spool_takes_over_when_the_archive_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("linq_webhooks._storage._ARCHIVE_SECONDS", 0.5)
    gate = Gate()
    gate.open.clear()
    with ReceiverThread(gate, spool=tmp_path) as receiver:
        assert [deliver(receiver.url, body_of(number)) for number in range(3)] == [200] * 3
        gate.open.set()
        wait_until_drained(receiver.url)
    assert ids_in(gate) == {"e0", "e1", "e2"}


def test_a_spool_belongs_to_one_receiver(tmp_path: Path) -> None:
    with ReceiverThread(Gate(), spool=tmp_path), pytest.raises(Exception, match="used by another receiver"):
        ReceiverThread(Gate(), spool=tmp_path)


def test_a_receiver_that_ends_finishes_what_waits(folder: str) -> None:
    archive: Archive = open_archive(folder)
    receiver = ReceiverThread(archive)
    with ThreadPoolExecutor(8) as pool:
        pending = [pool.submit(deliver, receiver.url, body_of(number)) for number in range(40)]
        wait_until(lambda: any(one.done() for one in pending), "something is acknowledged")
        receiver.stop()
        acknowledged = set()
        for number, one in enumerate(pending):
            if one.exception() is None and one.result() == 200:
                acknowledged.add(f"e{number}")
    assert acknowledged <= set(ids_of(open_archive(folder))[0])
    assert acknowledged


def test_many_lines_of_refusals_become_one(receiver: ReceiverThread, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(50):
            assert requests.post(receiver.url, data=b"{}", timeout=60).status_code == 401
    assert sum("refused" in record.getMessage() for record in caplog.records) < 50 / 2


def test_metrics_are_in_the_form_of_prometheus(receiver: ReceiverThread) -> None:
    assert deliver(receiver.url, body_of(1)) == 200
    page = requests.get(f"{receiver.origin}/metrics", timeout=60)
    assert page.headers["Content-Type"].startswith("text/plain; version=")
    metrics = metrics_of(receiver.url)
    assert metrics["linq_webhooks_received_total"] == 1
    assert metrics['linq_webhooks_written_total{place="archive"}'] == 1
    assert metrics["linq_webhooks_acknowledgement_seconds_count"] == 1
    assert json.dumps(metrics)
