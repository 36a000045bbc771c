"""Where participants are: /v3/chats/{id}/location."""

from __future__ import annotations

from linq_client import models
from linq_client._checks import check_handle
from linq_client._pagination import Page
from linq_client._response import parse
from linq_client.errors import APIConnectionError, Effect
from linq_client.resources._base import Resource, path_to

__all__ = ["LocationSharing"]


class LocationSharing(Resource):
    """Where the participants of a chat are, as far as they share it (iMessage only)."""

    def request(self, chat_id: str) -> models.Accepted:
        """Ask the other side of a direct iMessage chat to share its location (POST /v3/chats/{id}/location/request).

        It must accept on its device.

        Raises:
            ConflictError: a group (2016), another service (2017), or it shares already.
        """
        path = path_to("/v3/chats/{}/location/request", chat_id=chat_id)
        return self._call(models.Accepted, "POST", path)

    def get(self, chat_id: str) -> list[models.Location]:
        """Return the location of each participant who shares it (GET /v3/chats/{id}/location)."""
        return [parse(models.Location, feature) for feature in self.features(chat_id).items]

    def features(self, chat_id: str) -> Page:
        """Return the same as the GeoJSON features of the API's response."""
        path = path_to("/v3/chats/{}/location", chat_id=chat_id)
        response = self._client.request("GET", path, headers={"Accept": "application/geo+json"})
        data = response.body.get("data")
        features = data.get("features") if isinstance(data, dict) else None
        if not isinstance(features, list):
            message = f"GET {path}: the response has no features"
            raise APIConnectionError(message, status=response.status, effect=Effect.NONE)
        return Page(features, None, response.server_time)

    def stop(self, chat_id: str, handle: str) -> models.Accepted:
        """End what a handle shares with this account, in every chat (DELETE /v3/chats/{id}/location)."""
        path = path_to("/v3/chats/{}/location", chat_id=chat_id)
        return self._call(models.Accepted, "DELETE", path, json={"handle": check_handle(handle)})
