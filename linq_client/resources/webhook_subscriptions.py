"""Webhook subscriptions: /v3/webhook-subscriptions."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any, Final

from linq_client import models
from linq_client._checks import check_line
from linq_client.errors import InvalidRequestError
from linq_client.resources._base import Resource, omit_none, path_to

__all__ = ["WebhookSubscriptions"]

_PATH: Final = "/v3/webhook-subscriptions"
_FIELD: Final = "subscriptions"


class WebhookSubscriptions(Resource):
    """Where the platform sends which events; see `linq_client.webhooks` for the receiving side."""

    def create(
        self,
        target_url: str,
        subscribed_events: Sequence[str],
        *,
        phone_numbers: Sequence[str] | None = None,
        routing_key_header: str | None = None,
        routing_id_header: str | None = None,
    ) -> models.WebhookSubscription:
        """Subscribe (POST /v3/webhook-subscriptions). Only this response holds the `signing_secret`.

        Args:
            target_url: https URL; `?version=2026-02-03` or `2025-01-01` chooses the form of message events.
            subscribed_events: names, see `client.webhook_events.list()`.
            phone_numbers: only events of these lines; all if None.
            routing_key_header: name of a header by which your side routes deliveries.
            routing_id_header: the same, for the id.
        """
        body = omit_none(
            target_url=target_url,
            subscribed_events=_checked_events(subscribed_events),
            phone_numbers=_checked_lines(phone_numbers),
            routing_key_header=routing_key_header,
            routing_id_header=routing_id_header,
        )
        return self._call(models.WebhookSubscription, "POST", _PATH, json=body)

    def list(self) -> list[models.WebhookSubscription]:
        """Return all subscriptions (GET /v3/webhook-subscriptions).

        The API documents no pages; should there be some one day, all are read.
        """
        return list(self._list(lambda: models.WebhookSubscription, _PATH, _FIELD))

    def list_raw(self) -> builtins.list[Any]:
        """Return the same as decoded JSON, item by item as it came: an odd one does not hide the others."""
        return self._raw(_PATH, _FIELD)

    def get(self, subscription_id: str) -> models.WebhookSubscription:
        """Get one subscription (GET /v3/webhook-subscriptions/{id})."""
        path = path_to("/v3/webhook-subscriptions/{}", subscription_id=subscription_id)
        return self._call(models.WebhookSubscription, "GET", path)

    def update(
        self,
        subscription_id: str,
        *,
        target_url: str | None = None,
        subscribed_events: Sequence[str] | None = None,
        is_active: bool | None = None,
        phone_numbers: Sequence[str] | None = None,
        routing_key_header: str | None = None,
        routing_id_header: str | None = None,
    ) -> models.WebhookSubscription:
        """Change those fields that are not None (PUT /v3/webhook-subscriptions/{id}).

        An empty `phone_numbers` means all lines again, an empty header none.
        """
        path = path_to("/v3/webhook-subscriptions/{}", subscription_id=subscription_id)
        body = omit_none(
            target_url=target_url,
            subscribed_events=None if subscribed_events is None else _checked_events(subscribed_events),
            is_active=is_active,
            phone_numbers=_checked_lines(phone_numbers),
        )
        for name, header in (("routing_key_header", routing_key_header), ("routing_id_header", routing_id_header)):
            if header is not None:
                body[name] = header or None
        return self._call(models.WebhookSubscription, "PUT", path, json=body)

    def delete(self, subscription_id: str) -> None:
        """End a subscription (DELETE /v3/webhook-subscriptions/{id})."""
        self._do("DELETE", path_to("/v3/webhook-subscriptions/{}", subscription_id=subscription_id))


def _checked_lines(lines: Sequence[str] | None) -> list[str] | None:
    return None if lines is None else [check_line(line, "phone_numbers") for line in lines]


def _checked_events(names: Sequence[str]) -> list[str]:
    if isinstance(names, str) or not names:
        raise InvalidRequestError(f"subscribed_events: must be a list of one event name or more, got {names!r}")
    return list(names)
