"""Webhook deliveries: who may pass, and what they say. The signatures are made here, by the published recipe."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linq_client import LinqError, SettingsError, webhooks

KEY = b"k" * 24
SECRET = "whsec_" + base64.b64encode(KEY).decode()

HANDLE = {"id": "h1", "handle": "+12025550123", "service": "iMessage", "joined_at": "2026-03-01T12:00:00Z"}
LINE = {"id": "h2", "handle": "+12025550101", "service": "iMessage", "joined_at": "2026-03-01T12:00:00Z"}
PARTS = [{"type": "text", "value": "yes"}]


def event(event_type: str, data: dict[str, Any]) -> bytes:
    return json.dumps(
        {
            "api_version": "v3",
            "webhook_version": "2026-02-03",
            "event_id": "e1",
            "event_type": event_type,
            "created_at": "2026-03-01T12:00:00Z",
            "trace_id": "t1",
            "partner_id": "p1",
            "data": data,
        }
    ).encode()


FLAT = {
    "id": "m1",
    "chat": {"id": "c1", "is_group": False, "owner_handle": LINE},
    "direction": "inbound",
    "sender_handle": HANDLE,
    "parts": PARTS,
    "service": "iMessage",
    "sent_at": "2026-03-01T12:00:00Z",
}
NESTED = {
    "chat_id": "c1",
    "is_group": False,
    "is_from_me": False,
    "from_handle": HANDLE,
    "recipient_handle": LINE,
    "service": "iMessage",
    "received_at": "2026-03-01T12:00:01Z",
    "message": {"id": "m1", "parts": PARTS, "sent_at": "2026-03-01T12:00:00Z"},
}


def standard(body: bytes, at: float | None = None, secret: bytes = KEY) -> dict[str, str]:
    stamp = str(int(time.time() if at is None else at))
    signed = hmac.new(secret, f"e1.{stamp}.".encode() + body, hashlib.sha256).digest()
    signature = f"v1,{base64.b64encode(signed).decode()}"
    return {"Webhook-Id": "e1", "Webhook-Timestamp": stamp, "Webhook-Signature": signature}


def deprecated(body: bytes, at: float | None = None, secret: str = SECRET) -> dict[str, str]:
    stamp = str(int(time.time() if at is None else at))
    signed = hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    return {"X-Webhook-Timestamp": stamp, "X-Webhook-Signature": signed}


@pytest.mark.parametrize("style", [standard, deprecated])
def test_a_genuine_delivery_passes(style: Any) -> None:
    body = event("message.received", FLAT)
    assert webhooks.receive(body, style(body), SECRET).event_id == "e1"


@pytest.mark.parametrize("style", [standard, deprecated])
@pytest.mark.parametrize("age", [-301, 301])
def test_a_delivery_outside_of_five_minutes_is_refused(style: Any, age: int) -> None:
    body = event("message.received", FLAT)
    with pytest.raises(webhooks.SignatureError, match=r"too (old|new)"):
        webhooks.verify(body, style(body, time.time() - age), SECRET)


@pytest.mark.parametrize("style", [standard, deprecated])
def test_a_changed_body_is_refused(style: Any) -> None:
    body = event("message.received", FLAT)
    with pytest.raises(webhooks.SignatureError, match="refused"):
        webhooks.verify(body.replace(b"yes", b"no!"), style(body), SECRET)


def test_another_secret_is_refused() -> None:
    body = event("message.received", FLAT)
    with pytest.raises(webhooks.SignatureError):
        webhooks.verify(body, standard(body, secret=b"x" * 24), SECRET)
    with pytest.raises(webhooks.SignatureError):
        webhooks.verify(body, deprecated(body, secret="whsec_other"), SECRET)


def test_a_wrong_standard_signature_is_not_saved_by_a_right_deprecated_one() -> None:
    body = event("message.received", FLAT)
    headers = deprecated(body) | standard(body, secret=b"x" * 24)
    with pytest.raises(webhooks.SignatureError):
        webhooks.verify(body, headers, SECRET)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_not base64", "plain", SECRET + "\n", None])
@pytest.mark.parametrize("style", [standard, deprecated])
def test_a_secret_that_is_none_lets_nobody_in(secret: Any, style: Any) -> None:
    body = event("message.received", FLAT)
    headers = style(body, secret=b"" if style is standard else "")
    with pytest.raises(SettingsError, match="^secret: must be") as caught:
        webhooks.verify(body, headers, secret)
    assert SECRET not in str(caught.value)


@given(
    body=st.binary(max_size=30),
    headers=st.dictionaries(
        st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature", "X-Webhook-Signature"]),
        st.text(max_size=20) | st.just("v1,AAAA"),
    ),
)
def test_garbage_is_refused_and_nothing_else_happens(body: bytes, headers: dict[str, str]) -> None:
    with pytest.raises(webhooks.SignatureError):
        webhooks.verify(body, headers, SECRET)


def test_both_payload_versions_say_the_same() -> None:
    new, old = (webhooks.parse(event("message.received", data)).data for data in (FLAT, NESTED))
    assert isinstance(new, webhooks.MessageEvent)
    assert isinstance(old, webhooks.MessageEvent)
    for field in ("id", "direction", "sender_handle", "parts", "service", "sent_at"):
        assert getattr(new, field) == getattr(old, field), field
    assert (new.chat.id, new.chat.owner_handle) == (old.chat.id, old.chat.owner_handle)
    assert old.received_at is not None


@pytest.mark.parametrize(
    ("event_type", "data", "kind"),
    [
        ("message.failed", {"code": 4001, "failed_at": "2026-03-01T12:00:00Z"}, webhooks.MessageFailedEvent),
        ("reaction.added", {"reaction_type": "sparkle", "is_from_me": False}, webhooks.ReactionEvent),
        ("participant.removed", {"chat_id": "c1"}, webhooks.ParticipantEvent),
        ("parade.started", {"floats": 3}, webhooks.OtherEvent),
        ("message.received", {"id": 3, "parts": "changed"}, webhooks.OtherEvent),
    ],
)
def test_each_event_has_its_class_and_unknown_ones_are_kept(
    event_type: str, data: dict[str, Any], kind: type[object]
) -> None:
    parsed = webhooks.parse(event(event_type, data))
    assert parsed.event_type == event_type
    assert isinstance(parsed.data, kind)
    if kind is webhooks.OtherEvent:
        assert parsed.data.model_extra == data
    stored = json.loads(parsed.model_dump_json())["data"]
    assert data.keys() <= stored.keys(), "what is stored of an event is all of it"


def test_what_a_delivery_may_lack() -> None:
    kept = webhooks.parse(event("message.received", {**FLAT, "parts": None, "zero_retention": True})).data
    assert isinstance(kept, webhooks.MessageEvent)
    assert kept.parts == []
    unknown = webhooks.parse(event("message.sent", {"chat_id": "c", "message": {"id": "m"}})).data
    assert isinstance(unknown, webhooks.MessageEvent)
    assert unknown.direction is None
    assert webhooks.parse(event("parade.started", None)).data.model_extra == {"value": None}  # type: ignore[arg-type]


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"event_type": [], "data": null}', b"\xff"])
def test_a_body_that_is_no_event(body: bytes) -> None:
    with pytest.raises(LinqError, match="not an event"):
        webhooks.parse(body)
