"""Reading chats in the threads of a pool, and handing over the rows of what they hold.

Whatever goes wrong with one chat is that chat's failure: the others are read all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from typing import Any, Final

from linq_client import LinqError, NotFoundError
from linq_client.sync import ListedChat, UpdatedAtSignal, arrived_at
from linq_client.times import parse_datetime_or_none
from tap_linq.extraction import rows
from tap_linq.extraction.pool import Pool
from tap_linq.extraction.rows import Row
from tap_linq.extraction.run import NO_SUCH_CHAT, Run

#: Chats that fail one after the other before the API, and not the chats, is taken to be the trouble.
GIVE_UP_AFTER: Final = 10

Filter = Callable[[Mapping[str, Any]], bool]


class UnforeseenError(LinqError):
    """An answer had a form that nothing here was made for."""


def failure(error: Exception) -> LinqError:
    """Return an error as one that can be told: of one that is not the client's only the kind, as it may quote text."""
    return error if isinstance(error, LinqError) else UnforeseenError(f"unforeseen {type(error).__name__}")


@dataclass(frozen=True)
class Batch:
    """Rows of one stream, made from one page at the most."""

    stream: str
    rows: list[Row]


@dataclass
class Outcome:
    """What became of one chat: read, gone, failed, or not even tried."""

    chat_id: str
    messages: int = 0
    signal: UpdatedAtSignal = UpdatedAtSignal.UNKNOWN
    error: LinqError | None = None
    gone: bool = False
    skipped: bool = False


class ChatReader:
    """Reads the chats of a line. Safe to use from several threads.

    Args:
        streams: names of the streams whose rows are wanted.

    Attributes:
        given_up: why no chat is read any more; None as long as they are.
    """

    def __init__(self, run: Run, line: str, streams: frozenset[str]) -> None:
        self.given_up: LinqError | None = None
        self._run = run
        self._line = line
        self._streams = streams
        self._lock = Lock()
        self._failed_in_a_row = 0

    def put_chats(self, pool: Pool[Any], chats: list[dict[str, Any]]) -> None:
        """Hand over the rows of a page of chats."""
        if "chats" in self._streams:
            pool.put(Batch("chats", [rows.chat_row(chat, self._line) for chat in chats]))
        if "chat_participants" in self._streams:
            pool.put(Batch("chat_participants", [r for chat in chats for r in rows.participant_rows(chat, self._line)]))

    def read(self, pool: Pool[Any], chat: ListedChat, wanted: Filter) -> None:
        """Read a chat to its end and hand over the rows of the messages that are wanted, and what became of it."""
        outcome = Outcome(chat.id)
        if self.given_up is not None:
            outcome.skipped = True
        else:
            try:
                self._read(pool, chat, wanted, outcome)
            except Exception as error:
                outcome.error = failure(error)
            self._count_failures(outcome.error)
        pool.put(outcome)

    def _read(self, pool: Pool[Any], chat: ListedChat, wanted: Filter, outcome: Outcome) -> None:
        newest: datetime | None = None
        try:
            for page in self._run.chat_messages(chat.id).pages():
                outcome.messages += len(page.items)
                arrivals = self._emit(pool, page.items, wanted)
                newest = chat.newest((newest, *arrivals))
        except NotFoundError as error:
            # One answer may be a mishap. It is believed if the API says the same of the chat itself.
            if error.code != NO_SUCH_CHAT or not self._run.is_gone(chat.id):
                raise
            outcome.gone = True
        outcome.signal = chat.signal((newest,))

    def _count_failures(self, error: LinqError | None) -> None:
        with self._lock:
            if error is None:
                self._failed_in_a_row = 0
            else:
                self._failed_in_a_row += 1
                if self._failed_in_a_row == GIVE_UP_AFTER:
                    self.given_up = error

    def _emit(self, pool: Pool[Any], messages: list[dict[str, Any]], wanted: Filter) -> list[datetime | None]:
        """Hand over the rows of a page of messages; return when each of the messages arrived."""
        arrivals: list[datetime | None] = []
        found: list[Row] = []
        due = []
        for message in messages:
            created = parse_datetime_or_none(message.get("created_at"))
            arrivals.append(arrived_at(message))
            if wanted(message):
                due.append(message)
                if "messages" in self._streams:
                    found.append(rows.message_row(message, self._line, self._run.settings.window, created))
        if found:
            pool.put(Batch("messages", found))
        if "reactions" in self._streams:
            reactions = [row for message in due for row in rows.reaction_rows(message, self._line)]
            if reactions:
                pool.put(Batch("reactions", reactions))
        self._put_attachments(pool, due)
        return arrivals

    def _put_attachments(self, pool: Pool[Any], messages: list[dict[str, Any]]) -> None:
        media = self._run.media
        if media is None and "attachments" not in self._streams:
            return
        for message in messages:
            for row in rows.attachment_rows(message, self._line):
                stored = row if media is None else media.store(row)
                if "attachments" in self._streams:
                    pool.put(Batch("attachments", [stored]))
