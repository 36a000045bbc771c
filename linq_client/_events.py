"""What an event of a webhook says, by its type; `linq_client.webhooks` has the receiving side.

Of an event only what identifies it is needed: a time that can't be read is None.

Source: linq-python 0.65.0, `types/*_webhook_event.py`, `types/message_event_v2.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import Field, SerializeAsAny, ValidationError, model_validator

from linq_client import models
from linq_client.models import Informative, UTCDatetime
from linq_client.models._base import InformativeList
from linq_client.models._messages import HandleAlone, PartAlone
from linq_client.webhooks import message_fields


class EventChat(models.APIModel):
    """The chat of an event; `owner_handle` is the own line."""

    id: str
    is_group: Informative[bool] = None
    owner_handle: HandleAlone = None
    health_status: Informative[models.Health] = None


class MessageEvent(models.APIModel):
    """`data` of message.sent, .received, .delivered and .read, in the form of version 2026-02-03.

    A payload of version 2025-01-01 is brought into the same form; what it does not say is None. `direction` is inbound
    or outbound; None if the event does not say. On a line that keeps nothing, `parts` is empty and `zero_retention` is
    True.
    """

    id: str
    chat: EventChat
    direction: Informative[str] = None
    sender_handle: HandleAlone = None
    parts: InformativeList[PartAlone] = Field(default_factory=list)
    service: Informative[str] = None
    sent_at: Informative[UTCDatetime] = None
    delivered_at: Informative[UTCDatetime] = None
    read_at: Informative[UTCDatetime] = None
    received_at: Informative[UTCDatetime] = None
    effect: Informative[models.MessageEffect] = None
    reply_to: Informative[models.MessageReply] = None
    preferred_service: Informative[str] = None
    idempotency_key: Informative[str] = None
    reconciled_at: Informative[UTCDatetime] = None
    zero_retention: Informative[bool] = None

    @model_validator(mode="before")
    @classmethod
    def _from_2025(cls, value: Any) -> Any:
        return message_fields(value) if isinstance(value, dict) else value


class EditedPart(models.APIModel):
    """The part that was edited, and its new text."""

    index: int
    text: str


class MessageEditedEvent(models.APIModel):
    """`data` of message.edited (version 2026-02-03 alone)."""

    id: str
    chat: EventChat
    direction: str
    edited_at: Informative[UTCDatetime] = None
    part: EditedPart
    sender_handle: models.ChatHandle | None = None
    zero_retention: Informative[bool] = None


class MessageFailedEvent(models.APIModel):
    """`data` of message.failed; a delivery can still follow. `detail_code` is for the vendor's support."""

    code: int
    failed_at: Informative[UTCDatetime] = None
    chat_id: str | None = None
    message_id: str | None = None
    reason: str | None = None
    service: str | None = None
    preferred_service: Informative[str] = None
    detail_code: Informative[int] = None


class ReactionEvent(models.APIModel):
    """`data` of reaction.added and .removed, and of poll.reaction.added."""

    reaction_type: str
    is_from_me: bool
    chat_id: str | None = None
    message_id: str | None = None
    part_index: int | None = None
    custom_emoji: str | None = None
    from_handle: models.ChatHandle | None = None
    reacted_at: Informative[UTCDatetime] = None
    reaction_id: str | None = None
    service: Informative[str] = None
    sticker: Informative[dict[str, Any]] = None


class ParticipantEvent(models.APIModel):
    """`data` of participant.added and .removed; `handle` is that of `participant`."""

    chat_id: str | None = None
    participant: models.ChatHandle | None = None
    handle: Informative[str] = None
    added_at: Informative[UTCDatetime] = None
    removed_at: Informative[UTCDatetime] = None


class ChatChangedEvent(models.APIModel):
    """`data` of chat.group_name_updated and chat.group_icon_updated; a value is None where there is none."""

    chat_id: str
    updated_at: Informative[UTCDatetime] = None
    changed_by_handle: Informative[models.ChatHandle] = None
    old_value: Informative[str] = None
    new_value: Informative[str] = None


class ChatChangeFailedEvent(models.APIModel):
    """`data` of chat.group_name_update_failed, .group_icon_update_failed and .background_update_failed."""

    chat_id: str
    error_code: Informative[int] = None
    failed_at: Informative[UTCDatetime] = None


class Background(models.APIModel):
    """What is behind the messages of a chat; fields as `client.background.set` takes them, by `type`."""

    type: Informative[str] = None
    variant: Informative[str] = None
    shades: Informative[list[str]] = None
    style: Informative[str] = None
    image_url: Informative[str] = None


class ChatBackgroundEvent(models.APIModel):
    """`data` of chat.background_updated; `background` is None if it was removed, `actor_handle` says by whom."""

    chat: EventChat
    background: Informative[Background] = None
    actor_handle: Informative[models.ChatHandle] = None


class TypingEvent(models.APIModel):
    """`data` of chat.typing_indicator.started and .stopped."""

    chat_id: str
    actor_handle: Informative[models.ChatHandle] = None


class PollFailure(models.APIModel):
    """Why a poll, or what was done to it, has failed."""

    code: Informative[int] = None
    message: Informative[str] = None


class PollEvent(models.APIModel):
    """`data` of poll.sent, .delivered, .read, .received and .failed, which has an `error`.

    On a line that keeps nothing, the options have no text and `zero_retention` is True.
    """

    message_id: str
    chat: EventChat
    direction: Informative[str] = None
    poll: Informative[models.Poll] = None
    sender_handle: Informative[models.ChatHandle] = None
    service: Informative[str] = None
    created_at: Informative[UTCDatetime] = None
    updated_at: Informative[UTCDatetime] = None
    sent_at: Informative[UTCDatetime] = None
    delivered_at: Informative[UTCDatetime] = None
    read_at: Informative[UTCDatetime] = None
    received_at: Informative[UTCDatetime] = None
    failed_at: Informative[UTCDatetime] = None
    error: Informative[PollFailure] = None
    zero_retention: Informative[bool] = None


class PollUpdatedEvent(models.APIModel):
    """`data` of poll.updated: who has added which options."""

    message_id: str
    chat: EventChat
    added_options: list[models.PollOption] = Field(default_factory=list)
    direction: Informative[str] = None
    sender_handle: Informative[models.ChatHandle] = None
    service: Informative[str] = None
    zero_retention: Informative[bool] = None


class PollVoteEvent(models.APIModel):
    """`data` of poll.vote.added and .removed: who has voted for which option."""

    message_id: str
    option_id: str
    chat: EventChat
    direction: Informative[str] = None
    sender_handle: Informative[models.ChatHandle] = None
    service: Informative[str] = None
    zero_retention: Informative[bool] = None


class PhoneNumberEvent(models.APIModel):
    """`data` of phone_number.status_updated, .assigned and .released, which name no status.

    A status is ACTIVE or FLAGGED, a reputation HEALTHY, AT_RISK or CRITICAL.
    """

    phone_number: str
    changed_at: Informative[UTCDatetime] = None
    previous_status: Informative[str] = None
    new_status: Informative[str] = None
    previous_reputation: Informative[str] = None
    new_reputation: Informative[str] = None


class ContactCardReceivedEvent(models.APIModel):
    """`data` of contact_card.received: somebody has shared name and image with a line."""

    sender_handle: str
    owner_handle: Informative[str] = None
    first_name: Informative[str] = None
    last_name: Informative[str] = None
    media_url: Informative[str] = None


class LocationSharingEvent(models.APIModel):
    """`data` of location.sharing.started and .stopped. Where somebody is, `client.location.get` says."""

    shared_by: str
    shared_with: str
    chat_id: Informative[str] = None
    began_at: Informative[UTCDatetime] = None
    ends_at: Informative[UTCDatetime] = None
    ended_at: Informative[UTCDatetime] = None


class PaymentEvent(models.APIModel):
    """`data` of payment.succeeded, .authorized, .canceled, .declined and .expired; `amount` is in cents or the like."""

    id: str
    status: Informative[str] = None
    amount: Informative[int] = None
    currency: Informative[str] = None
    description: Informative[str] = None
    checkout_url: Informative[str] = None
    created_at: Informative[UTCDatetime] = None
    updated_at: Informative[UTCDatetime] = None
    mode: Informative[str] = None
    rail: Informative[str] = None
    price_id: Informative[str] = None
    quantity: Informative[int] = None
    interval: Informative[str] = None
    interval_count: Informative[int] = None
    trial_end: Informative[UTCDatetime] = None
    metadata: Informative[dict[str, Any]] = None
    discount: Informative[dict[str, Any]] = None
    stripe: Informative[dict[str, Any]] = None
    natural: Informative[dict[str, Any]] = None
    object: Informative[str] = None


class Actor(models.APIModel):
    """Who has done something to the account; `type` is team_member, api, system or unknown."""

    type: Informative[str] = None
    id: Informative[str] = None
    name: Informative[str] = None
    email: Informative[str] = None


class AccountEvent(models.APIModel):
    """`data` of what is done to the account: its API tokens, environments, lines, contact cards, webhooks and members.

    `summary` says it in words, `origin` is dashboard, api or linq. Only what it is about is there: for example
    `webhook_subscription` (id, target_url, events) of webhook_subscription.disabled, `change` (from, to) of an update.
    """

    occurred_at: Informative[UTCDatetime] = None
    summary: Informative[str] = None
    origin: Informative[str] = None
    actor: Informative[Actor] = None
    change: Informative[dict[str, Any]] = None
    phone_number: Informative[str] = None
    webhook_subscription: Informative[dict[str, Any]] = None
    contact_card: Informative[dict[str, Any]] = None
    api_token: Informative[dict[str, Any]] = None
    environment: Informative[dict[str, Any]] = None
    team_member: Informative[dict[str, Any]] = None
    method: Informative[str] = None
    tokens_revoked: Informative[int] = None
    lines_moved_to_production: Informative[int] = None


class OtherEvent(models.APIModel):
    """`data` of any other event, or in an unknown form; its fields are in `model_extra`, or all of it in `value`."""


class Event(models.APIModel):
    """One event. `data` is of the class that belongs to `event_type`, or an `OtherEvent`.

    `event_id` is the same in all deliveries of the event: use it to handle each once.
    """

    event_id: str
    event_type: str
    created_at: Informative[UTCDatetime] = None
    webhook_version: Informative[str] = None
    trace_id: Informative[str] = None
    partner_id: Informative[str | int] = None
    data: SerializeAsAny[models.APIModel]


#: Of them, `data` has one form.
_ACCOUNT_EVENTS: Final = (
    *(f"api_token.{what}" for what in ("created", "renamed", "activated", "expiry_scheduled", "expired", "deleted")),
    *(f"contact_card.{what}" for what in ("created", "updated", "deleted")),
    *(f"environment.{what}" for what in ("created", "renamed", "deleted", "line_moved")),
    *(f"team_member.{what}" for what in ("added", "signed_in", "signed_out")),
    *(f"webhook_subscription.{what}" for what in ("created", "deleted", "enabled", "disabled", "target_url_changed")),
    *(f"webhook_subscription.{what}" for what in ("events.updated", "phone_numbers.updated")),
    *(f"webhook_subscription.{what}" for what in ("routing_headers_set", "routing_headers_cleared")),
    *("phone_number.forwarding_updated", "zero_day_retention.updated"),
)

_DATA: Final[Mapping[str, type[models.APIModel]]] = {
    "message.sent": MessageEvent,
    "message.received": MessageEvent,
    "message.delivered": MessageEvent,
    "message.read": MessageEvent,
    "message.edited": MessageEditedEvent,
    "message.failed": MessageFailedEvent,
    "reaction.added": ReactionEvent,
    "reaction.removed": ReactionEvent,
    "participant.added": ParticipantEvent,
    "participant.removed": ParticipantEvent,
    "chat.created": models.Chat,
    "chat.group_name_updated": ChatChangedEvent,
    "chat.group_icon_updated": ChatChangedEvent,
    "chat.group_name_update_failed": ChatChangeFailedEvent,
    "chat.group_icon_update_failed": ChatChangeFailedEvent,
    "chat.background_update_failed": ChatChangeFailedEvent,
    "chat.background_updated": ChatBackgroundEvent,
    "chat.typing_indicator.started": TypingEvent,
    "chat.typing_indicator.stopped": TypingEvent,
    "poll.sent": PollEvent,
    "poll.delivered": PollEvent,
    "poll.read": PollEvent,
    "poll.received": PollEvent,
    "poll.failed": PollEvent,
    "poll.updated": PollUpdatedEvent,
    "poll.vote.added": PollVoteEvent,
    "poll.vote.removed": PollVoteEvent,
    "poll.reaction.added": ReactionEvent,
    "phone_number.status_updated": PhoneNumberEvent,
    "phone_number.assigned": PhoneNumberEvent,
    "phone_number.released": PhoneNumberEvent,
    "contact_card.received": ContactCardReceivedEvent,
    "location.sharing.started": LocationSharingEvent,
    "location.sharing.stopped": LocationSharingEvent,
    "payment.succeeded": PaymentEvent,
    "payment.authorized": PaymentEvent,
    "payment.canceled": PaymentEvent,
    "payment.declined": PaymentEvent,
    "payment.expired": PaymentEvent,
    **dict.fromkeys(_ACCOUNT_EVENTS, AccountEvent),
}


def data_of(event_type: object, data: object) -> models.APIModel:
    """Read `data` as the class of its event, or as an `OtherEvent` if it has none or another form."""
    kind = _DATA.get(event_type, OtherEvent) if isinstance(event_type, str) else OtherEvent
    try:
        return kind.model_validate(data)
    except ValidationError:  # the platform has changed the form: what it said must not be lost for that
        return OtherEvent.model_validate(data if isinstance(data, dict) else {"value": data})
