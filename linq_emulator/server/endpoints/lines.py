"""The account's own numbers: forwarding, which one to send from, and what a recipient can be reached by."""

from __future__ import annotations

from typing import Any

from linq_emulator import serializers
from linq_emulator.domain import account_events, routing, sending, validate
from linq_emulator.domain.models import IMESSAGE, RCS, Line
from linq_emulator.errors import ApiError
from linq_emulator.schemas import requests, responses
from linq_emulator.server.endpoints import paging
from linq_emulator.server.gateway import Request, Response, json_response
from linq_emulator.server.route import Route

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
    before, line.forwarding_number = (
        line.forwarding_number,
        validate.phone(number, "forwarding_number") if number else None,
    )
    if before != line.forwarding_number:
        account_events.emit_forwarding(request.backend, line, before)
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
    vcf_url = backend.media.vcard_url(line.id, excluded)
    return json_response(200, {"phone_number": line.phone_number, "vcf_url": vcf_url})


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


ROUTES = (
    Route("GET", "/v3/phone_numbers", list_lines, response=responses.LineList, query=requests.ShortListQuery),
    Route(
        "PUT",
        "/v3/phone_numbers/{phone_number_id}",
        forward,
        response=responses.ForwardedNumber,
        refusals=(1002, 2019),
        body=requests.Forwarding,
    ),
    Route("GET", "/v3/phonenumbers", list_lines_deprecated, response=responses.LineListDeprecated),
    Route(
        "GET",
        "/v3/available_number",
        available_number,
        response=responses.AvailableNumber,
        refusals=(1002, 4004),
        query=requests.AvailableNumberQuery,
    ),
    Route(
        "POST",
        "/v3/capability/check_imessage",
        check_imessage,
        response=responses.Capability,
        refusals=(1002, 1007, 2006, 4010),
        body=requests.CapabilityCheck,
    ),
    Route(
        "POST",
        "/v3/capability/check_rcs",
        check_rcs,
        response=responses.Capability,
        refusals=(1002, 1007, 2006, 4010),
        body=requests.CapabilityCheck,
    ),
)
