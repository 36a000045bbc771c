"""A message before it is sent: its parts and effects, and the rules that they must keep.

Everything is checked here before any request, see `_checks`; a refusal never shows text of a message. A plain string
stands for a text-only message. Cards are in `_cards`.

Source: API reference, "Message content rules"; linq-python 0.65.0 `types/message_content_param.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BeforeValidator, Field, model_validator
from typing_extensions import Self

from linq_client._checks import MAX_TEXT
from linq_client._outgoing._cards import AppCard, AppClip, Experience
from linq_client._outgoing._strict import Handle, HttpsURL, IdempotencyKey, LinkURL, StrictModel
from linq_client.errors import InvalidRequestError

Service: TypeAlias = Literal["iMessage", "RCS", "SMS"]
ReactionType: TypeAlias = Literal["love", "like", "dislike", "laugh", "emphasize", "question", "custom", "sticker"]

MAX_PARTS: Final = 100
MAX_MEDIA_BY_URL: Final = 40
MAX_STICKERS: Final = 100
MAX_STICKER_IMAGES: Final = 10

_URL: Final = re.compile(r"https?://|\bwww\.", re.IGNORECASE)
_WHOLE_URL: Final = re.compile(rf"(?:{_URL.pattern})\S*", re.IGNORECASE)
_EFFECTS: Final[Mapping[str, Sequence[str]]] = {
    "screen": (
        *("confetti", "fireworks", "lasers", "sparkles", "celebration", "hearts", "love"),
        *("balloons", "happy_birthday", "echo", "spotlight"),
    ),
    "bubble": ("slam", "loud", "gentle", "invisible"),
}


class Decoration(StrictModel):
    """A style or an animation on a range of a text (iMessage only).

    Args:
        range: `(start, end)`, end exclusive, in UTF-16 code units: most characters count 1, many emoji count 2.
        style: excludes `animation`.
        animation: excludes `style`.
    """

    range: tuple[Annotated[int, Field(ge=0)], int]
    style: Literal["bold", "italic", "strikethrough", "underline"] | None = None
    animation: Literal["big", "small", "shake", "nod", "explode", "ripple", "bloom", "jitter"] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.range[0] >= self.range[1]:
            raise ValueError(f"range: must end after it starts, got {list(self.range)}")
        if (self.style is None) == (self.animation is None):
            raise ValueError(f"style: give it or animation, not both, got {self.style!r} and {self.animation!r}")
        return self


class InlineSticker(StrictModel):
    """An image in the line of a text (iMessage only; elsewhere the text is sent as it is).

    Args:
        range: `(start, end)` of the characters that it stands for, end exclusive, in UTF-16 code units.
        url: `download_url` of an attachment; excludes `attachment_id`.
        attachment_id: excludes `url`; see `LinqClient.attachments.upload`.
    """

    range: tuple[Annotated[int, Field(ge=0)], int]
    url: HttpsURL | None = None
    attachment_id: Annotated[str, Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.range[0] >= self.range[1]:
            raise ValueError(f"range: must end after it starts, got {list(self.range)}")
        _check_one_source(self.url, self.attachment_id)
        return self


def _check_one_source(url: str | None, attachment_id: str | None) -> None:
    if (url is None) == (attachment_id is None):
        raise ValueError(f"url: give it or attachment_id, not both, got {url!r} and {attachment_id!r}")


class Text(StrictModel):
    """Text, sent as it is (no Markdown).

    Args:
        value: 1 to 10,000 characters.
        text_decorations: styles and animations on ranges of `value`.
        inline_stickers: up to 100, of 10 images at most, on ranges of `value` that overlap nothing; not with `mention`.
        mention: handle of a group member to mention.
        mention_range: the part of `value` that shows as the mention, in UTF-16 code units; all of it if absent.
    """

    type: Literal["text"] = "text"
    value: Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]
    text_decorations: tuple[Decoration, ...] | None = None
    inline_stickers: tuple[InlineSticker, ...] | None = None
    mention: Handle | None = None
    mention_range: tuple[int, int] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        units = len(self.value.encode("utf-16-le", "surrogatepass")) // 2
        ranges = [("text_decorations", decoration.range) for decoration in self.text_decorations or ()]
        if self.mention_range is not None:
            if self.mention is None:
                raise ValueError(f"mention_range: needs a mention, got {list(self.mention_range)} without one")
            ranges.append(("mention_range", self.mention_range))
        styled = [(*decoration.range, decoration.animation) for decoration in self.text_decorations or ()]
        for (start, end, animation), (start2, end2, animation2) in combinations(styled, 2):
            if (animation or animation2) and start < end2 and start2 < end:
                raise ValueError(f"text_decorations: an animation must not overlap, got {[start, end], [start2, end2]}")
        ranges += [("inline_stickers", sticker.range) for sticker in self.inline_stickers or ()]
        for field, (start, end) in ranges:
            if not 0 <= start < end <= units:
                raise ValueError(f"{field}: must lie within the {units} UTF-16 units of value, got {[start, end]}")
        self._check_stickers()
        return self

    def _check_stickers(self) -> None:
        stickers = self.inline_stickers or ()
        if not stickers:
            return
        if self.mention is not None:
            raise ValueError(f"inline_stickers: not together with a mention, got {len(stickers)}")
        images = len({(sticker.url, sticker.attachment_id) for sticker in stickers})
        if len(stickers) > MAX_STICKERS or images > MAX_STICKER_IMAGES:
            rule = f"must be {MAX_STICKERS} of {MAX_STICKER_IMAGES} images at most"
            raise ValueError(f"inline_stickers: {rule}, got {len(stickers)} of {images}")
        encoded = self.value.encode("utf-16-le", "surrogatepass")
        decorated = [decoration.range for decoration in self.text_decorations or ()]
        covered = [sticker.range for sticker in stickers]
        for index, (start, end) in enumerate(covered):
            for start2, end2 in (*covered[:index], *decorated):
                if start < end2 and start2 < end:
                    raise ValueError(f"inline_stickers: must overlap nothing, got {[start, end], [start2, end2]}")
            if any(_is_within_pair(encoded, place) for place in (start, end)):
                raise ValueError(f"inline_stickers: must not split a character, got {[start, end]}")


def _is_within_pair(encoded: bytes, place: int) -> bool:
    """Whether a place in UTF-16 (little-endian) lies between the two halves of a surrogate pair."""
    return 0xDC <= encoded[2 * place + 1 : 2 * place + 2].ljust(1)[0] <= 0xDF


class Media(StrictModel):
    """A file: by public https URL (10 MB at most) or as an attachment uploaded before (100 MB at most).

    Args:
        url: excludes `attachment_id`.
        attachment_id: excludes `url`; see `LinqClient.attachments.upload`.
        sticker: send the image as a sticker (iMessage only).
    """

    type: Literal["media"] = "media"
    url: HttpsURL | None = None
    attachment_id: Annotated[str, Field(min_length=1)] | None = None
    sticker: bool | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_one_source(self.url, self.attachment_id)
        return self


class Link(StrictModel):
    """A link with a rich preview; it must be the only part of its message.

    Args:
        value: http or https URL, at most 2,048 characters.
    """

    type: Literal["link"] = "link"
    value: Annotated[LinkURL, Field(max_length=2_048)]


class MessageEffect(StrictModel):
    """How the message makes its entrance (iMessage only, ignored elsewhere).

    Args:
        type: `screen` or `bubble`.
        name: an effect of that type, for example `confetti` (screen) or `slam` (bubble).
    """

    type: Literal["screen", "bubble"]
    name: str

    @model_validator(mode="after")
    def _check(self) -> Self:
        known = _EFFECTS[self.type]
        if self.name not in known:
            raise ValueError(f"name: must be one of {', '.join(known)} for a {self.type}, got {self.name!r}")
        return self


class ReplyTo(StrictModel):
    """The message that this one replies to, as a thread.

    Args:
        message_id: UUID of that message.
        part_index: which of its parts, from 0.
    """

    message_id: Annotated[str, Field(min_length=1)]
    part_index: Annotated[int, Field(ge=0)] | None = None


class Placement(StrictModel):
    """Where a sticker is on a message; what is None is as usual, or (of a sticker that is moved) as it was.

    Args:
        x: from -1 (left) to 1 (right); 0 is the middle.
        y: from -1 (top) to 1 (bottom); 0 is the middle.
        scale: 1 is the usual size of an image, 0.5 that of an emoji; the API keeps it within 0.05 and 2.5.
        rotation: clockwise, in degrees.
    """

    x: Annotated[float, Field(ge=-1, le=1)] | None = None
    y: Annotated[float, Field(ge=-1, le=1)] | None = None
    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    rotation: Annotated[float, Field(allow_inf_nan=False)] | None = None

    def to_wire(self) -> dict[str, Any]:
        """The JSON object that the API takes."""
        return self.model_dump(mode="json", exclude_none=True)


def _text_from_string(value: object) -> object:
    return {"type": "text", "value": value} if isinstance(value, str) else value


Part: TypeAlias = Annotated[
    Annotated[Text | Media | Link | AppCard | AppClip, Field(discriminator="type")], BeforeValidator(_text_from_string)
]

#: Parts that are a whole message.
_ALONE: Final[Mapping[str, str]] = {"link": "a link", "imessage_app": "an app card", "app_clip": "an App Clip"}
#: What names no service but iMessage: the API would refuse it, and never sends it by another one.
_IMESSAGE_ONLY: Final = frozenset({"imessage_app", "app_clip"})


class Message(StrictModel):
    """A message to send.

    Args:
        parts: 1 to 100 in order; no two texts in a row; a link or a card stands alone. See `message_from` for shorter
            forms.
        experience: in the place of parts.
        effect: entrance effect.
        reply_to: the message replied to.
        preferred_service: `iMessage` (no fallback), `RCS` or `SMS` (never iMessage); absent: the best there is.
        idempotency_key: at most 255 ASCII characters. The API sends one message for a key, however often it is asked.
    """

    parts: tuple[Part, ...] = ()
    experience: Experience | None = None
    effect: MessageEffect | None = None
    reply_to: ReplyTo | None = None
    preferred_service: Service | None = None
    idempotency_key: IdempotencyKey | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        kinds = [part.type for part in self.parts]
        if self.experience is not None and kinds:
            raise ValueError(f"experience: give it or parts, not both, got it and {len(kinds)}")
        if self.experience is None and not 1 <= len(kinds) <= MAX_PARTS:
            raise ValueError(f"parts: must be 1 to {MAX_PARTS}, got {len(kinds)}")
        for kind, name in _ALONE.items():
            if kind in kinds and len(kinds) > 1:
                raise ValueError(f"parts: {name} must be the only part, got {kinds}")
        if self.preferred_service not in (None, "iMessage") and (
            self.experience is not None or not _IMESSAGE_ONLY.isdisjoint(kinds)
        ):
            raise ValueError(f"preferred_service: a card goes by iMessage alone, got {self.preferred_service!r}")
        for index, pair in enumerate(pairwise(kinds)):
            if pair == ("text", "text"):
                raise ValueError(f"parts: two texts must not follow each other, got them at {index} and {index + 1}")
        by_url = sum(isinstance(part, Media) and part.url is not None for part in self.parts)
        if by_url > MAX_MEDIA_BY_URL:
            raise ValueError(f"parts: at most {MAX_MEDIA_BY_URL} media by url, got {by_url}")
        return self

    def check_first_in_chat(self) -> None:
        """Refuse what the API refuses in the first message of a new chat.

        Raises:
            InvalidRequestError: there is a link, a URL in a text, a reply or an effect.
        """
        if self.reply_to is not None:
            raise InvalidRequestError(f"message.reply_to: not in the first message of a chat, got {self.reply_to!r}")
        if self.effect is not None:
            raise InvalidRequestError(f"message.effect: not in the first message of a chat, got {self.effect!r}")
        for index, part in enumerate(self.parts):
            if isinstance(part, Link):
                raise InvalidRequestError(
                    f"message.parts[{index}]: no link in the first message of a chat, "
                    f"got one of {len(part.value):,} characters"
                )
            if isinstance(part, Text) and (found := _URL.search(part.value)):
                raise InvalidRequestError(
                    f"message.parts[{index}].value: no URL in the first message of a chat, "
                    f"got {found.group()!r} at character {found.start()}"
                )

    def as_first_in_chat(self, mark: str) -> Message:
        """Return the message without what the API refuses in the first message of a new chat.

        Args:
            mark: stands in the place of each URL in a text, and of a link.
        """
        parts: list[Text | Media | Link | AppCard | AppClip] = []
        for part in self.parts:
            if isinstance(part, Link):
                parts.append(Text(value=mark))
            elif isinstance(part, Text) and _URL.search(part.value):
                # Decorations and mentions of it are ranges of the text as it was.
                parts.append(Text(value=_WHOLE_URL.sub(lambda _: mark, part.value)[:MAX_TEXT]))
            else:
                parts.append(part)
        return self.model_copy(update={"parts": tuple(parts), "reply_to": None, "effect": None})

    def to_wire(self) -> dict[str, Any]:
        """The JSON object that the API takes."""
        return self.model_dump(mode="json", exclude_none=True, exclude=None if self.parts else {"parts"})


#: What every sending method takes: text, parts, the JSON form of a message, or a `Message`.
MessageLike: TypeAlias = str | Sequence[Any] | Mapping[str, Any] | Message


def message_from(value: MessageLike) -> Message:
    """Build and check a message.

    Args:
        value: a string (one text part), a sequence of parts (a string stands for a `Text`), the JSON form
            `{"parts": [...], ...}`, or a `Message`.

    Raises:
        InvalidRequestError: a rule is broken; the error names field, rule and value.
    """
    if isinstance(value, Message):
        return value
    if isinstance(value, str):
        return Message(parts=(value,))
    if isinstance(value, Mapping):
        return Message(**{str(key): field for key, field in value.items()})
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return Message(parts=tuple(value))
    raise InvalidRequestError(f"message: must be text, parts or a message, got {type(value).__name__}")
