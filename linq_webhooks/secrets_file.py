"""The file with the signing secrets: one a line, `<subscription id> whsec_...`.

A line with a secret alone holds for every subscription. Empty lines and those that begin with # are passed over. While
a secret is rotated, both have a line.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from linq_client.errors import SettingsError
from linq_client.webhooks import SigningSecrets, check_secret

__all__ = ["SecretsFile", "add_secret", "known_subscriptions", "read_secrets"]


log = logging.getLogger(__name__)


#: For which a secret that is no longer in the file stays in force: a file can be written piece by piece, and what was
#: refused meanwhile would not be delivered again.
_SETTLING_SECONDS: Final = 5


class SecretsFile(SigningSecrets):
    """The secrets of a file, which is read again whenever it has changed.

    Args:
        path: of the file.

    Raises:
        SettingsError: see `read_secrets`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._version = self._present_version()
        self._present = read_secrets(path)
        self._removal_due_at: float | None = None
        super().__init__(self._present)

    def of(self, headers: Mapping[str, str]) -> tuple[str, ...]:
        """Return the secrets that a delivery can be signed with; see `SigningSecrets`."""
        version = self._present_version()
        if version is not None and version != self._version:
            self._version = version
            self._read_again()
        elif self._removal_due_at is not None and time.monotonic() > self._removal_due_at:
            self._removal_due_at = None
            super().__init__(self._present)
        return super().of(headers)

    def _read_again(self) -> None:
        try:
            present = read_secrets(self._path)
            SigningSecrets(present)
        except SettingsError as error:
            log.error("%s; the secrets that were read before stay in force", error)
            return
        log.warning("secret file %s: it has changed, and was read again", self._path)
        self._present = present
        self._removal_due_at = time.monotonic() + _SETTLING_SECONDS
        before = self._by_subscription
        super().__init__({name: [*present.get(name, ()), *before.get(name, ())] for name in {**present, **before}})

    def _present_version(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        # Not by st_mtime: what makes the file readable leaves that alone, and so do some that write it.
        return found.st_ino, found.st_ctime_ns, found.st_size


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
