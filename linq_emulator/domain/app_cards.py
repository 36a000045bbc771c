"""App cards: the parts that an app of the recipient's device draws.

Rules: linq-python 0.65.0 ``types/message_content_param.py`` and ``types/message_update_app_card_params.py``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from linq_emulator.domain import experiences, validate
from linq_emulator.domain.models import Message, Part
from linq_emulator.errors import ApiError

__all__ = ["DATA_URL_LENGTH", "LAYOUT_TEXTS", "app_card", "app_clip", "replacement"]

LAYOUT_TEXTS = ("caption", "subcaption", "trailing_caption", "trailing_subcaption")
DATA_URL_LENGTH = 16_384

_OVERLAYS = ("image_title", "image_subtitle")
_TEAM_ID = re.compile(r"[A-Z0-9]{10}")
_IMAGE = re.compile(r".*\.(jpe?g|png|hei[cf]|webp)", re.IGNORECASE | re.DOTALL)

HostImage = Callable[[str], str]
"""Makes the URL under which the platform serves a copy of an image."""


def app_card(raw: Mapping[str, Any], prefix: str, host_image: HostImage) -> Part:
    """An ``imessage_app`` part.

    Raises:
        ApiError: 1001, 1003, 1005 or 1008.
    """
    app = validate.required(raw, "app", dict, prefix)
    return Part("imessage_app", extra={"app": _app(app, f"{prefix}app."), **_look(raw, prefix, host_image)})


def app_clip(raw: Mapping[str, Any], prefix: str) -> Part:
    """An ``app_clip`` part. The platform composes its title and picture of the page, which is not fetched here."""
    value = validate.https_url(validate.required(raw, "value", str, prefix), f"{prefix}value")
    validate.optional(raw, "caption", str, prefix)
    return Part("app_clip", value, extra={"title": None, "description": None, "image_url": None})


def replacement(body: Mapping[str, Any], original: Message, host_image: HostImage) -> Part:
    """The card that takes the place of one that was sent. It is of the same app.

    Raises:
        ApiError: 1005 if the message is no card of ours, 2015 if it is not sent yet, and those of `app_card`.
    """
    if not original.outbound or [part.type for part in original.parts] != ["imessage_app"]:
        raise ApiError(1005, "message_id must be an imessage_app message that you sent")
    before = original.parts[0].extra or {}
    look = _look(body, "", host_image)
    app = validate.optional(body, "app", dict)
    if app is not None and _app(app, "app.") != before["app"]:
        raise ApiError(1008, "app must be the one of the card, which cannot change")
    experience = validate.optional(body, "experience", dict)
    if experience is not None:
        if body.get("url") is not None:
            raise ApiError(1008, "url and experience exclude each other")
        look["url"] = experiences.card(experience, "experience.")["url"]
    if original.status not in ("sent", "delivered", "read"):
        raise ApiError(2015, "the card is not sent yet")
    return Part("imessage_app", extra={"app": before["app"], **look})


def _app(raw: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    app: dict[str, Any] = {name: validate.required(raw, name, str, prefix) for name in ("bundle_id", "name", "team_id")}
    if not app["bundle_id"] or ":" in app["bundle_id"]:
        raise ApiError(1008, f"{prefix}bundle_id must not be empty and must not hold a colon")
    if not _TEAM_ID.fullmatch(app["team_id"]):
        raise ApiError(1008, f"{prefix}team_id must be 10 upper case letters and digits")
    app["app_store_id"] = validate.optional(raw, "app_store_id", int, prefix)
    return app


def _look(raw: Mapping[str, Any], prefix: str, host_image: HostImage) -> dict[str, Any]:
    layout = validate.required(raw, "layout", dict, prefix)
    shown = {
        name: validate.optional(layout, name, str, f"{prefix}layout.")
        for name in (*LAYOUT_TEXTS, "image_url", *_OVERLAYS)
    }
    if not any(shown[name] for name in (*LAYOUT_TEXTS, "image_url")):
        raise ApiError(1008, f"{prefix}layout shows nothing")
    if not shown["image_url"] and any(shown[name] for name in _OVERLAYS):
        raise ApiError(1008, f"{prefix}layout.image_title and image_subtitle need image_url")
    validate.optional(raw, "interactive", bool, prefix)
    look = {
        "layout": shown,
        "url": _url(validate.optional(raw, "url", str, prefix) or "", f"{prefix}url"),
        "fallback_text": validate.optional(raw, "fallback_text", str, prefix) or shown["caption"],
    }
    if shown["image_url"]:
        validate.https_url(shown["image_url"], f"{prefix}layout.image_url")
        if not _IMAGE.fullmatch(shown["image_url"].partition("?")[0]):
            raise ApiError(1008, f"{prefix}layout.image_url must be an image: JPEG, PNG, HEIF or WebP")
        shown["image_url"] = host_image(shown["image_url"])
    return look


def _url(text: str, name: str) -> str:
    if text.startswith("data:"):
        if len(text) > DATA_URL_LENGTH:
            raise ApiError(1008, f"{name} must have at most {DATA_URL_LENGTH} characters")
        return text
    return validate.https_url(text, name) if text else ""
