"""Makes the results that go to XCom out of the API's responses."""

from __future__ import annotations

from datetime import datetime, timezone

from airflow_provider_linq.results import DeliveryResult, InboundMessage, Refusal, SendResult
from linq_client import models


def send_result(chat_id: str, message: models.SentMessage, *, trace_id: str | None, idempotency_key: str) -> SendResult:
    """Make the XCom of a send out of the API's answer."""
    return SendResult(
        chat_id=chat_id,
        message_id=message.id,
        created_at=rfc3339(message.created_at),
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
    """Make the XCom of a delivery out of the API's answer."""
    return DeliveryResult(
        chat_id=message.chat_id,
        message_id=message.id,
        delivery_status=message.delivery_status,
        service=message.service,
        sent_at=_optional(message.sent_at),
        delivered_at=_optional(message.delivered_at),
        read_at=_optional(message.read_at),
    )


def inbound_message(message: models.Message) -> InboundMessage:
    """Make the XCom of a received message out of the API's answer."""
    texts = [part.value for part in message.parts if isinstance(part, models.TextPart)]
    return InboundMessage(
        chat_id=message.chat_id,
        message_id=message.id,
        from_handle=message.from_handle.handle if message.from_handle else None,
        created_at=rfc3339(message.created_at),
        service=message.service,
        text="\n".join(texts) if texts else None,
        part_types=[part.type for part in message.parts],
    )


def _optional(moment: datetime | None) -> str | None:
    return None if moment is None else rfc3339(moment)


def rfc3339(moment: datetime) -> str:
    """Return an aware datetime in RFC 3339, in UTC with `Z`."""
    return moment.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")


def moment_of(text: str) -> datetime:
    """Read what `rfc3339` has written."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))  # Python 3.10 does not read the Z
