"""Nothing that the vendor's client offers is missing here by mistake: each operation, each field, each event.

Where a newer release of it is installed (`make drift`), the failures name what is new.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from pydantic import BaseModel

from linq_client import (
    AppCard,
    AppClip,
    CardApp,
    CardLayout,
    Experience,
    InlineSticker,
    Link,
    LinqClient,
    Media,
    Message,
    MessageEffect,
    Placement,
    ReplyTo,
    Text,
    models,
    webhooks,
)
from tests.support.scripted_server import KEY, OK, Handler, Response, serving
from tests.support.vendor_surface import LINE, Operation, events, fields_of, operations

ANN = "+12025550121"
URL = "https://files.example/a.png"
PAYMENTS = "payments are an account's own affair: `LinqClient.request` reaches them, docs/reference/client.md shows how"

#: Operations without a method here.
LEFT_OUT_OPERATIONS = {
    **dict.fromkeys(
        (
            *(f"payments.{name}" for name in ("cancel", "create", "credentials", "retrieve")),
            *(f"payment_requests.{name}" for name in ("cancel", "create", "list", "retrieve")),
            *(f"payment_handles.{name}" for name in ("connect", "connection", "revoke", "verify")),
            *(f"payment_providers.{name}" for name in ("connect", "retrieve")),
        ),
        PAYMENTS,
    ),
    "phonenumbers.list": "deprecated: phone_numbers.list",
}

#: Fields of responses that are kept as unknown ones are, in `model_extra`.
LEFT_OUT_FIELDS = {
    "is_delivered": "deprecated: delivery_status",
    "is_read": "deprecated: delivery_status",
    "is_archived": "deprecated: always False",
    "from": "deprecated: from_handle",
    "mention": "deprecated: mentions",
    "mention_range": "deprecated: mentions",
}

#: Events whose `data` is an `OtherEvent`.
LEFT_OUT_EVENTS = {
    **dict.fromkeys(
        (f"call.{name}" for name in ("initiated", "ringing", "answered", "ended", "failed", "declined", "no_answer")),
        "no source says what is in them",
    ),
    **dict.fromkeys(
        ("connection.created", "connection.revoked"), "the vendor's client takes them for payments, which they are not"
    ),
}

FULL_TEXT: list[Any] = [
    Text(
        value="abcdef",
        text_decorations=({"range": (0, 1), "style": "bold"}, {"range": (1, 2), "animation": "shake"}),
        inline_stickers=(InlineSticker(range=(2, 3), url=URL), InlineSticker(range=(3, 4), attachment_id="a")),
    ),
    Media(url=URL, sticker=True),
    Text(value="Ann", mention=ANN, mention_range=(0, 3)),
    Media(attachment_id="a"),
]
LAYOUT = CardLayout(
    caption="a",
    subcaption="b",
    trailing_caption="c",
    trailing_subcaption="d",
    image_url=URL,
    image_title="e",
    image_subtitle="f",
)
APP = CardApp(name="Shop", team_id="ABCDE12345", bundle_id="example.shop", app_store_id=1)
EXPERIENCE = Experience(name="shop", action="show", params={"name": "x"})
MESSAGES = (
    Message(
        parts=tuple(FULL_TEXT),
        effect=MessageEffect(type="screen", name="love"),
        reply_to=ReplyTo(message_id="m", part_index=0),
        preferred_service="iMessage",
        idempotency_key="k",
    ),
    Message(parts=(Link(value=URL),)),
    Message(parts=(AppCard(app=APP, layout=LAYOUT, url=URL, fallback_text="x", interactive=True),)),
    Message(parts=(AppClip(value=URL, caption="x"),)),
    Message(experience=EXPERIENCE),
)
EVENTS = ["message.received"]
PLACE = Placement(x=0, y=0, scale=1, rotation=0)

#: Calls that together send all that an operation takes. The last one's result is compared with the response.
CALLS: dict[str, list[Callable[[LinqClient], Any]]] = {
    "attachments.create": [lambda c: c.attachments.create("a.png", "image/png", 1)],
    "attachments.delete": [lambda c: c.attachments.delete("attachment_id")],
    "attachments.retrieve": [lambda c: c.attachments.get("attachment_id")],
    "available_number.retrieve": [lambda c: c.available_number.get(to=ANN, exclude_from=[LINE], type="RCS")],
    "blocked_handles.block": [lambda c: c.blocked_handles.block(ANN, reason="x")],
    "blocked_handles.list": [lambda c: c.blocked_handles.list()],
    "blocked_handles.unblock": [lambda c: c.blocked_handles.unblock(ANN)],
    "capability.check_RCS": [lambda c: c.capability.check_rcs(ANN, from_=LINE)],
    "capability.check_i_message": [lambda c: c.capability.check_imessage(ANN, from_=LINE)],
    "chats.background.remove": [lambda c: c.background.remove("chat_id")],
    "chats.background.set": [
        lambda c: c.background.set("chat_id", "color", variant="custom", shades=["#FFFFFF", "#000000"]),
        lambda c: c.background.set("chat_id", "dynamic", style="sky", variant="dawn"),
        lambda c: c.background.set("chat_id", "photo", image_url=URL),
    ],
    "chats.create": [lambda c: c.chats.create(LINE, ANN, "Hi", override_optout=True)],
    "chats.leave_chat": [lambda c: c.chats.leave("chat_id")],
    "chats.list_chats": [lambda c: list(c.chats.list(from_=LINE, to=ANN, limit=1, cursor="x"))],
    "chats.location.request": [lambda c: c.location.request("chat_id")],
    "chats.location.retrieve": [lambda c: c.location.features("chat_id")],
    "chats.location.stop": [lambda c: c.location.stop("chat_id", ANN)],
    "chats.mark_as_read": [lambda c: c.chats.mark_read("chat_id")],
    "chats.messages.list": [lambda c: list(c.messages.list("chat_id", limit=1, cursor="x"))],
    "chats.messages.send": [
        lambda c, message=message: c.messages.send("chat_id", message, override_optout=True) for message in MESSAGES
    ],
    "chats.participants.add": [lambda c: c.participants.add("chat_id", ANN)],
    "chats.participants.remove": [lambda c: c.participants.remove("chat_id", ANN)],
    "chats.polls.create": [lambda c: c.polls.create("chat_id", ["a", "b"], idempotency_key="k")],
    "chats.retrieve": [lambda c: c.chats.get("chat_id")],
    "chats.send_voicememo": [
        lambda c: c.chats.send_voice_memo("chat_id", attachment_id="a"),
        lambda c: c.chats.send_voice_memo("chat_id", voice_memo_url=URL, override_optout=True),
    ],
    "chats.share_contact_card": [lambda c: c.chats.share_contact_card("chat_id")],
    "chats.typing.start": [lambda c: c.typing.start("chat_id")],
    "chats.typing.stop": [lambda c: c.typing.stop("chat_id")],
    "chats.update": [lambda c: c.chats.update("chat_id", display_name="x", group_chat_icon=URL)],
    "contact_card.create": [lambda c: c.contact_card.create(LINE, "x", last_name="x", image_url=URL)],
    "contact_card.retrieve": [lambda c: c.contact_card.get(LINE)],
    "contact_card.update": [lambda c: c.contact_card.update(LINE, first_name="x", last_name="x", image_url=URL)],
    "experiences.list": [lambda c: c.experiences.list()],
    "experiences.retrieve": [lambda c: c.experiences.get("experience")],
    "messages.add_reaction": [
        lambda c: c.messages.react("message_id", "custom", custom_emoji="\u2615", part_index=0),
        lambda c: c.messages.react("message_id", "sticker", emoji="\u2615", placement=PLACE),
        lambda c: c.messages.react("message_id", "sticker", url=URL),
        lambda c: c.messages.react("message_id", "sticker", attachment_id="a"),
    ],
    "messages.create": [
        lambda c: c.messages.send_from_any_line(
            ANN, "Hi", continuation_text="x", exclude_from=[LINE], override_optout=True
        )
    ],
    "messages.delete": [lambda c: c.messages.delete("message_id")],
    "messages.list_messages_thread": [
        lambda c: list(c.messages.thread("message_id", order="desc", limit=1, cursor="x"))
    ],
    "messages.poll.add_options": [lambda c: c.polls.add_options("message_id", ["c"])],
    "messages.poll.retrieve": [lambda c: c.polls.get("message_id")],
    "messages.poll.vote": [lambda c: c.polls.vote("message_id", "o", operation="remove")],
    "messages.retrieve": [lambda c: c.messages.get("message_id")],
    "messages.update": [lambda c: c.messages.edit("message_id", "x", part_index=0)],
    "messages.update_app_card": [
        lambda c: c.messages.update_card("message_id", LAYOUT, app=APP, experience=EXPERIENCE),
        lambda c: c.messages.update_card("message_id", LAYOUT, url=URL, fallback_text="x", interactive=False),
    ],
    "messages.update_sticker_placement": [lambda c: c.messages.move_sticker("message_id", "reaction_id", PLACE)],
    "phone_numbers.get_reputation_audit": [lambda c: c.phone_numbers.get_reputation_audit(LINE, "audit_id")],
    "phone_numbers.list": [lambda c: c.phone_numbers.list()],
    "phone_numbers.start_reputation_audit": [lambda c: c.phone_numbers.start_reputation_audit(LINE)],
    "phone_numbers.update": [lambda c: c.phone_numbers.set_forwarding("phone_number_id", ANN)],
    "webhook_events.list": [lambda c: c.webhook_events.list()],
    "webhook_subscriptions.create": [
        lambda c: c.webhook_subscriptions.create(
            URL, EVENTS, phone_numbers=[LINE], routing_key_header="X-A", routing_id_header="X-B"
        )
    ],
    "webhook_subscriptions.delete": [lambda c: c.webhook_subscriptions.delete("subscription_id")],
    "webhook_subscriptions.list": [lambda c: c.webhook_subscriptions.list()],
    "webhook_subscriptions.retrieve": [lambda c: c.webhook_subscriptions.get("subscription_id")],
    "webhook_subscriptions.update": [
        lambda c: c.webhook_subscriptions.update(
            "subscription_id",
            target_url=URL,
            subscribed_events=EVENTS,
            is_active=False,
            phone_numbers=[LINE],
            routing_key_header="X-A",
            routing_id_header="X-B",
        )
    ],
}

#: Where the object stands in a response whose model is of less than the whole.
WITHIN = {"blocked_handles.block": "blocked_handle", "chats.send_voicememo": "voice_memo", "chats.create": "chat"}
#: Of these the caller gets JSON.
AS_JSON = {"chats.location.retrieve", "webhook_events.list"}

OPERATIONS = operations()
FORMS = events()


class Surface(Handler):
    """Responds as the vendor's client expects it."""

    def response(self) -> Response:
        found = of_request(self.command, self.path)
        if found is None or found.response is None:
            return 204, {}, b""
        return 200, {}, json.dumps(found.response).encode()


def of_request(method: str, path: str) -> Operation | None:
    plain = unquote(urlsplit(path).path)
    return next((one for one in OPERATIONS.values() if (one.method, one.path) == (method, plain)), None)


def missing(ours: Any, theirs: Any, path: str = "") -> Iterator[str]:
    """Yield what a response holds and its model has no field for, or could not read."""
    if isinstance(theirs, list) and isinstance(ours, list):
        if len(ours) != len(theirs):
            yield f"{path}: {len(theirs)} items"
        for item, other in zip(ours, theirs, strict=False):
            yield from missing(item, other, path)
    elif isinstance(ours, BaseModel) and isinstance(theirs, Mapping):
        names = {field.alias or name: name for name, field in type(ours).model_fields.items()}
        for name, value in theirs.items():
            where = f"{path}.{name}" if path else name
            if name not in names:
                yield where
            else:
                yield from missing(getattr(ours, names[name]), value, where)
    elif isinstance(ours, Mapping) and isinstance(theirs, Mapping) and ours.keys() == theirs.keys():
        for name, value in theirs.items():
            yield from missing(ours[name], value, f"{path}.{name}")
    elif ours is None or (ours != theirs and not isinstance(ours, datetime)):
        yield f"{path} is read as {ours!r}"


def unknown(ours: Any, theirs: Any) -> set[str]:
    return {path for path in missing(ours, theirs) if path.rpartition(".")[2] not in LEFT_OUT_FIELDS}


def test_each_operation_is_offered_or_left_out_for_a_reason() -> None:
    assert OPERATIONS.keys() - CALLS.keys() - LEFT_OUT_OPERATIONS.keys() == set(), "the vendor offers more"
    assert (CALLS.keys() | LEFT_OUT_OPERATIONS.keys()) - OPERATIONS.keys() == set(), "the vendor offers less"
    assert CALLS.keys() & LEFT_OUT_OPERATIONS.keys() == set()


@pytest.mark.parametrize("name", sorted(CALLS.keys() & OPERATIONS.keys()))
def test_an_operation_sends_and_reads_all_that_the_vendors_does(name: str) -> None:
    theirs = OPERATIONS[name]
    with serving(OK, handler=Surface) as server, LinqClient(KEY, base_url=server.url) as client:
        results = [call(client) for call in CALLS[name]]
    assert {(method, unquote(urlsplit(path).path)) for method, path, _ in server.seen} == {(theirs.method, theirs.path)}
    ours = set[str]()
    for (_, path, headers), body in zip(server.seen, server.bodies, strict=True):
        ours |= fields_of(urlsplit(path).query, headers, body)
    not_sent = theirs.fields - ours
    if name in ("chats.create", "messages.create"):  # the message is the same as that of chats.messages.send
        not_sent = {field for field in not_sent if not field.startswith("body message.")}
    assert not_sent == set(), "nothing here sends these"
    assert ours - theirs.fields - {"query limit"} == set(), "the vendor's client knows nothing of these"
    if name in AS_JSON or theirs.response is None:
        return
    expected = theirs.response[WITHIN[name]] if name in WITHIN else theirs.response
    if isinstance(results[-1], list):
        (expected,) = (value for value in expected.values() if isinstance(value, list))
    assert unknown(results[-1], expected) == set()


@pytest.mark.parametrize("event_type", sorted(FORMS))
def test_an_event_has_a_model_with_all_its_fields(event_type: str) -> None:
    data = FORMS[event_type]
    body = json.dumps({"event_id": "e", "event_type": event_type, "data": data}).encode()
    event = webhooks.parse(body)
    if event_type in LEFT_OUT_EVENTS:
        assert isinstance(event.data, webhooks.OtherEvent)
        assert event.data.model_extra == (data or {"value": None})
    else:
        assert not isinstance(event.data, webhooks.OtherEvent)
        assert unknown(event.data, data) == set()


def test_what_is_left_out_is_there() -> None:
    """Or the list would hide something else one day."""
    assert LEFT_OUT_EVENTS.keys() <= FORMS.keys()
    names = json.dumps([*FORMS.values(), *(one.response for one in OPERATIONS.values())])
    assert {name for name in LEFT_OUT_FIELDS if f'"{name}":' not in names} == set()


def test_an_unknown_field_is_noticed() -> None:
    assert unknown(models.Health.model_validate({"status": "HEALTHY"}), {"status": "HEALTHY", "score": 1}) == {"score"}
    card = models.CardApp.model_validate({"app_store_id": "x"})
    assert unknown(card, {"app_store_id": "x"}) == {"app_store_id is read as None"}
