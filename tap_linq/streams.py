"""The streams: keys, how they are replicated, and where the records come from; their fields are in `schemas`."""

from __future__ import annotations

import json
import logging
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import closing
from hashlib import blake2b
from typing import TYPE_CHECKING

from typing_extensions import override

import tap_linq
from tap_linq import schemas
from tap_linq.extraction.archive_pass import EVENT_STREAMS, ArchivePass
from tap_linq.extraction.archive_reader import ArchiveReader
from tap_linq.extraction.archive_state import ArchiveState
from tap_linq.extraction.chat_reader import Batch
from tap_linq.extraction.line_pass import LinePass
from tap_linq.extraction.locations import locations
from tap_linq.extraction.records import Record, api_record, webhook_subscription_record
from tap_linq.extraction.state import LineState
from tap_linq.sdk import FULL_TABLE, INCREMENTAL, Context, PushStream, SdkStream

if TYPE_CHECKING:
    from tap_linq.extraction.session import SyncSession
    from tap_linq.tap import TapLinq

__all__ = [
    "AttachmentsStream",
    "ChatLocationsStream",
    "ChatParticipantsStream",
    "ChatsStream",
    "ExtractionGapsStream",
    "LinqStream",
    "MessageEventsStream",
    "MessagesStream",
    "OptOutsStream",
    "PassStream",
    "PhoneNumbersStream",
    "ReactionsStream",
    "WebhookEventsStream",
    "WebhookGapsStream",
    "WebhookSubscriptionsStream",
]


log = logging.getLogger(__name__)


class LinqStream(SdkStream):
    """A stream of the Linq Partner API."""

    def __init__(self, tap: TapLinq) -> None:
        super().__init__(tap)
        self._linq_tap = tap

    @property
    def session(self) -> SyncSession:
        """What this run of the tap shares among its streams."""
        return self._linq_tap.session

    @override
    def fitting(self, records: Sequence[Record]) -> Sequence[Record]:
        found = super().fitting(records)
        return found if self.session.masking is None else self.session.masking.mask(found)

    def rows(self) -> Iterable[Record]:
        """Yield the records, with requests of the stream's own."""
        return ()

    @override
    def get_records(self, context: Context | None) -> Iterable[Record]:
        yield from self.rows()
        self.log_misfits()

    def log_misfits(self) -> None:
        """Log what did not fit the schema since this was last called."""
        misfits = self.conformer.take_misfits()
        if misfits.summary:
            log.warning("%s: %s", self.name, misfits.summary)
        self.session.left_out += misfits.left_out

    @override
    def end_of_run(self) -> None:
        """End the run, with an error if anything could not be read."""
        self.session.close()


class PassStream(PushStream, LinqStream):
    """A stream whose records come from the passes over the lines.

    The passes fill all such streams together, so that none asks the API for what another already has. The SDK syncs
    streams one after the other: the first of them whose turn comes makes the passes, and writes what belongs to the
    others as it comes, so that nothing waits in memory and the bookmark of a line moves after all that it stands for.

    Each run emits what changed, so a loader must not replace what earlier runs have emitted. The bookmark of a line is
    the server's time when its last complete pass began, less an overlap. It is no function of the records, so all that
    the SDK does to find the newest record is switched off.
    """

    replication_methods = (INCREMENTAL, FULL_TABLE)

    @property
    @override
    def partitions(self) -> None:
        """None for the SDK: the bookmarks of all lines are those of `messages`, whichever stream makes the passes."""

    @override
    def get_replication_key_signpost(self, context: Context | None = None) -> None:
        """None: the worker's clock has no say."""

    @override
    def get_records(self, context: Context | None) -> Iterable[Record]:
        """Make the passes if no other stream has done so; the records, its own too, are written by `write`."""
        if not self.session.passes_started:
            self.session.passes_started = True
            self._make_passes()
        return ()

    def _make_passes(self) -> None:
        tap = self._linq_tap
        selected = {stream.name: stream for stream in tap.streams.values() if stream.selected}
        outputs = {name: stream for name, stream in selected.items() if isinstance(stream, PassStream)}
        full_table = frozenset(name for name, stream in outputs.items() if stream.replication_method == FULL_TABLE)
        for stream in outputs.values():
            stream.declare()
        self.session.configurations = {name: _configuration(tap, stream) for name, stream in outputs.items()}
        self.session.form = _form(tap, [stream for name, stream in outputs.items() if name not in EVENT_STREAMS])
        self.session.check_lines_in_state(tap.lines_in_state)
        archive = self.session.archive
        if archive is not None:
            # Before the passes: they ask what it holds, and are compared with it.
            self.session.open_archive(tap.archive_state)
        for line in self.session.lines if outputs.keys() - EVENT_STREAMS else ():
            line_pass = LinePass(self.session, line, tap.line_state(line), frozenset(selected), full_table)
            with closing(line_pass.batches()) as batches:
                new_state = _write_all(batches, outputs)
            for stream in outputs.values():
                stream.log_misfits()
            if new_state is not None:
                tap.save_line_state(line, new_state)
        if archive is not None:
            self._read_archive(archive, outputs, is_full_table=bool(full_table & EVENT_STREAMS))

    def _read_archive(self, archive: ArchiveReader, outputs: Mapping[str, PassStream], *, is_full_table: bool) -> None:
        """Make the pass over the archive; STATE is written after each part of it."""
        tap = self._linq_tap
        archive_pass = ArchivePass(self.session, archive, archive.state, frozenset(outputs), from_start=is_full_table)
        with closing(archive_pass.batches()) as batches:
            for batch in batches:
                if isinstance(batch, ArchiveState):
                    tap.save_archive_state(batch)
                else:
                    outputs[batch.stream].write(batch.records)
        for stream in outputs.values():
            stream.log_misfits()


def _configuration(tap: TapLinq, stream: PassStream) -> bytes:
    """Return a digest of all that decides what becomes of the stream's records on their way out, of 16 bytes."""
    of_sdk = _options(tap, "stream_map", "flattening", "faker")
    selected = sorted(map(str, stream.mask.items()))
    masked = "" if tap.session.masking is None else f" {tap.session.masking.fingerprint}"
    decides = f"{tap_linq.__version__} {of_sdk} {selected}{masked}"
    return blake2b(decides.encode(errors="replace"), digest_size=16).digest()


def _form(tap: TapLinq, streams: Iterable[PassStream]) -> str | None:
    """Return a digest of what is left out or changed of the records of some streams; None if nothing is.

    It stands in STATE, so nothing goes into it by which a key could be tried out: not `stream_map_config`.
    """
    left_out = [
        f"{stream.name}.{path}"
        for stream in streams
        for path in (*stream.lacks, *(path for path, is_selected in stream.mask.items() if not is_selected))
    ]
    maps = _options(tap, "stream_maps", "flattening", "faker")
    masking = tap.session.masking
    if not left_out and not maps and masking is None:
        return None
    decides = f"{sorted(left_out)} {maps} {masking and masking.fingerprint}"
    return blake2b(decides.encode(errors="replace"), digest_size=8).hexdigest()


def _options(tap: TapLinq, *beginnings: str) -> str:
    """Return those settings of the SDK that are set and begin so, whatever their order is."""
    found = {name: one for name, one in tap.config.items() if name.startswith(beginnings) and one}
    return json.dumps(found, sort_keys=True, default=str) if found else ""


def _write_all(
    batches: Generator[Batch, None, LineState | None], outputs: Mapping[str, PassStream]
) -> LineState | None:
    """Write the records of a pass to their streams, and return what the pass has returned."""
    while True:
        try:
            batch = next(batches)
        except StopIteration as end:
            new_state: LineState | None = end.value
            return new_state
        outputs[batch.stream].write(batch.records)


class PhoneNumbersStream(LinqStream):
    """The lines of the account."""

    name = "phone_numbers"
    schema = schemas.PHONE_NUMBERS

    @override
    def rows(self) -> Iterable[Record]:
        return map(api_record, self.session.phone_numbers)


class ChatsStream(PassStream):
    """Chats with a change since the last pass; all in a full sweep, as `updated_at` may not show every change."""

    name = "chats"
    replication_key = "updated_at"
    schema = schemas.CHATS


class ChatParticipantsStream(PassStream):
    """Who is or was in which chat, from the same listing as `chats`."""

    name = "chat_participants"
    primary_keys = ("chat_id", "handle")
    replication_key = "observed_at"
    schema = schemas.CHAT_PARTICIPANTS


class MessagesStream(PassStream):
    """The messages of all chats: in an incremental pass those that are new or changed, in a full sweep all."""

    name = "messages"
    replication_key = "updated_at"
    schema = schemas.MESSAGES


class ReactionsStream(PassStream):
    """The reactions that the emitted messages show, and those that a message that was read shows no more."""

    name = "reactions"
    replication_key = "observed_at"
    schema = schemas.REACTIONS


class AttachmentsStream(PassStream):
    """The files in the emitted messages, one record a media part, and where each of them was stored."""

    name = "attachments"
    primary_keys = ("message_id", "part_index")
    replication_key = "observed_at"
    schema = schemas.ATTACHMENTS


class ExtractionGapsStream(PassStream):
    """Times of which messages may have expired before a run read them."""

    name = "extraction_gaps"
    replication_key = "detected_at"
    schema = schemas.EXTRACTION_GAPS


class WebhookEventsStream(PassStream):
    """All events in the archive since the last run, each once; with FULL_TABLE all there are."""

    name = "webhook_events"
    replication_key = "received_at"
    schema = schemas.WEBHOOK_EVENTS


class MessageEventsStream(PassStream):
    """What became of messages, from the same events."""

    name = "message_events"
    replication_key = "created_at"
    schema = schemas.MESSAGE_EVENTS


class OptOutsStream(PassStream):
    """Who has opted out or in again, from the same events."""

    name = "opt_outs"
    replication_key = "happened_at"
    schema = schemas.OPT_OUTS


class WebhookGapsStream(PassStream):
    """Where the API and the events do not agree, found after a full sweep."""

    name = "webhook_gaps"
    replication_key = "detected_at"
    schema = schemas.WEBHOOK_GAPS


class ChatLocationsStream(LinqStream):
    """Where the people are who share their location: one request a chat, so it is not selected by default."""

    name = "chat_locations"
    primary_keys = ("chat_id", "handle")
    selected_by_default = False
    schema = schemas.CHAT_LOCATIONS

    @override
    def rows(self) -> Iterable[Record]:
        for line in self.session.lines:
            yield from locations(self.session, line)


class WebhookSubscriptionsStream(LinqStream):
    """Where the platform sends which events."""

    name = "webhook_subscriptions"
    schema = schemas.WEBHOOK_SUBSCRIPTIONS

    @override
    def rows(self) -> Iterable[Record]:
        return map(webhook_subscription_record, self.session.webhook_subscriptions())
