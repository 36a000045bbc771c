"""What the page looks at: the chats in the order of activity, one conversation, and a search over all messages."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any

from linq_emulator.backend import Backend
from linq_emulator.domain.models import Chat, Message
from linq_emulator.ui.records import chat_record, message_record, preview

__all__ = ["Inbox"]

MAX_SEARCHED = 200_000
"""Messages that one search looks at, the newest first: more would hold up other requests for a second."""
MAX_FOUND = 50


class Inbox:
    """The messages of each chat, also those that the API does not show any more.

    It reads the ledger as it grows, so that nothing else has to keep a list for it.

    Args:
        backend: The emulator.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._store = backend.store
        self._read = 0
        self._by_chat: dict[str, list[Message]] = {}

    def messages(self, chat: Chat) -> list[Message]:
        """Every message that was accepted into a chat, oldest first."""
        self._follow()
        return self._by_chat.get(chat.id, [])

    def _follow(self) -> None:
        store = self._backend.store
        if store is not self._store:
            # A reset.
            self._store, self._read, self._by_chat = store, 0, {}
        for message in store.ledger[self._read :]:
            self._by_chat.setdefault(message.chat.id, []).append(message)
        self._read = len(store.ledger)

    def chats(self, line: str | None, limit: int) -> tuple[list[dict[str, Any]], int]:
        """The chats of a line, or of all, with the latest activity first; and how many there are."""
        store = self._backend.store
        found = store.lines.get(line) if line else None
        if line and found is None:
            return [], 0
        # It is in the order of updated_at, which is nearly this one, so that sorting costs little.
        index = store.list_chats(found, None)
        chats = sorted(index, key=lambda chat: (chat.last_activity, chat.seq), reverse=True)
        return [chat_record(self._backend, chat, self.messages(chat)) for chat in chats[:limit]], len(chats)

    def conversation(self, chat: Chat, start: int | None, limit: int) -> dict[str, Any]:
        """A window of a chat's messages.

        Args:
            chat: The chat.
            start: Place of the first message of the window; None for the newest `limit` messages.
            limit: The most messages.
        """
        messages = self.messages(chat)
        first = max(0, len(messages) - limit) if start is None else min(start, len(messages))
        window = messages[first : first + limit]
        return {
            "chat": chat_record(self._backend, chat, messages),
            "first": first,
            "total": len(messages),
            "messages": [message_record(self._backend, message, first + n) for n, message in enumerate(window)],
        }

    def place(self, message: Message) -> int:
        """The place of a message in its chat."""
        return self.messages(message.chat).index(message)

    def search(self, text: str) -> dict[str, Any]:
        """The newest messages whose text, handles, id or idempotency key contain a text, in any case."""
        wanted = text.casefold()
        newest_first = islice(reversed(self._backend.store.ledger), MAX_SEARCHED)
        matching = (message for message in newest_first if any(wanted in word for word in _words(message)))
        found = [_found(message) for message in islice(matching, MAX_FOUND)]
        return {"found": found, "is_complete": len(self._backend.store.ledger) <= MAX_SEARCHED}


def _words(message: Message) -> Iterable[str]:
    yield message.id
    if message.idempotency_key:
        yield message.idempotency_key.casefold()
    yield message.sender.handle.casefold()
    yield from (handle.casefold() for handle in message.to)
    for part in message.parts:
        yield (part.attachment.filename if part.attachment else part.value).casefold()


def _found(message: Message) -> dict[str, Any]:
    return {
        "id": message.id,
        "chat_id": message.chat.id,
        "outbound": message.outbound,
        "from": message.sender.handle,
        "to": message.to,
        "text": preview(message),
        "at": message.created_at,
        "idempotency_key": message.idempotency_key,
        "gone": message.gone,
    }
