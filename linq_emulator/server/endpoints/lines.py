"""The account's own numbers and what hangs on them: forwarding, contact cards, capability, the blocklist."""

from __future__ import annotations

import re
from typing import Any

from linq_emulator import serializers as wire
from linq_emulator.clock import iso
from linq_emulator.domain import routing, sending, validate
from linq_emulator.domain.models import IMESSAGE, RCS, Block, ContactCard, Line
from linq_emulator.errors import ApiError
from linq_emulator.server.gateway import NO_CONTENT, Call, Operation, Reply, answer

# An SMS short code or an alphanumeric sender ID, which can be blocked but not written to.
_SENDER_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.&-]{0,14}")


def list_lines(call: Call) -> Reply:
    """GET /v3/phone_numbers."""
    return answer(200, {"phone_numbers": [wire.line(line) for line in call.world.store.lines.values()]})


def list_lines_deprecated(call: Call) -> Reply:
    """GET /v3/phonenumbers."""
    shown = [
        {
            "id": line.id,
            "phone_number": line.phone_number,
            "type": None,
            "country_code": None,
            "capabilities": {"sms": True, "mms": True, "voice": True},
        }
        for line in call.world.store.lines.values()
    ]
    return answer(200, {"phone_numbers": shown})


def forward(call: Call) -> Reply:
    """PUT /v3/phone_numbers/{phone_number_id}: where calls are forwarded to."""
    wanted = validate.identifier(call.path["phone_number_id"], "phone_number_id")
    line = next((one for one in call.world.store.lines.values() if one.id == wanted), None)
    if line is None:
        raise ApiError(2019)
    body = call.body()
    if "forwarding_number" not in body:
        raise ApiError(1001, "forwarding_number is required")
    number = validate.optional(body, "forwarding_number", str)
    line.forwarding_number = validate.phone(number, "forwarding_number") if number else None
    shown = {"id": line.id, "phone_number": line.phone_number, "forwarding_number": line.forwarding_number}
    return answer(200, shown)


def _list_of(call: Call, name: str) -> list[str]:
    # Repeated or joined by commas: the reference says the one, the SDK does the other.
    return [one for text in call.query.getlist(name) for one in text.split(",") if one]


def available_number(call: Call) -> Reply:
    """GET /v3/available_number: the best line to send from, nothing is reserved."""
    world = call.world
    excluded = {validate.phone(one, "exclude_from") for one in _list_of(call, "exclude_from")}
    recipients = [validate.handle(one, "to") for one in _list_of(call, "to")]
    kind = call.query.get("type")
    kinds = {"rcs": RCS, "imessage": IMESSAGE}
    if kind is not None and kind.lower() not in kinds:
        raise ApiError(1005, "type must be RCS or iMessage")
    line_type = kinds[kind.lower()] if kind else None
    line = next(
        (
            chat.line
            for chat in routing.matching_chats(world, recipients)
            if not chat.line.ineligible
            and chat.line.phone_number not in excluded
            and line_type in (None, chat.line.line_type)
        ),
        None,
    ) or routing.best_line(world, excluded, line_type)
    if line is None:
        raise ApiError(4004, "no phone number is available")
    sending.use_line(world, line)
    vcf = f"{world.settings.origin}/_media/vcard/{line.id}.vcf"
    return answer(200, {"phone_number": line.phone_number, "vcf_url": vcf})


def _check_capability(call: Call) -> tuple[str, Line]:
    world = call.world
    body = call.body()
    address = validate.handle(validate.required(body, "address", str), "address")
    sender = validate.optional(body, "from", str)
    line = sending.own_line(world, sender) if sender is not None else routing.best_line(world, ())
    if line is None:
        raise ApiError(4010)
    return address, line


def _take_check(call: Call, line: Line) -> None:
    scope = line.phone_number if call.world.switches.capability_scope == "line" else ""
    call.world.limits.take("capability", scope, call.world.now())


def _capability(call: Call, address: str, service: str) -> Reply:
    available = service in call.world.store.contact(address).services
    shown: dict[str, Any] = {"address": address, "available": available}
    if available:
        shown["selected_service"] = service
    else:
        shown["reason"] = "not_supported"
    return answer(200, shown)


def check_imessage(call: Call) -> Reply:
    """POST /v3/capability/check_imessage."""
    address, line = _check_capability(call)
    _take_check(call, line)
    return _capability(call, address, IMESSAGE)


def check_rcs(call: Call) -> Reply:
    """POST /v3/capability/check_rcs: phone numbers only."""
    address, line = _check_capability(call)
    if not validate.is_phone(address):
        raise ApiError(1002, "address must be a phone number: RCS has no e-mail addresses")
    _take_check(call, line)
    return _capability(call, address, RCS)


def list_cards(call: Call) -> Reply:
    """GET /v3/contact_card."""
    number = call.query.get("phone_number")
    if number is not None:
        validate.phone(number, "phone_number")
    shown = [
        wire.contact_card(line, line.card)
        for line in call.world.store.lines.values()
        if line.card is not None and number in (None, line.phone_number)
    ]
    return answer(200, {"contact_cards": shown})


def create_card(call: Call) -> Reply:
    """POST /v3/contact_card."""
    body = call.body()
    line = sending.own_line(call.world, validate.required(body, "phone_number", str), "phone_number")
    validate.required(body, "first_name", str)
    fields = _card_fields(body)
    call.world.limits.take("contact_card", line.phone_number, call.world.now())
    if line.card is not None:
        raise ApiError(2014)
    line.card = ContactCard(fields["first_name"], fields.get("last_name"), fields.get("image_url"))
    return answer(call.world.switches.contact_card_status, wire.contact_card(line, line.card))


def update_card(call: Call) -> Reply:
    """PATCH /v3/contact_card?phone_number=: what is given is changed, the rest stays."""
    number = call.query.get("phone_number")
    if number is None:
        raise ApiError(1001, "phone_number is required")
    line = sending.own_line(call.world, number, "phone_number")
    fields = _card_fields(call.body())
    call.world.limits.take("contact_card", line.phone_number, call.world.now())
    if line.card is None:
        raise ApiError(2012)
    for name, value in fields.items():
        setattr(line.card, name, value)
    return answer(200, wire.contact_card(line, line.card))


def _card_fields(body: dict[str, Any]) -> dict[str, str]:
    fields = {name: validate.optional(body, name, str) for name in ("first_name", "last_name", "image_url")}
    given = {name: value for name, value in fields.items() if value is not None}
    if given.get("first_name") == "":
        raise ApiError(1005, "first_name must not be empty")
    if given.get("image_url"):
        validate.https_url(given["image_url"], "image_url")
    return given


def list_blocks(call: Call) -> Reply:
    """GET /v3/blocked_handles."""
    return answer(200, {"blocked_handles": [_block(one) for one in call.world.store.blocks.values()]})


def _block(block: Block) -> dict[str, Any]:
    return {"handle": block.handle, "blocked_at": iso(block.blocked_at), "reason": block.reason}


def _blockable(body: dict[str, Any]) -> str:
    value: str = validate.required(body, "handle", str)
    if not validate.is_handle(value) and not _SENDER_ID.fullmatch(value):
        raise ApiError(1002, "handle must be a phone number, an e-mail address, a short code or a sender ID")
    return value


def block(call: Call) -> Reply:
    """POST /v3/blocked_handles: blocking again returns the existing entry."""
    body = call.body()
    value = _blockable(body)
    reason = validate.optional(body, "reason", str)
    entry = call.world.store.blocks.setdefault(value, Block(value, call.world.now(), reason))
    return answer(200, {"blocked_handle": _block(entry)})


def unblock(call: Call) -> Reply:
    """DELETE /v3/blocked_handles, with the handle in the body."""
    call.world.store.blocks.pop(_blockable(call.body()), None)
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
