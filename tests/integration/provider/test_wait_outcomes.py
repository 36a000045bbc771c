"""What the end of a wait means, on the worker and in the triggerer, and what is said of it."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import lru_cache
from typing import Any

import pytest

from airflow_provider_linq._internal import sensor, text_search
from airflow_provider_linq._internal.polling import THREADS_OF_ACCOUNT
from airflow_provider_linq._internal.version_compat import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferralError,
    TaskDeferred,
)
from airflow_provider_linq.hooks import linq as hooks
from airflow_provider_linq.sensors.linq import LinqDeliverySensor, LinqMessageSensor
from airflow_provider_linq.triggers.linq import LinqMessageTrigger
from linq_client import LinqError
from tests.integration.provider.test_waiting import event_of, resume
from tests.integration.provider.test_watcher import AssetStore, Watching
from tests.support.airflow import Run, context
from tests.support.gateway import silent_server
from tests.support.inbound_api import LINE, NOON, HostileAPI, running_hostile_api
from tests.support.waiting import PATIENCE, until

EARLY = "2026-03-01T00:00:00Z"


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[HostileAPI]:
    """A hostile API, to which `linq_default` is a connection whose clients try once."""

    @lru_cache
    def one_try(settings: hooks.LinqSettings) -> Any:
        return settings.new_client(max_retries=0)

    monkeypatch.setattr(hooks, "_shared_client", one_try)
    monkeypatch.setattr(sensor, "MAX_CONSECUTIVE_FAILURES", 3)
    with running_hostile_api() as started:
        conn = {"conn_type": "linq", "password": "a-key", "host": started.base_url}
        monkeypatch.setenv("AIRFLOW_CONN_LINQ_DEFAULT", json.dumps(conn))
        started.chats["c"] = []
        yield started


def wrong_key(api: HostileAPI) -> None:
    api.refuse = lambda path: 401


def outage(api: HostileAPI) -> None:
    api.refuse = lambda path: 500


def gateway(api: HostileAPI) -> None:
    api.refuse = lambda path: -401


def chat_gone(api: HostileAPI) -> None:
    api.chats.clear()


def silence(api: HostileAPI) -> None:
    pass


#: What happens, and what the task ends with if no option says otherwise; None is an end that is retried.
ENDS: list[tuple[Callable[[HostileAPI], None], type[Exception] | None]] = [
    (wrong_key, AirflowFailException),
    (outage, None),
    (gateway, None),
    (chat_gone, AirflowFailException),
    (silence, AirflowSensorTimeout),
]


@pytest.mark.parametrize("option", ["", "soft_fail", "never_fail"])
@pytest.mark.parametrize(("happens", "end"), ENDS, ids=lambda value: getattr(value, "__name__", ""))
@pytest.mark.parametrize("mode", ["poke", "first poke", "deferred"])
def test_a_wait_ends_alike_in_every_mode(
    api: HostileAPI, mode: str, happens: Callable[[HostileAPI], None], end: type[Exception] | None, option: str
) -> None:
    arguments: dict[str, Any] = {option: True} if option else {}
    timeout = 0.1 if happens is silence else 60
    sensor = LinqMessageSensor(
        task_id="s",
        chat_id="c",
        since=EARLY,
        poke_interval=0.01,
        timeout=timeout,
        deferrable=mode != "poke",
        **arguments,
    )

    def wait() -> None:
        if mode != "deferred":
            happens(api)
        try:
            sensor.execute(context())
        except TaskDeferred as deferred:
            happens(api)
            resume(sensor, deferred, asyncio.run(event_of(deferred.trigger)))

    with pytest.raises(Exception) as raised:  # noqa: PT011
        wait()
    kind = type(raised.value)
    if option == "never_fail" or (option == "soft_fail" and happens is silence):
        assert kind is AirflowSkipException
        assert option in str(raised.value)
    elif end is None:
        assert kind not in (AirflowFailException, AirflowSkipException, AirflowSensorTimeout)
    else:
        assert kind is end
    assert raised.value.__context__ is None or "no running event loop" not in repr(raised.value.__context__)


@pytest.mark.parametrize("option", ["", "soft_fail", "never_fail"])
def test_airflows_own_ends_of_a_deferral(api: HostileAPI, option: str) -> None:
    arguments: dict[str, Any] = {option: True} if option else {}
    sensor = LinqMessageSensor(task_id="s", chat_id="c", since=EARLY, **arguments)
    over = AirflowSkipException if option else AirflowSensorTimeout
    with pytest.raises(over):
        sensor.resume_execution("__fail__", {"error": "Trigger timeout"}, context())
    failed = AirflowSkipException if option == "never_fail" else TaskDeferralError
    with pytest.raises(failed):
        sensor.resume_execution("__fail__", {"error": "Trigger failure", "traceback": ["…"]}, context())


@pytest.mark.parametrize("option", ["", "soft_fail", "never_fail"])
def test_what_came_while_no_trigger_looked_is_found_at_the_end(api: HostileAPI, option: str) -> None:
    """A triggerer may stand still until Airflow ends the deferral, or be at the moment between two polls."""
    arguments: dict[str, Any] = {"task_id": "s", "deferrable": True, **({option: True} if option else {})}
    wait = LinqMessageSensor(chat_id="c", since=EARLY, **arguments)
    with pytest.raises(TaskDeferred):
        wait.execute(context())
    api.receive("c", "answer")
    found = wait.resume_execution("__fail__", {"error": "Trigger timeout"}, context())
    assert found["message_id"] == "answer"
    api.receive("c", "m", is_from_me=True, delivery_status="delivered")
    delivered = LinqDeliverySensor(message_id="m", **arguments)
    assert delivered.resume_execution("__fail__", {"error": "Trigger timeout"}, context())["message_id"] == "m"


def test_the_last_look_at_a_line_reads_all_of_its_chats(api: HostileAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    """No trigger follows it, which would read those that say that nothing has changed in them."""
    shown = api._chat
    monkeypatch.setattr(api, "_chat", lambda id_: {**shown(id_), "updated_at": "2026-01-01T00:00:00Z"})
    api.receive("c", "answer")
    wait = LinqMessageSensor(task_id="s", line=LINE, since=EARLY, deferrable=True)
    with pytest.raises(TaskDeferred):
        wait.execute(context())
    resumed = LinqMessageSensor(task_id="s", line=LINE, since=EARLY, deferrable=True)
    found = resumed.resume_execution("__fail__", {"error": "Trigger timeout"}, context())
    assert found["message_id"] == "answer"


def test_whoever_can_not_look_at_the_end_does_not_know_that_nothing_came(api: HostileAPI) -> None:
    sensor = LinqMessageSensor(task_id="s", chat_id="c", since=EARLY, soft_fail=True, deferrable=True)
    outage(api)
    with pytest.raises(LinqError) as raised:
        sensor.resume_execution("__fail__", {"error": "Trigger timeout"}, context())
    assert not raised.value.permanent


def test_what_comes_between_the_last_two_polls_is_found(api: HostileAPI) -> None:
    """The poll at the deadline must not be content with the response to the one before, however new that is."""
    sensor = LinqMessageSensor(
        task_id="s", chat_id="c", since=EARLY, poke_interval=60, timeout=2, soft_fail=True, deferrable=True
    )
    with pytest.raises(TaskDeferred) as deferred:
        sensor.execute(context())

    async def wait() -> Any:
        before = len(api.served)
        task = asyncio.create_task(event_of(deferred.value.trigger))
        await until(lambda: len(api.served) > before)
        api.receive("c", "answer")
        return await task

    assert asyncio.run(wait())["message_id"] == "answer"


@pytest.mark.parametrize("option", ["", "soft_fail"])
def test_an_answer_that_expired_before_the_task_woke_up_is_an_answer(api: HostileAPI, option: str) -> None:
    arguments: dict[str, Any] = {option: True} if option else {}
    sensor = LinqMessageSensor(task_id="s", chat_id="c", since=EARLY, poke_interval=0.01, deferrable=True, **arguments)
    with pytest.raises(TaskDeferred) as deferred:
        sensor.execute(context())
    api.receive("c", "answer")
    event = asyncio.run(event_of(deferred.value.trigger))
    api.chats["c"].clear()
    with pytest.raises(AirflowFailException, match="Message answer came in chat c, and was deleted or has expired"):
        resume(sensor, deferred.value, event)


def test_an_outage_at_the_deadline_is_no_silence(api: HostileAPI) -> None:
    sensor = LinqMessageSensor(
        task_id="s", chat_id="c", since=EARLY, poke_interval=0.2, timeout=0.3, soft_fail=True, deferrable=True
    )
    with pytest.raises(TaskDeferred) as deferred:
        sensor.execute(context())
    outage(api)
    event = asyncio.run(event_of(deferred.value.trigger))
    assert event["permanent"] is False
    with pytest.raises(Exception, match="Waiting has failed") as raised:
        resume(sensor, deferred.value, event)
    assert not isinstance(raised.value, AirflowSkipException | AirflowFailException | AirflowSensorTimeout)


def test_a_chat_that_does_not_say_when_it_changed_is_read_each_time(
    api: HostileAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = api._chat
    monkeypatch.setattr(api, "_chat", lambda id_: {**shown(id_), "updated_at": None})
    sensor = LinqMessageSensor(task_id="s", line=LINE, since=EARLY)
    for _ in range(2):
        assert not sensor.poke(context())
    found = api.receive("c", "answer")
    assert sensor.poke(context()).xcom_value["message_id"] == found


def test_a_gateways_401_ends_no_wait(api: HostileAPI) -> None:
    pages = iter([-401, -401, -403])
    api.refuse = lambda path: next(pages, None)
    api.receive("c", "answer")
    trigger = LinqMessageTrigger(linq_conn_id="linq_default", since=EARLY, chat_id="c", poll_interval=0.01)
    assert asyncio.run(event_of(trigger))["message_id"] == "answer"


@pytest.mark.filterwarnings("ignore:Using `httpx` with `starlette.testclient` is deprecated")
def test_a_deferrable_sensor_ends_by_itself_where_airflow_runs_its_trigger_in_line(run_dag: Callable[..., Run]) -> None:
    assert run_dag("wait_briefly").states("wait") == ["skipped"]


def test_a_sensor_says_what_it_waits_for_and_what_it_found(api: HostileAPI, capsys: pytest.CaptureFixture[str]) -> None:
    api.receive("c", "answer", "a private text")
    for deferrable in (False, True):
        sensor = LinqMessageSensor(
            task_id="s",
            chat_id="c",
            since=EARLY if not deferrable else (NOON + timedelta(minutes=1)).isoformat(),
            poke_interval=0.01,
            timeout=600,
            deferrable=deferrable,
        )
        try:
            sensor.execute(context())
        except TaskDeferred as deferred:
            api.now += timedelta(minutes=2)
            api.receive("c", "second", "a private text")
            resume(sensor, deferred, asyncio.run(event_of(deferred.trigger)))
    out = capsys.readouterr().out
    assert "Waiting for a message in chat c, since 2026-03-01T00:00:00Z, every 0.01 s, until 20" in out
    assert re.search(r"Message answer came in chat c at 2026-03-01T12:00:01Z; found after \d+ s and 1 polls", out)
    assert "Waiting for a message in chat c, since 2026-03-01T12:01:00Z, every 0.01 s, until 20" in out
    assert "Message second came in chat c at 2026-03-01T12:02:02Z; found after" in out
    assert "private" not in out


def test_a_delivery_sensor_says_when_a_message_was_delivered(
    api: HostileAPI, capsys: pytest.CaptureFixture[str]
) -> None:
    fields = {"is_from_me": True, "delivery_status": "delivered", "delivered_at": "2026-03-01T12:00:07Z"}
    api.receive("c", "m", **fields)
    LinqDeliverySensor(task_id="s", message_id="m").execute(context())
    out = capsys.readouterr().out
    assert "Waiting for message m to be delivered, every 60 s, until 20" in out
    assert "Message m was delivered at 2026-03-01T12:00:07Z; found after" in out


def run_to_end(sensor: LinqMessageSensor) -> None:
    try:
        sensor.execute(context())
    except TaskDeferred as deferred:
        resume(sensor, deferred, asyncio.run(event_of(deferred.trigger)))


def test_a_skipped_wait_says_why(api: HostileAPI, capsys: pytest.CaptureFixture[str]) -> None:
    for deferrable in (False, True):
        sensor = LinqMessageSensor(
            task_id="s",
            chat_id="c",
            since=EARLY,
            poke_interval=0.01,
            timeout=0.05,
            soft_fail=True,
            deferrable=deferrable,
        )
        with pytest.raises(AirflowSkipException):
            run_to_end(sensor)
    out = capsys.readouterr().out
    assert "Skipped, since soft_fail is set: Sensor has timed out" in out
    assert re.search(r"Skipped, since soft_fail is set: Timed out after \d+ s and \d+ polls, ", out)
    assert "waiting for a message in chat c, since 2026-03-01T00:00:00Z" in out


def test_a_reply_can_stay_out_of_xcom(api: HostileAPI) -> None:
    api.receive("c", "answer", "a private text")
    arguments: dict[str, Any] = {"task_id": "s", "chat_id": "c", "since": EARLY, "text_matches": "private"}
    with_text = LinqMessageSensor(**arguments).execute(context())
    without = LinqMessageSensor(**arguments, include_text=False).execute(context())
    assert with_text["text"] == "a private text"
    assert without == {**with_text, "text": None}
    deferred = LinqMessageSensor(**arguments, include_text=False)
    event = {"message_id": "answer", "chat_id": "c", "polls": 1, "waited": 1.0}
    assert deferred.execute_complete(context(), event) == without


@pytest.mark.parametrize("sender", ["22395", "ACME Bank", "acme bank"])
def test_a_sender_need_not_be_somebody_to_write_to(api: HostileAPI, sender: str) -> None:
    def handle(name: str) -> dict[str, Any]:
        return {"id": name, "handle": name, "service": "SMS", "joined_at": NOON.isoformat()}

    api.handles = {"c": sender.upper()}
    api.receive("c", "code", from_handle=handle(sender.upper()))
    api.receive("other", "o")
    wait = LinqMessageSensor(task_id="s", from_handle=sender, since=EARLY)
    assert wait.execute(context())["message_id"] == "code"
    assert "/v3/chats/other/messages" not in api.served

    async def story() -> None:
        store = AssetStore()
        async with Watching(api, store, from_handle=sender) as watching:
            await watching.until(lambda: bool(store.values))
            api.receive("c", "again", from_handle=handle(sender.upper()))
            await watching.until(lambda: watching.ids == ["again"])

    asyncio.run(story())


def test_an_account_that_hangs_delays_no_other(api: HostileAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        stuck = [
            LinqMessageTrigger(linq_conn_id="stuck", since=EARLY, chat_id=f"c{number}", poll_interval=0.05)
            for number in range(40)
        ]
        tasks = [asyncio.create_task(event_of(trigger)) for trigger in stuck]
        await until(lambda: connections() >= THREADS_OF_ACCOUNT)  # as many of them have asked as can
        healthy = LinqMessageTrigger(linq_conn_id="linq_default", since=EARLY, chat_id="c", poll_interval=0.05)
        waiting = asyncio.create_task(event_of(healthy))
        await asyncio.to_thread(api.receive, "c", "answer")
        # No response comes from the other account.
        assert (await waiting)["message_id"] == "answer"
        assert not any(task.done() for task in tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    with silent_server() as (url, connections):
        conn = {"conn_type": "linq", "password": "a-key", "host": url, "extra": {"read_timeout": 600}}
        monkeypatch.setenv("AIRFLOW_CONN_STUCK", json.dumps(conn))
        asyncio.run(story())


TRAP = "a" * 5_000 + "!"


def test_a_text_that_is_a_trap_for_a_pattern_costs_itself(
    api: HostileAPI, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(text_search, "SEARCH_TIMEOUT", 2.0)
    finds = text_search.TextSearch.finds
    is_searching, ticks = threading.Event(), 0

    def noted(search: text_search.TextSearch, text: str, message: str) -> bool:
        if text == TRAP:
            is_searching.set()
        return finds(search, text, message)

    monkeypatch.setattr(text_search.TextSearch, "finds", noted)

    async def story() -> None:
        nonlocal ticks
        store = AssetStore()
        watching = Watching(api, store, text_matches="(?:(?:a|aa)+)+$|^fine")
        async with watching:
            await watching.until(lambda: bool(store.values))
            api.receive("c", "trap", TRAP)
            while "text_matches took more than 2 s on message trap" not in caplog.text:
                ticks += is_searching.is_set()
                await asyncio.sleep(0.001)
            api.receive("c", "fine", "fine")
            await watching.until(lambda: watching.ids == ["fine"])

    asyncio.run(asyncio.wait_for(story(), PATIENCE))
    assert ticks > 3, "the event loop went on"
    assert caplog.text.count("on message trap") == 1, "it is not searched again"


def test_a_long_text_is_searched_in_its_first_characters(api: HostileAPI) -> None:
    limit = text_search.SEARCHED_CHARACTERS
    search = text_search.TextSearch("needle")
    assert search.finds("x" * (limit - 6) + "needle", "m")
    assert not search.finds("x" * (limit - 5) + "needle", "m")


@pytest.mark.parametrize("pattern", ["(", "a**", "(?P<x>a)(?P<x>b", "[z-a]", "(?<name", "(" * 990 + ")" * 990])
def test_a_pattern_that_cannot_be_searched_is_refused_when_the_dag_is_parsed(pattern: str) -> None:
    with pytest.raises(ValueError, match="text_matches: must be a regular expression, got one with "):
        LinqMessageSensor(task_id="s", chat_id="c", text_matches=pattern)


def test_a_pattern_that_another_task_brings_is_bounded(api: HostileAPI) -> None:
    with pytest.raises(ValueError, match="text_matches: must be a regular expression of 2,000 characters at most"):
        text_search.TextSearch("|".join(map(str, range(1_000))))


def test_a_pattern_that_is_a_template_is_looked_at_when_it_is_rendered() -> None:
    LinqMessageSensor(task_id="s", chat_id="c", text_matches="({{ params.word }}")


def test_without_the_package_a_pattern_is_refused_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "regex", None)
    LinqMessageSensor(task_id="s", chat_id="c")
    with pytest.raises(ValueError, match="text_matches: needs the package regex"):
        LinqMessageSensor(task_id="t", chat_id="c", text_matches="yes")
