"""Which line to send from: /v3/available_number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from linq_client import models
from linq_client._checks import check_choice, check_line, check_recipients
from linq_client.resources._base import Resource

__all__ = ["AvailableNumbers"]


class AvailableNumbers(Resource):
    """The platform's choice of a line, which `messages.send_from_any_line` makes by itself."""

    def get(
        self,
        *,
        to: str | Sequence[str] | None = None,
        exclude_from: Sequence[str] = (),
        type: Literal["iMessage", "RCS"] | None = None,
    ) -> models.AvailableNumber:
        """Return the line to send from, and a link to its contact card (GET /v3/available_number).

        It is not reserved. Without `to`, each call gives another line: the one that was used longest ago.

        Args:
            to: who is to be written to: the line that already talks to exactly them is preferred.
            exclude_from: lines not to use.
            type: only a line of this kind; an RCS line sends RCS and SMS.

        Raises:
            InvalidRequestError: all lines are excluded.
            ServerError: there is no such line at present (503).
        """
        params = {
            "to": None if to is None else check_recipients(to),
            "exclude_from": [check_line(line, "exclude_from") for line in exclude_from] or None,
            "type": None if type is None else check_choice(type, ("iMessage", "RCS"), "type"),
        }
        return self._call(models.AvailableNumber, "GET", "/v3/available_number", params=params)
