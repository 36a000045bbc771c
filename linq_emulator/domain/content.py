"""The content rules of a message, as far as they do not depend on the chat.

Limits and names: API reference, messages, and linq-python 0.65.0 ``types/message_content_param.py``,
``types/text_part_param.py``, ``types/media_part_param.py``. Ranges count UTF-16 code units.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from linq_emulator.clock import Clock
from linq_emulator.domain import app_cards, experiences, validate
from linq_emulator.domain.media import CONTENT_TYPES, MAX_UPLOAD, Media
from linq_emulator.domain.models import ALL_SERVICES, Attachment, Draft, Part
from linq_emulator.errors import ApiError
from linq_emulator.store import Store

__all__ = [
    "ANIMATIONS",
    "EFFECTS",
    "IMAGE_TYPES",
    "IMESSAGE_ONLY",
    "MAX_LINK",
    "MAX_PARTS",
    "MAX_TEXT",
    "MAX_URL_MEDIA",
    "STYLES",
    "MessageParser",
    "has_url",
]

MAX_PARTS = 100
MAX_TEXT = 10_000
MAX_LINK = 2_048
MAX_URL_MEDIA = 40
EFFECTS: dict[str, tuple[str, ...]] = {
    "screen": (
        "confetti", "fireworks", "lasers", "sparkles", "celebration", "hearts", "love", "balloons",
        "happy_birthday", "echo", "spotlight",
    ),
    "bubble": ("slam", "loud", "gentle", "invisible"),
}  # fmt: skip
STYLES = ("bold", "italic", "strikethrough", "underline")
ANIMATIONS = ("big", "small", "shake", "nod", "explode", "ripple", "bloom", "jitter")
IMESSAGE_ONLY = {"imessage_app": 2018, "app_clip": 2028, "poll": 2017}
"""The code with which each type is refused that no other service can carry."""
IMAGE_TYPES = [name for name in CONTENT_TYPES if name.startswith("image/")]

_URL_IN_TEXT = re.compile(r"\b(?:https?://|www\.)\S", re.IGNORECASE)
_LINK = re.compile(r"https?://\S+", re.IGNORECASE)


def has_url(draft: Draft) -> bool:
    """Whether a message is a link or has a URL in its text. The first message of a new chat must not."""
    return any(
        part.type == "link" or (part.type == "text" and _URL_IN_TEXT.search(part.value) is not None)
        for part in draft.parts
    )


class MessageParser:
    """Parses the `message` object of a request into a `Draft`.

    Args:
        store: Has the attachments.
        media: Makes URLs and placeholders.
        clock: Gives the time of placeholders.
    """

    def __init__(self, store: Store, media: Media, clock: Clock) -> None:
        self._store = store
        self._media = media
        self._clock = clock

    def parse(self, message: Mapping[str, Any]) -> Draft:
        """Check every rule that does not depend on the chat.

        Raises:
            ApiError: 1001, 1003, 1004, 1005, 1008, 2003, 2007, 2011 or 5004.
        """
        if message.get("experience") is not None:
            if message.get("parts"):
                raise ApiError(1004, "message takes parts or experience, not both")
            experience = validate.required(message, "experience", dict, "message.")
            parts = [Part("imessage_app", extra=experiences.card(experience, "message.experience."))]
        else:
            parts = self._parts(message)
        draft = Draft(parts, _effect(validate.optional(message, "effect", dict, "message.")))
        draft.has_experience = message.get("experience") is not None
        for part in parts:
            draft.mentions.extend(mention["handle"] for mention in (part.extra or {}).get("mentions") or ())
        preferred = validate.optional(message, "preferred_service", str, "message.")
        if preferred is not None:
            draft.preferred_service = validate.one_of(preferred, ALL_SERVICES, "message.preferred_service")
            _check_app_service(parts[0].type, preferred)
        key = validate.optional(message, "idempotency_key", str, "message.")
        if key is not None:
            draft.idempotency_key = validate.idempotency_key(key, "message.idempotency_key")
        reply_to = validate.optional(message, "reply_to", dict, "message.")
        if reply_to is not None:
            target = validate.required(reply_to, "message_id", str, "message.reply_to.")
            draft.reply_to = validate.identifier(target, "message.reply_to.message_id")
            draft.reply_part = validate.optional(reply_to, "part_index", int, "message.reply_to.") or 0
        return draft

    def _parts(self, message: Mapping[str, Any]) -> list[Part]:
        raw_parts = validate.required(message, "parts", list, "message.")
        if not 1 <= len(raw_parts) <= MAX_PARTS:
            raise ApiError(1004, f"message.parts must hold 1 to {MAX_PARTS} parts")
        parts = [self._part(raw, f"message.parts[{index}].") for index, raw in enumerate(raw_parts)]
        for index, (first, second) in enumerate(pairwise(parts)):
            if first.type == second.type == "text":
                raise ApiError(1004, f"message.parts[{index + 1}] is a second text part in a row")
        if len(parts) > 1:
            single = next((part.type for part in parts if part.type in ("link", *IMESSAGE_ONLY)), None)
            if single is not None:
                raise ApiError(1004, f"a {single} part must be the only part of a message")
        if sum("url" in raw for raw in raw_parts if raw["type"] == "media") > MAX_URL_MEDIA:
            raise ApiError(1004, f"message.parts must hold at most {MAX_URL_MEDIA} media parts with a url")
        return parts

    def _part(self, raw: object, prefix: str) -> Part:
        if not isinstance(raw, dict):
            raise ApiError(1003, f"{prefix.rstrip('.')} must be an object")
        kind = validate.required(raw, "type", str, prefix)
        if kind == "text":
            return self._text(raw, prefix)
        if kind == "media":
            return Part("media", attachment=self.file(raw, "url", prefix, CONTENT_TYPES))
        if kind == "link":
            value = validate.required(raw, "value", str, prefix)
            if not _LINK.fullmatch(value) or len(value) > MAX_LINK:
                raise ApiError(1004, f"{prefix}value must be an http or https URL of at most {MAX_LINK} characters")
            return Part("link", value)
        if kind == "imessage_app":
            return app_cards.app_card(raw, prefix, self.host_image)
        if kind == "app_clip":
            return app_cards.app_clip(raw, prefix)
        raise ApiError(1004, f"{prefix}type is not a known part type")

    def _text(self, raw: Mapping[str, Any], prefix: str) -> Part:
        value = validate.non_empty_text(validate.required(raw, "value", str, prefix), f"{prefix}value", MAX_TEXT)
        length = len(value.encode("utf-16-le", "surrogatepass")) // 2
        extra: dict[str, Any] = {}
        decorations = validate.optional(raw, "text_decorations", list, prefix)
        if decorations:
            extra["text_decorations"] = _decorations(decorations, length, f"{prefix}text_decorations")
        stickers = validate.optional(raw, "inline_stickers", list, prefix)
        if stickers:
            extra["inline_stickers"] = self._stickers(stickers, length, f"{prefix}inline_stickers")
        mention = validate.optional(raw, "mention", str, prefix)
        mention_range = validate.optional(raw, "mention_range", list, prefix)
        if mention is not None:
            if stickers:
                raise ApiError(1004, f"{prefix}inline_stickers cannot be combined with mention")
            validate.handle(mention, f"{prefix}mention")
            checked = [0, length] if mention_range is None else _range(mention_range, length, f"{prefix}mention_range")
            extra["mentions"] = [{"handle": mention, "is_me": False, "range": checked}]
            extra["mention"], extra["mention_range"] = mention, None if mention_range is None else checked
        elif mention_range is not None:
            raise ApiError(1004, f"{prefix}mention_range needs mention")
        return Part("text", value, extra=extra or None)

    def _stickers(self, raw_stickers: list[Any], length: int, name: str) -> list[dict[str, Any]]:
        if len(raw_stickers) > 100:
            raise ApiError(1004, f"{name} must hold at most 100 stickers")
        stickers: list[dict[str, Any]] = []
        for index, raw in enumerate(raw_stickers):
            if not isinstance(raw, dict):
                raise ApiError(1003, f"{name}[{index}] must be an object")
            image = self.stored_image(raw, f"{name}[{index}].")
            text_range = validate.required(raw, "range", list, f"{name}[{index}].")
            stickers.append(
                {
                    "id": image.id,
                    "range": _range(text_range, length, f"{name}[{index}].range"),
                    "file_name": image.filename,
                    "mime_type": image.content_type,
                    "url": self._media.download_url(image),
                }
            )
        if len({sticker["id"] for sticker in stickers}) > 10:
            raise ApiError(1004, f"{name} must use at most 10 different images")
        _refuse_overlap([sticker["range"] for sticker in stickers], name)
        return stickers

    def file(self, raw: Mapping[str, Any], url_field: str, prefix: str, allowed: list[str]) -> Attachment:
        """The attachment that a url or an attachment_id names; exactly one of them must be given.

        Args:
            raw: The object with these fields.
            url_field: Name of the field with the URL.
            prefix: Path of the object, for error messages.
            allowed: Allowed content types.
        """
        url = validate.optional(raw, url_field, str, prefix)
        attachment_id = validate.optional(raw, "attachment_id", str, prefix)
        if (url is None) == (attachment_id is None):
            raise ApiError(1004, f"{prefix.rstrip('.') or 'the body'} must have either {url_field} or attachment_id")
        if attachment_id is not None:
            return self._uploaded(validate.identifier(attachment_id, f"{prefix}attachment_id"), prefix, allowed)
        if self._media.find(self._store, url) is None:
            validate.https_url(url, f"{prefix}{url_field}")
            self._media.fetch(url)
        return self._media.find_or_add(self._store, url, allowed, self._clock.now())

    def stored_image(self, raw: Mapping[str, Any], prefix: str) -> Attachment:
        """The image of a sticker, which must be stored here already: by its attachment_id, or its download_url."""
        url = validate.optional(raw, "url", str, prefix)
        if url is not None and self._media.find(self._store, url) is None:
            raise ApiError(1005, f"{prefix}url must be the download_url of an attachment")
        return self.file(raw, "url", prefix, IMAGE_TYPES)

    def host_image(self, url: str) -> str:
        """The URL of the copy that the platform makes of an image."""
        self._media.fetch(url)
        return self._media.download_url(self._media.find_or_add(self._store, url, IMAGE_TYPES, self._clock.now()))

    def _uploaded(self, attachment_id: str, prefix: str, allowed: list[str]) -> Attachment:
        attachment = self._store.attachments.get(attachment_id)
        if attachment is None or attachment.deleted:
            raise ApiError(2003, f"{prefix}attachment_id")
        if self._media.content(attachment) is None:
            raise ApiError(2007, f"{prefix}attachment_id has not been uploaded, or its file is gone")
        if attachment.content_type not in allowed:
            raise ApiError(5004, f"{attachment.content_type} cannot be sent here")
        if attachment.size_bytes > MAX_UPLOAD:
            raise ApiError(5005, f"{prefix}attachment_id is larger than {MAX_UPLOAD} bytes")
        return attachment


def _effect(raw: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if raw is None:
        return None
    kind = validate.one_of(
        validate.required(raw, "type", str, "message.effect."), tuple(EFFECTS), "message.effect.type"
    )
    name = validate.required(raw, "name", str, "message.effect.")
    return {"type": kind, "name": validate.one_of(name, EFFECTS[kind], f"message.effect.name ({kind})")}


def _check_app_service(kind: str, preferred: str) -> None:
    if preferred != "iMessage" and kind in IMESSAGE_ONLY:
        raise ApiError(IMESSAGE_ONLY[kind])


def _range(raw: list[Any], length: int, name: str) -> list[int]:
    is_pair = len(raw) == 2 and all(isinstance(bound, int) and not isinstance(bound, bool) for bound in raw)
    if not is_pair or not 0 <= raw[0] < raw[1] <= length:
        raise ApiError(1004, f"{name} must be [start, end) within the {length} UTF-16 units of the text")
    return raw


def _refuse_overlap(ranges: list[list[int]], name: str) -> None:
    for first, second in pairwise(sorted(ranges)):
        if second[0] < first[1]:
            raise ApiError(1004, f"{name} must not overlap")


def _decorations(raw_decorations: list[Any], length: int, name: str) -> list[dict[str, Any]]:
    decorations: list[dict[str, Any]] = []
    for index, raw in enumerate(raw_decorations):
        prefix = f"{name}[{index}]."
        if not isinstance(raw, dict):
            raise ApiError(1003, f"{name}[{index}] must be an object")
        text_range = _range(validate.required(raw, "range", list, prefix), length, f"{prefix}range")
        style = validate.optional(raw, "style", str, prefix)
        animation = validate.optional(raw, "animation", str, prefix)
        if (style is None) == (animation is None):
            raise ApiError(1004, f"{prefix[:-1]} must have either style or animation")
        if style is not None:
            validate.one_of(style, STYLES, f"{prefix}style", 1004)
        else:
            validate.one_of(animation, ANIMATIONS, f"{prefix}animation", 1004)
        decorations.append({"range": text_range, "style": style, "animation": animation})
    for decoration in decorations:
        if decoration["animation"] is not None:
            # Styles may overlap. An animation must not overlap with anything.
            for other in decorations:
                if other is not decoration:
                    _refuse_overlap([decoration["range"], other["range"]], name)
    return decorations
