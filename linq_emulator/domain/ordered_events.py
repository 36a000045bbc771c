"""Events by order of the control API: those that nothing here causes, and any other with data of the test.

Shapes: linq-python 0.65.0 ``types/*_webhook_event.py``. No public source has the data of calls, so that it is ours.
"""

from __future__ import annotations

from typing import Any

from linq_emulator.backend import Backend
from linq_emulator.clock import DAY, iso
from linq_emulator.domain.account_events import audit_data
from linq_emulator.domain.events import any_version
from linq_emulator.domain.models import Chat, Line

__all__ = ["UNCAUSED", "order"]

_CONTACT = "+12025550150"

_AUDITS: dict[str, dict[str, Any]] = {
    "contact_card.deleted": {"contact_card": {"first_name": "Ann", "last_name": None, "image_url": None}},
    "environment.created": {"environment": {"name": "Staging", "type": "environment"}},
    "environment.renamed": {
        "environment": {"name": "Staging", "type": "environment"},
        "change": {"from": "Test", "to": "Staging"},
    },
    "environment.deleted": {
        "environment": {"name": "Staging", "type": "environment"},
        "lines_moved_to_production": 1,
        "tokens_revoked": 1,
    },
    "environment.line_moved": {"change": {"from": {"name": "Production"}, "to": {"name": "Staging"}}},
    "api_token.created": {"api_token": {"name": "Warehouse"}},
    "api_token.renamed": {"api_token": {"name": "Warehouse"}, "change": {"from": "Old name", "to": "Warehouse"}},
    "api_token.expiry_scheduled": {"api_token": {"name": "Warehouse"}},
    "api_token.expired": {"api_token": {"name": "Warehouse"}},
    "api_token.activated": {"api_token": {"name": "Warehouse"}},
    "api_token.deleted": {"api_token": {"name": "Warehouse"}},
    "team_member.added": {"team_member": {"name": "Ann", "role": "member"}},
    "team_member.signed_in": {"team_member": {"name": "Ann"}, "method": "code"},
    "team_member.signed_out": {"team_member": {"name": "Ann"}},
}
_OF_A_LINE = ("contact_card.deleted", "environment.line_moved", "phone_number.released")

_CALLS = ("initiated", "ringing", "answered", "ended", "failed", "declined", "no_answer")
_PAYMENTS = {
    "payment.succeeded": "succeeded",
    "payment.authorized": "succeeded",
    "payment.canceled": "canceled",
    "payment.expired": "expired",
    "payment.declined": "failed",
    "connection.created": "succeeded",
    "connection.revoked": "canceled",
}

UNCAUSED = ("phone_number.released", *_AUDITS, *_PAYMENTS, *(f"call.{state}" for state in _CALLS))
"""The events that have no cause here. Each has an example."""


def order(
    backend: Backend, event_type: str, data: dict[str, Any], line: Line | None, chat: Chat | None
) -> dict[str, Any]:
    """Send an event, and return its id and what it carried.

    Args:
        backend: The emulator.
        event_type: Its documented name.
        data: What it carries; of an uncaused event, what differs from the example.
        line: The line to which it belongs; None for an event of the account.
        chat: The chat of its routing headers.
    """
    if event_type in UNCAUSED:
        data = _example(backend, event_type, line) | data
        if line is None and (event_type in _OF_A_LINE or event_type.startswith("call.")):
            line = _first_line(backend)
    deliveries = backend.webhooks.emit(
        event_type,
        None if line is None else line.phone_number,
        any_version(data),
        backend.trace_id,
        None if chat is None else chat.id,
    )
    return {
        "event_id": deliveries[0].event_id if deliveries else None,
        "deliveries": len(deliveries),
        "data": data,
    }


def _first_line(backend: Backend) -> Line | None:
    return next(iter(backend.store.lines.values()), None)


def _example(backend: Backend, event_type: str, line: Line | None) -> dict[str, Any]:
    line = line or _first_line(backend)
    number = line.phone_number if line else "+12025550101"
    now = iso(backend.now())
    if event_type == "phone_number.released":
        return {"phone_number": number, "changed_at": now}
    if event_type in _PAYMENTS:
        return _payment(backend, event_type, now)
    if event_type.startswith("call."):
        call = {"call_id": backend.store.new_id(), "direction": "inbound", "from": _CONTACT, "to": number}
        return call | {"status": event_type.removeprefix("call."), "occurred_at": now}
    return _audit(backend, event_type, number)


def _audit(backend: Backend, event_type: str, number: str) -> dict[str, Any]:
    data = audit_data(backend, f"{event_type.replace('_', ' ').replace('.', ': ')}", by_linq=True)
    for name, value in _AUDITS[event_type].items():
        data[name] = {"id": backend.store.new_id(), **value} if name in ("contact_card", "team_member") else value
        if name == "api_token":
            data[name] = {"id": backend.store.new_id(), "token_prefix": "lq_", "expires_at": None, **value}
    if event_type == "api_token.expiry_scheduled":
        at = iso(backend.now() + DAY)
        data["api_token"]["expires_at"], data["change"] = at, {"from": None, "to": at}
    if event_type in _OF_A_LINE:
        data["phone_number"] = number
    return data


def _payment(backend: Backend, event_type: str, now: str) -> dict[str, Any]:
    return {
        "id": backend.store.new_id(),
        "object": "payment_request",
        "amount": 1200,
        "currency": "usd",
        "checkout_url": "https://pay.example/acme?session=example",
        "status": _PAYMENTS[event_type],
        "created_at": now,
        "updated_at": now,
    }
