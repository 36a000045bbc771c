"""The bodies of responses.

Shapes: linq-python 0.65.0 ``types/``. A field that may be missing there is null here, unless its type says otherwise.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import UNSET, Struct, UnsetType, field

from linq_emulator.domain.models import ChatHealth
from linq_emulator.schemas.common import (
    AlwaysFalse,
    AlwaysTrue,
    Handle,
    Identifier,
    Phone,
    Range,
    ReactionType,
    Reputation,
    SenderHandle,
    Service,
    Time,
)

__all__ = [
    "Accepted",
    "Attachment",
    "AttachmentSlot",
    "AvailableNumber",
    "BlockedHandle",
    "BlockedHandleList",
    "Capability",
    "Chat",
    "ChatList",
    "ChatUpdate",
    "ContactCard",
    "ContactCardList",
    "CreatedChat",
    "CreatedSubscription",
    "Error",
    "EventTypeList",
    "Experience",
    "ExperienceList",
    "ForwardedNumber",
    "LineList",
    "LineListDeprecated",
    "LocationResponse",
    "LocationResult",
    "Message",
    "MessageList",
    "Poll",
    "ReputationAudit",
    "ReputationAuditStarted",
    "RoutedMessage",
    "SentToChat",
    "StickerMoved",
    "Subscription",
    "SubscriptionList",
    "VoiceMemoSent",
]

DeliveryStatus: TypeAlias = Literal["pending", "queued", "sent", "delivered", "received", "read", "failed"]
AuditStatus: TypeAlias = Literal["pending", "complete", "error"]


class ErrorDetail(Struct, kw_only=True):
    """What was wrong."""

    status: int
    code: int
    message: str
    doc_url: str
    retry_after: int | UnsetType = UNSET


class Error(Struct, kw_only=True):
    """The body of every refusal. `retry_after`, in seconds, comes with 429 only."""

    success: AlwaysFalse
    error: ErrorDetail
    trace_id: str


class Accepted(Struct, kw_only=True):
    """What is asked for happens later."""

    status: Literal["accepted"]
    message: str
    trace_id: str


# --- chats ---


class ChatHandle(Struct, kw_only=True):
    """A participant of a chat, who may have left it."""

    id: Identifier
    handle: SenderHandle
    joined_at: Time
    left_at: Time | None
    service: Service
    is_me: bool
    status: Literal["active", "left", "removed"]
    line_type: Literal["iMessage", "RCS"] | None


class HealthStatus(Struct, kw_only=True):
    """How well a chat does."""

    status: ChatHealth
    doc_url: str
    updated_at: Time


class Chat(Struct, kw_only=True):
    """A conversation of a line."""

    id: Identifier
    display_name: str
    service: Service
    handles: list[ChatHandle]
    is_group: bool
    is_archived: bool
    group_chat_icon: str | None
    health_status: HealthStatus
    created_at: Time
    updated_at: Time


class ChatList(Struct, kw_only=True):
    """A page of chats."""

    chats: list[Chat]
    next_cursor: str | None


class ChatUpdate(Struct, kw_only=True):
    """A change of a group that happens later."""

    chat_id: Identifier
    status: Literal["pending"]


# --- messages ---


class Sticker(Struct, kw_only=True):
    """The image of a sticker."""

    url: str
    file_name: str
    mime_type: str
    height: int | None
    width: int | None


class Reaction(Struct, kw_only=True):
    """A tapback or a sticker."""

    id: Identifier
    is_me: bool
    handle: ChatHandle
    type: ReactionType
    custom_emoji: str | None
    sticker: Sticker | None


class TextDecoration(Struct, kw_only=True):
    """How a range of a text looks: a style or an animation."""

    range: Range
    style: str | None
    animation: str | None


class Mention(Struct, kw_only=True):
    """Who is mentioned in a range of a text."""

    handle: Handle
    is_me: bool
    range: Range


class InlineSticker(Struct, kw_only=True):
    """An image in the place of a range of a text."""

    id: Identifier
    range: Range
    file_name: str
    mime_type: str
    url: str


class TextPart(Struct, kw_only=True, tag_field="type", tag="text"):
    """A text."""

    value: str
    reactions: list[Reaction] | None
    text_decorations: list[TextDecoration] | UnsetType = UNSET
    inline_stickers: list[InlineSticker] | UnsetType = UNSET
    mentions: list[Mention] | UnsetType = UNSET
    mention: Handle | UnsetType = UNSET
    mention_range: Range | UnsetType | None = UNSET


class MediaPart(Struct, kw_only=True, tag_field="type", tag="media"):
    """A file."""

    id: Identifier
    url: str
    filename: str
    mime_type: str
    size_bytes: int
    reactions: list[Reaction] | None


class LinkPart(Struct, kw_only=True, tag_field="type", tag="link"):
    """A link with a preview."""

    value: str
    reactions: list[Reaction] | None


class App(Struct, kw_only=True):
    """The app that draws a card."""

    bundle_id: str
    name: str
    team_id: str
    app_store_id: int | None


class AppLayout(Struct, kw_only=True):
    """What a card shows without its app."""

    caption: str | None = None
    subcaption: str | None = None
    trailing_caption: str | None = None
    trailing_subcaption: str | None = None
    image_url: str | None = None
    image_title: str | None = None
    image_subtitle: str | None = None


class AppPart(Struct, kw_only=True, tag_field="type", tag="imessage_app"):
    """An app card."""

    app: App
    layout: AppLayout
    url: str
    fallback_text: str | None
    reactions: list[Reaction] | None


class AppClipPart(Struct, kw_only=True, tag_field="type", tag="app_clip"):
    """An App Clip."""

    value: str
    title: str | None
    description: str | None
    image_url: str | None
    reactions: list[Reaction] | None


Part: TypeAlias = TextPart | MediaPart | LinkPart | AppPart | AppClipPart


class Effect(Struct, kw_only=True):
    """How a message appears on iMessage."""

    type: Literal["screen", "bubble"]
    name: str


class ReplyTo(Struct, kw_only=True):
    """What a message replies to."""

    message_id: Identifier
    part_index: int


class SentMessage(Struct, kw_only=True):
    """A message that was just accepted."""

    id: Identifier
    created_at: Time
    sent_at: Time | None
    delivered_at: Time | None
    delivery_status: DeliveryStatus
    is_read: bool
    service: Service
    preferred_service: Service | None
    parts: list[Part] | None
    effect: Effect | None
    reply_to: ReplyTo | None
    from_handle: ChatHandle


class Message(SentMessage, kw_only=True):
    """A message. Its `parts` are null if it is deleted, a poll, or stands for a change of a group."""

    chat_id: Identifier
    updated_at: Time
    read_at: Time | None
    is_from_me: bool
    is_delivered: bool
    sender: SenderHandle = field(name="from")
    reconciled_at: Time | UnsetType = UNSET


class MessageList(Struct, kw_only=True):
    """A page of messages."""

    messages: list[Message]
    next_cursor: str | None


class ChatOfMessage(Struct, kw_only=True):
    """The chat of a send, with the message unless a switch puts it beside."""

    id: Identifier
    display_name: str
    service: Service
    is_group: bool
    handles: list[ChatHandle]
    health_status: HealthStatus
    message: SentMessage | UnsetType = UNSET


class CreatedChat(Struct, kw_only=True):
    """A chat, new or reused, and the message that was sent into it."""

    chat: ChatOfMessage
    message: SentMessage | UnsetType = UNSET


class SentToChat(Struct, kw_only=True):
    """A message and its chat."""

    chat_id: Identifier
    message: SentMessage


class LineSelection(Struct, kw_only=True):
    """Why a line was chosen."""

    reason: Literal["reused_active_chat", "new_best_number", "failover_flagged"]
    reused_existing_chat: bool


class RoutedMessage(Struct, kw_only=True):
    """A message for which the platform has chosen line and chat."""

    chat_id: Identifier
    created_new_chat: bool
    sender: Phone = field(name="from")
    from_selection: LineSelection
    handles: list[ChatHandle]
    is_group: bool
    service: Service
    message: SentMessage
    previous_chat_id: Identifier | UnsetType = UNSET


class VoiceMemoFile(Struct, kw_only=True):
    """The file of a voice memo."""

    id: Identifier
    url: str
    filename: str
    mime_type: str
    size_bytes: int
    duration_ms: int | None


class VoiceMemoChat(Struct, kw_only=True):
    """The chat of a voice memo."""

    id: Identifier
    handles: list[ChatHandle]
    is_group: bool
    service: Service
    is_active: bool


class VoiceMemo(Struct, kw_only=True):
    """A voice memo that was just accepted."""

    id: Identifier
    sender: Phone = field(name="from")
    to: list[SenderHandle]
    status: DeliveryStatus
    service: Service
    created_at: Time
    voice_memo: VoiceMemoFile
    chat: VoiceMemoChat


class VoiceMemoSent(Struct, kw_only=True):
    """A voice memo in its envelope."""

    voice_memo: VoiceMemo


class StickerMoved(Struct, kw_only=True):
    """A sticker is moved later."""

    success: bool
    status: str
    trace_id: str


# --- polls ---


class Voter(Struct, kw_only=True):
    """A vote."""

    handle: SenderHandle
    voted_at: Time


class PollOption(Struct, kw_only=True):
    """An answer that a poll offers, with its votes."""

    option_id: Identifier
    text: str
    can_be_edited: bool
    creator_handle: ChatHandle
    voters: list[Voter]


class PollContent(Struct, kw_only=True):
    """Options and votes; who votes for two options counts once in `total_voters`."""

    options: list[PollOption]
    total_voters: int


class Poll(Struct, kw_only=True):
    """A poll and the message that it is."""

    chat_id: Identifier
    message_id: Identifier
    created_at: Time
    updated_at: Time
    poll: PollContent
    reactions: list[Reaction]


# --- files ---


class AttachmentSlot(Struct, kw_only=True):
    """Where and how a file is to be uploaded."""

    attachment_id: Identifier
    upload_url: str
    download_url: str
    http_method: Literal["PUT"]
    expires_at: Time
    required_headers: dict[str, str]


class Attachment(Struct, kw_only=True):
    """A file. It has no `download_url` before it is uploaded."""

    id: Identifier
    filename: str
    content_type: str
    size_bytes: int
    status: Literal["pending", "complete", "failed"]
    created_at: Time
    download_url: str | UnsetType = UNSET


# --- lines ---


class LineReputation(Struct, kw_only=True):
    """The standing of a line."""

    status: Reputation
    doc_url: str


class Line(Struct, kw_only=True):
    """One of your own numbers."""

    id: Identifier
    phone_number: Phone
    reputation: LineReputation
    forwarding_number: Phone | None
    line_type: Literal["iMessage", "RCS"]


class LineList(Struct, kw_only=True):
    """Your numbers; with `next_cursor` if a switch gives the list pages."""

    phone_numbers: list[Line]
    next_cursor: str | UnsetType | None = UNSET


class LineCapabilities(Struct, kw_only=True):
    """What a number can do."""

    sms: bool
    mms: bool
    voice: bool


class LineDeprecated(Struct, kw_only=True):
    """One of your own numbers, as the older endpoint shows it."""

    id: Identifier
    phone_number: Phone
    type: None
    country_code: None
    capabilities: LineCapabilities


class LineListDeprecated(Struct, kw_only=True):
    """Your numbers, as the older endpoint shows them."""

    phone_numbers: list[LineDeprecated]


class ForwardedNumber(Struct, kw_only=True):
    """Where the calls of a line are forwarded to."""

    id: Identifier
    phone_number: Phone
    forwarding_number: Phone | None


class AvailableNumber(Struct, kw_only=True):
    """A line to send from, and its contact card."""

    phone_number: Phone
    vcf_url: str


class Capability(Struct, kw_only=True):
    """Whether a service reaches an address."""

    address: Handle
    available: bool
    reason: Literal["not_supported"] | UnsetType = UNSET
    selected_service: Service | UnsetType = UNSET


class ContactCard(Struct, kw_only=True):
    """The name and the photo that a line shares."""

    phone_number: Phone
    first_name: str
    last_name: str | None
    image_url: str | None
    is_active: bool


class ContactCardList(Struct, kw_only=True):
    """The contact cards of your lines."""

    contact_cards: list[ContactCard]


class BlockedHandleEntry(Struct, kw_only=True):
    """A handle on the blocklist."""

    handle: SenderHandle
    blocked_at: Time
    reason: str | None


class BlockedHandle(Struct, kw_only=True):
    """An entry in its envelope."""

    blocked_handle: BlockedHandleEntry


class BlockedHandleList(Struct, kw_only=True):
    """The blocklist, newest first."""

    blocked_handles: list[BlockedHandleEntry]


# --- reputation ---


class ReputationDriver(Struct, kw_only=True):
    """What drags a line down."""

    key: str
    metric: str
    summary: str


class ReputationActionItem(Struct, kw_only=True):
    """What to do about it; 1 comes first."""

    priority: int
    title: str
    detail: str
    expected_impact: Literal["high", "medium", "low"]


class UnhealthyChat(Struct, kw_only=True):
    """A conversation that does not go well, and why."""

    chat_id: Identifier
    status: Literal["AT_RISK", "CRITICAL", "OPTED_OUT"]
    driver_keys: list[str]


class OptOutChat(Struct, kw_only=True):
    """A conversation in which messages were sent after a stop."""

    chat_id: Identifier
    messages_after_stop: int


class ReputationEvidence(Struct, kw_only=True):
    """The conversations behind a report, the worst ones first."""

    unhealthy_chats: list[UnhealthyChat]
    opt_out_chats: list[OptOutChat]


class ReputationReport(Struct, kw_only=True):
    """What an audit has found. `primary_driver` is empty if there is nothing to act on."""

    severity: Reputation
    primary_driver: str
    drivers: list[ReputationDriver]
    action_items: list[ReputationActionItem]
    evidence: ReputationEvidence
    summary_markdown: str


class ReputationAuditStarted(Struct, kw_only=True):
    """An audit that runs."""

    audit_id: Identifier
    status: AuditStatus


class ReputationAudit(Struct, kw_only=True):
    """An audit, with its report once that is complete."""

    audit_id: Identifier
    status: AuditStatus
    phone: Phone
    generated_at: Time | UnsetType = UNSET
    error: str | UnsetType = UNSET
    report: ReputationReport | UnsetType = UNSET


# --- experiences ---


class ExperienceField(Struct, kw_only=True):
    """A field of an action; `max` is the longest string."""

    type: Literal["string", "cents", "int", "url"]
    required: bool
    max: int | UnsetType = UNSET


class ExperienceAction(Struct, kw_only=True):
    """What can be invoked on an experience."""

    name: str
    summary: str
    fields: dict[str, ExperienceField]


class Experience(Struct, kw_only=True):
    """A third party that shows itself within Linq's app."""

    experience: str
    display_name: str
    actions: list[ExperienceAction]


class ExperienceList(Struct, kw_only=True):
    """The experiences of your account."""

    experiences: list[Experience]


# --- location ---


class Point(Struct, kw_only=True):
    """Longitude, latitude and, if known, altitude in metres."""

    type: Literal["Point"]
    coordinates: list[float]


class LocationProperties(Struct, kw_only=True):
    """Who is at a place."""

    handle: SenderHandle
    address: str | None
    locality: str | None
    updated_at: Time


class LocationFeature(Struct, kw_only=True):
    """The place of a participant who shares it."""

    type: Literal["Feature"]
    geometry: Point
    properties: LocationProperties


class LocationCollection(Struct, kw_only=True):
    """The places of all participants who share theirs, as GeoJSON."""

    type: Literal["FeatureCollection"]
    features: list[LocationFeature]


class LocationResponse(Struct, kw_only=True):
    """Places in their envelope."""

    success: AlwaysTrue
    data: LocationCollection


class LocationResult(Struct, kw_only=True):
    """A prompt or a stop is on its way."""

    success: AlwaysTrue
    message: str


# --- webhooks ---


class EventTypeList(Struct, kw_only=True):
    """The types of events that can be subscribed to."""

    events: list[str]
    doc_url: str


class Subscription(Struct, kw_only=True):
    """Where events are sent."""

    id: Identifier
    target_url: str
    subscribed_events: list[str]
    phone_numbers: list[Phone] | None
    routing_key_header: str | None
    routing_id_header: str | None
    is_active: bool
    created_at: Time
    updated_at: Time


class CreatedSubscription(Subscription, kw_only=True):
    """A new subscription with its secret, which no other response has."""

    signing_secret: str


class SubscriptionList(Struct, kw_only=True):
    """Your subscriptions; with `next_cursor` if a switch gives the list pages."""

    subscriptions: list[Subscription]
    next_cursor: str | UnsetType | None = UNSET
