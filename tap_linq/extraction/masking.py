"""Masking what identifies people, and what they wrote, before a record leaves the tap.

Records are masked when they fit their schema, so nothing passes by: each field goes out by its rule in `mask_rules`,
and what has none, all of `_extra` for one, is left out. A handle has the same digest in every stream, so joins hold.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from linq_client import InvalidRequestError, normal_handle
from linq_client.times import format_datetime, parse_datetime_or_none
from tap_linq.extraction.conform import COMMON_TIME
from tap_linq.extraction.mask_rules import CONTAINERS, IDENTIFIER, KNOWN, PLAIN_NUMBERS, WORD, Rule, rule_of
from tap_linq.extraction.records import Record

if TYPE_CHECKING:
    from tap_linq.settings import Settings

__all__ = ["MIN_DIFFERENT", "MIN_KEY_LENGTH", "Masking"]

log = logging.getLogger(__name__)

#: Characters that a key must have: a shorter one can be tried out, and with it every phone number there is.
MIN_KEY_LENGTH: Final = 32

#: Different characters among them: with fewer it is one character or a short word again and again, as where somebody
#: meant to put a key in later. Of 32 random digits in hexadecimal, one in twenty million has so few.
MIN_DIFFERENT: Final = 8

#: Handles whose digests are kept: those of a few pages.
_KEPT_DIGESTS: Final = 65_536

#: A date, as versions of webhooks are named.
_DATE_LENGTH: Final = 10


class Masking:
    """Masks records. Safe to use from several threads.

    Args:
        key: of at least `MIN_KEY_LENGTH` characters, `MIN_DIFFERENT` of them different.
        text: None to leave text as it is, "drop" or "encrypt".
        own_lines: returns the lines of the account.

    Attributes:
        secret: 32 bytes made of the key, for the digests that are kept in STATE and in the files of `seen_path`.

    Raises:
        InvalidRequestError: a package for encryption is missing.
    """

    def __init__(self, key: str, *, handles: bool, text: str | None, own_lines: Callable[[], Collection[str]]) -> None:
        self._key = key.encode()
        self._masks_handles = handles
        self._text = text
        self._own_lines = own_lines
        self.secret = self._derived(b"tap-linq: digests that are kept")
        self._encrypt = self._encryption() if text == "encrypt" else None
        self._digest = lru_cache(_KEPT_DIGESTS)(self._new_digest)

    @classmethod
    def from_settings(cls, settings: Settings, own_lines: Callable[[], Collection[str]]) -> Masking | None:
        """Return what the settings ask for, None if nothing is masked. The log says what is."""
        if settings.mask_key is None:
            return None
        found = cls(settings.mask_key, handles=settings.mask_handles, text=settings.mask_text, own_lines=own_lines)
        log.info("masked: %s", found.summary)
        return found

    @property
    def summary(self) -> str:
        """What is masked, in words for the log."""
        said = ["handles (keyed digests)"] if self._masks_handles else []
        said += [{"drop": "texts (left out)", "encrypt": "texts (encrypted)"}[self._text]] if self._text else []
        return (
            f"{', '.join(said)}, names, files and URLs; what no column is declared for is left out; own lines are not"
        )

    @property
    def fingerprint(self) -> str:
        """What differs where something is masked in another way."""
        return hmac.new(self.secret, f"{self._masks_handles} {self._text}".encode(), hashlib.sha256).hexdigest()

    def mask(self, records: Sequence[Record]) -> list[Record]:
        """Return records that fit their schema so that they are masked."""
        # Half of a record is null, and a call would cost more than what it finds out.
        return [
            {name: None if value is None else self._masked(name, value) for name, value in record.items()}
            for record in records
        ]

    def _masked(self, name: str, value: Any, parent: str | None = None) -> Any:
        if name not in KNOWN or value is None:
            return None
        if isinstance(value, str):
            return self._masked_text(rule_of(name, parent), value)
        if isinstance(value, list):
            return [self._masked(name, one, parent) for one in value]
        if isinstance(value, dict):
            if name not in CONTAINERS:
                return None
            # A name that nobody knows may be a handle itself.
            return {
                inner: None if one is None else self._masked(inner, one, name)
                for inner, one in value.items()
                if inner in KNOWN
            }
        return value if name in PLAIN_NUMBERS else None

    def _masked_text(self, rule: Rule, value: str) -> str | None:
        if rule is Rule.TIME:
            return value if COMMON_TIME.fullmatch(value) else _time(value)
        if rule is Rule.IDENTIFIER:
            return value if IDENTIFIER.fullmatch(value) else self._digest(f"id {value}")
        if rule is Rule.LINE and value in self._own_lines():
            return value
        if rule in (Rule.HANDLE, Rule.LINE):
            return self._digest(normal_handle(value)) if self._masks_handles else value
        is_plain = (
            (rule is Rule.WORD and WORD.fullmatch(value))
            or (rule is Rule.TEXT and self._text is None)
            or (rule is Rule.PATH and IDENTIFIER.fullmatch(value.rpartition("/")[2]))
        )
        if is_plain:
            return value
        return None if self._encrypt is None else self._encrypt(value)

    def _new_digest(self, text: str) -> str:
        return hmac.new(self._key, text.encode(errors="replace"), hashlib.sha256).hexdigest()

    def _derived(self, purpose: bytes) -> bytes:
        return hmac.new(self._key, purpose, hashlib.sha256).digest()

    def _encryption(self) -> Callable[[str], str]:
        try:
            from cryptography.fernet import Fernet
        except ImportError:
            raise InvalidRequestError("mask_text: encrypt needs the package cryptography, which is missing") from None
        fernet = Fernet(base64.urlsafe_b64encode(self._derived(b"tap-linq: encryption of text")))
        return lambda value: fernet.encrypt(value.encode(errors="replace")).decode()


def _time(value: str) -> str | None:
    """Return a date, or a date-time in UTC, as it says the time and nothing else; None if it is neither."""
    if len(value) == _DATE_LENGTH:
        return None if parse_datetime_or_none(f"{value}T00:00:00Z") is None else value
    moment = parse_datetime_or_none(value)
    return None if moment is None else format_datetime(moment)
