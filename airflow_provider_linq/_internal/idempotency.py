"""What keeps a task from sending twice: the idempotency key of its message, and the record of what became of it.

The key is the guarantee: the platform sends one message for a key. The record, in Airflow's task state store (3.3 and
later), adds to it that a try knows the key of the one before, and its result, without asking; and it tells a user's
clear from a retry.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias

from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_linq._internal.arguments import is_nothing
from airflow_provider_linq._internal.durable import StateStore
from linq_client import InvalidRequestError

if TYPE_CHECKING:
    from airflow.sdk import Context

#: What clearing a task does: keep the message that it sent, or send another one.
OnClear: TypeAlias = Literal["keep", "resend"]

RECORD: Final = "linq_message"

#: For how long the platform is trusted to know a key. How long it does is not documented.
KEY_LIFETIME: Final = timedelta(hours=24)


class TaskIdentity(Protocol):
    """What of a task instance stays the same between its tries."""

    @property
    def dag_id(self) -> str: ...
    @property
    def run_id(self) -> str: ...
    @property
    def task_id(self) -> str: ...
    @property
    def map_index(self) -> int | None: ...


class TaskInstance(TaskIdentity, Protocol):
    """A task instance, with the number that every try changes, and the one that only a clear changes.

    `max_tries` is the number of the last try that the scheduler allows. It is set when the instance is made, and again,
    above the tries that there were, when somebody clears the task; retries leave it alone. It comes from the
    database, so it does not move when the DAG's code changes between two tries.
    """

    @property
    def max_tries(self) -> int: ...
    @property
    def try_number(self) -> int: ...


def idempotency_key(ti: TaskIdentity, *more: str | int) -> str:
    """Return the key of a message that a task instance sends, the same in every try.

    It is made of nothing that a retry changes: not the number of the try, not `ti.id` (new in every try), and not the
    text (a template may render differently). Hashed, because the four ids can be longer than a key may be.

    :param more: tells apart what one instance sends more than once.
    """
    map_index = -1 if ti.map_index is None else ti.map_index
    return derive_key(ti.dag_id, ti.run_id, ti.task_id, map_index, *more)


def derive_key(*identity: str | int | None) -> str:
    """Return a key made of what tells one message from all others."""
    return f"airflow-{_hash(identity)}"


def target_of(chat_id: str | None, to: str | Sequence[str] | None, from_: str | None) -> str:
    """Return a hash of whom a message is for, and from which line; the order of the handles does not matter."""
    handles = [to] if to is None or isinstance(to, str) else list(to)
    return _hash([chat_id, sorted(map(str, handles)), from_])


def _hash(identity: object) -> str:
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()


def check_key(key: Any, field: str = "idempotency_key") -> str | None:
    """Return a key that the user gave, unless it is what a template makes of nothing.

    :raises InvalidRequestError: such a key is the same in all runs, so all messages but the first would be swallowed.
    """
    if key is not None and not isinstance(key, str):
        raise InvalidRequestError(f"{field}: must be a string, got {key!r}")
    if key is not None and is_nothing(key):
        raise InvalidRequestError(
            f"{field}: must tell this message from others, got {key!r}, which looks like a template that "
            "rendered to nothing"
        )
    return key


@dataclass(frozen=True)
class Record:
    """What an earlier try left: the key of its message, and the result if it learned of one.

    :param max_tries: of the instance at that time; another number now means that the task was cleared since.
    :param target: hash of whom the message is for.
    :param line: own line that it is sent from; None if the platform chooses one, or it goes to a chat.
    :param began: when the key was first sent, by the worker's clock (RFC 3339).
    :param unsent: nothing can have been sent yet.
    """

    key: str
    max_tries: int
    result: dict[str, Any] | None = None
    target: str | None = None
    line: str | None = None
    began: str | None = None
    unsent: bool = False


@dataclass(frozen=True)
class Plan:
    """What a try has to do: send a message with this key, or nothing, if it was sent already with this result.

    :param note: what is worth a line in the log.
    """

    key: str
    result: dict[str, Any] | None = None
    note: str | None = None


def plan_send(
    ti: TaskInstance, record: Record | None, given: str | None, on_clear: OnClear, *, target: str | None = None
) -> Plan:
    """Decide which key a try sends with, if it sends at all.

    :param record: what an earlier try left; None if there was none, or where Airflow keeps none.
    :param given: the key that the user gave.
    :param target: hash of whom the message is for now.
    :raises InvalidRequestError: ``on_clear`` is "resend" and there is a given key, which would not change.
    :raises AirflowFailException: the earlier try wrote, or may have written, to somebody else.
    """
    if on_clear == "resend" and given is not None:
        raise InvalidRequestError(
            "idempotency_key: not with on_clear='resend', since a given key stays the same when the task is cleared"
        )
    # The items of a mapped task move when their list changes: an index alone does not say whose message it was.
    is_mapped = ti.map_index is not None and ti.map_index >= 0
    more = [target] if is_mapped and target is not None else []
    derived = idempotency_key(ti, *more)
    anew = idempotency_key(ti, *more, ti.max_tries)
    if record is None:
        return Plan(given or (anew if on_clear == "resend" else derived))
    cleared = record.max_tries != ti.max_tries
    if cleared and on_clear == "resend":
        return Plan(anew, note="The task was cleared, and on_clear is 'resend': sending another message")
    if target is not None and record.target not in (None, target):
        raise AirflowFailException(
            "An earlier try of this task was for another recipient or line, and its message was sent or may have been. "
            "Its result is not returned for this one, and nothing is sent. Make another run for it"
        )
    if not cleared:
        note = "idempotency_key renders differently in this try: the key of the first try stays in force"
        return Plan(record.key, record.result, note if given not in (None, record.key) else None)
    if record.result is None and given not in (None, record.key):
        return Plan(str(given), note="The task was cleared, and its idempotency_key is new: sending another message")
    return Plan(record.key, record.result, "The task was cleared, and on_clear is 'keep': not sending another message")


def begin(ti: TaskInstance, earlier: Record | None, plan: Plan, target: str, line: str | None) -> Record:
    """Return the record of a message that is about to be sent.

    A key that was sent before goes where it went then, since it is not documented that the platform knows it elsewhere.

    :raises AirflowFailException: it was first sent so long ago that the platform may have forgotten it.
    """
    now = datetime.now(timezone.utc)
    if earlier is None or earlier.key != plan.key or earlier.began is None:
        return Record(plan.key, ti.max_tries, target=target, line=line, began=now.isoformat())
    if now - datetime.fromisoformat(earlier.began) > KEY_LIFETIME:
        raise AirflowFailException(
            f"The message with idempotency key {plan.key!r} may have been sent in a try of {earlier.began}, and the "
            "platform may have forgotten the key since, so it is not sent again. Look into the chat; to send it anew, "
            "clear the task with on_clear='resend' or with another idempotency_key"
        )
    return replace(earlier, max_tries=ti.max_tries)


class RecordStore:
    """The records of one task instance; forgets everything where Airflow has no task state store (3.2)."""

    def __init__(self, context: Context) -> None:
        self._store = StateStore(context)

    def __bool__(self) -> bool:
        return bool(self._store)

    def load(self, name: str = RECORD) -> Record | None:
        found = self._store.get(name)
        return None if found is None else Record(**found)

    def save(self, record: Record, name: str = RECORD) -> None:
        self._store.set(name, asdict(record))

    def forget(self, name: str = RECORD) -> None:
        self._store.delete(name)


def recorded(record: Record, result: Mapping[str, Any]) -> Record:
    """Return the record with what became of its message."""
    return replace(record, result=dict(result))
