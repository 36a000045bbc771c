"""Which line a chat belongs to: some events name their chat and not their line."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from linq_client import LinqError
from tap_linq.extraction.webhook_records import own_line

if TYPE_CHECKING:
    from linq_client import LinqClient

__all__ = ["ChatLines"]

#: Chats whose line is known. Each takes about 200 bytes.
MAX_CHATS: Final = 65_536


class ChatLines:
    """The lines of the chats that were met last, by the lists of chats, by events, and by the API."""

    def __init__(self, client: LinqClient) -> None:
        self._client = client
        self._lines: OrderedDict[str, str | None] = OrderedDict()

    def note(self, chat_ids: Iterable[str], line: str | None) -> None:
        """Note the line of some chats."""
        for chat_id in chat_ids:
            self._lines[chat_id] = line
            if len(self._lines) > MAX_CHATS:
                self._lines.popitem(last=False)

    def of(self, chat_id: str | None) -> str | None:
        """Return the line of a chat; None if it is not known."""
        return None if chat_id is None else self._lines.get(chat_id)

    def ask(self, chat_id: str) -> str | None:
        """Return the line of a chat, for which the API is asked if need be; None if that does not say it either.

        Raises:
            LinqError: the API could not be asked.
        """
        if chat_id in self._lines:
            return self._lines[chat_id]
        line = None
        try:
            line = own_line(self._client.request("GET", f"/v3/chats/{quote(chat_id, safe='')}").body)
        except LinqError as error:
            if error.retryable or not error.verdict:
                raise
        self.note([chat_id], line)
        return line
