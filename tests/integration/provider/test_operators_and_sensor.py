"""Operators and sensor on their own, against the emulator: what they send, return, refuse and find."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_linq.operators.messages import LinqCreateChatOperator, LinqSendMessageOperator
from airflow_provider_linq.sensors.linq import LinqMessageSensor
from linq_client import LineIneligibleError, LinqClient
from tests.airflow.conftest import Store, context
from tests.emulator_process import Emulator

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


@pytest.mark.parametrize(
    ("operator", "refusal"),
    [
        (LinqSendMessageOperator(task_id="t", message="Hi"), "chat_id: must be given, or to"),
        (LinqSendMessageOperator(task_id="t", chat_id="c", to=ANN, message="Hi"), "chat_id: excludes to and from"),
        (LinqSendMessageOperator(task_id="t", chat_id="", message="Hi"), "chat_id: must be an id"),
        (LinqSendMessageOperator(task_id="t", to=ANN, from_="", message="Hi"), "from: must be E.164"),
        (LinqSendMessageOperator(task_id="t", to=ANN, message=""), r"parts\[0\]\.value"),
        (LinqSendMessageOperator(task_id="t", to=ANN, message="Hi", idempotency_key=""), "idempotency_key"),
        (LinqSendMessageOperator(task_id="t", to=ANN, message="Hi", idempotency_key="k" * 256), "idempotency_key"),
        (LinqCreateChatOperator(task_id="t", to="212-555-0121", message="Hi"), r"to\[0\]: must be an E.164"),
        (LinqCreateChatOperator(task_id="t", to=ANN, message="See https://shop.example"), "no URL in the first"),
    ],
)
@pytest.mark.usefixtures("offline")
def test_what_breaks_a_rule_is_refused_before_any_request(operator: BaseOperator, refusal: str) -> None:
    for store in (None, Store()):
        with pytest.raises(AirflowFailException, match=refusal):
            operator.execute(context(store))


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


def test_a_run_that_started_earlier_counts_from_its_start(emulator: Emulator) -> None:
    chat = execute(LinqCreateChatOperator(task_id="t", to=ANN, message="Hi"))["chat_id"]
    reply(emulator, ANN, "Five minutes ago")
    emulator.advance(300)
    started = context()
    sensor = LinqMessageSensor(task_id="s", chat_id=chat)
    assert not sensor.poke(started)
    started["dag_run"].start_date -= timedelta(minutes=6)
    assert LinqMessageSensor(task_id="s", chat_id=chat).poke(started)


@pytest.mark.parametrize(
    ("arguments", "refusal"),
    [
        ({"since": "None"}, "since: must be a datetime"),
        ({"from_handle": "Ann?"}, "from_handle: must be"),
        ({"chat_id": ""}, "chat_id: must be an id"),
        ({"poke_interval": 3600}, "poke_interval: must be shorter than the retention window of 1 hours"),
    ],
)
@pytest.mark.usefixtures("offline")
def test_a_sensor_that_could_never_succeed_fails(arguments: dict[str, Any], refusal: str) -> None:
    with pytest.raises(AirflowFailException, match=refusal):
        LinqMessageSensor(task_id="s", **{"chat_id": "c", **arguments}).poke(context())


def test_a_chat_that_does_not_exist_fails_at_once(emulator: Emulator) -> None:
    sensor = LinqMessageSensor(task_id="s", chat_id="00000000-0000-4000-8000-000000000000")
    with pytest.raises(AirflowFailException, match="the chat does not exist"):
        sensor.poke(context())


def test_all_that_names_something_is_templated() -> None:
    assert set(LinqSendMessageOperator.template_fields) >= {"chat_id", "to", "from_", "message", "idempotency_key"}
    assert set(LinqCreateChatOperator.template_fields) >= {"to", "from_", "message", "idempotency_key"}
    assert set(LinqMessageSensor.template_fields) >= {"chat_id", "from_handle", "since"}


def reply(emulator: Emulator, sender: str, text: str) -> None:
    emulator.control("POST", "inbound", {"line": emulator.lines[0], "from": sender, "text": text})
