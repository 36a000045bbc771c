"""Until when a message may go: what is late may be worse than what never came."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeAlias

from airflow_provider_linq._internal.arguments import datetime_argument
from linq_client import InvalidRequestError

if TYPE_CHECKING:
    from airflow.sdk import Context

#: A moment, or how long after the run was due.
NotAfter: TypeAlias = datetime | timedelta | str


def check_not_after(value: NotAfter | None) -> None:
    """
    Refuse what can be no such time, when the DAG is parsed; templates are checked when they are rendered.

    :raises ValueError: in Airflow's way, so that the DAG shows an import error.
    """
    if value is None or isinstance(value, datetime | str) or hasattr(value, "resolve"):
        return
    if not isinstance(value, timedelta):
        raise ValueError(f"not_after must be a datetime, a timedelta or a template, got {type(value).__name__}")
    if value <= timedelta(0):
        raise ValueError(f"not_after must be above 0 as a timedelta, got {value!r}")


def latest_moment(value: NotAfter | None, context: Context) -> datetime | None:
    """
    Return the moment after which nothing may be sent, in UTC; None if there is none.

    A timedelta counts from when the run was due, its ``run_after``: of a scheduled run the end of its interval, also if
    it begins late or catches up; of a backfill the past day that it is for; of a manual run, or one of an asset, when
    it was made. Neither a retry nor a clear moves it.

    :param value: as it was given, rendered; a datetime without an offset is in Airflow's default time zone.
    :raises InvalidRequestError: it is none.
    """
    if value is None:
        return None
    if isinstance(value, timedelta):
        try:
            return datetime_argument(context["dag_run"].run_after + value, "not_after")
        except OverflowError:
            raise InvalidRequestError(f"not_after: must be a span that ends before 9999, got {value!r}") from None
    if isinstance(value, str) and not re.match(r"\s*\d{4}-?\d\d", value):  # "20:00" would be another moment each day
        raise InvalidRequestError(f"not_after: must be a datetime or an ISO 8601 string with a date, got {value!r}")
    return datetime_argument(value, "not_after")


def why_late(moment: datetime | None, now: datetime) -> str | None:
    """
    Return a sentence that says that it is too late, or None if it is not.

    :param moment: of `latest_moment`.
    :param now: by the API's clock.
    """
    if moment is None or now <= moment:
        return None
    return f"It is too late: not_after is {moment:%Y-%m-%d %H:%M:%S} UTC, and it is {now:%Y-%m-%d %H:%M:%S} UTC"
