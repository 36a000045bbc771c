"""The names of events: /v3/webhook-events."""

from __future__ import annotations

from linq_client.resources._base import Resource

__all__ = ["WebhookEvents"]


class WebhookEvents(Resource):
    """The names of the events that one can subscribe to."""

    def list(self) -> list[str]:
        """Return the names that the API knows today; the set grows (GET /v3/webhook-events)."""
        response = self._client.request("GET", "/v3/webhook-events", list_field="events")
        return [str(name) for name in response.body["events"]]
