"""What the streams of one run of the tap share, so that none asks for what another already has."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from datetime import datetime
from functools import cached_property
from typing import Any, Final
from urllib.parse import quote

from linq_client import (
    AuthenticationError,
    ChatNotFoundError,
    InvalidRequestError,
    LinqClient,
    LinqError,
    NotFoundError,
)
from linq_client.sync import StableListReader
from tap_linq.extraction.media import MediaStore
from tap_linq.settings import Settings

__all__ = ["GapError", "IncompleteRunError", "SyncSession"]

#: What an error at the end of a run names of all that could not be read.
MAX_NAMED_FAILURES: Final = 20

log = logging.getLogger(__name__)


class IncompleteRunError(Exception):
    """Some chats could not be read: the run has emitted the others, and left the bookmarks of their lines."""


class GapError(Exception):
    """Messages may have expired unread since the last run, and `on_gap` says that this is to fail the run."""


class SyncSession:
    """The client, the lines, where media goes, what failed, and what it all came to.

    Args:
        settings: of the tap.

    Attributes:
        messages: number of messages emitted.
        left_out: number of records without their key.
        chat_ids: of the lines whose chats were listed.
        passes_started: whether a stream has made the passes over the lines, or is about to.

    Raises:
        InvalidRequestError: a setting can't be right. No request is made yet.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.client = LinqClient(settings.api_key, base_url=settings.base_url, pool_size=settings.concurrency)
        self.media = MediaStore.from_settings(settings, self.client)
        self.messages = 0
        self.left_out = 0
        self.chat_ids: dict[str, tuple[str, ...]] = {}
        self.passes_started = False
        self._started = time.monotonic()
        self._failures: dict[str, LinqError] = {}
        self._gaps: list[str] = []
        self._is_closed = False

    @cached_property
    def account(self) -> list[dict[str, Any]]:
        """All lines of the account, with the API's own fields."""
        return [number.model_dump(mode="json", exclude_unset=True) for number in self.client.phone_numbers.list()]

    @cached_property
    def phone_numbers(self) -> list[dict[str, Any]]:
        """The lines to extract, with the API's own fields.

        Raises:
            InvalidRequestError: the setting names one that the account does not have.
        """
        wanted = self.settings.phone_numbers
        if wanted is None:
            return self.account
        unknown = self.not_in_account(wanted)
        if unknown:
            raise InvalidRequestError(f"phone_numbers: must be lines of this account, got {', '.join(unknown)}")
        return [number for number in self.account if number["phone_number"] in wanted]

    def not_in_account(self, lines: Iterable[str]) -> list[str]:
        """Return those of the lines that are not the account's."""
        return sorted(set(lines) - {number["phone_number"] for number in self.account})

    @property
    def lines(self) -> list[str]:
        """The phone numbers of the lines to extract."""
        return [number["phone_number"] for number in self.phone_numbers]

    def chats(self, line: str, recent_from: datetime | None = None) -> StableListReader:
        """List the chats of a line; see `StableListReader` for `recent_from`."""
        return StableListReader.of(self.client.chats.list(from_=line), recent_from)

    def chat_messages(self, chat_id: str) -> StableListReader:
        """List the messages of a chat."""
        return StableListReader.of(self.client.messages.list(chat_id))

    def is_gone(self, chat_id: str) -> bool:
        """Whether the API says of the chat itself that it does not exist."""
        try:
            self.client.request("GET", f"/v3/chats/{quote(chat_id, safe='')}")
        except NotFoundError as error:
            return isinstance(error, ChatNotFoundError)
        return False

    def ids_of_chats(self, line: str) -> Iterable[str]:
        """The chats of a line, from the list that a pass of this run has read, if there was one."""
        if line not in self.chat_ids:
            self.chat_ids[line] = tuple(chat["id"] for chat in self.chats(line))
        return self.chat_ids[line]

    def note_failure(self, what: str, error: LinqError) -> None:
        """Log what could not be read and remember it for the end of the run.

        Raises:
            AuthenticationError: that was the reason; all else would fail the same way.
        """
        if isinstance(error, AuthenticationError):
            raise error
        log.error("%s could not be read: %s", what, error)
        self._failures[what] = error

    def note_gap(self, what: str) -> None:
        """Remember a gap for the end of the run."""
        self._gaps.append(what)

    def close(self) -> None:
        """End the run: log what it came to.

        Raises:
            IncompleteRunError: something could not be read.
            GapError: all could be read, but something had expired before, and that is to fail the run.
        """
        if not self._is_closed:
            self._is_closed = True
            self.client.close()
            stats = self.client.stats
            log.info(
                "done: %d requests, %d of them retries, %d messages, %.1f s%s%s",
                stats.requests,
                stats.retries,
                self.messages,
                time.monotonic() - self._started,
                f"; {self.media.summary}" if self.media is not None else "",
                f"; {self.left_out} records left out, as they have no key" if self.left_out else "",
            )
        if self._failures:
            named = ", ".join(list(self._failures)[:MAX_NAMED_FAILURES])
            more = len(self._failures) - MAX_NAMED_FAILURES
            raise IncompleteRunError(
                f"could not be read: {named}{f' and {more} more' if more > 0 else ''}; "
                "the bookmarks of these lines stay, so that the next run reads them again"
            )
        if self._gaps and self.settings.fail_on_gap:
            raise GapError(
                f"messages may have expired unread: {'; '.join(self._gaps)}. All that was left is extracted, and the "
                "bookmarks have moved on"
            )
