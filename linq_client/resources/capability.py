"""Checks of what an address can receive: /v3/capability."""

from __future__ import annotations

from linq_client import models
from linq_client._checks import check_handle, check_line
from linq_client.errors import RequestKind
from linq_client.resources._base import Resource

__all__ = ["Capabilities"]


class Capabilities(Resource):
    """Whether an address can be reached by a service; one check in 10 seconds."""

    def check_imessage(self, address: str, *, from_: str | None = None) -> models.Capability:
        """Check a phone number or e-mail address for iMessage (POST /v3/capability/check_imessage).

        Args:
            from_: the line to check with; the platform chooses if None.
        """
        return self._check("check_imessage", check_handle(address, "address"), from_)

    def check_rcs(self, address: str, *, from_: str | None = None) -> models.Capability:
        """Check a phone number for RCS (POST /v3/capability/check_rcs).

        Args:
            from_: the line to check with; the platform chooses if None.

        Raises:
            ServerError: the check could not run (codes 4004, 4009, 4010): nothing is known.
        """
        return self._check("check_rcs", check_line(address, "address"), from_)

    def _check(self, name: str, address: str, from_: str | None) -> models.Capability:
        body = {"address": address}
        if from_ is not None:
            body["from"] = check_line(from_)
        # A question, though it is a POST: it may be asked twice.
        return self._call(models.Capability, "POST", f"/v3/capability/{name}", json=body, kind=RequestKind.READ)
