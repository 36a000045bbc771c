"""How far a sent message has come: the one rule by which sensor, trigger and sending operators wait for it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import Enum
from typing import Final, Literal, TypeAlias, get_args

from airflow_provider_linq._internal.xcom import delivery_result
from airflow_provider_linq.results import DeliveryResult
from linq_client import InvalidRequestError, LinqClient, models

#: What can be waited for.
Until: TypeAlias = Literal["sent", "delivered", "read"]

#: A failed message can still be delivered: for so long, by default, a failure is not believed.
FAILURE_GRACE: Final = timedelta(minutes=5)

_RANK: Final[Mapping[str, int]] = {"pending": 0, "queued": 1, "sent": 2, "delivered": 3, "read": 4}


class DeliveryState(Enum):
    """Whether a message has come as far as it is waited for."""

    WAITING = "waiting"
    REACHED = "reached"
    FAILED = "failed"


def check_until(until: str) -> Until:
    """
    Return what is to be waited for, if it is something that can be.

    :raises InvalidRequestError: it is none of sent, delivered and read.
    """
    for known in get_args(Until):
        if until == known:
            return known  # type: ignore[no-any-return]
    raise InvalidRequestError(f"until: must be one of {', '.join(get_args(Until))}, got {until!r}")


def may_end_at_sent(message: models.SentMessage, until: Until) -> bool:
    """Whether it depends on the chat if more than `sent` will ever be known of the message: a group has no receipts."""
    return message.delivery_status == "sent" and until != "sent" and message.service != "SMS"


def delivery_state(
    message: models.Message, until: Until, *, is_group: bool, failure_grace: timedelta, now: datetime
) -> DeliveryState:
    """
    Decide whether a message has come as far as it is waited for.

    SMS and groups end at sent: nothing more is ever reported of them, so there that is enough.

    :param failure_grace: how long after its last change a failed message is still waited for.
    :param now: by the API's clock.
    :raises InvalidRequestError: the message was not sent but received.
    """
    if not message.is_from_me:
        raise InvalidRequestError(f"message_id: must be of a message that was sent, got {message.id!r}, received")
    if message.delivery_status == "failed":
        is_final = now - message.updated_at >= failure_grace
        return DeliveryState.FAILED if is_final else DeliveryState.WAITING
    enough = "sent" if is_group or message.service == "SMS" else until
    has_reached = _RANK.get(message.delivery_status, 0) >= _RANK[enough]
    return DeliveryState.REACHED if has_reached else DeliveryState.WAITING


class DeliveryWatch:
    """
    Polls one message until it has come far enough.

    :param until: what is waited for.
    :param failure_grace: how long after its last change a failed message is still waited for.
    """

    def __init__(self, message_id: str, until: Until, failure_grace: timedelta) -> None:
        self._message_id = message_id
        self._until = until
        self._failure_grace = failure_grace
        self._is_group: bool | None = None

    def poll(self, client: LinqClient) -> tuple[DeliveryState, DeliveryResult]:
        """
        Read the message, and its chat once if the state depends on it.

        :raises LinqError: see ``linq_client.errors``; ``NotFoundError`` if the message was deleted or has expired.
        """
        message = client.messages.get(self._message_id)
        if self._is_group is None and may_end_at_sent(message, self._until):
            self._is_group = client.chats.get(message.chat_id).is_group
        state = delivery_state(
            message,
            self._until,
            is_group=bool(self._is_group),
            failure_grace=self._failure_grace,
            now=client.server_time,
        )
        return state, delivery_result(message)
