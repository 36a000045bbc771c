"""Once, and only once: which key a try sends with, and what retries, clears and killed tries make of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from airflow_provider_linq._internal.idempotency import (
    KEY_LIFETIME,
    OnClear,
    Record,
    check_key,
    idempotency_key,
    plan_send,
    target_of,
)
from airflow_provider_linq.operators.messages import LinqSendMessageOperator
from linq_client import APIConnectionError, InvalidRequestError, LineIneligibleError, LinqClient
from tests.airflow.conftest import Store, context
from tests.emulator_process import Emulator

ANN, BOB, CAT = "+12125550121", "+12125550122", "+12125550123"
SENT = {"message_id": "m", "chat_id": "c"}


@dataclass
class Instance:
    """A task instance in its first try; each clear raises `max_tries`."""

    dag_id: str = "dag"
    run_id: str = "run"
    task_id: str = "task"
    map_index: int | None = -1
    max_tries: int = 2


FIRST, CLEARED = Instance(), Instance(max_tries=4)
KEY = idempotency_key(FIRST)


@pytest.mark.parametrize("on_clear", ["keep", "resend"])
def test_a_retry_has_the_key_and_the_result_of_the_try_before(on_clear: OnClear) -> None:
    for result in (None, SENT):
        plan = plan_send(FIRST, Record("k", 2, result), None, on_clear)
        assert (plan.key, plan.result, plan.note) == ("k", result, None)


@pytest.mark.parametrize("on_clear", ["keep", "resend"])
def test_a_retry_has_the_same_key_where_airflow_keeps_no_record(on_clear: OnClear) -> None:
    assert plan_send(FIRST, None, None, on_clear) == plan_send(Instance(), None, None, on_clear)


def test_a_cleared_task_keeps_its_message_or_sends_another() -> None:
    record = Record(KEY, 2, SENT)
    kept = plan_send(CLEARED, record, None, "keep")
    assert (kept.key, kept.result) == (KEY, SENT)
    assert "on_clear is 'keep'" in (kept.note or "")
    again = plan_send(CLEARED, record, None, "resend")
    assert again.result is None
    assert again.key != KEY
    assert "on_clear is 'resend'" in (again.note or "")
    # Retries of the cleared task, with and without the record of its first try.
    assert plan_send(CLEARED, Record(again.key, 4, None), None, "resend").key == again.key
    assert plan_send(CLEARED, None, None, "resend").key == again.key
    # A second clear, and the way back.
    assert plan_send(Instance(max_tries=7), Record(again.key, 4, SENT), None, "resend").key not in (KEY, again.key)
    assert plan_send(CLEARED, None, None, "keep").key == KEY


def test_changing_on_clear_between_two_tries_sends_nothing_again() -> None:
    assert plan_send(FIRST, Record(KEY, 2, None), None, "resend").key == KEY


def test_a_given_key_that_renders_differently_in_a_retry_sends_nothing_again() -> None:
    plan = plan_send(FIRST, Record("at-noon", 2, SENT), "at-one", "keep")
    assert (plan.key, plan.result) == ("at-noon", SENT)
    assert "the key of the first try stays in force" in (plan.note or "")


def test_a_given_key_that_is_new_after_a_clear_counts_only_if_nothing_is_known_to_be_sent() -> None:
    unknown = plan_send(CLEARED, Record("order-7", 2, None), "order-7-again", "keep")
    assert (unknown.key, unknown.result) == ("order-7-again", None)
    kept = plan_send(CLEARED, Record("order-7", 2, SENT), "order-7-again", "keep")
    assert (kept.key, kept.result) == ("order-7", SENT)
    assert "on_clear is 'keep'" in (kept.note or "")
    assert plan_send(CLEARED, Record(KEY, 2, SENT), "first-key", "keep").result == SENT


@pytest.mark.parametrize("instance", [FIRST, CLEARED], ids=["retried", "cleared"])
@pytest.mark.parametrize("result", [None, SENT])
def test_the_record_of_another_recipient_is_neither_returned_nor_used(instance: Instance, result: Any) -> None:
    record = Record(KEY, 2, result, target="of Ann")
    with pytest.raises(AirflowFailException, match="was for another recipient"):
        plan_send(instance, record, None, "keep", target="of Bob")
    assert plan_send(instance, record, None, "keep", target="of Ann").key == KEY
    assert plan_send(CLEARED, record, None, "resend", target="of Bob").result is None


def test_the_key_of_a_mapped_instance_is_of_its_recipient_too() -> None:
    def key(target: str, **instance: Any) -> str:
        return plan_send(Instance(**instance), None, None, "keep", target=target).key

    assert key("of Ann", map_index=0) == key("of Ann", map_index=0, max_tries=7)
    assert len({key(to, map_index=index) for to in ("of Ann", "of Bob") for index in (0, 1)}) == 4
    assert key("of Ann") == key("of Bob") == KEY, "a text and a recipient may render differently in a retry"


def test_a_target_is_whom_and_from_where_in_any_order() -> None:
    assert target_of(None, [ANN, "b@example.com"], None) == target_of(None, ("b@example.com", ANN), None)
    assert target_of(None, ANN, None) == target_of(None, [ANN], None)
    others = [("c", None, None), (None, ANN, None), (None, [ANN, "b@example.com"], None), (None, ANN, "+12025550101")]
    assert len({target_of(*other) for other in others}) == 4


def test_a_given_key_and_resend_exclude_each_other() -> None:
    with pytest.raises(InvalidRequestError, match="not with on_clear='resend'"):
        plan_send(FIRST, None, "order-7", "resend")


@pytest.mark.parametrize("key", ["", " ", "None", "null", " None "])
def test_what_a_template_makes_of_nothing_is_no_key(key: str) -> None:
    with pytest.raises(InvalidRequestError, match="idempotency_key: must tell this message from others"):
        check_key(key)


@pytest.mark.parametrize("rendered", [7, None])
@pytest.mark.usefixtures("offline")
def test_a_key_that_renders_to_something_else_than_a_string_fails_at_once(rendered: Any) -> None:
    task = LinqSendMessageOperator(task_id="t", to=ANN, message="Hi", idempotency_key="{{ native }}")
    task.idempotency_key = rendered
    with pytest.raises(AirflowFailException, match="idempotency_key: must"):
        task.execute(context())


@pytest.fixture
def emulator(emulator: Emulator, connect: Callable[..., None]) -> Emulator:
    """The emulator, to which `linq_default` is a connection."""
    return emulator


def send(store: Store | None, operator: Mapping[str, Any] | None = None, **instance: Any) -> Any:
    task = LinqSendMessageOperator(task_id="t", **{"to": ANN, "message": "Hi", **(operator or {})})
    return task.execute(context(store, **instance))


def posts(emulator: Emulator) -> int:
    return sum(request["method"] == "POST" for request in emulator.requests_served())


@pytest.mark.parametrize("message", ["", "None"])
@pytest.mark.usefixtures("offline")
def test_a_key_in_the_message_is_checked_too(message: str) -> None:
    with pytest.raises(AirflowFailException, match="idempotency_key"):
        send(None, {"message": {"parts": ["Hi"], "idempotency_key": message}})


def test_the_key_is_recorded_before_the_post_and_the_result_after(emulator: Emulator) -> None:
    store = Store()
    emulator.control("POST", "faults", {"kind": "reset", "path": "/chats", "when": "after"})
    with pytest.raises(APIConnectionError):
        send(store)
    record = store.values["linq_message"]
    assert (record["key"], record["max_tries"], record["result"]) == (idempotency_key(FIRST), 0, None)
    emulator.control("DELETE", "faults")

    result = send(store)
    assert store.values["linq_message"]["result"] == result
    asked = posts(emulator)
    assert send(store) == result
    assert posts(emulator) == asked
    assert len(emulator.ledger()) == 1


def test_a_known_key_whose_message_is_gone_fails_and_sends_nothing(emulator: Emulator) -> None:
    sent = send(None)
    LinqClient(emulator.api_key, base_url=emulator.base_url).messages.delete(sent["message_id"])
    with pytest.raises(AirflowFailException, match="was sent before and is gone since"):
        send(None)
    assert len(emulator.ledger()) == 1


def test_a_recorded_result_needs_no_message_that_is_still_there(emulator: Emulator) -> None:
    store = Store()
    sent = send(store)
    LinqClient(emulator.api_key, base_url=emulator.base_url).messages.delete(sent["message_id"])
    assert send(store) == sent


@pytest.mark.parametrize(("order", "reason"), [("opted_out", "opted_out"), ("blocked", "blocked")])
def test_who_cannot_be_written_to(emulator: Emulator, order: str, reason: str) -> None:
    emulator.control("POST", "handles", {"handle": ANN, order: True})
    with pytest.raises(AirflowFailException, match=r"opted out|blocked"):
        send(None)
    with pytest.raises(AirflowSkipException, match=r"Not sent: .*(opted out|blocked)"):
        send(None, {"on_opt_out": "skip"})
    store = Store()
    result = send(store, {"on_opt_out": "return", "wait_for_delivery": "sent"})
    assert result["refused"] == reason
    assert result["message_id"] is None
    assert result["trace_id"]

    # The refusal is not the end: once they may be written to, the cleared task does it, under the same key.
    emulator.control("POST", "handles", {"handle": ANN, order: False})
    sent = send(store, {"on_opt_out": "return"}, max_tries=1)
    assert (sent["refused"], sent["idempotency_key"]) == (None, result["idempotency_key"])


@pytest.mark.parametrize("wrong", [{"on_opt_out": "ignore"}, {"on_clear": "never"}, {"wait_for_delivery": "queued"}])
def test_a_wrong_choice_is_an_error_of_the_dag(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be one of"):
        LinqSendMessageOperator(task_id="t", to=ANN, message="Hi", **wrong)


@pytest.mark.parametrize("has_store", [True, False], ids=["with a record", "without"])
def test_a_clear_keeps_the_message(emulator: Emulator, has_store: bool) -> None:
    store = Store() if has_store else None
    results = [send(store, max_tries=tries) for tries in (0, 0, 1, 2)]
    assert len({result["message_id"] for result in results}) == 1
    assert len(emulator.ledger()) == 1


@pytest.mark.parametrize("has_store", [True, False], ids=["with a record", "without"])
def test_a_clear_sends_another_message(emulator: Emulator, has_store: bool) -> None:
    store = Store() if has_store else None
    sent = [send(store, {"on_clear": "resend"}, max_tries=tries)["message_id"] for tries in (2, 2, 4, 4)]
    assert sent[0] == sent[1] != sent[2] == sent[3]
    assert len(emulator.ledger()) == 2


def test_a_mapped_task_whose_list_changed_writes_to_nobody_twice(emulator: Emulator) -> None:
    stores = [Store(), Store(), Store()]
    for index, to in enumerate([ANN, BOB]):
        send(stores[index], {"to": to}, map_index=index)
    for index, to in enumerate([CAT, ANN, BOB]):
        if index < 2:
            with pytest.raises(AirflowFailException, match="was for another recipient"):
                send(stores[index], {"to": to}, map_index=index, max_tries=1)
    assert [row["to"] for row in emulator.ledger()] == [[ANN], [BOB]]


def test_a_retry_goes_the_way_of_the_first_try(emulator: Emulator, connect: Callable[..., None]) -> None:
    """The scope of a key is not documented: on another way the platform may not know it."""
    for first, later in ((emulator.lines[0], emulator.lines[1]), (emulator.lines[0], None), (None, emulator.lines[0])):
        store, task_id = Store(), f"{first} {later}"
        connect(default_line=first)
        emulator.control("POST", "faults", {"kind": "reset", "method": "POST", "when": "after"})
        with pytest.raises(APIConnectionError):
            send(store, task_id=task_id)
        emulator.control("DELETE", "faults")
        connect(default_line=later)
        assert send(store, task_id=task_id)["message_id"]
    ways = [
        request["path"].rpartition("/v3/")[2] for request in emulator.requests_served() if request["method"] == "POST"
    ]
    assert ways == ["chats"] * 12 + ["messages"] * 6
    assert len(emulator.ledger()) == 3


def test_what_was_refused_binds_no_later_try(emulator: Emulator) -> None:
    store = Store()
    fault = {"kind": "status", "path": "/chats", "status": 403, "code": 2027, "count": 1}
    emulator.control("POST", "faults", fault)
    with pytest.raises(LineIneligibleError):
        send(store)
    assert send(store, {"from_": emulator.lines[1]})["message_id"]


def test_a_key_that_was_sent_too_long_ago_is_not_trusted(emulator: Emulator) -> None:
    store = Store()
    emulator.control("POST", "faults", {"kind": "reset", "path": "/chats", "when": "after"})
    with pytest.raises(APIConnectionError):
        send(store)
    emulator.control("DELETE", "faults")
    began = datetime.fromisoformat(store.values["linq_message"]["began"])
    store.values["linq_message"]["began"] = (began - KEY_LIFETIME).isoformat()
    with pytest.raises(AirflowFailException, match="may have been sent in a try of"):
        send(store)
    assert send(store, {"on_clear": "resend"}, max_tries=1)["message_id"]


@pytest.mark.parametrize("text", ["None", "null", " ", "\n"])
@pytest.mark.usefixtures("offline")
def test_a_text_that_a_template_made_of_nothing_is_not_sent(text: str) -> None:
    for message in (
        text,
        [{"type": "media", "url": "https://a.example/a.png"}, text],
        {"parts": [{"type": "text", "value": text}]},
    ):
        with pytest.raises(AirflowFailException, match=r"message\.parts\[.\]\.value: must say something"):
            send(None, {"message": message})
