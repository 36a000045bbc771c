"""The models that the store holds: plain data without behaviour.

Times are milliseconds of the virtual clock. Models refer to each other directly; `Store` keeps the indexes.
Field names follow linq-python 0.65.0 ``types/`` where the API shows the field.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Raw

__all__ = [
    "ALL_SERVICES",
    "Attachment",
    "Block",
    "Chat",
    "ChatHealth",
    "Contact",
    "ContactCard",
    "Draft",
    "Line",
    "Location",
    "Message",
    "Part",
    "Participant",
    "Reaction",
    "Reputation",
    "Service",
    "StoredResponse",
]

if TYPE_CHECKING:
    from linq_emulator.domain.ordered_index import OrderedIndex

Service = Literal["iMessage", "RCS", "SMS"]
Reputation = Literal["HEALTHY", "AT_RISK", "CRITICAL"]
ChatHealth = Literal["HEALTHY", "AT_RISK", "CRITICAL", "OPTED_OUT"]

IMESSAGE, RCS, SMS = "iMessage", "RCS", "SMS"
ALL_SERVICES = (IMESSAGE, RCS, SMS)


@dataclass(slots=True)
class ContactCard:
    """Name and photo that a line shares."""

    first_name: str
    last_name: str | None
    image_url: str | None


@dataclass(slots=True)
class Line:
    """One of the account's own numbers."""

    id: str
    phone_number: str
    line_type: str = IMESSAGE
    reputation: str = "HEALTHY"
    ineligible: bool = False
    forwarding_number: str | None = None
    retention: int | None = None
    """Ephemeral window in milliseconds from created_at; None keeps messages."""
    zero_retention: bool = False
    """Whether nothing of its messages is kept."""
    last_use: int = 0
    """Counts up over all lines. The least recently used line has the smallest."""
    card: ContactCard | None = None


@dataclass(slots=True)
class Location:
    """Where a contact is, while it shares that with a line."""

    longitude: float
    latitude: float
    altitude: float | None
    address: str | None
    locality: str | None
    updated_at: int
    began_at: int
    chat_id: str | None


@dataclass(slots=True)
class Contact:
    """A person outside the account, known by one handle."""

    handle: str
    services: tuple[str, ...] = ALL_SERVICES
    opted_out: bool = False
    has_written: bool = False
    location: Location | None = None


@dataclass(slots=True)
class Block:
    """An entry of the account's blocklist."""

    handle: str
    blocked_at: int
    reason: str | None


@dataclass(slots=True)
class Participant:
    """A handle in one chat (ChatHandle)."""

    id: str
    handle: str
    joined_at: int
    service: str
    is_me: bool = False
    line_type: str | None = None
    status: str = "active"
    left_at: int | None = None
    encoded: Raw | None = None
    """Cached JSON for its messages; None if it has to be encoded again."""


@dataclass(slots=True)
class Attachment:
    """A file that was uploaded in advance, or a placeholder for a URL that was sent."""

    id: str
    filename: str
    content_type: str
    size_bytes: int
    created_at: int
    upload_until: int = 0
    content: bytes | None = None
    uploaded_at: int = 0
    """When `content` came; 0 without it."""
    deleted: bool = False


@dataclass(slots=True)
class Reaction:
    """A tapback or sticker on one part of a message."""

    id: str
    participant: Participant
    type: str
    custom_emoji: str | None = None
    sticker: Attachment | None = None


@dataclass(slots=True)
class Part:
    """One part of a message. `extra` has the other fields that the API shows for its type."""

    type: str
    value: str = ""
    attachment: Attachment | None = None
    extra: dict[str, Any] | None = None
    reactions: list[Reaction] | None = None


@dataclass(slots=True, eq=False)
class Message:
    """An accepted message of either direction. It stays in the ledger for good."""

    id: str
    seq: int
    chat: Chat
    sender: Participant
    outbound: bool
    parts: list[Part]
    to: tuple[str, ...]
    accepted_at: int
    created_at: int
    updated_at: int
    status: str
    service: str
    trace_id: str = ""
    sent_at: int | None = None
    delivered_at: int | None = None
    read_at: int | None = None
    preferred_service: str | None = None
    effect: dict[str, Any] | None = None
    reply_to: Message | None = None
    reply_part: int = 0
    replies: list[Message] | None = None
    """On the first message of a thread only: every other message of the thread."""
    idempotency_key: str | None = None
    override_optout: bool = False
    reconciled_at: int | None = None
    is_system_event: bool = False
    """Whether it stands for a change of the group. Nobody sent it, and the ledger does not have it."""
    zero_retention: bool = False
    """Whether its line kept nothing when it was accepted: no read finds it, and events have none of its parts."""
    edits: list[dict[str, Any]] | None = None
    expired_at: int | None = None
    deleted_at: int | None = None
    encoded: bytes | None = None
    """Cached JSON; None if it has to be encoded again."""

    @property
    def shows_no_parts(self) -> bool:
        """Whether its parts are null: a system event, or the tombstone of a deleted message."""
        return self.is_system_event or self.deleted_at is not None

    @property
    def gone(self) -> bool:
        """Whether it is deleted or has expired."""
        return self.expired_at is not None or self.deleted_at is not None

    @property
    def can_be_read(self) -> bool:
        """Whether the API shows it."""
        return not (self.gone or self.zero_retention)


@dataclass(slots=True, eq=False)
class Chat:
    """A conversation of one line with one or more handles."""

    id: str
    seq: int
    line: Line
    me: Participant
    others: list[Participant]
    service: str
    is_group: bool
    created_at: int
    updated_at: int
    last_activity: int
    messages: OrderedIndex[Message]
    display_name: str | None = None
    """Only a name that was set. The default name is made of the recipients."""
    icon: str | None = None
    health: str = "HEALTHY"
    health_at: int = 0
    left: bool = False
    """Whether the line has left the group."""
    identity: tuple[str, frozenset[str]] | None = None
    """Line and recipients by which a create finds this chat; None if no create finds it."""
    encoded: bytes | None = None
    """Cached JSON; None if it has to be encoded again."""

    def active_others(self) -> list[Participant]:
        """The active participants without the own line."""
        return [other for other in self.others if other.status == "active"]

    def active_participant(self, handle: str) -> Participant | None:
        """The active participant with that handle."""
        return next((other for other in self.others if other.handle == handle and other.status == "active"), None)


@dataclass(slots=True)
class Draft:
    """A message that passed the content rules and is not accepted yet."""

    parts: list[Part]
    effect: dict[str, Any] | None = None
    reply_to: str | None = None
    reply_part: int = 0
    preferred_service: str | None = None
    idempotency_key: str | None = None
    mentions: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """The response to the first request with an idempotency key."""

    message: Message
    status: int
    body: bytes
    valid_until: int | None
    """None for ever."""
