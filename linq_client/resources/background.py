"""What is behind the messages of a chat: /v3/chats/{id}/background."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from linq_client._checks import check_choice, check_https
from linq_client.errors import InvalidRequestError
from linq_client.resources._base import Resource, omit_none, path_to

__all__ = ["Backgrounds"]

_COLORS: Final = (
    *("mango", "ice", "plum", "deep_sea", "green_apple", "cherry", "bubblegum"),
    *("tangerine", "magenta", "lime", "silver", "carbon", "stone", "custom"),
)
_DYNAMIC: Final[Mapping[str, Sequence[str]]] = {
    "sky": ("dusk", "haze", "sunset", "clear", "sunrise", "dawn"),
    "water": ("light", "dark"),
    "aurora": ("green", "purple", "pink"),
}
#: What belongs to a type, and what of it must be there.
_FIELDS: Final[Mapping[str, Sequence[str]]] = {
    "color": ("variant", "shades"),
    "dynamic": ("style", "variant"),
    "photo": ("image_url",),
}


class Backgrounds(Resource):
    """The background of an iMessage chat, also of a group; without effect on RCS and SMS."""

    def set(
        self,
        chat_id: str,
        type: Literal["color", "dynamic", "photo"],
        *,
        variant: str | None = None,
        shades: Sequence[str] | None = None,
        style: Literal["sky", "water", "aurora"] | None = None,
        image_url: str | None = None,
    ) -> None:
        """Give a chat a background (POST /v3/chats/{id}/background). It happens later; a webhook reports the outcome.

        Args:
            variant: of a color: mango, ice, plum, deep_sea, green_apple, cherry, bubblegum, tangerine, magenta, lime,
                silver, carbon, stone or custom (the default); of a dynamic style: dusk, haze, sunset, clear, sunrise
                or dawn (sky), light or dark (water), green, purple or pink (aurora).
            shades: of a custom color, the upper and the lower one, for example `["#F2C4E1", "#F5A623"]`.
            style: of a dynamic background.
            image_url: https URL of a photo, which the API fetches.
        """
        check_choice(type, tuple(_FIELDS), "type")
        body = omit_none(variant=variant, shades=shades, style=style, image_url=image_url)
        for name in body:
            if name not in _FIELDS[type]:
                raise InvalidRequestError(f"{name}: goes with another type of background, got it with {type}")
        if type == "color":
            _check_color(body)
        elif type == "dynamic":
            check_choice(body.get("style", ""), tuple(_DYNAMIC), "style")
            check_choice(body.get("variant", ""), _DYNAMIC[body["style"]], "variant")
        else:
            check_https(body.get("image_url", ""), "image_url")
        path = path_to("/v3/chats/{}/background", chat_id=chat_id)
        # The same background twice is that background.
        self._do("POST", path, json={"type": type, **body}, repeatable=True)

    def remove(self, chat_id: str) -> None:
        """Give a chat the usual background again (DELETE /v3/chats/{id}/background)."""
        self._do("DELETE", path_to("/v3/chats/{}/background", chat_id=chat_id))


def _check_color(body: Mapping[str, Any]) -> None:
    variant, shades = check_choice(body.get("variant", "custom"), _COLORS, "variant"), body.get("shades")
    if (variant == "custom") != (shades is not None):
        raise InvalidRequestError(f"shades: go with the variant custom alone, got {shades!r} with {variant}"[:200])
    if shades is None:
        return
    is_list = isinstance(shades, Sequence) and not isinstance(shades, str)
    if not is_list or len(shades) != 2 or not all(re.fullmatch("#[0-9A-Fa-f]{6}", str(shade)) for shade in shades):
        raise InvalidRequestError(f"shades: must be two colors like #F2C4E1, got {shades!r}"[:200])
