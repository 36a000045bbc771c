"""The states of a campaign's recipients: small, right whatever the input, and wary where it has changed."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_linq._internal.durable import FormatError, StateStore
from airflow_provider_linq.campaigns._model import recipient_key
from airflow_provider_linq.campaigns._packed_states import RANGES, PackedStates, shards_for
from airflow_provider_linq.campaigns._state import RecipientState
from tests.support.airflow import Store, context

NAME = "linq_campaign"
PENDING, SENT, FAILED, UNKNOWN = (
    RecipientState.PENDING,
    RecipientState.SENT,
    RecipientState.FAILED,
    RecipientState.UNKNOWN,
)
LOST = RecipientState.CLAIMED_ANYWHERE


def keys_of(number: int, name: str = "person") -> list[str]:
    return [recipient_key("campaign", [f"{name}{index}@example.com"]) for index in range(number)]


KEYS, MANY = keys_of(60), keys_of(20_000)
STATES = st.integers(min_value=0, max_value=RecipientState.CLAIMED + 3)
SHARDS = st.sampled_from([1, 3])  # one value, or several


def of_one_range(number: int, *, are_alike: bool = False) -> list[str]:
    """So many keys of the first range of a campaign with one value; if they are alike, their checksums are, too."""
    hashes = (sha256(str(index).encode()).hexdigest() for index in range(number))
    return [f"airflow-000{hashed[3:8]}{'0000' if are_alike else hashed[8:12]}{hashed[12:]}" for hashed in hashes]


def state_store(store: Store) -> StateStore:
    return StateStore(context(store))


def states_of(known: Mapping[str, int], shards: int = 1) -> PackedStates:
    states = PackedStates(list(known), shards, NAME, lost=LOST)
    for key, state in known.items():
        states[key] = state
    return states


def loaded(store: StateStore, keys: Sequence[str], shards: int = 1, *, has_changed: bool = False) -> PackedStates:
    states = PackedStates(keys, shards, NAME, lost=LOST)
    states.load(store, has_changed=has_changed)
    return states


@given(known=st.dictionaries(st.sampled_from(KEYS), STATES), shards=SHARDS)
def test_states_come_back_as_they_were(known: dict[str, int], shards: int) -> None:
    store = state_store(Store())
    states_of(known, shards).save(store)
    states = PackedStates(list(known), shards, NAME, lost=LOST)
    assert not states.load(store)
    assert dict(states) == known


@settings(max_examples=200)
@given(known=st.dictionaries(st.sampled_from(KEYS), STATES), now=st.sets(st.sampled_from(KEYS)), shards=SHARDS)
def test_of_a_changed_input_nobody_is_believed_to_be_untouched(
    known: dict[str, int], now: set[str], shards: int
) -> None:
    store = state_store(Store())
    states_of(known, shards).save(store)
    for key, state in loaded(store, sorted(now, reverse=True), shards):
        assert state in (known.get(key, PENDING), LOST)


@settings(max_examples=200)
@given(
    states=st.lists(STATES, min_size=1, max_size=15),
    gone=st.sets(st.integers(0, 14)),
    added=st.integers(0, 4),
    are_alike=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_whoever_takes_the_place_of_another_inherits_nothing(
    states: list[int], gone: set[int], added: int, are_alike: bool, seed: int
) -> None:
    """All keys are of one range, some are replaced by others, and some others are added."""
    keys = of_one_range(15 + 15 + 4, are_alike=are_alike)
    random.Random(seed).shuffle(keys)
    known = dict(zip(keys, states, strict=False))
    replaced = {keys[index] for index in gone if index < len(states)}
    others = keys[15 : 15 + len(replaced) + added]
    store = state_store(Store())
    states_of(known).save(store)
    now = loaded(store, [*(known.keys() - replaced), *others])
    for key in others:
        assert now[key] in (PENDING, LOST)
    for key in known.keys() - replaced:
        assert now[key] in (known[key], LOST)
    if not any(states):  # nobody was touched, so nobody is in doubt
        assert set(dict(now).values()) == {PENDING}


def test_a_recipient_whose_key_looks_alike_in_32_bits_inherits_nothing() -> None:
    """These two share the range and what a checksum of 32 bits says; somebody searched among millions for them."""
    first, second = (recipient_key("k", [f"{name}@example.com"]) for name in ("p2621810", "p4118852"))
    others = [recipient_key("k", [f"other{index}@example.com"]) for index in range(5)]
    store = state_store(Store())
    states_of(dict.fromkeys([first, *others], SENT)).save(store)
    states = PackedStates([second, *others], 1, NAME, lost=LOST)
    assert states.load(store)
    assert states[second] == LOST


def test_keys_that_are_alike_in_all_but_their_digest_are_told_apart() -> None:
    """Place and checksum are made of the first 48 bits of a key, so these are alike in all but the rest of it."""
    alike = [f"airflow-{'0' * 16}{index:048x}" for index in range(3)]
    store = state_store(Store())
    states_of({alike[0]: SENT}).save(store)
    assert dict(loaded(store, [alike[1]])) == {alike[1]: LOST}
    assert dict(loaded(store, alike[:2])) == {alike[0]: SENT, alike[1]: PENDING}
    assert dict(loaded(store, alike[1:])) == dict.fromkeys(alike[1:], LOST)


def test_a_row_that_is_gone_puts_few_in_doubt() -> None:
    store = state_store(Store())
    states_of(dict.fromkeys(MANY, SENT)).save(store)
    states = PackedStates(MANY[1:], 1, NAME, lost=LOST)
    assert states.load(store)
    assert 0 < states.counts()[LOST] < 20_000 / RANGES * 3


def test_rows_that_are_added_put_nobody_in_doubt() -> None:
    rng = random.Random(3)
    store = state_store(Store())
    known = {key: rng.choice([SENT, FAILED, PENDING, RecipientState.CLAIMED]) for key in MANY}
    states_of(known).save(store)
    added = keys_of(150, "new")
    states = PackedStates([*added, *MANY], 1, NAME, lost=LOST)
    assert not states.load(store)
    assert dict(states) == {**known, **dict.fromkeys(added, PENDING)}


@pytest.mark.parametrize("number", [1, 2, 3])
def test_up_to_three_that_are_added_to_a_range_of_a_full_value_are_told_from_the_others(number: int) -> None:
    rng = random.Random(number)
    keys = of_one_range(130)  # about 98 are in a range, and seldom more than these
    added = set(rng.sample(keys, number))
    known = {key: rng.choice([SENT, PENDING, UNKNOWN]) for key in keys if key not in added}
    store = state_store(Store())
    states_of(known).save(store)
    assert dict(loaded(store, keys)) == {**known, **dict.fromkeys(added, PENDING)}


def test_a_row_that_comes_back_may_have_been_sent_to() -> None:
    store = state_store(Store())
    states_of(dict.fromkeys(MANY, SENT)).save(store)
    without = PackedStates(MANY[1:], 1, NAME, lost=LOST)
    assert without.load(store)
    without.save(store)
    assert loaded(store, MANY, has_changed=True)[MANY[0]] == LOST


@pytest.mark.parametrize("number", [1, 500, 100_000, 220_000])
def test_a_value_stays_small_for_any_number_of_recipients(number: int) -> None:
    rng = random.Random(7)
    store = Store()
    choices: Sequence[int] = [PENDING, *[SENT] * 6, RecipientState.OPTED_OUT, FAILED, UNKNOWN]
    known = {f"airflow-{rng.getrandbits(256):064x}": rng.choice(choices) for _ in range(number)}
    states_of(known, shards_for(number)).save(state_store(store))
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
    states = PackedStates(KEYS, 4, NAME, lost=LOST)
    states.save(state_store(store))
    assert len(store.written) == 4
    states[KEYS[0]] = SENT
    states.save(state_store(store))
    assert len(store.written) == 5


def test_what_could_not_be_written_is_written_the_next_time() -> None:
    class Failing(Store):
        def set(self, key: str, value: Any, *, retention: Any = None) -> None:
            raise ConnectionError("the store is gone")

    states = states_of({KEYS[0]: SENT})
    with pytest.raises(ConnectionError):
        states.save(state_store(Failing()))
    store = state_store(Store())
    states.save(store)
    assert loaded(store, KEYS[:1])[KEYS[0]] == SENT


@pytest.mark.parametrize("states", [[], [PENDING, SENT], [UNKNOWN, SENT, SENT]])
def test_states_are_counted(states: list[int]) -> None:
    known = dict(zip(KEYS, states, strict=False))
    packed = states_of(known)
    assert packed.counts() == {state: states.count(state) for state in set(states)}
    assert packed.has(UNKNOWN) == (UNKNOWN in states)
    packed.fill(LOST)
    assert set(dict(packed).values()) <= {LOST}
    assert all(key in packed for key in known)
    assert KEYS[-1] not in packed


@pytest.mark.parametrize("change", [{"format": 2}, {"format": None}, {"format": True}, {"format": 0}])
def test_a_value_of_another_version_is_refused(change: dict[str, Any]) -> None:
    store = Store()
    states_of({KEYS[0]: SENT}).save(state_store(store))
    store.values[f"{NAME}_0"].update(change)
    with pytest.raises(FormatError, match=r"^linq_campaign_0: this version reads .*This task sends nothing"):
        loaded(state_store(store), KEYS[:1])


def test_a_value_may_hold_fields_of_a_later_version() -> None:
    store = Store()
    states_of({KEYS[0]: SENT}).save(state_store(store))
    store.values[f"{NAME}_0"]["colour"] = "blue"
    assert loaded(state_store(store), KEYS[:1])[KEYS[0]] == SENT
