"""What deliveries prove about a gap."""

from __future__ import annotations

import random
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_linq.extraction.coverage import (
    MAX_SILENCE,
    MAX_SPANS,
    MAX_SUBSCRIPTIONS,
    Deliveries,
    GapCoverage,
    covered_since,
    gap_coverage,
)
from tap_linq.extraction.plan import Gap

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
SUBSCRIPTION: dict[str, Any] = {
    "id": "s",
    "is_active": True,
    "subscribed_events": ["message.sent", "message.received", "call.ended"],
    "phone_numbers": None,
    "created_at": "2026-01-01T00:00:00Z",
    "updated_at": "2026-02-01T00:00:00Z",
}
LINE = "+12025550101"


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def heard(*minutes: float, subscription: str | None = "s") -> Deliveries:
    found = Deliveries()
    for one in minutes:
        found.add(subscription, at(one))
    return found


def coverage(deliveries: Deliveries, start: float | None = 0, end: float = 20, **more: Any) -> GapCoverage:
    gap = Gap(None if start is None else at(start), at(end), None, "late_run")
    return gap_coverage(gap, deliveries, {"s": at(-1000), **more}, is_only_one=False)


@given(st.lists(st.integers(0, 300), max_size=60), st.integers(0, 2**32))
def test_spans_are_the_same_in_any_order(minutes: list[int], seed: int) -> None:
    shuffled = list(minutes)
    random.Random(seed).shuffle(shuffled)
    spans = heard(*minutes).of("s")
    assert spans == heard(*shuffled).of("s")
    moments = sorted(set(minutes))
    joined = [[moments[0]]] if moments else []
    for before, after in pairwise(moments):
        if timedelta(minutes=after - before) > MAX_SILENCE:
            joined.append([])
        joined[-1].append(after)
    assert spans == [(at(one[0]), at(one[-1])) for one in joined]


@pytest.mark.parametrize(
    ("deliveries", "extent", "spans"),
    [
        (heard(*range(-2, 23)), "full", [(0, 20)]),
        (heard(-2, 2, 6, 10, 14, 18, 22), "full", [(0, 20)]),
        (heard(-2, 2, 6, 14, 18, 22), "partial", [(0, 6), (14, 20)]),
        (heard(3, 7, 11), "partial", [(3, 11)]),
        (heard(-3, -1), "none", []),
        (heard(10), "none", []),
        (heard(25, 27), "none", []),
        (heard(), "none", []),
        (heard(*range(-2, 23), subscription="another"), "none", []),
        (heard(*range(-2, 23), subscription=None), "none", []),
    ],
)
def test_a_longer_silence_proves_nothing(deliveries: Deliveries, extent: str, spans: list[tuple[int, int]]) -> None:
    assert coverage(deliveries) == GapCoverage(extent, tuple((at(start), at(end)) for start, end in spans))


def test_a_gap_without_a_beginning_is_never_full() -> None:
    assert coverage(heard(*range(25)), start=None) == GapCoverage("partial", ((at(0), at(20)),))


def test_two_subscriptions_add_up() -> None:
    both = heard(*range(-2, 11))
    for minute in range(9, 23):
        both.add("t", at(minute))
    assert coverage(both).extent == "partial"
    assert coverage(both, t=at(-1000)).extent == "full"
    assert coverage(both, t=at(12)).spans == ((at(0), at(10)), (at(12), at(20)))


def test_deliveries_without_a_name_are_those_of_the_only_subscription() -> None:
    gap = Gap(at(0), at(20), None, "late_run")
    found = heard(*range(-2, 23), subscription=None)
    assert gap_coverage(gap, found, {"s": at(-1000)}, is_only_one=True).extent == "full"


@pytest.mark.parametrize(
    ("change", "since"),
    [
        ({}, {"s": datetime(2026, 2, 1, tzinfo=timezone.utc)}),
        ({"phone_numbers": [LINE]}, {"s": datetime(2026, 2, 1, tzinfo=timezone.utc)}),
        ({"phone_numbers": []}, {"s": datetime(2026, 2, 1, tzinfo=timezone.utc)}),
        ({"phone_numbers": ["+12025550102"]}, {}),
        ({"is_active": False}, {}),
        ({"is_active": None}, {}),
        ({"subscribed_events": ["message.received"]}, {}),
        ({"subscribed_events": None}, {}),
        ({"updated_at": None}, {}),
        ({"updated_at": "x"}, {}),
        ({"id": 7}, {}),
    ],
)
def test_which_subscriptions_count(change: dict[str, Any], since: dict[str, datetime]) -> None:
    assert covered_since([{**SUBSCRIPTION, **change}, None, "x"], LINE) == since


def test_what_state_keeps_is_bounded() -> None:
    found = Deliveries()
    for subscription in range(20):
        for number in range(200):
            found.add(f"s{subscription}", at(number * 10 + subscription))
    kept = Deliveries.from_json(found.to_json())
    spans = [kept.of(f"s{subscription}") for subscription in range(20)]
    assert sorted(len(one) for one in spans) == [0] * (20 - MAX_SUBSCRIPTIONS) + [MAX_SPANS] * MAX_SUBSCRIPTIONS
    assert spans[19][-1] == (at(2009), at(2009)), "the newest"
