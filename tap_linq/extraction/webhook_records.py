"""What the records of the streams from the webhook archive look like: pure functions over what was stored.

An event is kept whatever its form: what can't be read is in `webhook_events` as it came, and costs no more than the
records that are made of what it says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

from linq_client import ErrorCode, LinqError
from linq_client.times import format_datetime, parse_datetime_or_none
from linq_client.webhooks import decode, message_fields
from tap_linq.extraction.plan import dicts_in
from tap_linq.extraction.records import Record, api_record

__all__ = [
    "ArchivedEvent",
    "OptOut",
    "StoredEvent",
    "delivered_at",
    "event_record",
    "handle_of",
    "message_event_record",
    "opt_outs_of",
    "own_line",
    "own_lines",
]

#: Events of a message that name what has become of it, by their types.
CHANGES: Final[Mapping[str, str]] = {
    f"message.{name}": name for name in ("sent", "received", "delivered", "read", "failed", "edited")
}

#: When a change happened, as `data` has it.
_TIME_OF_CHANGE: Final[Mapping[str, str]] = {
    "sent": "sent_at",
    "received": "received_at",
    "delivered": "delivered_at",
    "read": "read_at",
    "failed": "failed_at",
    "edited": "edited_at",
}

#: The whole message of somebody who opts out. Source: linq-python 0.65.0, `types/chat.py`.
_OPT_OUT: Final = re.compile(r"STOP|UNSUBSCRIBE|OPTOUT|CANCEL|END|QUIT|(?i:opt[ -]?out)")

_OF_ENVELOPE: Final = frozenset({"event_id", "event_type", "data"})


class StoredEvent(Protocol):
    """An event as the archive has it; `linq_webhooks.archive.StoredEvent` is one."""

    @property
    def event_id(self) -> str:
        """Identifies the event; the same in all its deliveries."""

    @property
    def event_type(self) -> str:
        """Such as message.received."""

    @property
    def subscription_id(self) -> str | None:
        """Which subscription it was sent for, where a header said so."""

    @property
    def received_at(self) -> datetime:
        """When the receiver had it, by the receiver's clock."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Those of the delivery that were kept."""

    @property
    def body(self) -> bytes:
        """As it came."""


@dataclass(slots=True)
class ArchivedEvent:
    """A stored event, read as far as it can be.

    Attributes:
        fields: its envelope; empty if the body is no JSON object.
        data: of it, of a message in the form of version 2026-02-03; empty if it is no object.
        error: why nothing of the body can be used; None if something can.
        delivered_at: when the platform made the delivery that was stored, by its clock.
    """

    stored: StoredEvent
    fields: dict[str, Any]
    data: dict[str, Any]
    error: str | None
    delivered_at: datetime

    @classmethod
    def of(cls, stored: StoredEvent) -> ArchivedEvent:
        """Read a stored event."""
        fields: dict[str, Any] = {}
        error = None
        try:
            fields = decode(stored.body)
        except LinqError as wrong:
            error = str(wrong)
        data = fields.get("data")
        if error is None and not isinstance(data, dict):
            error = "webhook delivery: data is no object"
        usable = data if isinstance(data, dict) else {}
        return cls(stored, fields, message_fields(usable), error, delivered_at(stored))

    @property
    def type(self) -> str:
        """Its type; the body counts, as it is what was signed."""
        told = self.fields.get("event_type")
        return told if isinstance(told, str) and told else self.stored.event_type

    @property
    def change(self) -> str | None:
        """What it says of a message; None of all other events."""
        return CHANGES.get(self.type)

    @property
    def created(self) -> datetime:
        """When it happened, by the platform's clock; of one that does not say so, when it was delivered."""
        return parse_datetime_or_none(self.fields.get("created_at")) or self.delivered_at

    @property
    def message_id(self) -> str | None:
        """The message that it is about."""
        return _text(self.data.get("id")) if self.change not in (None, "failed") else _text(self.data.get("message_id"))

    @property
    def is_reaction(self) -> bool:
        """Whether it tells of a reaction to a message."""
        return self.type in ("reaction.added", "reaction.removed") and self.message_id is not None

    @property
    def chat(self) -> dict[str, Any]:
        """What it says of the chat."""
        chat = self.data.get("chat")
        return chat if isinstance(chat, dict) else {}

    @property
    def chat_id(self) -> str | None:
        """The chat that it is about."""
        told = _text(self.chat.get("id")) or _text(self.data.get("chat_id"))
        return told or (_text(self.data.get("id")) if self.type == "chat.created" else None)

    @property
    def line(self) -> str | None:
        """The own line, where it says that."""
        owner = handle_of(self.chat.get("owner_handle"))
        return owner or own_line(self.data) or _text(self.data.get("phone_number"))

    @property
    def is_inbound(self) -> bool:
        """Whether it is about a message from somebody else."""
        return self.data.get("direction") == "inbound"

    @property
    def sender(self) -> str | None:
        """Who sent the message."""
        return handle_of(self.data.get("sender_handle"))

    @property
    def happened(self) -> datetime:
        """When the change of the message happened, as well as it is known."""
        name = _TIME_OF_CHANGE.get(self.change or "", "")
        return parse_datetime_or_none(self.data.get(name)) or self.created


def delivered_at(stored: StoredEvent) -> datetime:
    """Return the time of a delivery that its signature holds, the platform's; in its absence, the receiver's."""
    for name, value in stored.headers.items():
        if name.lower() in ("webhook-timestamp", "x-webhook-timestamp"):
            try:
                moment = parse_datetime_or_none(datetime.fromtimestamp(float(value), stored.received_at.tzinfo))
            except (ValueError, OverflowError, OSError):
                continue
            if moment is not None:
                return moment
    return stored.received_at


def own_line(chat: Mapping[str, Any]) -> str | None:
    """Return the own line in a chat, as the API or an event shows it; None if neither does."""
    return next(iter(own_lines(chat)), None)


def own_lines(chat: Mapping[str, Any]) -> list[str]:
    """Return the own lines in a chat: several, where they write to each other."""
    own = (handle_of(one) for one in dicts_in(chat.get("handles")) if one.get("is_me") is True)
    return [one for one in own if one is not None]


def handle_of(value: object) -> str | None:
    """The handle in a ChatHandle, or one that stands for itself."""
    return _text(value.get("handle") if isinstance(value, dict) else value)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def event_record(event: ArchivedEvent, line: str | None) -> Record:
    """Return the record of an event, whatever its form.

    Args:
        line: the own line, where that is known.
    """
    around = {name: value for name, value in event.fields.items() if name not in _OF_ENVELOPE}
    data = event.fields.get("data")
    return api_record(
        around,
        id=event.stored.event_id,
        event_type=event.type,
        subscription_id=event.stored.subscription_id,
        message_id=event.message_id,
        chat_id=event.chat_id,
        line=line,
        received_at=format_datetime(event.stored.received_at),
        data=data if isinstance(data, dict) or data is None else {"value": data},
        error=event.error,
        body=event.stored.body.decode("utf-8", "replace").replace("\0", "\ufffd") if event.error else None,
    )


def message_event_record(event: ArchivedEvent, line: str | None, text_before: str | None) -> Record:
    """Return the record of a change of a message.

    Args:
        line: the own line, where that is known.
        text_before: of an edit, what the part said before, where that is known.
    """
    part = event.data.get("part")
    part = part if event.change == "edited" and isinstance(part, dict) else {}
    return {
        "id": event.stored.event_id,
        "message_id": event.message_id,
        "chat_id": event.chat_id,
        "line": line,
        "change": event.change,
        "happened_at": format_datetime(event.happened),
        "created_at": format_datetime(event.created),
        "service": event.data.get("service"),
        "code": event.data.get("code"),
        "detail_code": event.data.get("detail_code"),
        "reason": event.data.get("reason"),
        "part_index": part.get("index"),
        "text": part.get("text"),
        "text_before": text_before,
        "_extra": None,
    }


@dataclass(frozen=True)
class OptOut:
    """Somebody has opted out, or in again.

    Attributes:
        key: identifies what says so.
        handle: who; None where the event does not tell.
        evidence: keyword, refusal, health_status, or message.
    """

    key: str
    is_out: bool
    evidence: str
    at: datetime
    handle: str | None

    def record(self, event: ArchivedEvent, line: str | None) -> Record:
        """Return its record, made of the event that says so."""
        return {
            "id": self.key,
            "handle": self.handle,
            "opted_out": self.is_out,
            "evidence": self.evidence,
            "happened_at": format_datetime(self.at),
            "chat_id": event.chat_id,
            "line": line,
            "message_id": event.message_id,
            "event_id": event.stored.event_id,
            "_extra": None,
        }


def opt_outs_of(event: ArchivedEvent) -> Iterator[OptOut]:
    """Yield what an event says about who wants no messages.

    A message that is no keyword opts its sender in again, whether or not they had opted out: who reads it has to know.
    """
    if event.change == "failed":
        if event.data.get("code") == ErrorCode.RECIPIENT_OPTED_OUT:
            yield OptOut(event.stored.event_id, True, "refusal", event.happened, None)
        return
    if event.change is None:
        return
    sender = event.sender if event.is_inbound else None
    if event.change == "received" and sender is not None:
        is_out = _is_keyword(event.data.get("parts"))
        # A keyword in a group opts nobody out.
        if not is_out or event.chat.get("is_group") is not True:
            evidence = "keyword" if is_out else "message"
            yield OptOut(event.stored.event_id, is_out, evidence, event.happened, sender)
    health = event.chat.get("health_status")
    if isinstance(health, dict) and health.get("status") == "OPTED_OUT":
        since = parse_datetime_or_none(health.get("updated_at"))
        if since is not None and event.chat_id is not None:
            key = f"{event.chat_id} opted out {format_datetime(since)}"
            yield OptOut(key, True, "health_status", since, sender)


def _is_keyword(parts: object) -> bool:
    found = dicts_in(parts)
    value = found[0].get("value") if len(found) == 1 and found[0].get("type") == "text" else None
    return isinstance(value, str) and _OPT_OUT.fullmatch(value.strip()) is not None
