"""The links of tasks that send or wait, to the page that says what they did."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from airflow.sdk import BaseOperator, BaseOperatorLink

from airflow_provider_linq._internal.version_compat import HAS_STATE_STORES, AirflowFailException, TaskDeferred
from airflow_provider_linq.get_provider_info import get_provider_info
from airflow_provider_linq.operators.ask import LinqAskOperator
from airflow_provider_linq.operators.chats import LinqSendVoiceMemoOperator
from airflow_provider_linq.operators.messages import LinqCreateChatOperator, LinqSendMessageOperator
from airflow_provider_linq.sensors.linq import LinqDeliverySensor, LinqMessageSensor
from tests.support.airflow import context
from tests.support.emulator_process import Emulator

pytestmark = pytest.mark.skipif(not HAS_STATE_STORES, reason="there is no page before Airflow 3.3")

ANN = "+12125550121"
MESSAGE = "00000000-0000-4000-8000-000000000000"
TASKS: list[Callable[[], BaseOperator]] = [
    lambda: LinqSendMessageOperator(task_id="t", to=ANN, message="Hello"),
    lambda: LinqCreateChatOperator(task_id="t", to=ANN, message="Hello"),
    lambda: LinqAskOperator(task_id="t", to=ANN, message="Yes?", answers={"yes": "a"}, deferrable=True),
    lambda: LinqSendVoiceMemoOperator(task_id="t", chat_id=MESSAGE, voice_memo_url="https://example.com/memo.m4a"),
    lambda: LinqMessageSensor(task_id="t", from_handle=ANN, deferrable=True),
    lambda: LinqDeliverySensor(task_id="t", message_id=MESSAGE, deferrable=True),
]


@pytest.fixture(autouse=True)
def connected(emulator: Emulator, connect: Callable[..., None]) -> None:
    """`linq_default` is a connection to the emulator."""


def pushed(task: BaseOperator) -> dict[str, Any]:
    """What a task has pushed when it has ended, deferred or failed."""
    running = context(run_id="manual__2026-03-01T00:00", map_index=2)
    with suppress(TaskDeferred, AirflowFailException):
        task.execute(running)
    found: dict[str, Any] = running["ti"].pushed
    return found


@pytest.mark.parametrize("make", TASKS)
def test_the_link_is_there_whatever_becomes_of_the_task(make: Callable[[], BaseOperator], monkeypatch: Any) -> None:
    task = make()
    monkeypatch.setattr(task, "check_can_branch", lambda *args: None, raising=False)
    (link,) = task.operator_extra_links
    assert pushed(task)[link.xcom_key] == (
        "/plugin/linq?dag_id=dag&run_id=manual__2026-03-01T00%3A00&task_id=task&map_index=2"
    )
    # Airflow shows no link whose class it was not told of.
    assert f"{type(link).__module__}.{type(link).__name__}" in get_provider_info()["extra-links"]


class Runbook(BaseOperatorLink):
    """A link of a user's, which Airflow pushes."""

    name = "Runbook"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        return "https://example.com/runbook"


class WithRunbook(LinqSendMessageOperator):
    operator_extra_links = (*LinqSendMessageOperator.operator_extra_links, Runbook())


def test_a_subclass_may_have_more_links() -> None:
    task = WithRunbook(task_id="t", to=ANN, message="Hello")
    ours, theirs = task.operator_extra_links
    keys = pushed(task).keys()
    assert ours.xcom_key in keys
    assert theirs.xcom_key not in keys
