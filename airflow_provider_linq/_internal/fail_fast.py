"""Which failures end a task without a retry, which are left to Airflow's retries, and which are a result.

The client has decided what is certain after an error: `error.permanent`, `error.effect`. Nothing here looks at a status
or a code.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal, TypeAlias

from airflow_provider_linq._internal.version_compat import AirflowFailException
from airflow_provider_linq.results import Refusal
from linq_client import BlockedError, LinqError, OptedOutError

#: What a recipient who can't be written to makes of a task.
OnOptOut: TypeAlias = Literal["fail", "skip", "return"]

#: The refusals that are part of the business: they say something about the recipient, not about the request.
REFUSALS: Final = (OptedOutError, BlockedError)


def refusal(error: OptedOutError | BlockedError) -> Refusal:
    """Name a refusal as results do."""
    return "opted_out" if isinstance(error, OptedOutError) else "blocked"


@contextmanager
def fail_fast() -> Iterator[None]:
    """
    End the task without a retry on an error that no retry can fix; let the others through to Airflow's retries.

    :raises AirflowFailException: in the place of a permanent `LinqError`.
    """
    try:
        yield
    except LinqError as error:
        if error.permanent:
            raise AirflowFailException(str(error)) from error
        raise
