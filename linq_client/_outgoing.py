"""A message before it is sent: its parts and effects, its handles, and the rules that they must keep.

Everything is checked here before any request, and every refusal is an `InvalidRequestError` that names the field,
the rule and the value (for message text: its length, never the text). A plain string stands for a text-only message.

Source: API reference, "Message content rules"; linq-python 0.65.0 `types/message_content_param.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations, pairwise
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails
from typing_extensions import Self

from linq_client.errors import InvalidRequestError

Service: TypeAlias = Literal["iMessage", "RCS", "SMS"]
#: Stickers can be received, but not sent from here: they need an image and a place.
ReactionType: TypeAlias = Literal["love", "like", "dislike", "laugh", "emphasize", "question", "custom"]

#: Characters that a text part may have.
MAX_TEXT: Final = 10_000
MAX_PARTS: Final = 100
MAX_MEDIA_BY_URL: Final = 40
MAX_RECIPIENTS: Final = 31
MAX_IDEMPOTENCY_KEY: Final = 255

_E164: Final = re.compile(r"\+[1-9][0-9]{1,14}")
_EMAIL: Final = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
#: Carriers allow 11 letters, digits, spaces and a few signs, with at least one letter; what is digits alone is a code.
_SENDER_ID: Final = re.compile(r"[0-9]{3,8}|(?=.*[A-Za-z])[A-Za-z0-9][A-Za-z0-9 _.&+-]{0,14}")
_URL: Final = re.compile(r"https?://|\bwww\.", re.IGNORECASE)
_WHOLE_URL: Final = re.compile(rf"(?:{_URL.pattern})\S*", re.IGNORECASE)
_PART_TYPES: Final = ("text", "media", "link")
#: Fields whose values a refusal may show: what is wrong in them is a word, not a text.
_SHOWN: Final = ("style", "animation", "preferred_service")
_HANDLE_RULE: Final = "must be an E.164 number (no spaces, dashes, parentheses) or an e-mail address"
_EFFECTS: Final[Mapping[str, Sequence[str]]] = {
    "screen": (
        *("confetti", "fireworks", "lasers", "sparkles", "celebration", "hearts", "love"),
        *("balloons", "happy_birthday", "echo", "spotlight"),
    ),
    "bubble": ("slam", "loud", "gentle", "invisible"),
}


def _is_handle(value: object) -> bool:
    return isinstance(value, str) and bool(_E164.fullmatch(value) or _EMAIL.fullmatch(value))


def _shown_handle(value: object) -> str:
    """A refused handle as it is, if it looks like a mistyped one; what may be a text in the wrong place, by length."""
    if isinstance(value, str) and not re.fullmatch(r"[+\d\s().-]{0,40}|\S{1,64}@\S{0,64}|\S{0,8}", value):
        return f"{len(value):,} characters"
    return repr(value)[:80]


def _handle(value: str) -> str:
    if not _is_handle(value):
        raise ValueError(f"{_HANDLE_RULE}, got {_shown_handle(value)}")
    return value


def _https(url: str) -> str:
    if not re.fullmatch(r"https://[^\s/]\S*", url, re.IGNORECASE):
        # Of what is no URL only the beginning is shown: it may be text in the wrong place.
        raise ValueError(f"must be an https URL without spaces, got {url[:8]!r} and {len(url[8:])} more characters")
    return url


def _link(url: str) -> str:
    if not re.fullmatch(r"https?://[^\s/]\S*", url, re.IGNORECASE):
        raise ValueError(f"must be an http or https URL without spaces, got {len(url):,} characters")
    return url


def _key(key: str) -> str:
    # Some calls carry it in a header, which takes nothing but printable ASCII.
    if not re.fullmatch(r"[!-~]([ -~]*[!-~])?", key) or len(key) > MAX_IDEMPOTENCY_KEY:
        rule = f"must be 1 to {MAX_IDEMPOTENCY_KEY} printable ASCII characters without space at the ends"
        raise ValueError(f"{rule}, got {key[:40]!r} of {len(key)}")
    return key


Handle: TypeAlias = Annotated[str, AfterValidator(_handle)]


class _Outgoing(BaseModel):
    """Base of what callers build: immutable, no unknown fields, and one kind of error however it is built."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    def __init__(self, **data: Any) -> None:
        try:
            super().__init__(**data)
        except ValidationError as error:
            raise _refusal(error) from None


class Decoration(_Outgoing):
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


class Text(_Outgoing):
    """Text, sent as it is (no Markdown).

    Args:
        value: 1 to 10,000 characters.
        text_decorations: styles and animations on ranges of `value`.
        mention: handle of a group member to mention.
        mention_range: the part of `value` that shows as the mention, in UTF-16 code units; all of it if absent.
    """

    type: Literal["text"] = "text"
    value: Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]
    text_decorations: tuple[Decoration, ...] | None = None
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
        for field, (start, end) in ranges:
            if not 0 <= start < end <= units:
                raise ValueError(f"{field}: must lie within the {units} UTF-16 units of value, got {[start, end]}")
        return self


class Media(_Outgoing):
    """A file: by public https URL (10 MB at most) or as an attachment uploaded before (100 MB at most).

    Args:
        url: excludes `attachment_id`.
        attachment_id: excludes `url`; see `LinqClient.attachments.upload`.
        sticker: send the image as a sticker (iMessage only).
    """

    type: Literal["media"] = "media"
    url: Annotated[str, AfterValidator(_https)] | None = None
    attachment_id: Annotated[str, Field(min_length=1)] | None = None
    sticker: bool | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.url is None) == (self.attachment_id is None):
            raise ValueError(f"url: give it or attachment_id, not both, got {self.url!r} and {self.attachment_id!r}")
        return self


class Link(_Outgoing):
    """A link with a rich preview; it must be the only part of its message.

    Args:
        value: http or https URL, at most 2,048 characters.
    """

    type: Literal["link"] = "link"
    value: Annotated[str, Field(max_length=2_048), AfterValidator(_link)]


class MessageEffect(_Outgoing):
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


class ReplyTo(_Outgoing):
    """The message that this one replies to, as a thread.

    Args:
        message_id: UUID of that message.
        part_index: which of its parts, from 0.
    """

    message_id: Annotated[str, Field(min_length=1)]
    part_index: Annotated[int, Field(ge=0)] | None = None


def _text_from_string(value: object) -> object:
    return {"type": "text", "value": value} if isinstance(value, str) else value


Part: TypeAlias = Annotated[
    Annotated[Text | Media | Link, Field(discriminator="type")], BeforeValidator(_text_from_string)
]


class Message(_Outgoing):
    """A message to send.

    Args:
        parts: 1 to 100 in order; no two texts in a row; a link stands alone. See `message_from` for shorter forms.
        effect: entrance effect.
        reply_to: the message replied to.
        preferred_service: `iMessage` (no fallback), `RCS` or `SMS` (never iMessage); absent: the best there is.
        idempotency_key: at most 255 ASCII characters. The API sends one message for a key, however often it is asked.
    """

    parts: tuple[Part, ...]
    effect: MessageEffect | None = None
    reply_to: ReplyTo | None = None
    preferred_service: Service | None = None
    idempotency_key: Annotated[str, AfterValidator(_key)] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        kinds = [part.type for part in self.parts]
        if not 1 <= len(kinds) <= MAX_PARTS:
            raise ValueError(f"parts: must be 1 to {MAX_PARTS}, got {len(kinds)}")
        if "link" in kinds and len(kinds) > 1:
            raise ValueError(f"parts: a link must be the only part, got {kinds}")
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
        parts: list[Text | Media | Link] = []
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
        return self.model_dump(mode="json", exclude_none=True)


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


def check_line(value: str, field: str = "from") -> str:
    """Return an own phone number unchanged if it is in E.164 form, else raise `InvalidRequestError`."""
    if not isinstance(value, str) or not _E164.fullmatch(value):
        raise InvalidRequestError(
            f"{field}: must be E.164, + and 2 to 15 digits without spaces, got {_shown_handle(value)}"
        )
    return value


def check_handle(value: str, field: str = "handle") -> str:
    """Return a handle unchanged if it is an E.164 number or an e-mail address, else raise `InvalidRequestError`."""
    if not _is_handle(value):
        raise InvalidRequestError(f"{field}: {_HANDLE_RULE}, got {_shown_handle(value)}")
    return value


def check_sender(value: str, field: str = "sender") -> str:
    """Return what a message can come from unchanged, else raise `InvalidRequestError`.

    That is a handle; or what can be received from but not written to: an SMS short code of 3 to 8 digits, or an
    alphanumeric sender id. Source: linq-python 0.65.0, `resources/blocked_handles.py`.
    """
    if not _is_handle(value) and not (isinstance(value, str) and _SENDER_ID.fullmatch(value)):
        raise InvalidRequestError(f"{field}: {_HANDLE_RULE}, a short code or a sender id, got {_shown_handle(value)}")
    return value


def check_recipients(value: str | Sequence[str], field: str = "to") -> list[str]:
    """Return 1 to 31 handles as a list (one string stands for one handle), else raise `InvalidRequestError`."""
    if not isinstance(value, str) and (isinstance(value, Mapping) or not isinstance(value, Iterable)):
        raise InvalidRequestError(f"{field}: must be a handle or a list of them, got {type(value).__name__}")
    handles = [value] if isinstance(value, str) else list(value)
    if not 1 <= len(handles) <= MAX_RECIPIENTS:
        raise InvalidRequestError(f"{field}: must be 1 to {MAX_RECIPIENTS} handles, got {len(handles)}")
    return [check_handle(handle, f"{field}[{index}]") for index, handle in enumerate(handles)]


def check_https(value: str, field: str) -> str:
    """Return an https URL unchanged, else raise `InvalidRequestError`."""
    try:
        return _https(value)
    except (ValueError, TypeError) as error:
        refused = InvalidRequestError(f"{field}: {error}")
    raise refused


def check_text(value: str, field: str) -> str:
    """Return a text unchanged if it has 1 to 10,000 characters, else raise `InvalidRequestError`."""
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_TEXT:
        shown = f"{len(value):,} characters" if isinstance(value, str) else type(value).__name__
        raise InvalidRequestError(f"{field}: must be text of 1 to {MAX_TEXT:,} characters, got {shown}")
    return value


def check_encodable(value: object, field: str = "") -> None:
    """Refuse texts that no encoder can write, wherever they stand in the parameters or the body of a request.

    Raises:
        InvalidRequestError: there is half a surrogate pair.
    """
    if isinstance(value, str):
        try:
            value.encode()
            return
        except UnicodeEncodeError as error:
            place = error.start
        raise InvalidRequestError(f"{field}: must be Unicode text, got half a surrogate pair at character {place}")
    if isinstance(value, Mapping):
        for name, item in value.items():
            check_encodable(name, field or "name of a field")
            check_encodable(item, f"{field}.{name}" if field else name)
    elif isinstance(value, Sequence) and not isinstance(value, bytes):
        for index, item in enumerate(value):
            check_encodable(item, f"{field}[{index}]")


def _refusal(error: ValidationError) -> InvalidRequestError:
    """Say what pydantic found in our form: `parts[0].value: rule, got value`."""
    lines = []
    for found in error.errors(include_url=False):
        inner = found.get("ctx", {}).get("error")
        path = _path(found["loc"])
        if isinstance(inner, InvalidRequestError):
            lines.append(f"{path}.{inner}" if path else str(inner))
        elif inner is not None:
            lines.append(f"{path}: {inner}" if path else str(inner))
        else:
            lines.append(f"{path}: {_rule(found)}, got {_shown(found['loc'], found['input'])}")
    return InvalidRequestError("; ".join(lines))


def _path(loc: tuple[int | str, ...]) -> str:
    path = ""
    for before, step in zip((None, *loc), loc, strict=False):
        if isinstance(step, int):
            path += f"[{step}]"
        elif isinstance(before, int) and step in _PART_TYPES:  # the union's tag is no field
            continue
        else:
            name = step if re.fullmatch(r"[a-z_]{1,30}", step) else "(unknown field)"
            path += f".{name}" if path else name
    return path


def _rule(found: ErrorDetails) -> str:
    if found["type"].startswith("union_tag"):  # its own words would quote the value
        return f"type must be one of {', '.join(_PART_TYPES)}"
    return found["msg"][:1].lower() + found["msg"][1:]


def _shown(loc: tuple[int | str, ...], value: object) -> str:
    """The value, where it can't be the text of a message in the wrong place; else its kind and length."""
    if value is None or isinstance(value, int | float) or (loc and loc[-1] in _SHOWN):
        return repr(value)[:80]
    if isinstance(value, str):
        return f"{len(value):,} characters"
    return f"{type(value).__name__} of {len(value)}" if isinstance(value, Mapping | Sequence) else type(value).__name__
