"""The typing indicator: /v3/chats/{id}/typing."""

from __future__ import annotations

from linq_client.resources._base import Resource, path_to

__all__ = ["Typing"]


class Typing(Resource):
    """The typing indicator: shown for 85 to 90 seconds, cleared by a send; without effect on RCS and SMS."""

    def start(self, chat_id: str) -> None:
        """Show it; repeat every 60 seconds to keep it (POST /v3/chats/{id}/typing)."""
        self._do("POST", path_to("/v3/chats/{}/typing", chat_id=chat_id), repeatable=True)

    def stop(self, chat_id: str) -> None:
        """Hide it (DELETE /v3/chats/{id}/typing)."""
        self._do("DELETE", path_to("/v3/chats/{}/typing", chat_id=chat_id))
