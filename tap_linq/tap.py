"""The tap: its settings and its streams."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from singer_sdk import Tap
from singer_sdk import typing as th
from singer_sdk.contrib.msgspec import MsgSpecWriter
from singer_sdk.exceptions import ConfigValidationError
from singer_sdk.helpers.capabilities import PluginCapabilities, TapCapabilities
from typing_extensions import override

from linq_client import InvalidRequestError
from tap_linq.client import LinqStream
from tap_linq.extraction.run import Run
from tap_linq.settings import Settings
from tap_linq.streams import ChatsStream, MessagesStream, PhoneNumbersStream


class TapLinq(Tap):
    """Extracts chats and messages from the Linq messaging platform before they expire there."""

    name = "tap-linq"
    package_name = "linq-connectors"
    message_writer_class = MsgSpecWriter
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
            "start_date",
            th.DateTimeType,
            description=(
                "Messages that were last changed before this moment (RFC 3339) are not emitted; they are read all "
                "the same, so it saves rows and not requests."
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
    ).to_dict()

    def __init__(self, *args: Any, validate_config: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, validate_config=validate_config, **kwargs)
        if validate_config:
            try:
                _ = self.run
            except InvalidRequestError as error:
                raise ConfigValidationError(str(error), errors=[str(error)], schema=self.config_jsonschema) from None

    @cached_property
    def run(self) -> Run:
        """What this run shares among its streams.

        Raises:
            InvalidRequestError: a setting breaks a rule.
        """
        return Run(Settings.from_config(self.config))

    @override
    def discover_streams(self) -> Sequence[LinqStream]:
        return [ChatsStream(self), MessagesStream(self), PhoneNumbersStream(self)]
