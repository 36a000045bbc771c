"""One pass over one line: every chat is read, what is new or changed is emitted, and the bookmark moves at the end."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator
from datetime import datetime
from typing import Any, Final

from linq_client import LinqError, NotFoundError
from tap_linq.extraction.decisions import emit_from, find_gap, format_moment, is_due, message_record, next_bookmark
from tap_linq.extraction.run import ListedChats, Run

#: Chats that fail one after the other before the API, and not the chats, is taken to be the trouble.
GIVE_UP_AFTER: Final = 10

log = logging.getLogger(__name__)


class LinePass:
    """A pass over a line.

    Args:
        bookmark: of the last complete pass; None if there was none.

    Attributes:
        new_bookmark: where the next pass is to begin; None unless this one is complete.
    """

    def __init__(self, run: Run, line: str, bookmark: datetime | None) -> None:
        self._run = run
        self._line = line
        self._bookmark = bookmark
        self._since = emit_from(bookmark, run.settings.start_date)
        self._read = 0
        self._emitted = 0
        self.new_bookmark: datetime | None = None

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield the record of each message that is new or changed.

        What can't be read is noted with the run, and leaves `new_bookmark` None.
        """
        try:
            listed = self._run.listed_chats(self._line)
        except LinqError as error:
            self._run.note_failure(f"the chats of line {self._line}", error)
            return
        self._warn_of_gap(listed.started)
        if (yield from self._read_chats(listed)):
            self.new_bookmark = next_bookmark(listed.started)
        log.info(
            "line %s: %s pass over %d chats, %d messages read, %d emitted",
            self._line,
            "complete" if self.new_bookmark else "incomplete",
            len(listed.chat_ids),
            self._read,
            self._emitted,
        )

    def _read_chats(self, listed: ListedChats) -> Generator[dict[str, Any], None, bool]:
        complete, failed_in_a_row = True, 0
        for number, chat_id in enumerate(listed.chat_ids, 1):
            try:
                yield from self._due_messages(chat_id)
                failed_in_a_row = 0
            except LinqError as error:
                if isinstance(error, NotFoundError) and error.code is not None:
                    # The API's own word, not that of a proxy: the chat is gone, and nothing is left to be read.
                    log.warning("line %s: chat %s has vanished", self._line, chat_id)
                    continue
                complete = False
                failed_in_a_row += 1
                self._run.note_failure(f"chat {chat_id} of line {self._line}", error)
                rest = len(listed.chat_ids) - number
                if failed_in_a_row == GIVE_UP_AFTER and rest:
                    self._run.note_failure(f"the other {rest} chats of line {self._line}", error)
                    break
        return complete

    def _due_messages(self, chat_id: str) -> Iterator[dict[str, Any]]:
        for message in self._run.messages(chat_id):
            self._read += 1
            if is_due(message, self._since):
                self._emitted += 1
                yield message_record(message, self._line, self._run.settings.window)

    def _warn_of_gap(self, now: datetime) -> None:
        gap = find_gap(self._bookmark, self._run.settings.start_date, self._run.settings.window, now)
        if gap is not None:
            log.warning(
                "line %s: messages created from %s to %s have expired, those that were not read before are lost; "
                "run the tap more often than the retention window",
                self._line,
                format_moment(gap.start),
                format_moment(gap.end),
            )
