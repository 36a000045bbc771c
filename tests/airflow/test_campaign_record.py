"""What is on record of a campaign: small, right whatever the input, and wary where the input has changed."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_linq._internal.durable import StateStore
from airflow_provider_linq.campaigns import progress as marks
from airflow_provider_linq.campaigns._model import recipient_key
from airflow_provider_linq.campaigns._packed_states import PackedStates, shards_for
from tests.airflow.conftest import Store, context

KEYS = [recipient_key("campaign", [f"person{index}@example.com"]) for index in range(60)]
MARKS = st.integers(min_value=0, max_value=marks.BEGUN + 3)


def state_store(store: Store) -> StateStore:
    return StateStore(context(store))


def progress_of(known: dict[str, int], shards: int = 1) -> Progress:
    progress = Progress(list(known), shards)
    for key, mark in known.items():
        progress[key] = mark
    return progress


@given(known=st.dictionaries(st.sampled_from(KEYS), MARKS), shards=st.integers(1, 4))
def test_marks_come_back_as_they_were(known: dict[str, int], shards: int) -> None:
    store = state_store(Store())
    progress_of(known, shards).save(store)
    loaded = Progress(list(known), shards)
    loaded.load(store)
    assert dict(loaded) == known


@settings(max_examples=200)
@given(
    known=st.dictionaries(st.sampled_from(KEYS), MARKS), now=st.sets(st.sampled_from(KEYS)), shards=st.integers(1, 4)
)
def test_of_a_changed_input_nobody_is_believed_to_be_untouched(
    known: dict[str, int], now: set[str], shards: int
) -> None:
    store = state_store(Store())
    progress_of(known, shards).save(store)
    loaded = Progress(sorted(now, reverse=True), shards)
    loaded.load(store)
    for key, mark in loaded:
        assert mark in (known.get(key, marks.PENDING), marks.BEGUN_SOMEWHERE)


MANY = [recipient_key("campaign", [f"person{index}@example.com"]) for index in range(20_000)]


def test_a_row_that_is_gone_puts_few_in_doubt() -> None:
    store = state_store(Store())
    progress_of(dict.fromkeys(MANY, marks.SENT)).save(store)
    loaded = Progress(MANY[1:], 1)
    assert loaded.load(store)
    assert 0 < loaded.counts()[marks.BEGUN_SOMEWHERE] < 20_000 / marks.RANGES * 3


def test_rows_that_are_added_put_nobody_in_doubt() -> None:
    rng = random.Random(3)
    store = state_store(Store())
    known = {key: rng.choice([marks.SENT, marks.FAILED, marks.PENDING, marks.BEGUN]) for key in MANY}
    progress_of(known).save(store)
    added = [recipient_key("campaign", [f"new{index}@example.com"]) for index in range(150)]
    loaded = Progress([*added, *MANY], 1)
    assert not loaded.load(store)
    assert dict(loaded) == {**known, **dict.fromkeys(added, marks.PENDING)}


def test_a_row_that_comes_back_may_have_been_sent_to() -> None:
    store = state_store(Store())
    progress_of(dict.fromkeys(MANY, marks.SENT)).save(store)
    without = Progress(MANY[1:], 1)
    assert without.load(store)
    without.save(store)
    again = Progress(MANY, 1)
    again.load(store, has_changed=True)
    assert again[MANY[0]] == marks.BEGUN_SOMEWHERE


@pytest.mark.parametrize("number", [1, 500, 100_000, 220_000])
def test_a_value_stays_small_for_any_number_of_recipients(number: int) -> None:
    rng = random.Random(7)
    store = Store()
    keys = [recipient_key("campaign", [f"person{index}@example.com"]) for index in range(number)]
    choices: Sequence[int] = [marks.PENDING, *[marks.SENT] * 6, marks.OPTED_OUT, marks.FAILED, marks.UNKNOWN]
    progress_of({key: rng.choice(choices) for key in keys}, shards_for(number)).save(state_store(store))
    sizes = [len(json.dumps(value)) for value in store.values.values()]
    assert max(sizes) < 40_000
    if number <= 100_000:
        assert sum(sizes) < 64_000


def test_only_what_changed_is_written() -> None:
    class Counting(Store):
        written: list[str]

        def set(self, key: str, value: Any, *, retention: Any = None) -> None:
            self.written.append(key)
            super().set(key, value, retention=retention)

    store = Counting()
    store.written = []
    progress = Progress(KEYS, 4)
    progress.save(state_store(store))
    assert len(store.written) == 4
    progress[KEYS[0]] = marks.SENT
    progress.save(state_store(store))
    assert len(store.written) == 5
