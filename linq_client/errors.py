"""What can go wrong between us and the API: its code table, and one class for each thing a caller does differently.

Every exception here is a `LinqError`. None ever holds the API key or the text of a message.

Sources: API reference, "Errors"; linq-python 0.65.0 docstrings for the codes above 2011.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Final

#: What each error code of the API means. The set is open: the vendor adds codes without a new API version.
CODES: Final[Mapping[int, str]] = {
    1001: "a required field is missing",
    1002: "a phone number is not in E.164 form",
    1003: "the body is not valid JSON",
    1004: "the content of the message is invalid",
    1005: "a parameter has an invalid value",
    1006: "a direct chat cannot be updated",
    1007: "a rate limit is reached",
    1008: "the iMessage app message is invalid",
    2001: "the chat does not exist",
    2002: "the message does not exist, was deleted or has expired",
    2003: "the attachment does not exist",
    2004: "the API key is missing or wrong",
    2005: "access is denied",
    2006: "this account may not send from this line",
    2007: "the attachment is not uploaded or not processed yet",
    2008: "a sandbox account may not write to this recipient first",
    2009: "the chat is still being created",
    2010: "the webhook subscription does not exist",
    2011: "the feature is not available to this account",
    2012: "there is no active contact card for this line",
    2013: "the line has left this chat",
    2014: "this line already has an active contact card",
    2015: "the request conflicts with the present state",
    2016: "not possible in a group chat",
    2017: "not possible with the service of this chat",
    2018: "app messages need iMessage",
    2019: "the phone number does not exist",
    2021: "the payment request does not exist",
    2022: "the contact card could not be set up",
    2023: "a mention is only possible in a group chat",
    2024: "the recipient has opted out",
    2026: "the handle is blocked by this account",
    2027: "the line is ineligible for sending at the moment",
    2028: "an App Clip cannot be sent as SMS or RCS",
    3001: "the server could not reach a service",
    3002: "an operation failed on the server",
    3003: "a service could not be reached",
    3004: "a service failed",
    3005: "a service did not answer in time",
    3006: "internal error",
    3007: "all attempts to deliver have failed",
    4001: "delivery failed",
    4002: "the phone behind the line is not available",
    4003: "a webhook could not be delivered",
    4004: "the service is unavailable",
    4005: "the recipient cannot receive this type of message",
    4009: "the line has no RCS account to check with",
    4010: "the RCS check could not run",
    5001: "the file could not be stored",
    5002: "the file could not be fetched",
    5003: "no URL could be made for the file",
    5004: "this type of file is not supported",
    5005: "the file is too large",
    5006: "the content of the file is not of the type declared",
    5007: "the image could not be fetched",
}

_RETRYABLE_STATUS: Final = frozenset({408, 429})
_RETRYABLE_CODES: Final = frozenset({2007, 2009})


class LinqError(Exception):
    """Base of everything that this package raises on purpose.

    Attributes:
        code: the API's error code (see `CODES`), None where no API answered.
        status: HTTP status, None where no server answered.
        trace_id: the API's id for the request, to quote to its support.
        doc_url: the API's page about this code.
        retry_after: seconds to wait before the next try, where the API named them (429, some 5xx).
        retryable: whether the same request can succeed later without a change.
        idempotency_key: of a send that failed, to ask again with; None of other calls.
    """

    retryable: bool = False
    idempotency_key: str | None = None

    def __init__(
        self,
        message: str,
        *,
        code: int | None = None,
        status: int | None = None,
        trace_id: str | None = None,
        doc_url: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.trace_id = trace_id
        self.doc_url = doc_url
        self.retry_after = retry_after


class AuthenticationError(LinqError):
    """The API key is missing, wrong or revoked (401, code 2004): give another key."""


class PermissionDeniedError(LinqError):
    """The key is right, but the account, line or recipient is not allowed (403): ask the vendor."""


class OptedOutError(LinqError):
    """The recipient asked not to be written to (403, code 2024): leave them alone until they write again."""


class BlockedError(LinqError):
    """This account has blocked the handle (403, code 2026): unblock it first."""


class LineIneligibleError(LinqError):
    """The line cannot deliver at the moment (403, code 2027): use another line, or wait."""


class NotFoundError(LinqError):
    """No such object, or not any more: on the ephemeral tier it may have expired (404)."""


class RateLimitedError(LinqError):
    """Too many requests (429): wait for `retry_after` seconds."""


class ConflictError(LinqError):
    """The request does not fit the present state (409): read the state again."""


class InvalidRequestError(LinqError, ValueError):
    """The request is wrong and will stay wrong (400, 413, 422, or refused here before it was sent): mend it."""


class SettingsError(InvalidRequestError):
    """The client itself is set up wrongly (key, base URL, limits): mend that, the request may be right."""


class ServerError(LinqError):
    """The API failed (5xx, 408): it may work later."""


class APIConnectionError(LinqError):
    """No usable answer came: no connection, time-out, or not the body expected. The request may have worked."""

    retryable = True


class PaginationError(LinqError):
    """A list named no usable cursor, or one that it had named before: reading on would never end."""


_BY_CODE: Final[Mapping[int, type[LinqError]]] = {
    2004: AuthenticationError,
    2024: OptedOutError,
    2026: BlockedError,
    2027: LineIneligibleError,
}
_BY_STATUS: Final[Mapping[int, type[LinqError]]] = {
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    408: ServerError,
    409: ConflictError,
    429: RateLimitedError,
}


def error_from_answer(
    status: int, body: object, headers: Mapping[str, str], *, request: str, detail: bool
) -> LinqError:
    """Make the exception that an error answer of the API stands for.

    Args:
        status: HTTP status, 300 or more.
        body: the decoded JSON body; anything that is not the API's error envelope is passed over.
        headers: of the answer, with case-insensitive look-up.
        request: method and path, for the message.
        detail: whether the API's own words may be quoted. They can echo the request, so this is False for
            requests that carry message text.
    """
    envelope = body if isinstance(body, dict) else {}
    error = envelope.get("error")
    error = error if isinstance(error, dict) else {}
    code = error["code"] if type(error.get("code")) is int else None
    trace_id = envelope.get("trace_id") or headers.get("X-Trace-ID")
    kind = _BY_CODE.get(code or 0) or _BY_STATUS.get(status)
    if kind is None:
        kind = ServerError if status >= 500 else InvalidRequestError

    meaning = CODES.get(code or 0)
    if detail and isinstance(error.get("message"), str):
        meaning = f"{meaning}: {error['message']}" if meaning else error["message"]
    facts = [f"HTTP {status}"] + [f"code {code}"] * (code is not None) + [f"trace {trace_id}"] * bool(trace_id)
    if meaning is None:
        # Without the API's own word it may not have been the API that answered.
        meaning = "no such path, is the base URL right?" if status == 404 else "the API refused the request"
    message = f"{request}: {meaning} ({', '.join(facts)})"

    made = kind(
        message,
        code=code,
        status=status,
        trace_id=trace_id,
        doc_url=error.get("doc_url"),
        retry_after=_retry_after(headers.get("Retry-After"), error.get("retry_after"), headers.get("Date")),
    )
    made.retryable = status in _RETRYABLE_STATUS or status >= 500 or code in _RETRYABLE_CODES
    return made


def _retry_after(header: str | None, in_body: object, date: str | None) -> float | None:
    """Seconds to wait, from `Retry-After` (seconds, or an HTTP date measured against the answer's own `Date`)."""
    try:
        given = header if header is not None else in_body
        seconds = float(given) if type(given) in (str, int, float) else None  # type: ignore[arg-type]
    except OverflowError:
        seconds = None
    except ValueError:
        seconds = _seconds_until(str(header), date)
    return seconds if seconds is not None and seconds >= 0 else None  # not a number is not, either


def _seconds_until(moment: str, date: str | None) -> float | None:
    try:
        now = parsedate_to_datetime(date) if date else datetime.now(timezone.utc)
        return max(0.0, (parsedate_to_datetime(moment) - now).total_seconds())
    except (ValueError, TypeError):
        return None
