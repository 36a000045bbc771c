"""Sensors that wait for what recipients do, and for what becomes of a message."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator, PokeReturnValue, conf
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from airflow_provider_linq._internal.arguments import GivenArguments, as_timedelta, check_choice, datetime_argument
from airflow_provider_linq._internal.delivery import FAILURE_GRACE, DeliveryState, DeliveryWatch, Until
from airflow_provider_linq._internal.fail_fast import fail_fast
from airflow_provider_linq._internal.inbound import InboundReader, MessageFilter
from airflow_provider_linq._internal.polling import run_to_end
from airflow_provider_linq._internal.xcom import inbound_message
from airflow_provider_linq.hooks.linq import LinqAsyncHook, LinqHook
from airflow_provider_linq.results import DeliveryResult, InboundMessage
from airflow_provider_linq.triggers.linq import LinqDeliveryTrigger, LinqMessageTrigger, raise_for_event
from linq_client import InvalidRequestError
from linq_client.times import format_datetime, to_server_time

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.triggers.base import BaseTrigger

__all__ = ["LinqDeliverySensor", "LinqMessageSensor"]


class _LinqSensor(BaseSensorOperator, ABC):
    """What the sensors share: poke once, then defer, if they are deferrable."""

    def __init__(
        self,
        *,
        linq_conn_id: str = LinqHook.default_conn_name,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        multiple_outputs: bool = True,  # so that other tasks can take wait.output["text"]
        **kwargs: Any,
    ) -> None:
        super().__init__(multiple_outputs=multiple_outputs, **kwargs)
        self.linq_conn_id = linq_conn_id
        self.deferrable = deferrable
        self._given = GivenArguments(self, ())

    @cached_property
    def hook(self) -> LinqHook:
        return LinqHook(self.linq_conn_id)

    @abstractmethod
    def poke(self, context: Context) -> PokeReturnValue:
        """Poll once."""

    @abstractmethod
    def trigger(self, context: Context) -> BaseTrigger:
        """Return what waits after the first poke."""

    def execute(self, context: Context) -> Any:
        with fail_fast():
            self._given.check(self)
        if not self.deferrable:
            return super().execute(context)
        found = self._first_poke(context)
        if found:
            return found.xcom_value
        return self.defer(
            trigger=self.trigger(context), method_name="execute_complete", timeout=timedelta(seconds=self.timeout)
        )

    def _first_poke(self, context: Context) -> PokeReturnValue:
        """Poke, with what ``soft_fail``, ``never_fail`` and ``silent_fail`` make of an exception in Airflow's loop."""
        try:
            return self.poke(context)
        except AirflowSkipException:
            raise
        except Exception as error:
            lasting = isinstance(error, AirflowFailException)
            if self.never_fail or (self.soft_fail and lasting):
                raise AirflowSkipException("Skipping, since the sensor may not fail") from error
            if lasting or not self.silent_fail:
                raise
            self.log.exception("Sensor poke failed")
            return PokeReturnValue(False)


class LinqMessageSensor(_LinqSensor):
    """
    Wait for an inbound message; the earliest one that matches goes to XCom.

    The result is an :class:`~airflow_provider_linq.results.InboundMessage`, of which each key is an XCom of its own
    too (``wait.output["text"]``). A chat is read whole at each poke, because the API promises no order, and for a line
    every chat is read now and then. Where the connection has a retention window, ``poke_interval`` must be shorter: a
    message that came and expired between two pokes is never seen.

    :param chat_id: wait in this chat; excludes ``line`` (templated)
    :param from_handle: only messages of this handle; without ``chat_id``, in any chat with it (templated)
    :param line: only messages to this own line (templated)
    :param since: only messages created at this moment or later, by the API's clock: a datetime or an ISO 8601 string
        (without an offset, in Airflow's default time zone). The best one is the ``created_at`` of the message that is
        to be answered, from the XCom of the task that sent it. By default the start of the DAG run, corrected for the
        difference between this worker's clock and the API's; a cleared DAG run starts again (templated)
    :param text_matches: only messages in whose text this regular expression is found (templated)
    :param predicate: only messages for which this function is true: its dotted path; it gets an ``InboundMessage``,
        and must be importable where the triggerer runs too.
    :param linq_conn_id: connection of type ``linq`` (templated)
    :param deferrable: wait in the triggerer.
    """

    template_fields: Sequence[str] = ("chat_id", "from_handle", "line", "since", "text_matches", "linq_conn_id")

    def __init__(
        self,
        *,
        chat_id: str | None = None,
        from_handle: str | None = None,
        line: str | None = None,
        since: datetime | str | None = None,
        text_matches: str | None = None,
        predicate: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.chat_id = chat_id
        self.from_handle = from_handle
        self.line = line
        self.since = since
        self.text_matches = text_matches
        self.predicate = predicate
        self._given = GivenArguments(self, self.template_fields)

    @cached_property
    def filter(self) -> MessageFilter:
        return MessageFilter(self.chat_id, self.from_handle, self.line, self.text_matches, self.predicate)

    @cached_property
    def _reader(self) -> InboundReader:
        # The trigger that follows a first poke sweeps, so that one need not.
        return InboundReader(LinqAsyncHook(self.linq_conn_id), self.filter, sweep_first=not self.deferrable)

    def poke(self, context: Context) -> PokeReturnValue:
        with fail_fast():
            self._check_interval()
            reader = self._reader
            since = self._since_in_server_time(context)
            polled = run_to_end(lambda: reader.poll(since))
            found = self.filter.earliest(polled.messages, since)
            if found is None and polled.error is not None:
                raise polled.error
        return PokeReturnValue(found is not None, None if found is None else inbound_message(found))

    def trigger(self, context: Context) -> BaseTrigger:
        # A first poke that failed silently may not have learned of the server's time: then it is the worker's.
        since = _start(context) if self.since is None else self.since
        with fail_fast():
            started = datetime_argument(since, "since")
        return LinqMessageTrigger(
            linq_conn_id=self.linq_conn_id,
            since=format_datetime(started),
            chat_id=self.chat_id,
            from_handle=self.from_handle,
            line=self.line,
            text_matches=self.text_matches,
            predicate=self.predicate,
            poll_interval=self.poke_interval,
        )

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> InboundMessage:
        """Return from the triggerer."""
        raise_for_event(event)
        with fail_fast():
            return inbound_message(self.hook.client.messages.get(event["message_id"]))

    def _since_in_server_time(self, context: Context) -> datetime:
        if self.since is None:
            self.since = to_server_time(_start(context), self.hook.client.server_time)
        self.since = datetime_argument(self.since, "since")
        return self.since

    def _check_interval(self) -> None:
        window = self.hook.settings.retention_window
        if window is not None and self.poke_interval >= window.hours * 3600:
            raise InvalidRequestError(
                f"poke_interval: must be shorter than the retention window of {window.hours:g} hours, within which a "
                f"message comes and goes, got {self.poke_interval:g} seconds"
            )


class LinqDeliverySensor(_LinqSensor):
    """
    Wait until a message that was sent has come so far.

    The result is a :class:`~airflow_provider_linq.results.DeliveryResult`, of which each key is an XCom of its own
    too. Messages to groups and by SMS end at sent, since nothing more is ever reported of them. Not everybody sends
    read receipts: wait for "read" with a timeout that suits, and ``soft_fail``.

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
        self.failure_grace = as_timedelta(failure_grace)
        self._given = GivenArguments(self, self.template_fields)

    @cached_property
    def _watch(self) -> DeliveryWatch:
        return DeliveryWatch(self.message_id, self.until, self.failure_grace)

    def poke(self, context: Context) -> PokeReturnValue:
        with fail_fast():
            state, delivery = self._watch.poll(self.hook.client)
        self._raise_if_failed(state.value, delivery)
        return PokeReturnValue(state is DeliveryState.REACHED, delivery)

    def trigger(self, context: Context) -> BaseTrigger:
        return LinqDeliveryTrigger(
            linq_conn_id=self.linq_conn_id,
            message_id=self.message_id,
            until=self.until,
            failure_grace=self.failure_grace.total_seconds(),
            poll_interval=self.poke_interval,
        )

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> DeliveryResult:
        """Return from the triggerer."""
        raise_for_event(event)
        delivery: DeliveryResult = event["delivery"]
        self._raise_if_failed(event["state"], delivery)
        return delivery

    def _raise_if_failed(self, state: str, delivery: DeliveryResult) -> None:
        if state == DeliveryState.FAILED.value:
            raise AirflowFailException(f"Message {delivery['message_id']} could not be delivered")


def _start(context: Context) -> datetime:
    run = context["dag_run"]
    return run.start_date or run.run_after
