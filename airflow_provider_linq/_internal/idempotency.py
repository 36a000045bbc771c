"""Which idempotency key a message is sent with, if a try sends it at all.

The key is the guarantee: the platform sends one message for a key. The record, in Airflow's task state store (3.3 and
later), adds that a try knows the key of the one before, and its result, without asking.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from airflow_provider_linq._internal.arguments import is_nothing
from airflow_provider_linq._internal.in_doubt import content_of
from airflow_provider_linq._internal.key_lifetimes import KEY_TRUST
from airflow_provider_linq._internal.once import OnClear, RequestRecord, Status, TaskInstance, is_mapped
from airflow_provider_linq._internal.version_compat import AirflowFailException
from linq_client import InvalidRequestError
from linq_client.times import format_datetime, parse_datetime

#: What a template makes of a value that is not there within a text: "order-None".
_HAS_NONE: Final = re.compile(r"(?<![^\W_])None(?![^\W_])")


def derive_key(*identity: str | int | None) -> str:
    """Return a key made of what tells one message from all others. Hashed: Airflow's ids can be longer than a key."""
    return f"airflow-{_digest(identity)}"


def successor_key(key: str, failed: str) -> str:
    """Return the key of the message that takes the place of one that has failed, made of its key and its id."""
    return derive_key(key, failed)


def instance_key(ti: TaskInstance, *more: str | int) -> str:
    """
    Return a key of one task instance, the same in every try.

    :param more: tells apart what the instance does more than once.
    """
    return derive_key(ti.dag_id, ti.run_id, ti.task_id, -1 if ti.map_index is None else ti.map_index, *more)


def unmapped_key(ti: TaskInstance) -> str:
    """Return the key that the instance would have if its task was not mapped: one for all instances of the task."""
    return derive_key(ti.dag_id, ti.run_id, ti.task_id, -1)


def instance_hash(ti: TaskInstance, map_index: int | None) -> str:
    """Return what this or another instance of a task is called in files, the same in every try."""
    return derive_key(ti.dag_id, ti.run_id, ti.task_id, -1 if map_index is None else map_index)[-16:]


def task_key(ti: TaskInstance, recipient: str, *more: str | int) -> str:
    """
    Return the key of the message that a task instance sends, the same in every try.

    It is made of nothing that a retry changes: not the number of the try, not `ti.id` (new in every try), and not the
    text (a template may render differently). Of a mapped task, it has the recipient in the place of the index: when the
    list of a cleared task shrinks, grows or comes in another order, everybody keeps the key that they had.

    :param recipient: see :func:`recipient_fingerprint`.
    :param more: tells apart what one instance sends more than once.
    """
    if is_mapped(ti):
        return derive_key(ti.dag_id, ti.run_id, ti.task_id, recipient, *more)
    return instance_key(ti, *more)


def recipient_fingerprint(chat_id: str | None, to: str | Sequence[str] | None) -> str:
    """
    Return a hash of whom a message is for.

    The order of the handles does not matter. Neither does the line: the person is the same, and which line writes may
    depend on the order of a list.
    """
    handles = [to] if to is None or isinstance(to, str) else list(to)
    return _digest([chat_id, sorted(str(handle).casefold() for handle in handles)])


def content_digest(parts: Iterable[object]) -> str:
    """Return what tells the content of two messages apart, and nothing of the text; white space does not count."""
    content = [(kind, " ".join(str(value).split())) for kind, value in content_of(parts)]
    return _digest(content)[:8]


def _digest(identity: object) -> str:
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()


def check_key(key: Any, field: str = "idempotency_key") -> str | None:
    """
    Return a key that the user gave, unless it is what a template makes of nothing.

    :raises InvalidRequestError: such a key is the same in all runs, so all messages but the first would be swallowed.
    """
    if key is not None and not isinstance(key, str):
        raise InvalidRequestError(f"{field}: must be a string, got {key!r}")
    if key is not None and (is_nothing(key) or _HAS_NONE.search(key)):
        raise InvalidRequestError(
            f"{field}: must tell this message from others, got {key!r}, which looks like a template that "
            "rendered to nothing"
        )
    return key


@dataclass(frozen=True, kw_only=True)
class IdempotencyRecord(RequestRecord):
    """
    What a try leaves of a message that it sends.

    All times are by the API's clock (RFC 3339).

    :param line: own line that it is sent from; None if the platform chooses one, or it goes to a chat.
    :param started_at: when the key was first sent, or may have been.
    :param requested_at: when the latest request was made that may have been accepted; None if that is not known.
    :param content: digest of the first request's content, see :func:`content_digest`.
    :param first_key: the key before the first of its messages failed and was sent again; None if none was.
    :param replaces: id of the failed message whose place this one takes; None if it takes none.
    """

    key: str
    line: str | None = None
    started_at: str | None = None
    requested_at: str | None = None
    content: str | None = None
    first_key: str | None = None
    replaces: str | None = None

    @classmethod
    def blank(cls, ti: TaskInstance, recipient: str, key: str | None = None) -> IdempotencyRecord:
        """Return the record of a message that was not sent yet, with the key that it has by default."""
        key = key or task_key(ti, recipient)
        return cls(status=Status.NOT_SENT, key=key, recipient=recipient, max_tries=ti.max_tries)

    def not_sent(self) -> IdempotencyRecord:
        """Return the record of a message that certainly was not sent."""
        return replace(self, status=Status.NOT_SENT, line=None, started_at=None, requested_at=None, content=None)

    def renewed(self, failed: str) -> IdempotencyRecord:
        """
        Return the record of the message that is sent in the place of one that has failed.

        Its key is made of the key and the id of that one. So a try that knows nothing of it, and asks with the first
        key, is led to the same key again: the platform returns the failed message.

        :param failed: id of the failed message.
        """
        first_key = self.first_key or self.key
        key = successor_key(self.key, failed)
        return replace(self.not_sent(), key=key, first_key=first_key, replaces=failed, result=None, ended=False)

    def in_progress(self, now: datetime, line: str | None, content: str) -> IdempotencyRecord:
        """
        Return the record of a request that is about to be made.

        A key goes where it first went, since it is not documented that the platform knows it elsewhere.
        """
        time = format_datetime(now)
        if self.status is Status.IN_PROGRESS:
            return replace(self, requested_at=time, content=self.content or content)
        return replace(self, status=Status.IN_PROGRESS, line=line, started_at=time, requested_at=time, content=content)


@dataclass(frozen=True)
class Decision:
    """
    What a try has to do, by the status of the record that it continues.

    NOT_SENT: send the message. IN_PROGRESS: send it with the same key, since it may have been sent. COMPLETED: nothing
    but return the result.

    :param is_unrecorded: tries of which nothing is on record may have sent it.
    :param note: what is worth a line in the log.
    """

    record: IdempotencyRecord
    is_unrecorded: bool = False
    note: str | None = None


def decide_send(
    ti: TaskInstance,
    record: IdempotencyRecord | None,
    given: str | None,
    on_clear: OnClear,
    *,
    recipient: str,
) -> Decision:
    """
    Decide which key a try sends with, if it sends at all.

    :param record: what an earlier try left; None if there was none, or where Airflow keeps none.
    :param given: the key that the user gave.
    :param recipient: whom the message is for now, see :func:`recipient_fingerprint`.
    :raises InvalidRequestError: ``on_clear`` is "resend" and there is a given key, which would not change.
    :raises AirflowFailException: an earlier try wrote, or may have written, to somebody else.
    """
    if on_clear == "resend" and given is not None:
        raise InvalidRequestError(
            "idempotency_key: not with on_clear='resend', since a given key stays the same when the task is cleared"
        )
    own_key = task_key(ti, recipient, ti.max_tries) if on_clear == "resend" else None
    fresh = IdempotencyRecord.blank(ti, recipient, own_key or given)
    if record is None:
        # Another message is wanted of a cleared task with "resend", whatever is in the chat already. And a first try
        # doesn't look: an earlier message of the run, with the same text, would be taken for this one.
        return Decision(fresh, is_unrecorded=ti.try_number > 1 and on_clear == "keep")
    is_cleared = record.is_cleared(ti.max_tries)
    if is_cleared and on_clear == "resend":
        return Decision(fresh, note="The task was cleared, and on_clear is 'resend': sending another message")
    if record.status is Status.NOT_SENT:
        return Decision(fresh)
    if record.recipient != recipient:
        raise AirflowFailException(
            "An earlier try of this task was for another recipient, and its message was sent or may have been. "
            "Its result is not returned for this one, and nothing is sent. Make another run for it"
        )
    has_other_key = given not in (None, record.first_key or record.key)
    if is_cleared and has_other_key and record.status is Status.IN_PROGRESS:
        return Decision(fresh, note="The task was cleared, and its idempotency_key is new: sending another message")
    note = None
    if is_cleared:
        note = "The task was cleared, and on_clear is 'keep': not sending another message"
    elif has_other_key:
        note = "idempotency_key renders differently in this try: the key of the first try stays in force"
    return Decision(replace(record, max_tries=ti.max_tries, ended=False), note=note)


def must_look(started_at: str, *, line_is_known: bool, now: datetime) -> bool:
    """
    Whether the key alone does not keep a message from being sent a second time.

    :param started_at: when it may have been sent first, by the API's clock, as is `now`.
    :param line_is_known: whether another request goes to the line that it went to; how far a key reaches is not
        documented.
    """
    return not line_is_known or now - parse_datetime(started_at) > KEY_TRUST
