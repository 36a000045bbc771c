"""The operator that erases a person, against the emulator."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_linq._internal.version_compat import AirflowFailException
from airflow_provider_linq.operators import erase as erase_module
from airflow_provider_linq.operators.erase import LinqEraseOperator
from tests.support.airflow import Store, context
from tests.support.emulator_process import Emulator

ANN = "+12025550121"


@pytest.fixture
def emulator(emulator: Emulator, connect: Callable[..., None]) -> Emulator:
    """The emulator, with a message of Ann in a direct chat; `linq_default` is a connection to it."""
    emulator.control("POST", "inbound", {"from": ANN, "line": emulator.lines[0], "text": "Please forget me"})
    return emulator


def erase(**arguments: Any) -> Any:
    return LinqEraseOperator(task_id="erase", **{"handle": ANN, **arguments}).execute(context(Store()))


def deletes(emulator: Emulator) -> int:
    return sum(request["method"] == "DELETE" for request in emulator.requests_served())


def test_a_dry_run_deletes_nothing_and_a_second_run_finds_nothing(
    emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    planned = erase(dry_run="True")
    assert (planned["messages"], planned["messages_deleted"], deletes(emulator)) == (1, 0, 0)
    done = erase()
    assert (done["messages"], done["messages_deleted"], deletes(emulator)) == (1, 1, 1)
    again = erase()
    assert (again["messages"], again["direct_chats"], deletes(emulator)) == (0, done["direct_chats"], 1)
    assert planned["person"] == "+1…21"
    for said in (json.dumps([planned, done, again]), caplog.text):
        assert ANN[1:] not in said
        assert "forget" not in said


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"handle": "None"}, "handle: must be that of a person, got 'None'"),
        ({"handle": "202-555-0121"}, "handle: must be an E.164 number"),
        ({"chat_ids": "abc"}, "chat_ids: must be a list of ids, got str"),
        ({"dry_run": "perhaps"}, "dry_run: must be true or false"),
    ],
)
def test_wrong_values_are_refused_before_anything_is_deleted(
    emulator: Emulator, arguments: dict[str, Any], why: str
) -> None:
    before = len(emulator.requests_served())
    with pytest.raises(AirflowFailException, match=why):
        erase(**arguments)
    assert len(emulator.requests_served()) == before


def test_what_is_refused_for_good_fails_the_task_and_leaves_the_report(emulator: Emulator) -> None:
    emulator.control("POST", "faults", {"kind": "status", "status": 403, "code": 2005, "method": "DELETE"})
    pushed = {}
    running = context(Store())
    running["ti"].xcom_push = pushed.__setitem__
    with pytest.raises(AirflowFailException, match="1 could not be deleted, first of them message .*: access_denied"):
        LinqEraseOperator(task_id="erase", handle=ANN).execute(running)
    assert pushed["return_value"]["not_deleted"][0]["kind"] == "message"


def test_a_result_has_not_every_refusal(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is refused all of a long history would not fit into XCom."""
    monkeypatch.setattr(erase_module, "_MAX_NOT_DELETED", 1)
    emulator.control("POST", "inbound", {"line": emulator.lines[0], "from": ANN, "text": "Another"})
    emulator.control("POST", "faults", {"kind": "status", "status": 403, "code": 2005, "method": "DELETE", "count": 50})
    pushed = {}
    running = context(Store())
    running["ti"].xcom_push = pushed.__setitem__
    with pytest.raises(AirflowFailException, match="^[2-9] could not be deleted"):
        LinqEraseOperator(task_id="erase", handle=ANN).execute(running)
    assert len(pushed["return_value"]["not_deleted"]) == 1
