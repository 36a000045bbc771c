"""What is sent, as strict pydantic models: messages and their parts, cards and their changes; see `_lazy` for when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from linq_client._lazy import load

if TYPE_CHECKING:
    from linq_client._outgoing._cards import AppCard, AppClip, CardApp, CardChange, CardLayout, Experience
    from linq_client._outgoing._messages import (
        Decoration,
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

__all__ = [
    "AppCard",
    "AppClip",
    "CardApp",
    "CardChange",
    "CardLayout",
    "Decoration",
    "Experience",
    "InlineSticker",
    "Link",
    "Media",
    "Message",
    "MessageEffect",
    "MessageLike",
    "Placement",
    "ReactionType",
    "ReplyTo",
    "Service",
    "Text",
    "message_from",
]

if not TYPE_CHECKING:  # or every name that is misspelled would pass for one of this package

    def __getattr__(name: str) -> Any:
        return load(__name__, ("linq_client._outgoing._cards", "linq_client._outgoing._messages"), name)
