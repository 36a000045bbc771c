"""What the streams of one run of the tap share, so that none asks for what another already has."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from functools import cached_property
from hashlib import blake2b
from threading import Lock
from typing import Any, Final
from urllib.parse import quote

import linq_client
from linq_client import (
    APIUnavailableError,
    AuthenticationError,
    ChatNotFoundError,
    ClientClosedError,
    InvalidRequestError,
    LinqError,
    NotFoundError,
    Page,
    check_line,
)
from linq_client.sync import NoIdError, StableListReader
from tap_linq.extraction.archive_reader import ArchiveReader
from tap_linq.extraction.archive_state import ArchiveState
from tap_linq.extraction.chat_lines import ChatLines
from tap_linq.extraction.comparison import Comparison
from tap_linq.extraction.masking import Masking
from tap_linq.extraction.media import MediaStore
from tap_linq.extraction.seen import SeenItems, last_shown
from tap_linq.extraction.seen_files import SeenFiles
from tap_linq.extraction.seen_table import SeenTable
from tap_linq.extraction.sightings import Sightings
from tap_linq.settings import Settings

__all__ = ["GapError", "IncompleteRunError", "NoLineError", "SyncSession"]

#: What an error at the end of a run names of all that could not be read.
MAX_NAMED_FAILURES: Final = 20

#: Emitted messages that are known to have been; up to twice as many are. Each takes about 100 bytes.
MAX_REMEMBERED: Final = 16_384

#: Messages without parts that are looked for in the archive after a run's passes; each takes some kilobytes.
MAX_WITHOUT_PARTS: Final = 4_096

log = logging.getLogger(__name__)


class IncompleteRunError(Exception):
    """Something could not be read or stored: the run has emitted the rest, and left the bookmarks of these lines."""


class NoLineError(IncompleteRunError):
    """The account shows no line, so there is nothing to read. That must not pass for an account without messages."""


class GapError(Exception):
    """Messages may have expired unread since the last run, and `on_gap` says that this is to fail the run."""


class EmittedMessages:
    """Which messages a run has emitted last, and as of when. Safe to use from several threads.

    A message may be listed in two chats, as after a merge of groups, and a chat be read twice. What has the same id in
    another chat, by its own word, is not taken for the same. Memory is bounded: what was emitted more than
    `MAX_REMEMBERED` messages before comes once more, which loaders that update by key don't mind.
    """

    def __init__(self) -> None:
        self._recent: set[bytes] = set()
        self._before: set[bytes] = set()
        self._lock = Lock()

    def new_of(self, messages: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        """Note messages, and return those that were not noted before, or have changed since."""
        digests = {
            blake2b(
                f"{message['id']} {message.get('chat_id')} {message.get('updated_at')}".encode(), digest_size=16
            ).digest(): message
            for message in messages
        }
        with self._lock:
            known = digests.keys() & self._recent | digests.keys() & self._before
            for digest in known:
                del digests[digest]
            self._recent.update(digests)
            if len(self._recent) >= MAX_REMEMBERED:
                self._before, self._recent = self._recent, set()
        return list(digests.values())


class SyncSession:
    """The client, the lines, where media goes, what failed, and what it all came to.

    Args:
        settings: of the tap.

    Attributes:
        messages: number of messages emitted.
        emitted: which they were.
        archive: of webhooks; None if none is set.
        comparison: of what the API shows with what events announce; None without an archive.
        chat_lines: the lines of chats.
        sightings: how the API has shown the messages that were emitted; None without an archive.
        configurations: by stream, digest of all that decides what becomes of a record on its way out.
        form: what the passes leave out or change of the records; see `Coverage`.
        masking: of all records; None if nothing is masked.
        left_out: number of records without their key.
        chat_ids: of the lines whose chats were listed.
        passes_started: whether a stream has made the passes over the lines, or is about to.
        ended_by: the first error after which nothing can be read any more; None as long as something can.

    Raises:
        InvalidRequestError: a setting can't be right. No request is made yet.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.client = linq_client.LinqClient(
            settings.api_key,
            base_url=settings.base_url,
            pool_size=settings.concurrency,
            allow_http=settings.allow_http,
            outage_patience=settings.outage_patience.total_seconds(),
        )
        self.media = MediaStore.from_settings(settings, self.client)
        self.archive = ArchiveReader.from_settings(settings)
        self.comparison: Comparison | None = None
        self.sightings = None if self.archive is None else Sightings()
        self.masking = Masking.from_settings(settings, lambda: self._own_lines)
        self._seen_files = None if settings.seen_path is None else SeenFiles(settings.seen_path)
        self.configurations: dict[str, bytes] = {}
        self.form: str | None = None
        self.chat_lines = ChatLines(self.client)
        self._messages_before: dict[str, SeenTable] = {}
        self._without_parts: dict[str, tuple[Mapping[str, Any], str, datetime]] = {}
        self.messages = 0
        self.emitted = EmittedMessages()
        self.left_out = 0
        self.chat_ids: dict[str, tuple[str, ...]] = {}
        self.passes_started = False
        self._started = time.monotonic()
        self.ended_by: LinqError | None = None
        self._failures: dict[str, LinqError] = {}
        self._problems: list[str] = []
        self._gaps: list[str] = []
        self._is_closed = False

    def open_archive(self, state: ArchiveState) -> None:
        """Tell the archive, and what is compared with it, where the last run has ended."""
        if self.archive is not None:
            self.archive.start_from(state)
            self.comparison = Comparison(self.settings.window, state.compared)

    def seen_items(
        self, line: str, name: str | None, since: datetime | None, full_table: frozenset[str]
    ) -> SeenItems | None:
        """Return what earlier runs have emitted of a line, by the file that its STATE names; None without `seen_path`.

        From here on that file is used up: see `seen_files`. The other arguments are those of `SeenItems`.
        """
        if self._seen_files is None:
            return None
        file = self._seen_files.begin(line, name)
        if self.archive is not None:
            self._messages_before[line] = file.messages
        return SeenItems(file, self.configurations, since, full_table, self.secret)

    def shown_at(self, message_id: str, line: str | None) -> datetime | None:
        """Return when the API has last shown a message as it was emitted, in this run or before; None if not known.

        Args:
            line: of the message; None if it is not known.
        """
        shown_at = None if self.sightings is None else self.sightings.shown_at(message_id)
        tables = self._messages_before if line is None else (line,) if line in self._messages_before else ()
        before = (last_shown(self._messages_before[one], message_id) for one in tables)
        return shown_at or next((moment for moment in before if moment is not None), None)

    def note_without_parts(self, message: Mapping[str, Any], line: str, shown_at: datetime) -> None:
        """Note a message that is emitted, if the API shows it without its parts: events may know them."""
        if self.archive is not None and message.get("parts") is None and len(self._without_parts) < MAX_WITHOUT_PARTS:
            self._without_parts[str(message["id"])] = message, line, shown_at

    def take_without_parts(self) -> list[tuple[Mapping[str, Any], str, datetime]]:
        """Return the messages that were noted so since this was last called."""
        found, self._without_parts = list(self._without_parts.values()), {}
        return found

    @cached_property
    def account(self) -> list[dict[str, Any]]:
        """All lines of the account, as they came: what nobody needs may have any form.

        One without a number is still being set up, and passed over with a warning. One whose number can't be read may
        hold messages: where all lines are wanted, that is noted as a failure.

        Raises:
            NoLineError: there is none.
        """
        if self.media is not None:
            self.media.check()
        found: dict[str, dict[str, Any]] = {}
        for place, line in enumerate(self.client.phone_numbers.list_raw(), 1):
            fields: dict[str, Any] = line if isinstance(line, dict) else {}
            name = f"line {fields.get('id', f'at place {place}')}"
            if fields and fields.get("phone_number") in (None, ""):
                log.warning("%s has no phone number yet, so it is passed over", name)
                continue
            try:
                found[check_line(fields.get("phone_number", ""), "phone_number")] = fields
            except InvalidRequestError as error:
                if self.settings.phone_numbers is None:
                    self.note_failure(name, error)
        if not found:
            raise NoLineError(
                "the account shows no line with a phone number, so nothing could be read: is this its key?"
            )
        return list(found.values())

    @cached_property
    def phone_numbers(self) -> list[dict[str, Any]]:
        """The lines to extract, as they came.

        Raises:
            InvalidRequestError: the setting names one that the account does not have.
            NoLineError: the account has none.
        """
        wanted = self.settings.phone_numbers
        if wanted is None:
            return self.account
        unknown = self._not_in_account(wanted)
        if unknown:
            raise InvalidRequestError(f"phone_numbers: must be lines of this account, got {', '.join(unknown)}")
        return [number for number in self.account if number["phone_number"] in wanted]

    @cached_property
    def _own_lines(self) -> frozenset[str]:
        return frozenset(number["phone_number"] for number in self.account)

    @property
    def secret(self) -> bytes:
        """The key of digests that are kept of handles; empty where nothing is masked."""
        return b"" if self.masking is None else self.masking.secret

    def check_lines_in_state(self, lines: Iterable[str]) -> None:
        """Say which lines of STATE the account no longer has: nothing is read from them, and their bookmarks stay."""
        missing = self._not_in_account(lines)
        if missing:
            message = f"lines that STATE knows are no longer the account's: {', '.join(missing)}"
            log.warning("%s; nothing is read from them, and their bookmarks stay", message)
            if self.settings.fail_on_missing_line:
                self._problems.append(message)

    def _not_in_account(self, lines: Iterable[str]) -> list[str]:
        return sorted(set(lines) - {number["phone_number"] for number in self.account})

    @property
    def lines(self) -> list[str]:
        """The phone numbers of the lines to extract."""
        return [number["phone_number"] for number in self.phone_numbers]

    @cached_property
    def _subscriptions(self) -> list[Any]:
        return self.client.webhook_subscriptions.list_raw()

    @cached_property
    def known_subscriptions(self) -> list[dict[str, Any]]:
        """All webhook subscriptions, for what they prove: none where they can't be read."""
        try:
            found = self._subscriptions
        except LinqError as error:
            if self.note_end(error):
                raise
            log.warning("webhook_subscriptions could not be read, so no gap counts as covered: %s", error)
            return []
        return [one for one in found if isinstance(one, dict)]

    def webhook_subscriptions(self) -> list[dict[str, Any]]:
        """All webhook subscriptions as they came; none where they can't be read, which is noted."""
        try:
            found = self._subscriptions
        except LinqError as error:
            # A key may lack the right to see them. That is no reason to forget what was read.
            self.note_failure("webhook_subscriptions", error)
            self.check_ended()
            return []
        return [one if isinstance(one, dict) else {} for one in found]

    def confirmed_time(self, line: str) -> datetime:
        """Return the server's time by two more responses: one that is wrong is found out by the next two that agree.

        They are not those of the first request of a run: a cache that has that one dates it as it did before.
        """
        with suppress(LinqError):  # the pass over the line will say so
            for _ in range(2):
                self.client.request("GET", "/v3/chats", params={"from": line, "limit": 1}, list_field="chats")
        return self.client.server_time

    def chats(self, line: str, recent_from: datetime | None = None) -> StableListReader:
        """List the chats of a line; see `StableListReader` for `recent_from`."""
        return StableListReader.of(self.client.chats.list(from_=line), recent_from)

    def pages_of(self, chats: StableListReader, line: str) -> Iterator[Page]:
        """Read a list of a line's chats to its end; see `ChatLines.of_line` for what is left out."""
        return self.chat_lines.of_line(chats.pages(), line, self._own_lines)

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
            found: list[str] = []
            try:
                found.extend(chat["id"] for page in self.pages_of(self.chats(line), line) for chat in page.items)
            except NoIdError as error:
                self.note_failure(f"chats of line {line}", error)
            self.chat_ids[line] = tuple(found)
        return self.chat_ids[line]

    def note_failure(self, what: str, error: LinqError) -> None:
        """Log what could not be read and remember it for the end of the run. Safe to call from several threads.

        Of an error after which nothing can be read, only the first is noted: see `ended_by`.
        """
        if not self.note_end(error):
            log.error("%s could not be read: %s", what, error)
            self._failures[what] = error

    def note_end(self, error: LinqError) -> bool:
        """Whether nothing can be read any more after an error: then that is noted."""
        if _ends_run(error):
            self.ended_by = self.ended_by or error
        return _ends_run(error)

    def check_ended(self) -> None:
        """Raise what has ended the run, once all is written that was read before.

        Raises:
            LinqError: the API can't be reached any more, or has withdrawn the key.
        """
        if self.ended_by is not None:
            raise self.ended_by

    def note_gap(self, what: str) -> None:
        """Remember a gap for the end of the run."""
        self._gaps.append(what)

    def close(self) -> None:
        """End the run: log what it came to.

        Raises:
            IncompleteRunError: something could not be read, or files not be stored.
            GapError: all could be read, but something had expired before, and that is to fail the run.
        """
        if not self._is_closed:
            self._is_closed = True
            self.client.close()
            if self.archive is not None:
                self.archive.close()
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
        problems = list(self._problems)
        if self._failures:
            named = ", ".join(list(self._failures)[:MAX_NAMED_FAILURES])
            more = len(self._failures) - MAX_NAMED_FAILURES
            problems.insert(
                0,
                f"could not be read: {named}{f' and {more} more' if more > 0 else ''}; "
                "the bookmarks of lines that were not read to their end stay, so that the next run reads them again",
            )
        if self.media is not None and self.media.problem is not None:
            problems.append(self.media.problem)
        gaps = []
        if self._gaps and self.settings.fail_on_gap:
            gaps.append(
                f"messages may have expired unread: {'; '.join(self._gaps)}. All that was left is extracted, and the "
                "bookmarks have moved on"
            )
        if problems:
            raise IncompleteRunError("; ".join(problems + gaps))
        if gaps:
            raise GapError(*gaps)


def _ends_run(error: LinqError) -> bool:
    """Whether all else would fail in the same way. A gateway's 401 says nothing of the key, only the API's own does."""
    return isinstance(error, APIUnavailableError | ClientClosedError) or (
        isinstance(error, AuthenticationError) and error.verdict
    )
