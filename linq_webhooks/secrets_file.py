"""The file with the signing secrets: one a line, `<subscription id> whsec_...`.

A line with a secret alone holds for every subscription. Empty lines and those that begin with # are passed over. While
a secret is rotated, both have a line.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable
from pathlib import Path

from linq_client.errors import SettingsError
from linq_client.webhooks import SigningSecrets, check_secret

__all__ = ["SecretsFile", "add_secret", "known_subscriptions", "read_secrets"]


log = logging.getLogger(__name__)


class SecretsFile:
    """A file with secrets that is read again when it has changed.

    Args:
        path: of the file.

    Raises:
        SettingsError: see `read_secrets`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._version = self._present_version()
        self.secrets = SigningSecrets(read_secrets(path))

    def renewed(self) -> SigningSecrets | None:
        """Return the secrets if the file has changed since it was read; None if not, or if it can't be read."""
        version = self._present_version()
        if version is None or version == self._version:
            return None
        self._version = version
        try:
            self.secrets = SigningSecrets(read_secrets(self._path))
        except SettingsError as error:
            log.error("%s; the secrets that were read before stay in force", error)
            return None
        log.warning("secret file %s: it has changed, and was read again", self._path)
        return self.secrets

    def _present_version(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size


def read_secrets(path: Path) -> dict[str, list[str]]:
    """Return the secrets in a file, by subscription; those for all are under `SigningSecrets.ANY`.

    Raises:
        SettingsError: it can't be read, or a line is none of these (without being shown).
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
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
        if len(words) > 2 or (len(words) == 2 and not _is_id(words[0])):
            raise SettingsError(f"{where}: line {number} must be `<subscription id> whsec_...`, or a secret alone")
        subscription = words[0] if len(words) == 2 else SigningSecrets.ANY
        try:
            secrets.setdefault(subscription, []).append(check_secret(words[-1]))
        except SettingsError:
            raise SettingsError(f"{where}: line {number} has no secret, whsec_ and base64") from None
    return secrets


def _is_id(word: str) -> bool:
    """Whether a word can be an id: no delivery ever names one in quotes, with a colon, or a secret in its place."""
    return re.fullmatch(r"(?!whsec_)[\w-]+", word) is not None


def known_subscriptions(path: Path) -> set[str]:
    """Return the ids of the subscriptions whose secret is in a file, which need not exist."""
    return set(read_secrets(path)) if path.exists() else set()


def add_secret(path: Path, subscription_id: str, secret: str) -> None:
    """Add the secret of a subscription to a file, which only its owner may read; it is made if it does not exist.

    Raises:
        OSError: it can't be written.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "rb+") as file:
        os.fchmod(descriptor, 0o600)
        # An editor, or `printf`, may have left the last line without an end.
        size = file.seek(0, os.SEEK_END)
        before = "\n" if size and os.pread(descriptor, 1, size - 1) != b"\n" else ""
        file.write(f"{before}{subscription_id} {secret}\n".encode())
        file.flush()
        os.fsync(descriptor)
