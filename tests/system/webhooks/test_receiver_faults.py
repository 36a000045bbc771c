"""The receiver when the disk is full, for archive and spool, and under a flood of requests that nobody has signed."""

from __future__ import annotations

import resource
import signal
import socket
import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from uuid import uuid4

import psutil
import psycopg
import pytest
import requests

from linq_webhooks.archive import open_archive
from tests.support.postgres import for_sqlalchemy
from tests.support.waiting import PATIENCE, wait_until
from tests.support.webhook_events import ids_of
from tests.support.webhook_receiver import ReceiverProcess, body_of, deliver, metrics_of, signed, wait_until_drained


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="needs Linux, to limit files of another process")
@pytest.mark.parametrize("has_spool", [False, True])
def test_a_full_disk_loses_nothing_and_needs_no_restart(tmp_path: Path, has_spool: bool) -> None:
    archive = tmp_path / "archive"
    options = ["--spool", str(tmp_path / "spool")] if has_spool else []
    with ReceiverProcess(str(archive), *options) as receiver:
        acknowledged = {f"e{number}" for number in range(5) if deliver(receiver.url, body_of(number)) == 200}
        assert len(acknowledged) == 5
        pid = receiver.process.pid
        # No file can grow beyond this: as when the disk is full, also in the middle of a line.
        unlimited = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (100, unlimited[1]))
        assert [deliver(receiver.url, body_of(number)) for number in range(5, 10)] == [503] * 5
        origin = receiver.url.split("/webhooks")[0]
        assert requests.get(f"{origin}/healthz", timeout=60).ok
        resource.prlimit(pid, resource.RLIMIT_FSIZE, unlimited)
        for number in range(5, 10):
            assert deliver(receiver.url, body_of(number)) == 200
        wait_until_drained(receiver.url)
        assert receiver.stop() == 0
    assert set(ids_of(open_archive(str(archive)))[0]) == {f"e{number}" for number in range(10)}


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="needs Linux, to limit files of another process")
def test_a_spool_whose_disk_is_full_is_still_emptied(postgres_server: str, tmp_path: Path) -> None:
    """The archive is back, and how far the spool was moved can't be written down."""
    name = f"late_{uuid4().hex}"
    url = for_sqlalchemy(postgres_server.replace("/postgres?", f"/{name}?"))
    spool = tmp_path / "spool"
    with ReceiverProcess(url, "--spool", str(spool)) as receiver:
        assert [deliver(receiver.url, body_of(number)) for number in range(20)] == [200] * 20
        pid = receiver.process.pid
        unlimited = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (10, unlimited[1]))
        assert deliver(receiver.url, body_of(20)) == 503
        with psycopg.connect(postgres_server, autocommit=True) as connection:
            connection.execute(f"create database {name}")
        # Events go past the spool from the moment on in which it is cleared, and that is after the last one was moved.
        wait_until(lambda: not list(spool.glob("date=*")), "the spool is cleared")
        assert deliver(receiver.url, body_of(20)) == 200
    archive = open_archive(url)
    assert ids_of(archive)[0] == [f"e{number}" for number in range(21)]
    archive.close()


def test_a_flood_that_nobody_signed_hides_no_genuine_delivery(tmp_path: Path, is_full: bool) -> None:
    stop = threading.Event()
    sent = [0]
    big = b"POST /webhooks/linq HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000\r\n\r\n" + b"x" * 100_000

    def flood() -> None:
        while not stop.is_set():
            connections = []
            try:
                for _ in range(20):
                    connection = socket.create_connection(("127.0.0.1", receiver.port), 60)
                    connections.append(connection)
                    connection.sendall(big)
                    sent[0] += 1
                requests.post(receiver.url, data=b"{}", timeout=60)
            except OSError:
                pass  # it was cut off
            finally:
                for connection in connections:
                    connection.close()

    def stream() -> None:
        """Bodies of 100 MB whose length nobody knows, until they are cut off."""
        chunk = b"f4240\r\n" + b"x" * 1_000_000 + b"\r\n"
        while not stop.is_set():
            with suppress(OSError), socket.create_connection(("127.0.0.1", receiver.port), 60) as connection:
                connection.sendall(b"POST /webhooks/linq HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
                for _ in range(100):
                    connection.sendall(chunk)
                    sent[0] += 1

    def trickle() -> None:
        """More connections than bodies are read at a time, each with a byte now and then."""
        while not stop.is_set():
            with ExitStack() as slow, suppress(OSError):
                for _ in range(600):
                    connection = slow.enter_context(socket.create_connection(("127.0.0.1", receiver.port), 60))
                    connection.sendall(b"POST /webhooks/linq HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
                    sent[0] += 1
                stop.wait(1)

    with ReceiverProcess(str(tmp_path / "archive"), log=tmp_path / "log") as receiver:
        assert deliver(receiver.url, body_of(0)) == 200
        before = psutil.Process(receiver.process.pid).memory_info().rss
        floods = [flood] * 4 + [stream, trickle] * is_full
        threads = [threading.Thread(target=one) for one in floods]
        for thread in threads:
            thread.start()
        try:
            wait_until(lambda: sent[0] > 20, "it is flooded")
            pending = list(range(1, 200 if is_full else 60))
            while pending:
                # What gets no 2xx comes again, as from the platform.
                pending = [number for number in pending if deliver_or_not(receiver.url, number) != 200]
            after = psutil.Process(receiver.process.pid).memory_info().rss
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        metrics = metrics_of(receiver.url)
    assert after - before < 150_000_000
    assert metrics['linq_webhooks_written_total{place="archive"}'] < 2000
    ids = ids_of(open_archive(str(tmp_path / "archive")))[0]
    assert set(ids) == {f"e{number}" for number in range(200 if is_full else 60)}
    assert len((tmp_path / "log").read_bytes()) < 100_000


def deliver_or_not(url: str, number: int) -> int:
    try:
        return deliver(url, body_of(number))
    except requests.RequestException:
        return 0


def test_it_is_stopped_by_the_signals_of_a_terminal_too(tmp_path: Path) -> None:
    assert ReceiverProcess(str(tmp_path)).stop(signal.SIGINT) == 0


def test_a_second_signal_drops_nothing_that_is_under_way(tmp_path: Path) -> None:
    """As of somebody who presses Ctrl-C twice."""
    body = body_of(1)
    head = "".join(f"{name}: {value}\r\n" for name, value in signed(body).items())
    with ReceiverProcess(str(tmp_path / "archive"), log=tmp_path / "log") as receiver:
        with socket.create_connection(("127.0.0.1", receiver.port), 60) as connection:
            connection.sendall(
                f"POST /webhooks/linq HTTP/1.1\r\nHost: x\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode()
            )
            wait_until(lambda: metrics_of(receiver.url)["linq_webhooks_received_total"] == 1, "it is under way")
            receiver.process.send_signal(signal.SIGINT)
            wait_until(lambda: not accepts(receiver.port), "it takes no more")
            receiver.process.send_signal(signal.SIGINT)
            connection.sendall(body)
            assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
        assert receiver.process.wait(PATIENCE) == 0
    assert ids_of(open_archive(str(tmp_path / "archive")))[0] == ["e1"]
    assert "Traceback" not in (tmp_path / "log").read_text()


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 60).close()
    except ConnectionError:
        return False
    return True
