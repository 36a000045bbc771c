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
    "Audit",
    "Background",
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
    "Placement",
    "Poll",
    "PollOption",
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

    id: str
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
class Placement:
    """Where and how a sticker lies on a message: offsets from the middle in halves of the bubble, degrees clockwise."""

    x: float = 0.0
    y: float = 0.0
    scale: float = 1.0
    rotation: float = 0.0


@dataclass(slots=True)
class Reaction:
    """A tapback or sticker on one part of a message."""

    id: str
    participant: Participant
    type: str
    custom_emoji: str | None = None
    sticker: Attachment | None = None
    placement: Placement | None = None
    """Of a sticker only."""


@dataclass(slots=True)
class Part:
    """One part of a message. `extra` has the other fields that the API shows for its type."""

    type: str
    value: str = ""
    attachment: Attachment | None = None
    extra: dict[str, Any] | None = None
    reactions: list[Reaction] | None = None


@dataclass(slots=True)
class PollOption:
    """An answer that a poll offers."""

    id: str
    text: str
    creator: Participant
    votes: dict[str, int] = field(default_factory=dict)
    """When each handle voted for it."""


@dataclass(slots=True)
class Poll:
    """The content of a poll message. Options are only ever added."""

    options: list[PollOption]

    def voters(self) -> set[str]:
        """The handles that have a vote on any option."""
        return {handle for option in self.options for handle in option.votes}


@dataclass(slots=True, eq=False)
class Message:
    """An accepted message of either direction. It stays in the ledger for good."""

    id: str
    seq: int
    chat: Chat
    sender: Participant
    outbound: bool
    parts: list[Part]
    """A poll has one, for the reactions to it, which the API does not show."""
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
    failure_code: int | None = None
    """Why it failed."""
    poll: Poll | None = None
    is_unlisted: bool = False
    """Whether the list of its chat lacks it, although a read with its id finds it."""
    expired_at: int | None = None
    deleted_at: int | None = None
    encoded: bytes | None = None
    """Cached JSON; None if it has to be encoded again."""

    @property
    def shows_no_parts(self) -> bool:
        """Whether its parts are null: a system event, a poll, or the tombstone of a deleted message."""
        return self.is_system_event or self.poll is not None or self.deleted_at is not None

    @property
    def gone(self) -> bool:
        """Whether it is deleted or has expired."""
        return self.expired_at is not None or self.deleted_at is not None

    @property
    def can_be_read(self) -> bool:
        """Whether the API shows it."""
        return not (self.gone or self.zero_retention)


@dataclass(frozen=True, slots=True)
class Background:
    """What a chat's messages are shown on. Which fields have a value depends on the type."""

    type: Literal["color", "dynamic", "photo"]
    variant: str | None = None
    shades: tuple[str, ...] | None = None
    style: str | None = None
    image: Attachment | None = None


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
    background: Background | None = None
    health: str = "HEALTHY"
    health_at: int = 0
    left: bool = False
    """Whether the line has left the group."""
    unlisted: list[Message] = field(default_factory=list)
    """The readable messages that its list lacks, oldest first."""
    identity: tuple[str, frozenset[str]] | None = None
    """Line and recipients by which a create finds this chat; None if no create finds it."""
    encoded: bytes | None = None
    """Cached JSON; None if it has to be encoded again."""

    def active_others(self) -> list[Participant]:
        """The active participants without the own line."""
        return [other for other in self.others if other.status == "active"]

    def recipients(self) -> list[str]:
        """The handles that a message into this chat goes to."""
        return [other.handle for other in self.active_others()]

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
    poll: Poll | None = None
    has_experience: bool = False
    """Whether its card was made for an experience, which is for one recipient only."""

    @property
    def kind(self) -> str:
        """The type of its first part: of an app card, an App Clip or a poll it is the only one."""
        return self.parts[0].type


@dataclass(slots=True)
class Audit:
    """A reputation audit of a line."""

    id: str
    line: Line
    started_at: int
    finished_at: int | None = None
    report: dict[str, Any] | None = None
    """None until it is finished, and if it failed."""


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """The response to the first request with an idempotency key."""

    operation: str
    """What was requested. The responses of other operations have other fields."""
    message: Message
    status: int
    body: bytes
    valid_until: int | None
    """None for ever."""
