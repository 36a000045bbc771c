"""Webhook events of the account: its lines, contact cards and webhook subscriptions, and who has changed them.

Shapes: linq-python 0.65.0 ``types/phone_number_*_webhook_event.py``, ``types/contact_card_*_webhook_event.py`` and
``types/webhook_subscription_*_webhook_event.py``. What `from` and `to` of a change are is in no public source; here
they are the values of the field.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit, urlunsplit

from linq_emulator.backend import Backend
from linq_emulator.clock import iso
from linq_emulator.domain.events import any_version
from linq_emulator.domain.models import ContactCard, Line
from linq_emulator.domain.webhooks import Subscription

__all__ = [
    "audit_data",
    "emit_account_event",
    "emit_card_created",
    "emit_card_received",
    "emit_card_updated",
    "emit_forwarding",
    "emit_line_assigned",
    "emit_subscription_changes",
    "emit_subscription_created",
    "emit_subscription_deleted",
    "emit_zero_retention",
    "subscription_state",
]

_BY_LINQ = {"actor": {"type": "system"}, "origin": "linq"}
_BY_API = {"actor": {"type": "api"}, "origin": "api"}


def audit_data(backend: Backend, summary: str, *, by_linq: bool = False) -> dict[str, Any]:
    """What the events of every change of the account have."""
    return {"summary": summary, "occurred_at": iso(backend.now()), **(_BY_LINQ if by_linq else _BY_API)}


def emit_account_event(backend: Backend, event_type: str, data: dict[str, Any], line: Line | None = None) -> None:
    """Emit an event that belongs to a line, or to the account as a whole."""
    number = None if line is None else line.phone_number
    backend.webhooks.emit(event_type, number, any_version(data), backend.trace_id)


def _change(before: object, after: object) -> dict[str, Any]:
    return {"from": before, "to": after}


# --- lines ---


def emit_line_assigned(backend: Backend, line: Line) -> None:
    """Emit phone_number.assigned."""
    data = {"phone_number": line.phone_number, "changed_at": iso(backend.now())}
    emit_account_event(backend, "phone_number.assigned", data, line)


def emit_forwarding(backend: Backend, line: Line, before: str | None) -> None:
    """Emit phone_number.forwarding_updated."""
    data = audit_data(backend, "Call forwarding changed") | {
        "phone_number": line.phone_number,
        "change": _change(before, line.forwarding_number),
    }
    emit_account_event(backend, "phone_number.forwarding_updated", data, line)


def emit_zero_retention(backend: Backend, line: Line) -> None:
    """Emit zero_day_retention.updated: the setting of a line was turned over."""
    data = audit_data(backend, "Zero-day retention changed", by_linq=True) | {
        "phone_number": line.phone_number,
        "change": _change(not line.zero_retention, line.zero_retention),
    }
    emit_account_event(backend, "zero_day_retention.updated", data, line)


# --- contact cards ---


def emit_card_created(backend: Backend, line: Line, card: ContactCard) -> None:
    """Emit contact_card.created."""
    data = audit_data(backend, "Contact card created") | _card(line, card)
    emit_account_event(backend, "contact_card.created", data, line)


def emit_card_updated(backend: Backend, line: Line, card: ContactCard, before: dict[str, str | None]) -> None:
    """Emit contact_card.updated with the fields that changed; `before` has the earlier values of those given."""
    changes = {
        name: _change(value, getattr(card, name)) for name, value in before.items() if value != getattr(card, name)
    }
    if changes:
        data = audit_data(backend, "Contact card updated") | _card(line, card) | {"change": changes}
        emit_account_event(backend, "contact_card.updated", data, line)


def _card(line: Line, card: ContactCard) -> dict[str, Any]:
    shown = {
        "id": card.id,
        "first_name": card.first_name,
        "last_name": card.last_name,
        "image_url": card.image_url,
    }
    return {"phone_number": line.phone_number, "contact_card": shown}


def emit_card_received(
    backend: Backend, line: Line, sender: str, first_name: str, last_name: str, media_url: str | None
) -> None:
    """Emit contact_card.received: a contact has shared its own card."""
    data = {
        "sender_handle": sender,
        "owner_handle": line.phone_number,
        "first_name": first_name,
        "last_name": last_name,
        "media_url": media_url,
    }
    emit_account_event(backend, "contact_card.received", data, line)


# --- webhook subscriptions ---


def emit_subscription_created(backend: Backend, subscription: Subscription) -> None:
    """Emit webhook_subscription.created. The new subscription gets it, too, if it wants such events."""
    shown = _reference(subscription) | {"events": subscription.events}
    data = audit_data(backend, "Webhook subscription created") | {"webhook_subscription": shown}
    emit_account_event(backend, "webhook_subscription.created", data)


def emit_subscription_deleted(backend: Backend, subscription: Subscription) -> None:
    """Emit webhook_subscription.deleted."""
    data = audit_data(backend, "Webhook subscription deleted") | {"webhook_subscription": _reference(subscription)}
    emit_account_event(backend, "webhook_subscription.deleted", data)


def subscription_state(subscription: Subscription) -> dict[str, Any]:
    """What events tell of a subscription, by the end of their names."""
    headers = {
        name: value
        for name in ("routing_key_header", "routing_id_header")
        if (value := getattr(subscription, name)) is not None
    }
    return {
        "target_url_changed": _plain_url(subscription.target_url),
        "events.updated": list(subscription.events),
        "phone_numbers.updated": subscription.phone_numbers,
        "routing_headers": headers or None,
        "is_active": subscription.is_active,
    }


def emit_subscription_changes(backend: Backend, subscription: Subscription, before: dict[str, Any]) -> None:
    """Emit an event for each thing that differs from `before`, which is a `subscription_state`."""
    after = subscription_state(subscription)
    for name, old in before.items():
        new = after[name]
        if new == old:
            continue
        data = audit_data(backend, "Webhook subscription changed") | {"webhook_subscription": _reference(subscription)}
        if name == "is_active":
            name = "enabled" if new else "disabled"
        else:
            data["change"] = _change(old, new)
        if name == "routing_headers":
            name = "routing_headers_cleared" if new is None else "routing_headers_set"
        emit_account_event(backend, f"webhook_subscription.{name}", data)


def _reference(subscription: Subscription) -> dict[str, Any]:
    return {"id": subscription.id, "target_url": _plain_url(subscription.target_url)}


def _plain_url(url: str) -> str:
    """A URL without credentials, query string and fragment."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
