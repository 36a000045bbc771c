"""What the streams of one run of the tap share, so that none asks for what another has got already."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Final

from linq_client import AuthenticationError, InvalidRequestError, LinqClient, LinqError
from tap_linq.extraction.reading import Reading
from tap_linq.settings import Settings

NAMED_FAILURES: Final = 20

log = logging.getLogger(__name__)


class IncompleteRunError(Exception):
    """Some chats could not be read: the run has emitted the others, and left the bookmarks of their lines."""


@dataclass(frozen=True)
class ListedChats:
    """The chats of a line: their ids, and the server's time (UTC) when the listing began."""

    started: datetime
    chat_ids: tuple[str, ...]


class Run:
    """The client, the lines, the listings of chats, and what failed.

    Raises:
        InvalidRequestError: the API key or the base URL can't be right. No request is made yet.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._client = LinqClient(settings.api_key, base_url=settings.base_url)
        self._listed: dict[str, ListedChats] = {}
        self._failures: dict[str, LinqError] = {}

    @cached_property
    def phone_numbers(self) -> list[dict[str, Any]]:
        """The lines to extract, with the API's own fields.

        Raises:
            InvalidRequestError: the setting names one that the account does not have.
        """
        own = [number.model_dump(mode="json", exclude_unset=True) for number in self._client.phone_numbers.list()]
        wanted = self.settings.phone_numbers
        if wanted is None:
            return own
        foreign = sorted(set(wanted) - {number["phone_number"] for number in own})
        if foreign:
            raise InvalidRequestError(f"phone_numbers: must be lines of this account, got {', '.join(foreign)}")
        return [number for number in own if number["phone_number"] in wanted]

    @property
    def lines(self) -> list[str]:
        """The phone numbers of the lines to extract."""
        return [number["phone_number"] for number in self.phone_numbers]

    def chats(self, line: str) -> Iterator[dict[str, Any]]:
        """List the chats of a line, each once, as the API answers them."""
        reading = Reading(lambda: self._client.chats.list(from_=line).pages())
        ids = []
        for chat in reading:
            ids.append(chat["id"])
            yield chat
        assert reading.started is not None, "a listing has at least one page"
        self._listed[line] = ListedChats(reading.started, tuple(ids))

    def listed_chats(self, line: str) -> ListedChats:
        """Return the chats of a line as this run has listed them, at most once."""
        if line not in self._listed:
            for _ in self.chats(line):
                pass
        return self._listed[line]

    def messages(self, chat_id: str) -> Reading:
        """List the messages of a chat, each once, as the API answers them."""
        return Reading(lambda: self._client.messages.list(chat_id).pages())

    def note_failure(self, what: str, error: LinqError) -> None:
        """Log what could not be read and remember it for the end of the run.

        Raises:
            AuthenticationError: that was the reason; all else would fail the same way.
        """
        if isinstance(error, AuthenticationError):
            raise error
        log.error("%s could not be read: %s", what, error)
        self._failures[what] = error

    def check_complete(self) -> None:
        """Raise `IncompleteRunError` if anything failed."""
        if self._failures:
            named = ", ".join(list(self._failures)[:NAMED_FAILURES])
            more = len(self._failures) - NAMED_FAILURES
            raise IncompleteRunError(
                f"could not be read: {named}{f' and {more} more' if more > 0 else ''}; "
                "the bookmarks of these lines stay, so that the next run reads them again"
            )
