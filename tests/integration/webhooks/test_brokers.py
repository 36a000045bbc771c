"""Events go to real brokers, which confirm them; what is down is said, and works again when it is back."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from linq_client import SettingsError
from linq_webhooks.archive import ArchiveError, StoredEvent, open_archive
from tests.support.brokers import Broker, Kafka, Nats, Redis
from tests.support.webhook_events import KEY, NOON, event


def made(kind: str, folder: Path) -> Broker:
    return {"kafka": Kafka, "nats": lambda: Nats(folder), "redis": lambda: Redis(folder)}[kind]()  # type: ignore[no-any-return, operator]


@pytest.fixture
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    started = made(request.param, tmp_path)
    try:
        started.start()
        yield started
    finally:
        started.stop()


@pytest.mark.parametrize("url", ["kafka://127.0.0.1:9/topic", "nats://127.0.0.1:9/stream", "redis://h:9/0?stream=s"])
def test_a_package_that_is_missing_is_said_before_anything_is_received(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("confluent", "nats", "redis"):
        monkeypatch.setitem(sys.modules, f"faststream.{name}", None)
    with pytest.raises(SettingsError, match=r"is not installed; pip install 'linq-connectors\[webhooks-brokers\]'"):
        open_archive(url)


everywhere = pytest.mark.parametrize("broker", ["kafka", "nats", "redis"], indirect=True)
that_stop = pytest.mark.parametrize("broker", ["nats", "redis"], indirect=True)


@everywhere
def test_events_are_in_the_log_by_chat_and_id(broker: Broker) -> None:
    events = [event(number) for number in range(40)]
    with closing(open_archive(broker.url)) as sink:
        sink.check()
        sink.append(events[:1])
        sink.append(events[1:])
        sink.append([])
    found = broker.messages()
    assert sorted(id_ for _, id_, _ in found) == sorted(one.event_id for one in events)
    stored = {id_: (key, json.loads(record)) for key, id_, record in found}
    for one in events:
        key, record = stored[one.event_id]
        assert (key, record["body"].encode()) == (one.headers["linq-chat-id"], one.body)
        assert (record["format"], record["event_id"], record["headers"]) == (1, one.event_id, one.headers)
    for chat in {key for key, _, _ in found}:
        of_chat = [int(id_[1:]) for key, id_, _ in found if key == chat]
        assert of_chat == sorted(of_chat), "in order"


@pytest.mark.parametrize("broker", ["nats"], indirect=True)
def test_a_broker_that_knows_ids_drops_what_is_delivered_twice(broker: Broker) -> None:
    with closing(open_archive(broker.url)) as sink:
        sink.append([event(1)])
    with closing(open_archive(broker.url)) as sink:
        sink.append([event(1), event(2)])
    assert [id_ for _, id_, _ in broker.messages()] == ["e1", "e2"]


@that_stop
def test_what_is_down_is_said_and_works_again_when_it_is_back(broker: Broker) -> None:
    with closing(open_archive(broker.url)) as sink:
        sink.append([event(1)])
        broker.stop()
        for _ in range(2):
            with pytest.raises(ArchiveError, match="cannot write"):
                sink.append([event(2)])
        with pytest.raises(ArchiveError, match="cannot write"):
            sink.check()
        broker.start()
        sink.check()
        sink.append([event(2), event(3)])
    # What was confirmed survived the end of the broker.
    assert {id_ for _, id_, _ in broker.messages()} == {"e1", "e2", "e3"}


@pytest.mark.parametrize("broker", ["nats"], indirect=True)
def test_a_stream_that_takes_no_webhooks_is_refused_by_the_check(broker: Nats) -> None:
    broker.with_stream("other")
    with closing(open_archive(broker.url)) as sink:
        with pytest.raises(SettingsError, match=r"must have the subjects linq\.webhooks\.>"):
            sink.check()
        with pytest.raises(ArchiveError, match="cannot write"):
            sink.append([event(1)])


@pytest.mark.parametrize("broker", ["redis"], indirect=True)
def test_bodies_are_encrypted_and_chats_are_read_from_them(broker: Broker) -> None:
    bodies = {
        "2026": b'{"event_type": "message.sent", "event_id": "1", "data": {"id": "m", "chat": {"id": "c1"}}}',
        "2025": b'{"event_type": "message.sent", "event_id": "1", "data": {"chat_id": "c2", "message": {"id": "m"}}}',
        "failed": b'{"event_type": "message.failed", "event_id": "1", "data": {"code": 4001, "chat_id": "c3"}}',
        "chat": b'{"event_type": "chat.created", "event_id": "1", "data": {"id": "c4"}}',
        "none": b'{"event_type": "api_token.created", "event_id": "1", "data": {"id": "token"}}',
        "odd": b"\xff",
    }
    events = [
        StoredEvent(name, "chat.created" if name == "chat" else "message.sent", None, NOON, {}, body)
        for name, body in bodies.items()
    ]
    with closing(open_archive(broker.url, encryption_key=KEY)) as sink:
        sink.append(events)
    found = broker.messages()
    assert {id_: key for key, id_, _ in found} == {
        "2026": "c1", "2025": "c2", "failed": "c3", "chat": "c4", "none": "none", "odd": "none"
    }  # fmt: skip
    assert all(b'"c1"' not in record and b"body_encrypted" in record for _, _, record in found)


@pytest.mark.parametrize(
    "url",
    [
        "kafka://me:s3cret@127.0.0.1:9/t",
        "kafka://127.0.0.1:9",
        "kafka://127.0.0.1:9/a/b",
        "nats://127.0.0.1:9",
        "redis://127.0.0.1:9/0",
        "redis://127.0.0.1:9/0?stream=",
    ],
)
def test_a_url_without_a_log_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="webhook archive: must be") as refused:
        open_archive(url)
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    ["kafka://127.0.0.1:9/t?sasl.password=s3cret", "nats://me:s3cret@127.0.0.1:9/s", "redis://127.0.0.1:9/0?stream=s"],
)
def test_it_is_not_read(url: str) -> None:
    with closing(open_archive(url)) as sink:
        for read in (sink.read, lambda: sink.position_before(NOON)):
            with pytest.raises(SettingsError, match="needs one in files or in a database") as refused:
                read()
    assert "s3cret" not in str(refused.value)
