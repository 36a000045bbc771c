"""The base of all streams: what the Singer SDK has to be told once."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from singer_sdk import Stream, metrics
from singer_sdk import singerlib as singer
from singer_sdk.helpers._util import utc_now
from singer_sdk.helpers.conform import TypeConformanceLevel
from typing_extensions import override

from tap_linq.extraction.decisions import LineState
from tap_linq.extraction.line_pass import LinePass

if TYPE_CHECKING:
    from tap_linq.extraction.run import Run
    from tap_linq.tap import TapLinq

Context = Mapping[str, Any]


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

    @cached_property
    def _is_whole(self) -> bool:
        return all(self.mask.values())

    @override
    def _generate_record_messages(self, record: dict[str, Any]) -> Generator[singer.RecordMessage, None, None]:
        """Skip the search for deselected properties where there are none: it copies every object of every record."""
        if not self._is_whole:
            yield from super()._generate_record_messages(record)
            return
        for stream_map in self.stream_maps:
            mapped = stream_map.transform(record)
            if mapped is not None:
                yield singer.RecordMessage(stream_map.stream_alias, mapped, time_extracted=utc_now())


class PassStream(LinqStream):
    """A stream whose records come from the passes over the lines.

    The passes feed all such streams at once, so that none asks the API for what another has got. The SDK syncs streams
    one after the other: the first of them whose turn comes drives the passes, and writes what belongs to the others as
    it comes, so that nothing waits in memory and the bookmark of a line moves after all that it stands for.
    """

    def __init__(self, tap: TapLinq) -> None:
        super().__init__(tap)
        self._written = 0

    @property
    @override
    def partitions(self) -> None:
        """None for the SDK: the bookmarks of all lines are those of the stream `messages`, whoever drives."""

    @override
    def get_records(self, context: Context | None) -> Iterable[dict[str, Any]]:
        if self.run.is_driven:
            return
        self.run.is_driven = True
        fed = {one.name: one for one in self._linq_tap.streams.values() if isinstance(one, PassStream) and one.selected}
        for stream in fed.values():
            stream._write_schema_message()
        wanted = frozenset(one.name for one in self._linq_tap.streams.values() if one.selected)
        for line in self.run.lines:
            state = self._linq_tap.line_state(line)
            this_pass = LinePass(self.run, line, LineState.from_state(state), wanted)
            for batch in this_pass.batches():
                if batch.stream == self.name:
                    yield from batch.rows
                else:
                    fed[batch.stream].write(batch.rows)
            if this_pass.new_state is not None:
                state.clear()
                state.update({"context": {"line": line}, **this_pass.new_state.to_state()})
                self._linq_tap.state_writer.write_state(self.tap_state)

    def write(self, records: list[dict[str, Any]]) -> None:
        """Write records before this stream's turn."""
        for record in records:
            self._write_record_message(record)
        self._written += len(records)

    @override
    def get_record_counter(self, **options: Any) -> metrics.Counter:
        """Count what was written before the turn, too."""
        counter = super().get_record_counter(**options)
        counter.value, self._written = self._written, 0
        return counter

    @override
    def _increment_stream_state(self, latest_record: Any, *, context: Context | None = None) -> None:
        """Do nothing: no record moves the bookmark."""
