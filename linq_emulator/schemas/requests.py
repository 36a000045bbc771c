"""The bodies and queries of requests.

Shapes: linq-python 0.65.0 ``types/*_params.py``. What a type says of one field, the checks of the operation hold; they
also hold what a type cannot say, such as rules between fields. Unknown fields are passed over, as on the platform.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType, field

from linq_emulator.domain import validate
from linq_emulator.domain.app_cards import DATA_URL_LENGTH
from linq_emulator.domain.content import MAX_LINK, MAX_PARTS, MAX_TEXT
from linq_emulator.domain.media import MAX_UPLOAD
from linq_emulator.domain.polls import MIN_OPTIONS
from linq_emulator.schemas.common import Handle, HttpsURL, Identifier, Phone, Range, ReactionType, SenderHandle, Service

__all__ = [
    "AddPollOptions",
    "AttachmentUpload",
    "AvailableNumberQuery",
    "BlockHandle",
    "CapabilityCheck",
    "CardQuery",
    "CardUpdateQuery",
    "ChatsQuery",
    "CreateChat",
    "CreateContactCard",
    "CreatePoll",
    "CreateSubscription",
    "EditMessage",
    "Forwarding",
    "HandleBody",
    "IdempotencyHeader",
    "MoveSticker",
    "PageQuery",
    "PollVote",
    "React",
    "SendMessage",
    "SendVoiceMemo",
    "SendWithoutLine",
    "SetBackground",
    "ShortListQuery",
    "ThreadQuery",
    "UnblockHandle",
    "UpdateAppCard",
    "UpdateChat",
    "UpdateContactCard",
    "UpdateSubscription",
]

Text = Annotated[str, Meta(min_length=1, max_length=MAX_TEXT)]
Key = Annotated[str, Meta(min_length=1, max_length=validate.MAX_KEY_LENGTH)]
Limit = Annotated[int, Meta(ge=1, le=100)]
Cursor = Annotated[str, Meta(description="`next_cursor` of the page before")]
OptionalText: TypeAlias = str | UnsetType | None
OptionalFlag: TypeAlias = bool | UnsetType | None


# --- queries and headers ---


class ShortListQuery(Struct, kw_only=True):
    """The cursor of a list that has pages only if a switch says so."""

    cursor: Cursor | UnsetType = UNSET


class PageQuery(Struct, kw_only=True):
    """A page of a list."""

    limit: Limit | UnsetType = UNSET
    cursor: Cursor | UnsetType = UNSET


class ChatsQuery(PageQuery, kw_only=True):
    """A page of the chats of a line, or of a participant."""

    sender: Phone | UnsetType = field(default=UNSET, name="from")
    to: SenderHandle | UnsetType = UNSET


class ThreadQuery(PageQuery, kw_only=True):
    """A page of a thread."""

    order: Literal["asc", "desc"] | UnsetType = UNSET


class AvailableNumberQuery(Struct, kw_only=True):
    """What a line to send from must be. Lists may be repeated parameters, or joined with commas."""

    to: list[Handle] | UnsetType = UNSET
    exclude_from: list[Phone] | UnsetType = UNSET
    type: Literal["iMessage", "RCS"] | UnsetType = UNSET


class CardQuery(Struct, kw_only=True):
    """Whose contact card is asked for."""

    phone_number: Phone | UnsetType = UNSET


class CardUpdateQuery(Struct, kw_only=True):
    """Whose contact card is changed."""

    phone_number: Phone


class IdempotencyHeader(Struct, kw_only=True):
    """The key of a send without a line."""

    key: Key | UnsetType = field(default=UNSET, name="Idempotency-Key")


# --- content of messages ---


class Decoration(Struct, kw_only=True):
    """How a range of a text looks: either a style or an animation."""

    range: Range
    style: Literal["bold", "italic", "strikethrough", "underline"] | UnsetType | None = UNSET
    animation: Literal["big", "small", "shake", "nod", "explode", "ripple", "bloom", "jitter"] | UnsetType | None = (
        UNSET
    )


class InlineStickerImage(Struct, kw_only=True):
    """A stored image in the place of a range of a text: either its url or its attachment_id."""

    range: Range
    url: OptionalText = UNSET
    attachment_id: Identifier | UnsetType | None = UNSET


class NewTextPart(Struct, kw_only=True, tag_field="type", tag="text"):
    """A text, sent as it is written."""

    value: Text
    text_decorations: list[Decoration] | UnsetType | None = UNSET
    inline_stickers: Annotated[list[InlineStickerImage], Meta(max_length=100)] | UnsetType | None = UNSET
    mention: Handle | UnsetType | None = UNSET
    mention_range: Range | UnsetType | None = UNSET


class NewMediaPart(Struct, kw_only=True, tag_field="type", tag="media"):
    """A file: either its url or its attachment_id."""

    url: HttpsURL | UnsetType | None = UNSET
    attachment_id: Identifier | UnsetType | None = UNSET
    sticker: bool | UnsetType | None = UNSET


class NewLinkPart(Struct, kw_only=True, tag_field="type", tag="link"):
    """A link with a preview. It must be the only part."""

    value: Annotated[str, Meta(pattern=r"^[hH][tT][tT][pP][sS]?://\S+$", max_length=MAX_LINK)]


class NewApp(Struct, kw_only=True):
    """The app that draws a card."""

    bundle_id: Annotated[str, Meta(pattern="^[^:]+$")]
    name: str
    team_id: Annotated[str, Meta(pattern="^[A-Z0-9]{10}$")]
    app_store_id: int | UnsetType | None = UNSET


class NewAppLayout(Struct, kw_only=True):
    """What a card shows: a caption or an image at least. Image texts need an image."""

    caption: OptionalText = UNSET
    subcaption: OptionalText = UNSET
    trailing_caption: OptionalText = UNSET
    trailing_subcaption: OptionalText = UNSET
    image_url: OptionalText = UNSET
    image_title: OptionalText = UNSET
    image_subtitle: OptionalText = UNSET


CardURL = Annotated[str, Meta(max_length=DATA_URL_LENGTH, description="https, or data with the state of the app")]


class NewAppPart(Struct, kw_only=True, tag_field="type", tag="imessage_app"):
    """An app card. It must be the only part, and goes by iMessage only."""

    app: NewApp
    layout: NewAppLayout
    url: CardURL | UnsetType | None = UNSET
    fallback_text: OptionalText = UNSET
    interactive: OptionalFlag = UNSET


class NewAppClipPart(Struct, kw_only=True, tag_field="type", tag="app_clip"):
    """An App Clip. It must be the only part, and goes by iMessage only."""

    value: HttpsURL
    caption: OptionalText = UNSET


NewPart: TypeAlias = NewTextPart | NewMediaPart | NewLinkPart | NewAppPart | NewAppClipPart


class Invocation(Struct, kw_only=True):
    """An action of an experience, which GET /v3/experiences describes."""

    name: str
    action: str
    params: dict[str, Any] | UnsetType | None = UNSET


class NewEffect(Struct, kw_only=True):
    """How a message appears on iMessage."""

    type: Literal["screen", "bubble"]
    name: str


class NewReplyTo(Struct, kw_only=True):
    """The message that is replied to."""

    message_id: Identifier
    part_index: int | UnsetType | None = UNSET


class MessageContent(Struct, kw_only=True):
    """What is sent: either parts or an experience."""

    parts: Annotated[list[NewPart], Meta(min_length=1, max_length=MAX_PARTS)] | UnsetType = UNSET
    experience: Invocation | UnsetType | None = UNSET
    effect: NewEffect | UnsetType | None = UNSET
    idempotency_key: Key | UnsetType | None = UNSET
    preferred_service: Service | UnsetType | None = UNSET
    reply_to: NewReplyTo | UnsetType | None = UNSET


Recipients = Annotated[list[Handle], Meta(min_length=1, max_length=validate.MAX_RECIPIENTS)]


# --- sends ---


class CreateChat(Struct, kw_only=True):
    """A message from a line to handles."""

    sender: Phone = field(name="from")
    to: Recipients
    message: MessageContent
    override_optout: OptionalFlag = UNSET


class SendMessage(Struct, kw_only=True):
    """A message into a chat."""

    message: MessageContent
    override_optout: OptionalFlag = UNSET


class Continuation(Struct, kw_only=True):
    """The text that is sent instead when the conversation moves to another line."""

    text: Text


class SendWithoutLine(Struct, kw_only=True):
    """A message for which the platform chooses the line."""

    to: Recipients
    message: MessageContent
    continuation_message: Continuation | UnsetType | None = UNSET
    exclude_from: list[Phone] | UnsetType | None = UNSET
    override_optout: OptionalFlag = UNSET


class SendVoiceMemo(Struct, kw_only=True):
    """A voice memo: either its url or its attachment_id."""

    voice_memo_url: HttpsURL | UnsetType | None = UNSET
    attachment_id: Identifier | UnsetType | None = UNSET
    override_optout: OptionalFlag = UNSET


# --- messages, reactions, polls ---


class EditMessage(Struct, kw_only=True):
    """A new text of a part."""

    text: Text
    part_index: int | UnsetType | None = UNSET


class NewPlacement(Struct, kw_only=True):
    """Where a sticker lies. A scale beyond 0.05 to 2.5 is taken as the nearer of these."""

    x: Annotated[float, Meta(ge=-1, le=1)] | UnsetType | None = UNSET
    y: Annotated[float, Meta(ge=-1, le=1)] | UnsetType | None = UNSET
    scale: float | UnsetType | None = UNSET
    rotation: float | UnsetType | None = UNSET


class React(Struct, kw_only=True):
    """A tapback that is added or removed, or a sticker that is added: by one of emoji, url and attachment_id."""

    operation: Literal["add", "remove"]
    type: ReactionType
    custom_emoji: OptionalText = UNSET
    part_index: int | UnsetType | None = UNSET
    emoji: Annotated[str, Meta(min_length=1, max_length=32)] | UnsetType | None = UNSET
    url: OptionalText = UNSET
    attachment_id: Identifier | UnsetType | None = UNSET
    placement: NewPlacement | UnsetType | None = UNSET


class MoveSticker(Struct, kw_only=True):
    """What changes of where a sticker lies."""

    placement: NewPlacement


class UpdateAppCard(Struct, kw_only=True):
    """The card in the place of another one of the same app: with a url or an experience."""

    layout: NewAppLayout
    app: NewApp | UnsetType | None = UNSET
    experience: Invocation | UnsetType | None = UNSET
    url: CardURL | UnsetType | None = UNSET
    fallback_text: OptionalText = UNSET
    interactive: OptionalFlag = UNSET


class NewPollOption(Struct, kw_only=True):
    """An answer that a poll offers."""

    text: Text


class NewPoll(Struct, kw_only=True):
    """A poll."""

    options: Annotated[list[NewPollOption], Meta(min_length=MIN_OPTIONS)]
    idempotency_key: Key | UnsetType | None = UNSET


class CreatePoll(Struct, kw_only=True):
    """A poll into a chat."""

    poll: NewPoll


class AddPollOptions(Struct, kw_only=True):
    """New options; on a line without retention all existing ones before them."""

    options: Annotated[list[NewPollOption], Meta(min_length=1)]


class PollVote(Struct, kw_only=True):
    """A vote of the line, for or no longer for an option."""

    operation: Literal["add", "remove"]
    option_id: str


# --- chats ---


class UpdateChat(Struct, kw_only=True):
    """A new name or icon of a group."""

    display_name: Annotated[str, Meta(min_length=1)] | UnsetType | None = UNSET
    group_chat_icon: HttpsURL | UnsetType | None = UNSET


class HandleBody(Struct, kw_only=True):
    """A participant."""

    handle: Handle


class SetBackground(Struct, kw_only=True):
    """A background: a named color or two shades, a style and its variant, or an image."""

    type: Literal["color", "dynamic", "photo"]
    variant: OptionalText = UNSET
    shades: list[str] | UnsetType | None = UNSET
    style: OptionalText = UNSET
    image_url: OptionalText = UNSET


# --- files, lines, webhooks ---


class AttachmentUpload(Struct, kw_only=True):
    """A file that is to be uploaded."""

    filename: Annotated[str, Meta(min_length=1, max_length=255)]
    content_type: str
    size_bytes: Annotated[int, Meta(ge=1, le=MAX_UPLOAD)]


class Forwarding(Struct, kw_only=True):
    """Where the calls of a line go; an empty number, or null, ends it."""

    forwarding_number: Annotated[str, Meta(pattern=r"^(\+[1-9][0-9]{1,14})?$")] | None


class CapabilityCheck(Struct, kw_only=True):
    """Whom to reach, and from which line."""

    address: Handle
    sender: Phone | UnsetType | None = field(default=UNSET, name="from")


class CreateContactCard(Struct, kw_only=True):
    """The card of a line."""

    phone_number: Phone
    first_name: Annotated[str, Meta(min_length=1)]
    last_name: OptionalText = UNSET
    image_url: Annotated[str, Meta(pattern="^(https://.*)?$", max_length=2048)] | UnsetType | None = UNSET


class UpdateContactCard(Struct, kw_only=True):
    """What changes of a card."""

    first_name: Annotated[str, Meta(min_length=1)] | UnsetType | None = UNSET
    last_name: OptionalText = UNSET
    image_url: Annotated[str, Meta(pattern="^(https://.*)?$", max_length=2048)] | UnsetType | None = UNSET


class BlockHandle(Struct, kw_only=True):
    """Whom to block, and why."""

    handle: SenderHandle
    reason: OptionalText = UNSET


class UnblockHandle(Struct, kw_only=True):
    """Whom to block no longer."""

    handle: SenderHandle


HeaderName = Annotated[str, Meta(max_length=100, description="Name of an HTTP header; an empty one is none")]


class CreateSubscription(Struct, kw_only=True):
    """Where which events are to be sent."""

    target_url: str
    subscribed_events: Annotated[list[str], Meta(min_length=1)]
    phone_numbers: list[Phone] | UnsetType | None = UNSET
    routing_key_header: HeaderName | UnsetType | None = UNSET
    routing_id_header: HeaderName | UnsetType | None = UNSET


class UpdateSubscription(Struct, kw_only=True):
    """What changes of a subscription; null or an empty list of phone_numbers stands for all lines."""

    target_url: OptionalText = UNSET
    subscribed_events: Annotated[list[str], Meta(min_length=1)] | UnsetType | None = UNSET
    is_active: OptionalFlag = UNSET
    phone_numbers: list[Phone] | UnsetType | None = UNSET
    routing_key_header: HeaderName | UnsetType | None = UNSET
    routing_id_header: HeaderName | UnsetType | None = UNSET
