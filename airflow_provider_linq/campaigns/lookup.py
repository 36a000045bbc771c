"""Whether a message arrived at the platform of which nobody knows: a look into the chat."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from airflow_provider_linq.campaigns.lines import line_of, others_of
from linq_client import LinqClient, NotFoundError, RetentionWindow, models
from linq_client import Message as Outgoing
from linq_client.times import format_datetime

#: The clocks of the platform's servers may differ by so much.
SKEW: Final = timedelta(seconds=10)


class Finding(Enum):
    """What a look into the chats came to, where the message itself was not found."""

    ABSENT = "absent"
    UNCLEAR = "unclear"


@dataclass(frozen=True)
class Found:
    """The message, as the platform has it."""

    line: str | None
    chat_id: str
    message_id: str
    created_at: str


def look_up(
    client: LinqClient,
    to: tuple[str, ...],
    message: Outgoing,
    *,
    line: str | None,
    own: Collection[str],
    since: datetime,
    now: datetime,
    retention: RetentionWindow | None,
) -> Found | Finding:
    """
    Look for a message to the recipients that was sent at `since` or later.

    The API names no idempotency keys when it is read. So a message with the same parts is taken for ours; one with
    other parts may be ours, if a template was edited, or somebody else's: then the look settles nothing. Neither does
    it where all that was sent may have expired since, nor where there are only files, which can't be compared.

    :param line: own line that it was sent from; None if any may have been.
    :param own: all lines of the account.
    :param since: by the API's clock, as is `now`.
    :param retention: how long the platform keeps a message; None if for ever.
    :raises LinqError: see ``linq_client.errors``.
    """
    others_were_sent = False
    says_something = any(value is not None for _, value in _content(message.parts))
    for chat in list(client.chats.list(from_=line, to=to[0])):
        if others_of(chat, own) != to:
            continue
        for sent in _sent_since(client, chat.id, since - SKEW):
            if says_something and _content(sent.parts) == _content(message.parts):
                return Found(line_of(chat, own), chat.id, sent.id, format_datetime(sent.created_at))
            others_were_sent = True
    may_have_expired = retention is not None and since - SKEW < retention.oldest_kept(now)
    return Finding.UNCLEAR if others_were_sent or may_have_expired else Finding.ABSENT


def _sent_since(client: LinqClient, chat_id: str, since: datetime) -> list[models.Message]:
    try:
        # All of the chat: the API promises no order that would allow to stop early.
        return [sent for sent in client.messages.list(chat_id) if sent.is_from_me and sent.created_at >= since]
    except NotFoundError:  # the chat went between the two requests
        return []


def _content(parts: Collection[object]) -> list[tuple[object, object]]:
    """What can be compared of a message before and after it was sent; files have other ids and names by then."""
    return [(getattr(part, "type", None), getattr(part, "value", None)) for part in parts]
