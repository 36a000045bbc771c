"""The rules that need neither Airflow's machinery nor an API: arguments, filters, results, what is permanent."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_linq._internal.arguments import GivenArguments, datetime_argument
from airflow_provider_linq._internal.fail_fast import fail_fast
from airflow_provider_linq._internal.inbound import MessageFilter
from airflow_provider_linq._internal.version_compat import AirflowFailException
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


@pytest.mark.parametrize(
    "error",
    [AuthenticationError("x"), InvalidRequestError("x"), NotFoundError("x", code=2001), OptedOutError("x", code=2024)],
)
def test_what_no_retry_can_fix_fails_at_once(error: LinqError) -> None:
    with pytest.raises(AirflowFailException, match="x"), fail_fast():
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
def test_what_a_retry_may_fix_goes_through(error: LinqError) -> None:
    with pytest.raises(type(error)), fail_fast():
        raise error


def test_an_attachment_that_is_not_ready_yet_is_worth_a_retry() -> None:
    error = NotFoundError("not ready", code=2007)
    error.retryable = True
    with pytest.raises(NotFoundError), fail_fast():
        raise error


def test_what_a_proxy_says_is_left_to_retries() -> None:
    error = AuthenticationError("x", status=401)  # without the API's word
    with pytest.raises(AuthenticationError), fail_fast():
        raise error


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
        found = MessageFilter("chat").earliest(listed, NOON)
        assert found is not None
        assert found.id == "first"


def test_a_message_of_the_same_moment_counts() -> None:
    # Clocks may be coarse, and the message answered is an own one.
    assert MessageFilter("chat").earliest([message("same", 0)], NOON) is not None


def test_only_the_handle_asked_for_counts() -> None:
    messages = [message("bob", 1, BOB), message("unknown", 2, from_handle=None), message("mail", 3, "Ann@Example.com")]
    found = MessageFilter(from_handle="ann@example.com").earliest(messages, NOON)
    assert found is not None
    assert found.id == "mail"
    assert MessageFilter(from_handle=ANN).earliest(messages, NOON) is None


def test_a_number_counts_in_either_of_its_forms() -> None:
    found = MessageFilter(from_handle="+5215550100134").earliest([message("shown", 1, "+525550100134")], NOON)
    assert found is not None


@pytest.mark.parametrize(
    "value",
    ["2026-03-01T12:00:00Z", "2026-03-01T13:00:00+01:00", "2026-03-01 12:00", NOON, NOON.replace(tzinfo=None)],
)
def test_datetimes_as_arguments(value: str | datetime) -> None:
    assert datetime_argument(value, "since") == NOON
    assert datetime_argument(value, "since").utcoffset() == timedelta(0)


@pytest.mark.parametrize("value", ["None", "", "yesterday", "P1D", "12", 5])
def test_what_is_no_datetime(value: Any) -> None:
    with pytest.raises(InvalidRequestError, match="since: must be a datetime or an ISO 8601 string"):
        datetime_argument(value, "since")


def test_an_argument_that_was_given_may_not_render_to_none() -> None:
    task = SimpleNamespace(from_="{{ line }}", chat_id=None)
    given = GivenArguments(task, ["from_", "chat_id"])
    given.check(task)
    task.from_ = None
    with pytest.raises(InvalidRequestError, match="from_: must have a value, got None"):
        given.check(task)


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
