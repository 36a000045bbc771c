"""The tap as the SDK runs it: its command line, its settings, its STATE, and how it ends."""

from __future__ import annotations

import gc
import os
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from singer_sdk import Tap
from singer_sdk.configuration._dict_config import TRUTHY, parse_environment_config
from singer_sdk.helpers._classproperty import classproperty
from singer_sdk.helpers.capabilities import PluginCapabilities, TapCapabilities
from singer_sdk.plugin_base import SingerCommand, _ConfigInput
from singer_sdk.singerlib import Catalog
from singer_sdk.tap_base import CliTestOptionValue
from typing_extensions import Self, override

from linq_client import InvalidRequestError
from tap_linq.catalog import MAX_SHOWN, prepared, warn_of_stale, warn_of_unknown
from tap_linq.cli import exit_with_message, read_json_object
from tap_linq.extraction.archive_state import ARCHIVE_STREAM, ArchiveState
from tap_linq.extraction.state import STATE_STREAM, LineState, bound_reactions, read_bookmark, read_partitions
from tap_linq.sdk._streams import SdkStream
from tap_linq.termination import ending_soon_on_signals, handling_signals
from tap_linq.writer import RecordWriter

if TYPE_CHECKING:
    import click

__all__ = ["SdkTap"]

#: What stands on the command line for settings from environment variables.
ENVIRONMENT: Final = "ENV"

#: What stands for no in an environment variable, beside the SDK's `TRUTHY`.
_FALSY: Final = ("false", "0", "no", "off")


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


def _rule(schema: Mapping[str, Any], text: str) -> str:
    """What an environment variable has to be that the SDK does not take as it is, and what it is."""
    if "integer" in schema["type"]:
        return f"must be a whole number, got {text[:MAX_SHOWN]!r}"
    # Not the text: `stream_map_config` may hold the key of a hash.
    return f"must be JSON, got {len(text)} other characters"


def _bytes_of(file: IO[str]) -> bytes:
    """Return what a file holds that was opened as text, before anybody has decoded it."""
    content: bytes = file.buffer.read()  # type: ignore[attr-defined]
    return content
