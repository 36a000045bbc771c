"""Webhook subscriptions and the deliveries to them.

Signatures, headers and retry rules: API reference, webhooks, and linq-python 0.65.0
``resources/webhook_subscriptions.py``. Attempts are made in real time; their timestamps and the schedule of
retries follow the virtual clock. Only loopback hosts are contacted.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
from collections import defaultdict, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit
from zlib import crc32

from linq_emulator.clock import SECOND, Clock, iso
from linq_emulator.hosts import is_loopback_host
from linq_emulator.journal import Attempt
from linq_emulator.json_codec import encode
from linq_emulator.switches import Switches

if TYPE_CHECKING:
    import ssl

    import httpx

__all__ = [
    "MAX_DELIVERIES",
    "PARTNER_ID",
    "RETRY_GAPS",
    "TIMEOUT_SECONDS",
    "VERSIONS",
    "VERSION_2025",
    "VERSION_2026",
    "Delivery",
    "PayloadBuilder",
    "Subscription",
    "Webhooks",
    "is_loopback",
    "signatures",
    "version_of",
]

VERSION_2026 = "2026-02-03"
VERSION_2025 = "2025-01-01"
VERSIONS = (VERSION_2026, VERSION_2025)
PARTNER_ID = "partner_emulator"
TIMEOUT_SECONDS = 10.0
"""Until a receiver has answered. Of its answer only what precedes the body counts."""
_MAX_ANSWER = 64 * 1024
"""Bytes of the body of an answer that are read, so that the connection can be used again."""
MAX_DELIVERIES = 100_000

_MAX_UNDER_WAY = 100
"""Attempts of a subscription at a time; the others wait here. In httpx, the time that each attempt takes grows with
those that wait for a connection: where a receiver hangs, some thousand would leave no time for anything else."""

# Seconds between attempts. OpenAPI document of March 2026 for ten.
RETRY_GAPS: dict[str, tuple[int, ...]] = {
    "exponential": (5, 10, 20, 40, 80, 160, 320, 640, 525),
    "ten": (2, 4, 8, 16, 32, 64, 128, 256, 512, 600),
    "six": (2, 4, 8, 16, 30),
}

# How far a gap may be off, as a share of it.
_JITTER = {"ten": 0.2}

PayloadBuilder = Callable[[str], "dict[str, Any] | None"]
"""Builds `data` for a payload version; None if that version lacks the event."""


def version_of(target_url: str) -> str:
    """The payload version that a target_url requests with ``?version=``; the newest by default."""
    return parse_qs(urlsplit(target_url).query).get("version", [VERSION_2026])[0]


def is_loopback(url: str) -> bool:
    """Whether the host of a URL is this machine."""
    return is_loopback_host(urlsplit(url).hostname or "")


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
    secret: str
    is_active: bool = True
    routing_tokens: dict[str, str] = field(default_factory=dict)
    """Token of each chat, as the subscriber returned it."""

    def matches(self, event_type: str, phone_number: str | None) -> bool:
        """Whether an event of a line, or of no line (None), goes to this subscriber."""
        return (
            self.is_active
            and event_type in self.events
            and (not self.phone_numbers or phone_number in self.phone_numbers)
        )


@dataclass(slots=True)
class Delivery:
    """One event for one subscriber."""

    subscription: Subscription
    event_id: str
    event_type: str
    chat_id: str | None
    body: bytes
    state: str = "pending"
    attempts: list[dict[str, Any]] = field(default_factory=list)


def signatures(secret: str, event_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Both kinds of signature of one body."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = hmac.new(key, f"{event_id}.{timestamp}.".encode() + body, sha256).digest()
    legacy = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, sha256).hexdigest()
    return {
        "webhook-signature": f"v1,{base64.b64encode(signed).decode()}",
        "X-Webhook-Signature": legacy,
    }


class Webhooks:
    """The subscriptions and their deliveries.

    Args:
        clock: Gives the timestamps and runs the retries.
        switches: Have the retry schedule.
        new_id: Makes identifiers.
        secret: Makes the secrets of the subscriptions.
        on_attempt: Called after each attempt.
    """

    def __init__(
        self,
        clock: Clock,
        switches: Switches,
        new_id: Callable[[], str],
        secret: bytes,
        on_attempt: Callable[[Attempt], None],
    ) -> None:
        self._clock = clock
        self._switches = switches
        self._new_id = new_id
        self._secret = secret
        self._on_attempt = on_attempt
        self.is_paused = False
        """Whether nothing is attempted, since what is emitted was emitted before."""
        self._waiting: dict[str, deque[tuple[Delivery, int]]] = defaultdict(deque)
        """By subscription, so that a receiver that hangs holds up no other: deliveries to attempt, and when due."""
        self._under_way: dict[str, set[asyncio.Task[None]]] = defaultdict(set)
        self._client: httpx.AsyncClient | None = None
        self.subscriptions: dict[str, Subscription] = {}
        self.deliveries: deque[Delivery] = deque(maxlen=MAX_DELIVERIES)

    def emit(
        self,
        event_type: str,
        phone_number: str | None,
        build_payload: PayloadBuilder,
        trace_id: str,
        chat_id: str | None = None,
    ) -> list[Delivery]:
        """Send an event to every matching subscription, and return its deliveries.

        Args:
            event_type: Its documented name.
            phone_number: The line on which it happened; None for an event of the account.
            build_payload: Builds `data` for a payload version.
            trace_id: Of the request that caused it.
            chat_id: Chat of the routing headers.
        """
        event_id = ""
        deliveries: list[Delivery] = []
        for subscription in self.subscriptions.values():
            if not subscription.matches(event_type, phone_number):
                continue
            version = version_of(subscription.target_url)
            data = build_payload(version)
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
            deliveries.append(delivery)
            if not is_loopback(subscription.target_url):
                delivery.state = "undeliverable"
            elif not self.is_paused:
                self._clock.call_at(self._clock.now(), lambda delivery=delivery: self._attempt(delivery))  # type: ignore[misc]
        self.deliveries.extend(deliveries)
        return deliveries

    def signing_secret(self, subscription_id: str) -> str:
        """The secret of a subscription."""
        key = hmac.new(self._secret, subscription_id.encode(), sha256).digest()
        return "whsec_" + base64.b64encode(key).decode()

    def attempt_pending(self) -> None:
        """Attempt what an earlier process has left."""
        for delivery in self.deliveries:
            if delivery.state == "pending":
                self._clock.call_at(self._clock.now(), lambda delivery=delivery: self._attempt(delivery))  # type: ignore[misc]

    def _attempt(self, delivery: Delivery) -> None:
        lane = delivery.subscription.id
        self._waiting[lane].append((delivery, self._clock.now()))
        self._start_waiting(lane)

    def _start_waiting(self, lane: str) -> None:
        waiting, under_way = self._waiting[lane], self._under_way[lane]
        while waiting and len(under_way) < _MAX_UNDER_WAY:
            task = asyncio.get_running_loop().create_task(self._post(*waiting.popleft()))
            under_way.add(task)
            task.add_done_callback(lambda done: self._end(lane, done))

    def _end(self, lane: str, task: asyncio.Task[None]) -> None:
        self._under_way[lane].discard(task)
        self._start_waiting(lane)

    def _headers(self, delivery: Delivery, at: int) -> list[tuple[bytes, bytes]]:
        subscription = delivery.subscription
        timestamp = at // SECOND
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
            token = subscription.routing_tokens.get(delivery.chat_id)
            if token:
                headers[subscription.routing_key_header] = token
        return [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]

    async def _post(self, delivery: Delivery, at: int) -> None:
        self._client = self._client or _new_client()
        subscription = delivery.subscription
        try:
            request = self._client.build_request(
                "POST", subscription.target_url, content=delivery.body, headers=self._headers(delivery, at)
            )
            # The client's own time limit is for each piece of an answer, and some send a piece now and then.
            response = await asyncio.wait_for(self._client.send(request, stream=True), TIMEOUT_SECONDS)
        except Exception as error:
            # Not only what httpx documents: of a receiver that is killed just now, its lower layers raise other kinds.
            self._retry(delivery, at)
            self._add_attempt(delivery, at, error=type(error).__name__)
            return
        token = None
        if response.is_success:
            delivery.state = "delivered"
            token = _header(response, subscription.routing_key_header or "")
            if token and delivery.chat_id:
                subscription.routing_tokens[delivery.chat_id] = token
        elif response.is_server_error or response.status_code == 429:
            self._retry(delivery, at)
        else:
            delivery.state = "failed"
        self._add_attempt(delivery, at, status=response.status_code, token=token)
        await _end(response)

    def _add_attempt(
        self,
        delivery: Delivery,
        at: int,
        *,
        status: int | None = None,
        error: str | None = None,
        token: str | None = None,
    ) -> None:
        delivery.attempts.append({"at": iso(at), "status": status, "error": error})
        self._on_attempt(
            Attempt(
                event_id=delivery.event_id,
                subscription_id=delivery.subscription.id,
                state=delivery.state,
                at=iso(at),
                status=status,
                error=error,
                chat_id=delivery.chat_id if token else None,
                routing_token=token,
            )
        )

    def _retry(self, delivery: Delivery, at: int) -> None:
        schedule = self._switches.webhook_retries
        gaps = RETRY_GAPS[schedule]
        attempts = len(delivery.attempts) + 1
        if attempts > len(gaps):
            delivery.state = "failed"
            return
        # From the ids and not from a generator: the jitter does not depend on how the clock moves.
        chance = crc32(f"{delivery.event_id}/{delivery.subscription.id}/{attempts}".encode()) / 0xFFFFFFFF
        factor = 1 + _JITTER.get(schedule, 0.0) * (2 * chance - 1)
        self._clock.call_at(at + round(gaps[attempts - 1] * SECOND * factor), lambda: self._attempt(delivery))

    def as_dicts(self) -> list[dict[str, Any]]:
        """The last deliveries, oldest first."""
        return [
            {
                "event_id": delivery.event_id,
                "event_type": delivery.event_type,
                "subscription_id": delivery.subscription.id,
                "target_url": delivery.subscription.target_url,
                "state": delivery.state,
                "attempts": delivery.attempts,
                "body": delivery.body.decode(),
            }
            for delivery in list(self.deliveries)
        ]

    def abandon(self) -> None:
        """Cancel the attempts under way, and forget those that wait."""
        self._waiting.clear()
        for task in [task for under_way in self._under_way.values() for task in under_way]:
            task.cancel()

    def take_connections_of(self, other: Webhooks) -> None:
        """Go on with the connections of those before a reset."""
        self._client, other._client = other._client, None

    async def close(self) -> None:
        """Abandon all attempts, and close the connections."""
        self.abandon()
        if self._client is not None:
            await self._client.aclose()
            self._client = None


@cache
def _ssl_context() -> ssl.SSLContext:
    """What each client would make of the certificates that a machine trusts, which takes longer than all else of it."""
    import httpx

    return httpx.create_ssl_context(trust_env=False)


def _header(response: httpx.Response, name: str) -> str | None:
    """A header as it came, a character for each byte: a token goes back as it was given."""
    wanted = name.lower().encode()
    given = next((value for other, value in response.headers.raw if other.lower() == wanted), b"")
    return given.decode("latin-1") or None


async def _end(response: httpx.Response) -> None:
    """Read the body of an answer, if it has an end; else close the connection."""
    size = 0

    async def read() -> None:
        nonlocal size
        async for chunk in response.aiter_raw():
            size += len(chunk)
            if size > _MAX_ANSWER:
                return

    # It was answered, whatever becomes of the rest.
    with suppress(Exception):
        await asyncio.wait_for(read(), TIMEOUT_SECONDS)
    with suppress(Exception):
        await response.aclose()


def _new_client() -> httpx.AsyncClient:
    import httpx  # here: an emulator without webhooks starts a third faster

    # No proxy or other setting of the environment applies: this traffic stays on the machine.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
    return httpx.AsyncClient(verify=_ssl_context(), timeout=TIMEOUT_SECONDS, limits=limits, trust_env=False)
