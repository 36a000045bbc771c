"""The operations of the API. Each module has those of one resource, and a list of their routes."""

from __future__ import annotations

from linq_emulator.server.endpoints import (
    attachments,
    chats,
    groups,
    lines,
    location,
    messages,
    not_emulated,
    sends,
    webhooks,
)
from linq_emulator.server.gateway import Operation

__all__ = ["ROUTES"]

ROUTES: list[tuple[str, str, Operation]] = [
    # Routes are tried in order, so the reads of an extraction come first.
    *messages.ROUTES,
    *chats.ROUTES,
    *sends.ROUTES,
    *groups.ROUTES,
    *location.ROUTES,
    *attachments.ROUTES,
    *lines.ROUTES,
    *webhooks.ROUTES,
    *not_emulated.ROUTES,
]
