"""`LinqRetryPolicy`: retries that fit what the API said. Needs Airflow 3.3; importing this module does not."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_linq._internal.fail_fast import is_permanent
from airflow_provider_linq._internal.polling import describe
from linq_client import LinqError

if TYPE_CHECKING:
    from airflow.sdk import Context, RetryDecision, RetryPolicy
else:
    try:
        from airflow.sdk import RetryDecision, RetryPolicy
    except ImportError:  # 3.2, which knows no policies; DAG files that name one still load, in tests for example
        RetryDecision, RetryPolicy = None, object


class LinqRetryPolicy(RetryPolicy):
    """
    Wait as long as the API said, fail at once on what no retry can mend, and leave the rest to the task.

    The operators of this provider fail at once by themselves; the policy is for them where the API names a waiting time
    (429), and for TaskFlow tasks that use ``LinqHook().client``. An exception that was raised from a ``LinqError`` is
    judged by that. The policy can't allow more tries than ``retries`` says.

    :param max_delay: a longer waiting time than this is not waited for; the task's own delay is taken instead.
    """

    def __init__(self, max_delay: timedelta | float = timedelta(hours=1)) -> None:
        self.max_delay = max_delay if isinstance(max_delay, timedelta) else timedelta(seconds=max_delay)

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        error = _linq_error(exception)
        if error is None:
            return RetryDecision.default()
        if is_permanent(error):
            return RetryDecision.fail(f"No retry can mend this: {describe(error)}")
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
