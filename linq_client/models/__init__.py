"""What the API returns, as pydantic models.

The vendor ships a release every few days, so a model never fails on what it does not know: unknown fields are kept
(`model_extra`), an enum is a plain `str` whose known values stand in the docstring, and a part of an unknown type is
an `OtherPart`. Only what identifies an object is required. Times are aware UTC datetimes.

What answers a send is read more leniently still, since the message has been accepted: the ids are needed, and any other
field whose value does not fit is None, or empty. Its `created_at` is then the server's time in that response.

Source for names and types: linq-python 0.65.0, `types/`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from linq_client._lazy import load

if TYPE_CHECKING:
    from linq_client.models._account import (
        Attachment,
        AvailableNumber,
        BlockedHandle,
        Capability,
        ContactCard,
        Experience,
        ExperienceAction,
        ExperienceField,
        OptOutChat,
        PhoneNumber,
        ReputationAction,
        ReputationAudit,
        ReputationDriver,
        ReputationEvidence,
        ReputationReport,
        UnhealthyChat,
        UploadSlot,
        WebhookSubscription,
    )
    from linq_client.models._base import APIModel, Informative, UTCDatetime
    from linq_client.models._chats import (
        Accepted,
        Chat,
        ChatHandle,
        Health,
        Location,
    )
    from linq_client.models._messages import (
        AppCardPart,
        AppClipPart,
        CardApp,
        CardLayout,
        CardUpdate,
        CreatedChat,
        InlineSticker,
        LinkPart,
        MediaPart,
        Message,
        MessageEffect,
        MessageReply,
        OtherPart,
        Part,
        Reaction,
        ReceivedMessage,
        RoutedSendResult,
        SendResult,
        SentMessage,
        TextPart,
        VoiceMemo,
    )
    from linq_client.models._polls import (
        CreatedPoll,
        Poll,
        PollMessage,
        PollOption,
        PollVoter,
    )

__all__ = [
    "APIModel",
    "Accepted",
    "AppCardPart",
    "AppClipPart",
    "Attachment",
    "AvailableNumber",
    "BlockedHandle",
    "Capability",
    "CardApp",
    "CardLayout",
    "CardUpdate",
    "Chat",
    "ChatHandle",
    "ContactCard",
    "CreatedChat",
    "CreatedPoll",
    "Experience",
    "ExperienceAction",
    "ExperienceField",
    "Health",
    "Informative",
    "InlineSticker",
    "LinkPart",
    "Location",
    "MediaPart",
    "Message",
    "MessageEffect",
    "MessageReply",
    "OptOutChat",
    "OtherPart",
    "Part",
    "PhoneNumber",
    "Poll",
    "PollMessage",
    "PollOption",
    "PollVoter",
    "Reaction",
    "ReceivedMessage",
    "ReputationAction",
    "ReputationAudit",
    "ReputationDriver",
    "ReputationEvidence",
    "ReputationReport",
    "RoutedSendResult",
    "SendResult",
    "SentMessage",
    "TextPart",
    "UTCDatetime",
    "UnhealthyChat",
    "UploadSlot",
    "VoiceMemo",
    "WebhookSubscription",
]

#: Each imports those before it alone.
_MODULES = (
    "linq_client.models._base",
    "linq_client.models._chats",
    "linq_client.models._account",
    "linq_client.models._messages",
    "linq_client.models._polls",
)

if not TYPE_CHECKING:  # or every name that is misspelled would pass for a model

    def __getattr__(name: str) -> Any:
        return load(__name__, _MODULES, name)
