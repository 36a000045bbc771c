"""The streams: fields, keys, and where the records come from."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any

from singer_sdk import typing as th
from typing_extensions import override

from tap_linq.extraction.chat_reader import Batch
from tap_linq.extraction.line_pass import LinePass
from tap_linq.extraction.locations import locations
from tap_linq.extraction.state import LineState
from tap_linq.sdk import Context, PushStream, SdkStream

if TYPE_CHECKING:
    from tap_linq.extraction.session import SyncSession
    from tap_linq.tap import TapLinq

__all__ = [
    "AttachmentsStream",
    "ChatLocationsStream",
    "ChatParticipantsStream",
    "ChatsStream",
    "ExtractionGapsStream",
    "LinqStream",
    "MessagesStream",
    "PassStream",
    "PhoneNumbersStream",
    "ReactionsStream",
    "WebhookSubscriptionsStream",
]


def _object(*properties: th.Property[Any]) -> th.ObjectType:
    """An object of the API: the vendor adds fields every few days, and a message can't be fetched again for them."""
    return th.ObjectType(*properties, additional_properties=True)


_LINE = th.Property("line", th.StringType, description="The own line of the chat, in E.164 form.")
_OF_HANDLE = (
    th.Property("joined_at", th.DateTimeType),
    th.Property("left_at", th.DateTimeType),
    th.Property("service", th.StringType, description="iMessage, RCS or SMS."),
    th.Property("is_me", th.BooleanType, description="Whether it is the own line."),
    th.Property("status", th.StringType, description="active, left or removed."),
    th.Property("line_type", th.StringType),
)
_HANDLE = _object(
    th.Property("id", th.StringType),
    th.Property("handle", th.StringType, description="E.164 number or e-mail address."),
    *_OF_HANDLE,
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
_OF_PART = (
    th.Property("message_id", th.StringType, required=True),
    th.Property("part_index", th.IntegerType, required=True, description="Which part of the message, from 0."),
    th.Property("chat_id", th.StringType),
    _LINE,
)


class LinqStream(SdkStream):
    """A stream of the Linq Partner API."""

    def __init__(self, tap: TapLinq) -> None:
        super().__init__(tap)
        self._linq_tap = tap

    @property
    def session(self) -> SyncSession:
        """What this run of the tap shares among its streams."""
        return self._linq_tap.session

    @override
    def end_of_run(self) -> None:
        """End the run, with an error if anything could not be read."""
        self.session.close()


class PassStream(PushStream, LinqStream):
    """A stream whose records come from the passes over the lines.

    The passes fill all such streams together, so that none asks the API for what another already has. The SDK syncs
    streams one after the other: the first of them whose turn comes makes the passes, and writes what belongs to the
    others as it comes, so that nothing waits in memory and the bookmark of a line moves after all that it stands for.
    """

    @property
    @override
    def partitions(self) -> None:
        """None for the SDK: the bookmarks of all lines are those of `messages`, whichever stream makes the passes."""

    @override
    def get_records(self, context: Context | None) -> Iterable[dict[str, Any]]:
        """Make the passes if no other stream has done so; the records, its own too, are written by `write`."""
        if not self.session.passes_started:
            self.session.passes_started = True
            self._make_passes()
        return ()

    def _make_passes(self) -> None:
        tap = self._linq_tap
        selected = {stream.name: stream for stream in tap.streams.values() if stream.selected}
        outputs = {name: stream for name, stream in selected.items() if isinstance(stream, PassStream)}
        for stream in outputs.values():
            stream.declare()
        self.session.check_lines_in_state(tap.lines_in_state)
        for line in self.session.lines:
            line_pass = LinePass(self.session, line, tap.line_state(line), frozenset(selected))
            with closing(line_pass.batches()) as batches:
                new_state = _write_all(batches, outputs)
            if new_state is not None:
                tap.save_line_state(line, new_state)


def _write_all(
    batches: Generator[Batch, None, LineState | None], outputs: Mapping[str, PassStream]
) -> LineState | None:
    """Write the records of a pass to their streams, and return what the pass has returned."""
    while True:
        try:
            batch = next(batches)
        except StopIteration as end:
            new_state: LineState | None = end.value
            return new_state
        outputs[batch.stream].write(batch.records)


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
        return self.session.phone_numbers


class ChatsStream(PassStream):
    """All chats of the lines, in every run: whether `updated_at` shows every change of a chat is not documented."""

    name = "chats"
    schema = _object(
        th.Property("id", th.StringType, required=True),
        _LINE,
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


class ChatParticipantsStream(PassStream):
    """Who is or was in which chat, from the same listing as `chats`."""

    name = "chat_participants"
    primary_keys = ("chat_id", "handle")
    schema = _object(
        th.Property("chat_id", th.StringType, required=True),
        th.Property("handle", th.StringType, required=True, description="E.164 number or e-mail address."),
        _LINE,
        th.Property("id", th.StringType),
        *_OF_HANDLE,
    ).to_dict()


class MessagesStream(PassStream):
    """The messages of all chats: in an incremental pass those that are new or changed, in a full sweep all.

    The bookmark of a line is the server's time when its last complete pass began, less an overlap. It is no function
    of the records, so all that the SDK does to find the newest record is switched off.
    """

    name = "messages"
    replication_key = "updated_at"
    schema = _object(
        th.Property("id", th.StringType, required=True),
        th.Property("chat_id", th.StringType),
        _LINE,
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

    @override
    def get_replication_key_signpost(self, context: Context | None = None) -> None:
        """None: the worker's clock has no say."""


class ReactionsStream(PassStream):
    """The reactions that the emitted messages show; one that was taken back is in no later record of its message."""

    name = "reactions"
    schema = _object(
        th.Property("id", th.StringType, required=True),
        *_OF_PART,
        th.Property("type", th.StringType, description="love, like, dislike, laugh, emphasize, question, custom ..."),
        th.Property("custom_emoji", th.StringType),
        th.Property("is_me", th.BooleanType, description="Whether the own line reacted."),
        th.Property("handle", _HANDLE, description="Who reacted."),
        th.Property("sticker", _object()),
    ).to_dict()


class AttachmentsStream(PassStream):
    """The files in the emitted messages, one record a media part, and where each of them was stored."""

    name = "attachments"
    primary_keys = ("message_id", "part_index")
    schema = _object(
        *_OF_PART,
        th.Property("attachment_id", th.StringType),
        th.Property("filename", th.StringType, description="As the sender named it: data, never a path."),
        th.Property("mime_type", th.StringType),
        th.Property("size_bytes", th.IntegerType, description="As the message says; compare with stored_bytes."),
        th.Property("url", th.StringType, description="Signed, works for minutes to an hour."),
        th.Property("stored_at", th.StringType, description="Where the file was stored; null if it was not."),
        th.Property("stored_bytes", th.IntegerType, description="Size of the stored file, which came whole."),
        th.Property("sha256", th.StringType, description="Digest of the stored file, in hexadecimal."),
        th.Property("error", th.StringType, description="Why the file was not stored."),
    ).to_dict()


class ExtractionGapsStream(PassStream):
    """Times of which messages may have expired before a run read them."""

    name = "extraction_gaps"
    schema = _object(
        th.Property("id", th.StringType, required=True),
        th.Property("line", th.StringType, description="In E.164 form."),
        th.Property("gap_start", th.DateTimeType, description="From when on; null for everything before the end."),
        th.Property("gap_end", th.DateTimeType, description="Messages created from here on could be read."),
        th.Property("last_complete_pass", th.DateTimeType, description="The last one that counts before the gap."),
        th.Property("window_hours", th.NumberType),
        th.Property("detected_at", th.DateTimeType),
        th.Property("reason", th.StringType, description="first_run, late_run, updated_at_lags or clock_error."),
    ).to_dict()


class ChatLocationsStream(LinqStream):
    """Where the people are who share their location: one request a chat, so it is not selected by default."""

    name = "chat_locations"
    primary_keys = ("chat_id", "handle")
    selected_by_default = False
    schema = _object(
        th.Property("chat_id", th.StringType, required=True),
        th.Property("handle", th.StringType, required=True, description="Who shares."),
        _LINE,
        th.Property("geometry", _object(), description="GeoJSON point: longitude, latitude, and altitude if known."),
        th.Property("address", th.StringType),
        th.Property("locality", th.StringType),
        th.Property("updated_at", th.DateTimeType),
        th.Property("observed_at", th.DateTimeType, description="When the API said so."),
    ).to_dict()

    @override
    def get_records(self, context: Context | None) -> Iterable[dict[str, Any]]:
        for line in self.session.lines:
            yield from locations(self.session, line)


class WebhookSubscriptionsStream(LinqStream):
    """Where the platform sends which events."""

    name = "webhook_subscriptions"
    schema = _object(
        th.Property("id", th.StringType, required=True),
        th.Property("target_url", th.StringType),
        th.Property("subscribed_events", th.ArrayType(th.StringType)),
        th.Property("is_active", th.BooleanType),
        th.Property("phone_numbers", th.ArrayType(th.StringType), description="Only events of these lines; null: all."),
        th.Property("routing_key_header", th.StringType),
        th.Property("routing_id_header", th.StringType),
        th.Property("created_at", th.DateTimeType),
        th.Property("updated_at", th.DateTimeType),
    ).to_dict()

    @override
    def get_records(self, context: Context | None) -> Iterable[dict[str, Any]]:
        return self.session.webhook_subscriptions()
