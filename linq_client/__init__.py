"""The Linq Partner API v3 for Python: what other packages may import.

    from linq_client import LinqClient

    with LinqClient() as client:  # key from LINQ_API_KEY
        sent = client.messages.send(chat_id, "Your table is ready.")

`linq_client.models` holds what the API answers, `linq_client.webhooks` the receiving side of webhooks.
"""

from __future__ import annotations

from linq_client.client import LinqClient
from linq_client.errors import (
    CODES,
    APIConnectionError,
    AuthenticationError,
    BlockedError,
    ConflictError,
    InvalidRequestError,
    LineIneligibleError,
    LinqError,
    NotFoundError,
    OptedOutError,
    PaginationError,
    PermissionDeniedError,
    RateLimitedError,
    ServerError,
    SettingsError,
)
from linq_client.listing import Listing, Page, Reply
from linq_client.outgoing import (
    Decoration,
    Effect,
    Link,
    Media,
    Message,
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
    "CODES",
    "APIConnectionError",
    "AuthenticationError",
    "BlockedError",
    "ConflictError",
    "Decoration",
    "Effect",
    "InvalidRequestError",
    "LineIneligibleError",
    "Link",
    "LinqClient",
    "LinqError",
    "Listing",
    "Media",
    "Message",
    "MessageLike",
    "NotFoundError",
    "OptedOutError",
    "Page",
    "PaginationError",
    "PermissionDeniedError",
    "RateLimitedError",
    "ReactionType",
    "Reply",
    "ReplyTo",
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
