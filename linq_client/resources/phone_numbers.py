"""The own lines: /v3/phone_numbers."""

from __future__ import annotations

from linq_client import models
from linq_client._outgoing import check_line
from linq_client.resources._base import Resource, path_to

__all__ = ["PhoneNumbers"]


class PhoneNumbers(Resource):
    """The own lines."""

    def list(self) -> list[models.PhoneNumber]:
        """Return all lines of the account (GET /v3/phone_numbers)."""
        return self._items(models.PhoneNumber, "/v3/phone_numbers", "phone_numbers")

    def set_forwarding(self, phone_number_id: str, forwarding_number: str | None) -> models.PhoneNumber:
        """Forward the calls to a line to another number, or (None) no longer (PUT /v3/phone_numbers/{id})."""
        if forwarding_number is not None:
            check_line(forwarding_number, "forwarding_number")
        path = path_to("/v3/phone_numbers/{}", phone_number_id=phone_number_id)
        return self._call(models.PhoneNumber, "PUT", path, json={"forwarding_number": forwarding_number})
