"""Encryption of the bodies of stored events."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from linq_client.errors import SettingsError

__all__ = ["BodyCipher"]


class BodyCipher:
    """Encrypts and decrypts bodies, with Fernet (AES-128-CBC and HMAC-SHA256, https://github.com/fernet/spec).

    Args:
        keys: one Fernet key or several, separated by white space or commas. The first encrypts, all decrypt: so a new
            key is put in front of the old one.

    Raises:
        SettingsError: there is no key, or one is none (without being shown).
    """

    def __init__(self, keys: bytes) -> None:
        try:
            fernets: Sequence[Fernet] = [Fernet(key) for key in re.split(rb"[\s,]+", keys) if key]
        except ValueError:
            fernets = []
        if not fernets:
            raise SettingsError(
                "encryption key: must be 32 bytes in URL-safe base64, as `linq-webhooks new-key` prints, "
                "got something else"
            )
        self._fernet = MultiFernet(fernets)

    @staticmethod
    def new_key() -> str:
        """Return a new key."""
        return Fernet.generate_key().decode()

    def encrypt(self, body: bytes) -> str:
        """Return the body as an encrypted text."""
        return self._fernet.encrypt(body).decode()

    def decrypt(self, token: str) -> bytes:
        """Return the body of an encrypted text.

        Raises:
            SettingsError: it was encrypted with a key that is not among these, or was changed.
        """
        try:
            return self._fernet.decrypt(token)
        except InvalidToken:
            raise SettingsError("encryption key: an event is encrypted with a key that was not given") from None
