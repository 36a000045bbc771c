"""What is read of a webhook archive of which something can't be read, for now or any more."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_linq._internal import archive as archive_module
from airflow_provider_linq._internal import inbound_watch
from airflow_provider_linq._internal.archive import ArchiveReader
from airflow_provider_linq._internal.version_compat import AirflowFailException
from airflow_provider_linq.hooks.linq import LinqAsyncHook
from airflow_provider_linq.sensors.linq import LinqMessageSensor
from airflow_provider_linq.triggers.linq import LinqMessageTrigger
from linq_webhooks.archive import ArchiveError, open_archive
from linq_webhooks.sinks.database import DatabaseArchive
from tests.integration.provider.test_archive_watch import (
    ANN,
    BOB,
    NOON,
    AssetStore,
    Watching,
    asked,
    emulator,
    impatient,
    in_use,
    inbound,
    remove,
)
from tests.support.airflow import context
from tests.support.archived_webhooks import ArchivedWebhooks
from tests.support.emulator_process import Emulator
from tests.support.waiting import PATIENCE, until

__all__ = ["emulator", "impatient"]


@pytest.fixture
def webhooks(emulator: Emulator, tmp_path: Path) -> ArchivedWebhooks:
    """The emulator's webhooks in a database."""
    return ArchivedWebhooks(emulator, f"sqlite:///{tmp_path}/archive.db")


def sensor(webhooks: ArchivedWebhooks, sender: str, **more: Any) -> LinqMessageSensor:
    return LinqMessageSensor(
        task_id="t", from_handle=sender, since=NOON, webhook_archive=webhooks.url, timeout=60, **more
    )


def of_a_later_version(tmp_path: Path, message_id: str) -> None:
    """Let the event of a message be written as a later version would write it."""
    with closing(sqlite3.connect(tmp_path / "archive.db")) as database, database:
        database.execute(
            "create trigger later after insert on linq_webhook_events "
            f"when instr(cast(new.body as text), '{message_id}') begin "
            "update linq_webhook_events set format = 2 where event_id = new.event_id; end"
        )


def test_a_watcher_gets_what_comes_before_an_event_of_a_later_version(
    emulator: Emulator, webhooks: ArchivedWebhooks, tmp_path: Path
) -> None:
    in_use(webhooks)

    async def story() -> None:
        watching = Watching(AssetStore(), webhooks.url)
        async with watching:
            sent = [await inbound(emulator), await inbound(emulator, BOB)]
            of_a_later_version(tmp_path, sent[1])
            webhooks.store()
            await watching.has(sent[0])
            with closing(sqlite3.connect(tmp_path / "archive.db")) as database, database:
                database.execute("update linq_webhook_events set format = 1")  # as if it was updated
            await watching.has(*sent)

    asyncio.run(story())


def test_a_sensor_says_what_it_can_not_read_and_finds_what_is_before(
    emulator: Emulator, webhooks: ArchivedWebhooks, tmp_path: Path
) -> None:
    in_use(webhooks)

    async def come() -> list[str]:
        return [await inbound(emulator), await inbound(emulator, BOB)]

    ids = asyncio.run(come())
    of_a_later_version(tmp_path, ids[1])
    webhooks.store()
    found = sensor(webhooks, ANN).poke(context())
    assert found
    assert found.xcom_value["message_id"] == ids[0]  # type: ignore[index]
    with pytest.raises(ArchiveError, match="has format 2"):
        sensor(webhooks, BOB).poke(context())


def test_nothing_that_matches_comes_in_time(emulator: Emulator, webhooks: ArchivedWebhooks) -> None:
    in_use(webhooks)

    async def story() -> dict[str, Any]:
        await inbound(emulator, BOB)
        webhooks.store()
        over = datetime.now(timezone.utc) + timedelta(seconds=0.3)
        return (await anext(_trigger(webhooks, poll_interval=0.05, deadline=over.isoformat()).run())).payload

    event = asyncio.run(story())
    assert event["timed_out"]
    assert event["polls"] > 1


@pytest.mark.parametrize("kind", ["files", "database"])
def test_an_archive_that_is_made_again_while_it_is_waited_for(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A position in the one before means nothing: the new one is read from where it begins to matter."""
    webhooks = ArchivedWebhooks(emulator, str(tmp_path / "a") if kind == "files" else f"sqlite:///{tmp_path}/a.db")
    polls, poll = [0], ArchiveReader.poll

    async def counted(self: ArchiveReader, *arguments: Any, **options: Any) -> Any:
        polls[0] += 1
        return await poll(self, *arguments, **options)

    monkeypatch.setattr(ArchiveReader, "poll", counted)

    async def story() -> tuple[str, dict[str, Any]]:
        await inbound(emulator, BOB)
        webhooks.store()
        trigger = _trigger(webhooks, poll_interval=0.05, max_consecutive_failures=None)
        waiting = asyncio.create_task(anext(trigger.run()))
        await until(lambda: polls[0] > 2)
        remove(webhooks.url)
        seen = polls[0]
        await until(lambda: polls[0] > seen + 2)
        message = await inbound(emulator)
        webhooks.store()
        return message, (await asyncio.wait_for(waiting, PATIENCE)).payload

    message, event = asyncio.run(story())
    assert event["message_id"] == message


def test_a_sensor_waits_from_the_start_of_the_run(emulator: Emulator, webhooks: ArchivedWebhooks) -> None:
    """The API is not asked for its time."""

    async def come() -> str:
        await inbound(emulator, text="Before the run")
        await asyncio.to_thread(emulator.advance, 600)
        return await inbound(emulator, text="In the run")

    message = asyncio.run(come())
    webhooks.store()
    before = len(asked(emulator))
    waiting = LinqMessageSensor(task_id="t", from_handle=ANN, webhook_archive=webhooks.url, timeout=60)
    found = waiting.poke(context(started=NOON + timedelta(minutes=5)))
    assert found.xcom_value["message_id"] == message  # type: ignore[index]
    assert len(asked(emulator)) == before


def _trigger(webhooks: ArchivedWebhooks, **more: Any) -> LinqMessageTrigger:
    where = {"since": NOON.isoformat(), "from_handle": ANN, "webhook_archive": webhooks.url}
    return LinqMessageTrigger(linq_conn_id="linq_default", **where, **more)


def test_a_message_that_was_erased_before_the_task_could_read_it_is_named(
    emulator: Emulator,
    webhooks: ArchivedWebhooks,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(archive_module, "_BATCH", 2)

    async def story() -> tuple[str, dict[str, Any]]:
        message = await inbound(emulator)
        webhooks.store()
        event = await anext(_trigger(webhooks).run())
        for _ in range(3):
            await inbound(emulator, BOB)
        webhooks.store()
        return message, event.payload

    message, event = asyncio.run(story())
    waiting = sensor(webhooks, ANN)
    assert waiting.execute_complete(context(), event)["message_id"] == message
    with closing(open_archive(webhooks.url)) as archive:
        assert isinstance(archive, DatabaseArchive)
        archive.delete([one.event_id for one, _ in archive.read() if message.encode() in one.body])
    with pytest.raises(AirflowFailException, match=f"message {message}: is not in the webhook archive any more"):
        sensor(webhooks, ANN).execute_complete(context(), event)


def test_whoever_reads_seldom_gets_what_is_kept_no_longer_in_memory(
    emulator: Emulator,
    webhooks: ArchivedWebhooks,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those who watch an archive share what is read; one that is further behind than that reads alone."""
    monkeypatch.setattr(archive_module, "_KEPT", 3)
    in_use(webhooks)

    async def story() -> None:
        often, seldom = (ArchiveReader(LinqAsyncHook(), webhooks.url) for _ in range(2))
        position = {reader: (await reader.poll(None, shared_for=0)).position for reader in (often, seldom)}
        for reader in (often, seldom):
            position[reader] = (await reader.poll(position[reader], shared_for=0)).position
        sent, had = [], []
        for number in range(9):
            sent.append(await inbound(emulator, text=f"Number {number}"))
            webhooks.store()
            batch = await often.poll(position[often], shared_for=0)
            position[often] = batch.position
            had += [one.message.id for one in batch.messages]
        assert had == sent
        late = await seldom.poll(position[seldom], shared_for=0)
        assert [one.message.id for one in late.messages] == sent
        sent.append(await inbound(emulator, text="One more"))
        webhooks.store()
        next_one = await seldom.poll(late.position, shared_for=0)
        assert [one.message.id for one in next_one.messages] == sent[-1:]

    asyncio.run(story())


def test_until_there_is_an_event_the_api_is_asked_now_and_then(
    emulator: Emulator,
    webhooks: ArchivedWebhooks,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(inbound_watch, "ASK_EVERY", 10_000.0)
    read, reads = ArchiveReader.read, [0]

    async def counted(self: ArchiveReader, function: Callable[..., Any]) -> Any:
        reads[0] += 1
        return await read(self, function)

    monkeypatch.setattr(ArchiveReader, "read", counted)

    async def story() -> None:
        watching = Watching(AssetStore(), webhooks.url)
        async with watching:
            await watching.until(lambda: reads[0] > 5)
            count = len(asked(emulator))
            await watching.until(lambda: reads[0] > 15)
            assert len(asked(emulator)) == count
            sent = await inbound(emulator)
            webhooks.store()
            await watching.has(sent)

    asyncio.run(story())


def test_an_archive_that_fails_when_it_is_to_be_read_from_now_on(
    emulator: Emulator,
    webhooks: ArchivedWebhooks,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the API has shown has its event, once, and the API is asked until the archive can be read."""
    position_before, tries, is_broken = DatabaseArchive.position_before, [0], [False]

    def broken(self: DatabaseArchive, moment: Any) -> str | None:
        if is_broken[0]:
            tries[0] += 1
            raise ArchiveError("webhook archive: cannot read")
        return position_before(self, moment)

    monkeypatch.setattr(DatabaseArchive, "position_before", broken)

    async def story() -> None:
        watching = Watching(AssetStore(), webhooks.url)
        async with watching:
            sent = [await inbound(emulator)]
            await watching.has(*sent)
            is_broken[0] = True
            sent.append(await inbound(emulator, BOB))
            webhooks.store()
            await watching.has(*sent)
            await watching.until(lambda: tries[0] > 1)
            assert not watching.is_in_archive()
            is_broken[0] = False
            await watching.until(watching.is_in_archive)
            count = len(asked(emulator))
            sent.append(await inbound(emulator))
            webhooks.store()
            await watching.has(*sent)
            assert len(asked(emulator)) == count

    asyncio.run(story())
