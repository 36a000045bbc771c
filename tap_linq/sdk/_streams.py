"""Streams whose records fit their SCHEMA, for the SDK and past it."""

from __future__ import annotations

import logging
import sys
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from functools import cached_property
from traceback import walk_tb
from typing import TYPE_CHECKING, Any, Final

from singer_sdk import Stream, Tap, metrics
from singer_sdk.exceptions import AbortedSyncFailedException, AbortedSyncPausedException, MappingError
from singer_sdk.helpers.conform import TypeConformanceLevel
from singer_sdk.mapper import RemoveRecordTransform, StreamMap
from singer_sdk.singerlib import Catalog
from typing_extensions import override

from linq_client import InvalidRequestError
from tap_linq.cli import EXPECTED_ERRORS
from tap_linq.extraction.conform import Conformer, columns_of
from tap_linq.extraction.records import Record

if TYPE_CHECKING:
    from tap_linq.sdk._tap import SdkTap

__all__ = ["FULL_TABLE", "INCREMENTAL", "Context", "PushStream", "SdkStream", "output_names"]

Context = Mapping[str, Any]

#: How the SDK ends a stream that has shown enough in a connection test: no error.
_ENOUGH: Final = (AbortedSyncFailedException, AbortedSyncPausedException)

#: Replication methods of Singer, as far as a stream here can have them.
INCREMENTAL: Final = "INCREMENTAL"
FULL_TABLE: Final = "FULL_TABLE"

log = logging.getLogger(__name__)


class SdkStream(Stream):
    """A stream whose records fit its SCHEMA, declared once, in a run that ends with a word.

    Attributes:
        replication_methods: those that the stream can have; the first is declared.
        lacks: what the catalog that was given does not have of the stream, or its name if it has nothing.
    """

    # The SDK would drop what does not fit, and fail where it can't convert it.
    TYPE_CONFORMANCE_LEVEL = TypeConformanceLevel.NONE
    primary_keys: Sequence[str] = ("id",)
    replication_methods: Sequence[str] = (FULL_TABLE,)

    def __init__(self, tap: Tap) -> None:
        super().__init__(tap)
        self.forced_replication_method = self.replication_methods[0]
        self.lacks: list[str] = []
        self._is_declared = False

    @override
    def apply_catalog(self, catalog: Catalog) -> None:
        """Take over what the user has chosen in the catalog.

        Raises:
            InvalidRequestError: it asks for a replication method that there is not.
        """
        entry = catalog.get_stream(self.name)
        given = set(columns_of(entry.schema.to_dict())) if entry else set()
        self.lacks = (
            [f"{self.name}.{one}" for one in columns_of(self.schema) if one not in given] if entry else [self.name]
        )
        key = self.replication_key
        super().apply_catalog(catalog)
        if self.selected and self.replication_key not in (None, key):
            log.warning("%s: its replication key stays %s, got %s", self.name, key or "none", self.replication_key)
        self.replication_key = key
        declared = self.replication_methods[0]
        self.forced_replication_method = declared
        asked = entry and self.selected and {entry.replication_method, entry.metadata.root.forced_replication_method}
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

    def fitting(self, records: Sequence[Record]) -> Sequence[Record]:
        """Return records as they go out: so that they fit SCHEMA."""
        return self.conformer.conform(records)

    @override
    def _write_record_message(self, record: Record) -> None:
        for fitting in self.fitting([record]):
            self._write_fitting(fitting)

    def _write_fitting(self, record: Record) -> None:
        try:
            Stream._write_record_message(self, record)
        except Exception as error:
            raise _named(error, self.name) from None

    @override
    def log(self, message: str, *args: Any, level: int = logging.INFO, **options: Any) -> None:
        """Log as the SDK does, but not that an expected error is "unhandled": the command line says what it is."""
        if not isinstance(sys.exc_info()[1], EXPECTED_ERRORS + _ENOUGH):
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

    _tap: SdkTap

    def __init__(self, tap: SdkTap) -> None:
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
        fitting = self.fitting(records)
        with self._tap.message_writer.whole():
            self._write(fitting)
        self._written += len(fitting)
        if self._counter is not None:
            self._counter.increment(len(fitting))

    def _write(self, records: Sequence[dict[str, Any]]) -> None:
        if not self._has_all_properties:
            for record in records:
                self._write_fitting(record)
            return
        now = datetime.now(timezone.utc)
        for stream_map in self.stream_maps:
            self._tap.message_writer.write_records(stream_map.stream_alias, self._mapped(stream_map, records), now)

    def _mapped(self, stream_map: StreamMap, records: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for record in records:
            try:
                mapped = stream_map.transform(record)
            except Exception as error:
                raise _named(error, self.name) from None
            if mapped is not None:
                yield mapped

    @cached_property
    def _has_all_properties(self) -> bool:
        return all(self.mask.values())

    @override
    def get_record_counter(self, **options: Any) -> metrics.Counter:
        """Count what was written before this stream's turn, too."""
        self._counter = super().get_record_counter(**options)
        self._counter.value = self._written
        return self._counter


def output_names(stream: Stream) -> list[str]:
    """Return the names under which a stream comes out: by `stream_maps` there may be several, or none."""
    if not stream.selected:
        return []
    return [one.stream_alias for one in stream.stream_maps if not isinstance(one, RemoveRecordTransform)]


def _named(error: Exception, stream: str) -> Exception:
    """Return an error of a stream map that names its expression, and nothing of the record; others as they are."""
    for frame, _ in walk_tb(error.__traceback__):
        if frame.f_code.co_name == "transform_fn":
            key = frame.f_locals.get("prop_key", "__filter__")
            return MappingError(f"stream_maps.{stream}.{key}: can't be applied to a record ({type(error).__name__})")
    return error
