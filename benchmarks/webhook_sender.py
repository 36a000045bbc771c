"""A platform that delivers signed events over a few connections that are kept, as fast as asked for."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import os
import time
from collections.abc import Iterator
from itertools import count

SECRET = "whsec_" + base64.b64encode(b"benchmark benchmark bench").decode()
_KEY = base64.b64decode(SECRET.removeprefix("whsec_"))
_TEXT = "x" * 700


class Sender:
    """Sends events of about 1 kB.

    Attributes:
        seconds: of each delivery, from when it was due to its answer.
        failed: deliveries that got another status than 200.
    """

    def __init__(self, port: int, connections: int) -> None:
        self._port = port
        self._connections = connections
        self._numbers = count(int.from_bytes(os.urandom(4), "big") << 24)
        self.seconds: list[float] = []
        self.failed = 0

    def send(self, events: int, rate: float | None = None) -> float:
        """Send events, so many a second if `rate` is given, else as fast as they are answered; return the seconds."""
        self.seconds = []
        requests = [self._request(next(self._numbers)) for _ in range(events)] if rate is None else None
        started = time.perf_counter()
        asyncio.run(self._send(events, rate, iter(requests) if requests is not None else self._requests(events)))
        return time.perf_counter() - started

    def _requests(self, events: int) -> Iterator[bytes]:
        for _ in range(events):
            yield self._request(next(self._numbers))

    async def _send(self, events: int, rate: float | None, requests: Iterator[bytes]) -> None:
        started = time.perf_counter()
        places = iter(range(events))

        async def connection() -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            for place in places:
                due = time.perf_counter()
                if rate is not None:
                    due = started + place / rate
                    await asyncio.sleep(max(0.0, due - time.perf_counter()))
                writer.write(next(requests))
                head = await reader.readuntil(b"\r\n\r\n")
                self.seconds.append(time.perf_counter() - due)
                self.failed += not head.startswith(b"HTTP/1.1 200 ")
                if b"content-length: 0" not in head:
                    raise ConnectionError(head.decode(errors="replace"))
            writer.close()

        await asyncio.gather(*(connection() for _ in range(self._connections)))

    @staticmethod
    def _request(number: int) -> bytes:
        event_id, stamp = f"event-{number}", str(int(time.time()))
        data = {"id": f"message-{number}", "chat": {"id": "chat"}, "parts": [{"type": "text", "value": _TEXT}]}
        fields = {"api_version": "v3", "event_type": "message.received", "event_id": event_id, "data": data}
        body = json.dumps(fields).encode()
        mac = hmac.digest(_KEY, f"{event_id}.{stamp}.".encode() + body, "sha256")
        head = (
            f"POST /webhooks/linq HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nX-Webhook-Event: message.received\r\n"
            f"X-Webhook-Subscription-ID: subscription\r\nwebhook-id: {event_id}\r\nwebhook-timestamp: {stamp}\r\n"
            f"webhook-signature: v1,{base64.b64encode(mac).decode()}\r\n\r\n"
        )
        return head.encode() + body
