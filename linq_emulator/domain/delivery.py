"""The life of a message after acceptance: which service carries it, and its way to delivered or failed.

Rules: API reference, protocol selection and group chats. iMessage and RCS report delivered and read, SMS
stops at sent, groups have no receipts at all.
"""

from __future__ import annotations

from collections.abc import Iterable

from linq_emulator.backend import World
from linq_emulator.domain import events
from linq_emulator.domain.models import ALL_SERVICES, IMESSAGE, RCS, SMS, Line, Message

DELIVERY_FAILED = 4001
FAILURE_CODES = (3007, 4001, 4002, 4005, 4006, 4007, 4008)
"""linq-python 0.65.0 types/message_failed_webhook_event.py"""

_RANK = {"pending": 0, "queued": 1, "sent": 2, "failed": 2, "delivered": 3, "read": 4}


def choose_service(world: World, line: Line, recipients: Iterable[str], preferred: str | None) -> str | None:
    """The service that reaches every recipient from a line; None when there is none.

    Without a preference iMessage, then RCS, then SMS. iMessage does not fall back; RCS and SMS both mean RCS
    where possible, SMS else, and never iMessage.
    """
    wanted = {None: ALL_SERVICES, IMESSAGE: (IMESSAGE,)}.get(preferred, (RCS, SMS))
    everybody = [world.store.contact(handle).services for handle in recipients]
    for service in wanted:
        if service == IMESSAGE and line.line_type == RCS:
            continue
        if all(service in services for services in everybody):
            return service
    return None


def _chance(message: Message, offset: int, share: float) -> bool:
    # From the id, not from a running generator: the same message has the same fate however the clock moves.
    return int(message.id[offset : offset + 4], 16) / 0x10000 < share


def start(world: World, message: Message, reachable: bool) -> None:
    """Schedule what will happen to a message that was just accepted."""
    switches = world.switches
    if not switches.automatic_delivery:
        return
    total = round(switches.delivery_seconds * 1000)
    accepted = message.accepted_at
    steps = [("queued", accepted + total // 4)]
    if not reachable or _chance(message, 0, switches.failure_share):
        steps.append(("failed", accepted + total // 2))
    else:
        steps.append(("sent", accepted + total // 2))
        if has_receipts(message):
            steps.append(("delivered", accepted + total))
            if _chance(message, 4, switches.read_share):
                steps.append(("read", accepted + total + round(switches.read_seconds * 1000)))
    for status, due in steps:
        world.clock.call_at(due, lambda status=status: _step(world, message, status))  # type: ignore[misc]


def has_receipts(message: Message) -> bool:
    """Whether delivered and read can be known."""
    return not message.chat.is_group and message.service != SMS


def _step(world: World, message: Message, status: str) -> None:
    # A receipt from the control API may have been faster; what is reached is not taken back.
    if message.status != "failed" and _RANK[status] > _RANK[message.status]:
        set_status(world, message, status)


def set_status(world: World, message: Message, status: str, code: int = DELIVERY_FAILED) -> None:
    """Move an outbound message to a status, with its times and its webhook."""
    now = world.now()
    if status == "sent":
        message.sent_at = now
    elif status in ("delivered", "read"):
        message.sent_at = message.sent_at or now
        message.delivered_at = message.delivered_at or now
        if status == "read":
            message.read_at = now
    message.status = status
    message.encoded = None
    if world.switches.delivery_moves_message:
        message.updated_at = now
    if status == "failed":
        events.message_failed(world, message, code, "The message could not be delivered")
    elif status in ("sent", "delivered", "read"):
        events.message(world, f"message.{status}", message)
