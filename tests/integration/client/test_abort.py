"""`LinqClient.abort`: whatever a thread waits for, it ends, and nothing begins any more."""

from __future__ import annotations

import io
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest

from linq_client import ClientClosedError, Effect, LinqClient, RetrySettings
from tests.support.scripted_server import (
    KEY,
    OK,
    Handler,
    RawServer,
    Response,
    Responses,
    Server,
    drip_body,
    drip_headers,
    raw_serving,
    say_nothing,
    serving,
)

#: What a thread must not take after `abort`. It takes a quarter of a second where nothing else runs.
SOON = 60.0


class Caller(threading.Thread):
    """Makes a call and keeps the error that it ends with."""

    def __init__(self, call: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self.call = call
        self.error: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            self.call()
        except Exception as error:
            self.error = error

    def ended_with(self) -> Exception | None:
        self.join(SOON)
        assert not self.is_alive()
        return self.error


def patient(url: str, **settings: Any) -> LinqClient:
    """A client each of whose waits would fail the run by itself."""
    limits = {"timeout": (600.0, 600.0), "deadline": 600.0, "retry_budget": 600.0}
    return LinqClient(KEY, base_url=url, **limits | settings)


def read(client: LinqClient) -> object:
    return client.phone_numbers.list()


@contextmanager
def deaf() -> Iterator[str]:
    """An address that takes no connection: whoever connects waits for it."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = []
        for _ in range(8):
            waiting.append(socket.socket())
            waiting[-1].settimeout(0.2)
            try:
                waiting[-1].connect(listener.getsockname())
            except TimeoutError:
                break
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        for one in waiting:
            one.close()


def leave_handshake(server: RawServer, connection: socket.socket) -> None:
    """A handshake that never ends, and has begun: `ssl` leaves a socket that ends before to the garbage collector."""
    connection.recv(1)
    say_nothing(server, connection)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("behaviour", [say_nothing, drip_headers, drip_body])
def test_an_exchange_under_way_ends(behaviour: Callable[[RawServer, socket.socket], None], scheme: str) -> None:
    if scheme == "https":
        behaviour = leave_handshake
    with (
        raw_serving(behaviour) as server,
        patient(f"{scheme}://{server.address}") as client,
    ):
        calls = [Caller(lambda: read(client)) for _ in range(3)]
        for _ in calls:
            server.reached.acquire()
        client.abort()
        assert {type(call.ended_with()) for call in calls} == {ClientClosedError}


def test_a_connection_that_is_not_made_ends() -> None:
    with deaf() as address, patient(f"http://{address}") as client:
        calls = [Caller(lambda: read(client)) for _ in range(3)]
        calls[0].join(0.3)  # it gets as far as it can
        client.abort()
        assert {type(call.ended_with()) for call in calls} == {ClientClosedError}


@pytest.mark.parametrize("method", ["PUT", "GET"])
def test_a_file_under_way_ends(method: str) -> None:
    behaviour = say_nothing if method == "PUT" else drip_body
    data = b"0" * 16_000_000 if method == "PUT" else None
    with raw_serving(behaviour) as server, patient(server.url) as client:
        call = Caller(lambda: client.transfer(method, f"{server.url}/f", data=data, into=io.BytesIO()))
        server.reached.acquire()
        client.abort()
        assert isinstance(call.ended_with(), ClientClosedError)


class Counted(Handler):
    """Says when it has responded."""

    def _respond(self) -> None:
        super()._respond()
        self.server.responded.release()

    do_GET = do_POST = _respond


@contextmanager
def counted(*responses: Response) -> Iterator[Server]:
    with serving(*responses, handler=Counted) as server:
        server.responded = threading.Semaphore(0)
        yield server


WAITS: dict[str, tuple[Responses, dict[str, Any]]] = {
    "between two tries": ([(503, {}, b"")], {"retry": RetrySettings(first_wait=600, longest_wait=600)}),
    "in a pause": ([(429, {"Retry-After": "500"}, b"")], {}),
    "in a pause, patiently": ([(429, {"Retry-After": "500"}, b"")], {"outage_patience": 600}),
    "in an outage": (
        [(503, {}, b"")],
        {"outage_patience": 600, "max_retries": 0, "retry": RetrySettings(first_wait=600, longest_wait=600)},
    ),
}


@pytest.mark.parametrize(("responses", "settings"), WAITS.values(), ids=WAITS)
def test_a_wait_ends(responses: Responses, settings: dict[str, Any]) -> None:
    with counted(*responses) as server:
        with patient(server.url, **settings) as client:
            calls = [Caller(lambda: read(client)) for _ in range(3)]
            server.responded.acquire()
            calls[0].join(0.2)  # it gets as far as it can
            client.abort()
            assert {type(call.ended_with()) for call in calls} == {ClientClosedError}


def test_a_thread_that_waits_for_a_connection_ends() -> None:
    with raw_serving(drip_headers) as server:
        with patient(server.url, pool_size=1) as client:
            calls = [Caller(lambda: client.messages.send("c", "Hi")) for _ in range(5)]
            server.reached.acquire()
            client.abort()
            assert {type(call.ended_with()) for call in calls} == {ClientClosedError}


def test_nothing_begins_afterwards() -> None:
    with serving(OK) as server, LinqClient(KEY, base_url=server.url) as client:
        read(client)
        client.abort()
        for call in (
            lambda: read(client),
            lambda: client.messages.send("c", "Hi"),
            lambda: client.chats.share_contact_card("c"),
            lambda: client.transfer("GET", f"{server.url}/f", into=io.BytesIO()),
        ):
            with pytest.raises(ClientClosedError) as caught:
                call()
            assert caught.value.effect is Effect.NONE
        assert len(server.seen) == 1


def test_a_client_that_has_made_no_request_is_aborted_too() -> None:
    with serving(OK) as server, LinqClient(KEY, base_url=server.url) as client:
        client.abort()
        with pytest.raises(ClientClosedError):
            read(client)
        assert server.seen == []


def test_other_clients_go_on() -> None:
    with raw_serving(drip_headers) as dripping, serving(OK) as server:
        with patient(dripping.url) as ended, LinqClient(KEY, base_url=server.url) as other:
            call = Caller(lambda: read(ended))
            dripping.reached.acquire()
            ended.abort()
            assert isinstance(call.ended_with(), ClientClosedError)
            assert read(other) == []


@pytest.mark.parametrize("responses", [[(503, {}, b"")], [(409, {}, b'{"error": {"code": 2009}}')]])
def test_what_a_send_has_done_before_is_said(responses: Responses) -> None:
    """It waits for its second try, and the first one may have been done."""
    retry = RetrySettings(first_wait=600, longest_wait=600)
    with counted(*responses) as server:
        with patient(server.url, retry=retry) as client:
            call = Caller(lambda: client.messages.send("c", {"parts": ["Hi"], "idempotency_key": "k"}))
            server.responded.acquire()
            call.join(0.2)  # it gets as far as it can
            client.abort()
            error = call.ended_with()
    assert isinstance(error, ClientClosedError)
    assert (error.effect, error.idempotency_key) == (Effect.UNKNOWN, "k")


@contextmanager
def on_signal(handler: Callable[[], None]) -> Iterator[None]:
    def handle(number: int, frame: FrameType | None) -> None:
        handler()

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)


def interrupt_after(event: threading.Semaphore, settle: float = 0.0) -> threading.Thread:
    """Send the main thread a signal after an event, and a little later."""

    def run() -> None:
        event.acquire()
        threading.Event().wait(settle)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.mark.parametrize("behaviour", [drip_headers, drip_body, say_nothing])
def test_a_signal_handler_may_abort_what_the_main_thread_reads(
    behaviour: Callable[[RawServer, socket.socket], None],
) -> None:
    with raw_serving(behaviour) as server, patient(server.url) as client:
        with on_signal(client.abort):
            thread = interrupt_after(server.reached)
            with pytest.raises(ClientClosedError):
                read(client)
            thread.join()


@pytest.mark.parametrize(("responses", "settings"), WAITS.values(), ids=WAITS)
def test_a_signal_handler_may_abort_what_the_main_thread_waits_for(
    responses: Responses, settings: dict[str, Any]
) -> None:
    with counted(*responses) as server:
        with patient(server.url, **settings) as client, on_signal(client.abort):
            thread = interrupt_after(server.responded, 0.2)
            with pytest.raises(ClientClosedError):
                read(client)
            thread.join()


def read_for_ever(client: LinqClient) -> None:
    while True:
        read(client)


def test_a_signal_handler_may_abort_at_any_moment() -> None:
    """Signals hit the main thread wherever it is: also where it holds a lock of the client's."""
    with serving(OK) as server:
        for _ in range(40):
            with LinqClient(KEY, base_url=server.url) as client, on_signal(client.abort):
                ready = threading.Semaphore(0)
                thread = interrupt_after(ready)
                read(client)
                ready.release()
                with pytest.raises(ClientClosedError):
                    read_for_ever(client)
                thread.join()
