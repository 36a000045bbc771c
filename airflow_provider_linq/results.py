"""What operators and sensors leave in XCom: small dicts with these keys, the same wherever they come from."""

from __future__ import annotations

from typing import Literal, TypeAlias, TypedDict

__all__ = [
    "AskResult",
    "CapabilityResult",
    "ChatUpdate",
    "DeliveryResult",
    "ErasureResult",
    "ExtractResult",
    "InboundMessage",
    "LineExtract",
    "LocationRequestResult",
    "NotDeletedItem",
    "Refusal",
    "SendResult",
    "VoiceMemoResult",
    "WebhookSubscriptionResult",
]

#: Why the platform did not take a message: the recipient has opted out, or this account has blocked them.
Refusal: TypeAlias = Literal["opted_out", "blocked"]


class SendResult(TypedDict):
    """A message that the platform accepted, or refused where a refusal is a result (``on_opt_out="return"``).

    `created_at` is the API's clock (RFC 3339, UTC), so it can be compared with other messages: it is what a
    `LinqMessageSensor` that waits for the reply takes as `since`. `service` is None until the platform has chosen one.
    `refused` is None for an accepted message, else the reason; `chat_id` may then be None, and `message_id` and
    `delivery_status` are.
    """

    chat_id: str | None
    message_id: str | None
    created_at: str | None
    delivery_status: str | None
    service: str | None
    trace_id: str | None
    idempotency_key: str
    refused: Refusal | None


class DeliveryResult(TypedDict):
    """How far a sent message has come. The times are RFC 3339, UTC, and None for what is not known to have happened."""

    chat_id: str
    message_id: str
    delivery_status: str
    service: str | None
    sent_at: str | None
    delivered_at: str | None
    read_at: str | None


class VoiceMemoResult(TypedDict):
    """A voice memo that the platform accepted."""

    chat_id: str
    message_id: str
    created_at: str
    delivery_status: str | None
    service: str | None


class InboundMessage(TypedDict):
    """A message that somebody sent to a line.

    `text` joins the text parts with line breaks and is None if there are none, and of a task with
    ``include_text=False``; `part_types` names all parts in order (`text`, `media`, `link` and others).
    """

    chat_id: str
    message_id: str
    from_handle: str | None
    created_at: str
    service: str | None
    text: str | None
    part_types: list[str | None]


class ChatUpdate(TypedDict):
    """What was asked of a chat; the platform does it later. `added` and `removed` are the handles that needed it."""

    chat_id: str
    display_name: str | None
    added: list[str]
    removed: list[str]


class NotDeletedItem(TypedDict):
    """What the API refused to delete: a message or an attachment, and the API's error by name."""

    kind: str
    id: str
    reason: str


class ErasureResult(TypedDict):
    """What Linq held of a person, and what became of it: counts and ids, without text; `person` is masked.

    The fields are those of :class:`linq_client.erasure.ErasureReport`; `files_of_yours` is their number, and
    `not_deleted` has the first 1,000.
    """

    person: str
    is_dry_run: bool
    direct_chats: list[str]
    group_chats: list[str]
    chats_passed_over: list[str]
    messages: int
    messages_deleted: int
    attachments: int
    attachments_deleted: int
    empty_messages: int
    files_of_yours: int
    reactions_left: int
    mentions_left: int
    not_deleted: list[NotDeletedItem]


class CapabilityResult(TypedDict):
    """Whether an address can be reached by a service; `reason` says why not, where the platform does."""

    address: str
    service: str
    available: bool
    reason: str | None


class LocationRequestResult(TypedDict):
    """A request for a location that the platform accepted; the person still has to agree to it."""

    chat_id: str
    requested_at: str
    trace_id: str | None


class AskResult(TypedDict):
    """A question that was sent, and which of the answers came.

    `answer` is the word of the argument ``answers`` that fits; None if none came in time, or if the question was
    refused, of which `refused` says why. `created_at` and `answered_at` are the API's clock (RFC 3339, UTC). The text
    of the answer is not in it: read it by its `answer_message_id`.
    """

    chat_id: str | None
    message_id: str | None
    created_at: str | None
    idempotency_key: str
    refused: Refusal | None
    answer: str | None
    answer_message_id: str | None
    answered_at: str | None


class LineExtract(TypedDict):
    """How far an extraction has come with a line.

    `read_until` is the API's time (RFC 3339, UTC) when the last complete pass over the line began, None if there was
    none yet. `newest_message` is the latest `created_at` among the messages of this run, None if it emitted none.
    `window_hours` is None where messages don't expire. `gap` says whether messages may have expired unread before this
    run.
    """

    line: str
    read_until: str | None
    newest_message: str | None
    window_hours: float | None
    gap: bool


class ExtractResult(TypedDict):
    """What an extraction came to: rows by stream, each line, and the files that it wrote (none with a target)."""

    records: dict[str, int]
    lines: list[LineExtract]
    files: list[str]


class WebhookSubscriptionResult(TypedDict):
    """A webhook subscription as it is now; `change` is created, replaced, updated, unchanged, deleted or absent.

    `subscription_id` is None if there is none any more. `phone_numbers` is None for all lines. The signing secret is
    never in it.
    """

    subscription_id: str | None
    target_url: str
    subscribed_events: list[str]
    phone_numbers: list[str] | None
    change: str
