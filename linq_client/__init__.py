"""The Linq Partner API v3 for Python: what other packages may import.

    from linq_client import LinqClient

    with LinqClient() as client:  # key from LINQ_API_KEY
        sent = client.messages.send(chat_id, "Your table is ready.")

`linq_client.models` holds what the API returns, `linq_client.webhooks` the receiving side of webhooks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from linq_client._checks import MAX_TEXT, check_handle, check_line, check_recipients, check_sender, closest_name
from linq_client._handles import comparable_handle, handle_forms, normal_handle
from linq_client._lazy import load
from linq_client._pagination import Page, Paginator
from linq_client._response import APIResponse
from linq_client._retention import RetentionWindow
from linq_client.errors import (
    APIConnectionError,
    APIUnavailableError,
    AuthenticationError,
    BlockedError,
    ChatNotFoundError,
    ClientClosedError,
    ConflictError,
    CursorExpiredError,
    Effect,
    ErrorCode,
    FileTooLargeError,
    InvalidRequestError,
    LastingConflictError,
    LineIneligibleError,
    LineNotPermittedError,
    LinqError,
    MessageNotFoundError,
    NotFoundError,
    OptedOutError,
    PaginationError,
    PermissionDeniedError,
    RateLimitedError,
    RequestKind,
    ServerError,
    SettingsError,
)

if TYPE_CHECKING:
    from linq_client._outgoing import (
        AppCard,
        AppClip,
        CardApp,
        CardLayout,
        Decoration,
        Experience,
        InlineSticker,
        Link,
        Media,
        Message,
        MessageEffect,
        MessageLike,
        Placement,
        ReactionType,
        ReplyTo,
        Service,
        Text,
        message_from,
    )
    from linq_client._retry import RequestStats, RetrySettings
    from linq_client.client import DEFAULT_BASE_URL, DEFAULT_TIMEOUT, LinqClient

__version__: str

__all__ = [
    "DEFAULT_BASE_URL",
    "DEFAULT_TIMEOUT",
    "MAX_TEXT",
    "APIConnectionError",
    "APIResponse",
    "APIUnavailableError",
    "AppCard",
    "AppClip",
    "AuthenticationError",
    "BlockedError",
    "CardApp",
    "CardLayout",
    "ChatNotFoundError",
    "ClientClosedError",
    "ConflictError",
    "CursorExpiredError",
    "Decoration",
    "Effect",
    "ErrorCode",
    "Experience",
    "FileTooLargeError",
    "InlineSticker",
    "InvalidRequestError",
    "LastingConflictError",
    "LineIneligibleError",
    "LineNotPermittedError",
    "Link",
    "LinqClient",
    "LinqError",
    "Media",
    "Message",
    "MessageEffect",
    "MessageLike",
    "MessageNotFoundError",
    "NotFoundError",
    "OptedOutError",
    "Page",
    "PaginationError",
    "Paginator",
    "PermissionDeniedError",
    "Placement",
    "RateLimitedError",
    "ReactionType",
    "ReplyTo",
    "RequestKind",
    "RequestStats",
    "RetentionWindow",
    "RetrySettings",
    "ServerError",
    "Service",
    "SettingsError",
    "Text",
    "check_handle",
    "check_line",
    "check_recipients",
    "check_sender",
    "closest_name",
    "comparable_handle",
    "handle_forms",
    "message_from",
    "normal_handle",
]

if not TYPE_CHECKING:  # or every name that is misspelled would pass for one of this package

    def __getattr__(name: str) -> Any:
        if name == "__version__":  # when it is asked for: the look-up reads files
            from importlib.metadata import version

            globals()[name] = version("linq-connectors")  # from now on it is found without this function
            return globals()[name]
        return load(__name__, ("linq_client._outgoing", "linq_client._retry", "linq_client.client"), name)
