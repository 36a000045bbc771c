"""The account's own numbers: forwarding, contact cards, capability, and the blocklist."""

from __future__ import annotations

from typing import Any

from linq_emulator import serializers
from linq_emulator.clock import iso
from linq_emulator.domain import routing, sending, validate
from linq_emulator.domain.models import IMESSAGE, RCS, Block, ContactCard, Line
from linq_emulator.errors import ApiError
from linq_emulator.server.endpoints import paging
from linq_emulator.server.gateway import NO_CONTENT, Operation, Request, Response, json_response

__all__ = ["ROUTES"]


def list_lines(request: Request) -> Response:
    """GET /v3/phone_numbers."""
    lines = [serializers.line_fields(line) for line in request.backend.store.lines.values()]
    return json_response(200, paging.short_list(request, "phone_numbers", lines))


def list_lines_deprecated(request: Request) -> Response:
    """GET /v3/phonenumbers."""
    lines = [
        {
            "id": line.id,
            "phone_number": line.phone_number,
            "type": None,
            "country_code": None,
            "capabilities": {"sms": True, "mms": True, "voice": True},
        }
        for line in request.backend.store.lines.values()
    ]
    return json_response(200, {"phone_numbers": lines})


def forward(request: Request) -> Response:
    """PUT /v3/phone_numbers/{phone_number_id}: sets the number to which calls are forwarded."""
    line_id = validate.identifier(request.path["phone_number_id"], "phone_number_id")
    line = next((line for line in request.backend.store.lines.values() if line.id == line_id), None)
    if line is None:
        raise ApiError(2019)
    body = request.json()
    if "forwarding_number" not in body:
        raise ApiError(1001, "forwarding_number is required")
    number = validate.optional(body, "forwarding_number", str)
    line.forwarding_number = validate.phone(number, "forwarding_number") if number else None
    fields = {"id": line.id, "phone_number": line.phone_number, "forwarding_number": line.forwarding_number}
    return json_response(200, fields)


def _query_list(request: Request, name: str) -> list[str]:
    # The reference repeats the parameter, the SDK joins its values with commas.
    return [value for text in request.query.getlist(name) for value in text.split(",") if value]


def available_number(request: Request) -> Response:
    """GET /v3/available_number: chooses a line to send from, without reserving it."""
    backend = request.backend
    excluded = {validate.phone(number, "exclude_from") for number in _query_list(request, "exclude_from")}
    recipients = [validate.handle(handle, "to") for handle in _query_list(request, "to")]
    kind = request.query.get("type")
    kinds = {"rcs": RCS, "imessage": IMESSAGE}
    if kind is not None and kind.lower() not in kinds:
        raise ApiError(1005, "type must be RCS or iMessage")
    line_type = kinds[kind.lower()] if kind else None
    line = next(
        (
            chat.line
            for chat in routing.find_chats(backend, recipients)
            if not chat.line.ineligible
            and chat.line.phone_number not in excluded
            and line_type in (None, chat.line.line_type)
        ),
        None,
    ) or routing.choose_line(backend, excluded, line_type)
    if line is None:
        raise ApiError(4004, "no phone number is available")
    sending.mark_line_used(backend, line)
    vcf = f"{backend.settings.origin}/_media/vcard/{line.id}.vcf"
    return json_response(200, {"phone_number": line.phone_number, "vcf_url": vcf})


def _check_capability(request: Request) -> tuple[str, Line]:
    backend = request.backend
    body = request.json()
    address = validate.handle(validate.required(body, "address", str), "address")
    sender = validate.optional(body, "from", str)
    line = sending.own_line(backend, sender) if sender is not None else routing.choose_line(backend, ())
    if line is None:
        raise ApiError(4010)
    return address, line


def _acquire_check(request: Request, line: Line) -> None:
    scope = line.phone_number if request.backend.switches.capability_scope == "line" else ""
    request.backend.rate_limits.acquire("capability", scope, request.backend.now())


def _capability(request: Request, address: str, service: str) -> Response:
    available = service in request.backend.store.contact(address).services
    fields: dict[str, Any] = {"address": address, "available": available}
    if available:
        fields["selected_service"] = service
    else:
        fields["reason"] = "not_supported"
    return json_response(200, fields)


def check_imessage(request: Request) -> Response:
    """POST /v3/capability/check_imessage."""
    address, line = _check_capability(request)
    _acquire_check(request, line)
    return _capability(request, address, IMESSAGE)


def check_rcs(request: Request) -> Response:
    """POST /v3/capability/check_rcs: phone numbers only."""
    address, line = _check_capability(request)
    if not validate.is_phone(address):
        raise ApiError(1002, "address must be a phone number: RCS has no e-mail addresses")
    _acquire_check(request, line)
    return _capability(request, address, RCS)


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
    line.card = ContactCard(fields["first_name"], fields.get("last_name"), fields.get("image_url"))
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
    for name, value in fields.items():
        setattr(line.card, name, value)
    return json_response(200, serializers.contact_card_fields(line, line.card))


def _card_fields(body: dict[str, Any]) -> dict[str, str]:
    fields = {name: validate.optional(body, name, str) for name in ("first_name", "last_name", "image_url")}
    present = {name: value for name, value in fields.items() if value is not None}
    if present.get("first_name") == "":
        raise ApiError(1005, "first_name must not be empty")
    if present.get("image_url"):
        validate.https_url(present["image_url"], "image_url")
    return present


def list_blocks(request: Request) -> Response:
    """GET /v3/blocked_handles."""
    blocks = request.backend.store.blocks.values()
    return json_response(200, {"blocked_handles": [_block_fields(block) for block in blocks]})


def _block_fields(block: Block) -> dict[str, Any]:
    return {"handle": block.handle, "blocked_at": iso(block.blocked_at), "reason": block.reason}


def _blockable(body: dict[str, Any]) -> str:
    value: str = validate.required(body, "handle", str)
    if not validate.is_sender(value):
        raise ApiError(1002, "handle must be a phone number, an e-mail address, a short code or a sender ID")
    return value


def block(request: Request) -> Response:
    """POST /v3/blocked_handles: blocking again returns the existing entry."""
    body = request.json()
    value = _blockable(body)
    reason = validate.optional(body, "reason", str)
    entry = request.backend.store.blocks.setdefault(value, Block(value, request.backend.now(), reason))
    return json_response(200, {"blocked_handle": _block_fields(entry)})


def unblock(request: Request) -> Response:
    """DELETE /v3/blocked_handles, with the handle in the body."""
    request.backend.store.blocks.pop(_blockable(request.json()), None)
    return NO_CONTENT


ROUTES: list[tuple[str, str, Operation]] = [
    ("GET", "/v3/phone_numbers", list_lines),
    ("PUT", "/v3/phone_numbers/{phone_number_id}", forward),
    ("GET", "/v3/phonenumbers", list_lines_deprecated),
    ("GET", "/v3/available_number", available_number),
    ("POST", "/v3/capability/check_imessage", check_imessage),
    ("POST", "/v3/capability/check_rcs", check_rcs),
    ("GET", "/v3/contact_card", list_cards),
    ("POST", "/v3/contact_card", create_card),
    ("PATCH", "/v3/contact_card", update_card),
    ("GET", "/v3/blocked_handles", list_blocks),
    ("POST", "/v3/blocked_handles", block),
    ("DELETE", "/v3/blocked_handles", unblock),
]
