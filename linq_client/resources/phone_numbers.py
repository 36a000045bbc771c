"""The own lines: /v3/phone_numbers."""

from __future__ import annotations

import builtins
from typing import Any, Final

from linq_client import models
from linq_client._outgoing import check_line
from linq_client.resources._base import Resource, path_to

__all__ = ["PhoneNumbers"]

_PATH: Final = "/v3/phone_numbers"
_FIELD: Final = "phone_numbers"


class PhoneNumbers(Resource):
    """The own lines."""

    def list(self) -> list[models.PhoneNumber]:
        """Return all lines of the account (GET /v3/phone_numbers).

        The API documents no pages; should there be some one day, all are read.
        """
        return list(self._list(models.PhoneNumber, _PATH, _FIELD))

    def list_raw(self) -> builtins.list[Any]:
        """Return the same as decoded JSON, item by item as it came: an odd one does not hide the others."""
        return self._raw(_PATH, _FIELD)

    def set_forwarding(self, phone_number_id: str, forwarding_number: str | None) -> models.PhoneNumber:
        """Forward the calls to a line to another number, or (None) no longer (PUT /v3/phone_numbers/{id})."""
        if forwarding_number is not None:
            check_line(forwarding_number, "forwarding_number")
        path = path_to("/v3/phone_numbers/{}", phone_number_id=phone_number_id)
        return self._call(models.PhoneNumber, "PUT", path, json={"forwarding_number": forwarding_number})
