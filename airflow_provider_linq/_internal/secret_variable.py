"""Signing secrets of webhooks in an Airflow Variable."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from airflow.sdk import Variable
from airflow.sdk.log import mask_secret

from airflow_provider_linq._internal.arguments import is_nothing
from airflow_provider_linq._internal.version_compat import AirflowFailException
from linq_client import InvalidRequestError, SettingsError
from linq_client.models import WebhookSubscription
from linq_client.sync import CLOCK_TOLERANCE
from linq_client.times import format_datetime, parse_datetime
from linq_client.webhooks import check_secret
from linq_webhooks.subscriptions import is_same_target

#: The newest format of stored secrets that this version reads, and the one that it writes.
SECRETS_FORMAT: Final = 1

_DESCRIPTION: Final = "Signing secrets of Linq webhook subscriptions, by the id of the subscription"


#: How often a Variable is written to which other tasks write too, before that is given up.
_MAX_WRITES: Final = 5


@dataclass(frozen=True)
class Owner:
    """
    Whose secrets a Variable holds; it is that of one URL of one account.

    :param target_url: where the subscriptions deliver to.
    :param linq_conn_id: connection of their account.
    """

    target_url: str
    linq_conn_id: str

    def owns(self, subscription: WebhookSubscription) -> bool:
        """Whether a subscription of the account is for the URL."""
        return is_same_target(subscription.target_url, self.target_url)

    def is_same(self, other: Owner) -> bool:
        """Whether both are one URL of one account."""
        return self.linq_conn_id == other.linq_conn_id and is_same_target(self.target_url, other.target_url)


@dataclass(frozen=True)
class StoredSecrets:
    """
    What a Variable holds.

    :param secrets: each signing secret, by the id of its subscription, the newest last.
    :param creating_since: since when a subscription may have been created whose secret is not in here, since its
        response got lost; by the API's clock. None if there is none.
    :param owner: None of what was put there by hand.
    """

    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    creating_since: datetime | None = None
    owner: Owner | None = None

    def claimed(self, now: datetime) -> StoredSecrets:
        """Return what is stored before a subscription is created."""
        return replace(self, creating_since=self.creating_since or now)

    def with_secret(self, subscription_id: str, secret: str) -> StoredSecrets:
        """Return what is stored when a subscription was created, and its response has come."""
        others = {id_: one for id_, one in self.secrets.items() if id_ != subscription_id}
        return replace(self, secrets={**others, subscription_id: secret})

    def settled(self, ended: Collection[str]) -> StoredSecrets:
        """
        Return what is stored when no subscription is left whose secret is not in here.

        :param ended: ids of those whose secret is needed no longer.
        """
        secrets = {id_: secret for id_, secret in self.secrets.items() if id_ not in ended}
        return replace(self, secrets=secrets, creating_since=None)

    def is_free_for(self, owner: Owner, subscriptions: Iterable[WebhookSubscription]) -> bool:
        """
        Whether nothing in here is of another URL or account, as far as it is in use.

        :param subscriptions: all of the account.
        """
        if not self.secrets and self.creating_since is None:
            return True
        if any(one.id in self.secrets and not owner.owns(one) for one in subscriptions):
            return False
        if self.owner is None or self.owner.is_same(owner):
            return True
        # The receiver has moved, and nothing is left of its URL before.
        return self.owner.linq_conn_id == owner.linq_conn_id and self.creating_since is None

    def has_lost(self, subscription: WebhookSubscription) -> bool:
        """Whether a subscription may be the one whose response got lost, so that nobody has its secret."""
        since = self.creating_since
        return since is not None and subscription.created_at >= since - CLOCK_TOLERANCE

    def to_json(self) -> dict[str, Any]:
        since, owner = self.creating_since, self.owner
        return {
            "format": SECRETS_FORMAT,
            "target_url": None if owner is None else owner.target_url,
            "linq_conn_id": None if owner is None else owner.linq_conn_id,
            "secrets": dict(self.secrets),
            "creating_since": None if since is None else format_datetime(since),
        }

    @classmethod
    def from_json(cls, name: str, stored: object) -> StoredSecrets:
        """
        Read what was stored; None is nothing.

        :param name: of the Variable. What was stored is never quoted.
        :raises SettingsError: it is something else, or of a newer format.
        """
        if stored is None:
            return cls()
        found = stored.get("format") if isinstance(stored, Mapping) else None
        if not isinstance(stored, Mapping) or type(found) is not int or found < 1:
            raise SettingsError(
                f"Variable {name}: must hold the signing secrets of webhook subscriptions, got something else"
            )
        if found > SECRETS_FORMAT:
            raise SettingsError(
                f"Variable {name}: this version reads formats 1 to {SECRETS_FORMAT}, it has format {found}"
            )
        try:
            secrets = {str(id_): check_secret(secret) for id_, secret in stored["secrets"].items()}
            since, url, conn_id = (stored.get(name) for name in ("creating_since", "target_url", "linq_conn_id"))
            owner = None if url is None or conn_id is None else Owner(str(url), str(conn_id))
            return cls(secrets, None if since is None else parse_datetime(since), owner)
        except (LookupError, ValueError, TypeError, AttributeError) as error:
            raise SettingsError(f"Variable {name}: the secrets can't be read: {type(error).__name__}") from None


class SecretVariable:
    """
    A Variable that holds signing secrets; it can be written from a task, which a connection can't.

    :param name: of the Variable; Airflow masks the value of one whose name has the word "secret", in the UI and in
        logs.
    :raises InvalidRequestError: the name has not.
    """

    def __init__(self, name: str) -> None:
        if not isinstance(name, str) or is_nothing(name) or "secret" not in name.lower():
            raise InvalidRequestError(
                f'secret_variable: must be the name of a Variable with the word "secret" in it, whose value Airflow '
                f"hides, got {name!r}"
            )
        self.name = name

    def load(self) -> StoredSecrets:
        """
        Return the secrets in the Variable; none if it does not exist.

        :raises SettingsError: it holds something else.
        """
        try:
            found = Variable.get(self.name, default=None, deserialize_json=True)
        except ValueError:  # whose words would quote it
            found = ""
        stored = StoredSecrets.from_json(self.name, found)
        self._mask(stored)
        return stored

    def load_for(self, owner: Owner, subscriptions: Iterable[WebhookSubscription]) -> StoredSecrets:
        """
        Return the secrets in the Variable for one URL of one account.

        :param subscriptions: all of the account.
        :raises SettingsError: it holds those of another one, or something else.
        """
        stored = self.load()
        if not stored.is_free_for(owner, subscriptions):
            raise self._is_taken()
        return stored

    def update(
        self,
        owner: Owner,
        change: Callable[[StoredSecrets], StoredSecrets],
        *,
        subscriptions: Iterable[WebhookSubscription] | None = None,
    ) -> StoredSecrets:
        """
        Store what a change makes of what is stored at present, and see that it can be read again.

        Airflow has no way to write a Variable only if nobody else has, so the change is made again where somebody has.

        :param owner: whose it is from then on, if it is nobody's.
        :param subscriptions: as in :meth:`load_for`; None if it has been claimed, so that no other may have it since.
        :raises AirflowFailException: a secrets backend has a Variable of that name, which hides the one that is
            written.
        :raises SettingsError: it holds the secrets of another URL or account, or something else.
        """
        before = self.load()
        for _ in range(_MAX_WRITES):
            if subscriptions is None:
                is_own = before.owner is None or before.owner.is_same(owner)
            else:
                is_own = before.is_free_for(owner, subscriptions)
            if not is_own:
                raise self._is_taken()
            stored = replace(change(before), owner=owner)
            self._mask(stored)
            Variable.set(self.name, stored.to_json(), _DESCRIPTION, serialize_json=True)
            found = self.load()
            if found == stored:
                return stored
            if found == before:
                raise AirflowFailException(
                    f"secret_variable: must be a Variable that can be written, got {self.name}, which is read from a "
                    "secrets backend or the environment, and not from where tasks write"
                )
            before = found
        raise SettingsError(f"secret_variable: other tasks write to {self.name} all the time")

    def _is_taken(self) -> SettingsError:
        return SettingsError(
            f"secret_variable: must name a Variable of this URL and connection alone, got {self.name}, which holds the "
            "signing secrets of another one"
        )

    def delete(self) -> None:
        """Delete the Variable."""
        Variable.delete(self.name)

    def _mask(self, stored: StoredSecrets) -> None:
        for secret in stored.secrets.values():
            mask_secret(secret)
