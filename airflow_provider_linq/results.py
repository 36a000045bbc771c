"""What operators and sensors leave in XCom: small dicts with these keys, the same wherever they come from."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TypedDict

from linq_client import models


class SendResult(TypedDict):
    """A message that the platform accepted.

    `created_at` is the API's clock (RFC 3339, UTC), so it can be compared with other messages: it is what a
    `LinqMessageSensor` that waits for the reply takes as `since`. `service` is None until the platform has chosen one.
    """

    chat_id: str
    message_id: str
    created_at: str
    delivery_status: str
    service: str | None
    trace_id: str | None
    idempotency_key: str


class InboundMessage(TypedDict):
    """A message that somebody sent to a line.

    `text` joins the text parts with line breaks and is None if there are none; `part_types` names all parts in order
    (`text`, `media`, `link` and others).
    """

    chat_id: str
    message_id: str
    from_handle: str | None
    created_at: str
    service: str | None
    text: str | None
    part_types: list[str | None]


def send_result(chat_id: str, message: models.SentMessage, *, trace_id: str | None, idempotency_key: str) -> SendResult:
    """Make the XCom of a send out of the API's answer."""
    return SendResult(
        chat_id=chat_id,
        message_id=message.id,
        created_at=_rfc3339(message.created_at),
        delivery_status=message.delivery_status,
        service=message.service,
        trace_id=trace_id,
        idempotency_key=idempotency_key,
    )


def inbound_message(message: models.Message) -> InboundMessage:
    """Make the XCom of a received message out of the API's answer."""
    texts = [part.value for part in message.parts if isinstance(part, models.TextPart)]
    return InboundMessage(
        chat_id=message.chat_id,
        message_id=message.id,
        from_handle=message.from_handle.handle if message.from_handle else None,
        created_at=_rfc3339(message.created_at),
        service=message.service,
        text="\n".join(texts) if texts else None,
        part_types=[part.type for part in message.parts],
    )


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")
