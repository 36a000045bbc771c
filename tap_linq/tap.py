"""The tap: its settings and its streams."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Final

from singer_sdk import Stream
from singer_sdk import typing as th
from singer_sdk.exceptions import ConfigValidationError
from typing_extensions import override

from linq_client import InvalidRequestError
from tap_linq import streams
from tap_linq.extraction.session import SyncSession
from tap_linq.sdk import SdkTap, output_names
from tap_linq.settings import Settings, check_map_forms, check_names, check_stream_maps, normalize

__all__ = ["TapLinq"]

#: Of environment variables that are read as settings with `--config=ENV`.
ENV_PREFIX: Final = "TAP_LINQ_"


class TapLinq(SdkTap):
    """Extracts chats and messages from the Linq messaging platform before they expire there."""

    name = "tap-linq"
    package_name = "linq-connectors"

    config_jsonschema = th.PropertiesList(
        th.Property("api_key", th.StringType, required=True, secret=True, description="API key of the Linq account."),
        th.Property(
            "base_url",
            th.StringType,
            description="Root of the API, ending in `/api/partner`; the vendor's own if left out.",
        ),
        th.Property(
            "allow_http",
            th.BooleanType,
            default=False,
            description=(
                "Whether `base_url` may be `http://` to another machine, such as a gateway of your own; the API key "
                "can be read on the way there."
            ),
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
                "more and emits every message that still lives, or with `seen_path` those that differ."
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
            "on_missing_line",
            th.StringType,
            default="warn",
            allowed_values=["warn", "fail"],
            description=(
                "What a run does where the account no longer has a line that STATE knows: `warn` in the log, or `fail` "
                "at the end, after the other lines have been extracted."
            ),
        ),
        th.Property(
            "outage_patience_minutes",
            th.CustomType({"type": ["number", "string", "null"]}),
            description=(
                "Minutes that a run waits for an API that does not work before it ends with an error: at "
                "most a quarter of the window, by default a twentieth, which is 72 of 24 hours; meanwhile messages "
                "expire, and the next run can't start."
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
                "Concurrent requests, 1 to 64; each costs a connection and up to a megabyte of memory, and the "
                "API may answer too many with 429, which slows all of them down together."
            ),
        ),
        th.Property(
            "attachments_path",
            th.StringType,
            secret=True,
            description=(
                "Folder, or URL that fsspec knows (s3://, gs://, ...), where the files of messages are stored, which "
                "expire too; one request a file, and none if left out. A URL may hold a password."
            ),
        ),
        th.Property(
            "attachment_max_megabytes",
            th.CustomType({"type": ["number", "string"]}),
            default=100,
            description=(
                "Files above this many megabytes (of 1,000,000 bytes) are not stored; up to `concurrency` files "
                "of this size lie in the temporary folder together."
            ),
        ),
        th.Property(
            "webhook_archive",
            th.StringType,
            secret=True,
            description=(
                "Where `linq-webhooks` keeps events: a folder, a URL that fsspec knows, or one of a database "
                "(sqlite:///..., postgresql+psycopg://...). What only events tell is then extracted too. A URL may "
                "hold a password."
            ),
        ),
        th.Property(
            "webhook_archive_key",
            th.StringType,
            secret=True,
            description="Key with which `linq-webhooks` encrypts the archive, if it does.",
        ),
        th.Property(
            "seen_path",
            th.StringType,
            secret=True,
            description=(
                "Folder, or URL that fsspec knows, where runs remember digests of what they have emitted, so that a "
                "full sweep emits what is new or has changed, and not all that lives; none if left out. About 20 bytes "
                "an item. A URL may hold a password."
            ),
        ),
        th.Property(
            "mask_handles",
            th.BooleanType,
            default=False,
            description=(
                "Whether phone numbers and addresses of people go out as keyed digests, the same for the same handle, "
                "and what may hold them otherwise (names, files, URLs, undeclared fields) not at all. Own lines stay."
            ),
        ),
        th.Property(
            "mask_text",
            th.StringType,
            allowed_values=["drop", "encrypt"],
            description=(
                "What becomes of what people wrote, and of names, files, URLs and undeclared fields: `drop` leaves it "
                "out, `encrypt` makes Fernet tokens of it (undeclared fields are left out); as it is if left out."
            ),
        ),
        th.Property(
            "mask_key",
            th.StringType,
            secret=True,
            description=(
                "Key of the digests and of the encryption, 32 characters or more; who has it can find out handles and "
                "read texts, and with another one nothing joins with what is loaded already."
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
        config = normalize(config or {})
        try:
            if validate_config:
                # First, as to the SDK a required setting with a typo is just missing.
                self.append_builtin_config(self.config_jsonschema)
                environment = os.environ if parse_env_config else ()
                variables = [one.removeprefix(ENV_PREFIX) for one in environment if one.startswith(ENV_PREFIX)]
                check_names(config, variables, self.config_jsonschema["properties"])
                check_map_forms(config.get("stream_maps"))
                check_map_forms(self._env_var_config.get("stream_maps") if parse_env_config else None)
            super().__init__(
                config=config, parse_env_config=parse_env_config, validate_config=validate_config, **options
            )
            if validate_config:
                _ = self.session
                outputs = [(stream.name, one) for stream in self.streams.values() for one in output_names(stream)]
                check_stream_maps(self.config.get("stream_maps"), self.streams, outputs)
        except InvalidRequestError as error:
            raise ConfigValidationError(str(error), errors=[str(error)], schema=self.config_jsonschema) from None

    @override
    def setup_mapper(self) -> None:
        try:
            super().setup_mapper()
        except ValueError as error:  # the SDK's word for two columns that are cut to one name
            raise InvalidRequestError(f"flattening_max_key_length: {error}") from None

    @cached_property
    def session(self) -> SyncSession:
        """What this run shares among its streams.

        Raises:
            InvalidRequestError: a setting breaks a rule.
        """
        return SyncSession(Settings.from_config(self.config))

    @override
    def end_of_run(self) -> None:
        self.session.close()

    @override
    def abandon(self) -> None:
        self.session.client.abort()

    @override
    def discover_streams(self) -> Sequence[streams.LinqStream]:
        of_archive: list[type[streams.LinqStream]] = [
            streams.MessageEventsStream,
            streams.OptOutsStream,
            streams.WebhookEventsStream,
            streams.WebhookGapsStream,
        ]
        return [
            *(one(self) for one in of_archive if self.config.get("webhook_archive")),
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
            return not isinstance(stream, streams.PassStream), stream.name != streams.MessagesStream.name, stream.name

        return {stream.name: stream for stream in sorted(super().streams.values(), key=rank)}
