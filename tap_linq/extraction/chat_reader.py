"""Reading chats in the threads of a pool, and handing over the records of what they hold.

Whatever goes wrong with one chat is that chat's failure: the others are read all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from linq_client import ChatNotFoundError, LinqError, Page
from linq_client.sync import ListedChat, NoIdError, UpdatedAtSignal, arrived_at
from tap_linq.extraction import records
from tap_linq.extraction.records import Record
from tap_linq.extraction.seen import SeenItems
from tap_linq.extraction.session import SyncSession
from tap_linq.extraction.shown_reactions import ShownReactions
from tap_linq.extraction.worker_pool import WorkerPool
from tap_linq.settings import STANDARD_SWEEP_INTERVAL

__all__ = ["Batch", "ChatOutcome", "ChatReader", "MessageFilter", "UnexpectedError", "as_linq_error"]

#: Returns those of the messages of a page that are to be emitted.
MessageFilter = Callable[[list[dict[str, Any]]], list[dict[str, Any]]]


class UnexpectedError(LinqError):
    """A response had a form that nothing here was made for."""


def as_linq_error(error: Exception) -> LinqError:
    """Return an error that may be logged: of one that is not the client's only the kind, as it may quote text."""
    return error if isinstance(error, LinqError) else UnexpectedError(f"unexpected {type(error).__name__}")


@dataclass(frozen=True)
class Batch:
    """Records of one stream, made from one page at the most."""

    stream: str
    records: list[Record]


@dataclass
class ChatOutcome:
    """What became of one chat: read, gone or failed.

    Attributes:
        messages: number of messages read.
        left_out: number of those without an id.
        is_hollow: whether it has none, though it has changed so lately that one which changed it would still live.
    """

    chat_id: str
    messages: int = 0
    left_out: int = 0
    is_hollow: bool = False
    signal: UpdatedAtSignal = UpdatedAtSignal.UNKNOWN
    error: LinqError | None = None
    gone: bool = False


class ChatReader:
    """Reads the chats of a line. Safe to use from several threads.

    Args:
        streams: names of the streams whose records are wanted.
        reactions: what is known of the line's.
        seen: what earlier runs have emitted of the line; None if nobody remembers.
    """

    def __init__(
        self,
        session: SyncSession,
        line: str,
        streams: frozenset[str],
        reactions: ShownReactions,
        seen: SeenItems | None = None,
    ) -> None:
        self._session = session
        self._line = line
        self._streams = streams
        self._reactions = reactions
        self._seen = seen

    def put_chats(self, pool: WorkerPool[Any], chats: list[dict[str, Any]], listed_at: datetime) -> None:
        """Hand over the records of chats that the API has listed at that time."""
        if "chats" in self._streams:
            self._put(pool, "chats", [records.chat_record(chat, self._line) for chat in chats], listed_at)
        if "chat_participants" in self._streams:
            found = [one for chat in chats for one in records.participant_records(chat, self._line, listed_at)]
            self._put(pool, "chat_participants", found, listed_at)

    def _put(self, pool: WorkerPool[Any], stream: str, found: list[Record], shown_at: datetime) -> list[Record]:
        """Hand over those of some records that are new or have changed, and return them."""
        if self._seen is not None:
            found = self._seen.new_of(stream, found, shown_at)
        if found:
            pool.put(Batch(stream, found))
        return found

    def read(self, pool: WorkerPool[Any], chat: ListedChat, wanted_of: MessageFilter) -> None:
        """Read a chat to its end and hand over the records of the messages that are wanted, and what became of it."""
        outcome = ChatOutcome(chat.id)
        try:
            self._session.check_ended()
            self._read(pool, chat, wanted_of, outcome)
        except Exception as error:
            outcome.error = as_linq_error(error)
            self._session.note_failure(f"chat {chat.id} of line {self._line}", outcome.error)
        pool.put(outcome)

    def _read(self, pool: WorkerPool[Any], chat: ListedChat, wanted_of: MessageFilter, outcome: ChatOutcome) -> None:
        newest: datetime | None = None
        try:
            for page in self._session.chat_messages(chat.id).pages():
                outcome.messages += len(page.items)
                self._emit(pool, page, wanted_of(page.items))
                newest = chat.newest((newest, *map(arrived_at, page.items)))
        except NoIdError as error:
            # Without its key, no message has a row. All others were read.
            outcome.left_out = error.count
        except ChatNotFoundError:
            # One response may be an accident. It counts if the API says the same of the chat itself.
            if not self._session.is_gone(chat.id):
                raise
            outcome.gone = True
        outcome.signal = chat.signal((newest,))
        is_empty = not outcome.messages and not outcome.left_out and not outcome.gone
        outcome.is_hollow = is_empty and self._changed_lately(chat)

    def _changed_lately(self, chat: ListedChat) -> bool:
        """Whether a message that has moved `updated_at` of a chat would still live, by half of the window."""
        window = self._session.settings.window
        if chat.updated is None or chat.is_explained:
            return False
        return chat.updated > chat.listed - (STANDARD_SWEEP_INTERVAL if window is None else window.length) / 2

    def _emit(self, pool: WorkerPool[Any], page: Page, wanted: list[dict[str, Any]]) -> None:
        """Hand over the records of those messages of a page that are wanted."""
        if self._session.comparison is not None:
            self._session.comparison.show(self._line, page.items)
        if wanted and "messages" in self._streams:
            window = self._session.settings.window
            found = [records.message_record(one, self._line, window) for one in wanted]
            if self._session.sightings is not None:
                for message, record in zip(wanted, found, strict=True):
                    self._session.sightings.note(message, page.server_time)
                    record["source"] = records.FROM_API
            put = {record["id"] for record in self._put(pool, "messages", found, page.server_time)}
            for message in wanted:
                if message["id"] in put:
                    self._session.note_without_parts(message, self._line, page.server_time)
        if "reactions" in self._streams:
            reactions = self._reaction_records(page, {message["id"] for message in wanted})
            if reactions:
                self._put(pool, "reactions", reactions, page.server_time)
        self._put_attachments(pool, wanted, page.server_time)

    def _reaction_records(self, page: Page, wanted: set[str]) -> list[Record]:
        """Return the records of what wanted messages show, and of what any message of the page shows no more."""
        found: list[Record] = []
        for message in page.items:
            is_wanted, is_known = message["id"] in wanted, message["id"] in self._reactions
            if not is_known and not (is_wanted and records.shows_reactions(message)):
                continue
            shown = records.reaction_records(message, self._line, page.server_time, self._session.secret)
            if is_wanted:
                found += shown
            if shown or is_known:
                places = {one["id"]: one["part_index"] for one in shown}
                gone = self._reactions.update(message, places, page.server_time, is_emitted=is_wanted)
                found += (
                    records.removed_reaction_record(key, message, place, self._line, page.server_time)
                    for key, place in gone.items()
                )
        return found

    def _put_attachments(self, pool: WorkerPool[Any], messages: list[dict[str, Any]], observed_at: datetime) -> None:
        media = self._session.media
        if media is None and "attachments" not in self._streams:
            return
        for message in messages:
            for record in records.attachment_records(message, self._line, observed_at):
                stored = record if media is None else media.store(record)
                if "attachments" in self._streams:
                    self._put(pool, "attachments", [stored], observed_at)
