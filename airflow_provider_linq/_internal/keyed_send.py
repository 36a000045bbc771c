"""One message with an idempotency key, sent once by all tries of a task together.

Where the key may have been sent before, and the platform may not know it any more, the chat is read first. And what may
have been sent is never reported as refused without a look: a person can answer STOP to a message whose response got
lost, and then the repeated request is refused.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property, partial
from typing import TYPE_CHECKING, Final, cast

from airflow_provider_linq._internal.delivery import DeliveryState, DeliveryWatch
from airflow_provider_linq._internal.destination import Accepted, Destination
from airflow_provider_linq._internal.idempotency import Decision, IdempotencyRecord, content_digest, must_look
from airflow_provider_linq._internal.in_doubt import (
    ChatLookup,
    Found,
    Handles,
    Resolution,
    content_of,
    may_be_same_handle,
)
from airflow_provider_linq._internal.key_lifetimes import CLOCK_SKEW, LATE_ACCEPTANCE, LIST_LAG
from airflow_provider_linq._internal.not_after import why_late
from airflow_provider_linq._internal.once import RecordStore, Status, once
from airflow_provider_linq._internal.run_start import earliest_request
from airflow_provider_linq._internal.uploads import FileRules, check_message, upload, with_key, with_uploads
from airflow_provider_linq._internal.version_compat import AirflowException, AirflowFailException, AirflowSkipException
from airflow_provider_linq.hooks.linq import LinqHook
from airflow_provider_linq.results import SendResult
from linq_client import (
    Effect,
    LinqClient,
    LinqError,
    Message,
    MessageLike,
    MessageNotFoundError,
    NotFoundError,
    models,
    normal_handle,
)
from linq_client.times import ServerClock, format_datetime, parse_datetime

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

#: A call of the client makes its last request within two minutes. It can wait for two more, which matters only where
#: the call itself looks, and there `CLOCK_SKEW` looks further back.
_LONGEST_CALL: Final = timedelta(minutes=3)

_TO_RESEND: Final = "to send it again, clear the task with on_clear='resend' or with another idempotency_key"


@dataclass
class KeyedSend:
    """
    The message of a task.

    :param destination: where it goes; of a message in doubt, the line of the first request is taken.
    :param message: as the user gave it, with the files that are to be uploaded.
    :param files: which files it may name.
    :param decision: of ``decide_send``.
    :param context: of the task.
    :param not_after: when it must not be sent any more (UTC).
    :param shares_key: whether the key is made of the recipient, so that other instances of the task may use it.
    :param resend_failed_after: for how long a failed message may still be delivered, after which it is sent again with
        another key; None if it never is.
    """

    hook: LinqHook
    store: RecordStore[IdempotencyRecord]
    destination: Destination
    message: MessageLike
    files: FileRules
    decision: Decision
    context: Context
    shares_key: bool
    not_after: datetime | None = None
    resend_failed_after: timedelta | None = None
    #: What is on record if a message that was to take the place of a failed one certainly was not sent.
    _failed: IdempotencyRecord | None = field(default=None, init=False)

    def run(self) -> SendResult:
        """
        Send the message, unless it was sent, and return its result; a message that has failed may be sent again.

        :raises AirflowSkipException: it was not sent, and it is too late for it now.
        :raises AirflowFailException: it can't be known whether it was sent, or the key is that of another message.
        :raises AirflowException: it may have been sent, and the next try can know.
        :raises LinqError: it was not sent, or the platform failed.
        """
        if self.resend_failed_after is None:
            return self._send_or_find()
        began = self._now()
        result = self._send_or_find()
        # More than once where nothing is on record: the first key leads from each failed message to the next one.
        while self._is_earlier(result, began) and self._is_lost(str(result["message_id"]), self.resend_failed_after):
            log.warning("Message %s has failed: it is sent again, with another key", result["message_id"])
            record = replace(self.decision.record, key=str(result["idempotency_key"]))
            self._failed = record.completed(result)
            # Where there is no record, an earlier try may have come here, too.
            self.decision = Decision(self._failed.renewed(str(result["message_id"])), is_unrecorded=not self.store)
            result = self._send_or_find()
        return result

    def _is_earlier(self, result: SendResult, began: datetime) -> bool:
        """Whether a message is certainly not of this try, which makes one at most, however soon that one fails."""
        is_on_record = self.decision.record.status is Status.COMPLETED
        return is_on_record or parse_datetime(str(result["created_at"])) < began - CLOCK_SKEW

    def _is_lost(self, message_id: str, grace: timedelta) -> bool:
        """Whether a message has failed for good, as far as anybody can know."""
        try:
            state, delivery = DeliveryWatch(message_id, "sent", grace).poll(self._client)
        except NotFoundError:
            log.warning("Message %s is gone, and nobody knows whether it has failed: it is not sent again", message_id)
            return False
        if delivery["delivery_status"] == "failed" and state is DeliveryState.WAITING:
            raise AirflowException(
                f"Message {message_id} has failed less than {grace} ago, and may still be delivered: a later try sends "
                "it again"
            )
        return state is DeliveryState.FAILED

    def _send_or_find(self) -> SendResult:
        record = self.decision.record
        if record.status is Status.COMPLETED and record.result is not None:
            log.info("Message %s was sent in an earlier try", record.result["message_id"])
            return cast(SendResult, record.result)
        if self.decision.is_unrecorded:
            start = earliest_request(self.context, self._now())
            record = replace(record, status=Status.IN_PROGRESS, line=self.destination.line)
            record = replace(record, started_at=format_datetime(start))
        in_doubt = record.status is Status.IN_PROGRESS
        late = why_late(self.not_after, self._now()) if self.not_after is not None else None
        if in_doubt:
            self.destination = replace(self.destination, line=record.line)
            found = self._found_before(record) if late is None else self._found_late(record, late)
            found = found or self._delivered_since(record)
            if found is not None:
                return self._complete(record, found)
        if late is not None:
            self.store.save(self._failed or record.not_sent())
            raise AirflowSkipException(f"{late}. Nothing was sent")
        return self._send(record, in_doubt=in_doubt)

    def _send(self, record: IdempotencyRecord, *, in_doubt: bool) -> SendResult:
        message = with_key(with_uploads(self.message, partial(upload, client=self._client)), record.key)
        # Where nothing is kept, the time need not be known.
        attempt = record.in_progress(self._now(), self.destination.line, self._digest) if self.store else record
        try:
            with once(self.store, attempt, otherwise=self._failed or record):
                accepted = self.destination.send(self._client, message)
        except LinqError as error:
            found = self._after(error, record, attempt, in_doubt=in_doubt)
            return self._complete(attempt, found)
        self._check(accepted, attempt, otherwise=self._failed or record)
        return self._complete(attempt, accepted)

    def _complete(self, record: IdempotencyRecord, accepted: Accepted) -> SendResult:
        result = accepted.result()
        self.store.save(record.completed(result))
        log.info(
            "Message %s in chat %s: %s (trace %s)",
            result["message_id"],
            result["chat_id"],
            result["delivery_status"],
            result["trace_id"],
        )
        return result

    def _found_before(self, record: IdempotencyRecord) -> Accepted | None:
        """Look for a message that may have been sent before, where the key alone does not prevent a second one."""
        assert record.started_at is not None
        if not must_look(record.started_at, line_is_known=self._line_is_known, now=self._now()):
            return None
        resolution = self._look(record)
        if isinstance(resolution, Found):
            return Accepted(resolution.chat_id, resolution.message, record.key)
        may = f"The message with idempotency key {record.key!r} may have been sent since {record.started_at}"
        if resolution is Resolution.UNCLEAR:
            if self.store:
                raise AirflowFailException(
                    f"{may}, and the chat does not tell, so it is not sent again. Look into the chat; {_TO_RESEND}"
                )
            log.warning("%s, and the chat does not tell: sending it with the same key", may)
        elif not self._line_is_known and not self._is_over(record, LIST_LAG):
            raise AirflowException(f"{may}, and may not be listed yet: the next try looks for it")
        return None

    def _delivered_since(self, record: IdempotencyRecord) -> Accepted | None:
        """Look at the failed message whose place this one takes: one that was delivered since needs no other."""
        if record.replaces is None or self.resend_failed_after is None:
            return None
        if self._is_lost(record.replaces, self.resend_failed_after):
            return None
        resolution = self._look(record)
        if isinstance(resolution, Found):
            return Accepted(resolution.chat_id, resolution.message, record.key)
        try:
            kept = self._client.messages.get(record.replaces)
        except NotFoundError:
            raise AirflowFailException(
                f"Message {record.replaces} had failed and is gone, so nobody knows whether it was delivered after "
                f"all: nothing takes its place. Look into the chat; {_TO_RESEND}"
            ) from None
        log.warning("Message %s was delivered after all: nothing takes its place", record.replaces)
        return Accepted(str(kept.chat_id), kept, record.first_key or record.key)

    def _found_late(self, record: IdempotencyRecord, late: str) -> Accepted | None:
        """Look for a message that may have been sent before; None if it certainly was not."""
        resolution = self._look(record)
        if isinstance(resolution, Found):
            return Accepted(resolution.chat_id, resolution.message, record.key)
        if resolution is Resolution.ABSENT and self._is_over(record, LATE_ACCEPTANCE):
            return None
        raise AirflowException(
            f"{late}, so the message with idempotency key {record.key!r} is not sent again. It may have been sent "
            "before, and the chat does not tell yet: the next try looks again"
        )

    def _after(
        self, error: LinqError, record: IdempotencyRecord, attempt: IdempotencyRecord, *, in_doubt: bool
    ) -> Accepted:
        """Return the message if it was sent in spite of the error; else raise the error, or why it settles nothing."""
        if error.effect is Effect.DONE_BEFORE:
            # Not an error of the send but its success, in an earlier try or before the task was cleared. There is no
            # result to return any more, and only the user can say whether the message should go out a second time.
            raise AirflowFailException(
                f"The message with idempotency key {record.key!r} was sent before and is gone since (deleted, or past "
                "the retention window), so it was not sent again and won't be in any retry. "
                "Give another idempotency_key to send it again."
            ) from error
        is_of_this_call = error.effect is Effect.UNKNOWN and not isinstance(error, MessageNotFoundError)
        if not error.permanent or not (in_doubt or is_of_this_call):
            raise error
        may = f"{error}. But the message may have been sent before that"
        try:
            resolution = self._look(attempt)
        except LinqError as unread:
            kind = AirflowFailException if unread.permanent else AirflowException
            raise kind(f"{may}, and the chat can't be read: {unread}") from unread
        if isinstance(resolution, Found):
            log.warning("%s, and was", may)
            return Accepted(resolution.chat_id, resolution.message, record.key)
        if resolution is Resolution.ABSENT and not is_of_this_call and self._is_over(record, LATE_ACCEPTANCE):
            self.store.save(self._failed or record.not_sent())
            raise error
        raise AirflowException(f"{may}, and the chat does not tell yet: the next try looks again") from None

    def _check(self, accepted: Accepted, attempt: IdempotencyRecord, *, otherwise: IdempotencyRecord) -> None:
        """Refuse a response that is about another message than this one."""
        if not self.destination.is_of(accepted):
            self.store.save(otherwise)
            raise AirflowFailException(
                f"idempotency_key: {attempt.key!r} stands for a message to somebody else, which the platform has "
                "returned. Nothing was sent. Give a key that names the recipient"
            )
        digest = content_digest(accepted.message.parts)
        # The card of an experience is made by the platform: nothing tells which one it was.
        is_comparable = bool(accepted.message.parts and self._checked.parts)
        if is_comparable and digest not in (self._digest, attempt.content):
            # Without a store, a retry can't know that the text has changed since its own first try.
            if self.shares_key and (self.store or not self.decision.is_unrecorded):
                self.store.save(otherwise)
                raise AirflowFailException(
                    "idempotency_key: must be given, since this task has another message for the same recipient, and "
                    "that one was sent. Nothing was sent now. Give a key that tells the messages apart"
                )
            log.warning("The platform has returned an earlier message of this key, which has other content")
        elif attempt.started_at is not None and accepted.message.created_at < parse_datetime(attempt.started_at):
            log.info("The message was sent before: nothing was sent now")
        if accepted.message.delivery_status == "failed" and self.resend_failed_after is None:
            log.warning("The message of this key has failed, and is not sent again: that takes another key")

    def _look(self, record: IdempotencyRecord) -> Found | Resolution:
        now = self._now()
        since = now - _LONGEST_CALL if record.started_at is None else parse_datetime(record.started_at)
        log.info("Looking for a message that may have been sent since %s", format_datetime(since))
        grace = self.resend_failed_after

        def is_lost(message: models.Message) -> bool:
            return grace is not None and message.delivery_status == "failed" and now - message.updated_at >= grace

        lookup = ChatLookup(
            self._client,
            lambda: self._own_lines,
            self.hook.settings.retention_window,
            self._now,
            passes_over=is_lost,
        )
        content = content_of(self._checked.parts)
        chat_id, line = self.destination.chat_id, self.destination.line
        if chat_id is not None:
            return lookup.resolve_chat(chat_id, content, since=since)
        to = tuple(sorted({normal_handle(handle) for handle in self.destination.to}))

        def is_other(others: Handles) -> bool:
            return not any(may_be_same_handle(one, other) for one in to for other in others)

        return lookup.resolve(to, content, line=line, since=since, is_known=is_other)

    def _is_over(self, record: IdempotencyRecord, span: timedelta) -> bool:
        """Whether the latest request is so old that a message which is not there was not sent.

        Without a record nobody knows of a request, and what is not there is believed.
        """
        if record.requested_at is None:
            return True
        return self._now() - parse_datetime(record.requested_at) >= span + _LONGEST_CALL

    @property
    def _line_is_known(self) -> bool:
        return self.destination.chat_id is not None or self.destination.line is not None

    @property
    def _client(self) -> LinqClient:
        return self.hook.client

    @cached_property
    def _own_lines(self) -> set[str]:
        return {line.phone_number for line in self._client.phone_numbers.list()}

    @cached_property
    def _checked(self) -> Message:
        return check_message(self.message, self.files)

    @cached_property
    def _digest(self) -> str:
        return content_digest(self._checked.parts)

    @cached_property
    def _clock(self) -> ServerClock:
        return ServerClock(self._client.server_time)

    def _now(self) -> datetime:
        """Return the API's time."""
        self._clock.note(self._client.server_time)
        return self._clock.now()
