"""What the API returns, as pydantic models.

The vendor ships a release every few days, so a model never fails on what it does not know: unknown fields are kept
(`model_extra`), an enum is a plain `str` whose known values stand in the docstring, and a part of an unknown type is
an `OtherPart`. Only what identifies an object is required. Times are aware UTC datetimes.

What answers a send is read more leniently still, since the message has been accepted: the ids are needed, and any other
field whose value does not fit is None, or empty. Its `created_at` is then the server's time in that response.

Source for names and types: linq-python 0.65.0, `types/`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any, Final, TypeAlias, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from linq_client.times import to_utc

__all__ = [
    "APIModel",
    "Accepted",
    "Attachment",
    "Capability",
    "Chat",
    "ChatHandle",
    "ContactCard",
    "CreatedChat",
    "Health",
    "Informative",
    "LinkPart",
    "Location",
    "MediaPart",
    "Message",
    "MessageEffect",
    "MessageReply",
    "OtherPart",
    "Part",
    "PhoneNumber",
    "Reaction",
    "RoutedSendResult",
    "SendResult",
    "SentMessage",
    "TextPart",
    "UTCDatetime",
    "UploadSlot",
    "VoiceMemo",
    "WebhookSubscription",
]


_T = TypeVar("_T")

UTCDatetime: TypeAlias = Annotated[datetime, AfterValidator(to_utc)]


def _or(default: Callable[[], Any]) -> WrapValidator:
    """Let a default stand for a value that does not fit."""

    def read(value: Any, fits: ValidatorFunctionWrapHandler) -> Any:
        try:
            return fits(value)
        except ValidationError:
            return default()

    return WrapValidator(read)


def _or_server_time(value: Any, fits: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
    """Let the server's time, where it is known, stand for one that can't be read: that is when a send was accepted."""
    try:
        return fits(value)
    except ValidationError:
        if isinstance(info.context, datetime):
            return info.context
        raise


#: A value that only informs: one that does not fit is None.
Informative: TypeAlias = Annotated[_T | None, _or(lambda: None)]
_InformativeList: TypeAlias = Annotated[list[_T], _or(list)]
_AcceptedAt: TypeAlias = Annotated[UTCDatetime, WrapValidator(_or_server_time)]


class APIModel(BaseModel):
    """Base of all models: unknown fields are kept, none can be changed."""

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


class ChatHandle(APIModel):
    """A participant of a chat: `service` is iMessage, RCS or SMS; `status` is active, left or removed."""

    id: str
    handle: str
    joined_at: UTCDatetime | None = None
    left_at: UTCDatetime | None = None
    service: str | None = None
    is_me: bool | None = None
    status: str | None = None
    line_type: str | None = None


class Health(APIModel):
    """Advisory health of a chat or reputation of a line: HEALTHY, AT_RISK, CRITICAL or (chats) OPTED_OUT."""

    status: str | None = None
    doc_url: str | None = None
    updated_at: UTCDatetime | None = None


class Chat(APIModel):
    """A conversation between one own line and one or more handles."""

    id: str
    created_at: UTCDatetime
    updated_at: UTCDatetime
    display_name: str | None = None
    handles: list[ChatHandle] = Field(default_factory=list)
    health_status: Health | None = None
    is_group: bool = False
    service: str | None = None
    group_chat_icon: str | None = None


class Reaction(APIModel):
    """A reaction on a part: `type` is love, like, dislike, laugh, emphasize, question, custom or sticker."""

    type: str | None = None
    is_me: bool | None = None
    handle: ChatHandle | None = None
    id: str | None = None
    custom_emoji: str | None = None
    sticker: dict[str, Any] | None = None


class TextPart(APIModel):
    """A text part of a message."""

    type: str
    value: str
    reactions: list[Reaction] | None = None
    text_decorations: list[dict[str, Any]] | None = None
    mentions: list[dict[str, Any]] | None = None


class MediaPart(APIModel):
    """A file in a message; `url` is signed and stops working within minutes to an hour."""

    type: str
    id: str
    url: str | None = None
    filename: str | None = None
    mime_type: str | None = None
    size_bytes: int | None = None
    reactions: list[Reaction] | None = None


class LinkPart(APIModel):
    """A link with a preview."""

    type: str
    value: str
    reactions: list[Reaction] | None = None


class OtherPart(APIModel):
    """A part of a type, or in a form, that this version does not know; its fields are in `model_extra`."""

    type: str | None = None
    reactions: list[Reaction] | None = None


#: What makes a part one of its type.
_DEFINING: Final[Mapping[object, str]] = {"text": "value", "media": "id", "link": "value"}


def _part_tag(part: object) -> str:
    fields = part if isinstance(part, Mapping) else vars(part) if isinstance(part, APIModel) else {}
    kind = fields.get("type")
    return kind if isinstance(kind, str) and fields.get(_DEFINING.get(kind, "")) is not None else "other"


Part: TypeAlias = Annotated[
    Annotated[TextPart, Tag("text")]
    | Annotated[MediaPart, Tag("media")]
    | Annotated[LinkPart, Tag("link")]
    | Annotated[OtherPart, Tag("other")],
    Discriminator(_part_tag),
]


class MessageEffect(APIModel):
    """Entrance effect of a message."""

    type: str | None = None
    name: str | None = None


class MessageReply(APIModel):
    """The message, and the part of it, that a message replies to."""

    message_id: str | None = None
    part_index: int | None = None


class SentMessage(APIModel):
    """A message as the sending calls return it; `sent_at` is None while it is queued."""

    id: str
    created_at: _AcceptedAt = Field(default=None, validate_default=True)
    delivery_status: Informative[str] = None
    parts: _InformativeList[Part] = Field(default_factory=list)
    sent_at: Informative[UTCDatetime] = None
    delivered_at: Informative[UTCDatetime] = None
    service: Informative[str] = None
    preferred_service: Informative[str] = None
    from_handle: Informative[ChatHandle] = None
    effect: Informative[MessageEffect] = None
    reply_to: Informative[MessageReply] = None


class Message(SentMessage):
    """A message as the reading calls return it.

    `delivery_status` is pending, queued, sent, delivered, read, failed, or (inbound) received. `reconciled_at` is set
    on a message that the platform recovered late: its `sent_at` may be much older. What a message is recognized by has
    to fit: one whose `parts` were taken for none would be sent again.
    `is_written` is False of an item whose `parts` are null in the response, and empty here: nobody wrote it, since it
    stands for a change of the group, or it was deleted.
    """

    created_at: UTCDatetime
    delivery_status: str
    parts: list[Part] = Field(default_factory=list)
    chat_id: str
    updated_at: UTCDatetime
    is_from_me: bool
    read_at: Informative[UTCDatetime] = None
    reconciled_at: Informative[UTCDatetime] = None
    is_written: bool = True

    @model_validator(mode="before")
    @classmethod
    def _note_null_parts(cls, value: Any) -> Any:
        is_null = isinstance(value, dict) and "parts" in value and value["parts"] is None
        return {**value, "is_written": False} if is_null else value


class SendResult(APIModel):
    """What a send came to: `idempotency_key` is the key that it carried, to ask again with."""

    chat_id: str
    message: SentMessage
    idempotency_key: str
    trace_id: str | None = None


class RoutedSendResult(SendResult):
    """What a send without a line came to; `from_selection` says why the platform took the line `from_line`."""

    from_line: Informative[str] = Field(default=None, alias="from")
    created_new_chat: Informative[bool] = None
    from_selection: Informative[dict[str, Any]] = None
    handles: _InformativeList[ChatHandle] = Field(default_factory=list)
    is_group: Annotated[bool, _or(bool)] = False
    service: Informative[str] = None
    previous_chat_id: Informative[str] = None


class CreatedChat(APIModel):
    """The chat that a first message created or found, and that message."""

    id: str
    message: SentMessage
    idempotency_key: str
    display_name: Informative[str] = None
    handles: _InformativeList[ChatHandle] = Field(default_factory=list)
    health_status: Informative[Health] = None
    is_group: Annotated[bool, _or(bool)] = False
    service: Informative[str] = None
    trace_id: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _flatten(cls, value: Any) -> Any:
        """Take `message` from inside `chat` (vendor's SDK) or from beside it (seen on the live API)."""
        if isinstance(value, dict) and isinstance(chat := value.get("chat"), dict):
            beside = {key: field for key, field in value.items() if key != "chat"}
            return {**chat, **beside, "message": chat.get("message") or value.get("message")}
        return value


class VoiceMemo(APIModel):
    """A voice memo that was accepted for sending; `voice_memo` describes its file."""

    id: str
    status: Informative[str] = None
    created_at: _AcceptedAt = Field(default=None, validate_default=True)
    voice_memo: Annotated[dict[str, Any], _or(dict)] = Field(default_factory=dict)
    chat: Annotated[dict[str, Any], _or(dict)] = Field(default_factory=dict)
    from_line: Informative[str] = Field(default=None, alias="from")
    to: _InformativeList[str] = Field(default_factory=list)
    service: Informative[str] = None


class Accepted(APIModel):
    """An action that the platform carries out later; a webhook reports the outcome."""

    status: Informative[str] = None
    message: Informative[str] = None
    chat_id: Informative[str] = None
    success: Informative[bool] = None
    trace_id: Informative[str] = None


class PhoneNumber(APIModel):
    """An own line."""

    id: str
    phone_number: str
    reputation: Informative[Health] = None
    forwarding_number: Informative[str] = None
    line_type: Informative[str] = None


class Capability(APIModel):
    """Whether an address can be reached by a service."""

    address: str
    available: bool
    reason: str | None = None
    selected_service: str | None = None


class UploadSlot(APIModel):
    """Where to put the bytes of a new attachment: `http_method` to `upload_url` before `expires_at` (15 minutes)."""

    attachment_id: str
    upload_url: str
    download_url: str | None = None
    http_method: str = "PUT"
    expires_at: UTCDatetime | None = None
    required_headers: dict[str, str] = Field(default_factory=dict)


class Attachment(APIModel):
    """A stored file; `download_url` is signed and short-lived."""

    id: str
    filename: str
    content_type: str | None = None
    size_bytes: int | None = None
    created_at: UTCDatetime | None = None
    status: str | None = None
    download_url: str | None = None


class Location(APIModel):
    """Where a sharing participant is, in degrees (WGS 84); the API's GeoJSON puts longitude first."""

    handle: str
    longitude: float
    latitude: float
    altitude: float | None = None
    address: str | None = None
    locality: str | None = None
    updated_at: UTCDatetime | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_feature(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("type") == "Feature":
            geometry = value.get("geometry") or {}
            place = zip(("longitude", "latitude", "altitude"), geometry.get("coordinates") or (), strict=False)
            return {**(value.get("properties") or {}), **dict(place)}
        return value


class ContactCard(APIModel):
    """Name and image that an own line shows to others."""

    phone_number: str
    first_name: str
    last_name: str | None = None
    image_url: str | None = None
    is_active: bool | None = None


class WebhookSubscription(APIModel):
    """Where the platform sends which events; `signing_secret` is only in the response to its creation."""

    id: str
    target_url: str
    subscribed_events: list[str]
    is_active: bool
    created_at: UTCDatetime
    updated_at: UTCDatetime
    phone_numbers: list[str] | None = None
    routing_key_header: str | None = None
    routing_id_header: str | None = None
    signing_secret: str | None = Field(default=None, repr=False)
