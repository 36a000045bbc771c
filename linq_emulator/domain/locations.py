"""The location that a contact shares with a line."""

from __future__ import annotations

from linq_emulator.backend import Backend
from linq_emulator.domain import events
from linq_emulator.domain.models import Chat, Line, Location

__all__ = ["share_location"]


def share_location(backend: Backend, line: Line, handle: str, location: Location | None, chat: Chat | None) -> None:
    """Start, move or end (None) the share of a contact. Only the start and the end emit a webhook."""
    contact = backend.store.contact(handle)
    before, contact.location = contact.location, location
    if location is not None and before is not None:
        location.began_at, location.chat_id = before.began_at, before.chat_id
    elif location is not None:
        location.chat_id = chat.id if chat else None
        events.emit_location(backend, line, handle, location, started=True)
    elif before is not None:
        events.emit_location(backend, line, handle, before, started=False)
