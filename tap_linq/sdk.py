"""All that leans on internals of the Singer SDK, and why; `test_sdk.py` fails where an update changes them.

What the tap needs beyond the SDK's documented face:

- streams whose records come in whatever order, one SCHEMA for each, and records that fit it (`SdkStream`,
  `PushStream`);
- replication methods that are what the streams do (`SdkStream`, `SdkTap`);
- STATE that is ours alone, written when a line is done (`SdkTap`);
- a run that ends with a word and an exit code, and never within a line of output (`SdkTap`, `writer`, `termination`).
"""

from __future__ import annotations

import gc
import logging
import os
import sys
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from traceback import walk_tb
from typing import IO, TYPE_CHECKING, Any, Final

from singer_sdk import Stream, Tap, metrics
from singer_sdk.configuration._dict_config import TRUTHY, parse_environment_config
from singer_sdk.exceptions import AbortedSyncFailedException, AbortedSyncPausedException, MappingError
from singer_sdk.helpers._classproperty import classproperty
from singer_sdk.helpers.capabilities import PluginCapabilities, TapCapabilities
from singer_sdk.helpers.conform import TypeConformanceLevel
from singer_sdk.mapper import RemoveRecordTransform, StreamMap
from singer_sdk.plugin_base import SingerCommand, _ConfigInput
from singer_sdk.singerlib import Catalog
from singer_sdk.tap_base import CliTestOptionValue
from typing_extensions import Self, override

from linq_client import InvalidRequestError
from tap_linq.catalog import MAX_SHOWN, prepared, warn_of_stale, warn_of_unknown
from tap_linq.cli import EXPECTED_ERRORS, exit_with_message, read_json_object
from tap_linq.extraction.archive_state import ARCHIVE_STREAM, ArchiveState
from tap_linq.extraction.conform import Conformer, columns_of
from tap_linq.extraction.records import Record
from tap_linq.extraction.state import STATE_STREAM, LineState, bound_reactions, read_bookmark, read_partitions
from tap_linq.termination import ending_soon_on_signals, handling_signals
from tap_linq.writer import RecordWriter

if TYPE_CHECKING:
    import click

__all__ = ["FULL_TABLE", "INCREMENTAL", "Context", "PushStream", "SdkStream", "SdkTap", "output_names"]

Context = Mapping[str, Any]

#: What stands on the command line for settings from environment variables.
ENVIRONMENT: Final = "ENV"

#: What stands for no in an environment variable, beside the SDK's `TRUTHY`.
_FALSY: Final = ("false", "0", "no", "off")

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


class _Command(SingerCommand):
    @override
    def main(self, *arguments: Any, **options: Any) -> Any:
        with ending_soon_on_signals():
            return super().main(*arguments, **options)


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
        super().__init__(catalog=prepared(catalog), **options)
        warn_of_stale(
            [one for stream in self.streams.values() if isinstance(stream, SdkStream) for one in stream.lacks]
        )
        if self.input_catalog is not None:
            warn_of_unknown(self.input_catalog, list(self.streams))

    @abstractmethod
    def end_of_run(self) -> None:
        """Do what is to be done when all streams are done; it may be called more than once."""

    @abstractmethod
    def abandon(self) -> None:
        """End all that still goes on in other threads."""

    @contextmanager
    def running(self) -> Iterator[None]:
        """Write what was read, and end all threads, should anything end the run before its time.

        A signal ends it with the code that says so, and without STATE of lines that were not read to their end.
        """
        with handling_signals(self.message_writer.end):
            try:
                yield
            except BaseException:
                self.abandon()
                self.message_writer.flush()
                raise

    @classmethod
    @override
    def get_singer_command(cls) -> click.Command:
        """Return the command line, during which signals end the process."""
        made = super().get_singer_command()
        return _Command(
            made.name,
            logger=cls.logger,
            callback=made.callback,
            params=made.params,
            help=made.help,
            context_settings=made.context_settings,
        )

    @classmethod
    @override
    def invoke(  # type: ignore[override]  # as the SDK's own of a tap
        cls,
        *,
        about: bool = False,
        about_format: str | None = None,
        config: _ConfigInput | None = None,
        state: IO[str] | None = None,
        catalog: IO[str] | None = None,
    ) -> None:
        """Run from the command line."""
        # All is imported: tens of thousands of objects, which each full collection would walk through for nothing.
        gc.freeze()
        super(Tap, cls).invoke(about=about, about_format=about_format)
        with exit_with_message(cls.logger):
            cls.print_version(print_fn=cls.logger.info)
            tap = cls._from_cli(
                config,
                state=None if state is None else read_json_object("--state", _bytes_of(state)),
                catalog=None if catalog is None else read_json_object("--catalog", _bytes_of(catalog)),
            )
            if not any(stream.selected for stream in tap.streams.values()):
                raise InvalidRequestError("catalog: selects no stream, so nothing would be read before it expires")
            with tap.running():
                tap.sync_all()

    @classmethod
    @override
    def cb_config(cls, ctx: click.Context, param: click.Option, value: tuple[str, ...]) -> _ConfigInput:
        """Read the files of settings that the command line names. This comes first in every mode."""
        config: dict[str, Any] = {}
        with exit_with_message(cls.logger):
            for name in value:
                if name != ENVIRONMENT:
                    try:
                        content = Path(name).read_bytes()
                    except OSError as error:
                        raise InvalidRequestError(f"--config: {name} can't be read: {error.strerror}") from None
                    config |= read_json_object("--config", content)
        return _ConfigInput(config, ENVIRONMENT in value)

    @classmethod
    @override
    def cb_discover(cls, ctx: click.Context, param: click.Option, value: bool) -> None:
        """Write the catalog from the command line."""
        with exit_with_message(cls.logger):
            super().cb_discover(ctx, param, value)

    @classmethod
    @override
    def cb_test(cls, ctx: click.Context, param: click.Option, value: str) -> None:
        """Run the connection test from the command line: the first records of each stream."""
        if value == CliTestOptionValue.Disabled.value:
            return
        with exit_with_message(cls.logger):
            tap = cls._from_cli(ctx.params.get("config"))
            with tap.running():
                if value == CliTestOptionValue.Schema.value:
                    tap.write_schemas()
                else:
                    tap.run_connection_test()
                    tap.end_of_run()
        ctx.exit()

    @classmethod
    def _from_cli(cls, config: _ConfigInput | None, **options: Any) -> Self:
        config = config or _ConfigInput()
        return cls(config=config.config, parse_env_config=config.parse_env, validate_config=True, **options)

    @override
    def setup_mapper(self) -> None:
        """Register the maps; to the SDK a stream that is not selected has no keys, and a map of it would be refused."""
        super(Tap, self).setup_mapper()
        for name, entry in self.catalog.items():
            if entry.metadata.resolve_selection()[()]:
                self.mapper.register_raw_streams_from_catalog(Catalog({name: entry}))
            else:
                self.mapper.register_raw_stream_schema(name, entry.schema.to_dict(), entry.key_properties)

    @classproperty
    @override
    def _env_var_config(cls) -> dict[str, Any]:
        """The settings in environment variables.

        Of the SDK's own reading, a flag that is neither yes nor no would be false, so that `mask_handles` with a typing
        error masks nobody, and a number or JSON that is none would be a traceback.

        Raises:
            InvalidRequestError: names setting, rule and value.
        """
        schema = cls.config_jsonschema
        cls.append_builtin_config(schema)
        found: dict[str, Any] = {}
        for name, one in schema["properties"].items():
            variable = f"{cls._env_var_prefix}{name.upper()}"
            try:
                found |= parse_environment_config({"properties": {name: one}}, cls._env_var_prefix)
            except ValueError:
                raise InvalidRequestError(f"{name}: {_rule(one, os.environ[variable])}") from None
            if isinstance(found.get(name), bool) and os.environ[variable].lower() not in (*TRUTHY, *_FALSY):
                raise InvalidRequestError(f"{name}: must be true or false, got {os.environ[variable][:MAX_SHOWN]!r}")
        return found

    @override
    def _setup_signal_handlers(self) -> None:
        """Do nothing: the SDK would take the signals of any process that makes a tap. See `running`."""

    @override
    def load_state(self, state: dict[str, Any]) -> None:
        """Take STATE over, without what belongs to no line: the SDK could not read past it.

        Raises:
            StateFormatError: it can't be read. No request is made yet.
        """
        partitions, archive = read_partitions(state), read_bookmark(state, ARCHIVE_STREAM)
        ArchiveState.from_bookmark(archive)
        bookmarks: dict[str, Any] = {STATE_STREAM: {"partitions": partitions}} if partitions else {}
        if "format" in archive:
            # Also where no archive is set in this run: the next one may have it again.
            bookmarks[ARCHIVE_STREAM] = archive
        super().load_state({"bookmarks": bookmarks} if bookmarks else {})

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
        bound_reactions(self._partitions)
        self.state_writer.write_state(self.state)

    @property
    def archive_state(self) -> ArchiveState:
        """What STATE keeps of the webhook archive."""
        return ArchiveState.from_bookmark(self.state.get("bookmarks", {}).get(ARCHIVE_STREAM, {}))

    def save_archive_state(self, archive_state: ArchiveState) -> None:
        """Write STATE, in which this is kept of the webhook archive."""
        archive_state.write_to(self.state.setdefault("bookmarks", {}).setdefault(ARCHIVE_STREAM, {}))
        self.state_writer.write_state(self.state)

    @property
    def _partitions(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.state.get("bookmarks", {}).get(STATE_STREAM, {}).get("partitions", [])
        return found

    def _partition(self, line: str) -> dict[str, Any]:
        return self.streams[STATE_STREAM].get_context_state({"line": line})


def output_names(stream: Stream) -> list[str]:
    """Return the names under which a stream comes out: by `stream_maps` there may be several, or none."""
    if not stream.selected:
        return []
    return [one.stream_alias for one in stream.stream_maps if not isinstance(one, RemoveRecordTransform)]


def _rule(schema: Mapping[str, Any], text: str) -> str:
    """What an environment variable has to be that the SDK does not take as it is, and what it is."""
    if "integer" in schema["type"]:
        return f"must be a whole number, got {text[:MAX_SHOWN]!r}"
    # Not the text: `stream_map_config` may hold the key of a hash.
    return f"must be JSON, got {len(text)} other characters"


def _named(error: Exception, stream: str) -> Exception:
    """Return an error of a stream map that names its expression, and nothing of the record; others as they are."""
    for frame, _ in walk_tb(error.__traceback__):
        if frame.f_code.co_name == "transform_fn":
            key = frame.f_locals.get("prop_key", "__filter__")
            return MappingError(f"stream_maps.{stream}.{key}: can't be applied to a record ({type(error).__name__})")
    return error


def _bytes_of(file: IO[str]) -> bytes:
    """Return what a file holds that was opened as text, before anybody has decoded it."""
    content: bytes = file.buffer.read()  # type: ignore[attr-defined]
    return content
