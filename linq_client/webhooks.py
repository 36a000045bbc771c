"""The receiving side of webhooks: is a delivery from the platform, and what does it say.

`receive(body, headers, secret)` does both. Needs `linq-connectors[webhooks]`. Deliveries come at least once and in any
order: keep the `event_id` of what you have handled.

Source: API reference, "Webhooks"; linq-python 0.65.0, `types/message_event_v2.py`, `resources/webhooks.py`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Mapping
from typing import Any, Final

from pydantic import Field, SerializeAsAny, ValidationError, model_validator

from linq_client import models
from linq_client.errors import Effect, LinqError, SettingsError
from linq_client.models import UTCDatetime

__all__ = [
    "TOLERANCE_SECONDS",
    "EditedPart",
    "Event",
    "EventChat",
    "MessageEditedEvent",
    "MessageEvent",
    "MessageFailedEvent",
    "OtherEvent",
    "ParticipantEvent",
    "ReactionEvent",
    "SignatureError",
    "check_secret",
    "parse",
    "receive",
    "verify",
]

TOLERANCE_SECONDS: Final = 300


class SignatureError(LinqError):
    """A delivery is not from the platform, was changed, or is more than 5 minutes old: respond 4xx and drop it."""

    effect = Effect.NONE


class EventChat(models.APIModel):
    """The chat of an event; `owner_handle` is the own line."""

    id: str
    is_group: bool | None = None
    owner_handle: models.ChatHandle | None = None
    health_status: models.Health | None = None


class MessageEvent(models.APIModel):
    """`data` of message.sent, .received, .delivered and .read, in the form of version 2026-02-03.

    A payload of version 2025-01-01 is brought into the same form; what it does not say is None. `direction` is inbound
    or outbound. On a line that keeps nothing, `parts` is empty and `zero_retention` is True.
    """

    id: str
    chat: EventChat
    direction: str | None
    sender_handle: models.ChatHandle | None = None
    parts: list[models.Part] = Field(default_factory=list)
    service: str | None = None
    sent_at: UTCDatetime | None = None
    delivered_at: UTCDatetime | None = None
    read_at: UTCDatetime | None = None
    received_at: UTCDatetime | None = None
    effect: models.MessageEffect | None = None
    reply_to: models.MessageReply | None = None
    preferred_service: str | None = None
    idempotency_key: str | None = None
    reconciled_at: UTCDatetime | None = None
    zero_retention: bool | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_2025(cls, value: Any) -> Any:
        if not (isinstance(value, dict) and isinstance(message := value.get("message"), dict)):
            return value
        from_me = value.get("is_from_me")
        around = {key: field for key, field in value.items() if key not in ("message", "chat_id", "is_group")}
        return {
            **around,
            **message,
            "direction": "outbound" if from_me else None if from_me is None else "inbound",
            "sender_handle": value.get("from_handle"),
            "chat": {
                "id": value.get("chat_id"),
                "is_group": value.get("is_group"),
                "owner_handle": value.get("from_handle" if from_me else "recipient_handle"),
            },
        }


class EditedPart(models.APIModel):
    """The part that was edited, and its new text."""

    index: int
    text: str


class MessageEditedEvent(models.APIModel):
    """`data` of message.edited (version 2026-02-03 alone)."""

    id: str
    chat: EventChat
    direction: str
    edited_at: UTCDatetime
    part: EditedPart
    sender_handle: models.ChatHandle | None = None


class MessageFailedEvent(models.APIModel):
    """`data` of message.failed; a delivery can still follow."""

    code: int
    failed_at: UTCDatetime
    chat_id: str | None = None
    message_id: str | None = None
    reason: str | None = None
    service: str | None = None


class ReactionEvent(models.APIModel):
    """`data` of reaction.added and .removed."""

    reaction_type: str
    is_from_me: bool
    chat_id: str | None = None
    message_id: str | None = None
    part_index: int | None = None
    custom_emoji: str | None = None
    from_handle: models.ChatHandle | None = None
    reacted_at: UTCDatetime | None = None
    reaction_id: str | None = None


class ParticipantEvent(models.APIModel):
    """`data` of participant.added and .removed."""

    chat_id: str | None = None
    participant: models.ChatHandle | None = None
    added_at: UTCDatetime | None = None
    removed_at: UTCDatetime | None = None


class OtherEvent(models.APIModel):
    """`data` of any other event, or in an unknown form; its fields are in `model_extra`, or all of it in `value`."""


class Event(models.APIModel):
    """One event. `data` is of the class that belongs to `event_type`, or an `OtherEvent`.

    `event_id` is the same in all deliveries of the event: use it to handle each once.
    """

    event_id: str
    event_type: str
    created_at: UTCDatetime
    webhook_version: str | None = None
    trace_id: str | None = None
    partner_id: str | int | None = None
    data: SerializeAsAny[models.APIModel]


_DATA: Final[Mapping[str, type[models.APIModel]]] = {
    "message.sent": MessageEvent,
    "message.received": MessageEvent,
    "message.delivered": MessageEvent,
    "message.read": MessageEvent,
    "message.edited": MessageEditedEvent,
    "message.failed": MessageFailedEvent,
    "reaction.added": ReactionEvent,
    "reaction.removed": ReactionEvent,
    "participant.added": ParticipantEvent,
    "participant.removed": ParticipantEvent,
    "chat.created": models.Chat,
}


def receive(body: bytes, headers: Mapping[str, str], secret: str) -> Event:
    """Check a delivery and return its event.

    Args:
        body: the raw body, not decoded and encoded again.
        headers: of the delivery, in any case.
        secret: `signing_secret` of the subscription (`whsec_...`).

    Raises:
        SignatureError: see `verify`.
        LinqError: the body is no event.
    """
    verify(body, headers, secret)
    return parse(body)


def verify(body: bytes, headers: Mapping[str, str], secret: str) -> None:
    """Check that a delivery is from the platform and not more than 5 minutes old.

    The Standard Webhooks headers decide where they are given; else the platform's older, deprecated ones.

    Raises:
        SignatureError: a header is missing, the signature does not fit, or the delivery is too old or too new.
        SettingsError: the secret is none. No delivery can be judged with it: respond 5xx, so that all come again.
        ImportError: the extra `[webhooks]` is not installed.
    """
    try:
        from standardwebhooks import Webhook, WebhookVerificationError
    except ImportError:
        raise ImportError("verifying webhooks needs: pip install 'linq-connectors[webhooks]'") from None

    check_secret(secret)
    lower = {name.lower(): value for name, value in headers.items()}
    try:
        if "webhook-signature" in lower:
            Webhook(secret).verify(body, lower, json_parse=False)
        else:
            _verify_deprecated(body, lower, secret)
    except (WebhookVerificationError, ValueError, KeyError) as error:
        # The library lets malformed headers through as ValueError (base64, Unicode, a signature without a version).
        raise SignatureError(f"webhook delivery: refused, {type(error).__name__}: {error}") from None


def check_secret(secret: str) -> str:
    """Return a signing secret unchanged; an empty one would let everybody in.

    Raises:
        SettingsError: it is not `whsec_` and base64 (without being shown).
    """
    try:
        if isinstance(secret, str) and secret.startswith("whsec_"):
            key = secret.removeprefix("whsec_")
            if base64.b64decode(key + "=" * (-len(key) % 4), validate=True):
                return secret
    except ValueError:
        pass
    raise SettingsError("secret: must be the signing_secret of the subscription, whsec_ and base64, got something else")


def _verify_deprecated(body: bytes, headers: Mapping[str, str], secret: str) -> None:
    sent = headers["x-webhook-timestamp"]
    if not abs(time.time() - float(sent)) <= TOLERANCE_SECONDS:
        raise ValueError("too old or too new")
    expected = hmac.new(secret.encode(), sent.encode() + b"." + body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected.encode(), headers["x-webhook-signature"].encode()):
        raise ValueError("no matching signature found")


def parse(body: bytes) -> Event:
    """Read an event without checking where it comes from.

    Raises:
        LinqError: the body is no event.
    """
    try:
        fields = models.APIModel.model_validate_json(body).model_extra or {}
        return Event.model_validate({**fields, "data": _data(fields.get("event_type"), fields.get("data"))})
    except ValidationError as error:
        wrong = ", ".join(".".join(map(str, found["loc"])) or "body" for found in error.errors(include_input=False))
        message = f"webhook delivery: not an event, wrong or missing {wrong}"
        raise LinqError(message, effect=Effect.NONE) from None


def _data(event_type: object, data: object) -> models.APIModel:
    kind = _DATA.get(event_type, OtherEvent) if isinstance(event_type, str) else OtherEvent
    try:
        return kind.model_validate(data)
    except ValidationError:  # the platform has changed the form: what it said must not be lost for that
        return OtherEvent.model_validate(data if isinstance(data, dict) else {"value": data})
