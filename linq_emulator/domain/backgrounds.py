"""Backgrounds of chats.

Rules: linq-python 0.65.0 ``resources/chats/background.py`` and ``types/chat_background_updated_webhook_event.py``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from linq_emulator import serializers
from linq_emulator.backend import Backend
from linq_emulator.clock import iso
from linq_emulator.domain import validate
from linq_emulator.domain.delivery import DELIVERY_FAILED
from linq_emulator.domain.events import any_version, emit
from linq_emulator.domain.models import IMESSAGE, Background, Chat, Participant
from linq_emulator.errors import ApiError

__all__ = ["STYLES", "SWATCHES", "TYPES", "background_fields", "change", "parse"]

TYPES = ("color", "dynamic", "photo")
SWATCHES = (
    "mango", "ice", "plum", "deep_sea", "green_apple", "cherry", "bubblegum", "tangerine", "magenta", "lime", "silver",
    "carbon", "stone",
)  # fmt: skip
STYLES = {
    "sky": ("dusk", "haze", "sunset", "clear", "sunrise", "dawn"),
    "water": ("light", "dark"),
    "aurora": ("green", "purple", "pink"),
}

_CUSTOM = "custom"
_HEX = re.compile(r"#[0-9A-Fa-f]{6}")
_PHOTO_TYPES = ["image/jpeg", "image/png", "image/heic", "image/webp"]


def parse(backend: Backend, body: Mapping[str, Any]) -> Background:
    """The background of a request.

    Raises:
        ApiError: 1001, 1003, 1005 or 5006.
    """
    kind = validate.one_of(validate.required(body, "type", str), TYPES, "type")
    variant = validate.optional(body, "variant", str)
    shades = validate.optional(body, "shades", list)
    style = validate.optional(body, "style", str)
    image_url = validate.optional(body, "image_url", str)
    if kind == "color":
        return _color(variant, shades)
    if kind == "dynamic":
        if style is None or variant is None:
            raise ApiError(1001, "style and variant are required for a dynamic background")
        validate.one_of(style, tuple(STYLES), "style")
        return Background("dynamic", validate.one_of(variant, STYLES[style], f"variant ({style})"), style=style)
    if image_url is None:
        raise ApiError(1001, "image_url is required for a photo")
    validate.https_url(image_url, "image_url")
    backend.media.fetch(image_url)
    try:
        image = backend.media.find_or_add(backend.store, image_url, _PHOTO_TYPES, backend.now())
    except ApiError:
        raise ApiError(5006, "image_url must be a JPEG, PNG, HEIC or WebP image") from None
    return Background("photo", image=image)


def _color(variant: str | None, shades: list[Any] | None) -> Background:
    if variant is not None and variant != _CUSTOM:
        # A named color has its own two shades, and those of the request are ignored.
        return Background("color", validate.one_of(variant, (*SWATCHES, _CUSTOM), "variant"))
    if shades is None:
        raise ApiError(1001, "shades is required for a custom color")
    if len(shades) != 2 or not all(isinstance(shade, str) and _HEX.fullmatch(shade) for shade in shades):
        raise ApiError(1005, "shades must be two colors such as #F2C4E1")
    return Background("color", _CUSTOM, tuple(shades))


def change(backend: Backend, chat: Chat, actor: Participant, background: Background | None) -> None:
    """Set or remove (None) a background after `background_seconds`, and emit how it went.

    Only iMessage has backgrounds. For other chats nothing happens and no event comes.
    """
    if chat.service != IMESSAGE:
        return

    def apply() -> None:
        if chat.left:
            failure = {"chat_id": chat.id, "error_code": DELIVERY_FAILED, "failed_at": iso(backend.now())}
            emit(backend, "chat.background_update_failed", chat, any_version(failure))
        elif chat.background is not None or background is not None:
            chat.background = background
            _emit_updated(backend, chat, actor)

    backend.run_after(backend.switches.background_seconds, apply)


def _emit_updated(backend: Backend, chat: Chat, actor: Participant) -> None:
    data = {
        "chat": serializers.chat_reference(chat),
        "actor_handle": serializers.handle_fields(actor),
        "background": None if chat.background is None else background_fields(backend, chat.background),
    }
    emit(backend, "chat.background_updated", chat, any_version(data))


def background_fields(backend: Backend, background: Background) -> dict[str, Any]:
    """A background, as its event shows it."""
    return {
        "type": background.type,
        "variant": background.variant,
        "shades": None if background.shades is None else list(background.shades),
        "style": background.style,
        "image_url": None if background.image is None else backend.media.download_url(background.image),
    }
