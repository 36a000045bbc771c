"""Members of a group chat: /v3/chats/{id}/participants."""

from __future__ import annotations

from linq_client import models
from linq_client._checks import check_handle
from linq_client.resources._base import Resource, path_to

__all__ = ["Participants"]


class Participants(Resource):
    """Members of a group chat; three or more must remain."""

    def add(self, chat_id: str, handle: str) -> models.Accepted:
        """Add a handle of the same service to a group (POST /v3/chats/{id}/participants).

        It happens later; a webhook reports the outcome.
        """
        return self._change("POST", chat_id, handle)

    def remove(self, chat_id: str, handle: str) -> models.Accepted:
        """Remove a handle from a group (DELETE /v3/chats/{id}/participants).

        It happens later; a webhook reports the outcome.
        """
        return self._change("DELETE", chat_id, handle)

    def _change(self, method: str, chat_id: str, handle: str) -> models.Accepted:
        path = path_to("/v3/chats/{}/participants", chat_id=chat_id)
        return self._call(models.Accepted, method, path, json={"handle": check_handle(handle)})
