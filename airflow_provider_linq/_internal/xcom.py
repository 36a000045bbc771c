"""Makes the results that go to XCom out of the API's responses."""

from __future__ import annotations

from datetime import datetime

from airflow_provider_linq.results import DeliveryResult, InboundMessage, Refusal, SendResult
from linq_client import models
from linq_client.times import format_datetime


def send_result(chat_id: str, message: models.SentMessage, *, trace_id: str | None, idempotency_key: str) -> SendResult:
    """Make the XCom of a send out of the API's response."""
    return SendResult(
        chat_id=chat_id,
        message_id=message.id,
        created_at=format_datetime(message.created_at),
        delivery_status=message.delivery_status,
        service=message.service,
        trace_id=trace_id,
        idempotency_key=idempotency_key,
        refused=None,
    )


def refused_result(reason: Refusal, *, chat_id: str | None, trace_id: str | None, idempotency_key: str) -> SendResult:
    """Make the XCom of a send that the platform refused."""
    return SendResult(
        chat_id=chat_id,
        message_id=None,
        created_at=None,
        delivery_status=None,
        service=None,
        trace_id=trace_id,
        idempotency_key=idempotency_key,
        refused=reason,
    )


def delivery_result(message: models.Message) -> DeliveryResult:
    """Make the XCom of a delivery out of the API's response."""
    return DeliveryResult(
        chat_id=message.chat_id,
        message_id=message.id,
        delivery_status=message.delivery_status,
        service=message.service,
        sent_at=_optional(message.sent_at),
        delivered_at=_optional(message.delivered_at),
        read_at=_optional(message.read_at),
    )


def inbound_message(message: models.Message, *, include_text: bool = True) -> InboundMessage:
    """Make the XCom of a received message out of the API's response."""
    texts = [part.value for part in message.parts if isinstance(part, models.TextPart)] if include_text else []
    return InboundMessage(
        chat_id=message.chat_id,
        message_id=message.id,
        from_handle=message.from_handle.handle if message.from_handle else None,
        created_at=format_datetime(message.created_at),
        service=message.service,
        text="\n".join(texts) if texts else None,
        part_types=[part.type for part in message.parts],
    )


def _optional(time: datetime | None) -> str | None:
    return None if time is None else format_datetime(time)
