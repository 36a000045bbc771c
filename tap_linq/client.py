"""The base of all streams: what the Singer SDK has to be told once."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from datetime import datetime, timezone
from functools import cached_property
from typing import TYPE_CHECKING, Any

from singer_sdk import Stream, metrics
from singer_sdk.helpers.conform import TypeConformanceLevel
from singer_sdk.singerlib import RecordMessage
from typing_extensions import override

from tap_linq.command import REFUSALS
from tap_linq.extraction.decisions import LineState
from tap_linq.extraction.line_pass import LinePass

if TYPE_CHECKING:
    from tap_linq.extraction.run import Run
    from tap_linq.tap import TapLinq

Context = Mapping[str, Any]

log = logging.getLogger(__name__)


class LinqStream(Stream):
    """A stream of the Linq Partner API."""

    # Records go out as the API answered them: nothing to convert, and no field to drop.
    TYPE_CONFORMANCE_LEVEL = TypeConformanceLevel.NONE
    primary_keys: Sequence[str] = ("id",)

    def __init__(self, tap: TapLinq) -> None:
        super().__init__(tap)
        self._linq_tap = tap
        self._is_declared = False

    @property
    def run(self) -> Run:
        """What this run of the tap shares among its streams."""
        return self._linq_tap.run

    @property
    @override
    def emit_activate_version_messages(self) -> bool:
        """Never: a target would delete what has expired at the source."""
        return False

    @override
    def log(self, message: str, *args: Any, level: int = logging.INFO, **options: Any) -> None:
        """Log as the SDK does, but not that a refusal is "unhandled": the command line says what was refused."""
        if not isinstance(sys.exc_info()[1], REFUSALS):
            super().log(message, *args, level=level, **options)

    @override
    def log_sync_costs(self) -> None:
        """End the run, with an error if anything could not be read.

        The SDK calls this once for each stream, after all streams are done and all state is written.
        """
        super().log_sync_costs()
        self.run.close()

    @override
    def _write_schema_message(self) -> None:
        """Write SCHEMA once: a loader flushes on each, and a stream may be declared before its turn."""
        if not self._is_declared:
            self._is_declared = True
            super()._write_schema_message()


class PassStream(LinqStream):
    """A stream whose records come from the passes over the lines.

    The passes feed all such streams at once, so that none asks the API for what another has got. The SDK syncs streams
    one after the other: the first of them whose turn comes drives the passes, and writes what belongs to the others as
    it comes, so that nothing waits in memory and the bookmark of a line moves after all that it stands for.
    """

    def __init__(self, tap: TapLinq) -> None:
        super().__init__(tap)
        self._written = 0
        self._counter: metrics.Counter | None = None

    @property
    @override
    def partitions(self) -> None:
        """None for the SDK: the bookmarks of all lines are those of the stream `messages`, whoever drives."""

    @override
    def get_records(self, context: Context | None) -> Iterable[dict[str, Any]]:
        """Drive the passes if no other stream has done so; the records, its own too, are written by `write`."""
        if not self.run.is_driven:
            self.run.is_driven = True
            self._drive()
        return ()

    def _drive(self) -> None:
        tap = self._linq_tap
        selected = {stream.name: stream for stream in tap.streams.values() if stream.selected}
        fed = {name: stream for name, stream in selected.items() if isinstance(stream, PassStream)}
        for stream in fed.values():
            stream._write_schema_message()
        lost = self.run.foreign(tap.lines_on_record)
        if lost:
            log.warning(
                "no longer lines of this account, so nothing is read from them: %s; their bookmarks are kept",
                ", ".join(lost),
            )
        for line in self.run.lines:
            state = tap.line_state(line)
            this_pass = LinePass(self.run, line, LineState.from_state(state), frozenset(selected))
            with closing(this_pass.batches()) as batches:
                for batch in batches:
                    fed[batch.stream].write(batch.rows)
            if this_pass.new_state is not None:
                new_state = this_pass.new_state.to_state()
                state.update(new_state)
                for name in state.keys() - new_state.keys() - {"context"}:
                    del state[name]
                tap.state_writer.write_state(self.tap_state)

    def write(self, records: Sequence[dict[str, Any]]) -> None:
        """Write records, whether or not it is this stream's turn.

        Where no property is deselected, the SDK's search for those is left out: it copies every object of every
        record.
        """
        if self.ABORT_AT_RECORD_COUNT is not None:
            self._check_max_record_limit(self._written)
            records = records[: self.ABORT_AT_RECORD_COUNT]
        if self._is_whole:
            now = datetime.now(timezone.utc)
            for stream_map in self.stream_maps:
                for record in records:
                    mapped = stream_map.transform(record)
                    if mapped is not None:
                        message = RecordMessage(stream_map.stream_alias, mapped, time_extracted=now)
                        self._linq_tap.write_message(message)
        else:
            for record in records:
                self._write_record_message(record)
        self._written += len(records)
        if self._counter is not None:
            self._counter.increment(len(records))

    @cached_property
    def _is_whole(self) -> bool:
        return all(self.mask.values())

    @override
    def get_record_counter(self, **options: Any) -> metrics.Counter:
        """Count what was written before this stream's turn, too."""
        self._counter = super().get_record_counter(**options)
        self._counter.value = self._written
        return self._counter
