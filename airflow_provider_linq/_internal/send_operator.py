"""The base of the operators that send a message, once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_linq._internal.arguments import check_choice, check_flag, seconds_between_polls
from airflow_provider_linq._internal.destination import Destination
from airflow_provider_linq._internal.durable import MESSAGE
from airflow_provider_linq._internal.fail_fast import OnOptOut, fail_fast, refusal
from airflow_provider_linq._internal.idempotency import IdempotencyRecord, check_key, decide_send
from airflow_provider_linq._internal.keyed_send import KeyedSend
from airflow_provider_linq._internal.not_after import NotAfter, check_not_after, latest_moment
from airflow_provider_linq._internal.once import OnClear, RecordStore, is_mapped
from airflow_provider_linq._internal.operator import LinqOperator
from airflow_provider_linq._internal.uploads import FileRules, check_message, with_key
from airflow_provider_linq._internal.version_compat import AirflowSkipException, conf
from airflow_provider_linq._internal.xcom import refused_result
from airflow_provider_linq.links.linq import TASK_LINKS, show_links
from airflow_provider_linq.results import SendResult
from linq_client import BlockedError, MessageLike, OptedOutError

if TYPE_CHECKING:
    from airflow.sdk import Context


class SendOperator(LinqOperator, ABC):
    """What the operators share that send a message: its key, its record, and what happens to it when it is late."""

    operator_extra_links = TASK_LINKS

    def __init__(
        self,
        *,
        message: MessageLike,
        idempotency_key: str | None = None,
        files_under: str | Sequence[str] | None = None,
        not_after: NotAfter | None = None,
        on_opt_out: OnOptOut = "fail",
        on_clear: OnClear = "keep",
        poll_interval: timedelta | float = 15,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_choice("on_opt_out", on_opt_out, OnOptOut)
        check_choice("on_clear", on_clear, OnClear)
        check_not_after(not_after)
        check_flag("deferrable", deferrable)
        self.message = message
        self.idempotency_key = idempotency_key
        self.files_under = files_under
        self._files = FileRules.of(message, files_under)
        self.not_after = not_after
        self.on_opt_out = on_opt_out
        self.on_clear = on_clear
        self.poll_interval = seconds_between_polls(poll_interval)
        self.deferrable = deferrable

    @property
    def resend_failed_after(self) -> timedelta | None:
        """For how long a failed message may still be delivered before it is sent again; None if it never is."""
        return None

    @abstractmethod
    def destination(self) -> Destination:
        """
        Return where the message goes now.

        :raises InvalidRequestError: an argument is wrong.
        """

    @abstractmethod
    def recipient(self) -> str:
        """Return the fingerprint of whom the message is for."""

    @abstractmethod
    def after_send(self, context: Context, result: SendResult) -> Any:
        """Do what follows when the platform has accepted the message, or refused it with ``on_opt_out="return"``."""

    def execute(self, context: Context) -> Any:
        with fail_fast():
            self.check_given()
            destination = self.destination()
        show_links(self, context)
        store = self.store(context)
        with store.noting_end(lambda: self._is_stopped):
            return self.after_send(context, self._send_once(context, destination, store))

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        with self.store(context).noting_end(lambda: self._is_stopped):
            return super().resume_execution(next_method, next_kwargs, context)

    def store(self, context: Context) -> RecordStore[IdempotencyRecord]:
        """Return where the record of the message is kept."""
        blank = IdempotencyRecord.blank(context["ti"], self.recipient())
        return RecordStore(context, MESSAGE, blank)

    def _send_once(
        self, context: Context, destination: Destination, store: RecordStore[IdempotencyRecord]
    ) -> SendResult:
        ti = context["ti"]
        with fail_fast():
            files = self.file_rules("message", self._files)
            checked = check_message(self.message, files)
            destination.check(checked)
            given = check_key(self.idempotency_key)
            given = given if given is not None else check_key(checked.idempotency_key)
            decision = decide_send(ti, store.record, given, self.on_clear, recipient=destination.recipient)
            key = with_key(checked, decision.record.key).idempotency_key
            if decision.note:
                self.log.warning("%s", decision.note)
            if store.record is not None:
                store.save(decision.record)
            send = KeyedSend(
                hook=self.hook,
                store=store,
                destination=destination,
                message=self.message,
                files=files,
                decision=decision,
                context=context,
                shares_key=is_mapped(ti) and given is None,
                not_after=latest_moment(self.not_after, context),
                resend_failed_after=self.resend_failed_after,
            )
            try:
                return send.run()
            except (OptedOutError, BlockedError) as error:
                return self._refused(error, str(key))

    def _refused(self, error: OptedOutError | BlockedError, key: str) -> SendResult:
        """Make of a recipient who can't be written to what the user has chosen."""
        if self.on_opt_out == "fail":
            raise error
        if self.on_opt_out == "skip":
            raise AirflowSkipException(f"Not sent: {error}") from error
        self.log.warning("Not sent: %s", error)
        chat_id = getattr(self, "chat_id", None)
        return refused_result(refusal(error), chat_id=chat_id, trace_id=error.trace_id, idempotency_key=key)
