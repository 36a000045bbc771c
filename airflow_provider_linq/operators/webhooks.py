"""The operator that sees to it that the platform delivers webhooks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from airflow_provider_linq._internal.arguments import check_choice, check_flag
from airflow_provider_linq._internal.fail_fast import fail_fast
from airflow_provider_linq._internal.operator import LinqOperator
from airflow_provider_linq._internal.secret_variable import Owner, SecretVariable, StoredSecrets
from airflow_provider_linq._internal.version_compat import AirflowException
from airflow_provider_linq.results import WebhookSubscriptionResult
from linq_client import Effect, InvalidRequestError, LinqError, SettingsError, check_line
from linq_client.models import WebhookSubscription
from linq_webhooks.subscriptions import DEFAULT_EVENTS, end_subscriptions, ensure_subscription, pinned

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["LinqWebhookSubscriptionOperator"]

#: What a subscription should be.
State: TypeAlias = Literal["present", "absent"]


class LinqWebhookSubscriptionOperator(LinqOperator):
    """
    Bring the webhook subscription for a URL to what it should be: create, update or delete it.

    Safe to retry and to run on a schedule: a subscription is found by its URL, and one
    that the platform has disabled, after deliveries that failed for long, is enabled again. Further events and lines
    that it has, and routing headers, are left as they are, also where another one is made. The result is a
    :class:`~airflow_provider_linq.results.WebhookSubscriptionResult`.

    The platform shows the signing secret once, when a subscription is created. It goes into an Airflow Variable, as
    JSON: ``{"format": 1, "secrets": {"<subscription id>": "whsec_..."}, ...}``, and into no log and no XCom. Tasks have
    no public way to write a connection, nor a Variable of a secrets backend; a Variable that such a backend has is
    refused before anything is created, and so is one with the secrets of another URL or connection. If a response is
    lost, nobody has the secret, and the next try replaces that subscription.

    :param target_url: where the platform delivers to, by https; one that names no ``version`` of the payloads gets
        ``?version=2026-02-03`` (templated)
    :param secret_variable: name of the Variable for the signing secret, of this URL and connection alone; it must have
        the word "secret" in it, since Airflow hides the values of such Variables. With ``state="absent"`` it is deleted
        too, if given (templated)
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
        check_flag("replace_unknown", replace_unknown)
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
            if self.phone_numbers is not None and not self.phone_numbers:
                raise InvalidRequestError("phone_numbers: must name a line, or be left out for all lines, got none")
            owner = Owner(pinned(self.target_url), self.linq_conn_id)
            store = None if self.secret_variable is None else SecretVariable(self.secret_variable)
            if self.state == "absent":
                result = self._delete(owner, store)
            elif store is None:
                raise InvalidRequestError(
                    "secret_variable: must name the Variable for the secret, which the platform shows once, got none"
                )
            else:
                result = self._ensure(owner, store)
        self.log.info("Webhook subscription: %s (%s)", result["change"], result["subscription_id"])
        return result

    def _ensure(self, owner: Owner, store: SecretVariable) -> WebhookSubscriptionResult:
        events = DEFAULT_EVENTS if self.subscribed_events is None else _listed(self.subscribed_events)
        lines = [check_line(line, "phone_numbers") for line in _listed(self.phone_numbers or ())] or None
        client = self.hook.client
        found = client.webhook_subscriptions.list()
        stored = store.load_for(owner, found)
        known, unknown = _by_secret(found, owner, stored)
        self._check_unknown(known, unknown, stored)
        if not known:
            # Before the request: if its response gets lost, the next try knows that nobody has the secret.
            claimed = store.update(owner, lambda present: present.claimed(client.server_time), subscriptions=found)
        try:
            done = ensure_subscription(
                client,
                owner.target_url,
                events,
                phone_numbers=lines,
                known=stored.secrets,
                renew_secret=bool(unknown) and not known,
                keep_secret=lambda id_, secret: store.update(owner, lambda present: present.with_secret(id_, secret)),
            )
        except LinqError as error:
            if not known and error.effect is Effect.NONE:
                store.update(owner, lambda present: stored if present == claimed else present)
            raise
        if not known or stored.creating_since is not None or (unknown and self.replace_unknown):
            self._settle(owner, store)
        made = done.subscription
        return WebhookSubscriptionResult(
            subscription_id=made.id,
            target_url=made.target_url,
            subscribed_events=list(made.subscribed_events),
            phone_numbers=made.phone_numbers,
            change="replaced" if unknown and not known else done.action,
        )

    def _check_unknown(
        self, known: list[WebhookSubscription], unknown: list[WebhookSubscription], stored: StoredSecrets
    ) -> None:
        for one in unknown:
            if self._is_replaceable(one, stored):
                continue
            if not known:
                raise SettingsError(
                    f"secret_variable: subscription {one.id} for this URL exists, and its signing secret, which the "
                    "platform shows only to whoever creates it, is not in the Variable: put it there, or give "
                    "replace_unknown=True"
                )
            self.log.warning("Subscription %s for this URL is left as it is: its secret is not in the Variable", one.id)

    def _is_replaceable(self, subscription: WebhookSubscription, stored: StoredSecrets) -> bool:
        return self.replace_unknown or stored.has_lost(subscription)

    def _settle(self, owner: Owner, store: SecretVariable) -> None:
        """
        End the subscriptions whose responses got lost, and take out secrets that are needed no longer.

        :raises AirflowException: none is left but those, since another task did the same meanwhile.
        """
        client = self.hook.client
        stored = store.load()
        found = client.webhook_subscriptions.list()
        known, unknown = _by_secret(found, owner, stored)
        if not known:
            raise AirflowException("Another task has replaced the subscription at the same time; this one has to retry")
        end_subscriptions(client, [one for one in unknown if self._is_replaceable(one, stored)])
        present = {one.id for one in found}
        ended = [id_ for id_ in stored.secrets if id_ not in present]
        # The newest of them stays: the platform repeats deliveries for half an hour.
        store.update(owner, lambda present: present.settled(ended[:-1]))

    def _delete(self, owner: Owner, store: SecretVariable | None) -> WebhookSubscriptionResult:
        client = self.hook.client
        found = client.webhook_subscriptions.list()
        if store is not None:
            store.load_for(owner, found)
        deleted = [one for one in found if owner.owns(one)]
        end_subscriptions(client, deleted)
        self.log.info("Deleted: %s", ", ".join(one.id for one in deleted) or "none, since there was none")
        if store is not None:
            store.delete()
        return WebhookSubscriptionResult(
            subscription_id=None,
            target_url=owner.target_url,
            subscribed_events=[],
            phone_numbers=None,
            change="deleted" if deleted else "absent",
        )


def _by_secret(
    found: list[WebhookSubscription], owner: Owner, stored: StoredSecrets
) -> tuple[list[WebhookSubscription], list[WebhookSubscription]]:
    """Return the subscriptions of a URL whose secret is stored, and the others of it."""
    own = [one for one in found if owner.owns(one)]
    return [one for one in own if one.id in stored.secrets], [one for one in own if one.id not in stored.secrets]


def _listed(value: str | Sequence[str]) -> Sequence[str]:
    return [value] if isinstance(value, str) else value
