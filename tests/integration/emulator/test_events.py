"""All 75 types of events, by their causes or by order, in the models of the vendor's client."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, get_args

from linq.types.unwrap_webhook_event import UnwrapWebhookEvent
from linq.types.webhook_event_type import WebhookEventType
from pydantic import BaseModel

LINE, ANN, BOB, CAT = "+12025550101", "+12025550150", "+12025550151", "+12025550152"

MODELS: dict[str, type[BaseModel]] = {
    model.__name__.lower(): model for model in get_args(get_args(UnwrapWebhookEvent)[0])
}
CAUSED = 46


def model_of(event_type: str) -> type[BaseModel] | None:
    return MODELS.get(re.sub(r"[._]", "", event_type) + "webhookevent")


def unknown_fields(value: Any, path: str = "") -> Iterator[str]:
    """The fields of a decoded event that the models do not have."""
    if isinstance(value, BaseModel):
        yield from (f"{path}.{name}" for name in value.model_extra or {})
        for name in type(value).model_fields:
            yield from unknown_fields(getattr(value, name), f"{path}.{name}")
    elif isinstance(value, list):
        for item in value:
            yield from unknown_fields(item, f"{path}[]")


def cause_messages(server):
    """Messages with all that may happen to one, and groups."""
    server.set_switches(read_share=1, group_update_seconds=0, background_seconds=0)
    message = server.create(ANN)["message"]["id"]
    server.advance(60)
    server.ok("PATCH", f"/v3/messages/{message}", {"text": "edited"})
    for operation in ("add", "remove"):
        server.ok("POST", f"/v3/messages/{message}/reactions", {"operation": operation, "type": "love"})
    server.react(message, ANN, "sticker", emoji="🎂")
    server.report_receipt(message, "failed", code=4005, detail_code=12)
    chat = server.inbound(ANN, "Hi")["chat_id"]
    for started in (True, False):
        server.set_typing(chat, ANN, started=started)
    for place in ({"longitude": 1, "latitude": 2}, None):
        server.set_handle(ANN, location=place)
    group = server.create(ANN, BOB, CAT)["id"]
    change = {"display_name": "x", "group_chat_icon": "https://files.example/i.png"}
    server.ok("PUT", f"/v3/chats/{group}", change)
    server.ok("POST", f"/v3/chats/{group}/participants", {"handle": "+12025550153"})
    server.ok("DELETE", f"/v3/chats/{group}/participants", {"handle": "+12025550153"})
    server.set_switches(group_update_seconds=1, background_seconds=1)
    server.ok("POST", f"/v3/chats/{group}/background", {"type": "color", "variant": "ice"})
    server.advance(1)
    server.ok("POST", f"/v3/chats/{group}/leave")
    server.ok("PUT", f"/v3/chats/{group}", change)
    server.ok("POST", f"/v3/chats/{group}/background", {"type": "dynamic", "style": "aurora", "variant": "pink"})
    server.advance(10)
    cause_polls(server, chat)


def cause_polls(server, chat):
    server.receive_poll(ANN, ["a", "b"], chat_id=chat)
    body = {"poll": {"options": [{"text": "a"}, {"text": "b"}]}}
    poll = server.ok("POST", f"/v3/chats/{chat}/polls", body)["message_id"]
    server.add_poll_options(poll, ANN, ["c"])
    for operation in ("add", "remove"):
        server.vote(poll, ANN, "c", operation=operation)
    server.react(poll, ANN, "sticker", emoji="🎂")
    server.advance(60)
    server.report_receipt(poll, "failed")


def cause_changes_of_the_account(server):
    line_id = server.ok("GET", "/v3/phone_numbers")["phone_numbers"][0]["id"]
    server.ok("PUT", f"/v3/phone_numbers/{line_id}", {"forwarding_number": ANN})
    server.set_line(LINE, zero_retention=True)
    server.set_line(LINE, reputation="AT_RISK")
    server.set_line("+12025550109")
    server.ok("POST", "/v3/contact_card", {"phone_number": LINE, "first_name": "Shop"})
    server.ok("PATCH", f"/v3/contact_card?phone_number=%2B{LINE[1:]}", {"first_name": "Store"})
    server.share_contact_card(ANN, LINE, first_name="Ann")
    body = {"target_url": "https://hooks.example/other", "subscribed_events": ["message.sent"]}
    path = f"/v3/webhook-subscriptions/{server.ok('POST', '/v3/webhook-subscriptions', body)['id']}"
    changes: list[dict[str, Any]] = [
        {"target_url": "https://hooks.example/new", "subscribed_events": ["message.read"], "phone_numbers": [LINE]},
        {"is_active": False, "routing_key_header": "X-Route"},
        {"is_active": True, "routing_key_header": None},
    ]
    for change in changes:
        server.ok("PUT", path, change)
    server.ok("DELETE", path)


def test_every_event_has_the_form_that_the_vendors_client_expects(server):
    names = list(get_args(WebhookEventType))
    assert server.ok("GET", "/v3/webhook-events")["events"] == names
    assert len(names) == 75
    body = {"target_url": "https://hooks.example/all", "subscribed_events": names}
    server.ok("POST", "/v3/webhook-subscriptions", body)
    cause_messages(server)
    cause_changes_of_the_account(server)
    caused = {delivery["event_type"] for delivery in server.webhook_deliveries()}
    assert len(caused) == CAUSED, sorted(set(names) - caused)
    for name in names:
        if name not in caused:
            server.order_event(name)
    bodies = [delivery["body"] for delivery in server.webhook_deliveries()]
    assert {json.loads(body)["event_type"] for body in bodies} == set(names)
    unknown = set()
    for body in bodies:
        event_type = json.loads(body)["event_type"]
        model = model_of(event_type)
        if model is None:
            assert event_type.startswith("call."), event_type
        else:
            unknown |= {f"{event_type}{name}" for name in unknown_fields(model.model_validate_json(body))}
    assert not unknown
