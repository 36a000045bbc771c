"""Webhook deliveries: who may pass, and what they say. The signatures are made here, by the published recipe."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import re
import time
from typing import Any

import pytest
import time_machine
from hypothesis import given
from hypothesis import strategies as st

from linq_client import InvalidRequestError, LinqError, SettingsError, models, webhooks

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
    # The stamp has whole seconds, so the next one must not begin meanwhile.
    with (
        time_machine.travel("2026-03-01T12:00:00Z", tick=False),
        pytest.raises(webhooks.SignatureError, match=r"too (old|new)"),
    ):
        webhooks.verify(body, style(body, time.time() - age), SECRET)


@pytest.mark.parametrize("style", [standard, deprecated])
def test_a_changed_body_is_refused(style: Any) -> None:
    body = event("message.received", FLAT)
    with pytest.raises(webhooks.SignatureError, match="refused"):
        webhooks.verify(body.replace(b"yes", b"no!"), style(body), SECRET)


@pytest.mark.parametrize("form", [bytes, bytearray, memoryview, bytes.decode])
@pytest.mark.parametrize("style", [standard, deprecated])
def test_a_body_comes_in_any_form(style: Any, form: Any) -> None:
    body = event("message.received", FLAT)
    assert webhooks.receive(form(body), style(body), SECRET).event_id == "e1"
    with pytest.raises(webhooks.SignatureError, match="no matching signature"):
        webhooks.receive(form(body.replace(b"yes", b"no!")), style(body), SECRET)


@pytest.mark.parametrize("body", [None, {}, json.loads(event("message.received", FLAT)), 7])
@pytest.mark.parametrize("style", [standard, deprecated])
def test_what_is_no_body_is_named(style: Any, body: Any) -> None:
    for call in (lambda: webhooks.parse(body), lambda: webhooks.verify(body, style(b""), SECRET)):
        with pytest.raises(InvalidRequestError, match="^body: must be the raw bytes of the delivery, got"):
            call()


@pytest.mark.parametrize(
    "before",
    ["v1", "v1,", "v2,AAAA", "v1,not base64", "v1a,x,y", ",", "\u00e9", "v1," + base64.b64encode(b"x").decode()],
)
def test_a_signature_is_found_among_others(before: str) -> None:
    body = event("message.received", FLAT)
    headers = standard(body)
    for value in (f"{before} {headers['Webhook-Signature']}", f"{headers['Webhook-Signature']} {before}"):
        webhooks.verify(body, {**headers, "Webhook-Signature": value}, SECRET)
    with pytest.raises(webhooks.SignatureError):
        webhooks.verify(body, {**headers, "Webhook-Signature": before}, SECRET)


@pytest.mark.parametrize("style", [standard, deprecated])
def test_a_header_that_is_missing_is_named(style: Any) -> None:
    body = event("message.received", FLAT)
    headers = style(body)
    for name in headers:
        if name != "Webhook-Signature":
            less = {other: value for other, value in headers.items() if other != name}
            with pytest.raises(webhooks.SignatureError, match=f"header {name.lower()} is missing"):
                webhooks.verify(body, less, SECRET)


@pytest.mark.parametrize("style", [standard, deprecated])
@pytest.mark.parametrize(
    ("text", "read"), [(b"caf\xe9", "caf\ufffd"), *((text, "\ufffd") for text in (rb"\ud83d", rb"\u0000", b"\x00"))]
)
def test_a_genuine_delivery_is_read_whatever_characters_it_holds(style: Any, text: bytes, read: str) -> None:
    body = event("message.received", FLAT).replace(b"yes", text)
    data = webhooks.receive(body, style(body), SECRET).data
    assert isinstance(data, webhooks.MessageEvent)
    assert [part.value for part in data.parts if isinstance(part, models.TextPart)] == [read]


@pytest.mark.parametrize("odd", ["9999-12-31T23:59:59-05:00", "0001-01-01T00:00:00+01:00", "", 1e300, {}, "soon"])
def test_an_odd_time_does_not_cost_an_event(odd: object) -> None:
    times = dict.fromkeys(("sent_at", "delivered_at", "read_at", "received_at", "reconciled_at"), odd)
    for event_type, data, kind in (
        ("message.received", {**FLAT, **times}, webhooks.MessageEvent),
        ("message.received", {**NESTED, **times}, webhooks.MessageEvent),
        ("message.failed", {"code": 4001, "failed_at": odd}, webhooks.MessageFailedEvent),
        ("reaction.added", {"reaction_type": "love", "is_from_me": True, "reacted_at": odd}, webhooks.ReactionEvent),
        ("participant.added", {"chat_id": "c", "added_at": odd}, webhooks.ParticipantEvent),
        ("chat.created", {"id": "c", "created_at": odd, "updated_at": odd}, webhooks.OtherEvent),
    ):
        body = json.loads(event(event_type, data)) | {"created_at": odd}
        parsed = webhooks.parse(json.dumps(body).encode())
        assert isinstance(parsed.data, kind)
        assert parsed.created_at is None


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


OTHER_KEY = b"o" * 24
OTHER_SECRET = "whsec_" + base64.b64encode(OTHER_KEY).decode()


@pytest.mark.parametrize(
    ("style", "used"),
    [(standard, webhooks.HeaderSet.STANDARD), (deprecated, webhooks.HeaderSet.DEPRECATED)],
)
def test_each_of_several_secrets_counts_and_the_header_set_is_named(style: Any, used: webhooks.HeaderSet) -> None:
    body = event("message.received", FLAT)
    for secrets in ([SECRET], [OTHER_SECRET, SECRET], (SECRET, OTHER_SECRET), {SECRET}):
        assert webhooks.verify(body, style(body), secrets) is used
        assert webhooks.receive(body, style(body), secrets).event_id == "e1"
    for secrets in ([], [OTHER_SECRET]):
        with pytest.raises(webhooks.SignatureError) as caught:
            webhooks.verify(body, style(body), secrets)
        assert caught.value.reason == "wrong_signature"
    with pytest.raises(SettingsError):
        webhooks.verify(body, style(body), [SECRET, "whsec_"])


def test_deprecated_headers_can_be_refused() -> None:
    body = event("message.received", FLAT)
    assert webhooks.verify(body, standard(body), SECRET, allow_deprecated=False) is webhooks.HeaderSet.STANDARD
    with pytest.raises(webhooks.SignatureError) as caught:
        webhooks.verify(body, deprecated(body), SECRET, allow_deprecated=False)
    assert caught.value.reason == "header_missing"


def test_the_secrets_of_a_subscription() -> None:
    secrets = webhooks.SigningSecrets({"s1": [SECRET], "s2": [OTHER_SECRET], webhooks.SigningSecrets.ANY: []})
    assert secrets.of({"x-webhook-subscription-id": "s1"}) == (SECRET,)
    assert secrets.of({"X-Webhook-Subscription-ID": "s2"}) == (OTHER_SECRET,)
    assert secrets.of({"X-Webhook-Subscription-ID": "s3"}) == ()
    assert secrets.of({}) == secrets.of({"X-Webhook-Subscription-ID": ""}) == (SECRET, OTHER_SECRET)
    assert webhooks.SigningSecrets({"": [SECRET]}).of({"X-Webhook-Subscription-ID": "s3"}) == (SECRET,)


@pytest.mark.parametrize("secrets", [{}, {"s1": []}, {"s1": ["plain"]}, {"": [SECRET, ""]}])
def test_no_secrets_are_a_mistake(secrets: dict[str, list[str]]) -> None:
    with pytest.raises(SettingsError, match="secret"):
        webhooks.SigningSecrets(secrets)


@pytest.mark.parametrize(
    ("body", "headers", "expected"),
    [
        (event("parade.started", {}), {"X-Webhook-Subscription-ID": "s1"}, ("e1", "parade.started", "s1")),
        (b"{}", {"Webhook-Id": "h1", "X-Webhook-Event": "a.b"}, ("h1", "a.b", None)),
        (b'{"event_id": "", "event_type": ""}', {"webhook-id": "h1"}, ("h1", "unknown", None)),
        (b"[]", {"webhook-id": "h" * 201}, (f"sha256-{hashlib.sha256(b'[]').hexdigest()}", "unknown", None)),
        (b"[]", {}, (f"sha256-{hashlib.sha256(b'[]').hexdigest()}", "unknown", None)),
    ],
)
def test_what_identifies_a_delivery(
    body: bytes, headers: dict[str, str], expected: tuple[str, str, str | None]
) -> None:
    assert webhooks.identify(body, headers) == expected


def test_ids_that_cannot_be_kept_as_they_are_stay_different() -> None:
    unusual = [rb'"k\u0000"', rb'"k\ud83d"', rb'"k\ud800"', rb'"k\ufffd"', b'"k\xff"', '"k\ufffd"'.encode(), b"7", b"8"]
    bodies = [b'{"event_id": %s}' % one for one in [*unusual, b'"%s1"' % (b"x" * 200), b'"%s2"' % (b"x" * 200)]]
    ids = {webhooks.identify(body, {"webhook-id": "h1"}).event_id for body in bodies}
    assert len(ids) == len(bodies)
    assert all(re.fullmatch("sha256-[0-9a-f]{64}", one) for one in ids)


@given(st.binary(max_size=40))
def test_what_is_not_json_has_no_identity(body: bytes) -> None:
    try:
        json.loads(body)
    except ValueError:
        with contextlib.suppress(LinqError):
            # What can be repaired is read as in any response; nothing else comes out.
            assert webhooks.identify(body, {}).event_id
    else:
        assert webhooks.identify(body, {}).event_id
