"""Webhook subscriptions and the names of events."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from linq_emulator.clock import iso
from linq_emulator.domain import validate
from linq_emulator.domain.events import NAMES
from linq_emulator.domain.webhooks import VERSIONS, Subscription, is_loopback, version_of
from linq_emulator.errors import DOCS, ApiError
from linq_emulator.server.gateway import NO_CONTENT, Call, Operation, Reply, answer


def list_events(call: Call) -> Reply:
    """GET /v3/webhook-events."""
    return answer(200, {"events": NAMES, "doc_url": f"{DOCS}/channel/imessage/guides/webhooks/events"})


def _find(call: Call) -> Subscription:
    wanted = validate.identifier(call.path["subscription_id"], "subscription_id")
    found = call.world.webhooks.subscriptions.get(wanted)
    if found is None:
        raise ApiError(2010)
    return found


def _shown(item: Subscription) -> dict[str, Any]:
    return {
        "id": item.id,
        "target_url": item.target_url,
        "subscribed_events": item.events,
        "phone_numbers": item.phone_numbers,
        "routing_key_header": item.routing_key_header,
        "routing_id_header": item.routing_id_header,
        "is_active": item.is_active,
        "created_at": iso(item.created_at),
        "updated_at": iso(item.updated_at),
    }


def _target_url(call: Call, text: str, own: Subscription | None = None) -> str:
    parts = urlsplit(text)
    plain_loopback = parts.scheme == "http" and is_loopback(text)
    if not parts.hostname or (parts.scheme != "https" and not plain_loopback):
        raise ApiError(1005, "target_url must be an https URL (the emulator takes http on loopback, too)")
    if version_of(text) not in VERSIONS:
        raise ApiError(1005, f"target_url must ask for version {' or '.join(VERSIONS)}")
    if call.world.switches.duplicate_target_url == "refused" and any(
        one.target_url == text and one is not own for one in call.world.webhooks.subscriptions.values()
    ):
        raise ApiError(2015, "target_url is already used by another subscription")
    return text


def _events(listed: list[Any]) -> list[str]:
    if not listed:
        raise ApiError(1005, "subscribed_events must not be empty")
    for one in listed:
        if one not in NAMES:
            raise ApiError(1005, "subscribed_events holds an unknown event")
    return list(dict.fromkeys(listed))


def _numbers(listed: list[Any] | None) -> list[str] | None:
    checked = [validate.phone(one, f"phone_numbers[{index}]") for index, one in enumerate(listed or ())]
    return checked or None


def create(call: Call) -> Reply:
    """POST /v3/webhook-subscriptions: the only answer that holds the signing secret."""
    world = call.world
    body = call.body()
    target = _target_url(call, validate.required(body, "target_url", str))
    made = Subscription(
        id=world.store.new_id(),
        target_url=target,
        events=_events(validate.required(body, "subscribed_events", list)),
        phone_numbers=_numbers(validate.optional(body, "phone_numbers", list)),
        routing_key_header=validate.optional(body, "routing_key_header", str) or None,
        routing_id_header=validate.optional(body, "routing_id_header", str) or None,
        created_at=world.now(),
        updated_at=world.now(),
    )
    world.webhooks.subscriptions[made.id] = made
    return answer(201, _shown(made) | {"signing_secret": made.secret})


def list_subscriptions(call: Call) -> Reply:
    """GET /v3/webhook-subscriptions."""
    return answer(200, {"subscriptions": [_shown(one) for one in call.world.webhooks.subscriptions.values()]})


def get(call: Call) -> Reply:
    """GET /v3/webhook-subscriptions/{subscription_id}."""
    return answer(200, _shown(_find(call)))


def update(call: Call) -> Reply:
    """PUT /v3/webhook-subscriptions/{subscription_id}: what is not given stays."""
    found = _find(call)
    body = call.body()
    target = validate.optional(body, "target_url", str)
    listed = validate.optional(body, "subscribed_events", list)
    active = validate.optional(body, "is_active", bool)
    numbers = _numbers(validate.optional(body, "phone_numbers", list))
    key_header = validate.optional(body, "routing_key_header", str)
    id_header = validate.optional(body, "routing_id_header", str)
    events = None if listed is None else _events(listed)
    if target is not None:
        found.target_url = _target_url(call, target, found)
    if events is not None:
        found.events = events
    if active is not None:
        found.is_active = active
    if "phone_numbers" in body:
        found.phone_numbers = numbers
    if "routing_key_header" in body:
        found.routing_key_header = key_header or None
        found.tokens.clear()
    if "routing_id_header" in body:
        found.routing_id_header = id_header or None
    found.updated_at = call.world.now()
    return answer(200, _shown(found))


def delete(call: Call) -> Reply:
    """DELETE /v3/webhook-subscriptions/{subscription_id}."""
    del call.world.webhooks.subscriptions[_find(call).id]
    return NO_CONTENT


ROUTES: list[tuple[str, str, Operation]] = [
    ("GET", "/v3/webhook-events", list_events),
    ("POST", "/v3/webhook-subscriptions", create),
    ("GET", "/v3/webhook-subscriptions", list_subscriptions),
    ("GET", "/v3/webhook-subscriptions/{subscription_id}", get),
    ("PUT", "/v3/webhook-subscriptions/{subscription_id}", update),
    ("DELETE", "/v3/webhook-subscriptions/{subscription_id}", delete),
]
