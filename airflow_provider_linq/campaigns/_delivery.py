"""What became of the messages of a campaign: polls while it waits for them, and the rows of the delivery report.

Nothing here sends or changes anything, so all of it may be repeated. Polls and reports are generators with threads at
work: closing one makes no further requests.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias, TypeVar

from airflow_provider_linq._internal.delivery import FAILURE_GRACE, DeliveryState, delivery_state
from airflow_provider_linq.campaigns._model import Outcome
from linq_client import ChatNotFoundError, LinqClient, MessageNotFoundError, models
from linq_client.sync import read_stable
from linq_client.times import format_datetime, parse_datetime

#: How far a sent message has come: on its way, arrived, failed for good, or nothing that can be asked for any more.
Progressed: TypeAlias = Literal["waiting", "delivered", "failed", "gone"]

_PROGRESS: Final[dict[DeliveryState, Progressed]] = {
    DeliveryState.WAITING: "waiting",
    DeliveryState.REACHED: "delivered",
    DeliveryState.FAILED: "failed",
}

#: Answers that may wait for one that takes longer, for each thread: the others need not stop for a chat of many pages.
_AHEAD: Final = 4

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class ReportRow:
    """What became of one sent message. All times are RFC 3339, UTC, by the API's clock; None if it did not happen.

    :param row: number of the row in the input, from 1.
    :param delivery_status: as the API names it (pending, queued, sent, delivered, read, failed); or "gone", where the
        platform has the message no more, or "unknown", where we have no id to ask for it with.
    :param replied: whether anybody wrote in the chat after our message. A reaction is no reply.
    :param replied_at: when they first did.
    :param opted_out: whether the chat counts as opted out now, and something was written in it after our message.
    """

    row: int
    to: tuple[str, ...]
    idempotency_key: str | None
    line: str | None
    chat_id: str | None
    message_id: str | None
    delivery_status: str
    delivered_at: str | None = None
    read_at: str | None = None
    replied: bool = False
    replied_at: str | None = None
    opted_out: bool = False


class ReportCounts:
    """Counts the rows of a report one by one, for a report that is only passed on."""

    def __init__(self) -> None:
        self._statuses: Counter[str] = Counter()
        self._replied = 0
        self._opted_out = 0

    def add(self, row: ReportRow) -> None:
        """Count one more row."""
        self._statuses[row.delivery_status] += 1
        self._replied += row.replied
        self._opted_out += row.opted_out

    def add_unseen(self, number: int) -> None:
        """Count messages of which nothing more is known than that they were sent."""
        self._statuses["unknown"] += number

    def as_dict(self) -> dict[str, int]:
        """Return the counts: `sent` are all rows, `delivered` those that were read too."""
        return {
            "sent": self._statuses.total(),
            "delivered": self._statuses["delivered"] + self._statuses["read"],
            "read": self._statuses["read"],
            "failed": self._statuses["failed"],
            "gone": self._statuses["gone"],
            "unknown": self._statuses["unknown"],
            "replied": self._replied,
            "opted_out": self._opted_out,
        }


def poll(
    client: LinqClient, sent: Iterable[Outcome], *, concurrency: int, failure_grace: timedelta = FAILURE_GRACE
) -> Generator[tuple[Outcome, Progressed], None, None]:
    """Ask once for each sent message how far it has come, and yield its row with the answer.

    :param sent: rows with the status "sent", read as the answers are; one without a message id is gone, and not asked
        for.
    :param concurrency: requests under way at once.
    :param failure_grace: how long after its last change a failed message is still waited for.
    :raises LinqError: see ``linq_client.errors``; what was yielded before holds.
    """

    def progress(outcome: Outcome) -> tuple[Outcome, Progressed]:
        return outcome, progress_of(client, outcome.message_id, len(outcome.to) > 1, failure_grace)

    yield from _in_order(progress, sent, concurrency)


def report(client: LinqClient, sent: Iterable[Outcome], *, concurrency: int) -> Generator[ReportRow, None, None]:
    """Read the chat of each sent message once, and yield what became of it, in the order of the input.

    :param sent: rows with the status "sent", read as the report is.
    :param concurrency: chats that are read at once.
    :raises LinqError: see ``linq_client.errors``; the report is to be made again.
    """
    yield from _in_order(lambda outcome: _report_row(client, outcome), sent, concurrency)


def progress_of(
    client: LinqClient, message_id: str | None, is_group: bool, failure_grace: timedelta = FAILURE_GRACE
) -> Progressed:
    """
    Ask how far a sent message has come.

    :param message_id: None if it was gone when it was last asked for.
    :param failure_grace: how long after its last change a failed message is still waited for.
    :raises LinqError: see ``linq_client.errors``.
    """
    message = _message(client, message_id) if message_id else None
    if message is None:
        return "gone"
    now = client.server_time
    return _PROGRESS[delivery_state(message, "delivered", is_group=is_group, failure_grace=failure_grace, now=now)]


def _report_row(client: LinqClient, outcome: Outcome) -> ReportRow:
    if not (outcome.message_id and outcome.chat_id and outcome.created_at):
        return _row(outcome, "unknown")
    since = parse_datetime(outcome.created_at)
    try:
        message, replied_at = _read_chat(client, outcome.chat_id, outcome.message_id, since)
        # An opt-out is itself a message, so without one the chat need not be asked for.
        health = client.chats.get(outcome.chat_id).health_status if replied_at else None
    except (ChatNotFoundError, MessageNotFoundError):
        return _row(outcome, "gone")
    opted_out = health is not None and health.status == "OPTED_OUT"
    # It may be listed later than it can be read.
    message = message or _message(client, outcome.message_id)
    return _row(outcome, "gone", message, replied_at, opted_out)


def _row(
    outcome: Outcome,
    status: str,
    message: models.Message | None = None,
    replied_at: datetime | None = None,
    opted_out: bool = False,
) -> ReportRow:
    """Make a row; its status is the message's, or `status` where there is none."""
    return ReportRow(
        row=outcome.row,
        to=outcome.to,
        idempotency_key=outcome.idempotency_key,
        line=outcome.line,
        chat_id=outcome.chat_id,
        message_id=outcome.message_id,
        delivery_status=message.delivery_status if message else status,
        delivered_at=_optional(message.delivered_at) if message else None,
        read_at=_optional(message.read_at) if message else None,
        replied=replied_at is not None,
        replied_at=_optional(replied_at),
        opted_out=opted_out,
    )


def _read_chat(
    client: LinqClient, chat_id: str, message_id: str, since: datetime
) -> tuple[models.Message | None, datetime | None]:
    """Return a message of a chat, if listed, and when somebody first wrote in it after a moment, if anybody did.

    The API promises no order, so this reads to the end.
    """
    found, first = None, None
    for message in read_stable(client.messages.list(chat_id)):
        if message.id == message_id:
            found = message
        elif not message.is_from_me and message.is_written and (written := _written_at(message)) > since:
            first = min(written, first or written)
    return found, first


def _written_at(message: models.Message) -> datetime:
    """When somebody wrote a message: one that the platform recovered late may be from before ours."""
    return message.sent_at if message.reconciled_at and message.sent_at else message.created_at


def _message(client: LinqClient, message_id: str) -> models.Message | None:
    """Return a message, or None if it was deleted or has expired."""
    try:
        return client.messages.get(message_id)
    except MessageNotFoundError:
        return None


def _optional(moment: datetime | None) -> str | None:
    return None if moment is None else format_datetime(moment)


def _in_order(function: Callable[[T], R], items: Iterable[T], concurrency: int) -> Iterator[R]:
    """Apply a function in threads; take items only as their turn comes, and yield the results in their order."""
    threads = ThreadPoolExecutor(concurrency, thread_name_prefix="linq")
    waiting: deque[Future[R]] = deque()
    try:
        for item in items:
            waiting.append(threads.submit(function, item))
            if len(waiting) >= _AHEAD * concurrency:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        threads.shutdown(cancel_futures=True)
