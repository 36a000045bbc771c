"""What keeps a task from sending twice: the idempotency key of its message, and the record of what became of it.

The key is the guarantee: the platform sends one message for a key. The record, in Airflow's task state store (3.3 and
later), adds to it that a try knows the key of the one before, and its result, without asking; and it tells a user's
clear from a retry.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias

from linq_client import InvalidRequestError

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.execution_time.context import TaskStateStoreAccessor

#: What clearing a task does: keep the message that it sent, or send another one.
OnClear: TypeAlias = Literal["keep", "resend"]

RECORD: Final = "linq_message"


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
    """A task instance, with the number that only a clear changes.

    `max_tries` is the number of the last try that the scheduler allows. It is set when the instance is made, and again,
    above the tries that there were, when somebody clears the task; retries leave it alone. It comes from the
    database, so it does not move when the DAG's code changes between two tries.
    """

    @property
    def max_tries(self) -> int: ...


def idempotency_key(ti: TaskIdentity, *more: str | int) -> str:
    """Return the key of a message that a task instance sends, the same in every try.

    It is made of nothing that a retry changes: not the number of the try, not `ti.id` (new in every try), and not the
    text (a template may render differently). Hashed, because the four ids can be longer than a key may be.

    :param more: tells apart what one instance sends more than once.
    """
    map_index = -1 if ti.map_index is None else ti.map_index
    identity = json.dumps([ti.dag_id, ti.run_id, ti.task_id, map_index, *more])
    return f"airflow-{hashlib.sha256(identity.encode()).hexdigest()}"


def check_key(key: str | None) -> str | None:
    """Return a key that the user gave, unless it is what a template makes of nothing.

    :raises InvalidRequestError: such a key is the same in all runs, so all messages but the first would be swallowed.
    """
    if key is not None and key.strip() in ("", "None", "null"):
        raise InvalidRequestError(
            f"idempotency_key: must tell this message from others, got {key!r}, which looks like a template that "
            "rendered to nothing"
        )
    return key


@dataclass(frozen=True)
class Record:
    """What an earlier try left: the key of its message, and the result if it learned of one.

    :param max_tries: of the instance at that time; another number now means that the task was cleared since.
    """

    key: str
    max_tries: int
    result: dict[str, Any] | None = None


@dataclass(frozen=True)
class Plan:
    """What a try has to do: send a message with this key, or nothing, if it was sent already with this result.

    :param note: what is worth a line in the log.
    """

    key: str
    result: dict[str, Any] | None = None
    note: str | None = None


def plan_send(ti: TaskInstance, record: Record | None, given: str | None, on_clear: OnClear) -> Plan:
    """Decide which key a try sends with, if it sends at all.

    :param record: what an earlier try left; None if there was none, or where Airflow keeps none.
    :param given: the key that the user gave.
    :raises InvalidRequestError: ``on_clear`` is "resend" and there is a given key, which would not change.
    """
    if on_clear == "resend" and given is not None:
        raise InvalidRequestError(
            "idempotency_key: not with on_clear='resend', since a given key stays the same when the task is cleared"
        )
    if record is None:
        return Plan(given or (idempotency_key(ti, ti.max_tries) if on_clear == "resend" else idempotency_key(ti)))
    if record.max_tries == ti.max_tries:
        note = "idempotency_key renders differently in this try: the key of the first try stays in force"
        return Plan(record.key, record.result, note if given not in (None, record.key) else None)
    if on_clear == "resend":
        note = "The task was cleared, and on_clear is 'resend': sending another message"
        return Plan(idempotency_key(ti, ti.max_tries), note=note)
    if given not in (None, record.key):
        return Plan(str(given), note="The task was cleared, and its idempotency_key is new: sending another message")
    return Plan(record.key, record.result, "The task was cleared, and on_clear is 'keep': not sending another message")


class RecordStore:
    """The records of one task instance; forgets everything where Airflow has no task state store (3.2)."""

    def __init__(self, context: Context) -> None:
        self._store: TaskStateStoreAccessor | None = context.get("task_state_store")

    def __bool__(self) -> bool:
        return self._store is not None

    def load(self, name: str = RECORD) -> Record | None:
        found: Any = self._store.get(name) if self._store is not None else None
        return None if found is None else Record(found["key"], found["max_tries"], found["result"])

    def save(self, record: Record, name: str = RECORD) -> None:
        if self._store is not None:
            # Where there is a store, there is this. It ends with the DAG run.
            from airflow.sdk import NEVER_EXPIRE  # type: ignore[attr-defined]

            self._store.set(name, asdict(record), retention=NEVER_EXPIRE)

    def forget(self, name: str = RECORD) -> None:
        if self._store is not None:
            self._store.delete(name)


def recorded(record: Record, result: Mapping[str, Any]) -> Record:
    """Return the record with what became of its message."""
    return Record(record.key, record.max_tries, dict(result))
