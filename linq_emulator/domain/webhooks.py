"""Webhook subscriptions and the deliveries to them.

Signatures, headers and retry rules: API reference, webhooks, and linq-python 0.65.0
``resources/webhook_subscriptions.py``. Attempts are made in real time, their times and the schedule of
retries are the virtual clock's. Only loopback hosts are ever contacted.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import ipaddress
import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

from linq_emulator.clock import SECOND, Clock, iso
from linq_emulator.serializers import encode
from linq_emulator.switches import Switches

VERSION_2026 = "2026-02-03"
VERSION_2025 = "2025-01-01"
VERSIONS = (VERSION_2026, VERSION_2025)
PARTNER_ID = "partner_emulator"
ANSWER_WITHIN = 10.0
REMEMBERED_DELIVERIES = 100_000

# Seconds between one attempt and the next.
RETRY_GAPS: dict[str, tuple[int, ...]] = {
    "exponential": (5, 10, 20, 40, 80, 160, 320, 640, 525),
    "ten": (3, 6, 12, 24, 48, 96, 192, 384, 768),
    "six": (2, 4, 8, 16, 30),
}

Build = Callable[[str], "dict[str, Any] | None"]


def version_of(target_url: str) -> str:
    """The payload version that a target_url asks for with ``?version=``; the newest without."""
    return parse_qs(urlsplit(target_url).query).get("version", [VERSION_2026])[0]


def is_loopback(url: str) -> bool:
    """Whether a URL leads to this machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(slots=True)
class Subscription:
    """One webhook subscription."""

    id: str
    target_url: str
    events: list[str]
    phone_numbers: list[str] | None
    routing_key_header: str | None
    routing_id_header: str | None
    created_at: int
    updated_at: int
    is_active: bool = True
    secret: str = field(default_factory=lambda: "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode())
    tokens: dict[str, str] = field(default_factory=dict)
    """Routing token of each chat, as the subscriber answered it."""

    def wants(self, event_type: str, phone_number: str) -> bool:
        """Whether an event that happened on a line goes to this subscriber."""
        return (
            self.is_active
            and event_type in self.events
            and (not self.phone_numbers or phone_number in self.phone_numbers)
        )


@dataclass(slots=True)
class Delivery:
    """One event on its way to one subscriber."""

    subscription: Subscription
    event_id: str
    event_type: str
    chat_id: str | None
    body: bytes
    state: str = "pending"
    attempts: list[dict[str, Any]] = field(default_factory=list)


def signatures(secret: str, event_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Both signature styles over one body."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = hmac.new(key, f"{event_id}.{timestamp}.".encode() + body, sha256).digest()
    legacy = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, sha256).hexdigest()
    return {
        "webhook-signature": f"v1,{base64.b64encode(signed).decode()}",
        "X-Webhook-Signature": legacy,
    }


class Webhooks:
    """Subscribers, and what has been sent to them.

    Args:
        clock: Stamps events and attempts and holds the retries.
        switches: Chooses the retry schedule.
        new_id: Makes identifiers.
    """

    def __init__(self, clock: Clock, switches: Switches, new_id: Callable[[], str]) -> None:
        self._clock = clock
        self._switches = switches
        self._new_id = new_id
        self._tasks: set[asyncio.Task[None]] = set()
        self._client: httpx.AsyncClient | None = None
        self.subscriptions: dict[str, Subscription] = {}
        self.deliveries: deque[Delivery] = deque(maxlen=REMEMBERED_DELIVERIES)

    def emit(self, event_type: str, phone_number: str, build: Build, trace_id: str, chat_id: str | None = None) -> None:
        """Send an event to everybody who subscribed to it.

        Args:
            event_type: Its documented name.
            phone_number: The line on which it happened.
            build: Gives `data` for a payload version, or None where that version lacks the event.
            trace_id: Of the request that caused it.
            chat_id: For delivery affinity.
        """
        event_id = ""
        for subscription in self.subscriptions.values():
            if not subscription.wants(event_type, phone_number):
                continue
            version = version_of(subscription.target_url)
            data = build(version)
            if data is None:
                continue
            event_id = event_id or self._new_id()
            body = encode(
                {
                    "api_version": "v3",
                    "webhook_version": version,
                    "event_type": event_type,
                    "event_id": event_id,
                    "created_at": iso(self._clock.now()),
                    "trace_id": trace_id,
                    "partner_id": PARTNER_ID,
                    "data": data,
                }
            )
            delivery = Delivery(subscription, event_id, event_type, chat_id, body)
            self.deliveries.append(delivery)
            if is_loopback(subscription.target_url):
                self._clock.call_at(self._clock.now(), lambda delivery=delivery: self._attempt(delivery))  # type: ignore[misc]
            else:
                delivery.state = "undeliverable"

    def _attempt(self, delivery: Delivery) -> None:
        moment = self._clock.now()
        task = asyncio.get_running_loop().create_task(self._post(delivery, moment))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _headers(self, delivery: Delivery, moment: int) -> dict[str, str]:
        subscription = delivery.subscription
        timestamp = moment // SECOND
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "linq-emulator-webhooks",
            "webhook-id": delivery.event_id,
            "webhook-timestamp": str(timestamp),
            "X-Webhook-Event": delivery.event_type,
            "X-Webhook-Subscription-ID": subscription.id,
            "X-Webhook-Timestamp": str(timestamp),
            **signatures(subscription.secret, delivery.event_id, timestamp, delivery.body),
        }
        if subscription.routing_key_header and delivery.chat_id:
            headers[subscription.routing_id_header or "Linq-Chat-Id"] = delivery.chat_id
            token = subscription.tokens.get(delivery.chat_id)
            if token:
                headers[subscription.routing_key_header] = token
        return headers

    async def _post(self, delivery: Delivery, moment: int) -> None:
        if self._client is None:
            # No proxies or other settings of the environment: this traffic stays on the machine.
            self._client = httpx.AsyncClient(timeout=ANSWER_WITHIN, trust_env=False)
        subscription = delivery.subscription
        try:
            answer = await self._client.post(
                subscription.target_url, content=delivery.body, headers=self._headers(delivery, moment)
            )
        except httpx.HTTPError as error:
            delivery.attempts.append({"at": iso(moment), "status": None, "error": type(error).__name__})
            self._retry(delivery, moment)
            return
        delivery.attempts.append({"at": iso(moment), "status": answer.status_code, "error": None})
        if answer.is_success:
            delivery.state = "delivered"
            token = answer.headers.get(subscription.routing_key_header or "")
            if token and delivery.chat_id:
                subscription.tokens[delivery.chat_id] = token
        elif answer.is_server_error or answer.status_code == 429:
            self._retry(delivery, moment)
        else:
            delivery.state = "failed"

    def _retry(self, delivery: Delivery, moment: int) -> None:
        gaps = RETRY_GAPS[self._switches.webhook_retries]
        made = len(delivery.attempts)
        if made > len(gaps):
            delivery.state = "failed"
            return
        self._clock.call_at(moment + gaps[made - 1] * SECOND, lambda: self._attempt(delivery))

    def as_dicts(self) -> list[dict[str, Any]]:
        """Every delivery that is remembered, oldest first."""
        return [
            {
                "event_id": one.event_id,
                "event_type": one.event_type,
                "subscription_id": one.subscription.id,
                "target_url": one.subscription.target_url,
                "state": one.state,
                "attempts": one.attempts,
                "body": one.body.decode(),
            }
            for one in list(self.deliveries)
        ]

    async def close(self) -> None:
        """Stop what is under way."""
        for task in list(self._tasks):
            task.cancel()
        if self._client is not None:
            await self._client.aclose()
            self._client = None
