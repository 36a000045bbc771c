"""The receiving side of webhooks: is a delivery from the platform, and what does it say.

`receive(body, headers, secret)` does both. Deliveries come at least once and in any order: keep the `event_id` of what
you have handled. Of an event only what identifies it is needed: a time that can't be read is None.

Source: API reference, "Webhooks"; linq-python 0.65.0, `types/message_event_v2.py`, `resources/webhooks.py`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from pydantic import Field, SerializeAsAny, ValidationError, model_validator

from linq_client import models
from linq_client._decode import decode_json
from linq_client.errors import Effect, InvalidRequestError, LinqError, SettingsError
from linq_client.models import Informative, UTCDatetime

__all__ = [
    "TOLERANCE_SECONDS",
    "Body",
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

_SECRET_PREFIX: Final = "whsec_"

#: What the HTTP server has received, as it came.
Body: TypeAlias = bytes | bytearray | memoryview | str


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
    service: Informative[str] = None
    sent_at: Informative[UTCDatetime] = None
    delivered_at: Informative[UTCDatetime] = None
    read_at: Informative[UTCDatetime] = None
    received_at: Informative[UTCDatetime] = None
    effect: Informative[models.MessageEffect] = None
    reply_to: Informative[models.MessageReply] = None
    preferred_service: Informative[str] = None
    idempotency_key: str | None = None
    reconciled_at: Informative[UTCDatetime] = None
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
    edited_at: Informative[UTCDatetime] = None
    part: EditedPart
    sender_handle: models.ChatHandle | None = None


class MessageFailedEvent(models.APIModel):
    """`data` of message.failed; a delivery can still follow."""

    code: int
    failed_at: Informative[UTCDatetime] = None
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
    reacted_at: Informative[UTCDatetime] = None
    reaction_id: str | None = None


class ParticipantEvent(models.APIModel):
    """`data` of participant.added and .removed."""

    chat_id: str | None = None
    participant: models.ChatHandle | None = None
    added_at: Informative[UTCDatetime] = None
    removed_at: Informative[UTCDatetime] = None


class OtherEvent(models.APIModel):
    """`data` of any other event, or in an unknown form; its fields are in `model_extra`, or all of it in `value`."""


class Event(models.APIModel):
    """One event. `data` is of the class that belongs to `event_type`, or an `OtherEvent`.

    `event_id` is the same in all deliveries of the event: use it to handle each once.
    """

    event_id: str
    event_type: str
    created_at: Informative[UTCDatetime] = None
    webhook_version: Informative[str] = None
    trace_id: Informative[str] = None
    partner_id: Informative[str | int] = None
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


def receive(body: Body, headers: Mapping[str, str], secret: str) -> Event:
    """Check a delivery and return its event.

    Args:
        body: the raw body. Of a text, the UTF-8 that it was decoded from has to be what was signed.
        headers: of the delivery, in any case.
        secret: `signing_secret` of the subscription (`whsec_...`).

    Raises:
        SignatureError: see `verify`.
        LinqError: the body is no event.
    """
    verify(body, headers, secret)
    return parse(body)


def verify(body: Body, headers: Mapping[str, str], secret: str) -> None:
    """Check that a delivery is from the platform and not more than 5 minutes old.

    The Standard Webhooks headers decide where they are given; else the platform's older, deprecated ones. Signed are
    bytes: their own library takes text alone, and would refuse a delivery with a byte that is no UTF-8 whoever signed
    it, for good.

    Raises:
        SignatureError: a header is missing, the signature does not fit, or the delivery is too old or too new.
        SettingsError: the secret is none. No delivery can be judged with it: respond 5xx, so that all come again.
        InvalidRequestError: the body is no `Body`.
    """
    check_secret(secret)
    raw = _raw(body)
    lower = {name.lower(): value for name, value in headers.items()}
    if "webhook-signature" in lower:
        sent = _header(lower, "webhook-timestamp")
        signed = f"{_header(lower, 'webhook-id')}.{sent}.".encode(errors="replace") + raw
        mac = hmac.new(_key_of(secret), signed, hashlib.sha256).digest()
        expected = f"v1,{base64.b64encode(mac).decode()}"
        # One for each secret that is valid at present, and maybe some of other versions.
        given = _header(lower, "webhook-signature").split()
    else:
        sent = _header(lower, "x-webhook-timestamp")
        signed = f"{sent}.".encode(errors="replace") + raw
        expected = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
        given = [_header(lower, "x-webhook-signature")]
    if not _is_recent(sent):
        raise SignatureError("webhook delivery: refused, too old or too new")
    if not any(hmac.compare_digest(expected.encode(), one.encode(errors="replace")) for one in given):
        raise SignatureError("webhook delivery: refused, no matching signature found")


def _raw(body: Body) -> bytes:
    if isinstance(body, str):
        return body.encode(errors="surrogatepass")
    if isinstance(body, bytes | bytearray | memoryview):
        return bytes(body)
    raise InvalidRequestError(f"body: must be the raw bytes of the delivery, got {type(body).__name__}")


def _header(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name)
    if not isinstance(value, str):
        raise SignatureError(f"webhook delivery: refused, header {name} is missing")
    return value


def _is_recent(sent: str) -> bool:
    try:
        return abs(time.time() - float(sent)) <= TOLERANCE_SECONDS
    except ValueError:
        return False


def check_secret(secret: str) -> str:
    """Return a signing secret unchanged; an empty one would let everybody in.

    Raises:
        SettingsError: it is not `whsec_` and base64 (without being shown).
    """
    try:
        if isinstance(secret, str) and secret.startswith(_SECRET_PREFIX) and _key_of(secret):
            return secret
    except ValueError:
        pass
    raise SettingsError("secret: must be the signing_secret of the subscription, whsec_ and base64, got something else")


def _key_of(secret: str) -> bytes:
    key = secret.removeprefix(_SECRET_PREFIX)
    return base64.b64decode(key + "=" * (-len(key) % 4), validate=True)


def parse(body: Body) -> Event:
    """Read an event without checking where it comes from. What is odd in its JSON is repaired, as in any response.

    Raises:
        LinqError: the body is no event.
        InvalidRequestError: it is no `Body`.
    """
    raw = _raw(body)
    try:
        fields = decode_json(raw).value
    except ValueError:
        fields = None
    wrong = "body"
    if isinstance(fields, dict):
        try:
            return Event.model_validate({**fields, "data": _data(fields.get("event_type"), fields.get("data"))})
        except ValidationError as error:
            found = error.errors(include_input=False)
        wrong = ", ".join(".".join(map(str, one["loc"])) for one in found)
    raise LinqError(f"webhook delivery: not an event, wrong or missing {wrong}", effect=Effect.NONE)


def _data(event_type: object, data: object) -> models.APIModel:
    kind = _DATA.get(event_type, OtherEvent) if isinstance(event_type, str) else OtherEvent
    try:
        return kind.model_validate(data)
    except ValidationError:  # the platform has changed the form: what it said must not be lost for that
        return OtherEvent.model_validate(data if isinstance(data, dict) else {"value": data})
