"""Waiting for a delivery and for a message: on the worker and in the triggerer, with the same result."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, TypeVar

import pytest
from airflow.triggers.base import BaseTrigger

from airflow_provider_linq._internal.version_compat import (
    AirflowException,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)
from airflow_provider_linq.operators.messages import LinqSendMessageOperator
from airflow_provider_linq.sensors.linq import LinqDeliverySensor, LinqMessageSensor
from airflow_provider_linq.triggers.linq import LinqDeliveryTrigger, LinqMessageTrigger
from linq_client import APIConnectionError, LinqClient, LinqError
from tests.support.airflow import Store, context
from tests.support.emulator_process import Emulator
from tests.support.waiting import PATIENCE, until

ANN, BOB, CAT = "+12125550121", "+12125550122", "+12125550123"
EARLY = "2026-03-01T00:00:00Z"
T = TypeVar("T")


@pytest.fixture
def emulator(emulator: Emulator, connect: Callable[..., None]) -> Emulator:
    """The emulator, to which `linq_default` is a connection."""
    return emulator


def send(to: Any = ANN, **arguments: Any) -> Any:
    operator = LinqSendMessageOperator(task_id="t", to=to, message="Hi", poll_interval=0.1, **arguments)
    return operator.execute(context(task_id=str(to)))


def inbound(emulator: Emulator, sender: str, text: str, **more: Any) -> str:
    order = {"line": emulator.lines[0], "from": sender, "text": text, **more}
    return str(emulator.control("POST", "inbound", order)["id"])


async def event_of(trigger: BaseTrigger) -> Any:
    """Run a trigger as a triggerer does: made again from what it serializes to."""
    path, kwargs = trigger.serialize()
    again = type(trigger)(**json.loads(json.dumps(kwargs)))
    assert path == f"{type(trigger).__module__}.{type(trigger).__name__}"
    async for event in again.run():
        return event.payload
    raise AssertionError("the trigger ended without an event")


def after_polls(emulator: Emulator, order: Callable[[], object], waiting: Coroutine[Any, Any, T]) -> T:
    """Give an order while something is waited for, and has asked some times."""

    async def both() -> T:
        before = len(emulator.requests_served())
        task = asyncio.create_task(waiting)
        await until(lambda: len(emulator.requests_served()) >= before + 4)
        assert not task.done()
        await asyncio.to_thread(order)
        return await asyncio.wait_for(task, PATIENCE)

    return asyncio.run(both())


def resume(operator: Any, deferred: TaskDeferred, event: Mapping[str, Any]) -> Any:
    return operator.resume_execution(deferred.method_name, {**(deferred.kwargs or {}), "event": event}, context())


def test_a_send_waits_for_its_delivery_on_the_worker_and_in_the_triggerer(emulator: Emulator) -> None:
    emulator.control("POST", "clock", {"freeze": False, "speed": 20})
    on_worker = send(ANN, wait_for_delivery="delivered")
    operator = LinqSendMessageOperator(
        task_id="t", to=BOB, message="Hi", poll_interval=0.1, wait_for_delivery="delivered", deferrable=True
    )
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context())
    assert deferred.value.timeout == timedelta(hours=1)
    event = asyncio.run(event_of(deferred.value.trigger))
    in_triggerer = resume(operator, deferred.value, event)
    assert on_worker["delivery_status"] == in_triggerer["delivery_status"] == "delivered"
    assert on_worker["service"] == in_triggerer["service"] == "iMessage"
    assert on_worker.keys() == in_triggerer.keys()


def test_a_delivery_that_does_not_come_in_time(emulator: Emulator) -> None:
    with pytest.raises(AirflowException, match=r"is pending, and not sent, after 0\.3 seconds"):
        send(wait_for_delivery="sent", delivery_timeout=0.3)


def test_a_delivery_that_no_trigger_has_seen_is_looked_for_at_the_end(emulator: Emulator) -> None:
    given: dict[str, Any] = {"to": ANN, "message": "Hi", "wait_for_delivery": "delivered", "deferrable": True}
    operator, store = LinqSendMessageOperator(task_id="t", **given), Store()
    with pytest.raises(TaskDeferred):
        operator.execute(context(store))
    with pytest.raises(AirflowException, match="Trigger timeout"):
        operator.resume_execution("__fail__", {"error": "Trigger timeout"}, context(store))
    emulator.advance(600)
    result = operator.resume_execution("__fail__", {"error": "Trigger timeout"}, context(store))
    assert result["delivery_status"] == "delivered"


def test_sms_and_groups_end_at_sent(emulator: Emulator) -> None:
    emulator.control("POST", "handles", {"handle": ANN, "services": ["SMS"]})
    sent = [send(ANN), send([BOB, CAT])]
    emulator.advance(60)
    for result in sent:
        sensor = LinqDeliverySensor(task_id="s", message_id=result["message_id"], until="read")
        found = sensor.poke(context())
        assert found.is_done
        assert found.xcom_value["delivery_status"] == "sent"
        assert found.xcom_value["sent_at"] == "2026-03-01T12:00:01Z"
        assert found.xcom_value["delivered_at"] is None


def test_a_direct_message_does_not(emulator: Emulator) -> None:
    message = send()["message_id"]
    sensor = LinqDeliverySensor(task_id="s", message_id=message, until="read")
    emulator.advance(60)
    assert not sensor.poke(context())
    emulator.control("POST", "receipts", {"message_id": message, "status": "read"})
    assert sensor.poke(context()).xcom_value["read_at"] == "2026-03-01T12:01:00Z"


def test_a_failure_is_believed_after_the_grace_time(emulator: Emulator) -> None:
    first, second = send(ANN)["message_id"], send(BOB)["message_id"]
    for message in (first, second):
        emulator.control("POST", "receipts", {"message_id": message, "status": "failed", "code": 4001})
    sensors = [LinqDeliverySensor(task_id="s", message_id=message, failure_grace=120) for message in (first, second)]
    emulator.advance(100)
    assert not any(sensor.poke(context()) for sensor in sensors)
    emulator.control("POST", "receipts", {"message_id": first, "status": "delivered"})
    emulator.advance(30)
    assert sensors[0].poke(context())
    with pytest.raises(AirflowFailException, match=f"Message {second} could not be delivered"):
        sensors[1].poke(context())

    deferrable = LinqDeliverySensor(task_id="s", message_id=second, deferrable=True, soft_fail=True)
    with pytest.raises(TaskDeferred) as deferred:
        deferrable.execute(context())
    emulator.advance(300)
    event = asyncio.run(event_of(deferred.value.trigger))
    assert event["state"] == "failed"
    with pytest.raises(AirflowFailException, match=f"Message {second} could not be delivered"):
        resume(deferrable, deferred.value, event)


def test_a_message_that_is_not_there_is_not_waited_for(emulator: Emulator) -> None:
    nowhere = "00000000-0000-4000-8000-000000000000"
    with pytest.raises(AirflowFailException, match="the message does not exist"):
        LinqDeliverySensor(task_id="s", message_id=nowhere, deferrable=True).execute(context())
    event = asyncio.run(event_of(LinqDeliveryTrigger(linq_conn_id="linq_default", message_id=nowhere, until="sent")))
    assert event["permanent"]
    with pytest.raises(AirflowFailException, match="the message does not exist"):
        LinqDeliverySensor(task_id="s", message_id=nowhere).execute_complete(context(), event)


def test_a_received_message_is_not_waited_for_either(emulator: Emulator) -> None:
    message = inbound(emulator, ANN, "Hi")
    with pytest.raises(AirflowFailException, match="message_id: must be of a message that was sent"):
        LinqDeliverySensor(task_id="s", message_id=message).poke(context())


PLACES: list[dict[str, Any]] = [{"chat_id": "chat"}, {"from_handle": ANN}, {"line": "+12025550101"}]


@pytest.mark.parametrize("moves", [True, False], ids=["chats move", "chats stand still"])
@pytest.mark.parametrize("order", ["newest", "unordered"])
@pytest.mark.parametrize("place", PLACES, ids=["chat", "handle", "line"])
def test_a_message_is_found_on_the_worker_and_in_the_triggerer(
    emulator: Emulator, place: dict[str, Any], order: str, moves: bool
) -> None:
    emulator.control("PATCH", "switches", {"message_order": order, "message_moves_chat": moves})
    chat = send()["chat_id"]
    send(BOB)
    emulator.advance(7200)
    place = {name: chat if name == "chat_id" else value for name, value in place.items()}
    sensor = LinqMessageSensor(
        task_id="s", **place, since="2026-03-01T13:59:00Z", text_matches="(?i)^yes", deferrable=True, poke_interval=0.2
    )
    with pytest.raises(TaskDeferred) as deferred:
        sensor.execute(context())

    def answer() -> None:
        inbound(emulator, ANN, "Let me see")
        emulator.advance(1)
        inbound(emulator, ANN, "Yes, please")
        emulator.advance(1)
        inbound(emulator, ANN, "Yes!")

    if not moves:  # nothing but a sweep shows it: the one that a trigger begins with
        answer()
        event = asyncio.run(event_of(deferred.value.trigger))
    else:
        event = after_polls(emulator, answer, event_of(deferred.value.trigger))
    assert event.keys() == {"chat_id", "message_id", "created_at", "polls", "waited"}
    in_triggerer = resume(sensor, deferred.value, event)
    assert in_triggerer["text"] == "Yes, please"

    on_worker = LinqMessageSensor(task_id="s", **place, since="2026-03-01T13:59:00Z", text_matches="(?i)^yes")
    assert on_worker.execute(context()) == in_triggerer


def test_nobody_wrote_what_has_no_parts(emulator: Emulator) -> None:
    emulator.control("PATCH", "switches", {"tombstones": True})
    chat = send()["chat_id"]
    emulator.advance(60)
    deleted = inbound(emulator, ANN, "Never mind")
    emulator.advance(60)

    def poke() -> Any:
        return LinqMessageSensor(task_id="s", chat_id=chat, since="2026-03-01T12:00:30Z").poke(context())

    assert poke().xcom_value["text"] == "Never mind"
    with LinqClient(emulator.api_key, base_url=emulator.base_url) as client:
        client.messages.delete(deleted)
    assert not poke()
    inbound(emulator, ANN, "Yes")
    assert poke().xcom_value["text"] == "Yes"


def long_ones(message: Mapping[str, Any]) -> bool:
    return len(message["text"]) > 10


def broken(message: Mapping[str, Any]) -> bool:
    raise ValueError(message["text"])


def test_a_predicate_decides(emulator: Emulator) -> None:
    inbound(emulator, ANN, "Short")
    inbound(emulator, BOB, "Rather a long one")
    sensor = LinqMessageSensor(task_id="s", line=emulator.lines[0], since=EARLY, predicate=f"{__name__}.long_ones")
    assert sensor.poke(context()).xcom_value["from_handle"] == BOB


def test_a_predicate_that_raises_tells_nothing_of_the_message(emulator: Emulator) -> None:
    inbound(emulator, ANN, "A secret")
    sensor = LinqMessageSensor(task_id="s", line=emulator.lines[0], since=EARLY, predicate=f"{__name__}.broken")
    with pytest.raises(AirflowFailException, match=r"predicate: .*broken raised ValueError") as raised:
        sensor.poke(context())
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "refusal"),
    [
        ({}, "chat_id: must be given, or from_handle or line"),
        ({"chat_id": "c", "line": "+12025550101"}, "chat_id: excludes line"),
        ({"line": "202-555-0101"}, "line: must be E.164"),
        ({"chat_id": "c", "predicate": "nowhere.to_be_found"}, "predicate: must be the path of a function"),
    ],
)
@pytest.mark.usefixtures("offline")
def test_wrong_arguments_end_the_task_and_never_the_triggerer(arguments: dict[str, Any], refusal: str) -> None:
    with pytest.raises(AirflowFailException, match=refusal):
        LinqMessageSensor(task_id="s", since=EARLY, **arguments).execute(context())
    event = asyncio.run(event_of(LinqMessageTrigger(linq_conn_id="linq_default", since=EARLY, **arguments)))
    assert event["permanent"]
    assert event["error"].startswith(refusal.split(":")[0])


def test_a_sensor_times_out_alike_both_ways(emulator: Emulator) -> None:
    chat = send()["chat_id"]
    arguments: dict[str, Any] = {"task_id": "s", "chat_id": chat, "since": EARLY, "poke_interval": 0.1, "timeout": 0.2}
    with pytest.raises(AirflowSensorTimeout):
        LinqMessageSensor(**arguments).execute(context())
    for soft_fail, expected in ((False, AirflowSensorTimeout), (True, AirflowSkipException)):
        sensor = LinqMessageSensor(**arguments, deferrable=True, soft_fail=soft_fail)
        with pytest.raises(TaskDeferred) as deferred:
            sensor.execute(context())
        assert deferred.value.timeout == timedelta(seconds=0.2)
        with pytest.raises(expected):
            sensor.resume_execution("__fail__", {"error": "Trigger timeout"}, context())


def test_the_first_poke_of_a_deferrable_sensor_may_fail(emulator: Emulator) -> None:
    nowhere: dict[str, Any] = {"task_id": "s", "chat_id": "00000000-0000-4000-8000-000000000000", "since": EARLY}
    with pytest.raises(AirflowSkipException, match="never_fail is set: .*the chat does not exist"):
        LinqMessageSensor(**nowhere, deferrable=True, never_fail=True).execute(context())
    emulator.control("POST", "faults", {"kind": "status", "status": 500, "code": 3006, "count": 5})
    with suppress(TaskDeferred):
        LinqMessageSensor(**nowhere, deferrable=True, silent_fail=True).execute(context())


@pytest.mark.usefixtures("emulator")
def test_a_silent_first_poke_that_learned_no_time_waits_from_the_start_of_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(sensor: object, context: object) -> None:
        raise APIConnectionError("down")

    monkeypatch.setattr(LinqMessageSensor, "_since_in_server_time", fail)
    now = context()
    with pytest.raises(TaskDeferred) as deferred:
        LinqMessageSensor(task_id="s", chat_id="c", deferrable=True, silent_fail=True).execute(now)
    assert datetime.fromisoformat(deferred.value.trigger.serialize()[1]["since"]) == now["dag_run"].start_date


def test_a_sensor_pokes_within_a_running_loop(emulator: Emulator) -> None:
    """As `dag.test()` does in a notebook."""
    inbound(emulator, ANN, "Hi")
    sensor = LinqMessageSensor(task_id="s", line=emulator.lines[0], since=EARLY)

    async def notebook() -> Any:
        return sensor.poke(context())

    assert asyncio.run(notebook()).xcom_value["text"] == "Hi"


def test_a_sensor_passes_over_a_chat_that_cannot_be_read(emulator: Emulator) -> None:
    broken = send(ANN)["chat_id"]
    fault = {"kind": "status", "path": f"/chats/{broken}/messages", "status": 400, "code": 1002}
    emulator.control("POST", "faults", fault)
    sensor = LinqMessageSensor(task_id="s", line=emulator.lines[0], since=EARLY)
    assert not sensor.poke(context())
    inbound(emulator, BOB, "Hi")
    assert sensor.poke(context()).xcom_value["text"] == "Hi"


@pytest.mark.usefixtures("impatient")
def test_a_line_whose_chats_no_poll_can_read_is_an_outage_and_no_silence(emulator: Emulator) -> None:
    """The list is there; of the chats, and of the account, nothing can be read."""
    send(ANN)
    emulator.control(
        "POST", "faults", {"kind": "status", "path": "/messages|/phone_numbers", "method": "GET", "status": 503}
    )
    sensor = LinqMessageSensor(task_id="s", line=emulator.lines[0], since=EARLY)
    with pytest.raises(LinqError, match="HTTP 503"):
        sensor.poke(context())
    trigger = LinqMessageTrigger(
        linq_conn_id="linq_default",
        line=emulator.lines[0],
        since=EARLY,
        poll_interval=0.05,
        max_consecutive_failures=2,
    )
    event = asyncio.run(event_of(trigger))
    assert (event["permanent"], event["polls"]) == (False, 2)
    assert "HTTP 503" in event["error"]


def test_a_message_that_was_found_and_may_not_be_read_is_no_message_that_is_gone(emulator: Emulator) -> None:
    send(ANN)
    message = inbound(emulator, ANN, "Hi")
    emulator.control("POST", "faults", {"kind": "status", "path": "/messages/", "status": 403, "code": 2005})
    sensor = LinqMessageSensor(task_id="s", from_handle=ANN, since=EARLY)
    event = {"chat_id": "c", "message_id": message, "polls": 1, "waited": 1.0}
    with pytest.raises(AirflowFailException, match="code 2005"):
        sensor.execute_complete(context(), event)


def test_a_delivery_that_the_triggerer_has_seen_is_the_result() -> None:
    sensor = LinqDeliverySensor(task_id="s", message_id="m")
    delivery = {
        "message_id": "m",
        "delivery_status": "delivered",
        "sent_at": None,
        "delivered_at": EARLY,
        "read_at": None,
    }
    event = {"state": "reached", "delivery": delivery, "polls": 2, "waited": 3.0}
    assert sensor.execute_complete(context(), event) == delivery


def test_a_trigger_refuses_what_it_can_not_wait_for(emulator: Emulator) -> None:
    event = asyncio.run(event_of(LinqDeliveryTrigger(linq_conn_id="linq_default", message_id="m", until="opened")))
    assert event["permanent"]
    assert event["error"] == "until: must be one of sent, delivered, read, got 'opened'"


def test_an_interval_may_be_a_timedelta(emulator: Emulator) -> None:
    emulator.control("POST", "clock", {"freeze": False, "speed": 20})
    operator = LinqSendMessageOperator(
        task_id="t", to=ANN, message="Hi", poll_interval=timedelta(seconds=0.1), wait_for_delivery="delivered"
    )
    assert operator.execute(context())["delivery_status"] == "delivered"


@pytest.mark.usefixtures("emulator")
def test_an_event_that_does_not_tell_of_the_send_is_enough_where_there_is_a_record() -> None:
    operator, store = LinqSendMessageOperator(task_id="t", to=ANN, message="Hi"), Store()
    sent = operator.execute(context(store))
    delivery = {"message_id": sent["message_id"], "delivery_status": "delivered", "service": "iMessage"}
    event = {"state": "reached", "delivery": delivery}
    expected = {**sent, "delivery_status": "delivered", "service": "iMessage"}
    assert operator.execute_complete(context(store), event) == expected
    with pytest.raises(AirflowFailException, match="nothing more is known"):
        operator.execute_complete(context(), event)


def test_a_trigger_survives_bad_polls_and_gives_up_after_many(emulator: Emulator) -> None:
    message = send()["message_id"]
    emulator.advance(60)
    fault = {"kind": "status", "path": "/messages/", "status": 500, "code": 3006}
    emulator.control("POST", "faults", {**fault, "count": 2})
    trigger = LinqDeliveryTrigger(linq_conn_id="linq_default", message_id=message, until="sent", poll_interval=0.05)
    assert asyncio.run(event_of(trigger))["state"] == "reached"

    emulator.control("POST", "faults", fault)
    trigger.max_consecutive_failures = 3
    event = asyncio.run(event_of(trigger))
    assert not event["permanent"]
    with pytest.raises(AirflowException, match=r"Waiting has failed: .*code 3006"):
        LinqDeliverySensor(task_id="s", message_id=message).execute_complete(context(), event)


def test_a_trigger_waits_as_long_as_the_api_says(emulator: Emulator) -> None:
    message = send()["message_id"]
    emulator.advance(60)
    fault = {"kind": "status", "path": "/messages/", "status": 429, "code": 1007, "retry_after": 1, "count": 1}
    emulator.control("POST", "faults", fault)
    started = time.monotonic()
    asyncio.run(
        event_of(LinqDeliveryTrigger(linq_conn_id="linq_default", message_id=message, until="sent", poll_interval=0.01))
    )
    assert time.monotonic() - started >= 1


@pytest.mark.parametrize("place", ["chat_id", "line"])
def test_triggers_share_their_polls(emulator: Emulator, place: str) -> None:
    given = {"chat_id": send()["chat_id"], "line": emulator.lines[0]}[place]
    send(BOB)

    async def ten() -> int:
        """The number of polls that ten triggers make until a message comes."""
        arguments = {"linq_conn_id": "linq_default", "since": EARLY, "poll_interval": 0.4, place: given}
        triggers = [LinqMessageTrigger(**arguments) for _ in range(10)]
        tasks = [asyncio.create_task(event_of(trigger)) for trigger in triggers]
        await until(lambda: len(emulator.requests_served()) >= before + 6)
        tasks.pop().cancel()  # the others go on
        await asyncio.to_thread(emulator.advance, 1)
        await asyncio.to_thread(inbound, emulator, ANN, "At last")
        events = await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE)
        assert len({event["message_id"] for event in events}) == 1
        return sum(event["polls"] for event in events)

    before = len(emulator.requests_served())
    polls = asyncio.run(ten())
    assert polls >= 18
    assert len(emulator.requests_served()) - before <= polls / 2


def test_a_trigger_holds_no_key_and_takes_what_other_versions_stored(emulator: Emulator) -> None:
    trigger = LinqMessageTrigger(
        linq_conn_id="linq_default", since=EARLY, chat_id="c", **{"from_an_older_version": True}
    )
    _, kwargs = trigger.serialize()
    assert emulator.api_key not in json.dumps(kwargs)
    assert "from_an_older_version" not in kwargs


@pytest.mark.parametrize("name", ["chat_id", "from_handle", "line", "since", "text_matches", "linq_conn_id"])
@pytest.mark.usefixtures("offline")
def test_a_place_that_renders_to_none_is_not_left_out(name: str) -> None:
    """Else the sensor would take other messages."""
    sensor = LinqMessageSensor(task_id="s", **{"from_handle": ANN, name: "{{ ti.xcom_pull('upstream') }}"})
    setattr(sensor, name, None)
    with pytest.raises(AirflowFailException, match=f"{name}: must have a value, got None"):
        sensor.execute(context())
