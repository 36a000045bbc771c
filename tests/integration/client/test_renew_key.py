"""An API key that is renewed while a client works with it."""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from linq_client import AuthenticationError, Effect, LinqClient
from tests.integration.client.test_verdict import CALLS
from tests.support.scripted_server import KEY, OK, Handler, Response, Server, client_of, envelope, serving
from tests.support.waiting import PATIENCE

NEW = "the-renewed-key"
REFUSED = envelope(401, 2004)
SENT = (
    b'{"chat_id": "c", "message": {"id": "m", "created_at": "2026-03-01T12:00:00Z", "delivery_status": "queued"},'
    b'"phone_numbers": []}'
)


class Renewed(Handler):
    """Takes the renewed key alone."""

    def response(self) -> Response:
        right = self.headers["Authorization"] == f"Bearer {NEW}"
        return super().response() if right else REFUSED


def keys_seen(server: Server) -> list[str]:
    return [headers["authorization"].removeprefix("Bearer ") for _, _, headers in server.seen]


class Source:
    """Where a key comes from: gives prepared ones, the last one for ever, and counts."""

    def __init__(self, *keys: str | Exception | None) -> None:
        self.keys = list(keys)
        self.asked = 0

    def __call__(self) -> str:
        self.asked += 1
        key = self.keys.pop(0) if len(self.keys) > 1 else self.keys[0]
        if isinstance(key, Exception):
            raise key
        return key  # type: ignore[return-value]  # a source may be wrong


@pytest.mark.parametrize("call", CALLS.values(), ids=[kind.name for kind in CALLS])
def test_the_request_is_made_again_with_the_renewed_key(call: Callable[[LinqClient], object]) -> None:
    """Also one that may not be repeated otherwise: a request whose key was refused did nothing."""
    source = Source(NEW)
    with serving((200, {}, SENT), handler=Renewed) as server:
        with LinqClient(KEY, base_url=server.url, max_retries=0, renew_key=source) as client:
            call(client)
            call(client)
    assert keys_seen(server) == [KEY, NEW, NEW]
    assert source.asked == 1
    assert server.bodies[0] == server.bodies[1], "the same request, with the same idempotency key"


def test_the_same_key_is_refused_for_good() -> None:
    source = Source(KEY)
    with serving(REFUSED) as server, LinqClient(KEY, base_url=server.url, renew_key=source) as client:
        with pytest.raises(AuthenticationError) as caught:
            client.messages.send("c", "Hi")
    assert (caught.value.permanent, caught.value.effect) == (True, Effect.NONE)
    assert (len(server.seen), source.asked) == (1, 1)


def test_without_a_source_a_key_is_refused_for_good() -> None:
    with serving(REFUSED) as server, client_of(server) as client, pytest.raises(AuthenticationError) as caught:
        client.phone_numbers.list()
    assert caught.value.permanent
    assert len(server.seen) == 1


def test_a_page_of_a_gateway_says_nothing_about_the_key() -> None:
    source = Source(NEW)
    with serving((401, {}, b"<html>log in</html>")) as server:
        with LinqClient(KEY, base_url=server.url, renew_key=source) as client:
            with pytest.raises(AuthenticationError) as caught:
                client.messages.send("c", "Hi")
    assert (caught.value.permanent, caught.value.verdict, caught.value.effect) == (False, False, Effect.UNKNOWN)
    assert (len(server.seen), source.asked) == (1, 0)


@pytest.mark.parametrize("wrong", [OSError(f"the vault is sealed, last key {NEW}"), None, "", "a b"])
def test_a_source_that_fails_leaves_it_open(wrong: Exception | str | None, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody knows whether the key has been renewed: another try may find out."""
    caplog.set_level(logging.DEBUG)
    source = Source(wrong, NEW)
    with serving(OK, handler=Renewed) as server, LinqClient(KEY, base_url=server.url, renew_key=source) as client:
        with pytest.raises(AuthenticationError) as caught:
            client.phone_numbers.list()
        assert (caught.value.verdict, caught.value.permanent) == (True, False)
        assert client.phone_numbers.list() == []
    assert "renew_key failed" in caplog.text
    assert KEY not in caplog.text
    assert NEW not in caplog.text


def test_a_key_that_was_renewed_twice() -> None:
    source = Source("revoked-too", NEW)
    with serving(OK, handler=Renewed) as server, LinqClient(KEY, base_url=server.url, renew_key=source) as client:
        assert client.phone_numbers.list() == []
    assert keys_seen(server) == [KEY, "revoked-too", NEW]


def test_a_source_of_ever_other_keys_ends() -> None:
    source = Source(*(f"key-{number}" for number in range(20)))
    with serving(REFUSED) as server, LinqClient(KEY, base_url=server.url, renew_key=source) as client:
        with pytest.raises(AuthenticationError):
            client.phone_numbers.list()
        assert len(server.seen) == 3
        assert client.stats.requests == 3


def test_a_renewed_key_forgets_no_lost_try() -> None:
    """The first try may have sent the message; that the key was refused afterwards says nothing about that."""
    cut = (202, {"Content-Length": "999"}, b"{")
    with serving(cut, REFUSED) as server, client_of(server) as client, pytest.raises(AuthenticationError) as caught:
        client.messages.send("c", "Hi")
    assert (caught.value.effect, caught.value.permanent) == (Effect.UNKNOWN, True)


def test_threads_renew_a_key_together() -> None:
    """All fail with the old key together; the first one to ask gets the new key for all."""
    together = threading.Barrier(8)

    class Together(Renewed):
        def response(self) -> Response:
            if self.headers["Authorization"] == f"Bearer {KEY}":
                together.wait(PATIENCE)
            return super().response()

    source = Source(NEW)
    with serving(OK, handler=Together) as server:
        with LinqClient(KEY, base_url=server.url, pool_size=8, renew_key=source) as client:
            with ThreadPoolExecutor(8) as pool:
                assert list(pool.map(lambda _: client.phone_numbers.list(), range(8))) == [[]] * 8
    assert source.asked == 1
    assert sorted(keys_seen(server)) == sorted([KEY] * 8 + [NEW] * 8)


def test_a_source_is_asked_by_one_thread_at_a_time() -> None:
    two = threading.Barrier(2)
    asked: list[bool] = []

    def source() -> str:
        with suppress(threading.BrokenBarrierError):
            two.wait(0.3)
            asked.append(True)
        return KEY

    with serving(REFUSED) as server, ThreadPoolExecutor(8) as pool:
        with LinqClient(KEY, base_url=server.url, pool_size=8, renew_key=source) as client:
            errors = [each.exception() for each in [pool.submit(client.phone_numbers.list) for _ in range(24)]]
    assert not asked, "two threads asked together"
    assert all(isinstance(error, AuthenticationError) and error.permanent for error in errors)


def test_files_have_no_key_to_renew() -> None:
    source = Source(NEW)
    with serving(REFUSED) as files, serving() as server:
        server.responses.append((200, {}, b'{"id": "a", "filename": "f", "download_url": "%s/f"}' % files.url.encode()))
        with LinqClient(KEY, base_url=server.url, renew_key=source) as client:
            with pytest.raises(AuthenticationError):
                client.attachments.download("a", io.BytesIO())
    assert (source.asked, len(files.seen)) == (0, 1)
