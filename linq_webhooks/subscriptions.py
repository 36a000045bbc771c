"""The subscription that brings deliveries: made, kept as it should be, and checked.

Source: API reference, "Webhook subscriptions"; linq-python 0.65.0, `resources/webhook_subscriptions.py`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from linq_client import ConflictError, LinqClient, LinqError, NotFoundError, SettingsError

if TYPE_CHECKING:
    from linq_client.models import WebhookSubscription

__all__ = [
    "DEFAULT_EVENTS",
    "PAYLOAD_VERSION",
    "Outcome",
    "end_subscriptions",
    "ensure_subscription",
    "find_subscription",
    "find_subscriptions",
    "is_same_target",
    "pinned",
    "problems_of",
]

log = logging.getLogger(__name__)

#: The form of message events that subscriptions are pinned to, so that a new default of the platform changes nothing.
PAYLOAD_VERSION: Final = "2026-02-03"

#: What an archive of messages needs: all that happens to messages, and what their chats and lines are.
DEFAULT_EVENTS: Final = (
    "message.sent",
    "message.received",
    "message.delivered",
    "message.read",
    "message.failed",
    "message.edited",
    "reaction.added",
    "reaction.removed",
    "participant.added",
    "participant.removed",
    "chat.created",
    "chat.group_name_updated",
    "chat.group_icon_updated",
    "phone_number.status_updated",
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What `ensure_subscription` has done.

    Attributes:
        subscription: as it is now.
        action: `created`, `updated` or `unchanged`.
    """

    subscription: WebhookSubscription
    action: str


def pinned(url: str) -> str:
    """Return a target URL with the payload version in its query.

    Raises:
        SettingsError: it is no https URL (http is for loopback), or asks for another version.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1", "::1")):
        raise SettingsError(f"target URL: must be an https URL, got {parts.scheme or 'none'}")
    if not parts.hostname or parts.username or parts.password:
        raise SettingsError("target URL: must have a host, and no user or password")
    query = parse_qsl(parts.query, keep_blank_values=True)
    versions = [value for name, value in query if name == "version"]
    if versions and versions != [PAYLOAD_VERSION]:
        raise SettingsError(f"target URL: must ask for version={PAYLOAD_VERSION} or none, got {versions[0]!r}")
    if not versions:
        query.append(("version", PAYLOAD_VERSION))
    return urlunsplit(parts._replace(query=urlencode(query), fragment=""))


def _without_version(url: str) -> str:
    parts = urlsplit(url)
    query = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name != "version"]
    return urlunsplit(parts._replace(query=urlencode(query), fragment=""))


def is_same_target(url: str, other: str) -> bool:
    """Whether two target URLs are one, whatever payload version each asks for."""
    return _without_version(url) == _without_version(other)


def find_subscriptions(client: LinqClient, url: str) -> list[WebhookSubscription]:
    """Return the subscriptions of a target URL, whatever payload version each asks for."""
    return [one for one in client.webhook_subscriptions.list() if is_same_target(one.target_url, url)]


def find_subscription(client: LinqClient, url: str) -> WebhookSubscription | None:
    """Return the subscription of a target URL, whatever payload version it asks for; the active one of several."""
    return _best(find_subscriptions(client, url))


def _best(found: Iterable[WebhookSubscription]) -> WebhookSubscription | None:
    return max(found, key=lambda one: (one.is_active, one.created_at), default=None)


def problems_of(
    subscription: WebhookSubscription, events: Sequence[str], phone_numbers: Sequence[str] | None = None
) -> list[str]:
    """Return what keeps a subscription from bringing these events of these lines, in words; nothing if it does."""
    problems = []
    if not subscription.is_active:
        problems.append("it is not active: the platform disables it when deliveries have failed for long")
    missing = [name for name in events if name not in subscription.subscribed_events]
    if missing:
        problems.append(f"it lacks the events {', '.join(missing)}")
    if subscription.target_url != pinned(_without_version(subscription.target_url)):
        problems.append(f"its URL does not ask for version={PAYLOAD_VERSION}")
    if subscription.phone_numbers:
        left_out = [line for line in phone_numbers or () if line not in subscription.phone_numbers]
        if phone_numbers is None or left_out:
            problems.append(f"it covers only the lines {', '.join(subscription.phone_numbers)}")
    return problems


def ensure_subscription(
    client: LinqClient,
    url: str,
    events: Sequence[str] = DEFAULT_EVENTS,
    *,
    phone_numbers: Sequence[str] | None = None,
    known: Collection[str] | None = None,
    renew_secret: bool = False,
    keep_secret: Callable[[str, str], object],
) -> Outcome:
    """Make sure that a subscription brings these events to a URL. Made again, it changes nothing.

    Events and lines that it has besides, and its routing headers, stay as they are, also where another one is made.

    Args:
        client: of the account.
        url: where the receiver is; the payload version is added.
        events: that it must have.
        phone_numbers: lines that it must cover; all if None.
        known: ids of the subscriptions whose secret is known: where a URL has several, one of these is kept up.
        renew_secret: make another subscription, with another secret, and end all that the URL has.
        keep_secret: is called with the id and the signing secret of a subscription that was made, and has to store
            them: the platform tells a secret only once. If it raises, the subscription is ended.

    Raises:
        LinqError: the API refused, or did not answer.
        SettingsError: the URL or an event is none.
    """
    target = pinned(url)
    found = find_subscriptions(client, target)
    present = _best([one for one in found if known is not None and one.id in known] or found)
    if present is not None and not renew_secret:
        if not problems_of(present, events, phone_numbers):
            return Outcome(present, "unchanged")
        updated = client.webhook_subscriptions.update(
            present.id,
            target_url=target,
            subscribed_events=[*present.subscribed_events, *(e for e in events if e not in present.subscribed_events)],
            is_active=True,
            phone_numbers=_lines_with(present, phone_numbers) or [],
        )
        return Outcome(updated, "updated")

    def create() -> WebhookSubscription:
        return client.webhook_subscriptions.create(
            target,
            list(dict.fromkeys([*(present.subscribed_events if present else ()), *events])),
            phone_numbers=_lines_with(present, phone_numbers),
            routing_key_header=present.routing_key_header if present else None,
            routing_id_header=present.routing_id_header if present else None,
        )

    try:
        made = create()
    except ConflictError:
        if not found:
            raise
        # It may be that a URL can have one subscription only.
        end_subscriptions(client, found)
        found = []
        made = create()
    try:
        if not made.signing_secret:
            raise SettingsError(f"subscription {made.id}: the API told no signing secret")
        keep_secret(made.id, made.signing_secret)
    except Exception:
        # Nobody could tell its deliveries genuine.
        try:
            end_subscriptions(client, [made])
        except LinqError as error:
            log.error("subscription %s: its secret could not be stored, nor could it be ended: %s", made.id, error)
        raise
    end_subscriptions(client, found)
    return Outcome(made, "created")


def _lines_with(present: WebhookSubscription | None, wanted: Sequence[str] | None) -> list[str] | None:
    """Return the lines that a subscription covers, and those that are wanted; None for all."""
    if wanted is None or (present is not None and not present.phone_numbers):
        return None
    return list(dict.fromkeys([*((present.phone_numbers or ()) if present else ()), *wanted]))


def end_subscriptions(client: LinqClient, subscriptions: Iterable[WebhookSubscription]) -> None:
    """End subscriptions; one that is gone already is passed over.

    Raises:
        LinqError: the API refused, or did not answer.
    """
    for one in subscriptions:
        with suppress(NotFoundError):
            client.webhook_subscriptions.delete(one.id)
