"""A watcher of inbound messages among chats that can't be read, clocks that are wrong, and texts that are traps."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.jobs.triggerer_job_runner import TriggerRunner
from airflow.models.trigger import Trigger

from airflow_provider_linq._internal import inbound
from airflow_provider_linq._internal.inbound_cursor import OVERLAP, STORED_MESSAGES, Cursor
from airflow_provider_linq._internal.message_filter import MessageFilter
from airflow_provider_linq._internal.polling import Failures
from airflow_provider_linq.triggers.linq_inbound import LinqInboundMessageTrigger
from linq_client import RateLimitedError
from linq_client.models import Message
from tests.integration.provider.test_events import AssetStore, message
from tests.support.inbound_api import HOUR, NOON, HostileAPI, running_hostile_api
from tests.support.waiting import until

KEY = LinqInboundMessageTrigger()._cursor_name


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[HostileAPI]:
    """A hostile API, to which `linq_default` is a connection with a window of an hour."""
    with running_hostile_api() as started:
        conn = {"conn_type": "linq", "password": "a-key", "host": started.base_url}
        extra = {"retention_window_hours": 1}
        monkeypatch.setenv("AIRFLOW_CONN_LINQ_DEFAULT", json.dumps({**conn, "extra": extra}))
        yield started


class Watching:
    """A watcher that runs; what it polls can be waited for."""

    def __init__(self, api: HostileAPI, store: AssetStore, **arguments: Any) -> None:
        self._api = api
        self._store = store
        self._arguments = {"poll_interval": 0.01, **arguments}
        self.payloads: list[dict[str, Any]] = []

    async def __aenter__(self) -> Watching:
        trigger = LinqInboundMessageTrigger(**self._arguments)
        trigger.asset_state_store = self._store  # type: ignore[assignment]
        self._task = asyncio.create_task(self._run(trigger))
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, trigger: LinqInboundMessageTrigger) -> None:
        async for event in trigger.run():
            self.payloads.append(event.payload)

    @property
    def ids(self) -> list[str]:
        return [one["message_id"] for payload in self.payloads for one in payload["messages"]]

    async def until(self, is_so: Callable[[], bool]) -> None:
        await until(lambda: is_so() or self._task.done(), lambda: f"{self.payloads}, {self._api.served[-20:]}")
        assert not self._task.done(), self._task

    async def polls(self, count: int = 3) -> None:
        """Wait until it has listed the chats so many more times."""
        before = self._api.served.count("/v3/chats")
        await self.until(lambda: self._api.served.count("/v3/chats") >= before + count)


def cursor_of(store: AssetStore) -> Cursor:
    return Cursor.from_json(KEY, store.values[KEY])


def test_six_chats_that_cannot_be_read_hold_up_no_other_and_lose_nothing(
    api: HostileAPI, caplog: pytest.LogCaptureFixture
) -> None:
    bad = [f"bad{number}" for number in range(6)]

    async def story() -> None:
        store = AssetStore()
        watching = Watching(api, store)
        async with watching:
            await watching.until(lambda: KEY in store.values)
            api.receive("good", "g0")
            for chat in bad:  # the list shows the newest first: they are its head
                api.receive(chat, f"{chat}-before")
            await watching.until(lambda: len(watching.ids) == 7)
            api.refuse = lambda path: 500 if any(f"/{chat}/" in path for chat in bad) else None
            api.now += timedelta(minutes=1)
            for chat in bad:
                api.receive(chat, f"{chat}-meanwhile")
            api.receive("good", "g1")
            await watching.until(lambda: "g1" in watching.ids)
            api.now += 3 * OVERLAP
            api.receive("good", "g2")
            await watching.until(lambda: "g2" in watching.ids and cursor_of(store).after > NOON + OVERLAP)
            assert cursor_of(store).set_aside.keys() == set(bad)
        async with watching:  # after a restart too
            await watching.polls()
            api.now += 3 * OVERLAP
            await watching.polls()
            api.refuse = lambda path: None
            await watching.until(lambda: len(watching.ids) >= 7 + 2 + 6)
            await watching.until(lambda: not cursor_of(store).set_aside)
            api.receive("good", "g3")
            await watching.until(lambda: "g3" in watching.ids)
        assert sorted(watching.ids) == sorted(
            ["g0", "g1", "g2", "g3", *(f"{chat}-{when}" for chat in bad for when in ("before", "meanwhile"))]
        )

    asyncio.run(story())
    warnings = [record.getMessage() for record in caplog.records if "Chat bad0 can't be read" in record.getMessage()]
    counts = [int(warning.partition("(")[2].partition(" ")[0]) for warning in warnings]
    assert set(counts) <= {2**exponent for exponent in range(12)}, "with growing distance"
    assert not any("Poll failed" in record.getMessage() for record in caplog.records)
    assert "Chat bad0 can be read again" in caplog.text


def test_a_chat_that_hangs_delays_the_others_once(api: HostileAPI) -> None:
    async def story() -> None:
        watching = Watching(api, AssetStore(), poll_interval=0.05)
        api.receive("stuck", "old")
        api.receive("good", "g0")
        async with watching:
            await watching.polls()
            api.refuse = lambda path: 500 if "/stuck/" in path else None
            api.now += timedelta(minutes=1)
            api.receive("stuck", "s1")
            await watching.until(lambda: "/v3/phone_numbers" in api.served[-5:])
            api.refuse = lambda path: 0 if "/stuck/" in path else None
            tries = api.served.count("/v3/chats/stuck/messages")
            await watching.until(lambda: api.served.count("/v3/chats/stuck/messages") > tries)
            await watching.polls(5)
            api.receive("good", "g1", at=api.now + timedelta(seconds=1))
            await watching.until(lambda: "g1" in watching.ids)
            api.refuse = lambda path: None
            api.release.set()
            await watching.until(lambda: "s1" in watching.ids)

    asyncio.run(story())


def test_an_outage_sets_no_chat_aside(api: HostileAPI, caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        store = AssetStore()
        watching = Watching(api, store)
        async with watching:
            await watching.until(lambda: KEY in store.values)
            api.refuse = lambda path: None if path == "/v3/chats" else 503
            for number in range(8):
                api.receive(f"c{number}", f"m{number}")
            await watching.polls()
            assert "is set aside" not in caplog.text
            api.refuse = lambda path: None
            await watching.until(lambda: len(watching.ids) == 8)

    asyncio.run(story())


def test_a_long_outage_of_all_but_the_list_loses_nothing(api: HostileAPI) -> None:
    """What came while nothing could be read counts, however long ago that is when it can be read again."""

    async def story() -> None:
        store = AssetStore()
        watching = Watching(api, store)
        async with watching:
            api.receive("good", "g0")
            await watching.until(lambda: "g0" in watching.ids)
            api.refuse = lambda path: None if path == "/v3/chats" else 500
            api.receive("good", "g1")
            await watching.polls(1)
            api.now += 3 * OVERLAP
            await watching.polls(4)  # of which three agree with the clock
            assert watching.ids == ["g0"]
            api.refuse = lambda path: None
            await watching.until(lambda: "g1" in watching.ids)
            api.receive("good", "g2")
            await watching.until(lambda: "g2" in watching.ids)
        assert watching.ids == ["g0", "g1", "g2"]

    asyncio.run(story())


def test_more_chats_than_can_go_wrong_hold_the_cursor_and_nothing_else(
    api: HostileAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbound, "MAX_SET_ASIDE", 2)

    async def story() -> None:
        store = AssetStore()
        watching = Watching(api, store)
        async with watching:
            await watching.until(lambda: KEY in store.values)
            before = cursor_of(store).after
            api.refuse = lambda path: 500 if "/bad" in path else None
            for number in range(4):
                api.receive(f"bad{number}", f"b{number}")
            await watching.polls()
            api.now += 2 * OVERLAP
            await watching.polls()
            assert cursor_of(store).after == before
            api.refuse = lambda path: None
            await watching.until(lambda: len(watching.ids) == 4)

    asyncio.run(story())


def test_a_message_of_no_form_costs_itself(api: HostileAPI, caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        store = AssetStore()
        watching = Watching(api, store)
        async with watching:
            await watching.until(lambda: KEY in store.values)
            api.receive("c", "odd", created_at="noon", text_of_nobody="secret")
            api.chats["c"].append({"updated_at": NOON.isoformat()})
            api.chats["empty"] = []
            api.receive("c", "even")
            await watching.until(lambda: watching.ids == ["even"])
            await watching.polls()

    asyncio.run(story())
    assert caplog.text.count("Message 'odd' of chat c is passed over: created_at can't be read") == 1
    assert caplog.text.count("What has no id in chat c is passed over") == 1
    assert "secret" not in caplog.text


@pytest.mark.parametrize("at", range(12))
def test_a_response_with_a_date_of_another_year_silences_nobody(api: HostileAPI, at: int) -> None:
    """Wherever it comes: as the first response to the watcher, or as a later one."""
    wrong = datetime(2099, 1, 1, tzinfo=timezone.utc)

    async def story() -> None:
        store = AssetStore()
        watching = Watching(api, store)
        sent = []
        async with watching:
            api.wrong_dates = [api.now] * at + [wrong]
            await watching.until(lambda: KEY in store.values and not api.wrong_dates)
            for number in range(4):
                api.now += timedelta(seconds=20)
                sent.append(api.receive("c", f"m{number}"))
                await watching.until(lambda: watching.ids == sent)
        assert cursor_of(store).after < NOON + HOUR

    asyncio.run(story())


@pytest.mark.parametrize("after", ["2099-01-01T00:00:00Z", "9999-12-31T00:00:00Z", "9999-12-31T23:59:59.999999Z"])
@pytest.mark.parametrize("format_", [1, 2])
def test_a_stored_cursor_ahead_of_the_server_is_doubted(
    api: HostileAPI, capsys: pytest.CaptureFixture[str], after: str, format_: int
) -> None:
    async def story() -> None:
        store = AssetStore()
        stored = {"format": format_, "after": after, "known": {}}
        store.values[KEY] = stored if format_ == 1 else {**stored, "looked": after, "set_aside": {}}
        api.receive("c", "long ago", at=NOON - 2 * HOUR)
        api.receive("c", "lately", at=NOON - timedelta(minutes=30))
        watching = Watching(api, store)
        async with watching:
            await watching.until(lambda: watching.ids == ["lately"])
            api.receive("c", "now")
            await watching.until(lambda: watching.ids == ["lately", "now"])
        assert cursor_of(store).after <= NOON

    asyncio.run(story())
    assert "The stored cursor lies ahead of the API's time" in capsys.readouterr().out


def test_a_watcher_says_which_time_it_missed(api: HostileAPI, capsys: pytest.CaptureFixture[str]) -> None:
    async def story() -> None:
        store = AssetStore()
        watching = Watching(api, store)
        async with watching:
            await watching.until(lambda: KEY in store.values)
            await watching.polls()
        api.now += timedelta(minutes=50)
        async with watching:
            api.receive("c", "in time")
            await watching.until(lambda: len(watching.payloads) == 1)
            await watching.polls()
        looked = cursor_of(store).looked
        assert looked is not None
        api.now += timedelta(hours=2, minutes=10)
        async with watching:
            api.receive("c", "late")
            await watching.until(lambda: len(watching.payloads) == 2)
            api.receive("c", "later")
            await watching.until(lambda: len(watching.payloads) == 3)
        in_time, late, later = watching.payloads
        assert "missed" not in in_time
        assert "missed" not in later
        assert late["missed"]["from"] == f"{looked:%Y-%m-%dT%H:%M:%SZ}"
        assert late["missed"]["to"].startswith("2026-03-01T14:00:")

    asyncio.run(story())
    out = capsys.readouterr().out
    assert out.count("Nobody looked for longer than the platform keeps messages") == 1
    assert out.count("there is no cursor yet") == 1
    assert out.count("from the stored cursor on") == 2


@pytest.mark.parametrize("stored", [{"poll_interval": 0}, {"webhook_archive": ""}, {"include_text": "yes"}])
def test_what_another_version_has_stored_ends_its_trigger_and_not_the_triggerer(stored: dict[str, Any]) -> None:
    path, arguments = LinqInboundMessageTrigger().serialize()
    runner = TriggerRunner()
    for number, given in enumerate(({**arguments, **stored}, arguments), start=1):
        kwargs = Trigger.encrypt_kwargs(given)
        workload: Any = SimpleNamespace(id=number, classpath=path, encrypted_kwargs=kwargs, ti=None, dag_data=None)
        workload.timeout_after = workload.watched_assets = None
        runner.to_create.append(workload)

    async def create() -> list[int]:
        await runner.create_triggers()
        for one in runner.triggers.values():
            one["task"].cancel()
        return list(runner.triggers)

    assert asyncio.run(create()) == [2]
    ((failed, error),) = runner.failed_triggers
    assert failed == 1
    assert next(iter(stored)) in str(error)


def test_a_cursor_stays_small_and_a_restart_announces_little_twice() -> None:
    """Airflow warns of a value above 64 KB."""
    messages = [message(f"{number:036}", number / 1000) for number in range(12_000)]
    cursor = Cursor(NOON).with_events(messages)
    cursor = cursor.moved(NOON + timedelta(minutes=12), [f"{number:036}" for number in range(inbound.MAX_SET_ASIDE)])
    stored = json.dumps(cursor.to_json())
    assert len(stored) < 65_000
    again = Cursor.from_json(KEY, json.loads(stored)).new(messages, MessageFilter(anywhere=True))
    assert len(again) == len(messages) - STORED_MESSAGES
    assert [one.id for one in again] == [one.id for one in messages[: len(again)]], "the oldest"


def test_the_known_messages_of_a_chat_stay_known_while_it_is_set_aside() -> None:
    first = message("first", 1)
    cursor = Cursor(NOON).with_events([first]).moved(NOON + timedelta(minutes=2), ["c"])
    for minutes in (60, 90):
        cursor = Cursor.from_json(KEY, cursor.moved(NOON + timedelta(minutes=minutes), ["c"]).to_json())
    second = message("second", 30)
    other = Message.model_validate({**message("other", 30).model_dump(), "chat_id": "another"})
    assert cursor.new([first, second, other], MessageFilter(anywhere=True)) == [second]


def test_a_chat_that_the_api_could_not_show_counts_from_then_on_in_the_archive_too() -> None:
    by_api = Cursor(NOON).moved(NOON + timedelta(hours=3), ["c"])
    assert by_api.begins_at == NOON
    cursor = Cursor.from_json(KEY, by_api.in_archive("digest", None).to_json())
    meanwhile = message("meanwhile", 30)
    other = Message.model_validate({**message("other", 30).model_dump(), "chat_id": "another"})
    assert cursor.new([meanwhile, other, message("before", -1)], MessageFilter(anywhere=True)) == [meanwhile]


@pytest.mark.parametrize("asked", [99_999_999, 2_300_568_415, 86_400])
def test_the_api_cannot_send_a_watcher_to_sleep_for_years(asked: float) -> None:
    assert Failures(30).add(RateLimitedError("slow down", retry_after=asked)) == 3600


def test_a_wait_that_the_api_asks_for_is_an_hour_at_most(api: HostileAPI, capsys: pytest.CaptureFixture[str]) -> None:
    api.refuse, api.retry_after = lambda path: 429, "Wed, 21 Oct 2099 07:28:00 GMT"

    async def story() -> None:
        async with Watching(api, AssetStore()) as watching:
            await watching.until(lambda: bool(api.served))
            await watching.until(lambda: "next in" in _noted.setdefault("out", "") + _read(capsys))

    _noted: dict[str, str] = {}

    def _read(capsys: pytest.CaptureFixture[str]) -> str:
        _noted["out"] += capsys.readouterr().out
        return _noted["out"]

    asyncio.run(story())
    assert "next in 3600 s" in _noted["out"]
