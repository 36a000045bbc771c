"""What operators and sensors leave in XCom: small dicts with these keys, the same wherever they come from."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Literal, TypeAlias, TypedDict

from linq_client import models

#: Why the platform did not take a message: the recipient has opted out, or this account has blocked them.
Refusal: TypeAlias = Literal["opted_out", "blocked"]


class SendResult(TypedDict):
    """A message that the platform accepted, or refused where a refusal is a result (``on_opt_out="return"``).

    `created_at` is the API's clock (RFC 3339, UTC), so it can be compared with other messages: it is what a
    `LinqMessageSensor` that waits for the reply takes as `since`. `service` is None until the platform has chosen one.
    `refused` is None for an accepted message, else the reason; `chat_id` may then be None, and `message_id` and
    `delivery_status` are.
    """

    chat_id: str | None
    message_id: str | None
    created_at: str | None
    delivery_status: str | None
    service: str | None
    trace_id: str | None
    idempotency_key: str
    refused: Refusal | None


class DeliveryResult(TypedDict):
    """How far a sent message has come. The times are RFC 3339, UTC, and None for what is not known to have happened."""

    chat_id: str
    message_id: str
    delivery_status: str
    service: str | None
    sent_at: str | None
    delivered_at: str | None
    read_at: str | None


class VoiceMemoResult(TypedDict):
    """A voice memo that the platform accepted."""

    chat_id: str
    message_id: str
    created_at: str
    delivery_status: str
    service: str | None


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


class ChatUpdate(TypedDict):
    """What was asked of a chat; the platform does it later. `added` and `removed` are the handles that needed it."""

    chat_id: str
    display_name: str | None
    added: list[str]
    removed: list[str]


class CapabilityResult(TypedDict):
    """Whether an address can be reached by a service; `reason` says why not, where the platform does."""

    address: str
    service: str
    available: bool
    reason: str | None


class LocationRequestResult(TypedDict):
    """A request for a location that the platform accepted; the person still has to agree to it."""

    chat_id: str
    requested_at: str
    trace_id: str | None


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


def as_timedelta(value: timedelta | float) -> timedelta:
    """Read a span that may be given in seconds."""
    return value if isinstance(value, timedelta) else timedelta(seconds=value)
