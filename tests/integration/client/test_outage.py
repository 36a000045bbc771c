"""Outages of the API: what fails alone fails alone, and what fails with all others is waited out."""

from __future__ import annotations

import logging
import re
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.ports import free_port
from linq_client import (
    APIConnectionError,
    APIUnavailableError,
    LinqClient,
    LinqError,
    NotFoundError,
    RateLimitedError,
    RetrySettings,
    ServerError,
)
from tests.support.scripted_server import KEY, OK, Handler, Response, Server, envelope, serving
from tests.support.waiting import PATIENCE, wait_until

EMPTY: Response = (200, {}, b'{"messages": [], "next_cursor": null}')

#: Responses that say nothing about the request. None: the connection is closed without one.
FAULTS: dict[str, Response | None] = {
    "503": (503, {}, b"<html>busy</html>"),
    "500": envelope(500, 3006),
    "503, in an hour": (503, {"Retry-After": "3600"}, b""),
    "reset": None,
    "cut": (200, {"Content-Length": "999"}, b'{"mess'),
    "a page": (200, {}, b"<html>be back soon</html>"),
    "nothing": (200, {}, b""),
}


@dataclass
class Trouble:
    """What befalls requests.

    Attributes:
        begins: after how many requests the outage begins.
        lasts: how many requests fail in it.
        hits: the paths that it hits.
        poison: the paths that always fail.
    """

    begins: int = 0
    lasts: int = 0
    hits: str = ""
    poison: str = "$^"
    fault: Response | None = FAULTS["503"]
    seen: int = 0
    failed: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def befalls(self, path: str) -> bool:
        with self.lock:
            self.seen += 1
            if re.search(self.poison, path):
                return True
            fails = self.seen > self.begins and self.failed < self.lasts and self.hits in path
            self.failed += fails
            return fails


@contextmanager
def troubled(trouble: Trouble) -> Iterator[Server]:
    """A platform with any number of chats, all of them empty."""

    class Troubled(Handler):
        def _respond(self) -> None:
            self.fails = trouble.befalls(self.path)
            if self.fails and trouble.fault is None:
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True
            else:
                super()._respond()

        def response(self) -> Response:
            if self.fails and trouble.fault is not None:
                return trouble.fault
            return EMPTY if "/messages" in self.path else OK

        do_GET = _respond

    with serving(OK, handler=Troubled) as server:
        yield server


def patient(url: str, **settings: Any) -> LinqClient:
    """A client that waits for little, but for as long as a test could ever take."""
    retry = RetrySettings(first_wait=0.001, longest_wait=0.01, pause=0.001)
    limits = {"retry": retry, "outage_patience": 600.0, "retry_budget": 600.0, "max_retries": 2}
    return LinqClient(KEY, base_url=url, **limits | settings)


def briefly(one: float, endpoint: float = 600.0) -> RetrySettings:
    return RetrySettings(first_wait=0.001, longest_wait=0.01, pause=0.001, object_outage=one, endpoint_outage=endpoint)


def read_chats(client: LinqClient, chats: int, threads: int) -> dict[int, LinqError]:
    """Read the lines, then all chats; return the errors of chats."""

    def read(chat: int) -> LinqError | None:
        try:
            list(client.messages.list(f"chat{chat}"))
        except LinqError as error:
            return error
        return None

    client.phone_numbers.list()
    with ThreadPoolExecutor(threads) as pool:
        return {chat: error for chat, error in enumerate(pool.map(read, range(chats))) if error is not None}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("hits", ["", "/messages", "/phone_numbers"], ids=["all", "messages", "lines"])
@pytest.mark.parametrize("begins", [0, 1, 2, 15])
def test_an_outage_costs_no_read(fault: Response | None, hits: str, begins: int) -> None:
    # More requests than all threads together make in their tries.
    trouble = Trouble(begins=begins, lasts=25, hits=hits, fault=fault)
    with troubled(trouble) as server, patient(server.url, pool_size=3) as client:
        assert read_chats(client, chats=20, threads=3) == {}
        assert trouble.failed == (0 if begins and hits == "/phone_numbers" else 25)


@settings(max_examples=40, deadline=None)
@given(
    begins=st.integers(0, 40),
    lasts=st.integers(0, 30),
    hits=st.sampled_from(["", "/messages", "/phone_numbers"]),
    fault=st.sampled_from(sorted(FAULTS)),
    threads=st.integers(3, 5),
    chats=st.integers(6, 20),
    data=st.data(),
)
def test_a_chat_that_cannot_be_read_fails_alone(
    begins: int, lasts: int, hits: str, fault: str, threads: int, chats: int, data: st.DataObject
) -> None:
    """Wherever it stands, and also where an outage comes on top."""
    # Fewer than there are threads: those that wait for an endpoint that never worked are not all that read.
    poison = data.draw(st.sets(st.integers(0, chats - 1), max_size=threads - 1))
    path = f"/chat({'|'.join(map(str, poison))})/" if poison else "$^"
    trouble = Trouble(begins, lasts, hits, path, FAULTS[fault])
    with troubled(trouble) as server, patient(server.url, pool_size=threads) as client:
        failed = read_chats(client, chats, threads)
        assert failed.keys() == poison
        assert {type(error) for error in failed.values()} <= {ServerError, APIConnectionError}
        assert client.phone_numbers.list() == []


def test_the_only_chat_fails_alone() -> None:
    with troubled(Trouble(poison="/chat0/")) as server, patient(server.url, retry=briefly(one=0.3)) as client:
        assert type(read_chats(client, chats=1, threads=1)[0]) is ServerError
        assert client.phone_numbers.list() == []
        assert type(read_chats(client, chats=3, threads=1)[0]) is ServerError


@pytest.mark.parametrize("threads", [1, 3])
def test_an_endpoint_that_stays_down_fails_alone(threads: int) -> None:
    """No chat of an account can be read, while lines can: after some time in sum, each fails after its own tries."""
    trouble = Trouble(poison="/messages")
    retry = briefly(one=0.3, endpoint=0.6)
    with troubled(trouble) as server, patient(server.url, retry=retry, outage_patience=3600) as client:
        failed = read_chats(client, chats=30, threads=threads)
        assert {type(error) for error in failed.values()} == {ServerError}
        assert len(failed) == 30
        made = client.stats.requests
        assert read_chats(client, chats=3, threads=1).keys() == {0, 1, 2}
        # The line; and of each chat three tries, and one that shows that lines can be read.
        assert client.stats.requests == made + 1 + 3 * 4
        trouble.poison = "/(chat1|chat2)/"
        assert read_chats(client, chats=3, threads=1).keys() == {1, 2}


def test_an_endpoint_that_goes_down_fails_alone() -> None:
    trouble = Trouble()
    retry = briefly(one=0.1, endpoint=0.5)
    with troubled(trouble) as server, patient(server.url, retry=retry, outage_patience=3600) as client:
        assert read_chats(client, chats=3, threads=3) == {}
        trouble.poison = "/messages"
        failed = read_chats(client, chats=9, threads=3)
        assert {type(error) for error in failed.values()} == {ServerError}
        assert len(failed) == 9
        trouble.poison = "$^"
        assert read_chats(client, chats=9, threads=3) == {}


def test_half_of_all_chats_fail_alone() -> None:
    """Nothing has to be waited for: others show that the endpoint works, and what worked shows it still."""
    retry = briefly(one=3600, endpoint=3600)
    with troubled(Trouble(poison=r"/chat\d*[02468]/")) as server:
        with patient(server.url, retry=retry, outage_patience=3600) as client:
            for _ in range(2):
                assert read_chats(client, chats=60, threads=10).keys() == set(range(0, 60, 2))
            for _ in range(2):
                with pytest.raises(ServerError):
                    list(client.messages.list("chat58"))


WRONG_BODIES = [
    b"[]",
    b"{}",
    b"null",
    b'"busy"',
    b'{"messages": null, "next_cursor": null}',
    b'{"messages": {}, "next_cursor": null}',
    b'{"success": false}',
    b'{"success": false, "error": {"code": 3006}}',
]


@pytest.mark.parametrize("chats", [1, 3])
@pytest.mark.parametrize("body", WRONG_BODIES)
def test_a_response_in_another_form_is_no_outage(body: bytes, chats: int) -> None:
    """The API is there, though all that it says of chats is wrong."""
    trouble = Trouble(poison="/messages", fault=(200, {}, body))
    with troubled(trouble) as server, patient(server.url, outage_patience=3600) as client:
        failed = read_chats(client, chats, threads=1)
        assert {type(error) for error in failed.values()} == {APIConnectionError}
        assert len(failed) == chats
        assert client.stats.requests == 1 + 3 * chats


def test_the_time_for_one_chat_is_longer_than_a_short_outage() -> None:
    assert 45 < RetrySettings().object_outage <= 60 < RetrySettings().endpoint_outage


def test_a_chat_that_cannot_be_read_holds_up_no_other() -> None:
    """It is the first one of all, and would be made again after ten minutes; others show that the endpoint works."""
    retry = RetrySettings(first_wait=600, longest_wait=600)
    with troubled(Trouble(poison="/bad/")) as server:
        with patient(server.url, retry=retry, max_retries=0, outage_patience=3600, retry_budget=600) as client:
            client.phone_numbers.list()
            with ThreadPoolExecutor(1) as pool:
                bad = pool.submit(lambda: list(client.messages.list("bad")))
                wait_until(lambda: len(server.seen) >= 2, "the bad chat was asked for")
                for chat in range(3):
                    list(client.messages.list(f"good{chat}"))
                assert type(bad.exception(PATIENCE)) is ServerError


def test_a_read_that_worked_and_does_no_more_prolongs_no_outage() -> None:
    """What has failed and what is asked to judge it can't be read, both: one that was about to begin shows it."""
    trouble = Trouble(poison="/bad/")
    with troubled(trouble) as server, patient(server.url) as client:
        list(client.messages.list("worked"))
        trouble.poison = "/(bad|worked)/"
        with ThreadPoolExecutor(1) as pool:
            bad = pool.submit(lambda: list(client.messages.list("bad")))
            # One that worked, three tries, one to judge them, and some in the outage.
            wait_until(lambda: len(server.seen) >= 10, "the outage is waited out")
            list(client.messages.list("good"))
            assert type(bad.exception(PATIENCE)) is ServerError


@pytest.mark.parametrize("chats", [0, 5], ids=["from the start", "later"])
def test_patience_ends(chats: int) -> None:
    trouble = Trouble(begins=1 if chats else 0, lasts=10**6)
    with troubled(trouble) as server, patient(server.url, outage_patience=0.5) as client:
        if chats:
            failed = read_chats(client, chats, threads=5)
            assert {type(error) for error in failed.values()} == {APIUnavailableError}
            assert len(failed) == chats
        for _ in range(2):
            with pytest.raises(
                APIUnavailableError, match=r"no read of the API has worked for 0\.5 s.*HTTP 503"
            ) as caught:
                client.phone_numbers.list()
            assert not caught.value.retryable
            assert not caught.value.permanent
        made = len(server.seen)
        with pytest.raises(APIUnavailableError):
            client.messages.get("m")
        assert len(server.seen) == made


def test_without_patience_each_read_fails_by_itself() -> None:
    with troubled(Trouble(lasts=3)) as server, patient(server.url, outage_patience=0) as client:
        with pytest.raises(ServerError):
            client.phone_numbers.list()
        assert client.phone_numbers.list() == []


def test_refused_connections_are_waited_out() -> None:
    port = free_port()
    with patient(f"http://127.0.0.1:{port}") as client, ThreadPoolExecutor(3) as pool:
        reads = [pool.submit(client.phone_numbers.list) for _ in range(3)]
        wait_until(lambda: client.stats.requests >= 15, "all are refused")
        server = Server([OK], port)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            assert [read.result(PATIENCE) for read in reads] == [[], [], []]
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


def test_what_the_api_says_of_a_read_is_no_outage() -> None:
    """Not while it asks again, either: it is the answer to the read."""
    trouble = Trouble(begins=1, lasts=10, fault=FAULTS["500"])
    with troubled(trouble) as server, patient(server.url) as client:
        client.phone_numbers.list()

        class Gone(server.RequestHandlerClass):  # type: ignore[name-defined]
            def response(self) -> Response:
                return super().response() if self.fails else envelope(404, 2001)

        server.RequestHandlerClass = Gone
        with pytest.raises(NotFoundError):
            list(client.messages.list("gone"))
        assert client.stats.requests == 12


@pytest.mark.parametrize(("threads", "max_retries"), [(1, 2), (8, 0)], ids=["tries", "threads"])
def test_the_log_of_an_outage_is_short(threads: int, max_retries: int, caplog: pytest.LogCaptureFixture) -> None:
    # It begins between two reads: one that is under way and works after the first failure makes two of it. And threads
    # make one try each: the first of several might be noted when the outage is over.
    trouble = Trouble(begins=2, lasts=60, hits="/messages")
    with troubled(trouble) as server, patient(server.url, pool_size=8, max_retries=max_retries) as client:
        list(client.messages.list("before"))
        with caplog.at_level(logging.INFO, logger="linq_client"):
            assert read_chats(client, chats=40, threads=threads) == {}
    *first, begin, end = (record.getMessage() for record in caplog.records)
    assert [line.partition(" failed")[0] for line in first] == ["try 1"] * (max_retries > 0)
    assert begin.startswith("reads fail, and are made again for up to 600 s until the API answers: GET /v3/chats/")
    assert re.fullmatch(r"reads work again, after \d+ s", end)


def limited(retry_after: str) -> Response:
    return 429, {"Retry-After": retry_after}, b"{}"


def test_a_limit_longer_than_the_budget_fails_no_read() -> None:
    trouble = Trouble(begins=4, lasts=6, fault=limited("1"))
    with troubled(trouble) as server, patient(server.url, retry_budget=0.5, max_retries=0, pool_size=3) as client:
        assert read_chats(client, chats=10, threads=3) == {}
        assert trouble.failed == 6


def test_a_limit_that_never_ends_uses_patience_up() -> None:
    trouble = Trouble(begins=1, lasts=10**6, fault=limited("86400"))
    with troubled(trouble) as server, patient(server.url, outage_patience=0.5, pool_size=3) as client:
        failed = read_chats(client, chats=5, threads=3)
        assert {type(error) for error in failed.values()} == {APIUnavailableError}
        assert len(failed) == 5


def test_a_limit_of_one_read_alone_is_its_own() -> None:
    trouble = Trouble(poison="/busy/", fault=limited("0"))
    # Idle reads have to work at shorter intervals than this, or nothing works.
    with troubled(trouble) as server, patient(server.url, outage_patience=2) as client, ThreadPoolExecutor(1) as pool:
        busy = pool.submit(lambda: list(client.messages.list("busy")))
        while not busy.done():
            list(client.messages.list("idle"))
        assert type(busy.exception()) is RateLimitedError
        list(client.messages.list("idle"))


def test_sends_do_not_wait_for_reads() -> None:
    """Nor do they say anything about them: their limits and their faults are those of one recipient."""

    class ReadsFail(Handler):
        def response(self) -> Response:
            return (503, {}, b"") if self.command == "GET" else (204, {}, b"")

    with serving(OK, handler=ReadsFail) as server, patient(server.url) as client, ThreadPoolExecutor(1) as pool:
        read = pool.submit(client.phone_numbers.list)
        wait_until(lambda: len(server.seen) >= 10, "the read is repeated")
        client.chats.mark_read("c")
        assert not read.done()
        client.abort()
        assert read.exception(PATIENCE) is not None
