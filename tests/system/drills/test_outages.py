"""An outage of the API is waited out by time, and what a run has read before it gives up is written."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

import linq_client
from linq_client import APIUnavailableError, LinqClient, RetrySettings
from tests.support.running import FIRST_LINE, run_api
from tests.support.small_api import Handler, SmallAPI, small_api

CHATS = 150


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = RetrySettings(first_wait=0.02, longest_wait=0.2, pause=0.05)
    monkeypatch.setattr(linq_client, "LinqClient", partial(LinqClient, retry=settings))


@pytest.fixture
def api() -> Iterator[SmallAPI]:
    with small_api(CHATS) as started:
        yield started


class Outage:
    """From the request of a number on, nothing works for some seconds."""

    def __init__(self, api: SmallAPI, kind: str, *, after: int, seconds: float) -> None:
        self.kind, self.after, self.seconds = kind, after, seconds
        self.requests = 0
        self.began: float | None = None
        api.answers[r".*"] = self.answer

    def answer(self, handler: Handler, query: dict[str, str]) -> None:
        self.requests += 1
        if self.requests > self.after:
            self.began = self.began or time.monotonic()
            if time.monotonic() - self.began < self.seconds:
                self.fail(handler)
                return
        handler.usual(handler.path.partition("?")[0].removeprefix("/api/partner"), query)

    def fail(self, handler: Handler) -> None:
        if self.kind == "reset":
            handler.connection.close()
            handler.close_connection = True
        elif self.kind == "limit":
            handler.begin(429)
        else:
            handler.send(b"<html>", int(self.kind))


@pytest.mark.parametrize(
    ("kind", "after"),
    [("503", 0), ("503", 2), ("503", 60), ("502", 0), ("reset", 2), ("reset", 60), ("limit", 0), ("limit", 60)],
)
def test_an_outage_is_waited_out(api: SmallAPI, kind: str, after: int) -> None:
    Outage(api, kind, after=after, seconds=1)
    output = run_api(api)
    assert output.error is None
    assert set(output.ids()) == {one["id"] for chat in api.chats for one in api.messages_of(chat)}
    assert set(output.bookmarks()) == {FIRST_LINE}


def test_an_outage_that_outlasts_patience_ends_the_run_after_what_was_read_is_written(
    api: SmallAPI, caplog: pytest.LogCaptureFixture
) -> None:
    Outage(api, "503", after=60, seconds=1e9)
    output = run_api(api, outage_patience_minutes=0.02)
    assert isinstance(output.error, APIUnavailableError)
    assert output.bookmarks() == {}
    read = {one.partition("-")[0] for one in output.ids()}
    assert 50 <= len(read) < 60, "those that were read before"
    assert len(output.records("chats")) == CHATS
    assert "could not be read" not in caplog.text, "one sentence, and not one a chat"


def test_the_next_run_starts_from_the_same_place(api: SmallAPI) -> None:
    outage = Outage(api, "503", after=60, seconds=1e9)
    failed = run_api(api, outage_patience_minutes=0.02)
    outage.seconds = 0
    output = run_api(api, state=failed.state)
    assert output.error is None
    assert len(output.ids()) == CHATS * api.messages


def test_a_chat_that_alone_can_t_be_read_is_no_outage(api: SmallAPI) -> None:
    for chat in api.chats[40:43]:
        api.answers[f"/v3/chats/{chat}/messages"] = lambda handler, _: handler.send(b"<html>", 500)
    output = run_api(api)
    assert "could not be read: " in str(output.error)
    assert len(output.ids()) == (CHATS - 3) * api.messages


def test_cursors_that_expire_while_reads_hold_the_listing_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tap_linq.extraction.worker_pool.JOB_QUEUE_SIZE", 16)
    born: dict[str, int] = {}
    reads = 0

    def chats(handler: Handler, query: dict[str, str]) -> None:
        cursor, limit = query.get("cursor"), int(query["limit"])
        if cursor is not None and reads - born[cursor] > 50:
            handler.refuse(400, 1005)
            return
        start = int(cursor.partition("@")[0]) if cursor else 0
        after = f"{start + limit}@{len(born)}" if start + limit < len(handler.server.chats) else None
        born[str(after)] = reads
        page: list[dict[str, Any]] = [handler.server.chat(id_) for id_ in handler.server.chats[start : start + limit]]
        handler.send({"chats": page, "next_cursor": after})

    def counted(handler: Handler, query: dict[str, str]) -> None:
        nonlocal reads
        reads += 1
        handler.usual(handler.path.partition("?")[0].removeprefix("/api/partner"), query)

    with small_api(300, messages=1) as api:
        api.answers["/v3/chats"] = chats
        api.answers["/v3/chats/[^/]*/messages"] = counted
        output = run_api(api)
    assert output.error is None
    assert len(output.ids()) == 300
