"""Operators and sensor on their own, against the emulator: what they send, return, refuse and find."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk import BaseOperator

from airflow_provider_linq._internal.version_compat import AirflowFailException
from airflow_provider_linq.operators.messages import LinqCreateChatOperator, LinqSendMessageOperator
from airflow_provider_linq.sensors.linq import LinqMessageSensor
from linq_client import LineIneligibleError, LinqClient
from tests.support.airflow import context
from tests.support.emulator_process import Emulator

ANN, BOB = "+12125550121", "+12125550122"
RESULT = {"chat_id", "message_id", "created_at", "delivery_status", "service", "trace_id", "idempotency_key", "refused"}


@pytest.fixture
def emulator(emulator: Emulator, connect: Callable[..., None]) -> Emulator:
    """The emulator, to which `linq_default` is a connection."""
    return emulator


def execute(operator: BaseOperator, **instance: Any) -> Any:
    return operator.execute(context(None, **instance))


def posts(emulator: Emulator) -> list[Mapping[str, Any]]:
    return [request for request in emulator.requests_served() if request["method"] == "POST"]


def test_a_chat_is_created_from_the_default_line(emulator: Emulator) -> None:
    result = execute(LinqCreateChatOperator(task_id="t", to=ANN, message="Hi"))
    assert result.keys() == RESULT
    assert result["created_at"] == "2026-03-01T12:00:00Z"
    assert result["idempotency_key"].startswith("airflow-")
    assert result["delivery_status"] in ("pending", "queued")
    (row,) = emulator.ledger()
    assert (row["id"], row["chat_id"]) == (result["message_id"], result["chat_id"])
    assert posts(emulator)[0]["path"].endswith("/v3/chats")


def test_a_group_from_another_line(emulator: Emulator) -> None:
    result = execute(LinqCreateChatOperator(task_id="t", to=[ANN, BOB], from_=emulator.lines[1], message=["Hi all"]))
    (chat,) = LinqClient(emulator.api_key, base_url=emulator.base_url).chats.list(from_=emulator.lines[1])
    assert chat.id == result["chat_id"]
    assert chat.is_group


def test_a_message_to_handles_finds_their_chat(emulator: Emulator) -> None:
    first = execute(LinqCreateChatOperator(task_id="t", to=ANN, message="Hi"))
    again = execute(LinqSendMessageOperator(task_id="t", to=ANN, message="Hi again"), task_id="other")
    assert again.keys() == RESULT
    assert again["chat_id"] == first["chat_id"]
    assert len(emulator.ledger()) == 2


def test_a_message_to_handles_from_whichever_line(emulator: Emulator, connect: Callable[..., None]) -> None:
    connect(default_line=None)
    result = execute(LinqSendMessageOperator(task_id="t", to=ANN, message="Hi"))
    assert result.keys() == RESULT
    assert posts(emulator)[0]["path"].endswith("/v3/messages")


def test_a_message_in_json_form_keeps_its_own_key(emulator: Emulator) -> None:
    chat = execute(LinqCreateChatOperator(task_id="t", to=ANN, message="Hi"))["chat_id"]
    message = {"parts": ["Party!"], "effect": {"type": "screen", "name": "confetti"}, "idempotency_key": "order-7"}
    assert execute(LinqSendMessageOperator(task_id="t", chat_id=chat, message=message))["idempotency_key"] == "order-7"
    explicit = LinqSendMessageOperator(task_id="t", chat_id=chat, message=message, idempotency_key="order-8")
    assert execute(explicit)["idempotency_key"] == "order-8"


def test_one_instance_sends_once_however_often_it_runs(emulator: Emulator) -> None:
    operator = LinqSendMessageOperator(task_id="t", to=ANN, message="Hi")
    first, second = execute(operator), execute(operator)
    assert first["message_id"] == second["message_id"]
    other = execute(operator, map_index=1)
    assert other["message_id"] != first["message_id"]
    assert len(emulator.ledger()) == 2


def test_without_any_line_there_is_no_chat(emulator: Emulator, connect: Callable[..., None]) -> None:
    connect(default_line=None)
    with pytest.raises(AirflowFailException, match="default_line of connection 'linq_default'"):
        execute(LinqCreateChatOperator(task_id="t", to=ANN, message="Hi"))


def test_an_ineligible_line_is_worth_a_retry(emulator: Emulator) -> None:
    emulator.control("POST", "faults", {"kind": "status", "path": "/chats", "status": 403, "code": 2027})
    with pytest.raises(LineIneligibleError):
        execute(LinqCreateChatOperator(task_id="t", to=ANN, message="Hi"))


@pytest.mark.parametrize("order", ["newest", "oldest", "unordered"])
def test_the_first_reply_is_found_in_every_order(emulator: Emulator, order: str) -> None:
    emulator.control("PATCH", "switches", {"message_order": order})
    sent = execute(LinqCreateChatOperator(task_id="t", to=ANN, message="Hi"))
    emulator.advance(1)
    for number in range(1, 4):
        emulator.advance(1)
        reply(emulator, ANN, f"Answer {number}")
    sensor = LinqMessageSensor(task_id="s", chat_id=sent["chat_id"], since=sent["created_at"])
    found = sensor.poke(context())
    assert found.is_done
    assert found.xcom_value["text"] == "Answer 1"
    assert found.xcom_value["from_handle"] == ANN
    assert found.xcom_value["created_at"] == "2026-03-01T12:00:02Z"

    later = LinqMessageSensor(task_id="s", chat_id=sent["chat_id"], since="2026-03-01T12:00:03Z")
    assert later.poke(context()).xcom_value["text"] == "Answer 2"


def test_what_is_no_reply(emulator: Emulator) -> None:
    chat = execute(LinqCreateChatOperator(task_id="t", to=ANN, message="Hi"))["chat_id"]
    reply(emulator, ANN, "Too early")
    emulator.advance(3600)
    execute(LinqSendMessageOperator(task_id="t", chat_id=chat, message="Hello?"), task_id="other")
    # By this worker's clock the run starts long after all of it, by the emulator's an hour after the first reply.
    sensor = LinqMessageSensor(task_id="s", chat_id=chat)
    assert not sensor.poke(context())
    reply(emulator, ANN, "Now")
    assert sensor.poke(context()).xcom_value["text"] == "Now"
    of_bob = LinqMessageSensor(task_id="s", chat_id=chat, from_handle=BOB)
    assert not of_bob.poke(context())


def test_a_sender_is_found_in_either_form_of_their_number(emulator: Emulator) -> None:
    """The platform lists their chat by the form that it shows, whatever the message was written to."""
    body = {"from": "+525550100134", "line": emulator.lines[0], "text": "Yes"}
    emulator.control("POST", "inbound", body)
    sensor = LinqMessageSensor(task_id="s", from_handle="+5215550100134", since="2020-01-01T00:00:00Z")
    found = sensor.poke(context())
    assert found
    assert found.xcom_value["text"] == "Yes"


def test_a_run_that_started_earlier_counts_from_its_start(emulator: Emulator) -> None:
    chat = execute(LinqCreateChatOperator(task_id="t", to=ANN, message="Hi"))["chat_id"]
    reply(emulator, ANN, "Five minutes ago")
    emulator.advance(300)
    started = context()
    sensor = LinqMessageSensor(task_id="s", chat_id=chat)
    assert not sensor.poke(started)
    started["dag_run"].start_date -= timedelta(minutes=6)
    assert LinqMessageSensor(task_id="s", chat_id=chat).poke(started)


def test_a_chat_that_does_not_exist_fails_at_once(emulator: Emulator) -> None:
    sensor = LinqMessageSensor(task_id="s", chat_id="00000000-0000-4000-8000-000000000000")
    with pytest.raises(AirflowFailException, match="the chat does not exist"):
        sensor.poke(context())


def reply(emulator: Emulator, sender: str, text: str) -> None:
    emulator.control("POST", "inbound", {"line": emulator.lines[0], "from": sender, "text": text})
