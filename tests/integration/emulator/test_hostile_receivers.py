"""Receivers of webhooks that do not answer as they should: the emulator leaves them, and goes on."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from linq_client import LinqClient
from linq_emulator.testing import EmulatorThread
from tests.support.waiting import PATIENCE, wait_until

ANN = "+12025550150"

Behaviour = Callable[[socket.socket, threading.Event], None]


@contextmanager
def answering(behave: Behaviour) -> Iterator[tuple[str, threading.Event, list[bytes]]]:
    """A receiver: its URL, an event that is set when a client has left an answer, and the heads of requests."""
    left, over = threading.Event(), threading.Event()
    heads: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        with connection:
            try:
                received = b""
                while b"\r\n\r\n" not in received:
                    received += connection.recv(65536)
                heads.append(received)
                behave(connection, over)
            except OSError:
                left.set()

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/hook", left, heads
        over.set()


def forever(begin: bytes, piece: bytes, pause: float) -> Behaviour:
    def behave(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(begin)
        while not over.wait(pause):
            connection.sendall(piece)

    return behave


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[EmulatorThread]:
    """One that waits for receivers half a second."""
    monkeypatch.setattr("linq_emulator.domain.webhooks.TIMEOUT_SECONDS", 0.5)
    with EmulatorThread() as emulator:
        yield emulator


def subscribe(emulator: EmulatorThread, url: str, **more: str) -> None:
    with LinqClient(emulator.api_key, base_url=emulator.base_url) as client:
        client.webhook_subscriptions.create(url, ["message.received"], **more)


@pytest.mark.parametrize(
    "behave",
    [
        forever(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x", 0.1),
        forever(b"", b"HTTP/1.1 102 Processing\r\n\r\n", 0.1),
    ],
)
def test_an_answer_that_never_comes_to_its_body_is_none(emulator: EmulatorThread, behave: Behaviour) -> None:
    with answering(behave) as (url, left, _):
        subscribe(emulator, url)
        emulator.inbound(ANN, "hello")
        [attempt] = wait_until(lambda: emulator.webhook_deliveries()[0]["attempts"], "the attempt has ended")
        assert (attempt["status"], attempt["error"]) == (None, "TimeoutError")
        assert left.wait(PATIENCE)


@pytest.mark.parametrize(
    "behave",
    [
        forever(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b"x", 0.1),
        forever(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1000\r\n" + b"x" * 4096 + b"\r\n", 0),
    ],
)
def test_the_body_of_an_answer_need_not_end(emulator: EmulatorThread, behave: Behaviour) -> None:
    with answering(behave) as (url, left, _):
        subscribe(emulator, url)
        emulator.inbound(ANN, "hello")
        wait_until(lambda: emulator.webhook_deliveries()[0]["state"] == "delivered", "it is delivered")
        assert left.wait(PATIENCE)


def test_a_routing_key_goes_back_as_it_came(emulator: EmulatorThread) -> None:
    key = "schlüssel-0".encode()

    def behave(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nRouting-Key: " + key + b"\r\nConnection: close\r\n\r\n")

    with answering(behave) as (url, _, heads):
        subscribe(emulator, url, routing_key_header="Routing-Key")
        for number in (1, 2):
            emulator.inbound(ANN, "hello")
            wait_until(
                lambda number=number: [one["state"] for one in emulator.webhook_deliveries()] == ["delivered"] * number,
                "it is delivered",
            )
    assert b"Routing-Key" not in heads[0]
    assert b"Routing-Key: " + key + b"\r\n" in heads[1]
