"""Triggers that wait for a delivery or for a message on behalf of a deferred task.

They only read, so it does no harm that Airflow may run one twice or start it again. Their events hold ids and no text:
Airflow writes every event to a log. Whatever can be wrong with their arguments is found in ``run``, because an
exception in ``__init__`` ends the whole triggerer.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from typing import Any

from airflow.sdk.exceptions import AirflowException, AirflowFailException
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_linq._internal.arguments import datetime_argument
from airflow_provider_linq._internal.delivery import DeliveryState, DeliveryWatch, check_until
from airflow_provider_linq._internal.inbound import InboundReader, MessageFilter
from airflow_provider_linq._internal.polling import (
    LEAST_INTERVAL,
    SHARED_FOR,
    Failures,
    describe,
    shared_reads,
    with_present_key,
)
from airflow_provider_linq.hooks.linq import LinqAsyncHook
from airflow_provider_linq.results import DeliveryResult
from linq_client import LinqError

__all__ = ["MAX_CONSECUTIVE_FAILURES", "LinqDeliveryTrigger", "LinqMessageTrigger"]

#: How many polls may fail one after another before a trigger gives up, and its task fails or is retried.
MAX_CONSECUTIVE_FAILURES = 10


class _PollingTrigger(BaseTrigger):
    """
    Poll until there is an event; survive polls that fail, and give up after too many or on what no poll can fix.

    :param linq_conn_id: connection of type ``linq``; nothing else of the connection is stored.
    :param poll_interval: seconds between two polls.
    :param max_consecutive_failures: how many polls may fail one after another.
    :param other: what another version of this provider has stored; passed over.
    """

    def __init__(
        self,
        *,
        linq_conn_id: str,
        poll_interval: float = 15,
        max_consecutive_failures: int = MAX_CONSECUTIVE_FAILURES,
        **other: Any,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.linq_conn_id = linq_conn_id
        self.poll_interval = poll_interval
        self.max_consecutive_failures = max_consecutive_failures

    def serialize(self) -> tuple[str, dict[str, Any]]:
        arguments = {
            "linq_conn_id": self.linq_conn_id,
            "poll_interval": self.poll_interval,
            "max_consecutive_failures": self.max_consecutive_failures,
            **self.arguments(),
        }
        return f"{type(self).__module__}.{type(self).__qualname__}", arguments

    @abstractmethod
    def arguments(self) -> dict[str, Any]:
        """Return the arguments of this trigger's own."""

    @abstractmethod
    def watch(self, hook: LinqAsyncHook) -> Watch:
        """Start to watch; may raise ``LinqError``."""

    async def run(self) -> AsyncIterator[TriggerEvent]:
        hook = LinqAsyncHook(self.linq_conn_id, max_retries=0)  # what fails is polled again anyway
        failures = Failures(self.poll_interval)
        watch: Watch | None = None
        while True:
            wait = self.poll_interval
            try:
                watch = watch or self.watch(hook)
                event = await watch.poll(shared_for=self.poll_interval * SHARED_FOR)
                failures.reset()
            except Exception as error:
                event = None
                permanent = isinstance(error, LinqError) and error.permanent
                wait = failures.add(error)
                hook.forget_connection()
                if permanent or failures.count >= self.max_consecutive_failures:
                    event = {"error": describe(error), "permanent": permanent}
                else:
                    self.log.warning("Poll failed (%d), next in %.0f s: %s", failures.count, wait, describe(error))
            if event is not None:
                yield TriggerEvent(event)  # type: ignore[no-untyped-call]
                return
            await asyncio.sleep(max(wait, LEAST_INTERVAL))


class Watch(ABC):
    """What a trigger does at each poll."""

    @abstractmethod
    async def poll(self, *, shared_for: float) -> dict[str, Any] | None:
        """Return the payload of the event, or None as long as there is none.

        :param shared_for: how many seconds old the responses to other triggers may be.
        """


def raise_for_event(event: Mapping[str, Any]) -> None:
    """Let a task fail whose trigger gave up, and so that no retry follows where none can help."""
    if "error" in event:
        kind = AirflowFailException if event["permanent"] else AirflowException
        raise kind(f"Waiting has failed: {event['error']}")


class LinqDeliveryTrigger(_PollingTrigger):
    """
    Wait until a message has come so far, or has failed.

    The event is ``{"state": "reached" or "failed", "delivery": DeliveryResult, "sent": ...}``.

    :param linq_conn_id: connection of type ``linq``.
    :param message_id: a message that was sent.
    :param until: "sent", "delivered" or "read".
    :param failure_grace: seconds for which a failed delivery is not believed.
    :param sent: handed back in the event: what the task knows of the send. Next to the event, as keyword arguments of
        the method that the task resumes with, ``dag.test()`` would lose it.
    :param poll_interval: seconds between two polls.
    :param max_consecutive_failures: how many polls may fail one after another.
    """

    def __init__(
        self,
        *,
        message_id: str,
        until: str,
        failure_grace: float = 300,
        sent: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sent = sent
        self.message_id = message_id
        self.until = until
        self.failure_grace = failure_grace

    def arguments(self) -> dict[str, Any]:
        return {
            "message_id": self.message_id,
            "until": self.until,
            "failure_grace": self.failure_grace,
            "sent": self.sent,
        }

    def watch(self, hook: LinqAsyncHook) -> Watch:
        return _DeliveryPoll(hook, self)


class _DeliveryPoll(Watch):
    def __init__(self, hook: LinqAsyncHook, trigger: LinqDeliveryTrigger) -> None:
        self._hook = hook
        self._question = (trigger.message_id, trigger.until, trigger.failure_grace)
        grace = timedelta(seconds=trigger.failure_grace)
        self._watch = DeliveryWatch(trigger.message_id, check_until(trigger.until), grace)
        self._sent = trigger.sent

    async def poll(self, *, shared_for: float) -> dict[str, Any] | None:
        state, delivery = await with_present_key(self._hook, lambda: self._read(shared_for))
        if state is DeliveryState.WAITING:
            return None
        return {"state": state.value, "delivery": delivery, "sent": self._sent}

    async def _read(self, shared_for: float) -> tuple[DeliveryState, DeliveryResult]:
        client = await self._hook.aclient()
        not_before = asyncio.get_running_loop().time() - shared_for
        shared = await shared_reads().read(
            (client, *self._question), lambda: self._watch.poll(client), not_before=not_before
        )
        return shared.value


class LinqMessageTrigger(_PollingTrigger):
    """
    Wait for an inbound message.

    The event is ``{"chat_id": ..., "message_id": ...}`` of the earliest one; the task reads the message itself.

    :param linq_conn_id: connection of type ``linq``.
    :param since: moment in RFC 3339; only messages created then or later.
    :param chat_id: only messages in this chat.
    :param from_handle: only messages from this handle.
    :param line: only messages to this own line.
    :param text_matches: regular expression that is searched in the text.
    :param predicate: dotted path of a function that takes an ``InboundMessage`` and says whether it matches.
    :param poll_interval: seconds between two polls.
    :param max_consecutive_failures: how many polls may fail one after another.
    """

    def __init__(
        self,
        *,
        since: str,
        chat_id: str | None = None,
        from_handle: str | None = None,
        line: str | None = None,
        text_matches: str | None = None,
        predicate: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.since = since
        self.chat_id = chat_id
        self.from_handle = from_handle
        self.line = line
        self.text_matches = text_matches
        self.predicate = predicate

    def arguments(self) -> dict[str, Any]:
        return {
            "since": self.since,
            "chat_id": self.chat_id,
            "from_handle": self.from_handle,
            "line": self.line,
            "text_matches": self.text_matches,
            "predicate": self.predicate,
        }

    def watch(self, hook: LinqAsyncHook) -> Watch:
        filter_ = MessageFilter(self.chat_id, self.from_handle, self.line, self.text_matches, self.predicate)
        return _MessagePoll(InboundReader(hook, filter_), filter_, self.since)


class _MessagePoll(Watch):
    def __init__(self, reader: InboundReader, filter_: MessageFilter, since: str) -> None:
        self._reader = reader
        self._filter = filter_
        self._since = datetime_argument(since, "since")

    async def poll(self, *, shared_for: float) -> dict[str, Any] | None:
        polled = await self._reader.poll(self._since, shared_for=shared_for)
        # In a thread: the predicate is the user's, and may take its time.
        found = await asyncio.to_thread(self._filter.earliest, polled.messages, self._since)
        if found is None and polled.error is not None:
            raise polled.error
        return None if found is None else {"chat_id": found.chat_id, "message_id": found.id}
