"""Cards before they are sent: of an iMessage app, of an App Clip, and of an experience inside the vendor's own app.

A card is the whole message, and goes by iMessage alone.

Source: linq-python 0.65.0, `types/message_content_param.py` and `types/message_update_app_card_params.py`.
"""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, model_validator
from typing_extensions import Self

from linq_client._outgoing._strict import HttpsURL, LinkURL, StrictModel

#: Characters of the URL that a card gives its app, by scheme: a `data:` URL carries the state of the app.
MAX_CARD_URL: Final = {"https": 2_048, "data": 16_384}


def _team_id(value: str) -> str:
    if not re.fullmatch(r"[A-Z0-9]{10}", value):
        raise ValueError(f"must be 10 capital letters and digits, got {len(value):,} characters")
    return value


def _bundle_id(value: str) -> str:
    if not value or ":" in value:
        raise ValueError(f"must be a bundle identifier without a colon, got {len(value):,} characters")
    return value


def _card_url(value: str) -> str:
    scheme = value.partition(":")[0].lower()
    longest = MAX_CARD_URL.get(scheme)
    if longest is None or not re.fullmatch(r"https://[^\s/]\S*|data:\S+", value, re.IGNORECASE):
        raise ValueError(f"must be an https or a data URL without spaces, got {len(value):,} characters")
    if len(value) > longest:
        raise ValueError(f"must be {longest:,} characters at most as a URL of {scheme}, got {len(value):,}")
    return value


CardURL = Annotated[str, AfterValidator(_card_url)]


class CardApp(StrictModel):
    """The iMessage app (a Messages app extension) behind a card.

    Args:
        name: shown where the app is not installed.
        team_id: of the developer, 10 capital letters and digits.
        bundle_id: of the extension, without a colon.
        app_store_id: with it, who has no such app is offered it.
    """

    name: Annotated[str, Field(min_length=1)]
    team_id: Annotated[str, AfterValidator(_team_id)]
    bundle_id: Annotated[str, AfterValidator(_bundle_id)]
    app_store_id: Annotated[int, Field(gt=0)] | None = None


class CardLayout(StrictModel):
    """What a card shows: one of the captions at least, or an image.

    Args:
        caption: top left, bold.
        subcaption: below it.
        trailing_caption: top right.
        trailing_subcaption: below it.
        image_url: a JPEG, PNG, HEIF or WebP, which the API fetches; only in chats in which the other side has written.
        image_title: on the image, bold; needs `image_url`.
        image_subtitle: below it; needs `image_url`.
    """

    caption: str | None = None
    subcaption: str | None = None
    trailing_caption: str | None = None
    trailing_subcaption: str | None = None
    image_url: LinkURL | None = None
    image_title: str | None = None
    image_subtitle: str | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not any((self.caption, self.subcaption, self.trailing_caption, self.trailing_subcaption, self.image_url)):
            raise ValueError("caption: give it, another caption or image_url, got none: the card would be empty")
        for name in ("image_title", "image_subtitle"):
            if getattr(self, name) is not None and self.image_url is None:
                raise ValueError(f"{name}: needs an image_url to stand on, got none")
        return self


class AppCard(StrictModel):
    """A card of an iMessage app of your own; it must be the only part of its message.

    Args:
        app: the app behind it.
        layout: what it shows.
        url: what the app opens: https (2,048 characters at most) or a `data:` URL with its state (16,384).
        fallback_text: for notifications and the lock screen; the caption if None.
        interactive: False shows `layout` to everybody, also to who has the app; True by default.
    """

    type: Literal["imessage_app"] = "imessage_app"
    app: CardApp
    layout: CardLayout
    url: CardURL | None = None
    fallback_text: str | None = None
    interactive: bool | None = None


class AppClip(StrictModel):
    """A registered App Clip, yours or the vendor's checkout; it must be the only part of its message.

    Args:
        value: https link whose page is a registered App Clip.
        caption: of the row with the button; the App Clip's own if None.
    """

    type: Literal["app_clip"] = "app_clip"
    value: HttpsURL
    caption: str | None = None


class Experience(StrictModel):
    """An action of an experience: a third party's card inside the vendor's iMessage app, in the place of parts.

    Args:
        name: of the experience; `client.experiences.list()` has those of the account, their actions and fields.
        action: of the experience.
        params: values of the fields of the action, by name.
    """

    name: Annotated[str, Field(min_length=1)]
    action: Annotated[str, Field(min_length=1)]
    params: dict[str, str | int] | None = None


class CardChange(StrictModel):
    """What a card that was sent becomes; fields as of `AppCard`."""

    layout: CardLayout
    app: CardApp | None = None
    experience: Experience | None = None
    url: CardURL | None = None
    fallback_text: str | None = None
    interactive: bool | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.url is not None and self.experience is not None:
            raise ValueError(f"url: give it or experience, not both, got {len(self.url):,} characters")
        return self
