"""Which line a chat belongs to: some events name their chat and not their line, and a list may show others' chats."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from linq_client import LinqError, Page
from linq_client.sync import CLOCK_TOLERANCE, PAGE_SIZE
from linq_client.times import parse_datetime_or_none
from tap_linq.extraction.plan import dicts_in
from tap_linq.extraction.webhook_records import handle_of, own_line, own_lines

if TYPE_CHECKING:
    from linq_client import LinqClient

__all__ = ["ChatLines", "HiddenChatsError"]

#: Chats whose line is known. Each takes about 200 bytes.
MAX_CHATS: Final = 65_536

log = logging.getLogger(__name__)


class HiddenChatsError(LinqError):
    """The API lists no chat of a line, and shows one of it in the list of all chats."""


def _is_of_another(chat: object, line: str, account: Collection[str]) -> bool:
    if not isinstance(chat, dict) or line in map(handle_of, dicts_in(chat.get("handles"))):
        return False
    return any(one in account for one in own_lines(chat))


def _is_older(created_at: object, moment: datetime) -> bool:
    created = parse_datetime_or_none(created_at)
    return created is not None and created < moment


class ChatLines:
    """The lines of the chats that were met last, by the lists of chats, by events, and by the API."""

    def __init__(self, client: LinqClient) -> None:
        self._client = client
        self._lines: OrderedDict[str, str | None] = OrderedDict()
        self._mixed: set[str] = set()
        self._of_all: list[dict[str, Any]] | None = None

    def of_line(self, pages: Iterable[Page], line: str, account: Collection[str]) -> Iterator[Page]:
        """Yield the pages of a line's list of chats, without those that by their own handles are another line's.

        An API that passes over `from` lists all of the account. Whose chats they are is told by `is_me`; where that
        names no line of the account, or the line is in the chat by whatever handle, the list counts.

        Args:
            account: all lines of the account.
        """
        for page in pages:
            found = [chat for chat in page.items if not _is_of_another(chat, line, account)]
            if len(found) < len(page.items) and line not in self._mixed:
                self._mixed.add(line)
                log.warning("line %s: its list shows chats of other lines, which are left to those", line)
            page.items[:] = found
            yield page

    def check_has_none(self, line: str, listed: datetime) -> None:
        """Look for a line's chats in the list of all, where its own is empty: `from` may mean something else by now.

        Where there is no list of all, as in early versions of the API, that is as it is. A chat of two own lines may be
        in the list of the other one alone. All lines without chats are looked for on one page, which is asked for once.

        Args:
            listed: when its own was; what may be newer is no matter.

        Raises:
            HiddenChatsError: there is one.
        """
        # A chat that was there when an earlier line was looked for may have gone before this one was listed.
        if self._of_all is None or self._shows_chat_of(line, listed):
            try:
                self._of_all = dicts_in(next(self._client.chats.list().pages(limit=PAGE_SIZE)).items)
            except LinqError as error:
                if error.retryable:
                    return
                self._of_all = []
        if self._shows_chat_of(line, listed):
            raise HiddenChatsError("the list is empty, and the list of all chats shows some of the line")

    def _shows_chat_of(self, line: str, listed: datetime) -> bool:
        older = (one for one in self._of_all or () if _is_older(one.get("created_at"), listed - CLOCK_TOLERANCE))
        return any(own_lines(chat) == [line] for chat in older)

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
