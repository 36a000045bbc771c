"""The log of the API's requests: the last ones in full, and exact counts of all."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from linq_emulator.clock import iso
from linq_emulator.json_codec import encode

__all__ = ["MAX_EXCHANGES", "MAX_REQUESTS", "Exchange", "KeyUses", "LoggedRequest", "RequestLog"]

MAX_REQUESTS = 100_000
MAX_EXCHANGES = 5_000
MAX_KEY_USES = 20
MAX_KEPT_BYTES = 16_384
"""Of a body, and of an answer. With `MAX_EXCHANGES` it bounds the memory: 160 MB if all are as large."""


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """One request of the API and how it was answered."""

    at: int
    method: str
    path: str
    query: str
    route: str
    status: int | None
    """None if the connection was reset instead of answered."""
    trace_id: str
    milliseconds: float
    fault: str | None


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request that may have changed something, with its body and its answer, of which the beginning is kept."""

    request: LoggedRequest
    body: bytes
    answer: bytes


@dataclass(slots=True)
class KeyUses:
    """The requests with the idempotency key of a message after the one that sent it. They sent nothing."""

    count: int = 0
    trace_ids: deque[str] = field(default_factory=lambda: deque(maxlen=MAX_KEY_USES))
    """Of the last ones."""


class RequestLog:
    """The last `MAX_REQUESTS` requests, the last `MAX_EXCHANGES` in full, and the number of all."""

    def __init__(self) -> None:
        self._last: deque[LoggedRequest] = deque(maxlen=MAX_REQUESTS)
        self._counts: Counter[tuple[str, str, int | None]] = Counter()
        self._exchanges: dict[str, Exchange] = {}
        self._key_uses: dict[str, KeyUses] = {}

    def add(self, request: LoggedRequest, body: bytes, answer: bytes) -> None:
        """Log a request that was answered. Reads are kept without body and answer."""
        self._last.append(request)
        self._counts[request.method, request.route, request.status] += 1
        if request.method != "GET":
            if len(self._exchanges) == MAX_EXCHANGES:
                del self._exchanges[next(iter(self._exchanges))]
            exchange = Exchange(request, body[:MAX_KEPT_BYTES], answer[:MAX_KEPT_BYTES])
            self._exchanges[request.trace_id] = exchange

    def exchange(self, trace_id: str) -> Exchange | None:
        """The request with this trace id, if it is one of the last that were no reads."""
        return self._exchanges.get(trace_id)

    def add_key_use(self, message_id: str, trace_id: str) -> None:
        """Log that a request had the idempotency key of a message that was sent before."""
        uses = self._key_uses.setdefault(message_id, KeyUses())
        uses.count += 1
        uses.trace_ids.append(trace_id)

    def key_uses(self, message_id: str) -> KeyUses:
        """The later uses of a message's idempotency key."""
        return self._key_uses.get(message_id) or KeyUses()

    def entries(self) -> Iterator[bytes]:
        """The last requests as JSON, oldest first."""
        for request in list(self._last):
            yield encode(
                {
                    "at": iso(request.at),
                    "method": request.method,
                    "path": request.path,
                    "query": request.query,
                    "status": request.status,
                    "trace_id": request.trace_id,
                    "milliseconds": round(request.milliseconds, 3),
                    "fault": request.fault,
                }
            )

    def summary(self) -> list[dict[str, object]]:
        """How many requests each method, route and status had since the start or the last reset."""
        ordered = sorted(self._counts.items(), key=lambda item: (item[0][1], item[0][0], item[0][2] or 0))
        return [
            {"method": method, "route": route, "status": status, "count": count}
            for (method, route, status), count in ordered
        ]
