"""Records that outlive a process: samples of each format are read, and nothing else is guessed."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_linq._internal.durable import CURSOR_FORMAT, FORMAT, FormatError
from airflow_provider_linq._internal.idempotency import IdempotencyRecord
from airflow_provider_linq._internal.inbound_cursor import Cursor
from airflow_provider_linq._internal.once import RecordStore, RequestRecord, Status
from airflow_provider_linq._internal.version_compat import AirflowFailException
from airflow_provider_linq.operators.chats import LinqSendVoiceMemoOperator
from airflow_provider_linq.operators.messages import LinqSendMessageOperator
from airflow_provider_linq.triggers.linq_inbound import LinqInboundMessageTrigger
from linq_client.times import parse_datetime
from tests.support.airflow import Store, context
from tests.support.waiting import PATIENCE

SAMPLES = Path(__file__).parents[2] / "data" / "formats"
ANN = "+12125550121"
BLANKS = {
    "linq_message": IdempotencyRecord(status=Status.NOT_SENT, recipient="r", max_tries=0, key="k"),
    "linq_at_most_once": RequestRecord(status=Status.NOT_SENT, recipient="r", max_tries=0),
}
#: Records that this version must not read: of a newer one, and of 0.1.0, which wrote no format.
FOREIGN = {"newer": {"format": FORMAT + 1}, "0.1.0": {"key": "k", "max_tries": 0, "unsent": True}, "no record": "?"}


def sample(name: str) -> Any:
    return json.loads((SAMPLES / f"{name}.json").read_text())


def store_of(name: str, value: Any) -> RecordStore[Any]:
    return RecordStore(context(Store({name: value})), name, BLANKS[name])


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("name", BLANKS)
def test_a_record_is_read_and_written_as_it_was(name: str, status: Status) -> None:
    stored = sample(f"task_state/{name}.{status.value}")
    assert stored["format"] == 1
    record = store_of(name, stored).record
    assert record.status is status
    assert record.result == stored["result"]
    kept = Store()
    RecordStore(context(kept), name, BLANKS[name]).save(record)
    added_since = dict.fromkeys(kept.values[name].keys() - stored.keys())
    assert kept.values == {name: {**stored, **added_since}}


@pytest.mark.parametrize("name", BLANKS)
def test_fields_of_a_later_version_of_the_format_are_passed_over(name: str) -> None:
    stored = sample(f"task_state/{name}.completed")
    assert store_of(name, {**stored, "added_later": 1}).record == store_of(name, stored).record


@pytest.mark.parametrize("name", BLANKS)
@pytest.mark.parametrize("change", [{"status": "paused"}, {"format": FORMAT + 1}, {"format": "1"}, {"format": None}])
def test_what_cannot_be_read_is_refused(name: str, change: dict[str, Any]) -> None:
    stored = {**sample(f"task_state/{name}.completed"), **change}
    with pytest.raises(FormatError, match=f"{name}: "):
        _ = store_of(name, stored).record
    del stored["recipient"]
    with pytest.raises(FormatError, match=f"{name}: "):
        _ = store_of(name, stored).record


@pytest.mark.parametrize("what", FOREIGN)
@pytest.mark.parametrize("on_clear", ["keep", "resend"])
@pytest.mark.usefixtures("offline")
def test_a_record_of_another_version_ends_the_task_and_nothing_is_sent(what: str, on_clear: Any) -> None:
    """Offline: a request would be another error. And the record stays as it was, for the version that can read it."""
    message = LinqSendMessageOperator(task_id="t", to=ANN, message="Hi", on_clear=on_clear)
    memo = LinqSendVoiceMemoOperator(task_id="t", chat_id="c", attachment_id="a", on_clear=on_clear)
    for name, operator in (("linq_message", message), ("linq_at_most_once", memo)):
        store = Store({name: FOREIGN[what]})
        with pytest.raises(AirflowFailException, match=f"{name}: this version reads formats 1 to {FORMAT}"):
            operator.execute(context(store, try_number=2, max_tries=1))
        assert store.values == {name: FOREIGN[what]}


def test_the_cursor_of_a_watcher() -> None:
    stored = sample("asset_state/linq_inbound")
    cursor = Cursor.from_json("linq_inbound", {**stored, "added_later": 1})
    assert cursor.after == parse_datetime("2026-03-01T12:00:00Z")
    (known,) = cursor.known.values()
    assert known.arrived == parse_datetime("2026-03-01T12:00:01Z")
    for wrong in (*FOREIGN.values(), {**stored, "after": "noon"}, {"format": 1}):
        with pytest.raises(FormatError, match="linq_inbound: "):
            Cursor.from_json("linq_inbound", wrong)


def test_the_cursor_of_a_watcher_with_a_chat_that_is_set_aside() -> None:
    stored = sample("asset_state/linq_inbound.2")
    cursor = Cursor.from_json("linq_inbound", {**stored, "added_later": 1})
    assert cursor.looked == parse_datetime("2026-03-01T12:20:00Z")
    assert cursor.set_aside == {"2b0c1e57-93a1-4d0f-8f51-6a3b1c2d4e5f": parse_datetime("2026-03-01T11:40:00Z")}
    assert len(cursor.known) == 3
    assert cursor.to_json() == stored


def test_the_cursor_of_a_watcher_of_the_webhook_archive() -> None:
    stored = sample("asset_state/linq_inbound.archive")
    place = {**stored["archive"], "added_later": 1}
    cursor = Cursor.from_json("linq_inbound", {**stored, "archive": place, "added_later": 1})
    assert cursor.archive is not None
    assert cursor.archive.position == '{"format":1,"position":42}'
    assert cursor.archive.since == parse_datetime("2026-03-01T11:40:00Z")
    written = {**stored, "watcher": stored["archive"]["archive"]}  # which the first ones did not have
    assert cursor.to_json() == written
    assert Cursor.from_json("linq_inbound", written) == cursor
    for wrong in ({}, {**place, "since": "noon"}, {**place, "chats": None}, []):
        with pytest.raises(FormatError, match="linq_inbound: "):
            Cursor.from_json("linq_inbound", {**stored, "archive": wrong})


@pytest.mark.usefixtures("offline")
def test_a_watcher_ends_at_a_cursor_of_another_version_and_leaves_it() -> None:
    newer = {"format": CURSOR_FORMAT + 1}

    class AssetStore:
        async def aget(self, key: str) -> Any:
            return newer

        async def aset(self, key: str, value: Any) -> None:
            raise AssertionError("the cursor was overwritten")

    async def watch() -> None:
        trigger: Any = LinqInboundMessageTrigger()
        trigger.asset_state_store = AssetStore()
        async for _ in trigger.run():
            pass

    with pytest.raises(FormatError, match="reads formats 1 to"):
        asyncio.run(asyncio.wait_for(watch(), PATIENCE))
