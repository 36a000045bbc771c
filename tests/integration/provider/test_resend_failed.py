"""`resend_failed`: a message that has failed is sent again, once, whatever happens to the tries."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_linq._internal.version_compat import AirflowException, AirflowFailException, AirflowSkipException
from airflow_provider_linq.operators.messages import LinqSendMessageOperator
from linq_client import LinqClient, LinqError, OptedOutError
from tests.support import sends
from tests.support.airflow import Store, context
from tests.support.emulator_process import Emulator
from tests.support.sends import ANN, cleared, fault, lost_answers, lost_requests, posts, refused, retry

pytestmark = pytest.mark.usefixtures("impatient")


@pytest.fixture
def emulator(emulator: Emulator, connect: Callable[..., None]) -> Emulator:
    """The emulator, to which `linq_default` is a connection."""
    return emulator


def send(store: Store | None, instance: dict[str, Any] | None = None, **operator: Any) -> Any:
    return sends.send(store, instance, **{"resend_failed": True, "failure_grace": 0, **operator})


def receipt(emulator: Emulator, message_id: str, status: str = "failed", *, seconds: float = 300) -> None:
    emulator.control("POST", "receipts", {"message_id": message_id, "status": status, "code": 4001})
    emulator.advance(seconds)


def alive(emulator: Emulator) -> int:
    """How many messages to Ann have not failed."""
    with LinqClient(emulator.api_key, base_url=emulator.base_url) as client:
        found = [message for chat in client.chats.list(to=ANN) for message in client.messages.list(chat.id)]
    return sum(message.delivery_status != "failed" for message in found)


@pytest.mark.parametrize("has_store", [True, False])
@pytest.mark.parametrize("key", [None, "order-7"])
def test_each_failed_message_is_sent_again_once(
    emulator: Emulator, caplog: pytest.LogCaptureFixture, has_store: bool, key: str | None
) -> None:
    store = Store() if has_store else None
    sent = [send(store, idempotency_key=key)]
    for failures in (1, 2):
        receipt(emulator, sent[-1]["message_id"])
        sent.append(send(store, retry(2 * failures), idempotency_key=key))
        assert send(store, retry(2 * failures + 1), idempotency_key=key)["message_id"] == sent[-1]["message_id"]
        assert len(emulator.ledger()) == failures + 1
    assert len({result["idempotency_key"] for result in sent}) == 3
    assert "renders differently" not in caplog.text
    assert alive(emulator) == 1


def test_a_cleared_task_sends_again_what_has_failed_alone(emulator: Emulator) -> None:
    store = Store()
    first = send(store)
    assert send(store, cleared()) == first
    receipt(emulator, first["message_id"])
    second = send(store, cleared(3))
    receipt(emulator, second["message_id"], "delivered")
    assert send(store, cleared(4)) == second
    assert store.values["linq_message"]["first_key"] == first["idempotency_key"]
    assert len(emulator.ledger()) == 2


def test_without_the_argument_a_failed_message_is_kept(emulator: Emulator) -> None:
    store = Store()
    first = send(store)
    receipt(emulator, first["message_id"])
    assert send(store, cleared(), resend_failed=False) == first
    assert len(emulator.ledger()) == 1


def test_what_may_still_be_delivered_is_waited_for(emulator: Emulator) -> None:
    store = Store()
    first = send(store, failure_grace=300)
    receipt(emulator, first["message_id"], seconds=1)
    with pytest.raises(AirflowException, match="less than 0:05:00 ago, and may still be delivered"):
        send(store, retry(), failure_grace=300)
    assert posts(emulator) == 1
    receipt(emulator, first["message_id"], "delivered")
    assert send(store, retry(3), failure_grace=300) == first
    receipt(emulator, first["message_id"])
    emulator.advance(300)
    assert send(store, retry(4), failure_grace=300) != first
    assert len(emulator.ledger()) == 2


@pytest.mark.parametrize("has_store", [True, False])
def test_a_lost_answer_to_the_second_message_leads_to_no_third(emulator: Emulator, has_store: bool) -> None:
    store = Store() if has_store else None
    receipt(emulator, send(store)["message_id"])
    with contextlib.ExitStack() as faults:
        if not has_store:  # the first request asks with the first key, and gets its answer
            faults.enter_context(fault(emulator, kind="trickle", seconds=0, count=1))
        faults.enter_context(lost_answers(emulator))
        with pytest.raises(LinqError):
            send(store, retry())
    assert len(emulator.ledger()) == 2
    send(store, retry(3))
    assert len(emulator.ledger()) == 2
    assert alive(emulator) == 1


def test_what_was_delivered_after_all_needs_no_second_message(emulator: Emulator) -> None:
    """The request for the second one never arrived, and its record is in doubt."""
    store = Store()
    first = send(store)
    receipt(emulator, first["message_id"])
    with lost_requests(emulator), pytest.raises(LinqError):
        send(store, retry())
    receipt(emulator, first["message_id"], "delivered")
    assert send(store, retry(3))["message_id"] == first["message_id"]
    assert alive(emulator) == 1


def test_what_was_delivered_after_all_beside_the_second_message_leads_to_no_third(emulator: Emulator) -> None:
    """The answer to the second one got lost; it is the one that the task has sent last."""
    store = Store()
    first = send(store)
    receipt(emulator, first["message_id"])
    with lost_answers(emulator), pytest.raises(LinqError):
        send(store, retry())
    receipt(emulator, first["message_id"], "delivered")
    second = emulator.ledger()[1]
    found = send(store, retry(3))
    assert (found["message_id"], found["idempotency_key"]) == (second["id"], second["idempotency_key"])
    assert found["message_id"] != first["message_id"]
    assert send(store, retry(4)) == found
    assert len(emulator.ledger()) == 2


def test_what_has_failed_and_is_gone_since_is_replaced_by_nothing(emulator: Emulator) -> None:
    """Nobody knows whether it was delivered after all; the request for the second one never arrived."""
    store = Store()
    first = send(store)
    receipt(emulator, first["message_id"])
    with lost_requests(emulator), pytest.raises(LinqError):
        send(store, retry())
    with LinqClient(emulator.api_key, base_url=emulator.base_url) as client:
        client.messages.delete(first["message_id"])
    before = posts(emulator)
    with pytest.raises(AirflowFailException, match="had failed and is gone, .* nothing takes its place"):
        send(store, retry(3))
    assert posts(emulator) == before
    assert len(emulator.ledger()) == 1


@pytest.mark.parametrize("has_store", [True, False])
def test_a_try_sends_again_once(emulator: Emulator, has_store: bool) -> None:
    """However soon each message fails."""
    emulator.set_switches(failure_share=1.0, delivery_seconds=0.001)
    store = Store() if has_store else None
    for number in range(1, 5):
        send(store, retry(number))
        emulator.advance(1)
        assert len(emulator.ledger()) <= 2 * number


def test_what_the_platform_refuses_leaves_the_earlier_result_on_record(emulator: Emulator) -> None:
    store = Store()
    first = send(store)
    receipt(emulator, first["message_id"])
    with refused(emulator), pytest.raises((AirflowFailException, OptedOutError)):
        send(store, retry())
    assert store.values["linq_message"]["result"] == first
    with pytest.raises(AirflowSkipException):
        send(store, retry(3), not_after="2026-03-01T11:00:00Z")
    assert store.values["linq_message"]["result"] == first
    assert send(store, retry(4)) != first
    assert len(emulator.ledger()) == 2


def test_a_message_that_is_gone_is_not_sent_again(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    store = Store()
    first = send(store)
    with LinqClient(emulator.api_key, base_url=emulator.base_url) as client:
        client.messages.delete(first["message_id"])
    assert send(store, retry()) == first
    assert "nobody knows whether it has failed" in caplog.text
    assert posts(emulator) == 1


def test_a_failed_delivery_is_an_error_that_a_retry_can_help(emulator: Emulator) -> None:
    store = Store()
    first = send(store)
    event = {"status": "success", "sent": first, "state": "failed", "delivery": {"message_id": first["message_id"]}}
    for wanted, resends in ((AirflowFailException, False), (AirflowException, True)):
        task = LinqSendMessageOperator(task_id="t", to=ANN, message="Hi", resend_failed=resends)
        with pytest.raises(AirflowException, match="could not be delivered") as caught:
            task.execute_complete(context(store), event)
        assert type(caught.value) is wanted


EVENTS = ("try", "clear", "lost answer", "lost request", "lost by chance", "refused", "fails", "fails long ago")


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(has_store=st.booleans(), events=st.lists(st.sampled_from(EVENTS), min_size=4, max_size=10))
def test_nobody_has_two_messages_that_have_not_failed(emulator: Emulator, has_store: bool, events: list[str]) -> None:
    emulator.restart()
    store, number, max_tries = Store() if has_store else None, 0, 100
    troubles = {
        "lost answer": lost_answers,
        "lost request": lost_requests,
        "lost by chance": lambda emulator: fault(emulator, kind="reset", when="after", probability=0.5),
        "refused": refused,
    }
    for event in ["try", *events, "try"]:
        if event.startswith("fails"):
            for message in emulator.ledger()[-1:]:
                receipt(emulator, message["id"])
                emulator.advance(600 if event == "fails long ago" else 0)
            continue
        number += 1
        max_tries += event == "clear"
        with troubles.get(event, contextlib.nullcontext)(emulator), contextlib.suppress(AirflowException, LinqError):
            send(store, {"try_number": number, "max_tries": max_tries})
        assert alive(emulator) <= 1
