"""Webhook subscriptions and the names of events."""

from __future__ import annotations

from typing import Any

from linq_emulator.clock import iso
from linq_emulator.domain import account_events, validate
from linq_emulator.domain.events import EVENT_TYPES
from linq_emulator.domain.webhooks import VERSIONS, Subscription, is_loopback, version_of
from linq_emulator.errors import DOCS, ApiError
from linq_emulator.schemas import requests, responses
from linq_emulator.server.endpoints import paging
from linq_emulator.server.gateway import NO_CONTENT, Request, Response, json_response
from linq_emulator.server.route import Route

__all__ = ["ROUTES"]


def list_events(request: Request) -> Response:
    """GET /v3/webhook-events."""
    return json_response(200, {"events": EVENT_TYPES, "doc_url": f"{DOCS}/channel/imessage/guides/webhooks/events"})


def _find(request: Request) -> Subscription:
    subscription_id = validate.identifier(request.path["subscription_id"], "subscription_id")
    subscription = request.backend.webhooks.subscriptions.get(subscription_id)
    if subscription is None:
        raise ApiError(2010)
    return subscription


def _fields(subscription: Subscription) -> dict[str, Any]:
    return {
        "id": subscription.id,
        "target_url": subscription.target_url,
        "subscribed_events": subscription.events,
        "phone_numbers": subscription.phone_numbers,
        "routing_key_header": subscription.routing_key_header,
        "routing_id_header": subscription.routing_id_header,
        "is_active": subscription.is_active,
        "created_at": iso(subscription.created_at),
        "updated_at": iso(subscription.updated_at),
    }


def _target_url(request: Request, text: str, current: Subscription | None = None) -> str:
    scheme = validate.split_url(text, "target_url").scheme
    if scheme != "https" and not (scheme == "http" and is_loopback(text)):
        raise ApiError(1005, "target_url must be an https URL (the emulator also accepts http on loopback)")
    if version_of(text) not in VERSIONS:
        raise ApiError(1005, f"target_url must have version {' or '.join(VERSIONS)}")
    if request.backend.switches.duplicate_target_url == "refused" and any(
        other.target_url == text and other is not current for other in request.backend.webhooks.subscriptions.values()
    ):
        raise ApiError(2015, "another subscription already uses target_url")
    return text


def _events(names: list[Any]) -> list[str]:
    if not names:
        raise ApiError(1005, "subscribed_events must not be empty")
    for name in names:
        if name not in EVENT_TYPES:
            raise ApiError(1005, "subscribed_events holds an unknown event")
    return list(dict.fromkeys(names))


def _numbers(numbers: list[Any] | None) -> list[str] | None:
    checked = [validate.phone(number, f"phone_numbers[{index}]") for index, number in enumerate(numbers or ())]
    return checked or None


def _header_name(body: dict[str, Any], name: str) -> str | None:
    return validate.header_name(validate.optional(body, name, str), name)


def create_subscription(request: Request) -> Response:
    """POST /v3/webhook-subscriptions: the only response with the signing secret."""
    backend = request.backend
    body = request.json()
    target = _target_url(request, validate.required(body, "target_url", str))
    subscription_id = backend.store.new_id()
    subscription = Subscription(
        id=subscription_id,
        target_url=target,
        events=_events(validate.required(body, "subscribed_events", list)),
        phone_numbers=_numbers(validate.optional(body, "phone_numbers", list)),
        routing_key_header=_header_name(body, "routing_key_header"),
        routing_id_header=_header_name(body, "routing_id_header"),
        created_at=backend.now(),
        updated_at=backend.now(),
        secret=backend.webhooks.signing_secret(subscription_id),
    )
    backend.webhooks.subscriptions[subscription.id] = subscription
    account_events.emit_subscription_created(backend, subscription)
    return json_response(201, _fields(subscription) | {"signing_secret": subscription.secret})


def list_subscriptions(request: Request) -> Response:
    """GET /v3/webhook-subscriptions."""
    subscriptions = [_fields(subscription) for subscription in request.backend.webhooks.subscriptions.values()]
    return json_response(200, paging.short_list(request, "subscriptions", subscriptions))


def get_subscription(request: Request) -> Response:
    """GET /v3/webhook-subscriptions/{subscription_id}."""
    return json_response(200, _fields(_find(request)))


def update_subscription(request: Request) -> Response:
    """PUT /v3/webhook-subscriptions/{subscription_id}: fields that are not given stay."""
    subscription = _find(request)
    body = request.json()
    target = validate.optional(body, "target_url", str)
    names = validate.optional(body, "subscribed_events", list)
    active = validate.optional(body, "is_active", bool)
    numbers = _numbers(validate.optional(body, "phone_numbers", list))
    key_header = _header_name(body, "routing_key_header")
    id_header = _header_name(body, "routing_id_header")
    events = None if names is None else _events(names)
    target = None if target is None else _target_url(request, target, subscription)
    before = account_events.subscription_state(subscription)
    if target is not None:
        subscription.target_url = target
    if events is not None:
        subscription.events = events
    if active is not None:
        subscription.is_active = active
    if "phone_numbers" in body:
        subscription.phone_numbers = numbers
    if "routing_key_header" in body:
        subscription.routing_key_header = key_header
        subscription.routing_tokens.clear()
    if "routing_id_header" in body:
        subscription.routing_id_header = id_header
    subscription.updated_at = request.backend.now()
    account_events.emit_subscription_changes(request.backend, subscription, before)
    return json_response(200, _fields(subscription))


def delete_subscription(request: Request) -> Response:
    """DELETE /v3/webhook-subscriptions/{subscription_id}."""
    subscription = _find(request)
    del request.backend.webhooks.subscriptions[subscription.id]
    account_events.emit_subscription_deleted(request.backend, subscription)
    return NO_CONTENT


ROUTES = (
    Route("GET", "/v3/webhook-events", list_events, response=responses.EventTypeList),
    Route(
        "POST",
        "/v3/webhook-subscriptions",
        create_subscription,
        response=responses.CreatedSubscription,
        status=201,
        refusals=(1002, 1005, 2015),
        body=requests.CreateSubscription,
    ),
    Route(
        "GET",
        "/v3/webhook-subscriptions",
        list_subscriptions,
        response=responses.SubscriptionList,
        query=requests.ShortListQuery,
    ),
    Route(
        "GET",
        "/v3/webhook-subscriptions/{subscription_id}",
        get_subscription,
        response=responses.Subscription,
        refusals=(2010,),
    ),
    Route(
        "PUT",
        "/v3/webhook-subscriptions/{subscription_id}",
        update_subscription,
        response=responses.Subscription,
        refusals=(1002, 2010, 2015),
        body=requests.UpdateSubscription,
    ),
    Route("DELETE", "/v3/webhook-subscriptions/{subscription_id}", delete_subscription, status=204, refusals=(2010,)),
)
