"""What is certain after an error response, decided once: from its status, its body and the kind of the request.

Source: API reference, "Errors".
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, Final
from urllib.parse import quote

from linq_client.errors import (
    AuthenticationError,
    BlockedError,
    ChatNotFoundError,
    ConflictError,
    Effect,
    ErrorCode,
    InvalidRequestError,
    LastingConflictError,
    LineIneligibleError,
    LineNotPermittedError,
    LinqError,
    MessageNotFoundError,
    NotFoundError,
    OptedOutError,
    PermissionDeniedError,
    RateLimitedError,
    RequestKind,
    ServerError,
)
from linq_client.times import parse_http_date

#: Characters of the other side's words that an error or a log takes in.
MAX_QUOTED: Final = 200

_TRACE_ID: Final = re.compile(r"[0-9A-Za-z-]{1,64}")
_URL: Final = re.compile(r"https?://[!-~]+")

#: Seconds. What asks for more is a mistake, or wants its callers to sleep for years.
MAX_RETRY_AFTER: Final = 86_400.0

#: Conflicts with what a chat or a line is, not with what happens in it.
_LASTING_CONFLICTS: Final = frozenset(
    {
        ErrorCode.DIRECT_CHAT_NOT_UPDATABLE,
        ErrorCode.CHAT_LEFT,
        ErrorCode.CONTACT_CARD_EXISTS,
        ErrorCode.GROUP_CHAT_NOT_SUPPORTED,
        ErrorCode.CHAT_SERVICE_NOT_SUPPORTED,
        ErrorCode.APP_MESSAGE_SERVICE_UNSUPPORTED,
        ErrorCode.MENTION_IN_DIRECT_CHAT,
    }
)
#: A code counts together with its status alone: with another one it is not known what it means. A class of its own,
#: below, takes the place of the common one of lasting conflicts.
_BY_CODE: Final[Mapping[tuple[int, int], type[LinqError]]] = {
    **{(409, code): LastingConflictError for code in _LASTING_CONFLICTS},
    (403, ErrorCode.LINE_NOT_PERMITTED): LineNotPermittedError,
    (403, ErrorCode.RECIPIENT_OPTED_OUT): OptedOutError,
    (403, ErrorCode.HANDLE_BLOCKED): BlockedError,
    (403, ErrorCode.LINE_INELIGIBLE): LineIneligibleError,
    (404, ErrorCode.CHAT_NOT_FOUND): ChatNotFoundError,
    (404, ErrorCode.MESSAGE_NOT_FOUND): MessageNotFoundError,
}
_BY_STATUS: Final[Mapping[int, type[LinqError]]] = {
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    408: ServerError,
    409: ConflictError,
    429: RateLimitedError,
}
_INVALID_STATUS: Final = frozenset({400, 413, 422})
_RETRYABLE_STATUS: Final = frozenset({408, 429})
_RETRYABLE_CODES: Final = frozenset({ErrorCode.ATTACHMENT_NOT_READY, ErrorCode.CHAT_BEING_CREATED})


def error_from_response(
    status: int,
    body: object,
    headers: Mapping[str, str],
    *,
    request: str,
    kind: RequestKind = RequestKind.CHANGE,
    detail: bool = False,
    secret: str | None = None,
) -> LinqError:
    """Make the exception that an error response stands for.

    Args:
        status: HTTP status, 300 or more.
        body: the decoded JSON body; anything that is not the API's error envelope is passed over.
        headers: of the response, with case-insensitive look-up.
        request: method and path, for the message.
        kind: of the request.
        detail: whether the API's own words may be quoted. They can echo the request, so this is False for
            requests that carry message text.
        secret: the API key that the request carried, which may come back in whatever is said.
    """
    error = _verdict(status, body)
    code: int | None = error.get("code")
    trace_ids = (body.get("trace_id") if error and isinstance(body, Mapping) else None, headers.get("X-Trace-ID"))
    trace_id = next(filter(None, (checked_trace_id(named, secret) for named in trace_ids)), None)
    words = error.get("message")
    made = _class_of(status, code)(
        _message(request, status, code, trace_id, quoted(words, secret) if detail and isinstance(words, str) else None),
        code=code,
        status=status,
        trace_id=trace_id,
        doc_url=_checked_url(error.get("doc_url"), secret),
        retry_after=_retry_after(headers.get("Retry-After"), error.get("retry_after"), headers.get("Date")),
    )
    made.verdict = code is not None
    made.effect = _effect(status, code, kind)
    made.retryable = status in _RETRYABLE_STATUS or status >= 500 or code in _RETRYABLE_CODES
    if made.verdict and status < 500:
        made._answered = True
    if isinstance(made, InvalidRequestError):
        made._lasting = status in _INVALID_STATUS
    return made


def problem_with_success(body: object, list_field: str | None) -> str | None:
    """What is wrong with the body of a response whose status is one of success, None if nothing is.

    Args:
        list_field: the field that must hold a list.
    """
    if not isinstance(body, dict):
        return "is not a JSON object"
    said, error = body.get("success"), body.get("error")
    # Seen at other APIs. Taken for a success, an error would pass for an empty list. What else is made may say in
    # whatever words that it was: sent again, it could be there twice.
    if said is False or (list_field is not None and (error or said not in (None, True))):
        code = error.get("code") if isinstance(error, dict) else None
        words = "says success: false" if said is False else "holds an error, or a success that is not true"
        return words + (f" (code {code})" if _is_code(code) else "")
    if list_field is not None and not isinstance(body.get(list_field), list):
        return f"has no list {list_field}"
    return None


def _verdict(status: int, body: object) -> Mapping[str, Any]:
    """The `error` of the API's error envelope; empty if the body is none, since then somebody else may have responded.

    A gateway can respond in JSON too, with the HTTP status as its "code".
    """
    if not isinstance(body, Mapping) or body.get("success") is True or status < 400:
        return {}
    error = body.get("error")
    if not isinstance(error, Mapping) or not _is_code(error.get("code")):
        return {}
    return {} if type(error.get("status")) is int and error["status"] != status else error


def _is_code(value: object) -> bool:
    return type(value) is int and 1000 <= value < 1_000_000


def _class_of(status: int, code: int | None) -> type[LinqError]:
    by_code = _BY_CODE.get((status, code)) if code is not None else None
    return by_code or _BY_STATUS.get(status) or (ServerError if status >= 500 else InvalidRequestError)


def _effect(status: int, code: int | None, kind: RequestKind) -> Effect:
    """What one request has done that got an error response."""
    if kind is RequestKind.READ:
        return Effect.NONE
    if code is None or status >= 500 or status == 408:
        return Effect.UNKNOWN
    if kind is RequestKind.CHANGE:
        return Effect.NONE
    if (status, code) == (404, ErrorCode.MESSAGE_NOT_FOUND):
        return Effect.DONE_BEFORE if kind is RequestKind.SEND else Effect.UNKNOWN
    # Any other conflict may be one with our own earlier request, which is still under way.
    return Effect.UNKNOWN if status == 409 and not _class_of(status, code)._lasting else Effect.NONE


def _message(request: str, status: int, code: int | None, trace_id: str | None, words: str | None) -> str:
    known = ErrorCode.find(code)
    meaning = ": ".join(filter(None, (known.meaning if known else None, words)))
    if not meaning:
        # Without the API's own word it may not have been the API that responded.
        meaning = "no such path, is the base URL right?" if status == 404 else "the API refused the request"
    facts = [f"HTTP {status}"] + [f"code {code}"] * (code is not None) + [f"trace {trace_id}"] * bool(trace_id)
    return f"{request}: {meaning} ({', '.join(facts)})"


def quoted(words: str, secret: str | None = None) -> str:
    """Return words of the other side as they may stand in an error or a log.

    That is in one line, without control characters and others that do not show, at most `MAX_QUOTED` characters long,
    and without the API key.
    """
    shown = "".join(character if character.isprintable() else " " for character in _without(words, secret))
    shown = _without(" ".join(shown.split()), secret)
    return shown if len(shown) <= MAX_QUOTED else f"{shown[: MAX_QUOTED - 1]}\N{HORIZONTAL ELLIPSIS}"


def checked_trace_id(value: object, secret: str | None = None) -> str | None:
    """Return the API's id of a request, None if it is none: whatever stands there may be an echo of the request."""
    if isinstance(value, str) and _TRACE_ID.fullmatch(value) and _without(value, secret) == value:
        return value
    return None


def _checked_url(value: object, secret: str | None) -> str | None:
    return value if isinstance(value, str) and _URL.fullmatch(value) and quoted(value, secret) == value else None


def _without(words: str, secret: str | None) -> str:
    for one in {secret, quote(secret, safe="")} if secret else ():
        words = words.replace(one, "***")
    return words


def _retry_after(header: str | None, in_body: object, date: str | None) -> float | None:
    """Seconds to wait, at most `MAX_RETRY_AFTER`, from `Retry-After` or, where that is none, from the envelope."""
    for named in (header, in_body):
        seconds = _seconds(named, date)
        if seconds is not None and seconds >= 0:  # not a number is not, either
            return min(seconds, MAX_RETRY_AFTER)
    return None


def _seconds(named: object, date: str | None) -> float | None:
    """A number of seconds, or an HTTP date measured against the response's own `Date`."""
    if type(named) not in (str, int, float):
        return None
    try:
        return float(named)  # type: ignore[arg-type]
    except OverflowError:  # of a whole number in the envelope
        return math.inf if isinstance(named, int) and named > 0 else None
    except ValueError:
        until = parse_http_date(named)
        now = parse_http_date(date) or datetime.now(timezone.utc)
        return max(0.0, (until - now).total_seconds()) if until else None
