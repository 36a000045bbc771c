"""What the emulator remembers: plain records, without behaviour.

Times are milliseconds of the virtual clock. Records hold each other directly; `store` keeps the indexes.
Field names follow linq-python 0.65.0 ``types/`` where the API shows the field.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from msgspec import Raw

if TYPE_CHECKING:
    from linq_emulator.ordered_index import Listing

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
    used: int = 0
    """Counts up over all lines, so that the smallest is the least recently used."""
    card: ContactCard | None = None


@dataclass(slots=True)
class Location:
    """Where a contact is, while it shares that with us."""

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
    """Somebody outside the account, known by one handle."""

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
    """What messages show of it, encoded; None when it must be made again."""


@dataclass(slots=True)
class Attachment:
    """A file: uploaded in advance, or standing for a URL that was sent."""

    id: str
    filename: str
    content_type: str
    size_bytes: int
    created_at: int
    upload_until: int = 0
    content: bytes | None = None
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
    """One part of a message; `extra` holds the rest of what the API shows for that type."""

    type: str
    value: str = ""
    attachment: Attachment | None = None
    extra: dict[str, Any] | None = None
    reactions: list[Reaction] | None = None


@dataclass(slots=True, eq=False)
class Message:
    """A message of either direction, from acceptance on; it stays in the ledger whatever becomes of it."""

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
    """Only on the first message of a thread: every message that answers it."""
    idempotency_key: str | None = None
    override_optout: bool = False
    reconciled_at: int | None = None
    edits: list[dict[str, Any]] | None = None
    expired_at: int | None = None
    deleted_at: int | None = None
    encoded: bytes | None = None
    """What GET shows, encoded; None when it must be made again."""

    @property
    def gone(self) -> bool:
        """Whether the API no longer shows it."""
        return self.expired_at is not None or self.deleted_at is not None


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
    messages: Listing[Message]
    display_name: str | None = None
    """Only what was set; the default name is made of the recipients."""
    icon: str | None = None
    health: str = "HEALTHY"
    health_at: int = 0
    left: bool = False
    identity: tuple[str, frozenset[str]] | None = None
    """The key under which a create finds this chat; None when it is not matched."""
    encoded: bytes | None = None

    def active(self) -> list[Participant]:
        """The participants that are in the chat now, the own line not counted."""
        return [other for other in self.others if other.status == "active"]

    def participant(self, handle: str) -> Participant | None:
        """The active participant with that handle."""
        return next((other for other in self.others if other.handle == handle and other.status == "active"), None)


@dataclass(slots=True)
class Draft:
    """A message that passed the content rules and has not been accepted yet."""

    parts: list[Part]
    effect: dict[str, Any] | None = None
    reply_to: str | None = None
    reply_part: int = 0
    preferred_service: str | None = None
    idempotency_key: str | None = None
    mentions: list[str] = field(default_factory=list)
