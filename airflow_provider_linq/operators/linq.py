"""Operators that send messages.

Each sends one message, once: all tries of a task carry one idempotency key, and the platform sends one message for a
key. Everything that the API would refuse in a message is refused before a request is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_provider_linq.failures import failing_at_once, sending
from airflow_provider_linq.hooks.linq import LinqHook
from airflow_provider_linq.idempotency import idempotency_key
from airflow_provider_linq.results import SendResult
from linq_client import Message, MessageLike, message_from

if TYPE_CHECKING:
    from airflow.sdk import Context


class _LinqSendOperator(BaseOperator):
    """What the sending operators share: the connection, the message and its idempotency key."""

    def __init__(
        self,
        *,
        message: MessageLike,
        idempotency_key: str | None = None,
        linq_conn_id: str = LinqHook.default_conn_name,
        multiple_outputs: bool = True,  # so that other tasks can take send.output["chat_id"]
        **kwargs: Any,
    ) -> None:
        super().__init__(multiple_outputs=multiple_outputs, **kwargs)
        self.message = message
        self.idempotency_key = idempotency_key
        self.linq_conn_id = linq_conn_id

    @cached_property
    def hook(self) -> LinqHook:
        return LinqHook(self.linq_conn_id)

    def send(self, message: Message) -> SendResult:
        """Send the message, complete with its key."""
        raise NotImplementedError

    def execute(self, context: Context) -> SendResult:
        with failing_at_once():
            message = message_from(self.message)
            key = self.idempotency_key
            if key is None:
                key = message.idempotency_key or idempotency_key(context["ti"])
            message = message_from({**message.to_wire(), "idempotency_key": key})
        with sending(key):
            result = self.send(message)
        self.log.info(
            "Message %s in chat %s: %s (trace %s)",
            result["message_id"],
            result["chat_id"],
            result["delivery_status"],
            result["trace_id"],
        )
        return result


class LinqSendMessageOperator(_LinqSendOperator):
    """
    Send a message to a chat, or to handles.

    The result is a :class:`~airflow_provider_linq.results.SendResult`, of which each key is an XCom of its own too
    (``send.output["chat_id"]``): the platform has accepted the message, and delivers it later.

    A task whose message was sent before and is gone since (its key is known, the message deleted or expired) fails
    without a retry and sends nothing.

    :param message: text, a list of parts, or the JSON form of a message (``{"parts": [...], "effect": ...}``)
        (templated)
    :param chat_id: the chat to send to; excludes ``to`` and ``from_`` (templated)
    :param to: handle (E.164 number or e-mail address), or a list of them for a group chat (templated)
    :param from_: own line to send to ``to`` from; by default that of the connection, and if it has none, one that the
        platform chooses. From a line, the message may be the first of a new chat, so it must hold no link, URL, reply
        or effect (templated)
    :param idempotency_key: the platform sends one message for a key. By default made of DAG id, run id, task id and
        map index, so that a retried or cleared task does not send again. Give one where two Airflow installations
        share an account and run DAGs of the same name, or to send again on purpose (templated)
    :param linq_conn_id: connection of type ``linq`` (templated)
    """

    template_fields: Sequence[str] = ("message", "chat_id", "to", "from_", "idempotency_key", "linq_conn_id")

    def __init__(
        self,
        *,
        message: MessageLike,
        chat_id: str | None = None,
        to: str | Sequence[str] | None = None,
        from_: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(message=message, **kwargs)
        self.chat_id = chat_id
        self.to = to
        self.from_ = from_

    def send(self, message: Message) -> SendResult:
        return self.hook.send(message, chat_id=self.chat_id, to=self.to, from_=self.from_)


class LinqCreateChatOperator(_LinqSendOperator):
    """
    Send a first message from a line to handles; their chat with the line is created, or used again if there is one.

    The result is a :class:`~airflow_provider_linq.results.SendResult`, of which each key is an XCom of its own too:
    ``create.output["chat_id"]`` is what later tasks send to and wait in.

    A task whose message was sent before and is gone since fails without a retry and sends nothing.

    :param to: handle (E.164 number or e-mail address), or a list of them for a group chat (templated)
    :param message: text, a list of parts, or the JSON form of a message, without link, URL, reply and effect
        (templated)
    :param from_: own line to send from; by default that of the connection (templated)
    :param idempotency_key: as in :class:`LinqSendMessageOperator` (templated)
    :param linq_conn_id: connection of type ``linq`` (templated)
    """

    template_fields: Sequence[str] = ("message", "to", "from_", "idempotency_key", "linq_conn_id")

    def __init__(
        self, *, to: str | Sequence[str], message: MessageLike, from_: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(message=message, **kwargs)
        self.to = to
        self.from_ = from_

    def send(self, message: Message) -> SendResult:
        return self.hook.create_chat(self.to, message, from_=self.from_)
