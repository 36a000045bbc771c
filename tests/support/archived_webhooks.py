"""The emulator's webhooks in an archive, without a receiver between them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import timedelta
from typing import Any

from linq_client import LinqClient
from linq_client.times import parse_datetime
from linq_webhooks.archive import StoredEvent, open_archive
from tests.support.emulator_process import Emulator

#: No delivery is tried where the host is not this machine: the emulator notes it, and that is all.
NOWHERE = "https://example.com/hook"


class ArchivedWebhooks:
    """
    What the emulator would deliver to a subscription, put into an archive when a test says so.

    :param url: of the archive.
    :param version: of the payloads.
    :param key: encrypts them.
    :param received_later: by how much the receiver's clock is ahead.
    """

    def __init__(
        self,
        emulator: Emulator,
        url: str,
        *,
        version: str = "2026-02-03",
        key: bytes | None = None,
        received_later: timedelta = timedelta(0),
    ) -> None:
        self._emulator = emulator
        self.url = url
        self._key = key
        self._received_later = received_later
        self._stored = 0
        with LinqClient(emulator.api_key, base_url=emulator.base_url) as client:
            events = ["message.received", "message.sent", "message.delivered", "chat.created"]
            client.webhook_subscriptions.create(f"{NOWHERE}?version={version}", events)

    def store(self, order: Callable[[list[StoredEvent]], Sequence[StoredEvent]] = list) -> None:
        """Store what has happened since the last time, in this order."""
        new = self._emulator.webhook_deliveries()[self._stored :]
        self._stored += len(new)
        self.append(order([self._event(delivery) for delivery in new]))

    def repeated(self) -> list[StoredEvent]:
        """What was stored, once more."""
        return [self._event(delivery) for delivery in self._emulator.webhook_deliveries()[: self._stored]]

    def append(self, events: Sequence[StoredEvent]) -> None:
        with closing(open_archive(self.url, encryption_key=self._key)) as archive:
            archive.append(events)

    def _event(self, delivery: dict[str, Any]) -> StoredEvent:
        return StoredEvent(
            event_id=delivery["event_id"],
            event_type=delivery["event_type"],
            subscription_id=delivery["subscription_id"],
            received_at=parse_datetime(json.loads(delivery["body"])["created_at"]) + self._received_later,
            headers={},
            body=delivery["body"].encode(),
        )
