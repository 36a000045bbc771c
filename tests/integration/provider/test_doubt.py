"""A message that may have been sent: looked for before it is sent again, and before anybody is told it was refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import pytest

from airflow_provider_linq._internal.key_lifetimes import KEY_TRUST, LATE_ACCEPTANCE
from airflow_provider_linq._internal.version_compat import AirflowException, AirflowFailException, AirflowSkipException
from linq_client import APIConnectionError
from tests.support.airflow import Store
from tests.support.emulator_process import Emulator
from tests.support.sends import (
    ANN,
    BOB,
    cleared,
    fault,
    lost_answers,
    lost_requests,
    posts,
    refused,
    retry,
    send,
    sent_to,
)

pytestmark = pytest.mark.usefixtures("impatient")

#: Long enough for a key to be forgotten.
LATER = KEY_TRUST.total_seconds() + 1
STALE = {"idempotency_hours": LATER / 3600 - 0.001}


@pytest.fixture
def emulator(emulator: Emulator, connect: Callable[..., None]) -> Emulator:
    """The emulator, to which `linq_default` is a connection."""
    return emulator


def opt_out(emulator: Emulator, handle: str = ANN, *, is_out: bool = True) -> None:
    emulator.control("POST", "handles", {"handle": handle, "opted_out": is_out})


def lose(emulator: Emulator, store: Store | None, **arguments: Any) -> None:
    """Send a message in a first try that learns of no answer."""
    with lost_answers(emulator), pytest.raises(APIConnectionError):
        send(store, **arguments)


def lose_request(emulator: Emulator, store: Store | None, **arguments: Any) -> None:
    with lost_requests(emulator), pytest.raises(APIConnectionError):
        send(store, **arguments)


@pytest.mark.parametrize("on_opt_out", ["fail", "skip", "return"])
def test_a_stop_after_a_lost_answer_does_not_hide_the_message(emulator: Emulator, on_opt_out: Any) -> None:
    store = Store()
    lose(emulator, store)
    with refused(emulator):
        found = send(store, retry(), on_opt_out=on_opt_out)
    assert [row["id"] for row in emulator.ledger()] == [found["message_id"]]
    assert found["refused"] is None
    assert found["chat_id"] == emulator.ledger()[0]["chat_id"]
    assert send(store, retry(3), on_opt_out=on_opt_out) == found, "it is on record"


def test_a_refusal_after_a_lost_answer_within_one_call_does_not_hide_the_message(emulator: Emulator) -> None:
    with fault(emulator, kind="reset", when="after", count=1), refused(emulator):
        found = send(Store())
    assert [row["id"] for row in emulator.ledger()] == [found["message_id"]]


def test_a_refusal_stands_when_the_message_is_missing_for_long_enough(emulator: Emulator) -> None:
    """A gateway may hold a request for minutes, so that it is accepted after the look."""
    store = Store()
    lose_request(emulator, store)
    opt_out(emulator)
    for number, seconds in ((2, 0), (3, LATE_ACCEPTANCE.total_seconds() + 1)):
        emulator.advance(seconds)
        with pytest.raises(AirflowException, match="may have been sent before that.*the next try looks") as raised:
            send(store, retry(number), on_opt_out="skip")
        assert type(raised.value) is AirflowException, "a retry helps"
    assert store.values["linq_message"]["status"] == "in_progress"

    emulator.advance(240)  # the first try may have lasted as long as that
    with pytest.raises(AirflowSkipException, match="Not sent: .*opted out"):
        send(store, retry(4), on_opt_out="skip")
    assert store.values["linq_message"]["status"] == "not_sent"
    opt_out(emulator, is_out=False)
    assert send(store, retry(5))["message_id"]
    assert sent_to(emulator) == {ANN: 1}


def test_a_refusal_within_one_call_is_not_believed_at_first(emulator: Emulator) -> None:
    store = Store()
    with (
        fault(emulator, kind="reset", when="before", count=1),
        refused(emulator),
        pytest.raises(AirflowException, match="may have been sent before that.*the next try looks"),
    ):
        send(store, on_opt_out="return")
    assert store.values["linq_message"]["status"] == "in_progress"


def test_the_latest_request_is_the_one_that_counts(emulator: Emulator) -> None:
    store = Store()
    lose_request(emulator, store)
    emulator.advance(LATE_ACCEPTANCE.total_seconds() + 240)
    with lost_requests(emulator), pytest.raises(APIConnectionError):
        send(store, retry())
    with refused(emulator), pytest.raises(AirflowException, match="may have been sent before that.*the next try looks"):
        send(store, retry(3), on_opt_out="skip")


def test_a_reply_to_a_message_that_is_not_there_fails_fast(emulator: Emulator) -> None:
    """The API says the same of a key whose message is gone; a first request can't mean that."""
    chat = send(None, {"task_id": "hello"}, message="Hello")["chat_id"]
    message = {"parts": ["Hi"], "reply_to": {"message_id": "00000000-0000-4000-8000-000000000000"}}
    with pytest.raises(AirflowFailException, match="the message does not exist"):
        send(Store(), chat_id=chat, message=message)


def test_a_refusal_of_a_first_request_needs_no_look(emulator: Emulator) -> None:
    opt_out(emulator)
    with pytest.raises(AirflowFailException, match="opted out"):
        send(Store())
    assert not [row for row in emulator.requests_served() if "/chats" in row["path"] and row["method"] == "GET"]


def test_a_chat_that_cannot_be_read_settles_nothing(emulator: Emulator) -> None:
    store = Store()
    lose(emulator, store)
    with (
        refused(emulator),
        fault(emulator, kind="status", method="GET", status=503, code=4004),
        pytest.raises(AirflowException, match="may have been sent before that, and the chat can't be read"),
    ):
        send(store, retry(), on_opt_out="skip")
    with (
        refused(emulator),
        fault(emulator, kind="status", method="GET", status=404, code=2019),
        pytest.raises(AirflowFailException, match="may have been sent before that, and the chat can't be read"),
    ):
        send(store, retry(3), on_opt_out="skip")
    assert send(store, retry(4))["message_id"]


@pytest.mark.parametrize("to_chat", [False, True], ids=["to handles", "to a chat"])
def test_a_message_whose_key_may_be_forgotten_is_found(emulator: Emulator, to_chat: bool) -> None:
    emulator.control("PATCH", "switches", STALE)
    chat = send(None, {"task_id": "before"}, message="Before")["chat_id"]
    emulator.advance(600)
    where = {"chat_id": chat} if to_chat else {"to": ANN}
    store = Store()
    lose(emulator, store, **where)
    emulator.advance(LATER)
    asked = posts(emulator)
    found = send(store, retry(), **where)
    assert posts(emulator) == asked
    assert found["message_id"] == emulator.ledger()[-1]["id"]
    assert found["created_at"] == "2026-03-01T12:10:00Z", "when it was sent, and not when it was found"
    assert store.values["linq_message"]["status"] == "completed"


@pytest.mark.parametrize("to_chat", [False, True], ids=["to handles", "to a chat"])
def test_a_message_whose_key_may_be_forgotten_and_that_is_not_there_is_sent(emulator: Emulator, to_chat: bool) -> None:
    emulator.control("PATCH", "switches", STALE)
    where = {"chat_id": send(None, {"task_id": "before"}, message="Before")["chat_id"]} if to_chat else {"to": ANN}
    emulator.advance(600)
    store = Store()
    lose_request(emulator, store, **where)
    key = store.values["linq_message"]["key"]
    emulator.advance(LATER)
    assert send(store, retry(), **where)["idempotency_key"] == key
    assert [row["text"] for row in emulator.ledger()][-1] == "Hi"
    assert len(emulator.ledger()) == 1 + to_chat


def test_what_a_chat_does_not_tell_is_not_sent_again(emulator: Emulator) -> None:
    """The text renders differently, or another task has written in between."""
    emulator.control("PATCH", "switches", STALE)
    store = Store()
    lose(emulator, store)
    emulator.advance(LATER)
    with pytest.raises(AirflowFailException, match="may have been sent since .*does not tell.*on_clear='resend'"):
        send(store, retry(), message="Good evening")
    assert sent_to(emulator) == {ANN: 1}
    assert send(store, cleared(3), on_clear="resend", message="Good evening")["message_id"]
    assert sent_to(emulator) == {ANN: 2}


def test_where_messages_expire_a_missing_one_may_have_been_sent(
    emulator: Emulator, connect: Callable[..., None]
) -> None:
    connect(retention_window_hours=1)
    store = Store()
    lose_request(emulator, store)
    emulator.advance(2 * 3600)
    with pytest.raises(AirflowFailException, match="the chat does not tell"):
        send(store, retry())
    assert not emulator.ledger()


@pytest.mark.parametrize("scope", ["account", "line"])
def test_from_whichever_line_a_retry_looks_first(emulator: Emulator, connect: Callable[..., None], scope: str) -> None:
    """The platform may choose another line, where it may not know the key."""
    connect(default_line=None)
    emulator.control("PATCH", "switches", {"idempotency_scope": scope})
    store = Store()
    lose(emulator, store)
    (row,) = emulator.ledger()
    emulator.control("POST", "lines", {"phone_number": row["line"], "ineligible": True})
    assert send(store, retry())["message_id"] == row["id"]

    store, ids = Store(), {"task_id": "of Bob"}
    with lost_requests(emulator), pytest.raises(APIConnectionError):
        send(store, ids, to=BOB)
    with pytest.raises(AirflowException, match="may not be listed yet: the next try looks"):
        send(store, retry(**ids), to=BOB)
    emulator.advance(240)
    assert send(store, retry(3, **ids), to=BOB)["message_id"]
    assert sent_to(emulator) == {ANN: 1, BOB: 1}


def long_ago() -> datetime:
    return datetime.now(timezone.utc) - 2 * KEY_TRUST


@pytest.mark.parametrize("was_cleared", [False, True])
@pytest.mark.parametrize("has_store", [False, True], ids=["3.2", "a store that was emptied"])
def test_without_a_record_a_later_try_looks_where_the_run_is_old(
    emulator: Emulator, has_store: bool, was_cleared: bool
) -> None:
    """A clear sets the start of the run to another time; when it was due stays."""
    emulator.control("PATCH", "switches", STALE)
    run: dict[str, Any] = {"due": long_ago(), "clears": int(was_cleared)}
    run["started"] = None if was_cleared else run["due"]
    sent = send(None, run)
    emulator.advance(LATER)
    asked = posts(emulator)
    store = Store() if has_store else None
    assert send(store, {**run, **cleared()})["message_id"] == sent["message_id"]
    assert posts(emulator) == asked
    send(Store() if has_store else None, {**run, **retry(), "task_id": "other"}, to=BOB)
    assert sent_to(emulator) == {ANN: 1, BOB: 1}, "what is not there is believed"


def test_without_a_record_and_with_other_messages_in_the_chat(
    emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    run: dict[str, Any] = {"started": long_ago()}
    send(None, {**run, "task_id": "hello"}, message="Hello")
    with pytest.raises(AirflowFailException, match="the chat does not tell"):
        send(Store(), {**run, **retry()})
    # On 3.2 every retry is one without a record, and must not fail for that: the key has to do.
    assert send(None, {**run, **retry()})["message_id"]
    assert "the chat does not tell: sending it with the same key" in caplog.text
    assert sent_to(emulator) == {ANN: 2}


def test_without_a_record_a_refusal_is_looked_into_too(emulator: Emulator) -> None:
    sent = send(None)
    with refused(emulator):
        assert send(None, retry(), on_opt_out="return")["message_id"] == sent["message_id"]
        with pytest.raises(AirflowFailException, match="opted out"):
            send(None, retry(task_id="another"), to=BOB)
