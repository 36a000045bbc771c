"""An exchange ends, whatever the other side does: its deadline."""

from __future__ import annotations

import gc
import io
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from linq_client import APIConnectionError, Effect, LinqClient
from tests.support.scripted_server import (
    KEY,
    NO_WAIT,
    OK,
    Handler,
    RawServer,
    Response,
    drip_body,
    drip_headers,
    raw_serving,
    say_nothing,
    serving,
)

Behaviour = Callable[[RawServer, socket.socket], None]

#: So long that each of them would fail the run by itself.
PATIENT = (600.0, 600.0)


def drip_chunks(server: RawServer, connection: socket.socket) -> None:
    connection.recv(65536)
    server.drip(connection, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n")


def impatient(url: str, **settings: Any) -> LinqClient:
    return LinqClient(KEY, base_url=url, timeout=PATIENT, deadline=0.4, max_retries=0, **settings)


@pytest.mark.parametrize("behaviour", [say_nothing, drip_headers, drip_body, drip_chunks])
@pytest.mark.parametrize(
    ("call", "effect"),
    [
        (lambda client: client.phone_numbers.list(), Effect.NONE),
        (lambda client: client.messages.send("c", "Hi"), Effect.UNKNOWN),
    ],
    ids=["read", "send"],
)
def test_a_response_that_never_ends_is_left(
    behaviour: Behaviour, call: Callable[[LinqClient], object], effect: Effect
) -> None:
    with raw_serving(behaviour) as server, impatient(server.url) as client:
        with pytest.raises(APIConnectionError, match=r"no complete response within 0\.4 s") as caught:
            call(client)
    assert caught.value.effect is effect
    assert caught.value.retryable


#: Where the deadline comes between connection and handshake, `ssl` leaves its socket to the garbage collector.
left_to_gc = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@left_to_gc  # headers that were cut off pass for whole ones, so that the handshake begins
@pytest.mark.parametrize("behaviour", [say_nothing, drip_headers], ids=["silent", "dripping"])
def test_a_proxy_that_never_connects_is_left(behaviour: Behaviour) -> None:
    with raw_serving(behaviour) as proxy, impatient("https://api.example", proxy=proxy.url) as client:
        with pytest.raises(APIConnectionError, match="no complete response"):
            client.phone_numbers.list()
    gc.collect()  # here, and not in a later test


@left_to_gc
def test_a_tls_handshake_that_never_ends_is_left() -> None:
    with raw_serving(say_nothing) as server, impatient(f"https://{server.address}") as client:
        with pytest.raises(APIConnectionError, match="no complete response"):
            client.phone_numbers.list()
    gc.collect()  # here, and not in a later test


def test_an_upload_that_nobody_takes_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("linq_client._transport.SLOWEST_TRANSFER", 1e9)
    with raw_serving(say_nothing) as server, impatient(server.url) as client:
        with pytest.raises(APIConnectionError, match="no complete response"):
            # Enough to fill the buffers of both sides.
            client.transfer("PUT", f"{server.url}/f", data=b"0" * 16_000_000)


@pytest.mark.parametrize("behaviour", [drip_headers, drip_body, drip_chunks])
def test_a_download_that_never_ends_is_left(behaviour: Behaviour) -> None:
    with raw_serving(behaviour) as server, impatient(server.url) as client:
        with pytest.raises(APIConnectionError, match="no complete response"):
            client.transfer("GET", f"{server.url}/f", into=io.BytesIO(), max_bytes=10_000)


def test_a_file_gets_time_by_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that takes half a second for a megabyte, and gives it back as slowly: longer than the deadline."""
    monkeypatch.setattr("linq_client._transport.SLOWEST_TRANSFER", 10_000)
    size = 1_000_000

    def slow(server: RawServer, connection: socket.socket) -> None:
        left = size
        while left > 0:
            got = connection.recv(50_000)
            left -= len(got)
            server.ended.wait(0.02)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\nConnection: close\r\n\r\n")
        for _ in range(20):
            server.ended.wait(0.03)
            connection.sendall(b"0" * 50_000)

    with raw_serving(slow) as server, impatient(server.url) as client:
        assert client.transfer("PUT", f"{server.url}/f", data=b"0" * size, into=io.BytesIO()) == size


def test_the_connection_of_an_exchange_that_was_left_is_not_used_again() -> None:
    is_over = threading.Event()
    ports: list[int] = []

    class FirstHangs(Handler):
        def response(self) -> Response:
            ports.append(self.client_address[1])
            if len(ports) == 1:
                is_over.wait()
            return super().response()

    with serving(OK, handler=FirstHangs) as server:
        settings = {"timeout": PATIENT, "deadline": 0.4, "retry": NO_WAIT}
        with LinqClient(KEY, base_url=server.url, **settings) as client:
            assert client.phone_numbers.list() == []
            is_over.set()
            for _ in range(5):
                assert client.phone_numbers.list() == []
    assert len(ports) >= 7
    assert ports.count(ports[0]) == 1
