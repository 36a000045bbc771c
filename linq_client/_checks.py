"""What the API takes for a handle, a line, a URL and a text, and how a refusal shows what it is not.

Everything is checked before any request, and every refusal is an `InvalidRequestError` that names the field, the rule
and the value (of what may be the text of a message: its length).

Source: API reference, "Message content rules"; linq-python 0.65.0, `resources/blocked_handles.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Final
from urllib.parse import unquote

from linq_client.errors import InvalidRequestError

#: Characters that a text part may have.
MAX_TEXT: Final = 10_000
MAX_RECIPIENTS: Final = 31
MAX_IDEMPOTENCY_KEY: Final = 255

#: How much of two names has to be the same for one to pass for the other with a typing error, from 0 to 1. Lower, a
#: variable of another program would be taken for one of ours, such as one that Kubernetes sets for a service.
_SIMILAR: Final = 0.8

_E164: Final = re.compile(r"\+[1-9][0-9]{1,14}")
_EMAIL: Final = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
#: Carriers allow 11 letters, digits, spaces and a few signs, with at least one letter; what is digits alone is a code.
_SENDER_ID: Final = re.compile(r"[0-9]{3,8}|(?=.*[A-Za-z])[A-Za-z0-9][A-Za-z0-9 _.&+-]{0,14}")
_HANDLE_RULE: Final = "must be an E.164 number (no spaces, dashes, parentheses) or an e-mail address"


def _is_handle(value: object) -> bool:
    return isinstance(value, str) and bool(_E164.fullmatch(value) or _EMAIL.fullmatch(value))


def _shown_handle(value: object) -> str:
    """A refused handle as it is, if it looks like a mistyped one; what may be a text in the wrong place, by length."""
    if isinstance(value, str) and not re.fullmatch(r"[+\d\s().-]{0,40}|\S{1,64}@\S{0,64}|\S{0,8}", value):
        return f"{len(value):,} characters"
    return repr(value)[:80]


def valid_handle(value: str) -> str:
    """Return a handle unchanged if it is one, else raise `ValueError`, which does not name the field."""
    if not _is_handle(value):
        raise ValueError(f"{_HANDLE_RULE}, got {_shown_handle(value)}")
    return value


def valid_https(url: str) -> str:
    """Return an https URL unchanged if it is one, else raise `ValueError`, which does not name the field."""
    if not re.fullmatch(r"https://[^\s/]\S*", url, re.IGNORECASE):
        # Of what is no URL only the beginning is shown: it may be text in the wrong place.
        raise ValueError(f"must be an https URL without spaces, got {url[:8]!r} and {len(url[8:])} more characters")
    return url


def valid_link(url: str) -> str:
    """Return a URL that a device opens unchanged, else raise `ValueError`, which does not name the field."""
    if not re.fullmatch(r"https?://[^\s/]\S*", url, re.IGNORECASE):
        raise ValueError(f"must be an http or https URL without spaces, got {len(url):,} characters")
    return url


def valid_key(key: str) -> str:
    """Return an idempotency key unchanged if it is one, else raise `ValueError`, which does not name the field."""
    # Some calls carry it in a header, which takes nothing but printable ASCII.
    if not re.fullmatch(r"[!-~]([ -~]*[!-~])?", key) or len(key) > MAX_IDEMPOTENCY_KEY:
        rule = f"must be 1 to {MAX_IDEMPOTENCY_KEY} printable ASCII characters without space at the ends"
        raise ValueError(f"{rule}, got {key[:40]!r} of {len(key)}")
    return key


def check_line(value: str, field: str = "from") -> str:
    """Return an own phone number unchanged if it is in E.164 form, else raise `InvalidRequestError`."""
    if not isinstance(value, str) or not _E164.fullmatch(value):
        raise InvalidRequestError(
            f"{field}: must be E.164, + and 2 to 15 digits without spaces, got {_shown_handle(value)}"
        )
    return value


def check_handle(value: str, field: str = "handle") -> str:
    """Return a handle unchanged if it is an E.164 number or an e-mail address, else raise `InvalidRequestError`."""
    if not _is_handle(value):
        raise InvalidRequestError(f"{field}: {_HANDLE_RULE}, got {_shown_handle(value)}")
    return value


def check_sender(value: str, field: str = "sender") -> str:
    """Return what a message can come from unchanged, else raise `InvalidRequestError`.

    That is a handle; or what can be received from but not written to: an SMS short code of 3 to 8 digits, or an
    alphanumeric sender id. Source: linq-python 0.65.0, `resources/blocked_handles.py`.
    """
    if not _is_handle(value) and not (isinstance(value, str) and _SENDER_ID.fullmatch(value)):
        raise InvalidRequestError(f"{field}: {_HANDLE_RULE}, a short code or a sender id, got {_shown_handle(value)}")
    return value


def check_recipients(value: str | Sequence[str], field: str = "to") -> list[str]:
    """Return 1 to 31 handles as a list (one string stands for one handle), else raise `InvalidRequestError`."""
    if isinstance(value, str):
        return [check_handle(value, f"{field}[0]")]
    if isinstance(value, Mapping) or not isinstance(value, Iterable):
        raise InvalidRequestError(f"{field}: must be a handle or a list of them, got {type(value).__name__}")
    handles = list(value)
    if not 1 <= len(handles) <= MAX_RECIPIENTS:
        raise InvalidRequestError(f"{field}: must be 1 to {MAX_RECIPIENTS} handles, got {len(handles)}")
    return [check_handle(handle, f"{field}[{index}]") for index, handle in enumerate(handles)]


def check_https(value: str, field: str) -> str:
    """Return an https URL unchanged, else raise `InvalidRequestError`."""
    return _checked(valid_https, value, field)


def check_key(value: str, field: str = "idempotency_key") -> str:
    """Return an idempotency key unchanged if it has 1 to 255 ASCII characters, else raise `InvalidRequestError`."""
    return _checked(valid_key, value, field)


def _checked(check: Callable[[str], str], value: str, field: str) -> str:
    try:
        return check(value)
    except (ValueError, TypeError) as error:
        refused = InvalidRequestError(f"{field}: {error}")
    raise refused


def check_path(value: str) -> str:
    """Return the path of a request unchanged if it is one below `/v3/`, else raise `InvalidRequestError`.

    What stands in front of it is the host that gets the API key; nothing here may change that.
    """
    is_path = isinstance(value, str) and re.fullmatch(r"/v3(/[^/?#\\\s]+)+", value)
    if not is_path or any(unquote(segment) in (".", "..") for segment in value.split("/")):
        shown = repr(value[:40]) if isinstance(value, str) else type(value).__name__
        raise InvalidRequestError(f"path: must begin with /v3/ and have no query, got {shown}")
    return value


def check_index(value: int, field: str) -> int:
    """Return the place of a part unchanged if it is one, else raise `InvalidRequestError`."""
    if not isinstance(value, int) or value < 0:
        raise InvalidRequestError(f"{field}: must be 0 or more, got {value!r}")
    return value


def check_choice(value: str, choices: Sequence[str], field: str) -> str:
    """Return a word unchanged if it is one of `choices`, else raise `InvalidRequestError`."""
    if value not in choices:
        shown = repr(value[:40]) if isinstance(value, str) else type(value).__name__
        raise InvalidRequestError(f"{field}: must be one of {', '.join(choices)}, got {shown}")
    return value


def check_text(value: str, field: str) -> str:
    """Return a text unchanged if it has 1 to 10,000 characters, else raise `InvalidRequestError`."""
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_TEXT:
        shown = f"{len(value):,} characters" if isinstance(value, str) else type(value).__name__
        raise InvalidRequestError(f"{field}: must be text of 1 to {MAX_TEXT:,} characters, got {shown}")
    return value


def closest_name(name: str, known: Iterable[str]) -> str | None:
    """Return which of the known names was probably meant by one that is not among them; None if none is like it.

    Case, and whether words are joined by `-` or `_`, make no difference.
    """
    by_form = {_plain_form(one): one for one in known}
    near = get_close_matches(_plain_form(name), by_form, n=1, cutoff=_SIMILAR)
    return by_form[near[0]] if near else None


def _plain_form(name: str) -> str:
    return name.lower().replace("-", "_")


def check_encodable(value: object, field: str = "") -> None:
    """Refuse texts that no encoder can write, wherever they stand in the parameters or the body of a request.

    Raises:
        InvalidRequestError: there is half a surrogate pair.
    """
    if isinstance(value, str):
        try:
            value.encode()
            return
        except UnicodeEncodeError as error:
            place = error.start
        raise InvalidRequestError(f"{field}: must be Unicode text, got half a surrogate pair at character {place}")
    if isinstance(value, Mapping):
        for name, item in value.items():
            check_encodable(name, field or "name of a field")
            check_encodable(item, f"{field}.{name}" if field else name)
    elif isinstance(value, Sequence) and not isinstance(value, bytes):
        for index, item in enumerate(value):
            check_encodable(item, f"{field}[{index}]")
