"""What can go wrong between us and the API: its codes, and one class for each thing that a caller does differently.

What is certain after an error is decided once, in `_verdict`, and stands on it: `verdict`, `effect`, `retryable` and
`permanent`. Nobody else looks at a status or compares a code. Every exception here is a `LinqError`, and none ever
holds the API key or the text of a message.

Sources: API reference, "Errors"; linq-python 0.65.0 docstrings for the codes above 2011.
"""

from __future__ import annotations

from enum import Enum, IntEnum

from typing_extensions import Self

__all__ = [
    "APIConnectionError",
    "APIUnavailableError",
    "AuthenticationError",
    "BlockedError",
    "ChatNotFoundError",
    "ClientClosedError",
    "ConflictError",
    "CursorExpiredError",
    "Effect",
    "ErrorCode",
    "FileTooLargeError",
    "InvalidRequestError",
    "LastingConflictError",
    "LineIneligibleError",
    "LineNotPermittedError",
    "LinqError",
    "MessageNotFoundError",
    "NotFoundError",
    "OptedOutError",
    "PaginationError",
    "PermissionDeniedError",
    "RateLimitedError",
    "RequestKind",
    "ServerError",
    "SettingsError",
]


class ErrorCode(IntEnum):
    """The API's error codes, with what each means and what helps; the docstrings name the HTTP status.

    The set is open, since the vendor adds codes without a new API version: `LinqError.code` may be another number.

    Attributes:
        meaning: what is wrong, as a part of a sentence.
        remedy: what a person can do about it, likewise.
    """

    meaning: str
    remedy: str

    def __new__(cls, code: int, meaning: str = "", remedy: str = "") -> Self:
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        member.remedy = remedy
        return member

    @classmethod
    def find(cls, code: int | None) -> Self | None:
        """Return the member of a code, None if it is not one of those that are known here."""
        return next((member for member in cls if member == code), None)

    MISSING_FIELD = 1001, "a required field is missing", "give the field that the message names"
    """400."""
    INVALID_PHONE_NUMBER = (
        1002,
        "a phone number is not in E.164 form",
        "write it as + and digits, with the country code",
    )
    """400."""
    INVALID_BODY = 1003, "the body is not valid JSON", "fix the values that the request is made of"
    """400; 422 in older documents."""
    INVALID_MESSAGE_CONTENT = (
        1004,
        "the content of the message is invalid",
        "fix the message: its parts, their lengths, its media",
    )
    """400."""
    INVALID_PARAMETER = (
        1005,
        "a parameter has an invalid value",
        "fix the value; a link goes into the second message of a chat",
    )
    """400; also a link in the first message of a chat."""
    DIRECT_CHAT_NOT_UPDATABLE = 1006, "a direct chat cannot be updated", "leave it: only a group has a name and an icon"
    """409; 400 in older documents."""
    RATE_LIMITED = 1007, "a rate limit is reached", "wait as long as the API says, and send more slowly"
    """429, with the seconds to wait."""
    INVALID_APP_MESSAGE = 1008, "the iMessage app message is invalid", "fix the app message"
    """400."""
    CHAT_NOT_FOUND = 2001, "the chat does not exist", "take the id from a chat of this account"
    """404."""
    MESSAGE_NOT_FOUND = (
        2002,
        "the message does not exist, was deleted or has expired",
        "read messages before they expire: this one can't be had any more",
    )
    """404; of a send: the message of its idempotency key, or the one that it replies to."""
    ATTACHMENT_NOT_FOUND = 2003, "the attachment does not exist", "upload the file again"
    """404."""
    UNAUTHORIZED = 2004, "the API key is missing or wrong", "give a valid API key"
    """401."""
    ACCESS_DENIED = 2005, "access is denied", "ask the vendor what this account may do"
    """403."""
    LINE_NOT_PERMITTED = 2006, "this account may not send from this line", "use a line of this account"
    """403; the line was never the account's, or has left it."""
    ATTACHMENT_NOT_READY = (
        2007,
        "the attachment is not uploaded or not processed yet",
        "upload the file first, and try again in a moment",
    )
    """404; passes."""
    RECIPIENT_NOT_ALLOWED = (
        2008,
        "a sandbox account may not write to this recipient first",
        "let them write first, or ask the vendor for a dedicated tier",
    )
    """403."""
    CHAT_BEING_CREATED = 2009, "the chat is still being created", "try again in a moment"
    """409; passes. Another request, maybe our own, creates it."""
    SUBSCRIPTION_NOT_FOUND = 2010, "the webhook subscription does not exist", "create the subscription"
    """404."""
    FEATURE_NOT_AVAILABLE = 2011, "the feature is not available to this account", "ask the vendor for the feature"
    """403."""
    CONTACT_CARD_NOT_FOUND = 2012, "there is no active contact card for this line", "create a contact card for the line"
    """404."""
    CHAT_LEFT = 2013, "the line has left this chat", "write in another chat"
    """409; for good."""
    CONTACT_CARD_EXISTS = (
        2014,
        "this line already has an active contact card",
        "update the card in place of creating one",
    )
    """409."""
    STATE_CONFLICT = 2015, "the request conflicts with the present state", "read the state again before another try"
    """409; may pass."""
    GROUP_CHAT_NOT_SUPPORTED = 2016, "not possible in a group chat", "use a direct chat"
    """409; for good."""
    CHAT_SERVICE_NOT_SUPPORTED = 2017, "not possible with the service of this chat", "use a chat of another service"
    """409; for good."""
    APP_MESSAGE_SERVICE_UNSUPPORTED = 2018, "app messages need iMessage", "prefer iMessage, or send a text"
    """409; for good."""
    PHONE_NUMBER_NOT_FOUND = 2019, "the phone number does not exist", "take the id from a line of this account"
    """404."""
    PAYMENT_REQUEST_NOT_FOUND = (
        2021,
        "the payment request does not exist",
        "take the id from a payment request of this account",
    )
    """404."""
    CONTACT_CARD_SETUP_FAILED = 2022, "the contact card could not be set up", "try again"
    """500."""
    MENTION_IN_DIRECT_CHAT = 2023, "a mention is only possible in a group chat", "leave the mention out"
    """409; for good."""
    RECIPIENT_OPTED_OUT = (
        2024,
        "the recipient has opted out",
        "take them off the list; they are back as soon as they write",
    )
    """403, until the recipient writes again."""
    HANDLE_BLOCKED = 2026, "the handle is blocked by this account", "unblock the handle, or take it off the list"
    """403."""
    LINE_INELIGIBLE = 2027, "the line is ineligible for sending at present", "wait an hour, or use another line"
    """403; passes."""
    APP_CLIP_SERVICE_UNSUPPORTED = (
        2028,
        "an App Clip cannot be sent as SMS or RCS",
        "prefer iMessage, or leave the App Clip out",
    )
    """4xx, which one is not documented."""
    SERVICE_UNREACHABLE = 3001, "the server could not reach a service", "try again later"
    """500."""
    OPERATION_FAILED = 3002, "an operation failed on the server", "try again later"
    """500."""
    DEPENDENCY_UNREACHABLE = 3003, "a service could not be reached", "try again later"
    """500."""
    DEPENDENCY_FAILED = 3004, "a service failed", "try again later"
    """500."""
    DEPENDENCY_TIMEOUT = 3005, "a service did not respond in time", "try again later"
    """504."""
    INTERNAL_ERROR = 3006, "internal error", "try again later; if it lasts, give the trace id to the vendor's support"
    """500."""
    ATTEMPTS_EXHAUSTED = (
        3007,
        "all attempts to deliver have failed",
        "check that the address can be reached, and send again later",
    )
    """500, and in message.failed."""
    DELIVERY_FAILED = 4001, "delivery failed", "check that the address can be reached, and send again later"
    """500, and in message.failed."""
    PHONE_NOT_AVAILABLE = (
        4002,
        "the phone behind the line is not available",
        "use another line, and ask the vendor about this one",
    )
    """500, and in message.failed."""
    WEBHOOK_NOT_DELIVERED = (
        4003,
        "a webhook could not be delivered",
        "check that the receiver can be reached, and answers within 10 seconds",
    )
    """500."""
    SERVICE_UNAVAILABLE = 4004, "the service is unavailable", "try again in half a minute"
    """503."""
    UNSUPPORTED_BY_RECIPIENT = (
        4005,
        "the recipient cannot receive this type of message",
        "send it in a simpler form, a text for example",
    )
    """422, and in message.failed."""
    NO_RCS_ACCOUNT = 4009, "the line has no RCS account to check with", "ask the vendor for RCS on the line"
    """503."""
    RCS_CHECK_FAILED = 4010, "the RCS check could not run", "try again later"
    """503."""
    FILE_NOT_STORED = 5001, "the file could not be stored", "try again; a voice memo has 10 MB at most"
    """500; 413 of a voice memo over 10 MB."""
    FILE_NOT_FETCHED = 5002, "the file could not be fetched", "check that anybody can fetch the URL, and try again"
    """500."""
    FILE_WITHOUT_URL = 5003, "no URL could be made for the file", "try again"
    """500."""
    FILE_TYPE_NOT_SUPPORTED = 5004, "this type of file is not supported", "convert the file to a supported type"
    """400."""
    FILE_TOO_LARGE = (
        5005,
        "the file is too large",
        "make the file smaller: 100 MB at most, by URL and as a voice memo 10 MB",
    )
    """400."""
    FILE_TYPE_MISMATCH = (
        5006,
        "the content of the file is not of the type declared",
        "declare the type that the file has",
    )
    """400."""
    IMAGE_NOT_FETCHED = 5007, "the image could not be fetched", "check that anybody can fetch the URL of the image"
    """400."""


class RequestKind(Enum):
    """What a request can do, which decides what is certain after its error."""

    READ = "read"
    """Nothing can happen on the platform that matters: a GET, a file transfer, a slot for an attachment."""
    CHANGE = "change"
    """A change without an idempotency key."""
    SEND = "send"
    """A message with an idempotency key."""
    REPLY = "reply"
    """A `SEND` that names another message, so that "no such message" may be about that one."""


class Effect(Enum):
    """What a call that failed has done on the platform, all its tries together."""

    NONE = "none"
    """Certainly nothing: the API refused it, or nothing was ever sent."""
    UNKNOWN = "unknown"
    """It may have been done, or may still be under way."""
    DONE_BEFORE = "done_before"
    """A send whose idempotency key the platform knows: its message was sent, and is deleted or has expired since."""


class LinqError(Exception):
    """Base of everything that this package raises on purpose.

    Attributes:
        code: the API's error code, mostly one of `ErrorCode`; None without a `verdict`.
        status: HTTP status, None where no response came.
        trace_id: the API's id for the request, to quote to its support.
        doc_url: the API's page about this code.
        retry_after: seconds to wait before the next try, where the API named them (429, some 5xx).
        idempotency_key: of a send that failed, to ask again with; None of other calls.
        verdict: the API itself said so: its error envelope was there, or of an empty success its trace id. A proxy's
            page, whatever its status, is none.
        effect: what the call has done on the platform.
        retryable: whether the same request can succeed soon without a change.
    """

    effect: Effect = Effect.UNKNOWN
    retryable: bool = False
    idempotency_key: str | None = None
    #: Whether only a change of the request, the connection, the account or of the recipient's mind can help.
    _lasting: bool = False
    #: Whether the API is there, since its own words, right or wrong, are about this request or this account.
    _answered: bool = False
    #: Whether there was a connection, to the API or to a proxy before it.
    _connected: bool = True

    def __init__(
        self,
        message: str,
        *,
        code: int | None = None,
        status: int | None = None,
        trace_id: str | None = None,
        doc_url: str | None = None,
        retry_after: float | None = None,
        effect: Effect | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.trace_id = trace_id
        self.doc_url = doc_url
        self.retry_after = retry_after
        self.verdict = False
        if effect is not None:
            self.effect = effect

    @property
    def permanent(self) -> bool:
        """Whether the request fails in the same way however often it is tried, by the API's word or by our own."""
        return self._lasting and not self.retryable and (self.verdict or self.status is None)

    @property
    def _suggests_outage(self) -> bool:
        """Whether the API may be down, and the request may be made again when it is not."""
        return self.retryable and not self._answered

    @property
    def _may_be_too_much(self) -> bool:
        """Whether less might be had: a request brought no response, or one that a time-out or a gateway has made."""
        if self.status is None:
            return isinstance(self, APIConnectionError) and self._connected
        return self.status in (408, 413, 504) or (self.status >= 500 and not self.verdict)


class AuthenticationError(LinqError):
    """The API key is missing, wrong or revoked (401, code 2004): give another key."""

    _lasting = True


class PermissionDeniedError(LinqError):
    """The key is right, but the account, line or recipient is not allowed (403): ask the vendor."""

    _lasting = True


class LineNotPermittedError(PermissionDeniedError):
    """The line is not, or not any more, one of the account (403, code 2006): use another line."""


class OptedOutError(LinqError):
    """The recipient asked not to be written to (403, code 2024): leave them alone until they write again."""

    _lasting = True


class BlockedError(LinqError):
    """This account has blocked the handle (403, code 2026): unblock it first."""

    _lasting = True


class LineIneligibleError(LinqError):
    """The line cannot deliver at present (403, code 2027): use another line, or wait."""


class NotFoundError(LinqError):
    """No such object, or not any more: on the ephemeral tier it may have expired (404)."""

    _lasting = True


class ChatNotFoundError(NotFoundError):
    """No such chat (404, code 2001)."""


class MessageNotFoundError(NotFoundError):
    """No such message, or not any more (404, code 2002; or 204, of a change); of a send, see `effect`."""


class RateLimitedError(LinqError):
    """Too many requests (429): wait for `retry_after` seconds."""

    _answered = True


class ConflictError(LinqError):
    """The request does not fit the present state (409): read the state again."""


class LastingConflictError(ConflictError):
    """The request does not fit what the chat is: direct or a group, its service, whether the line is in it (409)."""

    _lasting = True


class InvalidRequestError(LinqError, ValueError):
    """The request is wrong and will stay wrong (400, 413, 422, or refused here before it was sent): fix it."""

    effect = Effect.NONE
    _lasting = True


class FileTooLargeError(InvalidRequestError):
    """A file is larger than `max_bytes` allows, so it is not downloaded to its end."""


class SettingsError(InvalidRequestError):
    """The client itself is set up wrongly (key, base URL, limits): fix that, the request may be right."""


class ServerError(LinqError):
    """The API failed (5xx, 408): it may work later."""


class APIConnectionError(LinqError):
    """No usable response came: no connection, time-out, or not the body expected. See `effect`."""

    retryable = True


class APIUnavailableError(LinqError):
    """The API answered no read for as long as `outage_patience` allows: this client makes no further one."""

    effect = Effect.NONE


class ClientClosedError(LinqError):
    """`LinqClient.abort` ended the call, or came before it. See `effect`."""

    effect = Effect.NONE


class PaginationError(LinqError):
    """A list named no usable cursor, or none at the end of a full page: what was read may not be all of it."""

    effect = Effect.NONE


class CursorExpiredError(LinqError):
    """The API does not know a cursor, or not any more: read the list from its front again, skipping what you have."""

    effect = Effect.NONE
