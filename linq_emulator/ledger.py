"""What was accepted and what was served: the lines of the ledger, and the log of requests."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from linq_emulator.clock import iso, iso_or_none
from linq_emulator.domain.models import Message
from linq_emulator.serializers import encode

REMEMBERED_REQUESTS = 100_000


def text_of(message: Message) -> str:
    """The text parts of a message, joined by newlines."""
    return "\n".join(part.value for part in message.parts if part.type in ("text", "link"))


def _part(part: Any) -> dict[str, Any]:
    shown: dict[str, Any] = {"type": part.type}
    if part.attachment is not None:
        shown["attachment_id"] = part.attachment.id
        shown["filename"] = part.attachment.filename
    else:
        shown["value"] = part.value
    return shown


def ledger_line(message: Message) -> bytes:
    """One message as the ledger shows it, without a newline."""
    reactions = [
        {"id": one.id, "part_index": index, "from": one.participant.handle, "type": one.type}
        for index, part in enumerate(message.parts)
        for one in part.reactions or ()
    ]
    return encode(
        {
            "id": message.id,
            "chat_id": message.chat.id,
            "line": message.chat.line.phone_number,
            "direction": "outbound" if message.outbound else "inbound",
            "from": message.sender.handle,
            "to": message.to,
            "text": text_of(message),
            "parts": [_part(part) for part in message.parts],
            "service": message.service,
            "delivery_status": message.status,
            "accepted_at": iso(message.accepted_at),
            "created_at": iso(message.created_at),
            "updated_at": iso(message.updated_at),
            "sent_at": iso_or_none(message.sent_at),
            "delivered_at": iso_or_none(message.delivered_at),
            "read_at": iso_or_none(message.read_at),
            "reconciled_at": iso_or_none(message.reconciled_at),
            "expired_at": iso_or_none(message.expired_at),
            "deleted_at": iso_or_none(message.deleted_at),
            "idempotency_key": message.idempotency_key,
            "override_optout": message.override_optout,
            "reply_to": message.reply_to.id if message.reply_to else None,
            "edits": message.edits or [],
            "reactions": reactions,
        }
    )


@dataclass(frozen=True, slots=True)
class Served:
    """One request of the API."""

    at: int
    method: str
    path: str
    query: str
    route: str
    status: int | None
    """None when the connection was reset instead of answered."""
    trace_id: str
    milliseconds: float
    fault: str | None


class RequestLog:
    """The last requests in full, and exact counts of all."""

    def __init__(self) -> None:
        self._last: deque[Served] = deque(maxlen=REMEMBERED_REQUESTS)
        self._counts: Counter[tuple[str, str, int | None]] = Counter()

    def add(self, served: Served) -> None:
        """Record a request that has been answered."""
        self._last.append(served)
        self._counts[served.method, served.route, served.status] += 1

    def lines(self) -> Iterator[bytes]:
        """The last requests, oldest first, encoded without newlines."""
        for one in list(self._last):
            yield encode(
                {
                    "at": iso(one.at),
                    "method": one.method,
                    "path": one.path,
                    "query": one.query,
                    "status": one.status,
                    "trace_id": one.trace_id,
                    "milliseconds": round(one.milliseconds, 3),
                    "fault": one.fault,
                }
            )

    def summary(self) -> list[dict[str, object]]:
        """How many requests each method, route and status had since the start or the last reset."""
        ordered = sorted(self._counts.items(), key=lambda item: (item[0][1], item[0][0], item[0][2] or 0))
        return [
            {"method": method, "route": route, "status": status, "count": count}
            for (method, route, status), count in ordered
        ]
