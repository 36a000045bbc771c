"""The receiving side of webhooks: is a delivery from the platform, and what does it say.

`receive(body, headers, secret)` does both. Deliveries come at least once and in any order: keep the `event_id` of what
you have handled. `Event.data` is one of the models here.

Source: API reference, "Webhooks"; linq-python 0.65.0, `types/message_event_v2.py`, `resources/webhooks.py`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Mapping
from typing import Final, TypeAlias

from pydantic import ValidationError

from linq_client._decode import decode_json
from linq_client._events import (
    AccountEvent,
    Actor,
    Background,
    ChatBackgroundEvent,
    ChatChangedEvent,
    ChatChangeFailedEvent,
    ContactCardReceivedEvent,
    EditedPart,
    Event,
    EventChat,
    LocationSharingEvent,
    MessageEditedEvent,
    MessageEvent,
    MessageFailedEvent,
    OtherEvent,
    ParticipantEvent,
    PaymentEvent,
    PhoneNumberEvent,
    PollEvent,
    PollFailure,
    PollUpdatedEvent,
    PollVoteEvent,
    ReactionEvent,
    TypingEvent,
    data_of,
)
from linq_client.errors import Effect, InvalidRequestError, LinqError, SettingsError

__all__ = [
    "TOLERANCE_SECONDS",
    "AccountEvent",
    "Actor",
    "Background",
    "Body",
    "ChatBackgroundEvent",
    "ChatChangeFailedEvent",
    "ChatChangedEvent",
    "ContactCardReceivedEvent",
    "EditedPart",
    "Event",
    "EventChat",
    "LocationSharingEvent",
    "MessageEditedEvent",
    "MessageEvent",
    "MessageFailedEvent",
    "OtherEvent",
    "ParticipantEvent",
    "PaymentEvent",
    "PhoneNumberEvent",
    "PollEvent",
    "PollFailure",
    "PollUpdatedEvent",
    "PollVoteEvent",
    "ReactionEvent",
    "SignatureError",
    "TypingEvent",
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
            return Event.model_validate({**fields, "data": data_of(fields.get("event_type"), fields.get("data"))})
        except ValidationError as error:
            found = error.errors(include_input=False)
        wrong = ", ".join(".".join(map(str, one["loc"])) for one in found)
    raise LinqError(f"webhook delivery: not an event, wrong or missing {wrong}", effect=Effect.NONE)
