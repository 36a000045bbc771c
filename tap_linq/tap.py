"""The tap: its settings and its streams."""

from __future__ import annotations

import gc
import os
from collections.abc import Sequence
from functools import cached_property
from types import FrameType
from typing import IO, TYPE_CHECKING, Any, Final

from singer_sdk import Stream, Tap
from singer_sdk import typing as th
from singer_sdk.exceptions import ConfigValidationError
from singer_sdk.helpers.capabilities import PluginCapabilities, TapCapabilities
from typing_extensions import override

from linq_client import InvalidRequestError
from tap_linq import streams
from tap_linq.client import LinqStream, PassStream
from tap_linq.command import checked_json, told_in_a_line
from tap_linq.extraction.run import Run
from tap_linq.settings import Settings, check_names, normalized
from tap_linq.writer import RecordWriter

if TYPE_CHECKING:
    import click


#: Of environment variables that are read as settings with `--config=ENV`.
PREFIX: Final = "TAP_LINQ_"


class TapLinq(Tap):
    """Extracts chats and messages from the Linq messaging platform before they expire there."""

    name = "tap-linq"
    package_name = "linq-connectors"
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

    config_jsonschema = th.PropertiesList(
        th.Property("api_key", th.StringType, required=True, secret=True, description="API key of the Linq account."),
        th.Property(
            "base_url",
            th.StringType,
            description="Root of the API, ending in `/api/partner`; the vendor's own if left out.",
        ),
        th.Property(
            "phone_numbers",
            th.ArrayType(th.StringType),
            description=(
                "Lines to extract, in E.164 form, all of the account if left out; requests grow with the number of "
                "chats of these lines."
            ),
        ),
        th.Property(
            "retention_window_hours",
            th.CustomType({"type": ["number", "string", "null"]}),
            default=24,
            description=(
                'Hours after which the platform deletes a message of an ephemeral line, 1 to 24, or "null" on '
                "the standard tier, where none expires; the tap must run more often than this, or messages are lost."
            ),
        ),
        th.Property(
            "full_sweep_interval_hours",
            th.CustomType({"type": ["number", "string", "null"]}),
            description=(
                "Hours after which a run reads every chat again, and not only those that show activity: at most, and "
                "by default, a quarter of the window, 24 on the standard tier; a sweep costs one request a chat or "
                "more and emits every message that still lives."
            ),
        ),
        th.Property(
            "overlap_minutes",
            th.CustomType({"type": ["number", "string"]}),
            default=10,
            description=(
                "Minutes before the last pass in which chats are read again, for what the API shows late; each chat "
                "that was active in them costs a request more."
            ),
        ),
        th.Property(
            "on_gap",
            th.StringType,
            default="warn",
            allowed_values=["warn", "fail"],
            description=(
                "What a run does that comes too late for some messages: `warn` in the log, or `fail` at the end, "
                "after all that is left has been extracted."
            ),
        ),
        th.Property(
            "start_date",
            th.DateTimeType,
            description=(
                "Messages that were last changed before this moment (RFC 3339) are not emitted; they are read all "
                "the same, so it saves rows and not requests."
            ),
        ),
        th.Property(
            "concurrency",
            # Not an integer: the SDK would turn the text of an environment variable into one, or fail.
            th.CustomType({"type": ["number", "string"]}),
            default=8,
            description=(
                "Requests under way at once, 1 to 64; each costs a connection and up to a megabyte of memory, and the "
                "API may answer too many with 429, which slows all of them down together."
            ),
        ),
        th.Property(
            "attachments_path",
            th.StringType,
            description=(
                "Folder, or URL that fsspec knows (s3://, gs://, ...), where the files of messages are stored, which "
                "expire too; one request a file, and none if left out."
            ),
        ),
        th.Property(
            "attachment_max_megabytes",
            th.CustomType({"type": ["number", "string"]}),
            default=100,
            description=(
                "Files above this many megabytes (of 1,000,000 bytes) are not stored; up to `concurrency` files "
                "of this size lie in the temporary folder at once."
            ),
        ),
    ).to_dict()

    def __init__(
        self,
        *,
        config: dict[str, Any] | None = None,
        parse_env_config: bool = False,
        validate_config: bool = True,
        **options: Any,
    ) -> None:
        config = normalized(config or {})
        try:
            if validate_config:
                # First, as to the SDK a required setting with a typo is just missing.
                self.append_builtin_config(self.config_jsonschema)
                given = os.environ if parse_env_config else ()
                variables = [one.removeprefix(PREFIX) for one in given if one.startswith(PREFIX)]
                check_names(config, variables, self.config_jsonschema["properties"])
            super().__init__(
                config=config, parse_env_config=parse_env_config, validate_config=validate_config, **options
            )
            if validate_config:
                _ = self.run
        except InvalidRequestError as error:
            raise ConfigValidationError(str(error), errors=[str(error)], schema=self.config_jsonschema) from None

    @classmethod
    @override
    def invoke(cls, *, state: IO[str] | None = None, catalog: IO[str] | None = None, **options: Any) -> None:
        """Run from the command line."""
        # All is imported: tens of thousands of objects, which each full collection would walk through for nothing.
        gc.freeze()
        with told_in_a_line(cls.logger):
            super().invoke(
                state=state and checked_json("--state", state),
                catalog=catalog and checked_json("--catalog", catalog),
                **options,
            )

    @classmethod
    @override
    def cb_config(cls, ctx: click.Context, param: click.Option, value: tuple[str, ...]) -> Any:
        """Read the files of settings that the command line names."""
        with told_in_a_line(cls.logger):
            try:
                return super().cb_config(ctx, param, value)
            except (OSError, TypeError, ValueError) as error:
                raise InvalidRequestError(f"--config: must be files with JSON objects: {error}") from None

    @classmethod
    @override
    def cb_test(cls, ctx: click.Context, param: click.Option, value: str) -> None:
        """Run the connection test from the command line."""
        with told_in_a_line(cls.logger):
            super().cb_test(ctx, param, value)

    @override
    def _handle_termination(self, signum: int, frame: FrameType | None) -> None:
        """End with the code that says so, and without STATE: all that was reached is out already."""
        self.message_writer.end(128 + signum)

    @override
    def load_state(self, state: dict[str, Any]) -> None:
        """Leave out what belongs to no line: the SDK could not read past it."""
        for stream_state in state.get("bookmarks", {}).values():
            if "partitions" in stream_state:
                partitions = [one for one in stream_state["partitions"] if "line" in one.get("context", ())]
                stream_state["partitions"] = partitions
        super().load_state(state)

    @cached_property
    def run(self) -> Run:
        """What this run shares among its streams.

        Raises:
            InvalidRequestError: a setting breaks a rule.
        """
        return Run(Settings.from_config(self.config))

    @property
    def lines_on_record(self) -> list[str]:
        """The lines that STATE knows, from whatever run."""
        messages = self.state.get("bookmarks", {}).get(streams.MessagesStream.name, {})
        return [one["context"]["line"] for one in messages.get("partitions", ())]

    def line_state(self, line: str) -> dict[str, Any]:
        """The part of STATE, to be read and changed, that belongs to a line."""
        return self.streams[streams.MessagesStream.name].get_context_state({"line": line})

    @override
    def discover_streams(self) -> Sequence[LinqStream]:
        return [
            streams.AttachmentsStream(self),
            streams.ChatLocationsStream(self),
            streams.ChatParticipantsStream(self),
            streams.ChatsStream(self),
            streams.ExtractionGapsStream(self),
            streams.MessagesStream(self),
            streams.PhoneNumbersStream(self),
            streams.ReactionsStream(self),
            streams.WebhookSubscriptionsStream(self),
        ]

    @property
    @override
    def streams(self) -> dict[str, Stream]:
        """All streams, `messages` first, and those of the passes before those that use what these have found."""

        def rank(stream: Stream) -> tuple[bool, bool, str]:
            return not isinstance(stream, PassStream), stream.name != streams.MessagesStream.name, stream.name

        return {stream.name: stream for stream in sorted(super().streams.values(), key=rank)}
