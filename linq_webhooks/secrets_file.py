"""The file with the signing secrets: one a line, `<subscription id> whsec_...`.

A line with a secret alone holds for every subscription. Empty lines and those that begin with # are passed over. While
a secret is rotated, both have a line.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from linq_client.errors import SettingsError
from linq_client.webhooks import SigningSecrets, check_secret

__all__ = ["add_secret", "known_subscriptions", "read_secrets"]


def read_secrets(path: Path) -> dict[str, list[str]]:
    """Return the secrets in a file, by subscription; those for all are under `SigningSecrets.ANY`.

    Raises:
        SettingsError: it can't be read, or a line is none of these (without being shown).
    """
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"secret file {path}: cannot be read: {type(error).__name__}") from None
    return parse_secrets(lines, f"secret file {path}")


def parse_secrets(lines: Iterable[str], where: str) -> dict[str, list[str]]:
    """Return the secrets of lines; see `read_secrets`."""
    secrets: dict[str, list[str]] = {}
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) > 2:
            raise SettingsError(f"{where}: line {number} must be `<subscription id> whsec_...`, or a secret alone")
        subscription = words[0] if len(words) == 2 else SigningSecrets.ANY
        try:
            secrets.setdefault(subscription, []).append(check_secret(words[-1]))
        except SettingsError:
            raise SettingsError(f"{where}: line {number} has no secret, whsec_ and base64") from None
    return secrets


def known_subscriptions(path: Path) -> set[str]:
    """Return the ids of the subscriptions whose secret is in a file, which need not exist."""
    return set(read_secrets(path)) if path.exists() else set()


def add_secret(path: Path, subscription_id: str, secret: str) -> None:
    """Add the secret of a subscription to a file, which only its owner may read; it is made if it does not exist.

    Raises:
        OSError: it can't be written.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "w") as file:
        os.fchmod(descriptor, 0o600)
        file.write(f"{subscription_id} {secret}\n")
        file.flush()
        os.fsync(descriptor)
