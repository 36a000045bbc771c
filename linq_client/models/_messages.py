"""Messages: their parts, reactions to them, and what answers a send."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, TypeAlias

from pydantic import (
    Discriminator,
    Field,
    Tag,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from linq_client.models._base import AcceptedAt, APIModel, Informative, InformativeList, UTCDatetime, or_default
from linq_client.models._chats import ChatHandle, Health
from linq_client.times import parse_datetime_or_none


class Reaction(APIModel):
    """A reaction on a part: `type` is love, like, dislike, laugh, emphasize, question, custom or sticker.

    `id` is what `client.messages.move_sticker` takes; `sticker` describes its image.
    """

    type: str | None = None
    is_me: bool | None = None
    handle: ChatHandle | None = None
    id: str | None = None
    custom_emoji: str | None = None
    sticker: dict[str, Any] | None = None


class InlineSticker(APIModel):
    """An image in the line of a text; it stands for the characters of `range`, in UTF-16 code units, end exclusive."""

    range: InformativeList[int] = Field(default_factory=list)
    id: Informative[str] = None
    url: Informative[str] = None
    file_name: Informative[str] = None
    mime_type: Informative[str] = None


class TextPart(APIModel):
    """A text part of a message."""

    type: str
    value: str
    reactions: list[Reaction] | None = None
    text_decorations: list[dict[str, Any]] | None = None
    mentions: list[dict[str, Any]] | None = None
    inline_stickers: Informative[list[InlineSticker]] = None


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


class CardApp(APIModel):
    """The iMessage app behind a card."""

    name: Informative[str] = None
    team_id: Informative[str] = None
    bundle_id: Informative[str] = None
    app_store_id: Informative[int] = None


class CardLayout(APIModel):
    """What a card shows; `image_url` is the platform's copy of the image."""

    caption: Informative[str] = None
    subcaption: Informative[str] = None
    trailing_caption: Informative[str] = None
    trailing_subcaption: Informative[str] = None
    image_url: Informative[str] = None
    image_title: Informative[str] = None
    image_subtitle: Informative[str] = None


class AppCardPart(APIModel):
    """A card of an iMessage app; `url` is what the app opens."""

    type: str
    app: Informative[CardApp] = None
    layout: Informative[CardLayout] = None
    url: Informative[str] = None
    fallback_text: Informative[str] = None
    reactions: Informative[list[Reaction]] = None


class AppClipPart(APIModel):
    """A card of an App Clip; `value` is its link, the rest what the platform found there."""

    type: str
    value: str
    title: Informative[str] = None
    description: Informative[str] = None
    image_url: Informative[str] = None
    reactions: Informative[list[Reaction]] = None


class OtherPart(APIModel):
    """A part of a type, or in a form, that this version does not know; its fields are in `model_extra`."""

    type: str | None = None
    reactions: list[Reaction] | None = None


#: What makes a part one of its type.
_DEFINING: Final[Mapping[object, str]] = {
    "text": "value",
    "media": "id",
    "link": "value",
    "imessage_app": "type",
    "app_clip": "value",
}


def _part_tag(part: object) -> str:
    fields = part if isinstance(part, Mapping) else vars(part) if isinstance(part, APIModel) else {}
    kind = fields.get("type")
    return kind if isinstance(kind, str) and fields.get(_DEFINING.get(kind, "")) is not None else "other"


Part: TypeAlias = Annotated[
    Annotated[TextPart, Tag("text")]
    | Annotated[MediaPart, Tag("media")]
    | Annotated[LinkPart, Tag("link")]
    | Annotated[AppCardPart, Tag("imessage_app")]
    | Annotated[AppClipPart, Tag("app_clip")]
    | Annotated[OtherPart, Tag("other")],
    Discriminator(_part_tag),
]


def _known_by_handle(value: Any, fits: ValidatorFunctionWrapHandler) -> Any:
    """Keep the handle of a participant whose other fields do not fit; None of what has no handle."""
    try:
        return fits(value)
    except ValidationError:
        handle = value.get("handle") if isinstance(value, Mapping) else value
        return ChatHandle(id="", handle=handle) if isinstance(handle, str) and handle else None


def _known_by_content(value: Any, fits: ValidatorFunctionWrapHandler) -> Any:
    """Keep what a part says, where what is around it does not fit; of what says nothing, its type."""
    try:
        return fits(value)
    except ValidationError:
        if not isinstance(value, Mapping):
            return OtherPart()
        kind = value.get("type")
        defining = _DEFINING.get(kind, "type") if isinstance(kind, str) else "type"
        try:
            return fits({"type": kind, defining: value.get(defining)})
        except ValidationError:
            return OtherPart(type=kind if isinstance(kind, str) else None)


#: What messages that came in have, for those who must not miss one for an odd field.
HandleAlone: TypeAlias = Annotated[ChatHandle | None, WrapValidator(_known_by_handle)]
PartAlone: TypeAlias = Annotated[Part, WrapValidator(_known_by_content)]


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
    created_at: AcceptedAt = Field(default=None, validate_default=True)
    delivery_status: Informative[str] = None
    parts: InformativeList[Part] = Field(default_factory=list)
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


class ReceivedMessage(Message):
    """A message for those who wait for any: nothing has to fit but its id, its chat, and when and by whom it was made.

    It is no proof of what was sent: a part that can't be read is an `OtherPart`.
    """

    delivery_status: Annotated[str, or_default(lambda: "received")] = "received"
    parts: InformativeList[PartAlone] = Field(default_factory=list)
    from_handle: HandleAlone = None

    @model_validator(mode="before")
    @classmethod
    def _updated_when_it_was_made(cls, value: Any) -> Any:
        if not isinstance(value, dict) or parse_datetime_or_none(value.get("updated_at")) is not None:
            return value
        return {**value, "updated_at": value.get("created_at")}


class CardUpdate(APIModel):
    """What the update of a card came to: a message of its own, whose id the next update has to name."""

    chat_id: str
    message: SentMessage


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
    handles: InformativeList[ChatHandle] = Field(default_factory=list)
    is_group: Annotated[bool, or_default(bool)] = False
    service: Informative[str] = None
    previous_chat_id: Informative[str] = None


class CreatedChat(APIModel):
    """The chat that a first message created or found, and that message."""

    id: str
    message: SentMessage
    idempotency_key: str
    display_name: Informative[str] = None
    handles: InformativeList[ChatHandle] = Field(default_factory=list)
    health_status: Informative[Health] = None
    is_group: Annotated[bool, or_default(bool)] = False
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
    created_at: AcceptedAt = Field(default=None, validate_default=True)
    voice_memo: Annotated[dict[str, Any], or_default(dict)] = Field(default_factory=dict)
    chat: Annotated[dict[str, Any], or_default(dict)] = Field(default_factory=dict)
    from_line: Informative[str] = Field(default=None, alias="from")
    to: InformativeList[str] = Field(default_factory=list)
    service: Informative[str] = None
