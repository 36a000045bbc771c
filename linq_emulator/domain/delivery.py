"""The service that carries a message, and its delivery up to delivered, read or failed.

Rules: API reference, protocol selection and group chats. iMessage and RCS report delivered and read, SMS
stops at sent, groups have no receipts.
"""

from __future__ import annotations

from collections.abc import Iterable

from linq_emulator.backend import Backend
from linq_emulator.domain import events, poll_events
from linq_emulator.domain.models import ALL_SERVICES, IMESSAGE, RCS, SMS, Line, Message

__all__ = [
    "DELIVERY_FAILED",
    "FAILURE_CODES",
    "UNSUPPORTED_TYPE",
    "choose_service",
    "has_receipts",
    "schedule_delivery",
    "set_status",
]

DELIVERY_FAILED = 4001
UNSUPPORTED_TYPE = 4005
FAILURE_CODES = (3007, 4001, 4002, 4005, 4006, 4007, 4008)
"""linq-python 0.65.0 types/message_failed_webhook_event.py"""

_STATUS_RANK = {"pending": 0, "queued": 1, "sent": 2, "failed": 2, "delivered": 3, "read": 4}


def choose_service(backend: Backend, line: Line, recipients: Iterable[str], preferred: str | None) -> str | None:
    """The service that reaches every recipient from a line; None if no service does.

    Without a preference the order is iMessage, RCS, SMS. A preferred iMessage has no fallback. A preferred RCS or SMS
    both mean RCS where possible, else SMS, and never iMessage.
    """
    candidates = {None: ALL_SERVICES, IMESSAGE: (IMESSAGE,)}.get(preferred, (RCS, SMS))
    services_of_recipients = [backend.store.contact(handle).services for handle in recipients]
    for service in candidates:
        if service == IMESSAGE and line.line_type == RCS:
            continue
        if all(service in services for services in services_of_recipients):
            return service
    return None


def _falls_in_share(message: Message, offset: int, share: float) -> bool:
    # From the id and not from a generator: the outcome of a message does not depend on how the clock moves.
    return int(message.id[offset : offset + 4], 16) / 0x10000 < share


def schedule_delivery(backend: Backend, message: Message, failure: int | None = None) -> None:
    """Schedule the statuses of a message that was just accepted.

    Args:
        backend: The emulator.
        message: The message.
        failure: The code with which it fails; None if nothing is known against its delivery.
    """
    switches = backend.switches
    if not switches.automatic_delivery:
        return
    total = round(switches.delivery_seconds * 1000)
    accepted = message.accepted_at
    steps = [("queued", accepted + total // 4)]
    if failure is not None or _falls_in_share(message, 0, switches.failure_share):
        steps.append(("failed", accepted + total // 2))
    else:
        steps.append(("sent", accepted + total // 2))
        if has_receipts(message):
            steps.append(("delivered", accepted + total))
            if _falls_in_share(message, 4, switches.read_share):
                steps.append(("read", accepted + total + round(switches.read_seconds * 1000)))
    code = failure or DELIVERY_FAILED
    for status, due in steps:
        backend.clock.call_at(due, lambda status=status: _advance_status(backend, message, status, code))  # type: ignore[misc]


def has_receipts(message: Message) -> bool:
    """Whether a device reports delivered and read."""
    return not message.chat.is_group and message.service != SMS


def _advance_status(backend: Backend, message: Message, status: str, code: int) -> None:
    # A receipt from the control API may have come first. A status never goes back.
    if message.status != "failed" and _STATUS_RANK[status] > _STATUS_RANK[message.status]:
        set_status(backend, message, status, code)


def set_status(
    backend: Backend, message: Message, status: str, code: int = DELIVERY_FAILED, detail_code: int | None = None
) -> None:
    """Set the status of an outbound message with its times, and emit the webhook; the codes are those of a failure."""
    now = backend.now()
    if status == "sent":
        message.sent_at = now
    elif status in ("delivered", "read"):
        message.sent_at = message.sent_at or now
        message.delivered_at = message.delivered_at or now
        if status == "read":
            message.read_at = now
    message.status = status
    message.failure_code = code if status == "failed" else message.failure_code
    message.encoded = None
    if backend.switches.delivery_moves_message:
        message.updated_at = now
    _emit_status(backend, message, code, detail_code)


def _emit_status(backend: Backend, message: Message, code: int, detail_code: int | None) -> None:
    reason = "The message could not be delivered"
    if message.status == "failed":
        if message.poll is None:
            events.emit_message_failed(backend, message, code, reason, detail_code)
        else:
            poll_events.emit_failed(backend, message, code, reason)
    elif message.status in ("sent", "delivered", "read"):
        if message.poll is None:
            events.emit_message(backend, f"message.{message.status}", message)
        else:
            poll_events.emit_status(backend, message)
