"""The operations of the API, one module a resource. Each has a list of its routes."""

from __future__ import annotations

from linq_emulator.server.endpoints import attachments, chats, groups, lines, location, messages, sends, webhooks
from linq_emulator.server.gateway import Operation

ROUTES: list[tuple[str, str, Operation]] = [
    # The reads of an extraction stand first: routes are tried in order.
    *messages.ROUTES,
    *chats.ROUTES,
    *sends.ROUTES,
    *groups.ROUTES,
    *location.ROUTES,
    *attachments.ROUTES,
    *lines.ROUTES,
    *webhooks.ROUTES,
]
