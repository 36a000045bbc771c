"""Mapped sends whose list changes between a run and its clear: everybody gets one message, whatever index they have."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_provider_linq._internal.key_lifetimes import KEY_TRUST
from airflow_provider_linq._internal.version_compat import AirflowException, AirflowFailException
from airflow_provider_linq.operators.chats import LinqSendVoiceMemoOperator
from airflow_provider_linq.operators.messages import LinqCreateChatOperator
from linq_client import APIConnectionError, LinqClient, LinqError
from tests.support.airflow import Store, context
from tests.support.emulator_process import Emulator
from tests.support.sends import ANN, BOB, CAT, DAN, lost_answers, send, sent_to

pytestmark = pytest.mark.usefixtures("impatient")

PEOPLE = [f"person{number}@example.com" for number in range(12)]


@pytest.fixture
def emulator(emulator: Emulator, connect: Callable[..., None]) -> Emulator:
    """The emulator, to which `linq_default` is a connection."""
    return emulator


class Mapped:
    """
    A mapped task of one DAG run: instances that Airflow knows by their index, each with a store of its own.

    :param has_store: whether Airflow keeps records (3.3).
    :param hours_ago: when the run started.
    """

    def __init__(self, *, has_store: bool = True, hours_ago: float = 0, **arguments: Any) -> None:
        self._arguments = {"message": "Your order has left us", "on_clear": "keep", **arguments}
        self._has_store = has_store
        self._started = datetime.now(timezone.utc) - timedelta(hours=hours_ago)
        self._stores: dict[int, Store] = {}
        self._tries: dict[int, int] = {}

    def run(self, people: list[Any]) -> list[Any]:
        """Run an instance for each item of a list, or as the list is after a clear; what each came to."""
        return [self.run_one(index, item) for index, item in enumerate(people)]

    def run_one(self, index: int, item: Any) -> Any:
        arguments = {**self._arguments, **(item if isinstance(item, dict) else {"to": item})}
        number = self._tries[index] = self._tries.get(index, 0) + 1
        store = self._stores.setdefault(index, Store()) if self._has_store else None
        ids = {"map_index": index, "try_number": number, "max_tries": number - 1, "started": self._started}
        try:
            return LinqCreateChatOperator(task_id="t", **arguments).execute(context(store, **ids))
        except (AirflowException, LinqError) as error:
            return error


KINDS = pytest.mark.parametrize("has_store", [True, False], ids=["3.3", "3.2"])
AGES = pytest.mark.parametrize("forgotten", [False, True], ids=["soon", "when keys are forgotten"])


@pytest.fixture
def pass_time(emulator: Emulator, forgotten: bool) -> Callable[[], None]:
    """Let so much time pass that the platform forgets its keys, or none."""
    emulator.control("PATCH", "switches", {"idempotency_hours": 0.25})
    return lambda: emulator.advance(KEY_TRUST.total_seconds() + 60) if forgotten else None


@KINDS
@AGES
def test_the_bad_entry_is_taken_off_the_list(
    emulator: Emulator, has_store: bool, pass_time: Callable[[], None]
) -> None:
    """The natural repair: it fails, is removed, and the task is cleared with what comes before it."""
    emulator.control("POST", "handles", {"handle": CAT, "opted_out": True})
    task = Mapped(has_store=has_store, hours_ago=2)
    refused, *sent = task.run([CAT, ANN, BOB])
    assert isinstance(refused, AirflowFailException)
    pass_time()
    again = task.run([ANN, BOB])
    assert [result["message_id"] for result in again] == [result["message_id"] for result in sent]
    assert sent_to(emulator) == {ANN: 1, BOB: 1}


@KINDS
@AGES
@pytest.mark.parametrize("seed", range(3))
def test_a_run_is_stopped_midway_and_the_list_comes_in_another_order(
    emulator: Emulator, has_store: bool, forgotten: bool, pass_time: Callable[[], None], seed: int
) -> None:
    task = Mapped(has_store=has_store, hours_ago=2)
    for index in range(5):
        task.run_one(index, PEOPLE[index])
    pass_time()
    shuffled = random.Random(seed).sample(PEOPLE, len(PEOPLE))
    for index, person in enumerate(shuffled):
        # Whoever was not begun has its first try now, and Airflow doesn't say that the run was cleared.
        result = task.run_one(index, person)
        assert isinstance(result, dict), result
    expected = dict.fromkeys(PEOPLE, 1)
    if forgotten:  # a limit: a person who moves to an index that has not run yet, when the platform knows no key
        moved = set(PEOPLE[:5]) & set(shuffled[5:])
        expected.update(dict.fromkeys(moved, 2))
    assert sent_to(emulator) == expected


@KINDS
def test_a_list_that_grows(emulator: Emulator, has_store: bool) -> None:
    task = Mapped(has_store=has_store, hours_ago=2)
    task.run([ANN, BOB])
    task.run([DAN, ANN, CAT, BOB])
    assert sent_to(emulator) == {ANN: 1, BOB: 1, CAT: 1, DAN: 1}


@pytest.mark.parametrize("second", ["Will you come?", "It is at noon"])
def test_a_first_try_takes_no_earlier_message_of_the_run_for_its_own(emulator: Emulator, second: str) -> None:
    """Also where something of the run was cleared: reminders have the same text, and conversations another one."""
    run = {"due": datetime.now(timezone.utc) - 4 * KEY_TRUST, "clears": 1, "map_index": 0}
    send(Store(), {**run, "task_id": "first"}, message="Will you come?")
    emulator.advance(2 * KEY_TRUST.total_seconds())
    send(Store(), {**run, "task_id": "second"}, message=second)
    assert sent_to(emulator) == {ANN: 2}


def test_an_instance_returns_the_result_of_nobody_else(emulator: Emulator) -> None:
    task = Mapped()
    ann, bob = task.run([ANN, BOB])
    for _ in range(2):
        assert [result["chat_id"] for result in task.run([BOB, ANN])] == [bob["chat_id"], ann["chat_id"]]
        assert [result["chat_id"] for result in task.run([ANN, BOB])] == [ann["chat_id"], bob["chat_id"]]
    assert sent_to(emulator) == {ANN: 1, BOB: 1}


def test_a_message_in_doubt_is_settled_by_whoever_stands_for_its_recipient(emulator: Emulator) -> None:
    task = Mapped(hours_ago=2)
    with lost_answers(emulator):
        assert isinstance(task.run_one(0, ANN), APIConnectionError)
    task.run([BOB, ANN])
    assert sent_to(emulator) == {ANN: 1, BOB: 1}


@KINDS
def test_a_line_that_depends_on_the_position_doubles_nothing(emulator: Emulator, has_store: bool) -> None:
    lines = emulator.lines
    task = Mapped(has_store=has_store)
    task.run([{"to": to, "from_": lines[index % 2]} for index, to in enumerate([CAT, ANN, BOB])])
    task.run([{"to": to, "from_": lines[index % 2]} for index, to in enumerate([ANN, BOB])])
    assert sent_to(emulator) == {ANN: 1, BOB: 1, CAT: 1}


def test_a_clear_that_resends_sends_one_more_to_each(emulator: Emulator) -> None:
    task = Mapped(on_clear="resend")
    task.run([CAT, ANN, BOB])
    task.run([ANN, BOB])
    assert sent_to(emulator) == {ANN: 2, BOB: 2, CAT: 1}


@KINDS
def test_two_messages_for_one_recipient_need_keys(emulator: Emulator, has_store: bool) -> None:
    orders = [{"to": ANN, "message": "Order 1 has left us"}, {"to": ANN, "message": "Order 2 has left us"}]
    task = Mapped(has_store=has_store)
    first, second = task.run(orders)
    assert first["message_id"]
    assert isinstance(second, AirflowFailException)
    assert "another message for the same recipient" in str(second)
    assert "Give a key that tells the messages apart" in str(second)
    assert "Order" not in str(second)

    orders[1]["idempotency_key"] = "order-2"
    first_again, second = task.run(orders)
    assert first_again["message_id"] == first["message_id"] != second["message_id"]
    assert sent_to(emulator) == {ANN: 2}


def test_of_two_messages_for_one_recipient_none_is_taken_for_the_other_in_a_retry(emulator: Emulator) -> None:
    task = Mapped()
    task.run_one(0, {"to": ANN, "message": "Order 1 has left us"})
    with lost_answers(emulator):
        assert isinstance(task.run_one(1, {"to": ANN, "message": "Order 2 has left us"}), APIConnectionError)
    second = task.run_one(1, {"to": ANN, "message": "Order 2 has left us"})
    assert "another message for the same recipient" in str(second)


def test_a_text_that_renders_differently_in_a_retry_is_no_other_message(emulator: Emulator) -> None:
    task = Mapped()
    with lost_answers(emulator):
        assert isinstance(task.run_one(0, {"to": ANN, "message": "It is 9:00"}), APIConnectionError)
    assert task.run_one(0, {"to": ANN, "message": "It is 9:05"})["message_id"]
    assert sent_to(emulator) == {ANN: 1}


def test_a_recipient_who_is_on_the_list_twice_gets_one_message(
    emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    task = Mapped()
    first = task.run_one(0, ANN)
    emulator.advance(5)
    assert task.run_one(1, ANN)["message_id"] == first["message_id"]
    assert "The message was sent before: nothing was sent now" in caplog.text


def test_a_given_key_that_was_used_for_another_text_is_taken_as_it_is(
    emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    """Once a week, say, whatever the text is by then."""
    first = send(Store(), idempotency_key="week-9")
    for index in (-1, 0):
        later = {"run_id": "later", "map_index": index}
        again = send(Store(), later, message="Hello again", idempotency_key="week-9")
        assert again["message_id"] == first["message_id"]
    assert "has returned an earlier message of this key, which has other content" in caplog.text


def test_records_of_a_mapped_task_name_their_recipients_by_hash(emulator: Emulator) -> None:
    store = Store()
    for to in (ANN, BOB):
        send(store, {"map_index": 0}, to=to)
    assert len(store.values) == 2
    assert all(name.startswith("linq_message_") for name in store.values)
    assert ANN not in json.dumps(store.values)


def test_a_voice_memo_is_never_taken_for_that_of_another_chat(emulator: Emulator) -> None:
    """Nothing but the record keeps a memo from being sent twice: what has no record may have been sent by others."""
    client = LinqClient(emulator.api_key, base_url=emulator.base_url)
    recording = client.attachments.upload(b"\x00\x00\x00\x20ftypM4A " + b"\x00" * 100, filename="hi.m4a")
    chats = [send(None, {"task_id": to}, to=to, message="Hello")["chat_id"] for to in (ANN, BOB)]
    stores = [Store(), Store()]

    def memo(index: int, chat: str, **instance: Any) -> Any:
        operator = LinqSendVoiceMemoOperator(task_id="t", chat_id=chat, attachment_id=recording)
        return operator.execute(context(stores[index], map_index=index, **instance))

    sent = [memo(index, chat) for index, chat in enumerate(chats)]
    for index, chat in enumerate(reversed(chats)):
        with pytest.raises(AirflowFailException, match="may have been sent in an earlier try"):
            memo(index, chat, try_number=2, max_tries=1)
    assert [memo(index, chat, try_number=3, max_tries=2) for index, chat in enumerate(chats)] == sent
