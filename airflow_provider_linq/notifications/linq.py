"""`LinqNotifier`: a message from a callback or a deadline alert."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseNotifier

from airflow_provider_linq.hooks.linq import LinqAsyncHook, LinqHook
from airflow_provider_linq.idempotency import idempotency_key
from airflow_provider_linq.results import SendResult
from linq_client import Message, MessageLike, message_from

if TYPE_CHECKING:
    from airflow.sdk import Context


class LinqNotifier(BaseNotifier):
    """
    Send a message to a chat, or to handles, when a callback is called.

    For ``on_failure_callback`` and the other callbacks of a task, and as
    ``DeadlineAlert(..., callback=AsyncCallback(LinqNotifier, kwargs={...}))``. A callback that Airflow calls twice in
    the same try sends once.

    :param message: text, a list of parts, or the JSON form of a message (templated)
    :param chat_id: the chat to send to; excludes ``to`` and ``from_`` (templated)
    :param to: handle, or a list of them for a group chat (templated)
    :param from_: own line to send to ``to`` from; by default that of the connection (templated)
    :param linq_conn_id: connection of type ``linq`` (templated)
    """

    template_fields: Sequence[str] = ("message", "chat_id", "to", "from_", "linq_conn_id")

    def __init__(
        self,
        *,
        message: MessageLike,
        chat_id: str | None = None,
        to: str | Sequence[str] | None = None,
        from_: str | None = None,
        linq_conn_id: str = LinqHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.message = message
        self.chat_id = chat_id
        self.to = to
        self.from_ = from_
        self.linq_conn_id = linq_conn_id

    @cached_property
    def hook(self) -> LinqHook:
        return LinqHook(self.linq_conn_id)

    def notify(self, context: Context) -> None:
        self._say(self._send(self.hook, context))

    async def async_notify(self, context: Context) -> None:
        hook = LinqAsyncHook(self.linq_conn_id)
        await hook.aclient()  # fetches the connection without blocking; the send is the hook's own, with its retries
        self._say(await asyncio.to_thread(self._send, hook, context))

    def _send(self, hook: LinqHook, context: Context) -> SendResult:
        message = self._message(context)
        return hook.send(message, chat_id=self.chat_id, to=self.to, from_=self.from_)

    def _message(self, context: Context) -> Message:
        """Build the message, with a key that is the same for this try, these recipients and this text."""
        message = message_from(self.message)
        ti = context.get("ti")
        if message.idempotency_key is not None or ti is None:
            return message
        wire = message.to_wire()
        about = json.dumps([self.chat_id, self.to, self.from_, wire], sort_keys=True)
        return message_from({**wire, "idempotency_key": idempotency_key(ti, "notifier", ti.try_number, about)})

    def _say(self, result: SendResult) -> None:
        self.log.info("Notified by message %s", result["message_id"])
