"""The contact cards of lines: read, create, update."""

from __future__ import annotations

from typing import Any

from linq_emulator import serializers
from linq_emulator.domain import account_events, sending, validate
from linq_emulator.domain.models import ContactCard
from linq_emulator.errors import ApiError
from linq_emulator.schemas import requests, responses
from linq_emulator.server.gateway import Request, Response, json_response
from linq_emulator.server.route import Route

__all__ = ["ROUTES"]


def list_cards(request: Request) -> Response:
    """GET /v3/contact_card."""
    number = request.query.get("phone_number")
    if number is not None:
        validate.phone(number, "phone_number")
    cards = [
        serializers.contact_card_fields(line, line.card)
        for line in request.backend.store.lines.values()
        if line.card is not None and number in (None, line.phone_number)
    ]
    return json_response(200, {"contact_cards": cards})


def create_card(request: Request) -> Response:
    """POST /v3/contact_card."""
    body = request.json()
    line = sending.own_line(request.backend, validate.required(body, "phone_number", str), "phone_number")
    validate.required(body, "first_name", str)
    fields = _card_fields(body)
    request.backend.rate_limits.acquire("contact_card", line.phone_number, request.backend.now())
    if line.card is not None:
        raise ApiError(2014)
    new_id = request.backend.store.new_id()
    line.card = ContactCard(new_id, fields["first_name"], fields.get("last_name"), fields.get("image_url"))
    account_events.emit_card_created(request.backend, line, line.card)
    return json_response(request.backend.switches.contact_card_status, serializers.contact_card_fields(line, line.card))


def update_card(request: Request) -> Response:
    """PATCH /v3/contact_card?phone_number=: fields that are not given stay."""
    number = request.query.get("phone_number")
    if number is None:
        raise ApiError(1001, "phone_number is required")
    line = sending.own_line(request.backend, number, "phone_number")
    fields = _card_fields(request.json())
    request.backend.rate_limits.acquire("contact_card", line.phone_number, request.backend.now())
    if line.card is None:
        raise ApiError(2012)
    before = {name: getattr(line.card, name) for name in fields}
    for name, value in fields.items():
        setattr(line.card, name, value)
    account_events.emit_card_updated(request.backend, line, line.card, before)
    return json_response(200, serializers.contact_card_fields(line, line.card))


def _card_fields(body: dict[str, Any]) -> dict[str, str]:
    fields = {name: validate.optional(body, name, str) for name in ("first_name", "last_name", "image_url")}
    present = {name: value for name, value in fields.items() if value is not None}
    if present.get("first_name") == "":
        raise ApiError(1005, "first_name must not be empty")
    if present.get("image_url"):
        validate.https_url(present["image_url"], "image_url")
    return present


ROUTES = (
    Route(
        "GET",
        "/v3/contact_card",
        list_cards,
        response=responses.ContactCardList,
        refusals=(1002,),
        query=requests.CardQuery,
    ),
    Route(
        "POST",
        "/v3/contact_card",
        create_card,
        response=responses.ContactCard,
        status="contact_card_status",
        refusals=(1002, 1005, 1007, 2006, 2014),
        body=requests.CreateContactCard,
    ),
    Route(
        "PATCH",
        "/v3/contact_card",
        update_card,
        response=responses.ContactCard,
        refusals=(1002, 1007, 2006, 2012),
        body=requests.UpdateContactCard,
        query=requests.CardUpdateQuery,
    ),
)
