"""Which failures are worth Airflow's retries, and which end a task at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow.sdk.exceptions import AirflowFailException

from linq_client import (
    AuthenticationError,
    BlockedError,
    InvalidRequestError,
    LinqError,
    NotFoundError,
    OptedOutError,
    PermissionDeniedError,
)

#: What only a change of the task, the connection, the account or the recipient's mind can mend. An ineligible line,
#: a conflict, a rate limit and whatever failed on the way are not among them: they pass, or can.
PERMANENT = (
    AuthenticationError,
    BlockedError,
    InvalidRequestError,
    NotFoundError,
    OptedOutError,
    PermissionDeniedError,
)

MESSAGE_GONE = 2002


def is_permanent(error: LinqError) -> bool:
    """Whether the same request will fail in the same way however often it is tried."""
    return isinstance(error, PERMANENT) and not error.retryable


@contextmanager
def failing_at_once() -> Iterator[None]:
    """Turn a permanent error into `AirflowFailException`; let the others through to Airflow's retries."""
    try:
        yield
    except LinqError as error:
        if is_permanent(error):
            raise AirflowFailException(str(error)) from error
        raise


@contextmanager
def sending(key: str) -> Iterator[None]:
    """As `failing_at_once`, around the send with this idempotency key."""
    with failing_at_once():
        try:
            yield
        except NotFoundError as error:
            if error.code != MESSAGE_GONE:
                raise
            # Not an error of the send but its success, in an earlier try or before the task was cleared. There is no
            # result to return any more, and only the user can say whether the message should go out a second time.
            raise AirflowFailException(
                f"The message with idempotency key {key!r} was sent before and is gone since (deleted, or past the "
                "retention window), so it was not sent again and won't be in any retry. "
                "Give another idempotency_key to send it anew."
            ) from error
