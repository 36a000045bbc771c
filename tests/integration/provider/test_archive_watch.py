"""Watchers and sensors that read the webhook archive: the API is not asked, and nothing is lost between the two."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
from collections.abc import Callable
from contextlib import AsyncExitStack, closing
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_linq._internal import archive as archive_module
from airflow_provider_linq._internal import inbound_watch
from airflow_provider_linq._internal.archive import ArchiveReader, archive_digest
from airflow_provider_linq._internal.durable import FormatError
from airflow_provider_linq._internal.inbound_cursor import STORED_MESSAGES, Cursor, _digest
from airflow_provider_linq._internal.message_filter import MessageFilter
from airflow_provider_linq._internal.version_compat import AirflowFailException, TaskDeferred
from airflow_provider_linq.hooks.linq import LinqAsyncHook
from airflow_provider_linq.sensors.linq import LinqMessageSensor
from airflow_provider_linq.triggers import linq_inbound as triggers_module
from airflow_provider_linq.triggers.linq import LinqMessageTrigger
from airflow_provider_linq.triggers.linq_inbound import LinqInboundMessageTrigger
from linq_client import InvalidRequestError
from linq_client.times import ServerClock
from linq_webhooks.archive import ArchiveError, StoredEvent, open_archive
from linq_webhooks.sinks.database import DatabaseArchive
from tests.integration.provider.test_events import AssetStore, message
from tests.support.airflow import context
from tests.support.archived_webhooks import ArchivedWebhooks
from tests.support.emulator_process import Emulator
from tests.support.waiting import PATIENCE

ANN, BOB = "+12125550121", "+12125550122"
NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
KEY = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="


@pytest.fixture
def emulator(emulator: Emulator, connect: Callable[..., None]) -> Emulator:
    """The emulator, to which `linq_default` is a connection."""
    return emulator


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The API is asked often until there is an event in the archive."""
    monkeypatch.setattr(inbound_watch, "ASK_EVERY", 0.05)


@pytest.fixture(params=["files", "database"])
def webhooks(request: pytest.FixtureRequest, emulator: Emulator, tmp_path: Path) -> ArchivedWebhooks:
    """The emulator's webhooks, in an archive of each kind."""
    url = str(tmp_path / "archive") if request.param == "files" else f"sqlite:///{tmp_path}/archive.db"
    return ArchivedWebhooks(emulator, url)


class Watching:
    """A watcher that runs; its events can be waited for."""

    def __init__(self, store: AssetStore, url: str | None, **arguments: Any) -> None:
        self.store = store
        self.arguments = {"poll_interval": 0.01, "webhook_archive": url, **arguments}
        self.events: list[dict[str, Any]] = []

    async def __aenter__(self) -> Watching:
        trigger = LinqInboundMessageTrigger(**self.arguments)
        trigger.asset_state_store = self.store  # type: ignore[assignment]
        self.name = trigger._cursor_name
        url = self.arguments["webhook_archive"]
        self.own_name = trigger._name_for(None if url is None else archive_digest(url))
        self._polled = asyncio.Event()
        self._task = asyncio.create_task(self._run(trigger))
        await self.until(lambda: self.name in self.store.values)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.until(lambda: self._is_saved())
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, trigger: LinqInboundMessageTrigger) -> None:
        async for event in trigger.run():
            assert event.payload.keys() == {"messages"}
            self.events += event.payload["messages"]

    def _is_saved(self) -> bool:
        """
        Whether its cursor in the store knows the last event; of those before, a watcher of the API forgets some.

        Under the common name is the cursor of whichever watcher of the asset was the last to save one.
        """
        stored = self.store.values.get(self.own_name)
        known = {} if stored is None else Cursor.from_json(self.own_name, stored).known
        return {_digest(id_) for id_ in self.ids[-1:]} <= known.keys()

    def looked(self) -> datetime:
        return Cursor.from_json(self.name, self.store.values[self.name]).looked or NOON

    def is_in_archive(self) -> bool:
        """Whether the API is not asked any more."""
        return Cursor.from_json(self.name, self.store.values[self.name]).archive is not None

    async def until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not is_so():
                assert not self._task.done(), self._task
                await asyncio.sleep(0.01)

    async def has(self, *ids: str) -> None:
        await self.until(lambda: set(ids) <= set(self.ids))
        assert sorted(self.ids) == sorted(ids)

    @property
    def ids(self) -> list[str]:
        return [event["message_id"] for event in self.events]


def in_use(webhooks: ArchivedWebhooks) -> None:
    """Put an event into the archive: a receiver is up."""
    data = {"id": "first", "chat": {"id": "c"}, "direction": "inbound"}
    body = {"event_id": "first", "event_type": "message.received", "created_at": "2026-03-01T11:00:00Z", "data": data}
    with closing(open_archive(webhooks.url)) as archive:
        received_at = datetime.now(timezone.utc)
        archive.append([StoredEvent("first", "message.received", None, received_at, {}, json.dumps(body).encode())])


async def inbound(emulator: Emulator, sender: str = ANN, text: str = "Hi", **more: Any) -> str:
    order = {"line": emulator.lines[0], "from": sender, "text": text, **more}
    await asyncio.to_thread(emulator.advance, 1)
    return str((await asyncio.to_thread(emulator.control, "POST", "inbound", order))["id"])


def asked(emulator: Emulator) -> list[str]:
    """What the API was asked for, but for the subscriptions of the tests."""
    return [
        row["path"]
        for row in emulator.requests_served()
        if not row["path"].startswith("/_") and "webhook" not in row["path"]
    ]


def test_events_over_restarts_come_from_the_archive_and_the_api_is_not_asked(
    emulator: Emulator, webhooks: ArchivedWebhooks
) -> None:
    async def story() -> None:
        await inbound(emulator, text="Before anybody watched")
        webhooks.store()
        watching = Watching(AssetStore(), webhooks.url)
        async with watching:
            first = await inbound(emulator)
            webhooks.store()
            await watching.has(first)
        meanwhile = [await inbound(emulator), await inbound(emulator, BOB)]
        webhooks.store(lambda events: events[::-1])
        async with watching:
            await watching.has(first, *meanwhile)
            webhooks.append(webhooks.repeated())
            last = await inbound(emulator, BOB)
            webhooks.store()
            await watching.has(first, *meanwhile, last)

    asyncio.run(story())
    assert asked(emulator) == []


@pytest.mark.parametrize("version", ["2026-02-03", "2025-01-01"])
def test_the_payload_is_that_of_the_api(emulator: Emulator, tmp_path: Path, version: str) -> None:
    webhooks = ArchivedWebhooks(emulator, str(tmp_path / "archive"), version=version)

    async def story() -> None:
        by_api = Watching(AssetStore(), None, include_text=True)
        by_archive = Watching(AssetStore(), webhooks.url, include_text=True)
        async with by_api, by_archive:
            sent = [await inbound(emulator, ANN, "Yes"), await inbound(emulator, "73737", "Your code", service="SMS")]
            webhooks.store()
            await by_api.has(*sent)
            await by_archive.has(*sent)
        assert by_archive.events == by_api.events

    asyncio.run(story())


def test_filters(emulator: Emulator, webhooks: ArchivedWebhooks) -> None:
    async def story() -> None:
        first = await inbound(emulator, ANN, "Hello")
        webhooks.store()
        chat_id = next(row["chat_id"] for row in emulator.ledger() if row["id"] == first)
        other_line = emulator.lines[1]
        wanted: dict[str, Watching] = {}
        async with AsyncExitStack() as stack:
            for letters, arguments in {
                "ab": {"chat_id": chat_id},
                "c": {"from_handle": BOB},
                "abc": {"line": emulator.lines[0]},
                "d": {"line": other_line},
                "ad": {"text_matches": "^(?i:yes)"},
                "": {"line": other_line, "from_handle": BOB},
                "abcd": {},
            }.items():
                watching = Watching(AssetStore(), webhooks.url, **arguments)
                wanted[letters] = await stack.enter_async_context(watching)
            sent = {
                "a": await inbound(emulator, ANN, "Yes!"),
                "b": await inbound(emulator, ANN, "No"),
                "c": await inbound(emulator, BOB, "No, yes"),
                "d": await inbound(emulator, ANN, "YES", line=other_line),
            }
            webhooks.store()
            for letters, watching in sorted(wanted.items(), reverse=True):
                await watching.has(*(sent[letter] for letter in letters))

    asyncio.run(story())


def test_many_watchers_share_one_reader(
    emulator: Emulator, webhooks: ArchivedWebhooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str | None] = []
    read_batch = archive_module.read_batch

    def counted(archive: Any, position: str | None) -> Any:
        read.append(position)
        return read_batch(archive, position)

    monkeypatch.setattr(archive_module, "read_batch", counted)

    async def story() -> None:
        async def polled(**options: Any) -> list[list[str]]:
            pairs = zip(readers, positions, strict=True)
            batches = await asyncio.gather(*(reader.poll(position, **options) for reader, position in pairs))
            positions[:] = [batch.position for batch in batches]
            return [[one.message.id for one in batch.messages] for batch in batches]

        sent = [await inbound(emulator) for _ in range(5)]
        webhooks.store()
        readers = [ArchiveReader(LinqAsyncHook(), webhooks.url) for _ in range(20)]
        positions: list[str | None] = [None] * 20
        assert await polled(shared_for=600) == [sent] * 20, "each catches up alone"
        assert await polled(shared_for=600) == [[]] * 20
        read.clear()
        late = await inbound(emulator)
        webhooks.store()
        first = await readers[0].poll(positions[0], shared_for=0)
        assert [one.message.id for one in first.messages] == [late]
        assert await polled(shared_for=600) == [[], *[[late]] * 19]
        assert len(read) == 1

    asyncio.run(story())


def test_from_the_api_to_the_archive_and_back_nothing_is_lost_and_nothing_repeated(
    emulator: Emulator, webhooks: ArchivedWebhooks
) -> None:
    async def story() -> None:
        store = AssetStore()
        sent = [await inbound(emulator, text="Before the watch")]
        webhooks.store()
        emulator.advance(60)
        by_api, by_archive = Watching(store, None), Watching(store, webhooks.url)

        def so_far() -> list[str]:
            return by_api.ids + by_archive.ids

        async def until_all() -> None:
            watching = by_api if by_api in running else by_archive
            await watching.until(lambda: set(so_far()) == set(sent[1:]))
            assert sorted(so_far()) == sorted(sent[1:])

        running: list[Watching] = []
        for round_ in range(3):
            for watching in (by_api, by_archive):
                sent.append(await inbound(emulator, BOB))
                webhooks.store()
                async with watching:
                    running[:] = [watching]
                    await until_all()
                    sent.append(await inbound(emulator))
                    webhooks.store()
                    await until_all()
                emulator.advance(7 * 60 * round_)

    asyncio.run(story())


def test_the_api_is_asked_until_an_event_comes_into_the_archive(emulator: Emulator, webhooks: ArchivedWebhooks) -> None:
    async def story() -> None:
        store = AssetStore()
        async with Watching(store, None):
            pass
        lost = await inbound(emulator, text="No receiver yet")
        watching = Watching(store, webhooks.url)
        async with watching:
            await watching.has(lost)
            webhooks.store()
            late = await inbound(emulator)
            webhooks.store()
            await watching.has(lost, late)
            await watching.until(watching.is_in_archive)
            count = len(asked(emulator))
            last = await inbound(emulator)
            webhooks.store()
            await watching.has(lost, late, last)
        assert len(asked(emulator)) == count

    asyncio.run(story())


async def begun(store: AssetStore) -> None:
    """A watcher of the API has run."""
    async with Watching(store, None):
        pass


def unheard(webhooks: ArchivedWebhooks) -> None:
    """What has happened is never delivered: there was no receiver."""
    webhooks.store(lambda events: [])


def remove(url: str) -> None:
    """Remove an archive, as somebody does who deletes or unmounts its place."""
    path = url.removeprefix("sqlite:///")
    if os.path.isdir(path):
        shutil.rmtree(path)
        return
    for one in (path, f"{path}-wal", f"{path}-shm"):
        Path(one).unlink(missing_ok=True)


def test_an_archive_that_is_empty_when_it_is_watched_leaves_nothing_out(
    emulator: Emulator, webhooks: ArchivedWebhooks
) -> None:
    async def story() -> None:
        store = AssetStore()
        await begun(store)
        watching = Watching(store, webhooks.url)
        async with watching:
            sent = [await inbound(emulator)]
            await watching.has(*sent)
            sent.append(await inbound(emulator, BOB, "Still no receiver"))
            unheard(webhooks)
            await asyncio.to_thread(emulator.advance, 1800)
            sent.append(await inbound(emulator))
            webhooks.store()
            await watching.has(*sent)

    asyncio.run(story())


def test_an_old_event_does_not_say_that_the_receiver_was_up(emulator: Emulator, webhooks: ArchivedWebhooks) -> None:
    async def story() -> None:
        await inbound(emulator)
        webhooks.store()
        await asyncio.to_thread(emulator.advance, 3600)
        store = AssetStore()
        await begun(store)
        await asyncio.to_thread(emulator.advance, 300)
        sent = [await inbound(emulator, BOB, "The receiver is down")]
        unheard(webhooks)
        await asyncio.to_thread(emulator.advance, 3600)
        sent.append(await inbound(emulator))
        webhooks.store()
        watching = Watching(store, webhooks.url)
        async with watching:
            await watching.has(*sent)

    asyncio.run(story())


def test_the_clock_of_the_receiver_may_be_behind(emulator: Emulator, tmp_path: Path) -> None:
    webhooks = ArchivedWebhooks(emulator, str(tmp_path / "archive"), received_later=-timedelta(minutes=4))

    async def story() -> None:
        store = AssetStore()
        await begun(store)
        sent = [await inbound(emulator, BOB, "No receiver yet")]
        unheard(webhooks)
        await asyncio.to_thread(emulator.advance, 120)
        sent.append(await inbound(emulator))
        webhooks.store()
        watching = Watching(store, webhooks.url)
        async with watching:
            await watching.has(*sent)
        await asyncio.to_thread(emulator.advance, 600)
        await inbound(emulator)
        webhooks.store()

    asyncio.run(story())
    sensor = LinqMessageSensor(task_id="t", from_handle=BOB, since=NOON, webhook_archive=webhooks.url, timeout=60)
    assert not sensor.poke(context())
    sensor = LinqMessageSensor(task_id="t", from_handle=ANN, since=NOON, webhook_archive=webhooks.url, timeout=60)
    assert sensor.poke(context())


def test_a_late_delivery_has_its_event(emulator: Emulator, webhooks: ArchivedWebhooks) -> None:
    """The platform repeats for half an hour, and a spool may hold events for much longer."""
    in_use(webhooks)

    async def story() -> None:
        watching = Watching(AssetStore(), webhooks.url)
        async with watching:
            held: list[StoredEvent] = []
            late = await inbound(emulator)
            webhooks.store(lambda events: held.extend(events) or [])
            await asyncio.to_thread(emulator.advance, 6 * 3600)
            early = await inbound(emulator)
            webhooks.store()
            await watching.has(early)
            webhooks.append(held)
            await watching.has(early, late)

    asyncio.run(story())


class TestWhereTheArchiveDoesNotSay:
    """What it can't tell, the API is asked for."""

    @pytest.mark.parametrize("is_made", [False, True])
    def test_a_new_watcher_of_an_empty_archive(
        self, emulator: Emulator, webhooks: ArchivedWebhooks, is_made: bool
    ) -> None:
        if is_made:  # by a receiver that has started, and got nothing yet
            with closing(open_archive(webhooks.url)) as archive:
                archive.check()

        async def story() -> None:
            await inbound(emulator, text="Before anybody watched")
            unheard(webhooks)
            await asyncio.to_thread(emulator.advance, 120)
            store = AssetStore()
            watching = Watching(store, webhooks.url)
            async with watching:
                sent = [await inbound(emulator, BOB, "No receiver yet")]
                await watching.has(*sent)
            sent.append(await inbound(emulator, BOB, "Nobody watches"))
            unheard(webhooks)
            async with watching:
                await watching.has(*sent)
                sent.append(await inbound(emulator))
                webhooks.store()
                await watching.has(*sent)
                await watching.until(watching.is_in_archive)
                count = len(asked(emulator))
                sent.append(await inbound(emulator))
                webhooks.store()
                await watching.has(*sent)
            assert len(asked(emulator)) == count

        asyncio.run(story())

    @pytest.mark.parametrize("is_made_again", [False, True])
    def test_one_that_vanishes_while_it_is_watched(
        self,
        emulator: Emulator,
        webhooks: ArchivedWebhooks,
        capfd: pytest.CaptureFixture[str],
        is_made_again: bool,
    ) -> None:
        in_use(webhooks)

        async def story() -> None:
            watching = Watching(AssetStore(), webhooks.url)
            async with watching:
                sent = [await inbound(emulator)]
                webhooks.store()
                await watching.has(*sent)
                remove(webhooks.url)
                if is_made_again:
                    with closing(open_archive(webhooks.url)) as archive:
                        archive.check()
                sent.append(await inbound(emulator, BOB, "Nobody stores this"))
                unheard(webhooks)
                await watching.has(*sent)
                sent.append(await inbound(emulator))
                webhooks.store()
                await watching.has(*sent)
                sent.append(await inbound(emulator))
                webhooks.store()
                await watching.has(*sent)

        asyncio.run(story())
        assert "The API is asked until an event comes into the webhook archive: " in capfd.readouterr().out

    def test_an_archive_that_fails_when_the_api_was_asked(
        self, emulator: Emulator, webhooks: ArchivedWebhooks, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whichever read of it fails, what the API has shown has its event."""
        failing: set[str] = set()
        kind = type(open_archive(webhooks.url))
        for name in ("read", "position_before"):
            method = getattr(kind, name)

            def fail(archive: Any, *arguments: Any, name: str = name, method: Any = method) -> Any:
                if name in failing:
                    raise ArchiveError("webhook archive: cannot read")
                return method(archive, *arguments)

            monkeypatch.setattr(kind, name, fail)

        async def story() -> None:
            for broken in ({"read"}, {"position_before"}, {"read", "position_before"}):
                failing.clear()
                in_use(webhooks)
                await asyncio.to_thread(emulator.advance, 60)
                store = AssetStore()
                await begun(store)
                sent = [await inbound(emulator, BOB, "No receiver yet")]
                unheard(webhooks)
                failing.update(broken)
                watching = Watching(store, webhooks.url)
                async with watching:
                    await watching.has(*sent)
                    failing.clear()
                    sent.append(await inbound(emulator))
                    webhooks.store()
                    await watching.has(*sent)

        asyncio.run(story())

    def test_what_a_spool_held_for_long_is_found_back_at_the_api(
        self, emulator: Emulator, webhooks: ArchivedWebhooks
    ) -> None:
        in_use(webhooks)

        async def story() -> None:
            store = AssetStore()
            watching = Watching(store, webhooks.url)
            async with watching:
                held = await inbound(emulator, BOB)
                unheard(webhooks)
                await asyncio.to_thread(emulator.advance, 5 * 3600)
                seen = await inbound(emulator)
                webhooks.store()
                await watching.has(seen)
            by_api = Watching(store, None)
            async with by_api:
                await by_api.has(held)
                new = await inbound(emulator)
                await by_api.has(held, new)

        asyncio.run(story())

    def test_a_quiet_time_is_not_missed(
        self,
        emulator: Emulator,
        webhooks: ArchivedWebhooks,
        connect: Callable[..., None],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """The archive was watched for 30 hours, and nothing came: back at the API, nothing is missing."""
        connect(retention_window_hours=24)
        in_use(webhooks)
        passed = [timedelta(0)]

        class Clock(ServerClock):
            def now(self) -> datetime:
                return super().now() + passed[-1]

        monkeypatch.setattr(inbound_watch, "ServerClock", Clock)

        async def story() -> None:
            store = AssetStore()
            watching = Watching(store, webhooks.url)
            async with watching:
                first = await inbound(emulator)
                webhooks.store()
                await watching.has(first)
                await asyncio.to_thread(emulator.advance, 30 * 3600)
                passed.append(timedelta(hours=30))
                await watching.until(lambda: watching.looked() >= NOON + timedelta(hours=29))
            by_api = Watching(store, None)
            async with by_api:
                second = await inbound(emulator)
                await by_api.has(second)  # `missed` in its event would be an error there

        asyncio.run(story())


class TestSeveralArchives:
    """Each has a position of its own."""

    @pytest.fixture
    def both(self, emulator: Emulator, tmp_path: Path) -> list[ArchivedWebhooks]:
        emulator.set_switches(duplicate_target_url="allowed")
        both = [ArchivedWebhooks(emulator, str(tmp_path / name)) for name in ("one", "two")]
        for one in both:
            in_use(one)
        return both

    def test_two_watchers_of_one_asset(self, emulator: Emulator, both: list[ArchivedWebhooks]) -> None:
        async def story() -> None:
            store = AssetStore()
            first, second = (Watching(store, one.url) for one in both)
            async with first, second:
                sent = await inbound(emulator)
                for one in both:
                    one.store()
                await first.has(sent)
                await second.has(sent)
            await asyncio.to_thread(emulator.advance, 3600)
            lagging = await inbound(emulator, BOB, "In the first alone")
            both[0].store()
            unheard(both[1])
            await asyncio.to_thread(emulator.advance, 2 * 3600)
            ahead = await inbound(emulator, text="In the second alone")
            unheard(both[0])
            both[1].store()
            async with second:
                await second.until(lambda: ahead in second.ids)
            async with first:
                await first.until(lambda: lagging in first.ids)
            # Where each of them asked the API at first, it may have what is in the other archive alone.
            assert sorted(set(first.ids)) == sorted(first.ids)

        asyncio.run(story())

    def test_one_replaces_the_other(self, emulator: Emulator, both: list[ArchivedWebhooks]) -> None:
        async def story() -> None:
            store = AssetStore()
            async with Watching(store, both[0].url):
                pass
            sent = [await inbound(emulator, BOB, "In the first alone")]
            both[0].store()
            unheard(both[1])
            watching = Watching(store, both[1].url)
            async with watching:
                await watching.has(*sent)
                sent.append(await inbound(emulator))
                both[1].store()
                await watching.has(*sent)

        asyncio.run(story())


ODD_FIELDS: list[dict[str, Any]] = [
    {"created_at": "garbage"},
    {"updated_at": "garbage"},
    {"sent_at": 5},
    {"received_at": []},
    {"reconciled_at": "soon"},
    {"zero_retention": "maybe"},
    {"idempotency_key": 5},
    {"sender_handle": {"handle": ANN}},
    {"sender_handle": {"handle": ANN, "id": 5, "joined_at": "x", "is_me": "x"}},
    {"sender_handle": ANN},
    {"direction": None},
    {"direction": 5},
    {"service": 5},
    {"effect": "x"},
    {"reply_to": []},
    {"parts": None},
    {"parts": "Hi"},
    {"parts": [{"type": "text", "value": "Hi", "text_decorations": 5, "mentions": "x", "reactions": {}}]},
    {"parts": [{"type": "text", "value": 5}, {"type": "media", "id": "a", "size_bytes": "x"}, {"type": []}, 5]},
    {"preferred_service": {}},
]


@pytest.mark.parametrize("odd", ODD_FIELDS, ids=lambda odd: json.dumps(odd)[:40])
@pytest.mark.parametrize("version", ["2026-02-03", "2025-01-01"])
def test_an_odd_optional_field_costs_itself_and_not_its_message(odd: dict[str, Any], version: str) -> None:
    data = {
        "id": "m",
        "sender_handle": {"handle": ANN, "id": "h"},
        "parts": [],
        "sent_at": "2026-03-01T11:59:00Z",
        **odd,
    }
    if version == "2026-02-03":
        data |= {"chat": {"id": "c", "owner_handle": {"handle": BOB}}}
        data.setdefault("direction", "inbound")
    else:
        data = {"chat_id": "c", "recipient_handle": BOB, "from_handle": data.pop("sender_handle"), "message": data}
    body = {"event_id": "e", "event_type": "message.received", "created_at": "2026-03-01T12:00:00Z", "data": data}
    stored = StoredEvent("e", "message.received", None, NOON, {}, json.dumps(body).encode())
    made = archive_module._message_of(stored)
    assert made is not None
    message, line, _ = made
    assert (message.id, message.chat_id, line, message.created_at) == ("m", "c", BOB, NOON)
    assert MessageFilter(from_handle=ANN).matches(message)


def test_a_sensor_goes_by_when_the_platform_had_it_and_not_by_when_it_was_sent(
    emulator: Emulator, tmp_path: Path
) -> None:
    url = str(tmp_path / "archive")
    data = {"id": "m", "chat": {"id": "c"}, "direction": "inbound", "sent_at": "2026-03-01T11:58:00Z",
            "sender_handle": {"handle": ANN}}  # fmt: skip
    body = {"event_id": "e", "event_type": "message.received", "created_at": "2026-03-01T12:00:05Z", "data": data}
    with closing(open_archive(url)) as archive:
        archive.append([StoredEvent("e", "message.received", None, NOON, {}, json.dumps(body).encode())])
    sensor = LinqMessageSensor(task_id="t", from_handle=ANN, since=NOON, webhook_archive=url, timeout=60)
    assert sensor.poke(context())


def test_a_cursor_is_saved_no_sooner_than_an_interval_after_its_event(
    emulator: Emulator, webhooks: ArchivedWebhooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow stores an event some time after it was handed over; also while more is there that could be read."""
    monkeypatch.setattr(archive_module, "_BATCH", 1)
    monkeypatch.setattr(triggers_module, "LEAST_INTERVAL", 0.0)
    in_use(webhooks)

    async def story() -> None:
        store = AssetStore()
        async with Watching(store, webhooks.url):
            pass
        sent = [await inbound(emulator) for _ in range(3)]
        webhooks.store()
        waits: list[float] = []
        sleep = asyncio.sleep

        async def noted(seconds: float) -> None:
            waits.append(seconds)
            await sleep(0)

        trigger = LinqInboundMessageTrigger(webhook_archive=webhooks.url, poll_interval=7)
        trigger.asset_state_store = store  # type: ignore[assignment]
        monkeypatch.setattr(triggers_module.asyncio, "sleep", noted)
        found = []
        async for event in trigger.run():
            saved = Cursor.from_json(trigger._cursor_name, store.values[trigger._cursor_name]).known
            found += [one["message_id"] for one in event.payload["messages"]]
            assert _digest(found[-1]) not in saved
            if len(found) > 1:
                assert waits[-1] == 7 or 7 in waits
                assert _digest(found[-2]) in saved
            waits.clear()
            if len(found) == len(sent):
                break
        assert found == sent

    asyncio.run(story())


def test_an_archive_that_cannot_be_read_is_read_again(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    webhooks = ArchivedWebhooks(emulator, f"sqlite:///{tmp_path}/archive.db")
    read = DatabaseArchive.read
    is_broken = False
    tries = 0

    def broken(archive: Any, since: str | None = None) -> Any:
        nonlocal tries
        if is_broken:
            tries += 1
            raise archive_module.LinqError("webhook archive: cannot read")
        return read(archive, since)

    monkeypatch.setattr(DatabaseArchive, "read", broken)

    async def story() -> None:
        nonlocal is_broken
        watching = Watching(AssetStore(), webhooks.url)
        async with watching:
            is_broken = True
            sent = await inbound(emulator)
            webhooks.store()
            await watching.until(lambda: tries >= 2)
            is_broken = False
            await watching.has(sent)

    asyncio.run(story())


def test_what_cannot_be_read_is_passed_over_and_named_without_its_text(
    emulator: Emulator, webhooks: ArchivedWebhooks, caplog: pytest.LogCaptureFixture
) -> None:
    def event(id_: str, body: bytes) -> StoredEvent:
        return StoredEvent(id_, "message.received", None, NOON, {}, body)

    data = {"id": "m", "chat": {"id": "c"}, "direction": "inbound", "parts": [{"type": "text", "value": "secret"}]}
    bad = {"event_id": "odd", "event_type": "message.received", "data": {**data, "chat": "secret"}}
    in_use(webhooks)

    async def story() -> None:
        watching = Watching(AssetStore(), webhooks.url)
        async with watching:
            webhooks.append([event("no-json", b"secret"), event("odd", json.dumps(bad).encode())])
            sent = await inbound(emulator)
            webhooks.store()
            await watching.has(sent)

    caplog.set_level(logging.INFO)
    asyncio.run(story())
    for id_ in ("no-json", "odd"):
        assert caplog.text.count(f"Event {id_} of the webhook archive is passed over") >= 1
    assert "secret" not in caplog.text


def test_an_encrypted_archive_is_read_with_the_key_of_the_connection(
    emulator: Emulator, connect: Callable[..., None], tmp_path: Path
) -> None:
    webhooks = ArchivedWebhooks(emulator, str(tmp_path / "archive"), key=KEY.encode())
    in_use(webhooks)
    trigger = LinqInboundMessageTrigger(webhook_archive=webhooks.url)
    assert KEY not in json.dumps(trigger.serialize())

    async def story() -> None:
        watching = Watching(AssetStore(), webhooks.url)
        async with watching:
            sent = await inbound(emulator)
            webhooks.store()
            # The watcher has no key yet; one that is put into the connection is taken up.
            await asyncio.sleep(0.1)
            assert watching.ids == []
            connect(webhook_archive_secret=KEY)
            await watching.has(sent)

    asyncio.run(story())


def test_a_cursor_of_the_archive_stays_small_and_is_read_again() -> None:
    messages = [message(f"{number:036}", number / 1000) for number in range(12_000)]
    cursor = Cursor(NOON).in_archive("digest", "position").with_events(messages)
    cursor = cursor.moved_in_archive("later", NOON + timedelta(hours=30), NOON + timedelta(hours=31))
    assert len(cursor.known) == STORED_MESSAGES
    stored = json.loads(json.dumps(cursor.to_json()))
    assert len(json.dumps(stored)) < 65_000
    again = Cursor.from_json("linq_inbound", stored)
    assert again.archive == cursor.archive
    assert again.after == cursor.after == NOON + timedelta(hours=6)
    assert again.looked == NOON + timedelta(hours=31)
    for broken in ({"archive": 5}, {"archive": {}}, {"archive": {**stored["archive"], "since": "x"}}):
        with pytest.raises(FormatError):
            Cursor.from_json("linq_inbound", {**stored, **broken})


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://me:s3cret@db/linq",
        "postgresql+psycopg://db/linq?user=me&password=s3cret",
        "abfs://c@a.dfs.core.windows.net/x?sig=s3cret",
        "simplecache::s3://key:s3cret@bucket/x",
        "",
        "http://[",
        None,
    ],
)
def test_an_url_with_a_password_is_refused(url: Any, emulator: Emulator) -> None:
    with pytest.raises(InvalidRequestError, match="^webhook_archive: must") as refused:
        archive_module.check_archive_url(url)
    assert "s3cret" not in str(refused.value)
    if url:
        with pytest.raises(InvalidRequestError):
            LinqMessageSensor(task_id="t", chat_id="c", webhook_archive=url)
        with pytest.raises(InvalidRequestError):
            LinqInboundMessageTrigger(webhook_archive=url)


class TestSensor:
    """`LinqMessageSensor` in the archive, on the worker and in the triggerer."""

    @pytest.fixture
    def waiting(self, emulator: Emulator, webhooks: ArchivedWebhooks) -> Callable[..., LinqMessageSensor]:
        def sensor(**arguments: Any) -> LinqMessageSensor:
            given = {"from_handle": ANN, "since": NOON, "timeout": 60, "poke_interval": 0.05, **arguments}
            return LinqMessageSensor(task_id="t", webhook_archive=webhooks.url, **given)

        return sensor

    def test_on_the_worker(
        self, emulator: Emulator, webhooks: ArchivedWebhooks, waiting: Callable[..., LinqMessageSensor]
    ) -> None:
        asyncio.run(inbound(emulator, BOB))
        webhooks.store()
        sensor = waiting()
        assert not sensor.poke(context())
        first = asyncio.run(inbound(emulator, ANN, "Yes"))
        asyncio.run(inbound(emulator, ANN, "No"))
        webhooks.store(lambda events: events[::-1])
        found = sensor.poke(context()).xcom_value
        assert (found["message_id"], found["text"], found["from_handle"]) == (first, "Yes", ANN)
        assert asked(emulator) == []

    def test_in_the_triggerer(
        self, emulator: Emulator, webhooks: ArchivedWebhooks, waiting: Callable[..., LinqMessageSensor]
    ) -> None:
        sensor = waiting(deferrable=True)
        with pytest.raises(TaskDeferred) as deferred:
            sensor.execute(context())
        trigger = deferred.value.trigger
        assert isinstance(trigger, LinqMessageTrigger)
        again = LinqMessageTrigger(**json.loads(json.dumps(trigger.serialize()[1])))

        async def story() -> dict[str, Any]:
            for sender in (BOB, ANN):
                await inbound(emulator, sender, "Yes")
            webhooks.store()
            return dict((await anext(again.run())).payload)

        event = asyncio.run(story())
        assert "text" not in event
        found = sensor.execute_complete(context(), event)
        assert (found["text"], found["from_handle"]) == ("Yes", ANN)
        assert asked(emulator) == []

    def test_a_key_that_is_missing_fails_without_a_retry(self, emulator: Emulator, tmp_path: Path) -> None:
        webhooks = ArchivedWebhooks(emulator, str(tmp_path / "encrypted"), key=KEY.encode())
        asyncio.run(inbound(emulator))
        webhooks.store()
        sensor = LinqMessageSensor(task_id="t", from_handle=ANN, since=NOON, webhook_archive=webhooks.url)
        with pytest.raises(AirflowFailException, match="encrypted"):
            sensor.poke(context())


def test_a_sensor_finds_what_a_receiver_with_a_slow_clock_stored(emulator: Emulator, tmp_path: Path) -> None:
    webhooks = ArchivedWebhooks(emulator, f"sqlite:///{tmp_path}/archive.db", received_later=-timedelta(minutes=4))

    async def story() -> None:
        await inbound(emulator, text="yes")
        webhooks.store()
        emulator.advance(600)
        await inbound(emulator, BOB)
        webhooks.store()

    since = emulator.now()
    asyncio.run(story())
    sensor = LinqMessageSensor(task_id="wait", from_handle=ANN, since=since, webhook_archive=webhooks.url, timeout=60)
    assert sensor.poke(context())
