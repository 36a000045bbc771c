"""What comes too late is not sent; what was sent in time is still found."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_provider_linq._internal.version_compat import AirflowException, AirflowFailException, AirflowSkipException
from airflow_provider_linq.operators.chats import LinqRequestLocationOperator, LinqSendVoiceMemoOperator
from airflow_provider_linq.operators.messages import LinqCreateChatOperator
from linq_client import APIConnectionError
from tests.support.airflow import Store, context
from tests.support.emulator_process import Emulator
from tests.support.sends import ANN, lost_answers, lost_requests, posts, retry, send

pytestmark = pytest.mark.usefixtures("impatient")

NOW = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
LATE = {"not_after": NOW - timedelta(minutes=1)}
IN_TIME: dict[str, Any] = {"not_after": NOW + timedelta(minutes=30)}


@pytest.fixture
def emulator(emulator: Emulator, connect: Callable[..., None]) -> Emulator:
    return emulator


@pytest.mark.parametrize(
    "not_after",
    [NOW - timedelta(minutes=1), "2026-03-01T11:59:00Z", "2026-03-01 11:59:00+00:00", timedelta(hours=1)],
)
def test_a_late_message_is_skipped(emulator: Emulator, not_after: Any) -> None:
    task = LinqCreateChatOperator(task_id="t", to=ANN, message="Lunch is ready", not_after=not_after)
    with pytest.raises(AirflowSkipException, match="It is too late: not_after is 2026-03-01 .*Nothing was sent"):
        task.execute(context(Store(), due=NOW - timedelta(hours=2), started=NOW))
    assert posts(emulator) == 0
    task.not_after = timedelta(hours=3)
    task.execute(context(Store(), due=NOW - timedelta(hours=2), started=NOW))
    assert posts(emulator) == 1


def test_a_sent_message_keeps_its_result(emulator: Emulator) -> None:
    store = Store()
    first = send(store, **IN_TIME)
    emulator.advance(3_600)
    assert send(store, retry(), **IN_TIME) == first


def test_a_lost_answer_is_found_when_it_is_too_late(emulator: Emulator) -> None:
    store = Store()
    with lost_answers(emulator), pytest.raises(APIConnectionError):
        send(store, **IN_TIME)
    emulator.advance(3_600)
    found = send(store, retry(), **IN_TIME)
    assert found["message_id"] == emulator.ledger()[-1]["id"]
    assert len(emulator.ledger()) == 1


@pytest.mark.parametrize("has_store", [True, False])
def test_a_lost_request_is_not_made_up_for(emulator: Emulator, has_store: bool) -> None:
    store = Store() if has_store else None
    with lost_requests(emulator), pytest.raises(APIConnectionError):
        send(store, **IN_TIME)
    before = posts(emulator)
    emulator.advance(1_801)
    if has_store:
        emulator.advance(3_600)
    with pytest.raises(AirflowSkipException, match="Nothing was sent"):
        send(store, retry(), **IN_TIME)
    assert posts(emulator) == before
    assert not emulator.ledger()


def test_what_may_still_arrive_is_looked_for_again(emulator: Emulator) -> None:
    store = Store()
    with lost_requests(emulator), pytest.raises(APIConnectionError):
        send(store, not_after=NOW + timedelta(seconds=30))
    emulator.advance(60)
    with pytest.raises(AirflowException, match="the next try looks again"):
        send(store, retry(), not_after=NOW + timedelta(seconds=30))
    emulator.advance(3_600)
    with pytest.raises(AirflowSkipException):
        send(store, retry(3), not_after=NOW + timedelta(seconds=30))
    assert not emulator.ledger()


def test_memos_and_requests_for_locations(emulator: Emulator) -> None:
    chat = send(None, **IN_TIME)["chat_id"]
    before = posts(emulator)
    tasks = [
        LinqSendVoiceMemoOperator(task_id="t", chat_id=chat, voice_memo_url="https://example.com/a.m4a", **LATE),
        LinqRequestLocationOperator(task_id="t", chat_id=chat, **LATE),
    ]
    for task in tasks:
        with pytest.raises(AirflowSkipException, match="Nothing was sent"):
            task.execute(context(Store()))
    assert posts(emulator) == before


@pytest.mark.parametrize("not_after", ["20:00", "soon", "None"])
def test_what_is_no_moment(emulator: Emulator, not_after: str) -> None:
    with pytest.raises(AirflowFailException, match="not_after: must be a datetime"):
        send(Store(), not_after=not_after)
    assert posts(emulator) == 0


def test_what_is_refused_when_the_dag_is_parsed() -> None:
    for wrong in (5, timedelta(0)):
        with pytest.raises(ValueError, match="not_after must be"):
            LinqCreateChatOperator(task_id="t", to=ANN, message="Hi", not_after=wrong)  # type: ignore[arg-type]
