"""`LinqRetryPolicy`: retries that fit what the API said. Needs Airflow 3.3; importing this module does not."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_linq._internal.arguments import as_timedelta
from airflow_provider_linq._internal.polling import describe
from airflow_provider_linq._internal.version_compat import RetryDecision, RetryPolicy, check_retry_policies
from linq_client import LinqError

if TYPE_CHECKING:
    from airflow.sdk import Context

__all__ = ["LinqRetryPolicy"]


class LinqRetryPolicy(RetryPolicy):
    """
    Wait as long as the API said, fail immediately on what no retry can fix, and leave the rest to the task.

    The operators of this provider fail fast by themselves; the policy is for them where the API names a waiting time
    (429), and for TaskFlow tasks that use ``LinqHook().client``. An exception that was raised from a ``LinqError`` is
    judged by that. The policy can't allow more tries than ``retries`` says.

    :param max_delay: a longer waiting time than this is not waited for; the task's own delay is taken instead.
    :raises ValueError: Airflow is older than 3.3, and knows no retry policies.
    """

    def __init__(self, max_delay: timedelta | float = timedelta(hours=1)) -> None:
        check_retry_policies()
        self.max_delay = as_timedelta(max_delay, "max_delay")

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        error = _linq_error(exception)
        if error is None:
            return RetryDecision.default()
        if error.permanent:
            return RetryDecision.fail(f"No retry can fix this: {describe(error)}")
        if error.retry_after is not None and timedelta(seconds=error.retry_after) <= self.max_delay:
            delay = timedelta(seconds=error.retry_after)
            return RetryDecision.retry(delay, f"The API asked to wait for {error.retry_after:g} seconds")
        return RetryDecision.default()

    def serialize(self) -> dict[str, Any]:
        return {"max_delay": self.max_delay.total_seconds()}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> LinqRetryPolicy:
        return cls(**data)


def _linq_error(exception: BaseException | None) -> LinqError | None:
    while exception is not None and not isinstance(exception, LinqError):
        exception = exception.__cause__
    return exception
