"""The Linq Partner API v3 for Python: what other packages may import.

    from linq_client import LinqClient

    with LinqClient() as client:  # key from LINQ_API_KEY
        sent = client.messages.send(chat_id, "Your table is ready.")

`linq_client.models` holds what the API answers, `linq_client.webhooks` the receiving side of webhooks.
"""

from __future__ import annotations

from linq_client.client import LinqClient
from linq_client.errors import (
    APIConnectionError,
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
    PaginationError,
    PermissionDeniedError,
    RateLimitedError,
    RequestKind,
    ServerError,
    SettingsError,
)
from linq_client.listing import Listing, Page, Reply
from linq_client.outgoing import (
    Decoration,
    Link,
    Media,
    Message,
    MessageEffect,
    MessageLike,
    ReactionType,
    ReplyTo,
    Service,
    Text,
    check_handle,
    check_line,
    check_recipients,
    message_from,
)
from linq_client.retention import RetentionWindow

__all__ = [
    "APIConnectionError",
    "AuthenticationError",
    "BlockedError",
    "ChatNotFoundError",
    "ConflictError",
    "Decoration",
    "Effect",
    "ErrorCode",
    "InvalidRequestError",
    "LastingConflictError",
    "LineIneligibleError",
    "LineNotPermittedError",
    "Link",
    "LinqClient",
    "LinqError",
    "Listing",
    "Media",
    "Message",
    "MessageEffect",
    "MessageLike",
    "MessageNotFoundError",
    "NotFoundError",
    "OptedOutError",
    "Page",
    "PaginationError",
    "PermissionDeniedError",
    "RateLimitedError",
    "ReactionType",
    "Reply",
    "ReplyTo",
    "RequestKind",
    "RetentionWindow",
    "ServerError",
    "Service",
    "SettingsError",
    "Text",
    "check_handle",
    "check_line",
    "check_recipients",
    "message_from",
]
