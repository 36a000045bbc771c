"""Signing secrets of webhooks in an Airflow Variable."""

from __future__ import annotations

from airflow.sdk import Variable
from airflow.sdk.exceptions import AirflowFailException
from airflow.sdk.log import mask_secret

from airflow_provider_linq._internal.arguments import is_nothing
from linq_client import InvalidRequestError
from linq_webhooks.subscriptions import SigningSecrets

_DESCRIPTION = "Signing secrets of Linq webhook subscriptions, by the id of the subscription"


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

    def load(self) -> SigningSecrets:
        """
        Return the secrets in the Variable; none if it does not exist.

        :raises SettingsError: it holds something else.
        """
        try:
            found = Variable.get(self._name, default=None, deserialize_json=True)
        except ValueError:  # whose words would quote it
            found = ""
        secrets = SigningSecrets.from_json(f"Variable {self._name}", found)
        self._mask(secrets)
        return secrets

    def save(self, secrets: SigningSecrets) -> None:
        """
        Store the secrets, and see that they can be read again.

        :raises AirflowFailException: a secrets backend has a Variable of that name, which hides the one that is
            written.
        """
        self._mask(secrets)
        Variable.set(self._name, secrets.to_json(), _DESCRIPTION, serialize_json=True)
        if Variable.get(self._name, default=None, deserialize_json=True) != secrets.to_json():
            raise AirflowFailException(
                f"secret_variable: must be a Variable that can be written, got {self._name}, which is read from a "
                "secrets backend or the environment, and not from where tasks write"
            )

    def delete(self) -> None:
        """Delete the Variable."""
        Variable.delete(self._name)

    def _mask(self, secrets: SigningSecrets) -> None:
        for secret in secrets.secrets.values():
            mask_secret(secret)
