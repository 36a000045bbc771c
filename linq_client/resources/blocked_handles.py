"""Handles that this account has blocked: /v3/blocked_handles."""

from __future__ import annotations

import builtins
from typing import Any, Final

from linq_client import models
from linq_client._checks import check_sender
from linq_client._response import parse
from linq_client.resources._base import Resource, omit_none

__all__ = ["BlockedHandles"]

_PATH: Final = "/v3/blocked_handles"
_FIELD: Final = "blocked_handles"


class BlockedHandles(Resource):
    """Who can't reach this account: their messages are dropped without a webhook, and none are sent to them.

    Messages to a group go on if somebody in it is not blocked.
    """

    def list(self) -> list[models.BlockedHandle]:
        """Return all blocked handles, the newest first (GET /v3/blocked_handles).

        The API documents no pages; should there be some one day, all are read.
        """
        return list(self._list(lambda: models.BlockedHandle, _PATH, _FIELD))

    def list_raw(self) -> builtins.list[Any]:
        """Return the same as decoded JSON, item by item as it came: an odd one does not hide the others."""
        return self._raw(_PATH, _FIELD)

    def block(self, handle: str, *, reason: str | None = None) -> models.BlockedHandle:
        """Block a handle (POST /v3/blocked_handles); one that is blocked already stays as it is.

        Args:
            handle: also a short code or a sender id, see `check_sender`.
            reason: a note for the account.
        """
        body = {"handle": check_sender(handle, "handle"), **omit_none(reason=reason)}
        response = self._client.request("POST", _PATH, json=body, repeatable=True, has_text=True)
        return parse(models.BlockedHandle, response.body.get("blocked_handle"), response)

    def unblock(self, handle: str) -> None:
        """Let a handle reach this account, and be written to, again (DELETE /v3/blocked_handles)."""
        self._do("DELETE", _PATH, json={"handle": check_sender(handle, "handle")})
