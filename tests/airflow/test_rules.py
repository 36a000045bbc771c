"""The rules that need neither Airflow's machinery nor an API: keys, results, moments, what is permanent."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_linq._internal.fail_fast import failing_at_once, sending
from airflow_provider_linq._internal.idempotency import idempotency_key
from airflow_provider_linq._internal.inbound import Wanted, moment, on_clock
from airflow_provider_linq._internal.xcom import inbound_message
from linq_client import (
    APIConnectionError,
    AuthenticationError,
    ConflictError,
    InvalidRequestError,
    LineIneligibleError,
    LinqError,
    NotFoundError,
    OptedOutError,
    RateLimitedError,
    ServerError,
)
from linq_client.models import Message

ANN, BOB = "+12025550121", "+12025550122"
NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


@dataclass
class Instance:
    """A task instance, with what changes between its tries."""

    dag_id: str = "campaign"
    run_id: str = "manual__2026-03-01"
    task_id: str = "conversation.send"
    map_index: int | None = 3
    try_number: int = 1
    id: str = "a"


def test_a_key_is_the_same_in_every_try() -> None:
    assert idempotency_key(Instance()) == idempotency_key(Instance(try_number=2, id="b"))


def test_a_key_stays_the_same_in_later_versions() -> None:
    # A task may be retried after an upgrade: another key would send its message a second time.
    assert idempotency_key(Instance()) == "airflow-74b0001d74cefa3f97ef2f9c84e8e777df8cb5d2411907612d9b85e9628c2236"


def test_instances_without_an_index_have_one_key() -> None:
    assert idempotency_key(Instance(map_index=None)) == idempotency_key(Instance(map_index=-1))


@pytest.mark.parametrize(
    "other",
    [
        {"dag_id": "other"},
        {"run_id": "other"},
        {"task_id": "other"},
        {"map_index": 4},
        {"dag_id": "campaign manual__2026-03-01", "run_id": ""},
    ],
)
def test_a_key_is_of_one_instance_alone(other: dict[str, Any]) -> None:
    assert idempotency_key(replace(Instance(), **other)) != idempotency_key(Instance())


def test_a_key_is_never_too_long() -> None:
    assert len(idempotency_key(Instance("d" * 250, "r" * 250, "t" * 250))) < 255


@pytest.mark.parametrize(
    "error",
    [AuthenticationError("x"), InvalidRequestError("x"), NotFoundError("x", code=2001), OptedOutError("x", code=2024)],
)
def test_what_no_retry_can_mend_fails_at_once(error: LinqError) -> None:
    with pytest.raises(AirflowFailException, match="x"), failing_at_once():
        raise error


@pytest.mark.parametrize(
    "error",
    [
        APIConnectionError("x"),
        ConflictError("x"),
        LineIneligibleError("x", code=2027),
        RateLimitedError("x"),
        ServerError("x"),
    ],
)
def test_what_a_retry_may_mend_goes_through(error: LinqError) -> None:
    with pytest.raises(type(error)), failing_at_once():
        raise error


def test_an_attachment_that_is_not_ready_yet_is_worth_a_retry() -> None:
    error = NotFoundError("not ready", code=2007)
    error.retryable = True
    with pytest.raises(NotFoundError), failing_at_once():
        raise error


def test_a_message_gone_since_it_was_sent_is_not_sent_again() -> None:
    with pytest.raises(AirflowFailException, match=r"'key-1' was sent before and is gone since"), sending("key-1"):
        raise NotFoundError("no such message", code=2002)


def test_no_such_chat_is_another_matter() -> None:
    with pytest.raises(AirflowFailException, match=r"^no such chat$"), sending("key-1"):
        raise NotFoundError("no such chat", code=2001)


def message(id: str, minutes: float = 0, sender: str | None = ANN, **fields: Any) -> Message:
    at = NOON + timedelta(minutes=minutes)
    return Message.model_validate(
        {
            "id": id,
            "chat_id": "chat",
            "created_at": at,
            "updated_at": at,
            "delivery_status": "received",
            "is_from_me": sender is None,
            "from_handle": {"id": "h", "handle": sender or "+12025550100"},
            **fields,
        }
    )


def test_the_earliest_message_is_found_in_any_order() -> None:
    messages = [message("late", 9), message("old", -1), message("first", 1), message("mine", 0, None)]
    for listed in (messages, messages[::-1]):
        found = Wanted("chat").earliest(listed, NOON)
        assert found is not None
        assert found.id == "first"


def test_a_message_of_the_same_moment_counts() -> None:
    # Clocks may be coarse, and the message answered is an own one.
    assert Wanted("chat").earliest([message("same", 0)], NOON) is not None


def test_only_the_handle_asked_for_counts() -> None:
    messages = [message("bob", 1, BOB), message("unknown", 2, from_handle=None), message("mail", 3, "Ann@Example.com")]
    found = Wanted(from_handle="ann@example.com").earliest(messages, NOON)
    assert found is not None
    assert found.id == "mail"
    assert Wanted(from_handle=ANN).earliest(messages, NOON) is None


@pytest.mark.parametrize(
    "value",
    ["2026-03-01T12:00:00Z", "2026-03-01T13:00:00+01:00", "2026-03-01 12:00", NOON, NOON.replace(tzinfo=None)],
)
def test_moments(value: str | datetime) -> None:
    assert moment(value) == NOON
    assert moment(value).utcoffset() == timedelta(0)


@pytest.mark.parametrize("value", ["None", "", "yesterday", "P1D", "12", 5])
def test_what_is_no_moment(value: Any) -> None:
    with pytest.raises(InvalidRequestError, match="since: must be a datetime or an ISO 8601 string"):
        moment(value)


def test_a_moment_on_the_clock_of_the_api() -> None:
    now = datetime.now(timezone.utc)
    started = now - timedelta(minutes=5)
    seen = on_clock(started, now.replace(year=now.year - 1, microsecond=0))
    exact = started.replace(year=started.year - 1)
    assert timedelta(0) <= exact - seen < timedelta(seconds=5)


def test_the_xcom_of_a_message_with_all_kinds_of_parts(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    parts = [
        {"type": "text", "value": "One"},
        {"type": "media", "id": "file"},
        {"type": "hologram"},
        {"type": "text", "value": "two"},
    ]
    assert inbound_message(message("m", parts=parts, service="RCS")) == {
        "chat_id": "chat",
        "message_id": "m",
        "from_handle": ANN,
        "created_at": "2026-03-01T12:00:00Z",
        "service": "RCS",
        "text": "One\ntwo",
        "part_types": ["text", "media", "hologram", "text"],
    }
    assert inbound_message(message("m", parts=[{"type": "media", "id": "file"}]))["text"] is None
    assert not caplog.records
