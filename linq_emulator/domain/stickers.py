"""Stickers on messages: their images, and where they lie.

Rules: linq-python 0.65.0 ``types/message_add_reaction_params.py`` and
``types/message_update_sticker_placement_params.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from linq_emulator.backend import Backend
from linq_emulator.domain import validate
from linq_emulator.domain.content import IMAGE_TYPES
from linq_emulator.domain.models import Attachment, Placement
from linq_emulator.errors import ApiError

__all__ = ["SCALES", "SOURCES", "image", "moved", "placement"]

SOURCES = ("emoji", "url", "attachment_id")
SCALES = (0.05, 2.5)

_EMOJI_SCALE = 0.5


def image(backend: Backend, body: Mapping[str, Any]) -> Attachment:
    """The image of a new sticker.

    Raises:
        ApiError: 1003, 1005, 2003, 2007 or 5004.
    """
    sources = [name for name in SOURCES if body.get(name) is not None]
    if len(sources) != 1:
        raise ApiError(1005, "a sticker must have one of emoji, url and attachment_id")
    if sources[0] != "emoji":
        return backend.message_parser.stored_image(body, "")
    validate.non_empty_text(validate.required(body, "emoji", str), "emoji", 32)
    # The platform draws the emoji. Here a placeholder replaces the image.
    return backend.media.find_or_add(backend.store, "https://emoji.invalid/emoji.png", IMAGE_TYPES, backend.now())


def placement(body: Mapping[str, Any]) -> Placement:
    """Where a new sticker lies: in the middle, and in its usual size, unless the body says otherwise."""
    usual = Placement(scale=_EMOJI_SCALE if body.get("emoji") is not None else 1.0)
    raw = validate.optional(body, "placement", dict)
    return usual if raw is None else moved(raw, usual)


def moved(raw: Mapping[str, Any], before: Placement) -> Placement:
    """A placement with the given fields changed. A scale out of its range is moved into it.

    Raises:
        ApiError: 1003, or 1005 for a position off the message.
    """
    x, y, scale, rotation = (
        validate.optional(raw, name, float, "placement.") for name in ("x", "y", "scale", "rotation")
    )
    for name, value in (("x", x), ("y", y)):
        if value is not None and not -1 <= value <= 1:
            raise ApiError(1005, f"placement.{name} must be -1 to 1")
    return Placement(
        before.x if x is None else x,
        before.y if y is None else y,
        before.scale if scale is None else min(max(scale, SCALES[0]), SCALES[1]),
        before.rotation if rotation is None else rotation,
    )
