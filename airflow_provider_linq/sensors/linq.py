"""Sensors that wait for what recipients do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator, PokeReturnValue
from airflow.sdk.timezone import convert_to_utc, parse

from airflow_provider_linq.failures import failing_at_once
from airflow_provider_linq.hooks.linq import LinqHook
from airflow_provider_linq.results import inbound_message
from linq_client import InvalidRequestError, check_handle
from linq_client.models import Message

if TYPE_CHECKING:
    from airflow.sdk import Context


class LinqMessageSensor(BaseSensorOperator):
    """
    Wait for an inbound message in a chat; the earliest one that fits goes to XCom.

    The result is an :class:`~airflow_provider_linq.results.InboundMessage`, of which each key is an XCom of its own
    too (``wait.output["text"]``). Each poke reads the whole chat, because
    the API promises no order. Where the connection has a retention window, ``poke_interval`` must be shorter: a message
    that came and expired between two pokes is never seen.

    :param chat_id: the chat to watch (templated)
    :param from_handle: only messages of this handle; by default of anyone but the own line (templated)
    :param since: only messages created at this moment or later, by the API's clock: a datetime or an ISO 8601 string
        (without an offset, in Airflow's default time zone). The best one is the ``created_at`` of the message that is
        to be answered, from the XCom of the task that sent it. By default the start of the DAG run, corrected for the
        difference between this worker's clock and the API's; a cleared DAG run starts anew (templated)
    :param linq_conn_id: connection of type ``linq`` (templated)
    """

    template_fields: Sequence[str] = ("chat_id", "from_handle", "since", "linq_conn_id")

    def __init__(
        self,
        *,
        chat_id: str,
        from_handle: str | None = None,
        since: datetime | str | None = None,
        linq_conn_id: str = LinqHook.default_conn_name,
        multiple_outputs: bool = True,  # so that other tasks can take wait.output["text"]
        **kwargs: Any,
    ) -> None:
        super().__init__(multiple_outputs=multiple_outputs, **kwargs)
        self.chat_id = chat_id
        self.from_handle = from_handle
        self.since = since
        self.linq_conn_id = linq_conn_id

    @cached_property
    def hook(self) -> LinqHook:
        return LinqHook(self.linq_conn_id)

    def poke(self, context: Context) -> PokeReturnValue:
        with failing_at_once():
            self._check_interval()
            if self.from_handle is not None:
                check_handle(self.from_handle, "from_handle")
            since = None if self.since is None else moment(self.since)
            messages = list(self.hook.client.messages.list(self.chat_id))
            if since is None:
                run = context["dag_run"]
                since = on_clock(run.start_date or run.run_after, self.hook.client.server_time)
        found = earliest(messages, since=since, from_handle=self.from_handle)
        return PokeReturnValue(found is not None, None if found is None else inbound_message(found))

    def _check_interval(self) -> None:
        window = self.hook.settings.retention_window
        if window is not None and self.poke_interval >= window.hours * 3600:
            raise InvalidRequestError(
                f"poke_interval: must be shorter than the retention window of {window.hours:g} hours, within which a "
                f"message comes and goes, got {self.poke_interval:g} seconds"
            )


def moment(value: datetime | str, field: str = "since") -> datetime:
    """Return an aware UTC datetime; one without an offset is in Airflow's default time zone, as everywhere in Airflow.

    :raises InvalidRequestError: it is no moment.
    """
    try:
        parsed = parse(value, strict=True) if isinstance(value, str) else value
    except ValueError:
        parsed = None
    if not isinstance(parsed, datetime):
        raise InvalidRequestError(f"{field}: must be a datetime or an ISO 8601 string, got {value!r}")
    return convert_to_utc(parsed)


def on_clock(ours: datetime, their_now: datetime) -> datetime:
    """Translate a moment of our clock to that of another, which shows `their_now`.

    Theirs is rounded down to a second and was read a little while ago: the result is never late.
    """
    return ours + (their_now - datetime.now(timezone.utc))


def earliest(messages: Iterable[Message], *, since: datetime, from_handle: str | None) -> Message | None:
    """Return the first inbound message at or after a moment, whatever the order of the list."""

    def fits(message: Message) -> bool:
        if message.is_from_me or message.created_at < since:
            return False
        return from_handle is None or (
            message.from_handle is not None and message.from_handle.handle.casefold() == from_handle.casefold()
        )

    return min(filter(fits, messages), key=lambda message: (message.created_at, message.id), default=None)
