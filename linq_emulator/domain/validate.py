"""Validation of bodies, query values, ids and handles. Each error has the documented code."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, urlsplit
from uuid import UUID

import msgspec

from linq_emulator.errors import ApiError
from linq_emulator.json_codec import decode

__all__ = [
    "MAX_KEY_LENGTH",
    "MAX_RECIPIENTS",
    "handle",
    "header_name",
    "https_url",
    "idempotency_key",
    "identifier",
    "is_handle",
    "is_phone",
    "is_sender",
    "is_sender_id",
    "json_object",
    "limit",
    "non_empty_text",
    "one_of",
    "optional",
    "phone",
    "recipients",
    "required",
    "split_url",
]

_E164 = re.compile(r"\+[1-9]\d{1,14}", re.ASCII)
_EMAIL = re.compile(r"[^\s@()]+@[^\s@()]+\.[^\s@().]+")
# Digits, or up to 15 characters with a letter among them.
_SENDER_ID = re.compile(r"[0-9]{3,8}|(?=.*[A-Za-z])[A-Za-z0-9][A-Za-z0-9 _.&-]{0,14}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_TYPE_NAMES: dict[type, str] = {str: "a string", bool: "true or false", int: "a whole number", list: "an array"}
_TYPE_NAMES[float] = "a number"
_TYPE_NAMES[dict] = "an object"

MAX_RECIPIENTS = 31
MAX_KEY_LENGTH = 255


def is_phone(text: str) -> bool:
    """Whether a string is an E.164 number."""
    return _E164.fullmatch(text) is not None


def is_handle(text: str) -> bool:
    """Whether a string is an E.164 number or an e-mail address."""
    return is_phone(text) or _EMAIL.fullmatch(text) is not None


def is_sender_id(text: str) -> bool:
    """Whether a string is an SMS short code or an alphanumeric sender id, which is received from and not written to.

    linq-python 0.65.0 ``resources/blocked_handles.py``.
    """
    return _SENDER_ID.fullmatch(text) is not None


def is_sender(text: str) -> bool:
    """Whether a message can come from it: a handle, or a sender id."""
    return is_handle(text) or is_sender_id(text)


def json_object(body: bytes) -> dict[str, Any]:
    """Parse a body that is a JSON object.

    Raises:
        ApiError: 1003 if it is not.
    """
    try:
        return decode(body, dict[str, Any])
    except msgspec.ValidationError as error:
        # Its words name types and bounds, and no value.
        raise ApiError(1003, f"the body must be a JSON object: {error}") from None
    except ValueError as error:
        raise ApiError(1003, f"the body is not valid JSON: {error}") from None


def _typed(value: object, kind: type, name: str) -> Any:
    kinds = (int, float) if kind is float else kind
    if not isinstance(value, kinds) or (isinstance(value, bool) and kind is not bool):
        raise ApiError(1003, f"{name} must be {_TYPE_NAMES[kind]}")
    return value


def required(body: Mapping[str, Any], name: str, kind: type, prefix: str = "") -> Any:
    """A required field.

    Raises:
        ApiError: 1001 if it is missing or null, 1003 if it has another type.
    """
    value = body.get(name)
    if value is None:
        raise ApiError(1001, f"{prefix}{name} is required")
    return _typed(value, kind, prefix + name)


def optional(body: Mapping[str, Any], name: str, kind: type, prefix: str = "") -> Any:
    """A field that may be missing or null, which is None.

    Raises:
        ApiError: 1003 if it has another type.
    """
    value = body.get(name)
    return None if value is None else _typed(value, kind, prefix + name)


def one_of(value: str, allowed: tuple[str, ...], name: str, code: int = 1005) -> str:
    """A value of an enumeration; `code` otherwise."""
    if value not in allowed:
        raise ApiError(code, f"{name} must be one of {', '.join(allowed)}")
    return value


def handle(value: object, name: str) -> str:
    """An E.164 number or an e-mail address; 1002 otherwise."""
    text: str = _typed(value, str, name)
    if not is_handle(text):
        raise ApiError(1002, f"{name} must be an E.164 phone number or an e-mail address")
    return text


def phone(value: object, name: str) -> str:
    """An E.164 number; 1002 otherwise."""
    text: str = _typed(value, str, name)
    if not is_phone(text):
        raise ApiError(1002, f"{name} must be a phone number in E.164 format")
    return text


def recipients(body: Mapping[str, Any]) -> tuple[str, ...]:
    """The handles of `to` without duplicates, in order."""
    handles = required(body, "to", list)
    if not 1 <= len(handles) <= MAX_RECIPIENTS:
        raise ApiError(1005, f"to must hold 1 to {MAX_RECIPIENTS} recipients")
    return tuple(dict.fromkeys(handle(recipient, f"to[{index}]") for index, recipient in enumerate(handles)))


def identifier(text: str, name: str) -> str:
    """A UUID in lower case; 1005 otherwise."""
    if not _UUID.fullmatch(text):
        raise ApiError(1005, f"{name} must be a UUID")
    return str(UUID(text))


def limit(query: Mapping[str, str], default: int) -> int:
    """The page size: 1 to 100."""
    text = query.get("limit")
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and 1 <= int(text) <= 100):
        raise ApiError(1005, "limit must be a whole number from 1 to 100")
    return int(text)


def split_url(text: str, name: str) -> SplitResult:
    """The parts of a URL with a host and, if it has one, a valid port; 1005 otherwise."""
    try:
        parts = urlsplit(text)
        has_host = bool(parts.hostname) and parts.port != 0
    except ValueError:
        has_host = False
    if not has_host or re.search(r"[\s\x00-\x1f]", text):
        raise ApiError(1005, f"{name} must be a URL with a host")
    return parts


def https_url(text: str, name: str, max_length: int = 2048) -> str:
    """An absolute https URL; 1005 otherwise."""
    if split_url(text, name).scheme != "https":
        raise ApiError(1005, f"{name} must be an https URL")
    if len(text) > max_length:
        raise ApiError(1005, f"{name} must have at most {max_length} characters")
    return text


def header_name(value: str | None, name: str) -> str | None:
    """The name of an HTTP header, None for an empty one; 1005 otherwise."""
    if value and not _HEADER_NAME.fullmatch(value):
        raise ApiError(1005, f"{name} must be the name of an HTTP header")
    return value or None


def non_empty_text(value: str, name: str, max_length: int) -> str:
    """A string of 1 to `max_length` characters; 1004 otherwise."""
    if not 1 <= len(value) <= max_length:
        raise ApiError(1004, f"{name} must have 1 to {max_length} characters")
    return value


def idempotency_key(value: str, name: str) -> str:
    """A key of 1 to 255 characters; 1005 otherwise."""
    if not 1 <= len(value) <= MAX_KEY_LENGTH:
        raise ApiError(1005, f"{name} must have 1 to {MAX_KEY_LENGTH} characters")
    return value
