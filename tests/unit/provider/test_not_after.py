"""Until when a message may go."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_provider_linq._internal.not_after import check_not_after, latest_moment, why_late
from linq_client import InvalidRequestError
from tests.support.airflow import context

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


@pytest.mark.parametrize("value", [0, 3600, timedelta(0), timedelta(hours=-1), ["2026-03-01"]])
def test_what_can_be_no_time_is_refused_when_the_dag_is_parsed(value: Any) -> None:
    with pytest.raises(ValueError, match="not_after must be"):
        check_not_after(value)


@pytest.mark.parametrize("value", [None, NOON, timedelta(hours=1), "{{ data_interval_end }}"])
def test_times_and_templates_are_taken(value: Any) -> None:
    check_not_after(value)


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        (None, None),
        (NOON, NOON),
        (datetime(2026, 3, 1, 12), NOON),
        (datetime(2026, 3, 1, 13, tzinfo=timezone(timedelta(hours=1))), NOON),
        ("2026-03-01 12:00:00+00:00", NOON),
        ("2026-03-01T14:00:00+02:00", NOON),
        (timedelta(hours=2), NOON + timedelta(hours=2)),
    ],
)
@pytest.mark.parametrize("clears", [0, 3])
def test_a_span_counts_from_when_the_run_was_due(value: Any, moment: datetime | None, clears: int) -> None:
    late_start = NOON + timedelta(days=2)  # as after an outage, of a backfill or of a clear
    found = latest_moment(value, context(started=late_start, due=NOON, clears=clears))
    assert found == moment
    assert found is None or found.utcoffset() == timedelta(0)


@pytest.mark.parametrize("value", ["soon", "", "None", "12:00", timedelta.max])
def test_what_renders_to_no_time_is_refused(value: Any) -> None:
    with pytest.raises(InvalidRequestError, match="^not_after: must be"):
        latest_moment(value, context(due=NOON))


def test_it_is_late_after_the_moment_and_not_at_it() -> None:
    assert why_late(None, NOON) is None
    assert why_late(NOON, NOON) is None
    assert why_late(NOON, NOON + timedelta(seconds=1)) == (
        "It is too late: not_after is 2026-03-01 12:00:00 UTC, and it is 2026-03-01 12:00:01 UTC"
    )
