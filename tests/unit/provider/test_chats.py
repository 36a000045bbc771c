"""Operators around a chat, and files in messages, against the emulator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from airflow.sdk import BaseOperator

from airflow_provider_linq._internal.version_compat import AirflowFailException
from airflow_provider_linq.operators.chats import (
    LinqCheckCapabilityOperator,
    LinqRequestLocationOperator,
    LinqSendVoiceMemoOperator,
    LinqUpdateChatOperator,
)
from airflow_provider_linq.operators.messages import LinqSendMessageOperator
from tests.support.airflow import Store, context
from tests.support.emulator_process import Emulator

ANN, BOB, CAT, DAN = "+12125550121", "+12125550122", "+12125550123", "+12125550124"


@pytest.fixture
def emulator(emulator: Emulator, connect: Callable[..., None]) -> Emulator:
    """The emulator, to which `linq_default` is a connection."""
    return emulator


def run(operator: BaseOperator, store: Store | None = None, **instance: Any) -> Any:
    return operator.execute(context(store, **instance))


@pytest.mark.parametrize(
    ("part", "refusal"),
    [
        ({"type": "media", "path": "/nowhere/map.png"}, "path: must be a file that can be read, got '/nowhere/map"),
        ({"type": "media", "path": ""}, r"message.parts\[0\].path: must be a path"),
        ({"type": "media", "path": "/a.png", "url": "https://a.example/a.png"}, "give path, url or attachment_id"),
        ({"type": "media", "path": "/a.png", "caption": "A map"}, "caption"),
    ],
)
@pytest.mark.usefixtures("offline")
def test_a_file_that_cannot_be_sent(part: Mapping[str, Any], refusal: str) -> None:
    with pytest.raises(AirflowFailException, match=refusal):
        run(LinqSendMessageOperator(task_id="t", chat_id="c", message={"parts": [part]}))


@pytest.mark.usefixtures("offline")
def test_a_voice_memo_has_one_source() -> None:
    for sources in ({}, {"path": "/a.m4a", "attachment_id": "a"}):
        with pytest.raises(AirflowFailException, match="only one of them"):
            run(LinqSendVoiceMemoOperator(task_id="t", chat_id="c", **sources))


@pytest.mark.parametrize(
    ("arguments", "refusal"),
    [
        ({}, "display_name: give it, group_chat_icon, add or remove"),
        ({"add": ANN, "remove": [ANN]}, "add: must not name who is to be removed"),
        ({"display_name": "None"}, "display_name: must be a name"),
        ({"add": "Ann"}, r"add\[0\]: must be an E.164"),
        ({"add": ""}, r"add\[0\]: must be an E.164"),
        ({"add": 5}, "add: must be a handle or a list of them, got int"),
        ({"add": None, "remove": []}, "display_name: give it, group_chat_icon, add or remove"),
    ],
)
@pytest.mark.usefixtures("offline")
def test_an_update_that_makes_no_sense(arguments: dict[str, Any], refusal: str) -> None:
    with pytest.raises(AirflowFailException, match=refusal):
        run(LinqUpdateChatOperator(task_id="t", chat_id="c", **arguments))


@pytest.mark.usefixtures("offline")
def test_there_is_no_check_for_sms() -> None:
    with pytest.raises(AirflowFailException, match="service: must be iMessage or RCS"):
        run(LinqCheckCapabilityOperator(task_id="t", address=ANN, service="SMS"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("operator", "name"),
    [
        (LinqSendVoiceMemoOperator(task_id="t", chat_id="c", path="{{ x }}", attachment_id="a"), "path"),
        (LinqUpdateChatOperator(task_id="t", chat_id="c", display_name="{{ x }}", add=ANN), "display_name"),
        (LinqUpdateChatOperator(task_id="t", chat_id="c", display_name="Friday", remove="{{ x }}"), "remove"),
        (LinqCheckCapabilityOperator(task_id="t", address=ANN, from_="{{ x }}"), "from_"),
        (LinqRequestLocationOperator(task_id="t", chat_id="{{ x }}"), "chat_id"),
    ],
)
@pytest.mark.usefixtures("offline")
def test_what_another_task_has_made_none_is_not_left_out(operator: Any, name: str) -> None:
    setattr(operator, name, None)
    with pytest.raises(AirflowFailException, match=f"{name}: must have a value, got None"):
        run(operator)
