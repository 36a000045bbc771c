"""`LinqNotifier`: a message from a callback or a deadline alert."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseNotifier

from airflow_provider_linq._internal.arguments import GivenArguments
from airflow_provider_linq._internal.destination import destination_of
from airflow_provider_linq._internal.idempotency import derive_key, instance_key
from airflow_provider_linq._internal.polling import in_thread, with_present_key
from airflow_provider_linq._internal.uploads import check_message, with_key
from airflow_provider_linq.hooks.linq import LinqAsyncHook, LinqHook
from airflow_provider_linq.results import SendResult
from linq_client import InvalidRequestError, Message, MessageLike

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["LinqNotifier"]


class LinqNotifier(BaseNotifier):
    """
    Send a message to a chat, or to handles, when a callback is called.

    For ``on_failure_callback`` and the other callbacks of a task, and as
    ``DeadlineAlert(..., callback=AsyncCallback(LinqNotifier, kwargs={...}))``. A callback that Airflow calls twice in
    the same try, or for the same deadline, sends once.

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
        self._given = GivenArguments(self, self.template_fields)

    @cached_property
    def hook(self) -> LinqHook:
        return LinqHook(self.linq_conn_id)

    def notify(self, context: Context) -> None:
        self._log_result(self._send(self.hook, context))

    async def async_notify(self, context: Context) -> None:
        hook = LinqAsyncHook(self.linq_conn_id)

        async def send() -> SendResult:
            await (
                hook.aclient()
            )  # fetches the connection without blocking; the send is the hook's own, with its retries
            return await in_thread(lambda: self._send(hook, context))

        self._log_result(await with_present_key(hook, send))

    def _send(self, hook: LinqHook, context: Context) -> SendResult:
        self._given.check(self)
        destination = destination_of(hook, chat_id=self.chat_id, to=self.to, from_=self.from_)
        accepted = destination.send(hook.client, self._message(context))
        if not destination.is_of(accepted):
            raise InvalidRequestError(
                f"idempotency_key: {accepted.idempotency_key!r} stands for a message to somebody else. Nothing was sent"
            )
        return accepted.result()

    def _message(self, context: Context) -> Message:
        """Build the message, with a key that is the same for this occasion, these recipients and this text."""
        message = check_message(self.message)
        if message.idempotency_key is not None:
            return message
        about = json.dumps([self.chat_id, self.to, self.from_, message.to_wire()], sort_keys=True)
        key = _key(context, about)
        return message if key is None else with_key(message, key)

    def _log_result(self, result: SendResult) -> None:
        self.log.info("Notified by message %s", result["message_id"])


def _key(context: Mapping[str, Any], about: str) -> str | None:
    """Return the key of what is to be said on the occasion that a context tells of; None if it tells of none."""
    ti, deadline, run = context.get("ti"), context.get("deadline"), context.get("dag_run")
    if ti is not None:
        return instance_key(ti, "notifier", ti.try_number, about)
    # Without a task: a deadline alert, which a restarted triggerer calls again, or the callback of a DAG.
    if deadline is not None:
        return derive_key("deadline", str(deadline["id"]), about)
    if run is None:
        return None
    # A run that is cleared starts again, and then there is something new to say.
    return derive_key("run", *(str(_field(run, name)) for name in ("dag_id", "run_id", "start_date")), about)


def _field(run: Any, name: str) -> Any:
    """Read a field of a run, which is a mapping in the context of a deadline alert."""
    return run.get(name) if isinstance(run, Mapping) else getattr(run, name, None)
