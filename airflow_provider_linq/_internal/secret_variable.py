"""Signing secrets of webhooks in an Airflow Variable."""

from __future__ import annotations

from collections.abc import Mapping
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

#: The newest format of stored secrets that this version reads, and the one that it writes.
SECRETS_FORMAT: Final = 1

_DESCRIPTION: Final = "Signing secrets of Linq webhook subscriptions, by the id of the subscription"


@dataclass(frozen=True)
class StoredSecrets:
    """
    What a Variable holds.

    :param secrets: each signing secret, by the id of its subscription, the newest last.
    :param creating_since: since when a subscription may have been created whose secret is not in here, since its
        response got lost; by the API's clock. None if there is none.
    """

    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    creating_since: datetime | None = None

    def claimed(self, now: datetime) -> StoredSecrets:
        """Return what is stored before a subscription is created."""
        return replace(self, creating_since=self.creating_since or now)

    def with_secret(self, subscription_id: str, secret: str) -> StoredSecrets:
        """
        Return what is stored when a subscription was created.

        The secret of the one before stays: the platform repeats its deliveries for half an hour.
        """
        before = list(self.secrets.items())[-1:]
        return StoredSecrets({**dict(before), subscription_id: secret})

    def has_lost(self, subscription: WebhookSubscription) -> bool:
        """Whether a subscription may be the one whose response got lost, so that nobody has its secret."""
        since = self.creating_since
        return since is not None and subscription.created_at >= since - CLOCK_TOLERANCE

    def to_json(self) -> dict[str, Any]:
        since = self.creating_since
        return {
            "format": SECRETS_FORMAT,
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
            since = stored.get("creating_since")
            return cls(secrets, None if since is None else parse_datetime(since))
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
        self._name = name

    def load(self) -> StoredSecrets:
        """
        Return the secrets in the Variable; none if it does not exist.

        :raises SettingsError: it holds something else.
        """
        try:
            found = Variable.get(self._name, default=None, deserialize_json=True)
        except ValueError:  # whose words would quote it
            found = ""
        stored = StoredSecrets.from_json(self._name, found)
        self._mask(stored)
        return stored

    def save(self, stored: StoredSecrets) -> None:
        """
        Store the secrets, and see that they can be read again.

        :raises AirflowFailException: a secrets backend has a Variable of that name, which hides the one that is
            written.
        """
        self._mask(stored)
        Variable.set(self._name, stored.to_json(), _DESCRIPTION, serialize_json=True)
        if Variable.get(self._name, default=None, deserialize_json=True) != stored.to_json():
            raise AirflowFailException(
                f"secret_variable: must be a Variable that can be written, got {self._name}, which is read from a "
                "secrets backend or the environment, and not from where tasks write"
            )

    def delete(self) -> None:
        """Delete the Variable."""
        Variable.delete(self._name)

    def _mask(self, stored: StoredSecrets) -> None:
        for secret in stored.secrets.values():
            mask_secret(secret)
