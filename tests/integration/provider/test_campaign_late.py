"""`not_after`: a moment after which a campaign sends nothing."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_linq._internal.key_lifetimes import LATE_ACCEPTANCE
from airflow_provider_linq._internal.version_compat import AirflowException, AirflowSkipException, TaskDeferred
from airflow_provider_linq.campaigns import RateLimits, _state
from airflow_provider_linq.campaigns._model import Recipient
from airflow_provider_linq.campaigns._state import (
    RecipientState,
    Refused,
    Resolved,
    SendJob,
    Sent,
    Step,
    TooLate,
    next_step,
    transition,
)
from tests.support.airflow import Store
from tests.support.campaigns import campaign, context, fault, people, posts, sent_to
from tests.support.emulator_process import Emulator

pytestmark = pytest.mark.usefixtures("connect")

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)  # by the emulator's clock


def statuses(path: Path) -> list[tuple[str, str | None]]:
    return [(row["status"], row["reason"]) for row in map(json.loads, path.read_text().splitlines())]


@pytest.mark.parametrize("not_after", [NOON - timedelta(seconds=1), "2026-03-01T11:59:59Z", timedelta(hours=1)])
def test_too_late_at_the_start_the_task_is_skipped(emulator: Emulator, not_after: Any) -> None:
    with pytest.raises(AirflowSkipException, match=r"not_after is 2026-03-01 .* Nothing was sent"):
        campaign(rows=people(3), not_after=not_after).execute(context(Store(), due=NOON - timedelta(hours=2)))
    assert posts(emulator) == 0


def test_in_time_it_is_sent(emulator: Emulator) -> None:
    task = campaign(rows=people(3), not_after=timedelta(hours=1))
    assert task.execute(context(Store(), due=NOON))["sent"] == 3


def test_who_is_left_is_late(emulator: Emulator, tmp_path: Path) -> None:
    rows, store, path = people(5), Store(), tmp_path / "outcomes.jsonl"
    limits = RateLimits(messages_per_day=2)
    arguments = {"rows": rows, "outcomes_path": str(path), "line_limits": limits}
    with pytest.raises(TaskDeferred) as deferred:
        campaign(**arguments, not_after=NOON + timedelta(hours=3)).execute(context(store))
    # It waits no longer than it may send; what is known by then is in the outcomes.
    assert deferred.value.trigger.moment < datetime.now(timezone.utc) + timedelta(hours=3, minutes=1)
    assert sorted(statuses(path)) == [("pending", None)] * 3 + [("sent", None)] * 2
    emulator.advance(3 * 3600 + 1)
    result = campaign(**arguments, not_after=NOON + timedelta(hours=3)).execute_complete(context(store))
    assert (result["sent"], result["skipped"]["late"], result["pending"]) == (2, 3, 0)
    assert sorted(statuses(path)) == [("sent", None)] * 2 + [("skipped", "late")] * 3
    # A clear with a later moment goes on with them.
    emulator.advance(24 * 3600)
    later = campaign(rows=rows, outcomes_path=str(path), not_after=NOON + timedelta(days=3))
    assert later.execute(context(store, try_number=2, max_tries=11))["sent"] == 5
    assert sent_to(emulator).total() == 5


@pytest.mark.usefixtures("impatient")
def test_who_is_in_doubt_is_looked_for_and_not_sent_to_again(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_state, "MAX_ATTEMPTS", 1)
    rows, store = people(2), Store()
    # The first was accepted, and the answer lost; the second never came through.
    fault(emulator, kind="reset", when="after", count=1)
    fault(emulator, kind="reset", when="before", count=12)
    task = campaign(rows=rows, concurrency=1, not_after=NOON + timedelta(minutes=20))
    with pytest.raises((AirflowException, TaskDeferred)):
        task.execute(context(store))
    accepted = sent_to(emulator)
    emulator.control("DELETE", "faults")
    emulator.advance(1_201 + LATE_ACCEPTANCE.total_seconds())
    before = posts(emulator)
    result = campaign(rows=rows, concurrency=1, not_after=NOON + timedelta(minutes=20)).execute(
        context(store, try_number=2)
    )
    assert posts(emulator) == before
    assert sent_to(emulator) == accepted
    assert (result["sent"], result["skipped"]["late"], result["unknown"]) == (accepted.total(), 2 - accepted.total(), 0)


def job(**known: Any) -> SendJob:
    person = Recipient(1, ("person@example.com",), "key", {"name": "Ann"}, "UTC")
    return SendJob(person, RecipientState.CLAIMED, "+12025550101", claimed_at=NOON, **known)


def test_who_was_claimed_and_not_requested_is_pending_again() -> None:
    assert transition(job(), TooLate()).state is RecipientState.PENDING


def test_a_request_that_is_under_way_may_still_succeed() -> None:
    late = transition(job(in_flight_since=NOON), TooLate())
    assert late.state is RecipientState.CLAIMED
    assert transition(late, Sent("+12025550101")).state is RecipientState.SENT


def test_a_doubt_is_only_looked_into_and_then_left() -> None:
    doubted = job(in_doubt_since=NOON, last_request_at=NOON)
    soon, later = NOON + timedelta(minutes=1), NOON + LATE_ACCEPTANCE + timedelta(seconds=1)
    assert next_step(doubted, soon) is Step.SEND, "the key is trusted"
    late = transition(doubted, TooLate())
    assert next_step(late, soon) is Step.LOOK
    absent = transition(late, Resolved(True, soon))
    assert (absent.state, next_step(absent, soon)) == (RecipientState.CLAIMED, Step.WAIT), "it may still be accepted"
    assert next_step(absent, later) is Step.LOOK
    assert transition(absent, Resolved(True, later)).state is RecipientState.PENDING
    refused = late._replace(refusal=Refused(RecipientState.OPTED_OUT))
    assert transition(refused, Resolved(True, later)).state is RecipientState.OPTED_OUT
    assert transition(late, Resolved(False, later)).state is RecipientState.UNKNOWN
