"""The operator that sees to it that the platform delivers webhooks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from airflow_provider_linq._internal.arguments import check_choice
from airflow_provider_linq._internal.fail_fast import fail_fast
from airflow_provider_linq._internal.operator import LinqOperator
from airflow_provider_linq._internal.secret_variable import SecretVariable
from airflow_provider_linq.results import WebhookSubscriptionResult
from linq_client import Effect, InvalidRequestError, LinqError, SettingsError, check_line
from linq_webhooks.subscriptions import (
    DEFAULT_EVENTS,
    ensure_subscription,
    find_subscription,
    find_subscriptions,
    pinned,
)

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["LinqWebhookSubscriptionOperator"]

#: What a subscription should be.
State: TypeAlias = Literal["present", "absent"]


class LinqWebhookSubscriptionOperator(LinqOperator):
    """
    Bring the webhook subscription for a URL to what it should be: create, update or delete it.

    Safe to retry and to run on a schedule: a subscription is found by its URL, and one
    that the platform has disabled, after deliveries that failed for long, is enabled again. Further events that it has,
    and routing headers, are left as they are. The result is a
    :class:`~airflow_provider_linq.results.WebhookSubscriptionResult`.

    The platform shows the signing secret once, when a subscription is created. It goes into an Airflow Variable, as
    JSON: ``{"format": 1, "secrets": {"<subscription id>": "whsec_..."}, ...}``, and into no log and no XCom. Tasks have
    no public way to write a connection, nor a Variable of a secrets backend; a Variable that such a backend has is
    refused before anything is created. If a response is lost, nobody has the secret, and the next try replaces that
    subscription.

    :param target_url: where the platform delivers to, by https; one that names no ``version`` of the payloads gets
        ``?version=2026-02-03`` (templated)
    :param secret_variable: name of the Variable for the signing secret of this URL alone; it must have the word
        "secret" in it, since Airflow hides the values of such Variables. With ``state="absent"`` it is deleted too, if
        given (templated)
    :param subscribed_events: name of an event, or a list of them; by default all about messages, reactions
        and chats (templated)
    :param phone_numbers: own line whose events are wanted, or a list of them; by default all (templated)
    :param state: "present", or "absent" to delete every subscription for the URL.
    :param replace_unknown: replace a subscription for the URL whose secret is not in the Variable, whoever made it; by
        default the task fails, since somebody may have the secret elsewhere.
    :param linq_conn_id: connection of type ``linq`` (templated)
    """

    template_fields: Sequence[str] = (
        "target_url",
        "secret_variable",
        "subscribed_events",
        "phone_numbers",
        "linq_conn_id",
    )
    author_only = ("state", "replace_unknown")

    def __init__(
        self,
        *,
        target_url: str,
        secret_variable: str | None = None,
        subscribed_events: str | Sequence[str] | None = None,
        phone_numbers: str | Sequence[str] | None = None,
        state: State = "present",
        replace_unknown: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_choice("state", state, State)
        self.target_url = target_url
        self.secret_variable = secret_variable
        self.subscribed_events = subscribed_events
        self.phone_numbers = phone_numbers
        self.state = state
        self.replace_unknown = replace_unknown
        self.note_given()

    def execute(self, context: Context) -> WebhookSubscriptionResult:
        with fail_fast():
            self.check_given()
            url = pinned(self.target_url)
            store = None if self.secret_variable is None else SecretVariable(self.secret_variable)
            if self.state == "absent":
                result = self._delete(url, store)
            elif store is None:
                raise InvalidRequestError(
                    "secret_variable: must name the Variable for the secret, which the platform shows once, got none"
                )
            else:
                result = self._ensure(url, store)
        self.log.info("Webhook subscription: %s (%s)", result["change"], result["subscription_id"])
        return result

    def _ensure(self, url: str, store: SecretVariable) -> WebhookSubscriptionResult:
        events = DEFAULT_EVENTS if self.subscribed_events is None else _listed(self.subscribed_events)
        lines = [check_line(line, "phone_numbers") for line in _listed(self.phone_numbers or ())] or None
        client = self.hook.client
        stored = store.load()
        present = find_subscription(client, url)
        is_unknown = present is not None and present.id not in stored.secrets
        if present is not None and is_unknown and not (self.replace_unknown or stored.has_lost(present)):
            raise SettingsError(
                f"secret_variable: subscription {present.id} for this URL exists, and its signing secret, which the "
                "platform shows only to whoever creates it, is not in the Variable: put it there, or give "
                "replace_unknown=True"
            )
        is_new = present is None or is_unknown
        if is_new:
            # Before the request: if its response gets lost, the next try knows that nobody has the secret.
            store.save(stored.claimed(client.server_time))
        try:
            done = ensure_subscription(
                client,
                url,
                events,
                phone_numbers=lines,
                renew_secret=is_unknown,
                keep_secret=lambda id_, secret: store.save(stored.with_secret(id_, secret)),
            )
        except LinqError as error:
            if is_new and error.effect is Effect.NONE:
                store.save(stored)
            raise
        found = done.subscription
        return WebhookSubscriptionResult(
            subscription_id=found.id,
            target_url=found.target_url,
            subscribed_events=list(found.subscribed_events),
            phone_numbers=found.phone_numbers,
            change="replaced" if is_unknown else done.action,
        )

    def _delete(self, url: str, store: SecretVariable | None) -> WebhookSubscriptionResult:
        client = self.hook.client
        deleted = [one.id for one in find_subscriptions(client, url)]
        for id_ in deleted:
            client.webhook_subscriptions.delete(id_)
        self.log.info("Deleted: %s", ", ".join(deleted) or "none, since there was none")
        if store is not None:
            store.delete()
        return WebhookSubscriptionResult(
            subscription_id=None,
            target_url=url,
            subscribed_events=[],
            phone_numbers=None,
            change="deleted" if deleted else "absent",
        )


def _listed(value: str | Sequence[str]) -> Sequence[str]:
    return [value] if isinstance(value, str) else value
