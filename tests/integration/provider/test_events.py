"""Event-driven scheduling: the trigger of an AssetWatcher, its cursor over restarts, and the message queue."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable
from contextvars import ContextVar
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from airflow.triggers.base import BaseEventTrigger

from airflow_provider_linq._internal.inbound import InboundReader
from airflow_provider_linq._internal.inbound_cursor import OVERLAP, Cursor
from airflow_provider_linq._internal.message_filter import MessageFilter
from airflow_provider_linq._internal.polling import SharedReads
from airflow_provider_linq._internal.version_compat import AirflowOptionalProviderFeatureException
from airflow_provider_linq.hooks.linq import LinqAsyncHook
from airflow_provider_linq.triggers import linq_inbound
from airflow_provider_linq.triggers.linq_inbound import LinqInboundMessageTrigger
from linq_client.models import Message
from tests.support.emulator_process import Emulator
from tests.support.waiting import until

ANN, BOB = "+12125550121", "+12125550122"
NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
ANYWHERE = MessageFilter(anywhere=True)


@pytest.fixture
def emulator(emulator: Emulator, connect: Callable[..., None]) -> Emulator:
    """The emulator, to which `linq_default` is a connection."""
    return emulator


def message(id: str, minutes: float, **fields: Any) -> Message:
    at = NOON + timedelta(minutes=minutes)
    common = {"chat_id": "c", "created_at": at, "updated_at": at, "delivery_status": "received", "is_from_me": False}
    return Message.model_validate({"id": id, **common, **fields})


def test_a_cursor_passes_over_what_it_knows_and_what_is_old() -> None:
    messages = [message("late", 3), message("old", -1), message("first", 1), message("mine", 2, is_from_me=True)]
    cursor = Cursor(NOON)
    new = cursor.new(messages, ANYWHERE)
    assert [found.id for found in new] == ["first", "late"]
    moved = cursor.with_events(new).moved(NOON + timedelta(minutes=4))
    assert moved.after == NOON, "it stays behind by the overlap"
    assert not moved.new(messages, ANYWHERE)
    assert [found.id for found in moved.new([*messages, message("slow", 0.5)], ANYWHERE)] == ["slow"]

    later = moved.moved(NOON + OVERLAP + timedelta(minutes=2))
    assert later.after == NOON + timedelta(minutes=2)
    assert len(later.known) == 1, "what is before the cursor need not be known"
    restored = Cursor.from_json("linq_inbound", json.loads(json.dumps(later.to_json())))
    assert (restored.after, restored.looked, restored.known.keys()) == (later.after, later.looked, later.known.keys())
    assert not restored.new(messages, ANYWHERE)


def test_a_message_that_was_recovered_late_counts_from_then_on() -> None:
    recovered = message("recovered", -600, reconciled_at=NOON + timedelta(minutes=1))
    assert Cursor(NOON).new([recovered], ANYWHERE) == [recovered]


class AssetStore:
    """The state store of an asset, in memory; it can be out of order."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.broken = False

    async def aget(self, key: str, default: Any = None) -> Any:
        return self.values.get(key, default)

    async def aset(self, key: str, value: Any) -> None:
        if self.broken:
            raise ConnectionError
        self.values[key] = json.loads(json.dumps(value))


#: How often the trigger of a task has polled: after each poll it sleeps.
ended_polls: Counter[asyncio.Task[Any] | None] = Counter()


@pytest.fixture(autouse=True)
def counted_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    class Counting:
        async def sleep(self, seconds: float) -> None:
            ended_polls[asyncio.current_task()] += 1
            await asyncio.sleep(seconds)

        def __getattr__(self, name: str) -> Any:
            return getattr(asyncio, name)

    ended_polls.clear()
    monkeypatch.setattr(linq_inbound, "asyncio", Counting())


class Triggerer:
    """Runs the trigger, ends and starts it again, and keeps its events."""

    def __init__(self, store: AssetStore | None, **arguments: Any) -> None:
        self._store = store
        self._arguments = {"poll_interval": 0.05, **arguments}
        self.events: list[dict[str, Any]] = []

    async def __aenter__(self) -> Triggerer:
        trigger = LinqInboundMessageTrigger(**self._arguments)
        path, kwargs = trigger.serialize()
        assert path == "airflow_provider_linq.triggers.linq_inbound.LinqInboundMessageTrigger"
        assert BaseEventTrigger.hash(path, kwargs) == BaseEventTrigger.hash(path, json.loads(json.dumps(kwargs)))
        trigger.asset_state_store = self._store  # type: ignore[assignment]
        self._task = asyncio.create_task(self._run(trigger))
        await self.polls(1)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._arguments["poll_interval"] < 1:
            await self.polls(2)  # in which nothing comes a second time
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, trigger: LinqInboundMessageTrigger) -> None:
        async for event in trigger.run():
            assert event.payload.keys() == {"messages"}
            self.events += event.payload["messages"]

    async def polls(self, count: int) -> None:
        """Wait until it has polled so many more times."""
        enough = ended_polls[self._task] + count
        await until(lambda: self._task.done() or ended_polls[self._task] >= enough)
        assert not self._task.done(), self._task

    async def has(self, count: int) -> None:
        await until(lambda: len(self.events) >= count, lambda: str(self.events))
        assert len(self.events) == count, self.events

    @property
    def ids(self) -> list[str]:
        return [event["message_id"] for event in self.events]


async def inbound(emulator: Emulator, sender: str = ANN, text: str = "Hi", **more: Any) -> str:
    order = {"line": emulator.lines[0], "from": sender, "text": text, **more}
    await asyncio.to_thread(emulator.advance, 1)
    return str((await asyncio.to_thread(emulator.control, "POST", "inbound", order))["id"])


def test_nothing_is_missed_and_nothing_comes_twice_over_restarts(emulator: Emulator) -> None:
    async def story() -> None:
        await inbound(emulator, text="Before anybody watched")
        await asyncio.to_thread(emulator.advance, 60)
        triggerer = Triggerer(AssetStore())
        async with triggerer:
            first = await inbound(emulator)
            await triggerer.has(1)
        meanwhile = [await inbound(emulator), await inbound(emulator, BOB)]
        async with triggerer:
            await triggerer.has(3)
            last = await inbound(emulator, BOB)
            await triggerer.has(4)
        assert triggerer.ids == [first, *meanwhile, last]

    asyncio.run(story())


def test_a_message_between_the_first_start_and_the_first_event_is_not_missed(emulator: Emulator) -> None:
    async def story() -> None:
        triggerer = Triggerer(AssetStore())
        async with triggerer:
            pass
        missed = await inbound(emulator)
        async with triggerer:
            await triggerer.has(1)
        assert triggerer.ids == [missed]

    asyncio.run(story())


def test_an_event_whose_cursor_was_not_saved_comes_again(emulator: Emulator) -> None:
    """At least once: the triggerer may die before Airflow has stored the event."""

    async def story() -> None:
        store = AssetStore()
        triggerer = Triggerer(store, poll_interval=600)
        await store.aset(LinqInboundMessageTrigger()._cursor_name, Cursor(NOON).to_json())
        only = await inbound(emulator)
        async with triggerer:
            await triggerer.has(1)
        async with triggerer:
            await triggerer.has(2)
        assert triggerer.ids == [only, only]

    asyncio.run(story())


@pytest.mark.parametrize("order", ["newest", "unordered"])
@pytest.mark.parametrize("moves", [True, False])
def test_every_message_of_many_chats_has_its_event(emulator: Emulator, order: str, moves: bool) -> None:
    switches = {"message_order": order, "chat_order": order, "message_moves_chat": moves, "empty_pages": True}
    emulator.control("PATCH", "switches", switches)
    emulator.control("POST", "seed", {"chats": 12, "messages_per_chat": 8, "hours": 20, "seed": 3})

    async def story() -> None:
        triggerer = Triggerer(AssetStore())
        async with triggerer:
            sent = [await inbound(emulator, f"+121255502{number:02}") for number in range(5)]
            sent += [await inbound(emulator, "+12125550200") for _ in range(3)]
            await triggerer.has(8)
        assert sorted(triggerer.ids) == sorted(sent)

    asyncio.run(story())


def test_once_a_chat_lags_no_other_makes_its_line_reliable(emulator: Emulator) -> None:
    """Of a line that is read by `updated_at` alone, a message that does not move it is found in 15 minutes."""

    async def story() -> None:
        reader = InboundReader(LinqAsyncHook(), MessageFilter(line=emulator.lines[0]))
        for sender in (ANN, BOB):
            await inbound(emulator, sender)
        for sender, moves in ((ANN, False), (ANN, True), (BOB, False)):
            await asyncio.to_thread(emulator.control, "PATCH", "switches", {"message_moves_chat": moves})
            await asyncio.to_thread(emulator.advance, 300)
            message = await inbound(emulator, sender)
            await asyncio.to_thread(emulator.advance, 300)
            found = await reader.poll(NOON)
            assert message in {found.id for found in found.messages}

    asyncio.run(story())


def test_filters_and_payload(emulator: Emulator) -> None:
    async def story() -> None:
        silent = Triggerer(None, line=emulator.lines[0], from_handle=BOB)
        telling = Triggerer(None, text_matches="^(?i:yes)", include_text=True)
        async with silent, telling:
            yes = await inbound(emulator, ANN, "Yes, do")
            no = await inbound(emulator, BOB, "No")
            await silent.has(1)
            await telling.has(1)
        (of_bob,), (of_ann,) = silent.events, telling.events
        assert of_bob["message_id"] == no
        assert of_bob.keys() == {"chat_id", "message_id", "line", "from_handle", "created_at", "service"}
        assert (of_bob["line"], of_bob["from_handle"]) == (emulator.lines[0], BOB)
        assert (of_ann["message_id"], of_ann["text"]) == (yes, "Yes, do")

    asyncio.run(story())


def test_bad_polls_and_a_store_that_fails_do_not_end_it(emulator: Emulator) -> None:
    async def story() -> None:
        store = AssetStore()
        triggerer = Triggerer(store)
        async with triggerer:
            fault = {"kind": "status", "status": 401, "code": 2004, "count": 2}
            await asyncio.to_thread(emulator.control, "POST", "faults", fault)
            store.broken = True
            first = await inbound(emulator)
            await triggerer.has(1)
            await triggerer.polls(2)
            meanwhile = await inbound(emulator)
            await triggerer.has(2)
            store.broken = False
            second = await inbound(emulator)
            await triggerer.has(3)
            await triggerer.polls(1)
        assert triggerer.ids == [first, meanwhile, second]
        (cursor,) = store.values.values()
        assert sum(map(len, cursor["known"].values())) == 3 * 8, "a digest of each"

    asyncio.run(story())


def test_a_first_start_with_a_store_that_can_not_be_written_loses_nothing(
    emulator: Emulator, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else each of its polls would begin anew, after what came in before it."""

    async def story() -> None:
        store = AssetStore()
        store.broken = True
        triggerer = Triggerer(store)
        async with triggerer:
            first = await inbound(emulator)
            await triggerer.has(1)
            await triggerer.polls(3)
            store.broken = False
            await triggerer.polls(2)
        async with triggerer:
            second = await inbound(emulator)
            await triggerer.has(2)
        assert triggerer.ids == [first, second]

    asyncio.run(story())
    assert capsys.readouterr().out.count("The cursor can't be stored") == 1


def test_several_watchers_of_an_asset_have_each_its_cursor(emulator: Emulator) -> None:
    async def story() -> None:
        store = AssetStore()
        of_ann, of_bob = Triggerer(store, from_handle=ANN), Triggerer(store, from_handle=BOB)
        async with of_ann, of_bob:
            pass
        sent = await inbound(emulator, ANN)
        async with of_bob:  # it passes the message over, and must not do so for the other
            await of_bob.polls(2)
        await asyncio.to_thread(emulator.advance, 2 * OVERLAP.total_seconds())
        async with of_bob:
            await of_bob.polls(2)
        async with of_ann:
            await of_ann.has(1)
        assert (of_ann.ids, of_bob.ids) == ([sent], [])
        assert len(store.values) == 2

    asyncio.run(story())


def test_how_it_polls_does_not_change_the_cursor_of_a_watcher() -> None:
    names = {LinqInboundMessageTrigger(poll_interval=at, include_text=at > 30)._cursor_name for at in (5, 30, 60)}
    assert len(names) == 1
    others = [{"line": "+12025550101"}, {"chat_id": "c"}, {"from_handle": ANN}, {"text_matches": "a"}]
    others.append({"linq_conn_id": "other"})
    assert len(names | {LinqInboundMessageTrigger(**other)._cursor_name for other in others}) == 6  # type: ignore[arg-type]


def test_a_chat_that_cannot_be_read_does_not_hold_up_the_others(emulator: Emulator) -> None:
    async def story() -> None:
        store = AssetStore()
        triggerer = Triggerer(store)
        async with triggerer:
            chats = [await inbound(emulator, sender) for sender in (ANN, BOB)]
            await triggerer.has(2)
            broken = next(event["chat_id"] for event in triggerer.events if event["message_id"] == chats[0])
            fault = {"kind": "status", "path": f"/chats/{broken}/messages", "status": 500, "code": 3006}
            await asyncio.to_thread(emulator.control, "POST", "faults", fault)
            late = await inbound(emulator, ANN)
            for number in range(3):
                await inbound(emulator, BOB)
                await triggerer.has(3 + number)
            await asyncio.to_thread(emulator.advance, 2 * OVERLAP.total_seconds())
            await triggerer.polls(3)
            await asyncio.to_thread(emulator.control, "DELETE", "faults")
            await triggerer.has(6)
        assert triggerer.ids[-1] == late

    asyncio.run(story())


def test_a_chat_that_is_gone_since_it_was_listed_is_no_failure(
    emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        triggerer = Triggerer(AssetStore())
        async with triggerer:
            await inbound(emulator, ANN)
            await triggerer.has(1)
            fault = {
                "kind": "status",
                "status": 404,
                "code": 2001,
                "path": f"{triggerer.events[0]['chat_id']}/messages",
            }
            await asyncio.to_thread(emulator.control, "POST", "faults", fault)
            await inbound(emulator, ANN)
            await inbound(emulator, BOB)
            await triggerer.has(2)

    asyncio.run(story())
    assert "Poll failed" not in caplog.text


def test_polls_have_threads_of_their_own(emulator: Emulator) -> None:
    """The client pauses the reads of an account after a 429: nothing else of the triggerer may wait for that."""
    names: set[str] = set()

    async def story() -> None:
        def ask(client: Any = None) -> str:
            names.add(threading.current_thread().name)
            return contextvar.get()

        contextvar.set("of the task")
        assert await LinqAsyncHook().call(ask) == "of the task"
        client = await LinqAsyncHook().aclient()
        assert (await SharedReads().read(client, "question", ask, not_before=0)).value == "of the task"

    contextvar: ContextVar[str] = ContextVar("name")
    asyncio.run(story())
    assert all(name.startswith("linq") for name in names)


def test_the_message_queue(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("airflow.providers.common.messaging", reason="the common-messaging provider is optional")
    from airflow.providers.common.messaging.triggers.msg_queue import MessageQueueTrigger

    path, kwargs = MessageQueueTrigger(scheme="linq", line=emulator.lines[0]).serialize()
    assert path == "airflow_provider_linq.triggers.linq_inbound.LinqInboundMessageTrigger"
    assert kwargs["line"] == emulator.lines[0]
    with pytest.warns(DeprecationWarning, match="`queue` parameter is deprecated"):
        older = MessageQueueTrigger(queue="linq://other_account/+12025550102", poll_interval=60)
    assert older.serialize()[1] == {
        **kwargs,
        "linq_conn_id": "other_account",
        "line": "+12025550102",
        "poll_interval": 60,
    }


def test_without_common_messaging_the_queue_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "airflow.providers.common.messaging.providers.base_provider", None)
    monkeypatch.delitem(__import__("sys").modules, "airflow_provider_linq.queues.linq", raising=False)
    with pytest.raises(AirflowOptionalProviderFeatureException, match="common-messaging"):
        __import__("airflow_provider_linq.queues.linq")
