"""The receiving side of webhooks: is a delivery from the platform, and what does it say.

`receive(body, headers, secret)` does both. Who has several subscriptions finds the secret with `SigningSecrets`; who
stores deliveries without understanding them finds what identifies one with `identify`. Deliveries come at least once
and in any order: keep the `event_id` of what you have handled. Of an event only what identifies it is needed: a time
that can't be read is None.

Source: API reference, "Webhooks"; linq-python 0.65.0, `types/message_event_v2.py`, `resources/webhooks.py`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
from collections.abc import Collection, Mapping
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, TypeGuard

from linq_client._decode import REPLACEMENT, decode_json
from linq_client._lazy import load
from linq_client.errors import Effect, InvalidRequestError, LinqError, SettingsError

if TYPE_CHECKING:
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
    )

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
    "EventIdentity",
    "HeaderSet",
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
    "SigningSecrets",
    "TypingEvent",
    "check_secret",
    "decode",
    "identify",
    "message_fields",
    "parse",
    "receive",
    "subscription_of",
    "verify",
]

TOLERANCE_SECONDS: Final = 300

_SECRET_PREFIX: Final = "whsec_"

#: One signature of several. Between them is a space, or a comma where a hop has made one header of two.
_SEVERAL: Final = re.compile(r"v1,[^\s,]+")

#: Characters of an id or a type that is kept as it is. Databases can't have a key of any length.
_MAX_NAME: Final = 200

#: What the HTTP server has received, as it came.
Body: TypeAlias = bytes | bytearray | memoryview | str


class SignatureError(LinqError):
    """A delivery is not from the platform, was changed, or is more than 5 minutes old: respond 4xx and drop it.

    Attributes:
        reason: `header_missing`, `wrong_time` or `wrong_signature`.
    """

    effect = Effect.NONE

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(f"webhook delivery: refused, {message}")
        self.reason = reason


class HeaderSet(str, Enum):
    """Which of the two sets of headers a delivery was verified by."""

    STANDARD = "standard"
    """`webhook-id`, `webhook-timestamp` and `webhook-signature`, of the Standard Webhooks specification."""
    DEPRECATED = "deprecated"
    """`X-Webhook-Timestamp` and `X-Webhook-Signature`."""


class SigningSecrets:
    """The signing secrets in force, by the id of their subscription.

    Args:
        secrets: of each subscription one, or two while it is rotated. Those under `ANY` hold for every subscription.

    Raises:
        SettingsError: there is none, or one is none.
    """

    ANY: Final = ""

    def __init__(self, secrets: Mapping[str, Collection[str]]) -> None:
        self._by_subscription = {name: tuple(map(check_secret, some)) for name, some in secrets.items() if some}
        if not self._by_subscription:
            raise SettingsError("secret: no signing secret is given, and without one no delivery can be told genuine")
        self._all = tuple(dict.fromkeys(secret for some in self._by_subscription.values() for secret in some))

    def of(self, headers: Mapping[str, str]) -> tuple[str, ...]:
        """Return the secrets that a delivery can be signed with, perhaps none.

        The header that names the subscription is not signed, and some hop may drop it: then all secrets count.
        """
        subscription = subscription_of(headers)
        if subscription is None:
            return self._all
        return self._by_subscription.get(subscription, ()) + self._by_subscription.get(self.ANY, ())


class EventIdentity(NamedTuple):
    """What identifies a delivery, whatever form its event has."""

    event_id: str
    event_type: str
    subscription_id: str | None


def receive(body: Body, headers: Mapping[str, str], secret: str | Collection[str]) -> Event:
    """Check a delivery and return its event.

    Args:
        body: the raw body. Of a text, the UTF-8 that it was decoded from has to be what was signed.
        headers: of the delivery, in any case.
        secret: `signing_secret` of the subscription (`whsec_...`), or several, of which each counts.

    Raises:
        SignatureError: see `verify`.
        LinqError: the body is no event.
    """
    verify(body, headers, secret)
    return parse(body)


def verify(
    body: Body, headers: Mapping[str, str], secret: str | Collection[str], *, allow_deprecated: bool = True
) -> HeaderSet:
    """Check that a delivery is from the platform and not more than 5 minutes old, and return what showed it.

    The Standard Webhooks headers decide where they are given; else the platform's older, deprecated ones. Signed are
    bytes: their own library takes text alone, and would refuse a delivery with a byte that is no UTF-8 whoever signed
    it, for good.

    Args:
        body: as in `receive`.
        headers: as in `receive`.
        secret: as in `receive`.
        allow_deprecated: whether the deprecated headers count.

    Raises:
        SignatureError: a header is missing, the signature does not fit, or the delivery is too old or too new.
        SettingsError: a secret is none. No delivery can be judged with it: respond 5xx, so that all come again.
        InvalidRequestError: the body is no `Body`.
    """
    secrets = [check_secret(one) for one in ([secret] if isinstance(secret, str) or secret is None else secret)]
    raw = _raw(body)
    lower = {name.lower(): value for name, value in headers.items()}
    if "webhook-signature" in lower or not allow_deprecated:
        used = HeaderSet.STANDARD
        # One for each secret that is valid at present, and maybe some of other versions.
        given = _SEVERAL.findall(_header(lower, "webhook-signature"))
        sent = _header(lower, "webhook-timestamp")
        signed = f"{_header(lower, 'webhook-id')}.{sent}.".encode(errors="replace") + raw
    else:
        used = HeaderSet.DEPRECATED
        sent = _header(lower, "x-webhook-timestamp")
        signed = f"{sent}.".encode(errors="replace") + raw
        given = _header(lower, "x-webhook-signature").replace(",", " ").split()
    if not _is_recent(sent):
        raise SignatureError("too old or too new", "wrong_time")
    presented = [one.encode(errors="replace") for one in given]
    for one in secrets:
        expected = _expected(used, one, signed)
        if any(hmac.compare_digest(expected, found) for found in presented):
            return used
    raise SignatureError("no matching signature found", "wrong_signature")


def _expected(used: HeaderSet, secret: str, signed: bytes) -> bytes:
    if used is HeaderSet.DEPRECATED:
        return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest().encode()
    return b"v1," + base64.b64encode(hmac.digest(_key_of(secret), signed, hashlib.sha256))


def subscription_of(headers: Mapping[str, str]) -> str | None:
    """Return the id of the subscription that a delivery says it is for; None if it does not say. It is not signed."""
    for name, value in headers.items():
        if name.lower() == "x-webhook-subscription-id" and value:
            return value
    return None


def identify(body: Body, headers: Mapping[str, str]) -> EventIdentity:
    """Return what identifies a delivery that was verified, also where it is no event as they are known.

    The id is that of the event. If the event has none, it is the header `webhook-id`, which has the same, else a digest
    of the body. It is the digest too if the event's id can't be kept as it is: what differs has to keep different ids.
    It has at most 200 characters.

    Raises:
        LinqError: the body is no JSON.
        InvalidRequestError: it is no `Body`.
    """
    raw = _raw(body)
    try:
        fields = decode_json(raw).value
    except ValueError:
        raise LinqError("webhook delivery: the body is not JSON", effect=Effect.NONE) from None
    lower = {name.lower(): value for name, value in headers.items()}
    named = fields if isinstance(fields, dict) else {}
    given = named.get("event_id")
    event_id = lower.get("webhook-id") if given is None or given == "" else given
    if not _is_name(event_id) or REPLACEMENT in event_id:
        event_id = f"sha256-{hashlib.sha256(raw).hexdigest()}"
    types = (named.get("event_type"), lower.get("x-webhook-event"), "unknown")
    return EventIdentity(event_id, next(filter(_is_name, types)), subscription_of(lower))


def _is_name(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and 0 < len(value) <= _MAX_NAME


def _raw(body: Body) -> bytes:
    if isinstance(body, str):
        return body.encode(errors="surrogatepass")
    if isinstance(body, bytes | bytearray | memoryview):
        return bytes(body)
    raise InvalidRequestError(f"body: must be the raw bytes of the delivery, got {type(body).__name__}")


def _header(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name)
    if not isinstance(value, str):
        raise SignatureError(f"header {name} is missing", "header_missing")
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


@lru_cache(maxsize=64)
def _key_of(secret: str) -> bytes:
    key = secret.removeprefix(_SECRET_PREFIX)
    return base64.b64decode(key + "=" * (-len(key) % 4), validate=True)


def parse(body: Body) -> Event:
    """Read an event without checking where it comes from. What is odd in its JSON is repaired, as in any response.

    Raises:
        LinqError: the body is no event.
        InvalidRequestError: it is no `Body`.
    """
    from pydantic import ValidationError  # see `_lazy`

    from linq_client._events import Event, data_of

    fields = decode(body)
    try:
        return Event.model_validate({**fields, "data": data_of(fields.get("event_type"), fields.get("data"))})
    except ValidationError as error:
        found = error.errors(include_input=False)
    raise _not_an_event(", ".join(".".join(map(str, one["loc"])) for one in found))


def decode(body: Body) -> dict[str, Any]:
    """Return the JSON object of an event as it came, for those who keep more of it than `parse` knows.

    Raises:
        LinqError: the body is no JSON object.
        InvalidRequestError: it is no `Body`.
    """
    raw = _raw(body)
    try:
        fields = decode_json(raw).value
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        raise _not_an_event("body")
    return fields


def message_fields(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return decoded `data` of an event about a message in the form of version 2026-02-03, whichever it came in.

    What version 2025-01-01 does not say is None; all that it says beyond the newer form is kept.
    """
    message = data.get("message")
    if not isinstance(message, dict):
        return dict(data)
    from_me = data.get("is_from_me")
    around = {key: field for key, field in data.items() if key not in ("message", "chat_id", "is_group")}
    return {
        **around,
        **message,
        "direction": "outbound" if from_me else None if from_me is None else "inbound",
        "sender_handle": data.get("from_handle"),
        "chat": {
            "id": data.get("chat_id"),
            "is_group": data.get("is_group"),
            "owner_handle": data.get("from_handle" if from_me else "recipient_handle"),
        },
    }


def _not_an_event(wrong: str) -> LinqError:
    return LinqError(f"webhook delivery: not an event, wrong or missing {wrong}", effect=Effect.NONE)


if not TYPE_CHECKING:  # or every name that is misspelled would pass for an event

    def __getattr__(name: str) -> Any:
        return load(__name__, ("linq_client._events",), name)
