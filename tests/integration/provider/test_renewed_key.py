"""A key that is renewed in the connection while something waits: taken up, and only the same key ends the wait."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk import Connection

from airflow_provider_linq._internal.version_compat import AirflowFailException
from airflow_provider_linq.hooks.linq import LinqHook
from airflow_provider_linq.sensors.linq import LinqDeliverySensor, LinqMessageSensor
from airflow_provider_linq.triggers.linq import LinqDeliveryTrigger, LinqMessageTrigger
from tests.integration.provider.test_waiting import EARLY, event_of, inbound
from tests.support.airflow import context
from tests.support.emulator_process import Emulator
from tests.support.sends import ANN, send


@pytest.fixture
def emulator(emulator: Emulator, connect: Callable[..., None]) -> Emulator:
    """The emulator, to which `linq_default` is a connection."""
    return emulator


class KeysOfConnection:
    """The keys that a connection has, one after the other each time it is fetched, the last one from then on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, emulator: Emulator, *keys: str) -> None:
        self.fetched = 0
        self._keys = keys
        extra = json.dumps({"default_line": emulator.lines[0]})

        def connection(hook: object, conn_id: str) -> Connection:
            key = self._keys[min(self.fetched, len(self._keys) - 1)]
            self.fetched += 1
            return Connection(conn_id=conn_id, conn_type="linq", password=key, host=emulator.base_url, extra=extra)

        async def aconnection(hook: object, conn_id: str) -> Connection:
            return connection(hook, conn_id)

        monkeypatch.setattr(LinqHook, "get_connection", connection)
        monkeypatch.setattr(LinqHook, "aget_connection", aconnection)


def test_a_key_that_was_renewed_ends_no_wait(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    message = send(None)
    emulator.advance(60)
    inbound(emulator, ANN, "Hi")
    place: dict[str, Any] = {"chat_id": message["chat_id"], "since": EARLY}
    triggers = [
        LinqDeliveryTrigger(linq_conn_id="linq_default", message_id=message["message_id"], until="sent"),
        LinqMessageTrigger(linq_conn_id="linq_default", **place),
    ]
    for trigger in triggers:
        keys = KeysOfConnection(monkeypatch, emulator, "expired", emulator.api_key)
        assert "error" not in asyncio.run(event_of(trigger))
        assert keys.fetched == 2
    for sensor in (
        LinqMessageSensor(task_id="s", **place),
        LinqDeliverySensor(task_id="s", message_id=message["message_id"]),
    ):
        KeysOfConnection(monkeypatch, emulator, "expired", emulator.api_key)
        assert sensor.poke(context())


def test_a_key_that_stays_refused_ends_a_wait(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    message = send(None)["message_id"]
    keys = KeysOfConnection(monkeypatch, emulator, "expired")
    asked = len(emulator.requests_served())
    event = asyncio.run(event_of(LinqDeliveryTrigger(linq_conn_id="linq_default", message_id=message, until="sent")))
    assert event["permanent"]
    assert "the API key is missing or wrong" in event["error"]
    assert keys.fetched == 2
    assert len(emulator.requests_served()) == asked + 1, "with the same key, the API says the same"
    with pytest.raises(AirflowFailException, match="the API key is missing or wrong"):
        LinqDeliverySensor(task_id="s", message_id=message).poke(context())
