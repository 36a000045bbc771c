"""The API key: how a request carries it, and where another one comes from when it is refused."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Lock
from typing import Final, TypeVar

import requests

from linq_client.errors import AuthenticationError, SettingsError

#: Keys that one request is made with at the most: each was refused, and there was another one.
MAX_KEYS: Final = 3

log = logging.getLogger(__name__)
T = TypeVar("T")


class BearerAuth(requests.auth.AuthBase):
    """Puts the key on a request."""

    def __init__(self, key: str) -> None:
        if not isinstance(key, str) or not key:
            raise SettingsError("api_key: must be given, or stand in LINQ_API_KEY, got none")
        if not key.isascii() or not key.isprintable() or " " in key:
            raise SettingsError(
                "api_key: must be ASCII without spaces and line breaks, got some (its end is the usual place)"
            )
        #: Never to be shown; known here so that it can be taken out of what the other side says.
        self.key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self.key}"
        return request

    def has_key_of(self, other: BearerAuth) -> bool:
        """Whether both carry the same key."""
        return self.key == other.key


class Credentials:
    """The key that is valid now, as far as is known; safe to use from several threads.

    Args:
        key: the first one.
        renew_key: returns the key that is valid now; asked when the API refuses the present one.

    Raises:
        SettingsError: the key is none.
    """

    def __init__(self, key: str, renew_key: Callable[[], str] | None) -> None:
        self._auth = BearerAuth(key)
        self._renew_key = renew_key
        self._lock = Lock()

    def run(self, exchange: Callable[[BearerAuth], T]) -> T:
        """Make a request with the key, and again while the key is refused and there is another one.

        Only a verdict of the API says something about the key; and then the request did nothing, whatever it is.
        """
        for _ in range(MAX_KEYS - 1):
            auth = self._auth
            try:
                return exchange(auth)
            except AuthenticationError as error:
                if not error.verdict or not self._has_other(auth, error):
                    raise
        return exchange(self._auth)

    def _has_other(self, refused: BearerAuth, error: AuthenticationError) -> bool:
        """Whether there is another key by now. Where that can't be known, the error is not permanent.

        Threads whose requests are refused together ask one after the other, and find what the first of them got.
        """
        with self._lock:
            if self._auth is not refused:
                return True
            if self._renew_key is None:
                return False
            try:
                renewed = BearerAuth(self._renew_key())
            except Exception as failed:
                # Only its class: what it says may hold the key.
                log.warning("the API refused the key, and renew_key failed: %s", type(failed).__name__)
                error._lasting = False
                return False
            if renewed.has_key_of(refused):
                return False
            log.info("the API refused the key, renew_key has another one")
            self._auth = renewed
            return True
