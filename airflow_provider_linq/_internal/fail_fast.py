"""Which failures are worth Airflow's retries, which end a task at once, and which are a result."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal, TypeAlias

from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_linq.results import Refusal
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

#: Conflicts with what a chat is, not with what goes on in it: a direct chat, a group, another service, a chat left.
LASTING_CONFLICTS: Final = frozenset({1006, 2013, 2014, 2016, 2017, 2018, 2023})

MESSAGE_GONE: Final = 2002

#: What a recipient who can't be written to makes of a task.
OnOptOut: TypeAlias = Literal["fail", "skip", "return"]

#: The refusals that are part of the business: they say something about the recipient, not about the request.
REFUSALS: Final = (OptedOutError, BlockedError)


def refusal(error: OptedOutError | BlockedError) -> Refusal:
    """Name a refusal as results do."""
    return "opted_out" if isinstance(error, OptedOutError) else "blocked"


def is_permanent(error: LinqError) -> bool:
    """Whether the same request will fail in the same way however often it is tried."""
    return (isinstance(error, PERMANENT) or error.code in LASTING_CONFLICTS) and not error.retryable


def was_refused(error: BaseException) -> bool:
    """Whether the API, or we before it, said no to a request, so that certainly nothing came of it."""
    cause = error if isinstance(error, LinqError) else error.__cause__
    if not isinstance(cause, LinqError):
        return False
    if cause.status is None:
        return isinstance(cause, InvalidRequestError)
    return 400 <= cause.status < 500 and cause.status != 408


@contextmanager
def fail_fast() -> Iterator[None]:
    """Turn a permanent error into `AirflowFailException`; let the others through to Airflow's retries."""
    try:
        yield
    except LinqError as error:
        if is_permanent(error):
            raise AirflowFailException(str(error)) from error
        raise


@contextmanager
def sending(key: str) -> Iterator[None]:
    """As `fail_fast`, around the send with this idempotency key."""
    with fail_fast():
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
