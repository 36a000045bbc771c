"""The schemas of the streams: what each record has, and what it means.

Records and the objects in them have no other properties. What the API says beyond them is in `_extra`, as the loaders
of SQL databases make columns from SCHEMA alone and drop the rest.
"""

from __future__ import annotations

from typing import Any, Final

from singer_sdk import typing as th

from tap_linq.extraction.records import EXTRA

__all__ = [
    "ATTACHMENTS",
    "CHATS",
    "CHAT_LOCATIONS",
    "CHAT_PARTICIPANTS",
    "EXTRACTION_GAPS",
    "MESSAGES",
    "MESSAGE_EVENTS",
    "OPT_OUTS",
    "PHONE_NUMBERS",
    "REACTIONS",
    "WEBHOOK_EVENTS",
    "WEBHOOK_GAPS",
    "WEBHOOK_SUBSCRIPTIONS",
]


def _text(name: str, description: str, *, is_key: bool = False) -> th.Property[Any]:
    return th.Property(name, th.StringType, required=is_key, description=description)


def _time(name: str, description: str) -> th.Property[Any]:
    return th.Property(name, th.DateTimeType, description=description)


def _integer(name: str, description: str, *, is_key: bool = False) -> th.Property[Any]:
    return th.Property(name, th.IntegerType, required=is_key, description=description)


def _flag(name: str, description: str) -> th.Property[Any]:
    return th.Property(name, th.BooleanType, description=description)


def _object(name: str, description: str, *properties: th.Property[Any]) -> th.Property[Any]:
    return th.Property(name, th.ObjectType(*properties, additional_properties=False), description=description)


def _objects(name: str, description: str, *properties: th.Property[Any]) -> th.Property[Any]:
    items = th.ObjectType(*properties, additional_properties=False)
    return th.Property(name, th.ArrayType(items), description=description)


def _stream(description: str, *properties: th.Property[Any]) -> dict[str, Any]:
    extra = th.Property(
        EXTRA,
        # Without `properties`, so that flattening makes a text of it, and not as many columns as it has properties.
        th.CustomType({"type": ["object", "null"], "additionalProperties": True}),
        description=(
            "What the API said that no column is declared for, or that is not of its column's type (the column is null "
            "then), by its path, such as `parts.0.poll`; null if there is none. Deselect it to get the columns alone."
        ),
    )
    # A record is not said to be closed, though it is: flattened by the SDK, it keeps the name of an object that is null
    # beside the columns of that object, and a loader that validates would stop.
    schema = th.ObjectType(*properties, extra, additional_properties=None).to_dict()
    return {"description": description, **schema}


_LINE: Final = _text("line", "The own line of the chat, in E.164 form.")
_OBSERVED_AT: Final = _time("observed_at", "The server's time of the response that the row is made from.")
_RANGE: Final = th.Property(
    "range",
    th.ArrayType(th.IntegerType),
    description="First character and the one after the last, in UTF-16 code units of `value`, from 0.",
)
_OF_HANDLE: Final = (
    _time("joined_at", "When they joined the chat."),
    _time("left_at", "When they left the chat; null for those who are in it."),
    _text("service", "iMessage, RCS or SMS."),
    _flag("is_me", "Whether it is the own line."),
    _text("status", "active, left or removed."),
    _text("line_type", "Of an own line: iMessage, or RCS for one that sends no iMessage."),
)
_HANDLE: Final = (
    _text("id", "Id of the handle."),
    _text("handle", "E.164 number or e-mail address; of senders also a short code or a name."),
    *_OF_HANDLE,
)
_HEALTH: Final = (
    _text("status", "HEALTHY, AT_RISK, CRITICAL, or of a chat OPTED_OUT."),
    _text("doc_url", "Page of the vendor about this status."),
    _time("updated_at", "When the status last changed."),
)
_STICKER: Final = (
    _text("file_name", "Name of the image file."),
    _text("mime_type", "Media type of the image."),
    _text("url", "Signed URL of the image, works for minutes to an hour."),
)
_REACTION: Final = (
    _text("type", "love, like, dislike, laugh, emphasize, question, custom, sticker, or one that is new."),
    _text("custom_emoji", "The emoji, if the type is custom."),
    _flag("is_me", "Whether the own line reacted."),
    _object("handle", "Who reacted.", *_HANDLE),
    _object(
        "sticker",
        "The image, if the type is sticker.",
        *_STICKER,
        _integer("width", "Width of the image in pixels."),
        _integer("height", "Height of the image in pixels."),
    ),
)
_PART: Final = (
    _text("type", "text, media, link, imessage_app, app_clip, or one that is new."),
    _text("value", "The text, or the URL of a link or an App Clip."),
    _text("id", "Attachment id of a media part."),
    _text("url", "Of a media part signed, works for minutes to an hour; of an iMessage app what it opens."),
    _text("filename", "Of a media part, as the sender named it: data, never a path."),
    _text("mime_type", "Media type of a media part."),
    _integer("size_bytes", "Size of the file of a media part."),
    _objects("reactions", "Reactions to this part.", _text("id", "Id of the reaction."), *_REACTION),
    _objects(
        "text_decorations",
        "How characters of the text are shown.",
        _RANGE,
        _text("style", "bold, italic, strikethrough or underline; null with an animation."),
        _text("animation", "big, small, shake, nod, explode, ripple, bloom or jitter; null with a style."),
    ),
    _objects(
        "mentions",
        "Who is mentioned in the text.",
        _RANGE,
        _text("handle", "Who is mentioned: E.164 number or e-mail address."),
        _flag("is_me", "Whether that is the own line."),
    ),
    _text("mention", "Handle of the first mention; the API advises to use `mentions`."),
    th.Property(
        "mention_range",
        th.ArrayType(th.IntegerType),
        description="Range of the first mention; the API advises to use `mentions`.",
    ),
    _objects(
        "inline_stickers",
        "Images within the text.",
        _text("id", "Attachment id of the image."),
        _RANGE,
        *_STICKER,
    ),
    _object(
        "app",
        "Of an iMessage app part: the app.",
        _text("name", "Name of the app."),
        _text("bundle_id", "Bundle id of the app's extension."),
        _text("team_id", "Team id of the app's developer."),
        _integer("app_store_id", "Id of the app in the App Store."),
    ),
    _object(
        "layout",
        "Of an iMessage app part: what its card shows.",
        _text("caption", "Label at the top left."),
        _text("subcaption", "Label below the caption."),
        _text("trailing_caption", "Label at the top right."),
        _text("trailing_subcaption", "Label below the trailing caption."),
        _text("image_url", "URL of the card's image."),
        _text("image_title", "Title over the image."),
        _text("image_subtitle", "Text below that title."),
    ),
    _text("fallback_text", "Of an iMessage app part: the text where the card can't be shown."),
    _text("title", "Of an App Clip part: its headline."),
    _text("description", "Of an App Clip part: its summary."),
    _text("image_url", "Of an App Clip part: URL of its image."),
)
_OF_PART: Final = (
    _text("message_id", "Id of the message.", is_key=True),
    _integer("part_index", "Which part of the message, from 0.", is_key=True),
    _text("chat_id", "Id of the chat."),
    _LINE,
    _OBSERVED_AT,
)

PHONE_NUMBERS: Final = _stream(
    "The lines of the account that are extracted.",
    _text("id", "Id of the line.", is_key=True),
    _text("phone_number", "The line, in E.164 form."),
    _object("reputation", "How the line stands.", *_HEALTH),
    _text("forwarding_number", "Where calls to the line go, in E.164 form."),
    _text("line_type", "iMessage, or RCS for a line that sends no iMessage."),
)

CHATS: Final = _stream(
    "Chats of the lines: in an incremental pass those that show a change, in a full sweep all.",
    _text("id", "Id of the chat.", is_key=True),
    _LINE,
    _text("display_name", "Name of the chat; by default its handles, separated by commas."),
    _text("service", "iMessage, RCS or SMS; a message in it may have gone another way."),
    _flag("is_group", "Whether it is a group."),
    _flag("is_archived", "Deprecated by the API."),
    _text("group_chat_icon", "URL of the icon of a group."),
    _objects("handles", "Everybody who is or was in the chat.", *_HANDLE),
    _object("health_status", "How the chat stands.", *_HEALTH),
    _time("created_at", "When the chat was created."),
    _time("updated_at", "When the chat last changed, as the API has it."),
)

CHAT_PARTICIPANTS: Final = _stream(
    "Who is or was in which chat, from the same list as `chats`.",
    _text("chat_id", "Id of the chat.", is_key=True),
    _text("handle", "E.164 number or e-mail address; of senders also a short code or a name.", is_key=True),
    _LINE,
    _text("id", "Id of the handle."),
    *_OF_HANDLE,
    _OBSERVED_AT,
)

MESSAGES: Final = _stream(
    "Messages of all chats: in an incremental pass those that are new or changed, in a full sweep all that live.",
    _text("id", "Id of the message.", is_key=True),
    _text("chat_id", "Id of the chat."),
    _LINE,
    _text("direction", "inbound or outbound."),
    _text("text", "The text parts, one a line; null if there is none. The same text stands in `parts`."),
    _objects("parts", "What the message consists of, in order, the texts included.", *_PART),
    _text("from", "Who sent it; the API advises to use `from_handle`."),
    _object("from_handle", "Who sent it.", *_HANDLE),
    _flag("is_from_me", "Whether the own line sent it."),
    _text("delivery_status", "pending, queued, sent, delivered, received, read, failed, or one that is new."),
    _flag("is_delivered", "Deprecated by the API: whether `delivery_status` is delivered or read."),
    _flag("is_read", "Deprecated by the API: whether `delivery_status` is read."),
    _text("service", "iMessage, RCS or SMS; may differ from the chat's."),
    _text("preferred_service", "Which way it was meant to go."),
    _object(
        "effect",
        "Effect with which an iMessage is shown.",
        _text("type", "screen or bubble."),
        _text("name", "Such as confetti or slam."),
    ),
    _object(
        "reply_to",
        "What the message replies to.",
        _text("message_id", "Id of that message."),
        _integer("part_index", "Which part of it, from 0."),
    ),
    _time("created_at", "When the platform created it; its window begins here."),
    _time("updated_at", "When it last changed, as the API has it; not all changes move it."),
    _time("sent_at", "When it was sent."),
    _time("delivered_at", "When it was delivered."),
    _time("read_at", "When it was read."),
    _time("reconciled_at", "When the platform recovered it late."),
    _time("expires_at", "When the platform may delete it; absent on the standard tier."),
    _text(
        "source",
        "api, or webhook for a row that is made of events, as the API did not have the message any more; absent "
        "without `webhook_archive`.",
    ),
)

REACTIONS: Final = _stream(
    "Reactions of the emitted messages, and those that were taken back.",
    _text(
        "id", "Id of the reaction; where the API gives none, one made from message, part, who and what.", is_key=True
    ),
    *_OF_PART,
    *_REACTION,
    _time("removed_at", "When the reaction was seen to be gone, by the server's time; null while it is there."),
)

ATTACHMENTS: Final = _stream(
    "Files in the emitted messages, one row a media part, and where each of them was stored.",
    *_OF_PART,
    _text("attachment_id", "Id of the attachment."),
    _text("filename", "As the sender named it: data, never a path."),
    _text("mime_type", "Media type of the file."),
    _integer("size_bytes", "Size of the file, as the API has it."),
    _text("url", "Signed, works for minutes to an hour."),
    _text("stored_at", "Where the file was stored; null if it was not."),
    _integer("stored_bytes", "Size of the stored file, which came whole; it may differ from `size_bytes`."),
    _text("sha256", "Digest of the stored file, in hexadecimal."),
    _text("error", "Why the file was not stored."),
)

EXTRACTION_GAPS: Final = _stream(
    "Times of which messages may have expired before a run read them.",
    _text("id", "Made from the line and the last complete pass: the same whenever the gap is found.", is_key=True),
    _text("line", "The own line, in E.164 form."),
    _time("gap_start", "From when on; null for everything before the end."),
    _time("gap_end", "Messages created from here on could be read."),
    _time("last_complete_pass", "When the last one began that counts before the gap."),
    th.Property("window_hours", th.NumberType, description="Hours for which a message can be read."),
    _time("detected_at", "The server's time when the run found the gap."),
    _text("reason", "first_run, late_run, updated_at_lags or clock_error."),
    _text(
        "archive_coverage",
        "How much of it the webhook archive holds, by its deliveries: full, partial or none; absent without it.",
    ),
    _objects(
        "covered",
        "The parts that the webhook archive holds, by its deliveries, in order.",
        _time("start", "From when on."),
        _time("end", "Until when; what was created at that time is not meant."),
    ),
)

WEBHOOK_EVENTS: Final = _stream(
    "Every event in the webhook archive.",
    _text("id", "Id of the event, the same in all its deliveries.", is_key=True),
    _text("event_type", "Such as message.received; the set is open."),
    _text("message_id", "Id of the message that it is about."),
    _text("chat_id", "Id of the chat that it is about."),
    _text("line", "The own line, where an event of its chat tells it."),
    th.Property(
        "data",
        # Without `properties`, as `_extra`.
        th.CustomType({"type": ["object", "null"], "additionalProperties": True}),
        description="What the event says, in the form of its version; the texts of messages included.",
    ),
    _time("created_at", "When the event was made, by the platform's clock."),
    _time("received_at", "When the receiver had it, by the receiver's clock."),
    _text("subscription_id", "Id of the subscription that it was sent for."),
    _text("webhook_version", "Version of its form."),
    _text("api_version", "Version of the API."),
    _text("trace_id", "The platform's id of what caused it."),
    _text("partner_id", "Id of the account."),
    _text("error", "Why the body can't be read; null if it can."),
    _text("body", "The body as it came, of an event that can't be read."),
)

MESSAGE_EVENTS: Final = _stream(
    "What became of messages, one row a change, as events tell it.",
    _text("id", "Id of the event.", is_key=True),
    _text("message_id", "Id of the message; of a failure null where the event does not tell."),
    _text("chat_id", "Id of the chat."),
    _text("line", "The own line, where an event of its chat tells it."),
    _text("change", "sent, received, delivered, read, failed or edited."),
    _time("happened_at", "When it happened, as the event says."),
    _time("created_at", "When the event was made."),
    _text("service", "iMessage, RCS or SMS."),
    _integer("code", "Of a failure: its code."),
    _integer("detail_code", "Of a failure: the platform's code for its support."),
    _text("reason", "Of a failure: why, in words."),
    _integer("part_index", "Of an edit: which part, from 0."),
    _text("text", "Of an edit: the text after it."),
    _text("text_before", "Of an edit: the text before it, where events of the same run tell it."),
)

OPT_OUTS: Final = _stream(
    "Who has opted out, or in again, as events tell it.",
    _text("id", "Made from the event, or from chat and time.", is_key=True),
    _text("handle", "Who; null where the event does not tell, then `chat_id` does."),
    _flag("opted_out", "True for out, false for in again."),
    _text(
        "evidence",
        "keyword (their message is one), health_status (of the chat), refusal (a send failed with 2024), or message "
        "(they have written again).",
    ),
    _time("happened_at", "When it happened."),
    _text("chat_id", "Id of the chat."),
    _text("line", "The own line, where an event of its chat tells it."),
    _text("message_id", "Id of the message that says so."),
    _text("event_id", "Id of the event that says so."),
)

WEBHOOK_GAPS: Final = _stream(
    "What the API shows and no event announced, and the reverse: one row a line and full sweep where they differ.",
    _text("id", "Made from the line and the time.", is_key=True),
    _text("line", "The own line, in E.164 form."),
    _time("compared_from", "Messages created from then on were compared."),
    _time("compared_until", "And before then."),
    _time("detected_at", "The server's time when the run found it."),
    _integer("shown", "Number of messages that the API shows and events must have announced."),
    _integer("unannounced", "How many of them no event in the archive names."),
    th.Property("unannounced_ids", th.ArrayType(th.StringType), description="Ids of some of those."),
    _integer("announced", "Number of messages that events announce and the API must show."),
    _integer("unlisted", "How many of them the API does not show; somebody may have deleted them."),
    th.Property("unlisted_ids", th.ArrayType(th.StringType), description="Ids of some of those."),
)

CHAT_LOCATIONS: Final = _stream(
    "Where the people are who share their location; costs one request a chat.",
    _text("chat_id", "Id of the chat.", is_key=True),
    _text("handle", "Who shares.", is_key=True),
    _LINE,
    _object(
        "geometry",
        "The place, as GeoJSON.",
        _text("type", "Point."),
        th.Property(
            "coordinates",
            th.ArrayType(th.NumberType),
            description="Longitude, latitude, and altitude if known.",
        ),
    ),
    _text("address", "Street address."),
    _text("locality", "Name of the place."),
    _time("updated_at", "When the place was last updated."),
    _OBSERVED_AT,
)

WEBHOOK_SUBSCRIPTIONS: Final = _stream(
    "Where the platform sends which events.",
    _text("id", "Id of the subscription.", is_key=True),
    _text("target_url", "Where the events go."),
    th.Property("subscribed_events", th.ArrayType(th.StringType), description="Names of the events."),
    _flag("is_active", "Whether events are sent."),
    th.Property(
        "phone_numbers",
        th.ArrayType(th.StringType),
        description="Lines whose events are sent; null or empty for all.",
    ),
    _text("routing_key_header", "Name of the header with the routing token."),
    _text("routing_id_header", "Name of the header with the chat's id."),
    _time("created_at", "When the subscription was created."),
    _time("updated_at", "When the subscription last changed."),
)
