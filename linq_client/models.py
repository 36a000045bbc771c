"""What the API answers, as pydantic models.

The vendor ships a release every few days, so a model never fails on what it does not know: unknown fields are kept
(`model_extra`), an enum is a plain `str` whose known values stand in the docstring, and a part of an unknown type is
an `OtherPart`. Only what identifies an object is required. Times are aware UTC datetimes.

Source for names and types: linq-python 0.65.0, `types/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Annotated, Any, Final, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=timezone.utc) if moment.tzinfo is None else moment.astimezone(timezone.utc)


Moment: TypeAlias = Annotated[datetime, AfterValidator(_utc)]


class Answer(BaseModel):
    """Base of all answers: unknown fields are kept, none can be changed."""

    model_config = ConfigDict(extra="allow", frozen=True, populate_by_name=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, value: Any) -> Any:
        """Let a null stand for the default where that is something else, an empty list for example."""
        if not isinstance(value, dict):
            return value
        nulls = {
            name
            for name, field in cls.model_fields.items()
            if name in value
            and value[name] is None
            and field.get_default(call_default_factory=True) is not None
            and not field.is_required()
        }
        return {name: item for name, item in value.items() if name not in nulls} if nulls else value


class ChatHandle(Answer):
    """A participant of a chat: `service` is iMessage, RCS or SMS; `status` is active, left or removed."""

    id: str
    handle: str
    joined_at: Moment | None = None
    left_at: Moment | None = None
    service: str | None = None
    is_me: bool | None = None
    status: str | None = None
    line_type: str | None = None


class Health(Answer):
    """Advisory health of a chat or reputation of a line: HEALTHY, AT_RISK, CRITICAL or (chats) OPTED_OUT."""

    status: str | None = None
    doc_url: str | None = None
    updated_at: Moment | None = None


class Chat(Answer):
    """A conversation between one own line and one or more handles."""

    id: str
    created_at: Moment
    updated_at: Moment
    display_name: str | None = None
    handles: list[ChatHandle] = Field(default_factory=list)
    health_status: Health | None = None
    is_group: bool = False
    service: str | None = None
    group_chat_icon: str | None = None


class Reaction(Answer):
    """A reaction on a part: `type` is love, like, dislike, laugh, emphasize, question, custom or sticker."""

    type: str | None = None
    is_me: bool | None = None
    handle: ChatHandle | None = None
    id: str | None = None
    custom_emoji: str | None = None
    sticker: dict[str, Any] | None = None


class TextPart(Answer):
    """A text part of a message."""

    type: str
    value: str
    reactions: list[Reaction] | None = None
    text_decorations: list[dict[str, Any]] | None = None
    mentions: list[dict[str, Any]] | None = None


class MediaPart(Answer):
    """A file in a message; `url` is signed and stops working within minutes to an hour."""

    type: str
    id: str
    url: str | None = None
    filename: str | None = None
    mime_type: str | None = None
    size_bytes: int | None = None
    reactions: list[Reaction] | None = None


class LinkPart(Answer):
    """A link with a preview."""

    type: str
    value: str
    reactions: list[Reaction] | None = None


class OtherPart(Answer):
    """A part of a type, or in a form, that this version does not know; its fields are in `model_extra`."""

    type: str | None = None
    reactions: list[Reaction] | None = None


#: What makes a part one of its type.
_DEFINING: Final[Mapping[object, str]] = {"text": "value", "media": "id", "link": "value"}


def _part_tag(part: object) -> str:
    fields = part if isinstance(part, Mapping) else vars(part) if isinstance(part, Answer) else {}
    kind = fields.get("type")
    return kind if isinstance(kind, str) and fields.get(_DEFINING.get(kind, "")) is not None else "other"


Part: TypeAlias = Annotated[
    Annotated[TextPart, Tag("text")]
    | Annotated[MediaPart, Tag("media")]
    | Annotated[LinkPart, Tag("link")]
    | Annotated[OtherPart, Tag("other")],
    Discriminator(_part_tag),
]


class MessageEffect(Answer):
    """Entrance effect of a message."""

    type: str | None = None
    name: str | None = None


class MessageReply(Answer):
    """The message, and the part of it, that a message answers."""

    message_id: str | None = None
    part_index: int | None = None


class SentMessage(Answer):
    """A message as the sending calls answer it; `sent_at` is None while it is queued."""

    id: str
    created_at: Moment
    delivery_status: str
    parts: list[Part] = Field(default_factory=list)
    sent_at: Moment | None = None
    delivered_at: Moment | None = None
    service: str | None = None
    preferred_service: str | None = None
    from_handle: ChatHandle | None = None
    effect: MessageEffect | None = None
    reply_to: MessageReply | None = None


class Message(SentMessage):
    """A message as the reading calls answer it.

    `delivery_status` is pending, queued, sent, delivered, read, failed, or (inbound) received. `reconciled_at` is set
    on a message that the platform recovered late: its `sent_at` may be much older.
    """

    chat_id: str
    updated_at: Moment
    is_from_me: bool
    read_at: Moment | None = None
    reconciled_at: Moment | None = None


class SendResult(Answer):
    """What a send came to: `idempotency_key` is the key that it carried, to ask again with."""

    chat_id: str
    message: SentMessage
    idempotency_key: str
    trace_id: str | None = None


class RoutedSendResult(SendResult):
    """What a send without a line came to; `from_selection` says why the platform took the line `from_line`."""

    from_line: str = Field(alias="from")
    created_new_chat: bool
    from_selection: dict[str, Any] | None = None
    handles: list[ChatHandle] = Field(default_factory=list)
    is_group: bool = False
    service: str | None = None
    previous_chat_id: str | None = None


class CreatedChat(Answer):
    """The chat that a first message created or found, and that message."""

    id: str
    message: SentMessage
    idempotency_key: str
    display_name: str | None = None
    handles: list[ChatHandle] = Field(default_factory=list)
    health_status: Health | None = None
    is_group: bool = False
    service: str | None = None
    trace_id: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _flatten(cls, value: Any) -> Any:
        """Take `message` from inside `chat` (vendor's SDK) or from beside it (seen on the live API)."""
        if isinstance(value, dict) and isinstance(chat := value.get("chat"), dict):
            beside = {key: field for key, field in value.items() if key != "chat"}
            return {**chat, **beside, "message": chat.get("message") or value.get("message")}
        return value


class VoiceMemo(Answer):
    """A voice memo that was accepted for sending; `voice_memo` describes its file."""

    id: str
    status: str
    created_at: Moment
    voice_memo: dict[str, Any]
    chat: dict[str, Any]
    from_line: str | None = Field(default=None, alias="from")
    to: list[str] = Field(default_factory=list)
    service: str | None = None


class Accepted(Answer):
    """An action that the platform carries out later; a webhook tells the outcome."""

    status: str | None = None
    message: str | None = None
    chat_id: str | None = None
    success: bool | None = None
    trace_id: str | None = None


class PhoneNumber(Answer):
    """An own line."""

    id: str
    phone_number: str
    reputation: Health | None = None
    forwarding_number: str | None = None
    line_type: str | None = None


class Capability(Answer):
    """Whether an address can be reached by a service."""

    address: str
    available: bool
    reason: str | None = None
    selected_service: str | None = None


class UploadSlot(Answer):
    """Where to put the bytes of a new attachment: `http_method` to `upload_url` before `expires_at` (15 minutes)."""

    attachment_id: str
    upload_url: str
    download_url: str | None = None
    http_method: str = "PUT"
    expires_at: Moment | None = None
    required_headers: dict[str, str] = Field(default_factory=dict)


class Attachment(Answer):
    """A stored file; `download_url` is signed and short-lived."""

    id: str
    filename: str
    content_type: str | None = None
    size_bytes: int | None = None
    created_at: Moment | None = None
    status: str | None = None
    download_url: str | None = None


class Location(Answer):
    """Where a sharing participant is, in degrees (WGS 84); the API's GeoJSON puts longitude first."""

    handle: str
    longitude: float
    latitude: float
    altitude: float | None = None
    address: str | None = None
    locality: str | None = None
    updated_at: Moment | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_feature(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("type") == "Feature":
            geometry = value.get("geometry") or {}
            place = zip(("longitude", "latitude", "altitude"), geometry.get("coordinates") or (), strict=False)
            return {**(value.get("properties") or {}), **dict(place)}
        return value


class ContactCard(Answer):
    """Name and image that an own line shows to others."""

    phone_number: str
    first_name: str
    last_name: str | None = None
    image_url: str | None = None
    is_active: bool | None = None


class WebhookSubscription(Answer):
    """Where the platform sends which events; `signing_secret` is only in the answer to its creation."""

    id: str
    target_url: str
    subscribed_events: list[str]
    is_active: bool
    created_at: Moment
    updated_at: Moment
    phone_numbers: list[str] | None = None
    routing_key_header: str | None = None
    routing_id_header: str | None = None
    signing_secret: str | None = Field(default=None, repr=False)
