"""Where a message came from and what it caused: its request, later uses of its key, and the deliveries of webhooks."""

from __future__ import annotations

from typing import Any

import msgspec

from linq_emulator.backend import Backend
from linq_emulator.domain.models import Message
from linq_emulator.domain.webhooks import Delivery
from linq_emulator.request_log import Exchange

__all__ = ["inspect"]

MAX_DELIVERIES = 50


def inspect(backend: Backend, message: Message) -> dict[str, Any]:
    """Everything that the panel beside a conversation shows of one message."""
    exchange = backend.request_log.exchange(message.trace_id)
    key_uses = backend.request_log.key_uses(message.id)
    uses = [backend.request_log.exchange(trace_id) for trace_id in key_uses.trace_ids]
    return {
        "id": message.id,
        "trace_id": message.trace_id,
        "request": exchange and _exchange(exchange),
        "key_uses": [_exchange(use) for use in uses if use is not None],
        "deliveries": [_delivery(delivery) for delivery in backend.webhooks.deliveries if _is_about(delivery, message)][
            -MAX_DELIVERIES:
        ],
    }


def _exchange(exchange: Exchange) -> dict[str, Any]:
    request = exchange.request
    return {
        "at": request.at,
        "method": request.method,
        "path": request.path + (f"?{request.query}" if request.query else ""),
        "status": request.status,
        "trace_id": request.trace_id,
        "milliseconds": round(request.milliseconds, 1),
        "fault": request.fault,
        "body": exchange.body.decode(errors="replace"),
        "answer": exchange.answer.decode(errors="replace"),
    }


def _is_about(delivery: Delivery, message: Message) -> bool:
    # Its body is read only if it may be: there can be a hundred thousand.
    if delivery.chat_id != message.chat.id or message.id.encode() not in delivery.body:
        return False
    data = msgspec.json.decode(delivery.body)["data"]
    return message.id in (data.get("id"), data.get("message_id"), (data.get("message") or {}).get("id"))


def _delivery(delivery: Delivery) -> dict[str, Any]:
    return {
        "event_id": delivery.event_id,
        "event_type": delivery.event_type,
        "target_url": delivery.subscription.target_url,
        "state": delivery.state,
        "attempts": delivery.attempts,
        "body": delivery.body.decode(),
    }
