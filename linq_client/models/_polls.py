"""Polls, which are messages of their own kind."""

from __future__ import annotations

from pydantic import Field

from linq_client.models._base import APIModel, Informative, InformativeList, UTCDatetime
from linq_client.models._chats import ChatHandle
from linq_client.models._messages import Reaction


class PollVoter(APIModel):
    """Who has voted for an option."""

    handle: str
    voted_at: Informative[UTCDatetime] = None


class PollOption(APIModel):
    """An option of a poll, and who has voted for it. On a line that keeps nothing, `text` is empty."""

    option_id: str
    text: Informative[str] = None
    creator_handle: Informative[ChatHandle] = None
    can_be_edited: Informative[bool] = None
    voters: list[PollVoter] = Field(default_factory=list)


class Poll(APIModel):
    """What can be voted for; `total_voters` counts each person once, whatever they voted for."""

    options: list[PollOption] = Field(default_factory=list)
    total_voters: Informative[int] = None


class PollMessage(APIModel):
    """A poll in its chat; `message_id` is what stands for it everywhere."""

    message_id: str
    chat_id: str
    poll: Poll
    created_at: Informative[UTCDatetime] = None
    updated_at: Informative[UTCDatetime] = None
    reactions: InformativeList[Reaction] = Field(default_factory=list)


class CreatedPoll(APIModel):
    """A poll that was sent: `idempotency_key` is the key that it carried, to ask again with."""

    message_id: str
    chat_id: str
    idempotency_key: str
    poll: Informative[Poll] = None
    created_at: Informative[UTCDatetime] = None
    updated_at: Informative[UTCDatetime] = None
    reactions: InformativeList[Reaction] = Field(default_factory=list)
    trace_id: str | None = None
