"""What the tap makes of messages whose events it has read: rows from the API while it has them, else from events.

A row of events says less than the API's: where a subscription lacks edits or reactions, the row lacks them. So it is
made of all events that the archive has of the message, and only where something has happened that the API has not
shown in a row before, as far as that is known.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

from linq_client import MessageNotFoundError
from linq_client.sync import CLOCK_TOLERANCE
from linq_client.times import parse_datetime_or_none
from tap_linq.extraction import records
from tap_linq.extraction.chat_lines import ChatLines
from tap_linq.extraction.chat_reader import Batch, as_linq_error
from tap_linq.extraction.message_fold import FoldedMessage, MessageFolder
from tap_linq.extraction.records import FROM_API, FROM_WEBHOOK
from tap_linq.extraction.session import SyncSession
from tap_linq.extraction.webhook_records import ArchivedEvent, handle_of
from tap_linq.extraction.worker_pool import WorkerPool

__all__ = ["MERGED_STREAMS", "ArchivedMessages", "MessageStats"]

#: The streams that events add records to.
MERGED_STREAMS: Final = frozenset({"messages", "attachments"})

#: Messages whose events are looked for together.
MAX_UNKNOWN: Final = 4_096

#: How long the platform keeps the bytes of a file on an ephemeral line, at the most. Source: API reference, "Ephemeral
#: tier".
BYTES_KEPT: Final = timedelta(hours=48)

log = logging.getLogger(__name__)


@dataclass
class MessageStats:
    """What became of messages, for the log."""

    from_api: int = 0
    from_events: int = 0
    unknown: int = 0
    failed: int = 0


class ArchivedMessages:
    """The messages of the events that are read.

    Args:
        lines: the lines of chats.
        streams: names of those of the merged streams whose records are wanted.
        search: yields the events that were delivered at a time or later, and read so far.

    Attributes:
        read_until: when the newest event was made that an earlier run has read; None if none was.
        owes_files: whether a file could not be stored, and may be in a later run.
    """

    def __init__(
        self,
        session: SyncSession,
        lines: ChatLines,
        streams: frozenset[str],
        search: Callable[[datetime], Iterator[ArchivedEvent]],
    ) -> None:
        self._session = session
        self._settings = session.settings
        self._lines = lines
        self._streams = streams
        self._search = search
        self._folder = MessageFolder()
        self.read_until: datetime | None = None
        self.owes_files = False
        self.stats = MessageStats()

    @property
    def unknown(self) -> int:
        """Number of messages that have to be looked for in the archive before they are emitted."""
        return len(self._folder.unknown)

    def fold(self, event: ArchivedEvent, wanted: frozenset[str]) -> None:
        """Keep what an event tells of a message.

        Args:
            wanted: names of the streams that are to have a record of it, as this event is new to them.
        """
        if event.message_id is not None and (event.change is not None or event.is_reaction):
            message = self._folder.of(event.message_id)
            message.fold(event)
            # Reactions come with the message where the API shows it, and in a row of events with its next change.
            if event.change is not None:
                message.wanted |= wanted & self._streams

    def text_before(self, event: ArchivedEvent) -> str | None:
        """Return what an edited part said before, where that is known."""
        is_edit = event.change == "edited" and event.message_id is not None
        return self._folder.of(event.message_id or "").text_before(event) if is_edit else None

    def emit(self) -> Iterator[Batch]:
        """Yield the messages of which events have told something that is not emitted yet."""
        now = self._session.client.server_time
        gone: list[FoldedMessage] = []
        to_ask: list[FoldedMessage] = []
        for message in self._folder.take_wanted():
            if message.may_live(self._settings.window, now):
                if self._is_shown(message):
                    message.wanted = frozenset()
                else:
                    to_ask.append(message)
            else:
                gone.append(message)
        yield from self._from_events(gone)
        left: list[FoldedMessage] = []
        for found in self._ask_all(to_ask) if to_ask else ():
            if isinstance(found, Batch):
                yield found
            else:
                left.append(found)
        # Only now: what was asked for is written, and the position stays before what was not.
        self._session.check_ended()
        yield from self._from_events(left)

    def _is_shown(self, message: FoldedMessage) -> bool:
        """Whether the API has shown a message, as it was emitted, after all its events.

        That a full sweep was made since then proves nothing: the message may have been deleted before, or have expired
        sooner than the settings say.
        """
        shown_at = self._session.shown_at(message.id, self._line_of(message))
        return message.newest is not None and shown_at is not None and message.newest + CLOCK_TOLERANCE <= shown_at

    def _line_of(self, message: FoldedMessage) -> str | None:
        return message.line or self._lines.of(message.chat_id)

    # What the API shows.

    def _ask_all(self, messages: list[FoldedMessage]) -> Iterator[Batch | FoldedMessage]:
        """Yield the records of messages that the API shows, and the others as they are."""
        pool: WorkerPool[list[Batch] | FoldedMessage] = WorkerPool(self._settings.concurrency)

        def produce() -> None:
            for message in messages:
                pool.submit(lambda message=message: self._ask(pool, message))  # type: ignore[misc]

        for found in pool.run(produce):
            if isinstance(found, FoldedMessage):
                yield found
            else:
                self.stats.from_api += any(batch.stream == "messages" for batch in found)
                yield from found

    def _ask(self, pool: WorkerPool[Any], message: FoldedMessage) -> None:
        """Hand over a message as the API shows it, or back as it is where the API does not. In a thread of the pool."""
        try:
            self._session.check_ended()
            response = self._session.client.request("GET", f"/v3/messages/{quote(message.id, safe='')}")
            shown = response.body
            if shown.get("id") == message.id:
                pool.put(self._shown(message, shown, response.server_time))
            else:
                pool.put(message)
        except MessageNotFoundError:
            pool.put(message)
        except Exception as raised:
            error = as_linq_error(raised)
            if self._session.note_end(error):
                return
            # What events tell is better than nothing, and the next full sweep asks again.
            log.warning("message %s could not be read: %s", message.id, error)
            self.stats.failed += 1
            pool.put(message)

    def _shown(self, message: FoldedMessage, shown: Mapping[str, Any], shown_at: datetime) -> list[Batch]:
        sightings = self._session.sightings
        if sightings is None or sightings.is_emitted(shown):
            message.wanted = frozenset()
            return []
        # First what may fail: of a message that could not be shown in full, events tell.
        line = self._line_of(message) or self._line_shown(shown)
        batches = list(self._batches_of(shown, line, shown_at, FROM_API, message.wanted))
        message.wanted = frozenset()
        sightings.note(shown, shown_at)
        self._session.note_without_parts(shown, line or "", shown_at)
        return batches

    def _line_shown(self, shown: Mapping[str, Any]) -> str | None:
        """Return the line of a message by what the API shows of it, and of its chat if need be."""
        if shown.get("is_from_me") is True:
            sender = handle_of(shown.get("from_handle")) or handle_of(shown.get("from"))
            if sender is not None:
                return sender
        chat_id = shown.get("chat_id")
        return self._lines.ask(chat_id) if isinstance(chat_id, str) and chat_id else None

    # What events tell.

    def _from_events(self, messages: list[FoldedMessage]) -> Iterator[Batch]:
        """Yield messages as their events tell them, but for those of which more has to be looked for."""
        for message in messages:
            if self._is_shown(message):
                message.wanted = frozenset()
            elif message.is_known and not message.is_partial and not self._may_be_late(message):
                self._folder.unknown.pop(message.id, None)
                yield from self._told(message)
            else:
                self._folder.unknown[message.id] = message

    def _may_be_late(self, message: FoldedMessage) -> bool:
        """Whether an earlier run may have read newer events of a message, which say more than those of this run."""
        return self.read_until is not None and message.newest is not None and message.newest <= self.read_until

    def _told(self, message: FoldedMessage) -> Iterator[Batch]:
        """Yield a message as its events tell it; of what none has told, only `message_events` has a row."""
        wanted, message.wanted = message.wanted, frozenset()
        told = message.as_api_message()
        if told is None:
            self.stats.unknown += message.shown is None
        elif wanted:
            self.stats.from_events += 1
            now = self._session.client.server_time
            yield from self._batches_of(told, self._line_of(message), now, FROM_WEBHOOK, wanted)

    def find_unknown(self) -> Iterator[Batch]:
        """Yield messages of which the archive has earlier events, or may have them."""
        unknown = dict(self._folder.unknown)
        if not unknown:
            return
        oldest = min(message.oldest for message in unknown.values() if message.oldest is not None)
        for event in self._search(oldest):
            message = unknown.get(event.message_id or "")
            if message is not None:
                message.fold(event)
        self._folder.unknown.clear()
        for message in unknown.values():
            message.is_partial = False
            yield from self._told(message)

    def tell_deleted(self) -> Iterator[Batch]:
        """Yield the messages that the API has shown without their parts in this run, as events know these."""
        for shown, line, shown_at in self._session.take_without_parts():
            message = FoldedMessage(str(shown["id"]))
            message.shown, message.line = shown, line or None
            message.oldest = parse_datetime_or_none(shown.get("created_at")) or shown_at
            message.wanted = self._streams
            self._folder.unknown[message.id] = message
        yield from self.find_unknown()

    def _batches_of(
        self, message: Mapping[str, Any], line: str | None, shown_at: datetime, source: str, wanted: Iterable[str]
    ) -> Iterator[Batch]:
        """Yield the records of a message, and store its files; nothing of a line that is not to be extracted."""
        lines = self._settings.phone_numbers
        if lines is not None and line not in lines:
            return
        # A line that nobody has told is none: the records say null.
        own = line or ""
        if "messages" in wanted:
            record = {**records.message_record(message, own, self._settings.window), "line": line, "source": source}
            yield Batch("messages", [record])
        media = self._session.media
        if media is None and "attachments" not in wanted:
            return
        created = parse_datetime_or_none(message.get("created_at"))
        may_have_bytes = created is None or shown_at - created < BYTES_KEPT
        for attachment in records.attachment_records(message, own, shown_at):
            attachment["line"] = line
            if media is not None:
                owed = media.owed
                # The URL in an event works for minutes: without it, the API is asked for another one.
                stored = media.store(attachment if source == FROM_API else {**attachment, "url": None})
                self.owes_files |= may_have_bytes and media.owed > owed
                attachment = {**stored, "url": attachment.get("url")}
            if "attachments" in wanted:
                yield Batch("attachments", [attachment])
