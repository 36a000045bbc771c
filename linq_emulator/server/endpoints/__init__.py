"""The operations of the API. Each module has those of one resource, and a list of their routes."""

from __future__ import annotations

from linq_emulator.server.endpoints import (
    attachments,
    backgrounds,
    blocked_handles,
    chats,
    contact_cards,
    experiences,
    groups,
    lines,
    location,
    messages,
    not_emulated,
    polls,
    reactions,
    reputation,
    sends,
    webhooks,
)
from linq_emulator.server.route import Route

__all__ = ["EMULATED", "ROUTES"]

EMULATED: tuple[Route, ...] = (
    # Routes are tried in order, so the reads of an extraction come first.
    *messages.ROUTES,
    *chats.ROUTES,
    *sends.ROUTES,
    *reactions.ROUTES,
    *polls.ROUTES,
    *groups.ROUTES,
    *backgrounds.ROUTES,
    *location.ROUTES,
    *attachments.ROUTES,
    *lines.ROUTES,
    *contact_cards.ROUTES,
    *blocked_handles.ROUTES,
    *reputation.ROUTES,
    *experiences.ROUTES,
    *webhooks.ROUTES,
)
"""The operations that the OpenAPI document has."""

ROUTES = (*EMULATED, *not_emulated.ROUTES)
