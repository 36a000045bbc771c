"""Contact cards of the own lines: /v3/contact_card."""

from __future__ import annotations

from linq_client import models
from linq_client._checks import check_line
from linq_client.resources._base import Resource, omit_none

__all__ = ["ContactCards"]


class ContactCards(Resource):
    """Name and image that a line shows to others; 3 changes in 10 minutes a line."""

    def get(self, phone_number: str | None = None) -> list[models.ContactCard]:
        """Return the cards of all lines, or of one (GET /v3/contact_card)."""
        return list(
            self._list(lambda: models.ContactCard, "/v3/contact_card", "contact_cards", phone_number=phone_number)
        )

    def create(
        self, phone_number: str, first_name: str, *, last_name: str | None = None, image_url: str | None = None
    ) -> models.ContactCard:
        """Give a line a card (POST /v3/contact_card).

        Raises:
            LastingConflictError: it has an active one (code 2014).
        """
        body = {
            "phone_number": check_line(phone_number, "phone_number"),
            "first_name": first_name,
            **omit_none(last_name=last_name, image_url=image_url),
        }
        return self._call(models.ContactCard, "POST", "/v3/contact_card", json=body)

    def update(
        self,
        phone_number: str,
        *,
        first_name: str | None = None,
        last_name: str | None = None,
        image_url: str | None = None,
    ) -> models.ContactCard:
        """Change those fields of a line's card that are not None (PATCH /v3/contact_card)."""
        body = omit_none(first_name=first_name, last_name=last_name, image_url=image_url)
        params = {"phone_number": check_line(phone_number, "phone_number")}
        return self._call(models.ContactCard, "PATCH", "/v3/contact_card", params=params, json=body)
