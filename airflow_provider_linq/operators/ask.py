"""The operator that asks somebody a question, and continues by the answer."""

from __future__ import annotations

import re
import time
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from airflow_provider_linq._internal.arguments import positive_timedelta
from airflow_provider_linq._internal.branching import BranchingOperator
from airflow_provider_linq._internal.destination import Destination, destination_of
from airflow_provider_linq._internal.fail_fast import fail_fast
from airflow_provider_linq._internal.idempotency import recipient_fingerprint
from airflow_provider_linq._internal.inbound import InboundReader
from airflow_provider_linq._internal.message_filter import MessageFilter
from airflow_provider_linq._internal.polling import check_interval, run_to_end
from airflow_provider_linq._internal.send_operator import SendOperator
from airflow_provider_linq._internal.text_search import TextSearch
from airflow_provider_linq._internal.version_compat import (
    AirflowException,
    AirflowFailException,
    AirflowSensorTimeout,
    TaskDeferralTimeout,
)
from airflow_provider_linq._internal.xcom import inbound_message
from airflow_provider_linq.hooks.linq import LinqAsyncHook
from airflow_provider_linq.results import AskResult, SendResult
from airflow_provider_linq.triggers.linq import LinqMessageTrigger, message_of_event, raise_for_event
from linq_client import LinqError, MessageLike, models
from linq_client.times import format_datetime, parse_datetime

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["LinqAskOperator"]

TaskIds: TypeAlias = str | Sequence[str]

#: What may stand around the word of an answer, as telephones write it: "Yes!", “no…”, a thumb of any skin colour.
_AROUND: Final = (
    " \t\r\n\x0b\x0c\x85\xa0\u2028\u2029\u202f\u3000"
    "\u200b\u200c\u200d\u200e\u200f\u2060\ufeff\ufe0f"  # not to be seen
    ".!?…,;:'\"()*-"
    "\u2010\u2011\u2013\u2014\u2018\u2019\u201a\u201c\u201d\u201e«»\u2039\u203a¡¿\u3002\uff01\uff1f\uff0c\u3001"
    "\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff"
)

#: Telephones write a curly apostrophe, and DAG files mostly a straight one.
_APOSTROPHE: Final = "['\u2018\u2019\u02bc]"


class LinqAskOperator(SendOperator, BranchingOperator):
    """
    Send a question, wait for one of the expected answers, and continue with the tasks that belong to it.

    All in one task, once: a retry sends the question no second time, and the time to answer counts from when it was
    sent. The first message of the other side that is one of the words decides, whatever its case and the punctuation
    around it; other messages are passed over. The other tasks directly downstream are skipped. A mapped task can't
    branch: ask in a DAG run for each person.

    The result is an :class:`~airflow_provider_linq.results.AskResult`, of which each key is an XCom of its own too.

    :param message: the question: text, parts, or the JSON form of a message, as in ``LinqSendMessageOperator``
        (templated)
    :param answers: word by word, which task, or list of tasks, to continue with: ``{"yes": "confirm", "no":
        "cancel"}``. In a task group, task ids have its prefix.
    :param otherwise: which to continue with if none of the words came in time, or if the recipient can't be written to
        and ``on_opt_out`` is "return"; by default none.
    :param timeout: how long to wait for the answer, in seconds or as a timedelta; a day by default.
    :param to: handle, or list of them for a group chat, where anybody may answer (templated)
    :param chat_id: the chat to ask in; excludes ``to`` and ``from_`` (templated)
    :param from_: own line to ask from; by default that of the connection, or the platform's choice (templated)
    :param idempotency_key: as in ``LinqSendMessageOperator``, as are all that follow (templated)
    :param files_under: folders whose files data may name.
    :param not_after: when it must not be asked any more; the task is skipped then (templated)
    :param on_opt_out: "fail", "skip" or "return".
    :param on_clear: "keep", and wait for the answer to the earlier question, or "resend".
    :param poll_interval: seconds between two polls, or a timedelta; 15 by default. It must be shorter than the
        retention window of the connection, if that has one.
    :param deferrable: wait in the triggerer.
    :param linq_conn_id: connection of type ``linq`` (templated)
    """

    template_fields: Sequence[str] = (
        "message",
        "to",
        "chat_id",
        "from_",
        "idempotency_key",
        "not_after",
        "linq_conn_id",
    )

    def __init__(
        self,
        *,
        message: MessageLike,
        answers: Mapping[str, TaskIds],
        otherwise: TaskIds | None = None,
        timeout: timedelta | float = timedelta(days=1),
        to: str | Sequence[str] | None = None,
        chat_id: str | None = None,
        from_: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(message=message, **kwargs)
        if not isinstance(answers, Mapping) or not all(isinstance(word, str) for word in answers):
            raise ValueError(f"answers must be a dictionary of words and the tasks that each leads to, got {answers!r}")
        TextSearch(_pattern(*answers))  # before anything is sent: it can be too long to be searched
        if not _differ(answers):
            raise ValueError(f"answers must have words that differ by more than case, got {list(answers)}")
        self.answers = dict(answers)
        self.otherwise = otherwise
        self.timeout = positive_timedelta(timeout, "timeout")
        self.to = to
        self.chat_id = chat_id
        self.from_ = from_
        self.check_branching()
        self.note_given()

    def execute(self, context: Context) -> Any:
        self.check_can_branch(context, self.otherwise, *self.answers.values())
        with fail_fast():
            self.check_given()
            check_interval(self.poll_interval, "poll_interval", self.hook.settings.retention_window)
        return super().execute(context)

    def destination(self) -> Destination:
        return destination_of(self.hook, chat_id=self.chat_id, to=self.to, from_=self.from_)

    def recipient(self) -> str:
        return recipient_fingerprint(self.chat_id, self.to)

    def after_send(self, context: Context, result: SendResult) -> AskResult:
        if result["refused"] is not None:
            return self._continue(context, result, None)
        asked_at = parse_datetime(cast(str, result["created_at"]))
        now, window = self.hook.client.server_time, self.hook.settings.retention_window
        left = (asked_at + self.timeout - now).total_seconds()
        if window is not None and asked_at < window.oldest_kept(now):
            self.log.warning(
                "Answers from before %s have expired: one that no earlier try has seen counts as none",
                format_datetime(window.oldest_kept(now)),
            )
        self.log.info("Waiting in chat %s for one of %s, for %.0f s", result["chat_id"], list(self.answers), left)
        if not self.deferrable:
            return self._continue(context, result, self._poll_until(time.monotonic() + left, result))
        return self.defer(
            trigger=LinqMessageTrigger(
                linq_conn_id=self.linq_conn_id,
                since=format_datetime(asked_at),
                chat_id=result["chat_id"],
                text_matches=_pattern(*self.answers),
                poll_interval=self.poll_interval,
                deadline=format_datetime(datetime.now(timezone.utc) + timedelta(seconds=left)),
            ),
            method_name="execute_complete",
            kwargs={"sent": result},
            # The trigger's own deadline comes first, and its last poll may take some time.
            timeout=timedelta(seconds=max(left, 0) + 120),
        )

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except TaskDeferralTimeout:
            # No trigger ran until its deadline, so nobody has looked at the end.
            sent = self._sent(context, (next_kwargs or {}).get("sent"))
            return self._continue(context, sent, self._poll_until(time.monotonic(), sent))

    def execute_complete(
        self, context: Context, event: Mapping[str, Any], sent: Mapping[str, Any] | None = None
    ) -> AskResult:
        """Return from the triggerer."""
        result = self._sent(context, sent)
        try:
            raise_for_event(event)
        except AirflowSensorTimeout:
            return self._continue(context, result, None)
        answer = message_of_event(self.hook, event)
        if self._answer_in(answer) is None:  # it was edited since
            return self.after_send(context, result)
        return self._continue(context, result, answer)

    def _sent(self, context: Context, sent: Mapping[str, Any] | None) -> SendResult:
        """Return the result of the send: `dag.test()` loses what a deferral hands over, Airflow 3.2 has no store."""
        record = None if sent is not None else self.store(context).record
        found = sent if record is None else record.result
        if found is None:
            raise AirflowFailException("The question was sent, but nothing more is known of it")
        return cast(SendResult, found)

    def _poll_until(self, deadline: float, result: SendResult) -> models.Message | None:
        """Wait on the worker; poll once at least."""
        since = parse_datetime(cast(str, result["created_at"]))
        filter_ = MessageFilter(chat_id=result["chat_id"], text_matches=_pattern(*self.answers))
        reader = InboundReader(LinqAsyncHook(self.linq_conn_id), filter_, poll_interval=self.poll_interval)
        while True:
            with fail_fast():
                error: Exception | None = None
                try:
                    polled = run_to_end(lambda: reader.poll(since))
                    found, error = filter_.earliest(polled.messages, since), polled.error
                except LinqError as failed:
                    if failed.permanent:
                        raise
                    found, error = None, failed
            if found is not None:
                return found
            if time.monotonic() >= deadline:
                if error is not None:  # whoever could not look at the end does not know that nothing came
                    raise AirflowException(f"Waiting for the answer has failed: {error}") from error
                return None
            time.sleep(min(self.poll_interval, max(deadline - time.monotonic(), 0)))

    def _continue(self, context: Context, sent: SendResult, message: models.Message | None) -> AskResult:
        answer, task_ids = None, self.otherwise
        if message is not None:
            answer = self._answer_in(message)
            assert answer is not None
            task_ids = self.answers[answer]
            self.log.info("Answered %r in message %s", answer, message.id)
        else:
            self.log.info("Not answered%s", "" if sent["refused"] is None else f": {sent['refused']}")
        result = AskResult(
            chat_id=sent["chat_id"],
            message_id=sent["message_id"],
            created_at=sent["created_at"],
            idempotency_key=sent["idempotency_key"],
            refused=sent["refused"],
            answer=answer,
            answer_message_id=message.id if message is not None else None,
            answered_at=format_datetime(message.created_at) if message is not None else None,
        )
        self.branch(context, result, task_ids)
        return result

    def _answer_in(self, message: models.Message) -> str | None:
        """Return which of the answers a message is."""
        text = inbound_message(message)["text"] or ""
        return next((word for word in self.answers if TextSearch(_pattern(word)).finds(text, message.id)), None)


def _pattern(*words: str) -> str:
    """Return a regular expression for texts that are one of the words, whatever stands around."""
    around = f"[{re.escape(_AROUND)}]*"
    return f"(?if)^{around}(?:{'|'.join(map(_word_pattern, words))}){around}$"


def _word_pattern(word: str) -> str:
    """Return a regular expression for a word or several, in both forms that Unicode has for an accent."""
    forms = {unicodedata.normalize(form, word.strip(_AROUND)) for form in ("NFC", "NFD")}
    return "|".join(
        r"\s+".join(re.sub(_APOSTROPHE, lambda _: _APOSTROPHE, re.escape(part)) for part in form.split())
        for form in sorted(forms)
    )


def _differ(answers: Iterable[str]) -> bool:
    """Whether there are words, and each text can be one of them only."""
    words = list(answers)
    return bool(words) and all(
        word.strip(_AROUND) and [other for other in words if TextSearch(_pattern(other)).finds(word, "")] == [word]
        for word in words
    )
