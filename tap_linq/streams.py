"""The streams: fields, keys, and where the records come from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from singer_sdk import typing as th
from typing_extensions import override

from linq_client import LinqError
from tap_linq.client import LinqStream
from tap_linq.extraction.decisions import format_moment, parse_moment
from tap_linq.extraction.line_pass import LinePass

Context = Mapping[str, Any]


def _object(*properties: th.Property[Any]) -> th.ObjectType:
    """An object of the API: the vendor adds fields every few days, and a message can't be fetched again for them."""
    return th.ObjectType(*properties, additional_properties=True)


_HANDLE = _object(
    th.Property("id", th.StringType),
    th.Property("handle", th.StringType, description="E.164 number or e-mail address."),
    th.Property("joined_at", th.DateTimeType),
    th.Property("left_at", th.DateTimeType),
    th.Property("service", th.StringType, description="iMessage, RCS or SMS."),
    th.Property("is_me", th.BooleanType, description="Whether it is the own line."),
    th.Property("status", th.StringType, description="active, left or removed."),
    th.Property("line_type", th.StringType),
)
_HEALTH = _object(
    th.Property("status", th.StringType, description="HEALTHY, AT_RISK, CRITICAL, or of a chat OPTED_OUT."),
    th.Property("doc_url", th.StringType),
    th.Property("updated_at", th.DateTimeType),
)
_PART = _object(
    th.Property("type", th.StringType, description="text, media, link, or one that is new."),
    th.Property("value", th.StringType, description="The text, or the URL of a link."),
    th.Property("id", th.StringType, description="Attachment id of a media part."),
    th.Property("url", th.StringType, description="Of a media part; signed, works for minutes to an hour."),
    th.Property("filename", th.StringType),
    th.Property("mime_type", th.StringType),
    th.Property("size_bytes", th.IntegerType),
    th.Property("reactions", th.ArrayType(_object())),
)


class PhoneNumbersStream(LinqStream):
    """The lines of the account."""

    name = "phone_numbers"
    schema = _object(
        th.Property("id", th.StringType, required=True),
        th.Property("phone_number", th.StringType, description="The line, in E.164 form."),
        th.Property("reputation", _HEALTH),
        th.Property("forwarding_number", th.StringType, description="Where calls to the line go."),
        th.Property("line_type", th.StringType),
    ).to_dict()

    @override
    def get_records(self, context: Context | None) -> Iterable[dict[str, Any]]:
        return self.run.phone_numbers


class ChatsStream(LinqStream):
    """All chats of the lines, in every run: whether `updated_at` shows every change of a chat is not documented."""

    name = "chats"
    schema = _object(
        th.Property("id", th.StringType, required=True),
        th.Property("line", th.StringType, description="The own line of the chat, in E.164 form."),
        th.Property("display_name", th.StringType),
        th.Property("service", th.StringType, description="iMessage, RCS or SMS."),
        th.Property("is_group", th.BooleanType),
        th.Property("is_archived", th.BooleanType),
        th.Property("group_chat_icon", th.StringType),
        th.Property("handles", th.ArrayType(_HANDLE), description="Everybody who is or was in the chat."),
        th.Property("health_status", _HEALTH),
        th.Property("created_at", th.DateTimeType),
        th.Property("updated_at", th.DateTimeType),
    ).to_dict()

    @override
    def get_records(self, context: Context | None) -> Iterable[dict[str, Any]]:
        for line in self.run.lines:
            try:
                for chat in self.run.chats(line):
                    yield {**chat, "line": line}
            except LinqError as error:
                self.run.note_failure(f"the chats of line {line}", error)


class MessagesStream(LinqStream):
    """The messages of all chats; those that are new or changed since the bookmark of their line.

    The bookmark is the server's time when the last complete pass over the line began, less an overlap. It is no
    function of the records, so all that the SDK does to find the newest record is switched off.
    """

    name = "messages"
    replication_key = "updated_at"
    schema = _object(
        th.Property("id", th.StringType, required=True),
        th.Property("chat_id", th.StringType),
        th.Property("line", th.StringType, description="The own line of the chat, in E.164 form."),
        th.Property("direction", th.StringType, description="inbound or outbound."),
        th.Property("text", th.StringType, description="The text parts, one a line; null if there is none."),
        th.Property("parts", th.ArrayType(_PART)),
        th.Property("from", th.StringType),
        th.Property("from_handle", _HANDLE, description="Who sent it."),
        th.Property("is_from_me", th.BooleanType),
        th.Property("delivery_status", th.StringType, description="pending, queued, sent, delivered, read, failed ..."),
        th.Property("is_delivered", th.BooleanType),
        th.Property("is_read", th.BooleanType),
        th.Property("service", th.StringType, description="iMessage, RCS or SMS; may differ from the chat's."),
        th.Property("preferred_service", th.StringType),
        th.Property("effect", _object(th.Property("type", th.StringType), th.Property("name", th.StringType))),
        th.Property(
            "reply_to",
            _object(th.Property("message_id", th.StringType), th.Property("part_index", th.IntegerType)),
        ),
        th.Property("created_at", th.DateTimeType),
        th.Property("updated_at", th.DateTimeType),
        th.Property("sent_at", th.DateTimeType),
        th.Property("delivered_at", th.DateTimeType),
        th.Property("read_at", th.DateTimeType),
        th.Property("reconciled_at", th.DateTimeType, description="When the platform recovered it late."),
        th.Property("expires_at", th.DateTimeType, description="When the platform may delete it (ephemeral lines)."),
    ).to_dict()

    @property
    @override
    def partitions(self) -> list[dict[str, Any]]:
        """One a line: so state holds one bookmark a line, however many chats there are."""
        return [{"line": line} for line in self.run.lines]

    @override
    def get_records(self, context: Context | None) -> Iterable[dict[str, Any]]:
        if context is None:
            return  # the account has no lines
        state = self.get_context_state(context)
        this_pass = LinePass(self.run, context["line"], parse_moment(state.get("replication_key_value")))
        yield from this_pass.records()
        if this_pass.new_bookmark is not None:
            state["replication_key"] = self.replication_key
            state["replication_key_value"] = format_moment(this_pass.new_bookmark)

    @override
    def get_replication_key_signpost(self, context: Context | None = None) -> None:
        """None: the worker's clock has no say."""

    @override
    def _increment_stream_state(self, latest_record: Any, *, context: Context | None = None) -> None:
        """Do nothing: no record moves the bookmark."""
