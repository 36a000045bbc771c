"""A receiver of webhooks as small as can be: each delivery is appended to an archive, and then answered."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler
from threading import Lock, Thread
from typing import Any

from linq_client import LinqClient
from linq_webhooks.archive import StoredEvent, open_archive
from tests.support.emulator_process import Emulator
from tests.support.loopback_server import LoopbackServer
from tests.support.waiting import wait_until

__all__ = ["EVENTS", "Receiver", "settle"]

EVENTS = (
    *("message.sent", "message.received", "message.delivered", "message.read", "message.failed", "message.edited"),
    *("reaction.added", "reaction.removed", "chat.created", "participant.added", "participant.removed"),
)

#: Seconds between the tries of a delivery, as the emulator makes them by default.
RETRY_GAPS = (5, 10, 20, 40, 80, 160, 320, 640, 525)


class Receiver:
    """Receives what an emulator delivers, as long as it is up. A context manager, which ends it.

    Attributes:
        url: of the archive.
        is_up: whether deliveries are taken; where they are not, they are answered with 503.
        received: number of deliveries taken.
    """

    def __init__(self, emulator: Emulator, url: str, *, key: bytes | None = None) -> None:
        self.url = url
        self.is_up = True
        self.received = 0
        self._emulator = emulator
        self._archive = open_archive(url, encryption_key=key)
        self._lock = Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(receiver.take({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                """Nothing."""

        self._server = LoopbackServer(Handler)
        self._thread = Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._archive.close()

    def take(self, headers: dict[str, str], body: bytes) -> int:
        """Keep a delivery, and return the status to answer with."""
        with self._lock:
            if not self.is_up:
                return 503
            self.append(headers["webhook-id"], headers["x-webhook-event"], body, headers)
            return 200

    def append(self, event_id: str, event_type: str, body: bytes, headers: dict[str, str]) -> None:
        """Keep an event, whatever it is."""
        kept = {name: value for name, value in headers.items() if name == "webhook-timestamp"}
        subscription = headers.get("x-webhook-subscription-id")
        now = datetime.now(timezone.utc)
        self._archive.append([StoredEvent(event_id, event_type, subscription, now, kept, body)])
        self.received += 1

    def subscribe(
        self, version: str = "2026-02-03", events: Sequence[str] = EVENTS, lines: Sequence[str] | None = None
    ) -> str:
        """Have the emulator deliver here, and return the id of the subscription."""
        target = f"{self._server.origin}/?version={version}"
        with closing(LinqClient(self._emulator.api_key, base_url=self._emulator.base_url)) as client:
            return client.webhook_subscriptions.create(target, events, phone_numbers=lines).id

    def settle(self) -> None:
        """Wait until each delivery that is due by the emulator's clock was tried."""
        settle(self._emulator)


def settle(emulator: Emulator) -> list[dict[str, Any]]:
    """Wait until each delivery that is due by the emulator's clock was tried, and return all of them."""
    deliveries: list[dict[str, Any]] = []

    def is_settled() -> bool:
        now = emulator.now()
        deliveries[:] = emulator.webhook_deliveries()
        return not any(_is_due(one, now) for one in deliveries)

    wait_until(is_settled, "each delivery that is due was tried")
    return deliveries


def _is_due(delivery: dict[str, Any], now: datetime) -> bool:
    if delivery["state"] != "pending":
        return False
    tries = delivery["attempts"]
    if not tries:
        return True
    last = datetime.fromisoformat(tries[-1]["at"].replace("Z", "+00:00"))
    return len(tries) > len(RETRY_GAPS) or last + timedelta(seconds=RETRY_GAPS[len(tries) - 1]) <= now
