"""The rules that a message must keep before anything else is asked.

Limits and names: API reference, messages, and linq-python 0.65.0 ``types/message_content_param.py``,
``types/text_part_param.py``, ``types/media_part_param.py``. Ranges count UTF-16 code units.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from linq_emulator.clock import Clock
from linq_emulator.domain import validate
from linq_emulator.domain.media import CONTENT_TYPES, MAX_UPLOAD, Media
from linq_emulator.domain.models import ALL_SERVICES, Attachment, Draft, Part
from linq_emulator.errors import ApiError
from linq_emulator.store import Store

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
ONLY_IMESSAGE = ("imessage_app", "app_clip")

_URL_IN_TEXT = re.compile(r"\b(?:https?://|www\.)\S", re.IGNORECASE)
_LINK = re.compile(r"https?://\S+", re.IGNORECASE)


def has_url(draft: Draft) -> bool:
    """Whether a message is a link or has a URL in its text: not allowed first in a chat made by a create."""
    return any(
        part.type == "link" or (part.type == "text" and _URL_IN_TEXT.search(part.value) is not None)
        for part in draft.parts
    )


class ContentReader:
    """Turns the `message` object of a request into a `Draft`, or refuses it."""

    def __init__(self, store: Store, media: Media, clock: Clock) -> None:
        self._store = store
        self._media = media
        self._clock = clock

    def read(self, message: Mapping[str, Any]) -> Draft:
        """Check everything that does not depend on the chat.

        Raises:
            ApiError: 1001, 1003, 1004, 1005, 1008, 2003, 2007, 2011 or 5004.
        """
        if message.get("experience") is not None:
            if message.get("parts"):
                raise ApiError(1004, "message takes parts or experience, not both")
            raise ApiError(2011, "experiences are not emulated")
        parts = self._parts(message)
        draft = Draft(parts=parts, effect=_effect(validate.optional(message, "effect", dict, "message.")))
        for part in parts:
            draft.mentions.extend(one["handle"] for one in (part.extra or {}).get("mentions") or ())
        preferred = validate.optional(message, "preferred_service", str, "message.")
        if preferred is not None:
            draft.preferred_service = validate.one_of(preferred, ALL_SERVICES, "message.preferred_service")
            _check_app_service(parts[0].type, preferred)
        key = validate.optional(message, "idempotency_key", str, "message.")
        if key is not None:
            draft.idempotency_key = validate.idempotency_key(key, "message.idempotency_key")
        reply = validate.optional(message, "reply_to", dict, "message.")
        if reply is not None:
            target = validate.required(reply, "message_id", str, "message.reply_to.")
            draft.reply_to = validate.identifier(target, "message.reply_to.message_id")
            draft.reply_part = validate.optional(reply, "part_index", int, "message.reply_to.") or 0
        return draft

    def _parts(self, message: Mapping[str, Any]) -> list[Part]:
        raw = validate.required(message, "parts", list, "message.")
        if not 1 <= len(raw) <= MAX_PARTS:
            raise ApiError(1004, f"message.parts must hold 1 to {MAX_PARTS} parts")
        parts = [self._part(one, f"message.parts[{index}].") for index, one in enumerate(raw)]
        for index, (first, second) in enumerate(pairwise(parts)):
            if first.type == second.type == "text":
                raise ApiError(1004, f"message.parts[{index + 1}] is a second text part in a row")
        if len(parts) > 1:
            alone = next((part.type for part in parts if part.type in ("link", *ONLY_IMESSAGE)), None)
            if alone is not None:
                raise ApiError(1004, f"a {alone} part must be the only part of a message")
        if sum("url" in one for one in raw if one["type"] == "media") > MAX_URL_MEDIA:
            raise ApiError(1004, f"message.parts must hold at most {MAX_URL_MEDIA} media parts with a url")
        return parts

    def _part(self, raw: object, where: str) -> Part:
        if not isinstance(raw, dict):
            raise ApiError(1003, f"{where.rstrip('.')} must be an object")
        kind = validate.required(raw, "type", str, where)
        if kind == "text":
            return self._text(raw, where)
        if kind == "media":
            return Part("media", attachment=self.file(raw, "url", where, CONTENT_TYPES))
        if kind == "link":
            value = validate.required(raw, "value", str, where)
            if not _LINK.fullmatch(value) or len(value) > MAX_LINK:
                raise ApiError(1004, f"{where}value must be an http or https URL of at most {MAX_LINK} characters")
            return Part("link", value)
        if kind == "imessage_app":
            return Part("imessage_app", extra=_app(raw, where))
        if kind == "app_clip":
            value = validate.https_url(validate.required(raw, "value", str, where), f"{where}value")
            return Part("app_clip", value)
        raise ApiError(1004, f"{where}type is not a known part type")

    def _text(self, raw: Mapping[str, Any], where: str) -> Part:
        value = validate.text_of(validate.required(raw, "value", str, where), f"{where}value", MAX_TEXT)
        length = len(value.encode("utf-16-le", "surrogatepass")) // 2
        extra: dict[str, Any] = {}
        decorations = validate.optional(raw, "text_decorations", list, where)
        if decorations:
            extra["text_decorations"] = _decorations(decorations, length, f"{where}text_decorations")
        stickers = validate.optional(raw, "inline_stickers", list, where)
        if stickers:
            extra["inline_stickers"] = self._stickers(stickers, length, f"{where}inline_stickers")
        mention = validate.optional(raw, "mention", str, where)
        span = validate.optional(raw, "mention_range", list, where)
        if mention is not None:
            if stickers:
                raise ApiError(1004, f"{where}inline_stickers cannot be combined with mention")
            validate.handle(mention, f"{where}mention")
            shown = [0, length] if span is None else _range(span, length, f"{where}mention_range")
            extra["mentions"] = [{"handle": mention, "is_me": False, "range": shown}]
            extra["mention"], extra["mention_range"] = mention, None if span is None else shown
        elif span is not None:
            raise ApiError(1004, f"{where}mention_range needs mention")
        return Part("text", value, extra=extra or None)

    def _stickers(self, raw: list[Any], length: int, where: str) -> list[dict[str, Any]]:
        if len(raw) > 100:
            raise ApiError(1004, f"{where} must hold at most 100 stickers")
        shown: list[dict[str, Any]] = []
        for index, one in enumerate(raw):
            if not isinstance(one, dict):
                raise ApiError(1003, f"{where}[{index}] must be an object")
            image = self.file(one, "url", f"{where}[{index}].", CONTENT_TYPES)
            span = _range(validate.required(one, "range", list), length, f"{where}[{index}].range")
            shown.append(
                {
                    "id": image.id,
                    "range": span,
                    "file_name": image.filename,
                    "mime_type": image.content_type,
                    "url": self._media.download_url(image),
                }
            )
        if len({one["id"] for one in shown}) > 10:
            raise ApiError(1004, f"{where} must use at most 10 different images")
        _refuse_overlap([one["range"] for one in shown], where)
        return shown

    def file(self, raw: Mapping[str, Any], url_field: str, where: str, allowed: list[str]) -> Attachment:
        """The attachment that a url or an attachment_id, one of the two, stands for."""
        url = validate.optional(raw, url_field, str, where)
        attachment_id = validate.optional(raw, "attachment_id", str, where)
        if (url is None) == (attachment_id is None):
            raise ApiError(1004, f"{where.rstrip('.') or 'the body'} takes {url_field} or attachment_id: one of them")
        if attachment_id is not None:
            return self._uploaded(validate.identifier(attachment_id, f"{where}attachment_id"), where, allowed)
        if self._media.own(self._store, url) is None:
            validate.https_url(url, f"{where}{url_field}")
        return self._media.of_url(self._store, url, allowed, self._clock.now())

    def _uploaded(self, attachment_id: str, where: str, allowed: list[str]) -> Attachment:
        found = self._store.attachments.get(attachment_id)
        if found is None or found.deleted:
            raise ApiError(2003, f"{where}attachment_id")
        if found.content is None:
            raise ApiError(2007, f"{where}attachment_id has not been uploaded")
        if found.content_type not in allowed:
            raise ApiError(5004, f"{found.content_type} cannot be sent here")
        if found.size_bytes > MAX_UPLOAD:
            raise ApiError(5005, f"{where}attachment_id is larger than {MAX_UPLOAD} bytes")
        return found


def _effect(raw: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if raw is None:
        return None
    kind = validate.one_of(
        validate.required(raw, "type", str, "message.effect."), tuple(EFFECTS), "message.effect.type"
    )
    name = validate.required(raw, "name", str, "message.effect.")
    return {"type": kind, "name": validate.one_of(name, EFFECTS[kind], f"message.effect.name ({kind})")}


def _check_app_service(kind: str, preferred: str) -> None:
    if preferred != "iMessage" and kind in ONLY_IMESSAGE:
        raise ApiError(2018 if kind == "imessage_app" else 2028)


def _range(raw: list[Any], length: int, where: str) -> list[int]:
    ok = len(raw) == 2 and all(isinstance(one, int) and not isinstance(one, bool) for one in raw)
    if not ok or not 0 <= raw[0] < raw[1] <= length:
        raise ApiError(1004, f"{where} must be [start, end) within the {length} UTF-16 units of the text")
    return raw


def _refuse_overlap(ranges: list[list[int]], where: str) -> None:
    ordered = sorted(ranges)
    for first, second in pairwise(ordered):
        if second[0] < first[1]:
            raise ApiError(1004, f"{where} must not overlap")


def _decorations(raw: list[Any], length: int, where: str) -> list[dict[str, Any]]:
    shown: list[dict[str, Any]] = []
    for index, one in enumerate(raw):
        here = f"{where}[{index}]."
        if not isinstance(one, dict):
            raise ApiError(1003, f"{where}[{index}] must be an object")
        span = _range(validate.required(one, "range", list, here), length, f"{here}range")
        style = validate.optional(one, "style", str, here)
        animation = validate.optional(one, "animation", str, here)
        if (style is None) == (animation is None):
            raise ApiError(1004, f"{here[:-1]} takes style or animation: one of them")
        if style is not None:
            validate.one_of(style, STYLES, f"{here}style", 1004)
        else:
            validate.one_of(animation, ANIMATIONS, f"{here}animation", 1004)
        shown.append({"range": span, "style": style, "animation": animation})
    for one in shown:
        if one["animation"] is not None:
            # Styles may lie over one another; an animation stands alone on its characters.
            for other in shown:
                if other is not one:
                    _refuse_overlap([one["range"], other["range"]], where)
    return shown


def _app(raw: Mapping[str, Any], where: str) -> dict[str, Any]:
    app = validate.required(raw, "app", dict, where)
    for name in ("bundle_id", "name", "team_id"):
        validate.required(app, name, str, f"{where}app.")
    layout = validate.required(raw, "layout", dict, where)
    if not any(
        layout.get(name) for name in ("caption", "subcaption", "trailing_caption", "trailing_subcaption", "image_url")
    ):
        raise ApiError(1008, f"{where}layout shows nothing")
    return {
        "app": app,
        "layout": layout,
        "url": validate.optional(raw, "url", str, where) or "",
        "fallback_text": validate.optional(raw, "fallback_text", str, where) or layout.get("caption"),
    }
