"""All that leans on internals of the Singer SDK, and why; `tests/tap/test_sdk.py` fails where an update changes them.

What the tap needs beyond the SDK's documented face:

- streams whose records come in whatever order, one SCHEMA for each, and records that fit it (`SdkStream`,
  `PushStream`);
- replication methods that are what the streams do (`SdkStream`, `SdkTap`);
- STATE that is ours alone, written when a line is done (`SdkTap`);
- a run that ends with a word and an exit code, and never within a line of output (`SdkTap`, `writer`).
"""

from __future__ import annotations

import gc
import logging
import sys
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from functools import cached_property
from types import FrameType
from typing import IO, TYPE_CHECKING, Any, Final, cast

from singer_sdk import Stream, Tap, metrics
from singer_sdk.helpers.capabilities import PluginCapabilities, TapCapabilities
from singer_sdk.helpers.conform import TypeConformanceLevel
from singer_sdk.singerlib import Catalog
from typing_extensions import override

from linq_client import InvalidRequestError
from tap_linq.cli import EXPECTED_ERRORS, exit_with_message, read_json_object
from tap_linq.extraction.conform import Conformer
from tap_linq.extraction.records import Record
from tap_linq.extraction.state import LineState
from tap_linq.writer import RecordWriter

if TYPE_CHECKING:
    import click

__all__ = ["FULL_TABLE", "INCREMENTAL", "Context", "PushStream", "SdkStream", "SdkTap"]

Context = Mapping[str, Any]

#: Replication methods of Singer, as far as a stream here can have them.
INCREMENTAL: Final = "INCREMENTAL"
FULL_TABLE: Final = "FULL_TABLE"

log = logging.getLogger(__name__)

#: The stream whose bookmarks are those of the lines.
STATE_STREAM: Final = "messages"


class SdkStream(Stream):
    """A stream whose records fit its SCHEMA, declared once, in a run that ends with a word.

    Attributes:
        replication_methods: those that the stream can have; the first is declared.
    """

    # The SDK would drop what does not fit, and fail where it can't convert it.
    TYPE_CONFORMANCE_LEVEL = TypeConformanceLevel.NONE
    primary_keys: Sequence[str] = ("id",)
    replication_methods: Sequence[str] = (FULL_TABLE,)

    def __init__(self, tap: Tap) -> None:
        super().__init__(tap)
        self.forced_replication_method = self.replication_methods[0]
        self._is_declared = False

    @override
    def apply_catalog(self, catalog: Catalog) -> None:
        """Take over what the user has chosen in the catalog.

        Raises:
            InvalidRequestError: it asks for a replication method that there is not.
        """
        super().apply_catalog(catalog)
        entry = catalog.get_stream(self.name)
        declared = self.replication_methods[0]
        self.forced_replication_method = declared
        asked = entry and {entry.replication_method, entry.metadata.root.forced_replication_method}
        for method in (asked or set()) - {None, declared}:
            if method not in (INCREMENTAL, FULL_TABLE):
                raise InvalidRequestError(
                    f"catalog: the replication method of {self.name} must be {' or '.join(self.replication_methods)}, "
                    f"got {method!r}"
                )
            if method in self.replication_methods:
                self.forced_replication_method = method
            else:
                log.warning("%s: stays %s, as all of it is read in each run", self.name, declared)

    @property
    @override
    def emit_activate_version_messages(self) -> bool:
        """Never: a target would delete what has expired at the source."""
        return False

    @abstractmethod
    def end_of_run(self) -> None:
        """Do what is to be done when all streams are done; called once for each stream."""

    def declare(self) -> None:
        """Write SCHEMA, if it was not written yet."""
        self._write_schema_message()

    @cached_property
    def conformer(self) -> Conformer:
        """Makes the records of this stream fit its SCHEMA."""
        return Conformer(self.effective_schema, self.mask.__getitem__)

    @override
    def _write_record_message(self, record: Record) -> None:
        for fitting in self.conformer.conform([record]):
            super()._write_record_message(fitting)

    @override
    def log(self, message: str, *args: Any, level: int = logging.INFO, **options: Any) -> None:
        """Log as the SDK does, but not that an expected error is "unhandled": the command line says what it is."""
        if not isinstance(sys.exc_info()[1], EXPECTED_ERRORS):
            super().log(message, *args, level=level, **options)

    @override
    def log_sync_costs(self) -> None:
        """End the run: the SDK calls this for each stream, after all streams are done and all STATE is written."""
        super().log_sync_costs()
        self.end_of_run()

    @override
    def _write_schema_message(self) -> None:
        """Write SCHEMA once: a loader flushes on each, and a stream may be declared before its turn."""
        if not self._is_declared:
            self._is_declared = True
            super()._write_schema_message()


class PushStream(SdkStream):
    """A stream whose records are written by `write`, whether or not it is its turn."""

    def __init__(self, tap: Tap) -> None:
        super().__init__(tap)
        self._written = 0
        self._counter: metrics.Counter | None = None

    def write(self, records: Sequence[dict[str, Any]]) -> None:
        """Write records, so that they fit SCHEMA.

        Where no property is deselected, the SDK's search for those is left out: it copies every object of every
        record.
        """
        if self.ABORT_AT_RECORD_COUNT is not None:
            self._check_max_record_limit(self._written)
            records = records[: self.ABORT_AT_RECORD_COUNT]
        fitting = self.conformer.conform(records)
        if self._has_all_properties:
            now = datetime.now(timezone.utc)
            for stream_map in self.stream_maps:
                mapped = (one for one in map(stream_map.transform, fitting) if one is not None)
                cast("SdkTap", self._tap).message_writer.write_records(stream_map.stream_alias, mapped, now)
        else:
            for record in fitting:
                Stream._write_record_message(self, record)
        self._written += len(fitting)
        if self._counter is not None:
            self._counter.increment(len(fitting))

    @cached_property
    def _has_all_properties(self) -> bool:
        return all(self.mask.values())

    @override
    def get_record_counter(self, **options: Any) -> metrics.Counter:
        """Count what was written before this stream's turn, too."""
        self._counter = super().get_record_counter(**options)
        self._counter.value = self._written
        return self._counter


class SdkTap(Tap):
    """A tap whose STATE has a partition for each line, and that says in one line why it did not run."""

    message_writer_class = RecordWriter
    message_writer: RecordWriter
    # Without ACTIVATE_VERSION: it lets a target delete what has expired at the source.
    capabilities = [  # noqa: RUF012
        TapCapabilities.CATALOG,
        TapCapabilities.STATE,
        TapCapabilities.DISCOVER,
        PluginCapabilities.ABOUT,
        PluginCapabilities.STREAM_MAPS,
        PluginCapabilities.FLATTENING,
        PluginCapabilities.STRUCTURED_LOGGING,
    ]

    def __init__(self, *, catalog: object = None, **options: Any) -> None:
        super().__init__(catalog=_with_known_names(catalog), **options)

    @classmethod
    @override
    def invoke(cls, *, state: IO[str] | None = None, catalog: IO[str] | None = None, **options: Any) -> None:
        """Run from the command line."""
        # All is imported: tens of thousands of objects, which each full collection would walk through for nothing.
        gc.freeze()
        with exit_with_message(cls.logger):
            super().invoke(
                state=state and read_json_object("--state", state),
                catalog=catalog and read_json_object("--catalog", catalog),
                **options,
            )

    @classmethod
    @override
    def cb_config(cls, ctx: click.Context, param: click.Option, value: tuple[str, ...]) -> Any:
        """Read the files of settings that the command line names."""
        with exit_with_message(cls.logger):
            try:
                return super().cb_config(ctx, param, value)
            except (OSError, TypeError, ValueError) as error:
                raise InvalidRequestError(f"--config: must be files with JSON objects: {error}") from None

    @classmethod
    @override
    def cb_test(cls, ctx: click.Context, param: click.Option, value: str) -> None:
        """Run the connection test from the command line."""
        with exit_with_message(cls.logger):
            super().cb_test(ctx, param, value)

    @override
    def _handle_termination(self, signum: int, frame: FrameType | None) -> None:
        """End with the code that says so, and without STATE: all that was reached is out already."""
        self.message_writer.exit(128 + signum)

    @override
    def load_state(self, state: dict[str, Any]) -> None:
        """Take STATE over, without what belongs to no line: the SDK could not read past it.

        Raises:
            StateFormatError: another version wrote it. No request is made yet.
        """
        for stream_state in state.get("bookmarks", {}).values():
            if "partitions" in stream_state:
                partitions = [one for one in stream_state["partitions"] if "line" in one.get("context", ())]
                stream_state["partitions"] = partitions
        super().load_state(state)
        for partition in self._partitions:
            LineState.from_partition(partition)

    @property
    def lines_in_state(self) -> list[str]:
        """The lines that STATE knows, from whatever run."""
        return [one["context"]["line"] for one in self._partitions]

    def line_state(self, line: str) -> LineState:
        """Return what STATE keeps of a line."""
        return LineState.from_partition(self._partition(line))

    def save_line_state(self, line: str, line_state: LineState) -> None:
        """Write STATE, in which this is kept of a line."""
        line_state.write_to(self._partition(line))
        self.state_writer.write_state(self.state)

    @property
    def _partitions(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.state.get("bookmarks", {}).get(STATE_STREAM, {}).get("partitions", [])
        return found

    def _partition(self, line: str) -> dict[str, Any]:
        return self.streams[STATE_STREAM].get_context_state({"line": line})


def _with_known_names(catalog: object) -> Any:
    """Return a catalog in which `replication-method`, as users write it, has the name that the SDK reads."""
    streams = catalog.get("streams") if isinstance(catalog, dict) else None
    for stream in streams if isinstance(streams, list) else ():
        for one in stream.get("metadata", ()):
            metadata = one.get("metadata", {})
            if not one.get("breadcrumb") and "replication-method" in metadata:
                metadata["forced-replication-method"] = metadata["replication-method"]
    return catalog
