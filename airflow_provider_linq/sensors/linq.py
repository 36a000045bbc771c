"""Sensors that wait for what recipients do, and for what becomes of a message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from airflow.sdk import PokeReturnValue

from airflow_provider_linq._internal.archive import (
    check_archive_url,
    earliest,
    is_replaced,
    matching,
    open_for_reading,
    position_since,
    read_batch,
)
from airflow_provider_linq._internal.arguments import (
    GivenArguments,
    as_timedelta,
    check_choice,
    check_flag,
    datetime_argument,
)
from airflow_provider_linq._internal.delivery import FAILURE_GRACE, DeliveryState, DeliveryWatch, Until
from airflow_provider_linq._internal.fail_fast import fail_fast
from airflow_provider_linq._internal.inbound import InboundReader
from airflow_provider_linq._internal.message_filter import MessageFilter
from airflow_provider_linq._internal.polling import agreed_server_time, check_interval, run_to_end
from airflow_provider_linq._internal.rendering import is_template
from airflow_provider_linq._internal.sensor import LinqSensor
from airflow_provider_linq._internal.text_search import TextSearch
from airflow_provider_linq._internal.version_compat import AirflowFailException
from airflow_provider_linq._internal.xcom import inbound_message
from airflow_provider_linq.hooks.linq import LinqAsyncHook
from airflow_provider_linq.results import DeliveryResult, InboundMessage
from airflow_provider_linq.triggers.linq import (
    LinqDeliveryTrigger,
    LinqMessageTrigger,
    message_of_event,
    raise_for_event,
)
from linq_client import LinqError
from linq_client.models import Message
from linq_client.times import format_datetime, to_server_time

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.triggers.base import BaseTrigger

__all__ = ["LinqDeliverySensor", "LinqMessageSensor"]

#: Seconds between two looks into a webhook archive.
ARCHIVE_POKE_INTERVAL: Final = 5.0


class LinqMessageSensor(LinqSensor):
    """
    Wait for an inbound message; the earliest one that matches goes to XCom.

    The result is an :class:`~airflow_provider_linq.results.InboundMessage`, of which each key is an XCom of its own
    too (``wait.output["text"]``). A chat is read whole at each poke, because the API promises no order, and for a line
    every chat is read now and then; one of several chats that can't be read is set aside, named in the log, and read
    again later. Where the connection has a retention window, ``poke_interval`` must be shorter: a
    message that came and expired between two pokes is never seen.

    :param chat_id: wait in this chat; excludes ``line`` (templated)
    :param from_handle: only messages of this sender: a handle, a short code or a sender id; without ``chat_id``, in any
        chat with it (templated)
    :param line: only messages to this own line (templated)
    :param since: only messages created at this moment or later, by the API's clock: a datetime or an ISO 8601 string
        (without an offset, in Airflow's default time zone). The best one is the ``created_at`` of the message that is
        to be answered, from the XCom of the task that sent it. By default the start of the DAG run, corrected for the
        difference between this worker's clock and the API's; a cleared DAG run starts again (templated)
    :param text_matches: only messages in the first 10,000 characters of whose text this regular expression is found; a
        text on which it takes more than a quarter of a second has no match (templated)
    :param predicate: only messages for which this function is true: its dotted path; it gets an ``InboundMessage``,
        and must be importable where the triggerer runs too. It runs in a thread, without a time limit: one that never
        returns ends this wait for good, and one that computes for long slows down all triggers.
    :param include_text: put the text into the result. Without it, ``text`` is None, and what people write stays out
        of XCom.
    :param webhook_archive: URL of the archive that a receiver of webhooks fills, a folder or a database. It is read in
        place of the API, which is not asked: ``poke_interval`` can be seconds then, and is 5 by default. It must hold
        no password; the key of an encrypted one is in the connection (``webhook_archive_secret``). The start of the
        run, the default of ``since``, is then taken as it is (templated)
    :param linq_conn_id: connection of type ``linq`` (templated)
    :param deferrable: wait in the triggerer.
    """

    template_fields: Sequence[str] = (
        "chat_id",
        "from_handle",
        "line",
        "since",
        "text_matches",
        "webhook_archive",
        "linq_conn_id",
    )
    author_only = ("predicate",)

    def __init__(
        self,
        *,
        chat_id: str | None = None,
        from_handle: str | None = None,
        line: str | None = None,
        since: datetime | str | None = None,
        text_matches: str | None = None,
        predicate: str | None = None,
        include_text: bool = True,
        webhook_archive: str | None = None,
        **kwargs: Any,
    ) -> None:
        if webhook_archive is not None:
            kwargs.setdefault("poke_interval", ARCHIVE_POKE_INTERVAL)
        super().__init__(**kwargs)
        if isinstance(webhook_archive, str) and not is_template(webhook_archive):
            check_archive_url(webhook_archive)
        if isinstance(text_matches, str) and not is_template(text_matches):
            TextSearch(text_matches)  # a DAG with a pattern that can't be searched is not imported
        check_flag("include_text", include_text)
        self.chat_id = chat_id
        self.from_handle = from_handle
        self.line = line
        self.since = since
        self.text_matches = text_matches
        self.predicate = predicate
        self.include_text = include_text
        self.webhook_archive = webhook_archive
        self._position: str | None = None
        self._has_begun = False
        self._given = GivenArguments(self, self.template_fields)

    @cached_property
    def filter(self) -> MessageFilter:
        return MessageFilter(self.chat_id, self.from_handle, self.line, self.text_matches, self.predicate)

    @cached_property
    def _reader(self) -> InboundReader:
        # The trigger that follows a first poke sweeps, so that one need not.
        is_followed = self.deferrable and not self._is_resumed
        hook = LinqAsyncHook(self.linq_conn_id)
        return InboundReader(hook, self.filter, poll_interval=self.poke_interval, sweep_first=not is_followed)

    def waiting_for(self, context: Context) -> str:
        where = "" if self.webhook_archive is None else " of the webhook archive"
        return f"a message{where} in {self.filter}, since {format_datetime(self._since_in_server_time(context))}"

    def poke(self, context: Context) -> PokeReturnValue:
        with fail_fast():
            self._check_interval()
            wanted = self.filter  # what is wrong in it fails before the API is asked for its time
            since = self._since_in_server_time(context)
            self.note_poke(context)
            look = self._ask_api if self.webhook_archive is None else self._read_archive
            found = look(wanted, since)
        if found is None:
            return PokeReturnValue(False)
        self.log_found(_came(found.id, found.chat_id, format_datetime(found.created_at)))
        return PokeReturnValue(True, inbound_message(found, include_text=self.include_text))

    def _ask_api(self, wanted: MessageFilter, since: datetime) -> Message | None:
        reader = self._reader
        polled = run_to_end(lambda: reader.poll(since))
        found = wanted.earliest(polled.messages, since)
        if found is None and polled.error is not None:
            raise polled.error
        return found

    def _read_archive(self, wanted: MessageFilter, since: datetime) -> Message | None:
        assert self.webhook_archive is not None
        with closing(open_for_reading(self.webhook_archive, self.hook.settings)) as archive:
            if not self._has_begun:
                self._position, self._has_begun = position_since(archive, since), True
            is_end = False
            while not is_end:
                try:
                    batch = read_batch(archive, self._position)
                except LinqError as error:
                    self._has_begun = not is_replaced(error)
                    raise
                self._position, is_end = batch.position, batch.is_end
                if found := matching(batch, wanted, since):
                    return earliest(found).message
        return None

    def trigger(self, context: Context) -> BaseTrigger:
        # A first poke that failed silently may not have learned of the server's time: then it is the worker's.
        since = _start(context) if self.since is None else self.since
        with fail_fast():
            started = datetime_argument(since, "since")
        return LinqMessageTrigger(
            since=format_datetime(started),
            chat_id=self.chat_id,
            from_handle=self.from_handle,
            line=self.line,
            text_matches=self.text_matches,
            predicate=self.predicate,
            webhook_archive=self.webhook_archive,
            **self.waiting_arguments(),
        )

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> InboundMessage:
        """
        Return from the triggerer.

        :raises AirflowFailException: a message came, and is gone before this task could read it.
        """
        raise_for_event(event)
        found = message_of_event(self.hook, event, self.webhook_archive)
        self.log_found(_came(found.id, found.chat_id, format_datetime(found.created_at)), event)
        return inbound_message(found, include_text=self.include_text)

    def _since_in_server_time(self, context: Context) -> datetime:
        if self.since is None and self.webhook_archive is not None:
            self.since = _start(context)
        if self.since is None:
            self.since = to_server_time(_start(context), agreed_server_time(self.hook.client))
        self.since = datetime_argument(self.since, "since")
        return self.since

    def _check_interval(self) -> None:
        if self.webhook_archive is not None:  # where nothing expires
            return
        check_interval(self.poke_interval, "poke_interval", self.hook.settings.retention_window)


class LinqDeliverySensor(LinqSensor):
    """
    Wait until a message that was sent has come so far.

    The result is a :class:`~airflow_provider_linq.results.DeliveryResult`, of which each key is an XCom of its own
    too. A delivery that has failed fails the task, with ``soft_fail`` too. Messages to groups and by SMS end at sent,
    since nothing more is ever reported of them. Not everybody sends read receipts: wait for "read" with a timeout that
    suits, and ``soft_fail``.

    :param message_id: the message, ``send.output["message_id"]`` for example (templated)
    :param until: "sent", "delivered" or "read".
    :param failure_grace: for how long a failed delivery is not believed, since it may still succeed: a timedelta or
        seconds. After that the task fails, without a retry.
    :param linq_conn_id: connection of type ``linq`` (templated)
    :param deferrable: wait in the triggerer.
    """

    template_fields: Sequence[str] = ("message_id", "linq_conn_id")

    def __init__(
        self,
        *,
        message_id: str,
        until: Until = "delivered",
        failure_grace: timedelta | float = FAILURE_GRACE,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_choice("until", until, Until)
        self.message_id = message_id
        self.until = until
        self.failure_grace = as_timedelta(failure_grace, "failure_grace")
        self._given = GivenArguments(self, self.template_fields)

    @cached_property
    def _watch(self) -> DeliveryWatch:
        return DeliveryWatch(self.message_id, self.until, self.failure_grace)

    def waiting_for(self, context: Context) -> str:
        return f"message {self.message_id} to be {self.until}"

    def poke(self, context: Context) -> PokeReturnValue:
        self.note_poke(context)
        with fail_fast():
            state, delivery = self._watch.poll(self.hook.client)
        self._raise_if_failed(state.value, delivery)
        if state is DeliveryState.REACHED:
            self.log_found(_delivered(delivery))
        return PokeReturnValue(state is DeliveryState.REACHED, delivery)

    def trigger(self, context: Context) -> BaseTrigger:
        return LinqDeliveryTrigger(
            message_id=self.message_id,
            until=self.until,
            failure_grace=self.failure_grace.total_seconds(),
            **self.waiting_arguments(),
        )

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> DeliveryResult:
        """Return from the triggerer."""
        raise_for_event(event)
        delivery: DeliveryResult = event["delivery"]
        self._raise_if_failed(event["state"], delivery)
        self.log_found(_delivered(delivery), event)
        return delivery

    def _raise_if_failed(self, state: str, delivery: DeliveryResult) -> None:
        if state == DeliveryState.FAILED.value:
            raise AirflowFailException(f"Message {delivery['message_id']} could not be delivered")


def _came(message_id: str, chat_id: str, created_at: str) -> str:
    return f"Message {message_id} came in chat {chat_id} at {created_at}"


def _delivered(delivery: DeliveryResult) -> str:
    moments = {"sent": delivery["sent_at"], "delivered": delivery["delivered_at"], "read": delivery["read_at"]}
    status = delivery["delivery_status"]
    at = f" at {moments[status]}" if moments.get(status) else ""
    return f"Message {delivery['message_id']} was {status}{at}"


def _start(context: Context) -> datetime:
    run = context["dag_run"]
    return run.start_date or run.run_after
