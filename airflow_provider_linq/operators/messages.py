"""Operators that send a message.

Each sends one message, once: all tries of a task carry one idempotency key, and the platform sends one message for a
key. Everything that the API would refuse in a message is refused before a request is made.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_linq._internal.arguments import as_timedelta, check_choice, check_flag
from airflow_provider_linq._internal.delivery import FAILURE_GRACE, DeliveryState, DeliveryWatch, Until
from airflow_provider_linq._internal.destination import Destination, destination_of
from airflow_provider_linq._internal.fail_fast import fail_fast
from airflow_provider_linq._internal.idempotency import recipient_fingerprint
from airflow_provider_linq._internal.send_operator import SendOperator
from airflow_provider_linq._internal.version_compat import AirflowException, AirflowFailException, TaskDeferralTimeout
from airflow_provider_linq.results import SendResult
from airflow_provider_linq.triggers.linq import LinqDeliveryTrigger, raise_for_event
from linq_client import MessageLike
from linq_client.times import format_datetime

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["LinqCreateChatOperator", "LinqSendMessageOperator"]


class _DeliveryOperator(SendOperator):
    """What the operators share that send a message and may wait for its delivery."""

    def __init__(
        self,
        *,
        wait_for_delivery: Until | None = None,
        delivery_timeout: timedelta | float = 3600,
        failure_grace: timedelta | float = FAILURE_GRACE,
        resend_failed: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if wait_for_delivery is not None:
            check_choice("wait_for_delivery", wait_for_delivery, Until)
        self.wait_for_delivery = wait_for_delivery
        self.delivery_timeout = as_timedelta(delivery_timeout, "delivery_timeout")
        self.failure_grace = as_timedelta(failure_grace, "failure_grace")
        check_flag("resend_failed", resend_failed)
        self.resend_failed = resend_failed

    @property
    def resend_failed_after(self) -> timedelta | None:
        return self.failure_grace if self.resend_failed else None

    def after_send(self, context: Context, result: SendResult) -> SendResult:
        if self.wait_for_delivery is None or result["refused"] is not None:
            return result
        return self._await_delivery(self.wait_for_delivery, result)

    def _await_delivery(self, until: Until, result: SendResult) -> SendResult:
        """Wait on the worker, or in a triggerer, until the message has come so far."""
        watch = DeliveryWatch(str(result["message_id"]), until, self.failure_grace)
        deadline = time.monotonic() + self.delivery_timeout.total_seconds()
        while True:
            with fail_fast():
                state, delivery = watch.poll(self.hook.client)
            if state is not DeliveryState.WAITING:
                return self._after(result, state.value, delivery)
            if self.deferrable:
                self.defer(
                    trigger=LinqDeliveryTrigger(
                        linq_conn_id=self.linq_conn_id,
                        message_id=delivery["message_id"],
                        until=until,
                        failure_grace=self.failure_grace.total_seconds(),
                        sent=result,
                        poll_interval=self.poll_interval,
                        deadline=format_datetime(datetime.now(timezone.utc) + self.delivery_timeout),
                    ),
                    method_name="execute_complete",
                    timeout=self.delivery_timeout,
                )
            if time.monotonic() >= deadline:
                raise AirflowException(
                    f"Message {delivery['message_id']} is {delivery['delivery_status']}, and not {until}, after "
                    f"{self.delivery_timeout.total_seconds():g} seconds"
                )
            time.sleep(self.poll_interval)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except TaskDeferralTimeout:
            record = self.store(context).record
            if self.wait_for_delivery is None or record is None or record.result is None:
                raise
            # No trigger ran until its deadline, so nobody has looked at the end.
            watch = DeliveryWatch(record.result["message_id"], self.wait_for_delivery, self.failure_grace)
            with fail_fast():
                state, delivery = watch.poll(self.hook.client)
            if state is DeliveryState.WAITING:
                raise
            return self._after(cast(SendResult, record.result), state.value, delivery)

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> SendResult:
        """Return from the triggerer."""
        raise_for_event(event)
        record = None if event.get("sent") else self.store(context).record
        sent = event.get("sent") or (record.result if record else None)
        if sent is None:
            raise AirflowFailException(f"Message {event['delivery']['message_id']} was sent, but nothing more is known")
        return self._after(cast(SendResult, sent), event["state"], event["delivery"])

    def _after(self, result: SendResult, state: str, delivery: Mapping[str, Any]) -> SendResult:
        if state == DeliveryState.FAILED.value:
            failure = f"Message {delivery['message_id']} could not be delivered"
            if self.resend_failed:
                raise AirflowException(f"{failure}: the next try sends it again")
            # A retry would not send again, and so not help.
            raise AirflowFailException(failure)
        self.log.info("Message %s: %s", delivery["message_id"], delivery["delivery_status"])
        return {**result, "delivery_status": delivery["delivery_status"], "service": delivery["service"]}


class LinqSendMessageOperator(_DeliveryOperator):
    """
    Send a message to a chat, or to handles.

    The result is a :class:`~airflow_provider_linq.results.SendResult`, of which each key is an XCom of its own too
    (``send.output["chat_id"]``): the platform has accepted the message, and delivers it later.

    A task whose message was sent before and is gone since (its key is known, the message deleted or expired, and no
    result is on record) fails without a retry and sends nothing.

    :param message: text, a list of parts, or the JSON form of a message (``{"parts": [...], "effect": ...}``). A
        media part is a public ``url``, an ``attachment_id``, or the ``path`` of a local or object-store file, which is
        uploaded first: ``{"type": "media", "path": "s3://conn_id@bucket/menu.png"}``. A path that is not written as
        it is in the DAG file has to lie in ``files_under`` (templated)
    :param chat_id: the chat to send to; excludes ``to`` and ``from_`` (templated)
    :param to: handle (E.164 number or e-mail address), or a list of them for a group chat (templated)
    :param from_: own line to send to ``to`` from; by default that of the connection, and if it has none, one that the
        platform chooses. From a line, the message may be the first of a new chat, so it must hold no link, URL, reply
        or effect (templated)
    :param idempotency_key: the platform sends one message for a key. By default made of DAG id, run id and task id,
        so that no retry sends again; in a mapped task also of the recipient, so that the list may change before a
        clear. Give one where a mapped task has several messages for one recipient, and where two Airflow
        installations share an account and run DAGs of the same name (templated)
    :param files_under: folder, or list of them, local or of an object store, whose files a template, another task or a
        JSON message may name; by default none.
    :param not_after: when the message must not be sent any more: a datetime or an ISO 8601 string, or a timedelta after
        the run was due. A task that comes later is skipped, unless its message was sent before; Airflow also runs the
        latest slot that a paused DAG has missed, whatever ``catchup`` says (templated)
    :param linq_conn_id: connection of type ``linq`` (templated)
    :param on_opt_out: what to do if the recipient has opted out or is blocked: "fail" (without a retry), "skip", or
        "return" a result whose ``refused`` says why.
    :param on_clear: what a cleared task does whose message was sent: "keep" it and return the earlier result,
        whatever ``idempotency_key`` says then, or "resend" it under another key. A retry never sends again.
    :param wait_for_delivery: finish only when the message is "sent", "delivered" or "read"; messages to groups and by
        SMS end at sent. By default don't wait.
    :param delivery_timeout: how long to wait for that, in seconds or as a timedelta.
    :param failure_grace: for how long a failed delivery is not believed, since it may still succeed.
    :param resend_failed: whether a retry, or a cleared task, sends the message again, with another key, if it finds
        that it has failed, and had ``failure_grace`` to arrive. The platform can report a failed message as delivered
        later still: then the recipient has two.
    :param poll_interval: seconds between two polls of the delivery, or a timedelta.
    :param deferrable: wait in the triggerer.
    """

    template_fields: Sequence[str] = (
        "message",
        "chat_id",
        "to",
        "from_",
        "idempotency_key",
        "not_after",
        "linq_conn_id",
    )

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
        self.note_given()

    def destination(self) -> Destination:
        return destination_of(self.hook, chat_id=self.chat_id, to=self.to, from_=self.from_)

    def recipient(self) -> str:
        return recipient_fingerprint(self.chat_id, self.to)


class LinqCreateChatOperator(_DeliveryOperator):
    """
    Send a first message from a line to handles; their chat with the line is created, or used again if there is one.

    The result is a :class:`~airflow_provider_linq.results.SendResult`, of which each key is an XCom of its own too:
    ``create.output["chat_id"]`` is what later tasks send to and wait in.

    :param to: handle (E.164 number or e-mail address), or a list of them for a group chat (templated)
    :param message: text, a list of parts, or the JSON form of a message, without link, URL, reply and effect; files as
        in :class:`LinqSendMessageOperator` (templated)
    :param from_: own line to send from; by default that of the connection (templated)
    :param idempotency_key: as in :class:`LinqSendMessageOperator`, as are all that follow (templated)
    :param linq_conn_id: connection of type ``linq`` (templated)
    :param on_opt_out: "fail", "skip" or "return".
    :param on_clear: "keep" or "resend".
    :param wait_for_delivery: "sent", "delivered" or "read"; by default don't wait.
    :param delivery_timeout: how long to wait for that, in seconds or as a timedelta.
    :param failure_grace: for how long a failed delivery is not believed.
    :param resend_failed: whether a later try sends a message again that has failed.
    :param poll_interval: seconds between two polls of the delivery, or a timedelta.
    :param deferrable: wait in the triggerer.
    """

    template_fields: Sequence[str] = ("message", "to", "from_", "idempotency_key", "not_after", "linq_conn_id")

    def __init__(
        self, *, to: str | Sequence[str], message: MessageLike, from_: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(message=message, **kwargs)
        self.to = to
        self.from_ = from_
        self.note_given()

    def destination(self) -> Destination:
        return destination_of(self.hook, to=self.to, from_=self.from_, needs_line=True)

    def recipient(self) -> str:
        return recipient_fingerprint(None, self.to)
