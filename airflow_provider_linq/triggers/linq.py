"""Triggers that wait for a delivery or for a message on behalf of a deferred task.

They only read, so it does no harm that Airflow may run one twice or start it again. Their events hold ids and no text:
Airflow writes every event to a log. Whatever can be wrong with their arguments is found in ``run``, because an
exception in ``__init__`` ends the whole triggerer.
"""

from __future__ import annotations

import asyncio
import math
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from contextlib import closing
from datetime import datetime, timedelta, timezone
from typing import Any, Final

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_linq._internal.archive import (
    ArchiveReader,
    check_archive_url,
    earliest,
    is_replaced,
    matching,
    message_at,
    open_for_reading,
    position_since,
)
from airflow_provider_linq._internal.arguments import datetime_argument
from airflow_provider_linq._internal.delivery import DeliveryState, DeliveryWatch, check_until
from airflow_provider_linq._internal.fail_fast import fail_fast
from airflow_provider_linq._internal.inbound import PATIENCE, InboundReader
from airflow_provider_linq._internal.message_filter import MessageFilter
from airflow_provider_linq._internal.polling import (
    LEAST_INTERVAL,
    SHARED_FOR,
    Failures,
    describe,
    shared_reads,
    with_present_key,
)
from airflow_provider_linq._internal.version_compat import AirflowException, AirflowFailException, AirflowSensorTimeout
from airflow_provider_linq.hooks.linq import LinqAsyncHook, LinqHook
from airflow_provider_linq.results import DeliveryResult
from linq_client import LinqError, MessageNotFoundError
from linq_client.models import Message
from linq_client.times import format_datetime

__all__ = ["MAX_CONSECUTIVE_FAILURES", "LinqDeliveryTrigger", "LinqMessageTrigger"]

#: How many polls may fail one after another before a trigger gives up, and its task fails or is retried.
MAX_CONSECUTIVE_FAILURES = 10

#: Seconds that the last poll may take, at the deadline or after it.
_LAST_POLL: Final = 10.0


class _PollingTrigger(BaseTrigger):
    """
    Poll until there is an event; survive polls that fail, and give up after too many or on what no poll can fix.

    :param linq_conn_id: connection of type ``linq``; nothing else of the connection is stored.
    :param poll_interval: seconds between two polls.
    :param max_consecutive_failures: how many polls may fail one after another; None for any number.
    :param started: when the task began to wait, by the worker's clock (RFC 3339); by default when the trigger starts.
    :param deadline: until when to wait, by the same clock. The event is then ``{"timed_out": True, ...}``. Airflow
        ends a deferral itself, but not in ``dag.test()``.
    :param other: what another version of this provider has stored; passed over.
    """

    def __init__(
        self,
        *,
        linq_conn_id: str,
        poll_interval: float = 15,
        max_consecutive_failures: int | None = MAX_CONSECUTIVE_FAILURES,
        started: str | None = None,
        deadline: str | None = None,
        **other: Any,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.linq_conn_id = linq_conn_id
        self.poll_interval = poll_interval
        self.max_consecutive_failures = max_consecutive_failures
        self.started = started
        self.deadline = deadline

    def serialize(self) -> tuple[str, dict[str, Any]]:
        arguments = {
            "linq_conn_id": self.linq_conn_id,
            "poll_interval": self.poll_interval,
            "max_consecutive_failures": self.max_consecutive_failures,
            "started": self.started,
            "deadline": self.deadline,
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
        started = _now() if self.started is None else datetime_argument(self.started, "started")
        deadline = None if self.deadline is None else datetime_argument(self.deadline, "deadline")
        watch: Watch | None = None
        polls = 0
        event: dict[str, Any] | None = None
        while event is None:
            wait, failed = self.poll_interval, None
            polls += 1
            left = math.inf if deadline is None else _seconds_until(deadline)
            # Only what is read at the deadline, or later, can say that nothing came until then.
            is_over = left <= 0
            shared_for = min(self.poll_interval * SHARED_FOR, -left if is_over else math.inf)
            try:
                if watch is None:
                    watch = self.watch(hook)
                    until = self.deadline or "it comes"
                    self.log.info("Waiting for %s, every %g s, until %s", watch, self.poll_interval, until)
                longest = None if deadline is None else max(left, _LAST_POLL)
                event = await asyncio.wait_for(watch.poll(shared_for=shared_for), longest)
                failures.reset()
            except Exception as error:
                failed, wait = error, failures.add(error)
                hook.forget_connection()
            if failed is not None:
                permanent = isinstance(failed, LinqError) and failed.permanent
                # Whoever could not look at the end does not know that nothing came.
                is_last = is_over and self.max_consecutive_failures is not None
                if permanent or is_last or failures.count == self.max_consecutive_failures:
                    event = {"error": describe(failed), "permanent": permanent}
                else:
                    self.log.warning("Poll failed (%d), next in %.0f s: %s", failures.count, wait, describe(failed))
            if event is None and is_over:
                event = {"timed_out": True, "waiting_for": str(watch or "a response")}
            if event is None:
                wait = wait if deadline is None else min(wait, _seconds_until(deadline))
                await asyncio.sleep(max(wait, LEAST_INTERVAL))
        waited = (_now() - started).total_seconds()
        yield TriggerEvent({**event, "polls": polls, "waited": round(waited, 1)})  # type: ignore[no-untyped-call]


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _seconds_until(moment: datetime) -> float:
    return (moment - _now()).total_seconds()


class Watch(ABC):
    """What a trigger does at each poll. As text it says what is waited for."""

    @abstractmethod
    def __str__(self) -> str: ...

    @abstractmethod
    async def poll(self, *, shared_for: float) -> dict[str, Any] | None:
        """Return the payload of the event, or None as long as there is none.

        :param shared_for: how many seconds old the responses to other triggers may be.
        """


def raise_for_event(event: Mapping[str, Any]) -> None:
    """
    Let a task fail whose trigger gave up.

    :raises AirflowSensorTimeout: the time was over.
    :raises AirflowFailException: no retry can help.
    :raises AirflowException: a retry may.
    """
    if event.get("timed_out"):
        raise AirflowSensorTimeout(
            f"Timed out after {event['waited']:.0f} s and {event['polls']} polls, waiting for {event['waiting_for']}"
        )
    if "error" in event:
        kind = AirflowFailException if event["permanent"] else AirflowException
        raise kind(f"Waiting has failed: {event['error']}")


def message_of_event(hook: LinqHook, event: Mapping[str, Any], webhook_archive: str | None = None) -> Message:
    """
    Return the message that a `LinqMessageTrigger` has found.

    :param webhook_archive: where it was found, if not by asking the API.

    :raises AirflowFailException: it is gone before the task could read it, or no retry can help.
    :raises LinqError: a retry may help.
    """
    if webhook_archive is not None and "archive_position" in event:
        with fail_fast(), closing(open_for_reading(webhook_archive, hook.settings)) as archive:
            return message_at(archive, event["archive_position"], event["message_id"])
    try:
        with fail_fast():
            return hook.client.messages.get(event["message_id"])
    except AirflowFailException as error:
        if not isinstance(error.__cause__, MessageNotFoundError):
            raise
        raise AirflowFailException(
            f"Message {event['message_id']} came in chat {event['chat_id']}, and was deleted or has expired before "
            "this task could read it"
        ) from error


class LinqDeliveryTrigger(_PollingTrigger):
    """
    Wait until a message has come so far, or has failed.

    The event is ``{"state": "reached" or "failed", "delivery": DeliveryResult, "sent": ..., "polls": ..., "waited":
    seconds}``.

    :param linq_conn_id: connection of type ``linq``.
    :param message_id: a message that was sent.
    :param until: "sent", "delivered" or "read".
    :param failure_grace: seconds for which a failed delivery is not believed.
    :param sent: handed back in the event: what the task knows of the send. Next to the event, as keyword arguments of
        the method that the task resumes with, ``dag.test()`` would lose it.
    :param poll_interval: seconds between two polls.
    :param max_consecutive_failures: how many polls may fail one after another; None for any number.
    :param started: when the task began to wait, by the worker's clock (RFC 3339).
    :param deadline: until when to wait, by the same clock.
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

    def __str__(self) -> str:
        message_id, until, _ = self._question
        return f"message {message_id} to be {until}"

    async def poll(self, *, shared_for: float) -> dict[str, Any] | None:
        state, delivery = await with_present_key(self._hook, lambda: self._read(shared_for))
        if state is DeliveryState.WAITING:
            return None
        return {"state": state.value, "delivery": delivery, "sent": self._sent}

    async def _read(self, shared_for: float) -> tuple[DeliveryState, DeliveryResult]:
        client = await self._hook.aclient()
        not_before = asyncio.get_running_loop().time() - shared_for
        shared = await shared_reads().read(
            client, self._question, lambda: self._watch.poll(client), not_before=not_before
        )
        return shared.value


class LinqMessageTrigger(_PollingTrigger):
    """
    Wait for an inbound message.

    The event is ``{"chat_id": ..., "message_id": ..., "created_at": ..., "polls": ..., "waited": seconds}`` of the
    earliest one; the task reads the message itself. Of one in the webhook archive it has ``archive_position`` too,
    from where the archive is to be read.

    :param linq_conn_id: connection of type ``linq``.
    :param since: moment in RFC 3339; only messages created then or later.
    :param chat_id: only messages in this chat.
    :param from_handle: only messages from this sender: a handle, a short code or a sender id.
    :param line: only messages to this own line.
    :param text_matches: regular expression that is searched in the text.
    :param predicate: dotted path of a function that takes an ``InboundMessage`` and says whether it matches.
    :param webhook_archive: URL of the webhook archive, which is read in place of the API; None for the API.
    :param poll_interval: seconds between two polls.
    :param max_consecutive_failures: how many polls may fail one after another; None for any number.
    :param started: when the task began to wait, by the worker's clock (RFC 3339).
    :param deadline: until when to wait, by the same clock.
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
        webhook_archive: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.since = since
        self.chat_id = chat_id
        self.from_handle = from_handle
        self.line = line
        self.text_matches = text_matches
        self.predicate = predicate
        self.webhook_archive = webhook_archive

    def arguments(self) -> dict[str, Any]:
        return {
            "since": self.since,
            "chat_id": self.chat_id,
            "from_handle": self.from_handle,
            "line": self.line,
            "text_matches": self.text_matches,
            "predicate": self.predicate,
            "webhook_archive": self.webhook_archive,
        }

    def watch(self, hook: LinqAsyncHook) -> Watch:
        filter_ = MessageFilter(self.chat_id, self.from_handle, self.line, self.text_matches, self.predicate)
        if self.webhook_archive is not None:
            return _ArchivePoll(ArchiveReader(hook, check_archive_url(self.webhook_archive)), filter_, self.since)
        reader = InboundReader(hook, filter_, poll_interval=self.poll_interval, patience=PATIENCE)
        return _MessagePoll(reader, filter_, self.since)


class _MessagePoll(Watch):
    def __init__(self, reader: InboundReader, filter_: MessageFilter, since: str) -> None:
        self._reader = reader
        self._filter = filter_
        self._since = datetime_argument(since, "since")
        self._unread = 0

    def __str__(self) -> str:
        unread = f" ({self._unread} chats could not be read)" if self._unread else ""
        return f"a message in {self._filter}, since {format_datetime(self._since)}{unread}"

    async def poll(self, *, shared_for: float) -> dict[str, Any] | None:
        polled = await self._reader.poll(self._since, shared_for=shared_for)
        # In a thread: the predicate is the user's, and may take its time.
        found = await asyncio.to_thread(self._filter.earliest, polled.messages, self._since)
        self._unread = len(polled.set_aside)
        if found is None and polled.error is not None:
            raise polled.error
        if found is None:
            return None
        created_at = format_datetime(found.created_at)
        return {"chat_id": found.chat_id, "message_id": found.id, "created_at": created_at}


class _ArchivePoll(Watch):
    def __init__(self, reader: ArchiveReader, filter_: MessageFilter, since: str) -> None:
        self._reader = reader
        self._filter = filter_
        self._since = datetime_argument(since, "since")
        self._position: str | None = None
        self._has_begun = False

    def __str__(self) -> str:
        return f"a message of the webhook archive in {self._filter}, since {format_datetime(self._since)}"

    async def poll(self, *, shared_for: float) -> dict[str, Any] | None:
        if not self._has_begun:
            self._position = await self._reader.read(lambda archive: position_since(archive, self._since))
            self._has_begun = True
        is_end = False
        while not is_end:
            try:
                batch = await self._reader.poll(self._position, shared_for=shared_for)
            except LinqError as error:
                self._has_begun = not is_replaced(error)
                raise
            # In a thread: the predicate is the user's, and may take its time.
            found = await asyncio.to_thread(matching, batch, self._filter, self._since)
            self._position, is_end = batch.position, batch.is_end
            if found:
                first = earliest(found)
                return {
                    "chat_id": first.message.chat_id,
                    "message_id": first.message.id,
                    "created_at": format_datetime(first.message.created_at),
                    "archive_position": first.before,
                }
        return None
