"""The hook: what it makes of a connection, and the Test button."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk import Connection

from airflow_provider_linq.hooks.linq import LinqHook
from tests.support.emulator_process import Emulator
from tests.support.scripted_server import drip_body, raw_serving


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make any connection id look up a connection with these fields."""

    def connection(**fields: Any) -> None:
        made = Connection(conn_id="linq_default", conn_type="linq", **{"password": "a-key", **fields})
        monkeypatch.setattr(LinqHook, "get_connection", lambda self, conn_id: made)

    return connection


def test_the_test_button_names_the_lines(emulator: Emulator, connect: Callable[..., None]) -> None:
    assert LinqHook().test_connection() == (True, "2 lines: +12025550101 HEALTHY, +12025550102 HEALTHY")


def test_the_test_button_looks_at_the_default_line(emulator: Emulator, connect: Callable[..., None]) -> None:
    connect(default_line="+12025550199")
    refusal = (
        "default line +12025550199 is not a line of this account, which has +12025550101 HEALTHY, +12025550102 HEALTHY"
    )
    assert LinqHook().test_connection() == (False, refusal)
    connect(default_line="+12025550102", retention_window_hours=24)
    found = "2 lines: +12025550102 HEALTHY, +12025550101 HEALTHY; messages expire after 24 hours"
    assert LinqHook().test_connection() == (True, found)


def test_a_connection_with_a_proxy_and_retries(emulator: Emulator, connect: Callable[..., None]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        connect(proxy=f"http://user:secret-word@127.0.0.1:{proxy.getsockname()[1]}", max_retries=0)
        thread = threading.Thread(target=lambda: proxy.accept()[0].close())
        thread.start()
        works, reason = LinqHook().test_connection()
        thread.join()
    assert not works
    assert not emulator.requests_served()
    assert "secret-word" not in reason + repr(LinqHook().settings)


def test_the_ways_to_send(emulator: Emulator, connect: Callable[..., None]) -> None:
    hook, ann = LinqHook(), "+12125550121"
    first = hook.send("Hello", to=ann)
    assert hook.send("And more", chat_id=first["chat_id"])["chat_id"] == first["chat_id"]
    other = hook.create_chat([ann], "From elsewhere", from_=emulator.lines[1])
    assert other["chat_id"] != first["chat_id"]
    assert hook.send_from_any_line(ann, "From anywhere")["refused"] is None
    sent = [(row["line"], row["text"]) for row in emulator.ledger()]
    assert sent[:3] == [
        (emulator.lines[0], "Hello"),
        (emulator.lines[0], "And more"),
        (emulator.lines[1], "From elsewhere"),
    ]
    assert len({row["idempotency_key"] for row in emulator.ledger()}) == 4
    assert hook.get_conn() is hook.client


def test_the_test_button_with_a_wrong_key(emulator: Emulator, connect: Callable[..., None]) -> None:
    connect(password="not-the-key")
    works, reason = LinqHook().test_connection()
    assert not works
    assert "the API key is missing or wrong" in reason
    assert "not-the-key" not in reason
    assert len(emulator.requests_served()) == 1


@pytest.mark.usefixtures("offline")
def test_the_test_button_without_a_server() -> None:
    works, reason = LinqHook().test_connection()
    assert not works
    assert "no usable response" in reason


def test_the_test_button_does_not_wait_for_a_server_that_drips(
    connection: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_linq.hooks.linq.TEST_DEADLINE", 0.3)
    with raw_serving(drip_body) as server:
        connection(host=f"{server.url}/api/partner")
        works, reason = LinqHook().test_connection()
    assert not works
    assert "0.3" in reason
