"""What belongs to the account: lines, contact cards, capability checks, webhook subscriptions."""

from __future__ import annotations

from collections.abc import Sequence

from linq_client import models
from linq_client.errors import InvalidRequestError, RequestKind
from linq_client.outgoing import (
    check_handle,
    check_line,
)
from linq_client.resources.base import Resource, given, path_to


class PhoneNumbers(Resource):
    """The own lines."""

    def list(self) -> list[models.PhoneNumber]:
        """Return all lines of the account."""
        return self._items(models.PhoneNumber, "/v3/phone_numbers", "phone_numbers")

    def set_forwarding(self, phone_number_id: str, forwarding_number: str | None) -> models.PhoneNumber:
        """Forward the calls to a line to another number, or (None) no longer."""
        if forwarding_number is not None:
            check_line(forwarding_number, "forwarding_number")
        path = path_to("/v3/phone_numbers/{}", phone_number_id=phone_number_id)
        return self._call(models.PhoneNumber, "PUT", path, json={"forwarding_number": forwarding_number})


class ContactCards(Resource):
    """Name and image that a line shows to others; 3 changes in 10 minutes a line."""

    def get(self, phone_number: str | None = None) -> list[models.ContactCard]:
        """Return the cards of all lines, or of one."""
        return self._items(models.ContactCard, "/v3/contact_card", "contact_cards", phone_number=phone_number)

    def create(
        self, phone_number: str, first_name: str, *, last_name: str | None = None, image_url: str | None = None
    ) -> models.ContactCard:
        """Give a line a card.

        Raises:
            ConflictError: it has an active one (code 2014).
        """
        body = {"phone_number": check_line(phone_number, "phone_number"), "first_name": first_name}
        body = given(body, last_name=last_name, image_url=image_url)
        return self._call(models.ContactCard, "POST", "/v3/contact_card", json=body)

    def update(
        self,
        phone_number: str,
        *,
        first_name: str | None = None,
        last_name: str | None = None,
        image_url: str | None = None,
    ) -> models.ContactCard:
        """Change the given fields of a line's card."""
        body = given({}, first_name=first_name, last_name=last_name, image_url=image_url)
        params = {"phone_number": check_line(phone_number, "phone_number")}
        return self._call(models.ContactCard, "PATCH", "/v3/contact_card", params=params, json=body)


class Capabilities(Resource):
    """Whether an address can be reached by a service; one check in 10 seconds."""

    def check_imessage(self, address: str, *, from_: str | None = None) -> models.Capability:
        """Check a phone number or e-mail address for iMessage.

        Args:
            from_: the line to check with; the platform chooses if None.
        """
        return self._check("check_imessage", check_handle(address, "address"), from_)

    def check_rcs(self, address: str, *, from_: str | None = None) -> models.Capability:
        """Check a phone number for RCS.

        Args:
            from_: the line to check with; the platform chooses if None.

        Raises:
            ServerError: the check could not run (codes 4004, 4009, 4010): nothing is known.
        """
        return self._check("check_rcs", check_line(address, "address"), from_)

    def _check(self, name: str, address: str, from_: str | None) -> models.Capability:
        body = given({"address": address}, **{"from": check_line(from_) if from_ is not None else None})
        return self._call(models.Capability, "POST", f"/v3/capability/{name}", json=body, kind=RequestKind.READ)


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
        """Subscribe; only this answer holds the `signing_secret`.

        Args:
            target_url: https URL; `?version=2026-02-03` or `2025-01-01` chooses the form of message events.
            subscribed_events: names, see `client.webhook_events.list()`.
            phone_numbers: only events of these lines; all if None.
            routing_key_header: name of a header by which your side routes deliveries.
            routing_id_header: the same, for the id.
        """
        body = given(
            {"target_url": target_url, "subscribed_events": _checked_events(subscribed_events)},
            phone_numbers=_checked_lines(phone_numbers),
            routing_key_header=routing_key_header,
            routing_id_header=routing_id_header,
        )
        return self._call(models.WebhookSubscription, "POST", "/v3/webhook-subscriptions", json=body)

    def list(self) -> list[models.WebhookSubscription]:
        """Return all subscriptions."""
        return self._items(models.WebhookSubscription, "/v3/webhook-subscriptions", "subscriptions")

    def get(self, subscription_id: str) -> models.WebhookSubscription:
        """Get one subscription."""
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
        """Change the given fields; an empty `phone_numbers` means all lines again, an empty header none."""
        path = path_to("/v3/webhook-subscriptions/{}", subscription_id=subscription_id)
        body = given(
            {},
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
        """End a subscription."""
        self._client.request("DELETE", path_to("/v3/webhook-subscriptions/{}", subscription_id=subscription_id))


class WebhookEvents(Resource):
    """The names of the events that one can subscribe to."""

    def list(self) -> list[str]:
        """Return the names that the API knows today; the set grows."""
        reply = self._client.request("GET", "/v3/webhook-events", list_field="events")
        return [str(name) for name in reply.body["events"] or ()]


def _checked_lines(lines: Sequence[str] | None) -> list[str] | None:
    return None if lines is None else [check_line(line, "phone_numbers") for line in lines]


def _checked_events(names: Sequence[str]) -> list[str]:
    if isinstance(names, str) or not names:
        raise InvalidRequestError(f"subscribed_events: must be a list of one event name or more, got {names!r}")
    return list(names)
