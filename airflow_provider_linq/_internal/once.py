"""A request that must not be made twice: what is durable before it, after it, and when the task ends.

The record of a request says at each moment what a next try can know. It is written before the request, so that a killed
worker leaves word that there may have been one, and again as soon as the outcome is known:

    NOT_SENT ── before the request ──▶ IN_PROGRESS ── accepted ──▶ COMPLETED
        ▲                                   │
        └──────── certainly no effect ──────┘

It also tells a clear from a retry. When a user clears a task, Airflow raises its `max_tries`. It also does that for a
task that was cleared while it ran, and that is like a retry: the try was killed. So each try notes when it has ended by
itself, and only what had ended counts as cleared.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeAlias, TypeVar

from typing_extensions import Self

from airflow_provider_linq._internal.durable import FormatError, StateStore, read, write
from linq_client import Effect, LinqError

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

#: What clearing a task does: keep the message that it sent, or send another one.
OnClear: TypeAlias = Literal["keep", "resend"]


class Status(str, Enum):
    """What is known of a request."""

    #: Certainly nothing has come of it.
    NOT_SENT = "not_sent"
    #: It may have been made.
    IN_PROGRESS = "in_progress"
    #: The API has accepted it.
    COMPLETED = "completed"


@dataclass(frozen=True, kw_only=True)
class RequestRecord:
    """
    What a try leaves to the next one.

    :param status: a :class:`Status`.
    :param recipient: fingerprint of whom the request is for.
    :param max_tries: of the task instance at that time.
    :param result: of a completed request, as it goes to XCom.
    :param ended: whether the try has ended by itself, and was not stopped.
    """

    status: Status
    recipient: str
    max_tries: int
    result: dict[str, Any] | None = None
    ended: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "status", Status(self.status))  # a text, in what was stored

    def completed(self, result: Mapping[str, Any], *, ended: bool = False) -> Self:
        """Return the record of the accepted request."""
        return replace(self, status=Status.COMPLETED, result=dict(result), ended=ended)

    def is_cleared(self, max_tries: int) -> bool:
        """Whether a user has cleared the task since."""
        return self.ended and self.max_tries != max_tries


class TaskInstance(Protocol):
    """
    What decides about the record of a task instance.

    `max_tries` is the number of the last try that the scheduler allows. It is set when the instance is made, and again,
    above the tries that there were, when it is cleared; retries leave it alone. It comes from the database, so it does
    not move when the DAG's code changes between two tries.
    """

    @property
    def dag_id(self) -> str: ...
    @property
    def run_id(self) -> str: ...
    @property
    def task_id(self) -> str: ...
    @property
    def map_index(self) -> int | None: ...
    @property
    def max_tries(self) -> int: ...
    @property
    def try_number(self) -> int: ...


def is_mapped(ti: TaskInstance) -> bool:
    """Whether an instance is one of several that a task was mapped to, whose list can change until it is cleared."""
    return ti.map_index is not None and ti.map_index >= 0


R = TypeVar("R", bound=RequestRecord)


class RecordStore(Generic[R]):
    """
    Where the record of one request is kept; false, and without memory, where Airflow has no store (before 3.3).

    A mapped task has a record for each recipient: which index is whose changes when its list does.

    :param name: what such records are called, see `durable`.
    :param blank: the record of a request that was not made yet.
    """

    def __init__(self, context: Context, name: str, blank: R) -> None:
        self._store = StateStore(context)
        self._name = f"{name}_{blank.recipient[:16]}" if is_mapped(context["ti"]) else name
        self._blank = blank
        self._is_loaded = False
        self._record: R | None = None

    def __bool__(self) -> bool:
        return bool(self._store)

    @property
    def record(self) -> R | None:
        """
        What is on record, by this try or an earlier one; None if nothing is.

        :raises FormatError: another version wrote it.
        """
        if not self._is_loaded:
            try:
                self._record = read(self._name, self._store.get(self._name), type(self._blank))
            except ValueError as error:
                raise FormatError(f"{self._name}: the record can't be read, so nothing was sent: {error}") from None
            self._is_loaded = True
        return self._record

    def save(self, record: R) -> None:
        self._record, self._is_loaded = record, True
        self._store.set(self._name, write({**asdict(record), "status": record.status.value}))

    @contextmanager
    def noting_end(self, is_stopped: Callable[[], bool]) -> Iterator[None]:
        """
        Note on record that the try has ended, if it does so by itself: with a result or an error.

        A try that is deferred has not ended. The end of one that was stopped, or got a signal, is not noted, whatever
        it still does: without the note, a clear counts as a retry, and nothing is sent twice.

        :param is_stopped: whether Airflow has told the task to stop.
        """
        try:
            yield
        except Exception:
            if not is_stopped():
                self._note_end()
            raise
        if not is_stopped():
            self._note_end()

    def _note_end(self) -> None:
        if not self._store:
            return
        try:
            record = self.record or self._blank
            if not record.ended:
                self.save(replace(record, ended=True))
        except Exception as error:  # without the note, a clear counts as a retry: nothing is sent twice
            log.warning("The end of this try could not be noted: %s", type(error).__name__)


@contextmanager
def once(store: RecordStore[R], in_progress: R, *, otherwise: R) -> Iterator[None]:
    """
    Make one request in this block; then save its record as completed.

    :param in_progress: the record while nobody knows what becomes of the request.
    :param otherwise: the record if certainly nothing has.
    """
    store.save(in_progress)
    try:
        yield
    except LinqError as error:
        if error.effect is Effect.NONE:
            store.save(otherwise)
        raise
