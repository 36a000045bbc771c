"""The own lines: /v3/phone_numbers."""

from __future__ import annotations

import builtins
from typing import Any, Final

from linq_client import models
from linq_client._checks import check_line
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
        return list(self._list(lambda: models.PhoneNumber, _PATH, _FIELD))

    def list_raw(self) -> builtins.list[Any]:
        """Return the same as decoded JSON, item by item as it came: an odd one does not hide the others."""
        return self._raw(_PATH, _FIELD)

    def set_forwarding(self, phone_number_id: str, forwarding_number: str | None) -> models.PhoneNumber:
        """Forward the calls to a line to another number, or (None) no longer (PUT /v3/phone_numbers/{id})."""
        if forwarding_number is not None:
            check_line(forwarding_number, "forwarding_number")
        path = path_to("/v3/phone_numbers/{}", phone_number_id=phone_number_id)
        return self._call(models.PhoneNumber, "PUT", path, json={"forwarding_number": forwarding_number})

    def start_reputation_audit(self, phone_number: str) -> models.ReputationAudit:
        """Let the platform find out what harms a line (POST /v3/phone_numbers/{number}/reputation_audit).

        Keep the `audit_id`: the audit can be read for 24 hours. While one runs, this returns that one.

        Raises:
            RateLimitedError: the latest audit of this line is not long enough ago.
        """
        path = path_to("/v3/phone_numbers/{}/reputation_audit", phone_number=check_line(phone_number, "phone_number"))
        return self._call(models.ReputationAudit, "POST", path, repeatable=True)

    def get_reputation_audit(self, phone_number: str, audit_id: str) -> models.ReputationAudit:
        """Get an audit and, when its status is complete, its report.

        GET /v3/phone_numbers/{number}/reputation_audit/{audit_id}.
        """
        line = check_line(phone_number, "phone_number")
        path = path_to("/v3/phone_numbers/{}/reputation_audit/{}", phone_number=line, audit_id=audit_id)
        return self._call(models.ReputationAudit, "GET", path)
