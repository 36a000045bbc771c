"""Operators and sensor on their own, against the emulator: what they send, return, refuse and find."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk import BaseOperator

from airflow_provider_linq._internal.version_compat import AirflowFailException
from airflow_provider_linq.operators.messages import LinqCreateChatOperator, LinqSendMessageOperator
from airflow_provider_linq.sensors.linq import LinqMessageSensor
from tests.support.airflow import Store, context
from tests.support.emulator_process import Emulator

ANN, BOB = "+12125550121", "+12125550122"


@pytest.fixture
def emulator(emulator: Emulator, connect: Callable[..., None]) -> Emulator:
    """The emulator, to which `linq_default` is a connection."""
    return emulator


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


def test_all_that_names_something_is_templated() -> None:
    assert set(LinqSendMessageOperator.template_fields) >= {"chat_id", "to", "from_", "message", "idempotency_key"}
    assert set(LinqCreateChatOperator.template_fields) >= {"to", "from_", "message", "idempotency_key"}
    assert set(LinqMessageSensor.template_fields) >= {"chat_id", "from_handle", "since"}
