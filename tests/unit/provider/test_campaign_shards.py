"""Shards of a campaign: who is in which, what each may do of the whole, and which division is in force."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import ObjectStoragePath
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_linq._internal.durable import FormatError, check_format
from airflow_provider_linq._internal.version_compat import AirflowFailException
from airflow_provider_linq.campaigns import Campaign, RateLimits
from airflow_provider_linq.campaigns._journal import Journal, Writer
from airflow_provider_linq.campaigns._owner import OWNER_TIMEOUT, LostOwnershipError, Owner, Taker
from airflow_provider_linq.campaigns._shards import WHOLE, Division, Divisions, Shard, shard_number
from airflow_provider_linq.campaigns._takers import Takers
from airflow_provider_linq.campaigns._validate import ValidatedRows, validate_rows
from linq_client import handle_forms
from tests.support.campaigns import HANDLES, STORES, folder_in, names

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
ROOT = Path(__file__).parents[3]
MINUTE = timedelta(minutes=1)

SHARDS = st.integers(1, 256)


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder that is not there yet, on a disk and in an object store."""
    return folder_in(request.param, tmp_path)


def all_of(number: int) -> list[Shard]:
    return [Shard(index, number) for index in range(1, number + 1)]


# Who is in which shard.


@given(HANDLES, SHARDS)
def test_each_recipient_is_in_one_shard(to: tuple[str, ...], number: int) -> None:
    assert sum(shard.has(to) for shard in all_of(number)) == 1
    assert WHOLE.has(to)


@given(st.sampled_from(["+525550100134", "+541155550134", "+551195550134"]), HANDLES, SHARDS)
def test_a_person_is_in_one_shard_in_whichever_form(number: str, others: tuple[str, ...], of: int) -> None:
    """Of two rows with both forms, an instance sends to the one that it reads first, and another may read the other."""
    assert len({shard_number((*others, form), of) for form in handle_forms(number)}) == 1


def test_the_shard_of_a_recipient_never_changes() -> None:
    """It is what keeps two instances from one recipient: a version that splits otherwise needs another campaign."""
    numbers = {"+12025550121": (1, 3), "ann@example.org": (4, 4), "ben@example.org": (3, 1)}
    for handle, (of_four, of_six) in numbers.items():
        assert Shard(of_four, 4).has((handle,))
        assert Shard(of_six, 6).has((handle,))
    for form in ("+525550100134", "+5215550100134"):
        assert Shard(2, 4).has((form,))
    group = ("+12025550121", "ann@example.org")
    assert [shard.number for shard in all_of(4) if shard.has(group) and shard.has(group[::-1])] == [3]


@pytest.mark.parametrize("text", ["1/1", "2/4", "256/256"])
def test_a_shard_is_read_as_it_is_written(text: str) -> None:
    assert str(Shard.parse(text)) == text


@pytest.mark.parametrize(
    "given", ["", "0/4", "5/4", "1/0", "1/257", "1", "1/4 ", "01/4", "-1/4", "1/4/4", "a/b", 1, None]
)
def test_what_is_no_shard(given: object) -> None:
    with pytest.raises(ValueError, match=r"shard must be text such as '2/4', with at most 256 shards, got"):
        Shard.parse(given)


def test_rows_of_other_shards_are_checked_and_counted_elsewhere() -> None:
    rows = [{"to": f"person{index}@example.org", "name": "Ann" if index % 3 else None} for index in range(60)]
    rows += [rows[1], {"to": "no handle", "name": "Ann"}]

    def render(row: object) -> str:
        assert isinstance(row, dict)
        if row["name"] is None:
            raise ValueError("no name")
        return "Hello"

    def validated(shard: Shard) -> ValidatedRows:
        return validate_rows(
            rows,
            render,
            campaign_key="k",
            to_field="to",
            timezone="UTC",
            timezone_field=None,
            first_in_chat=False,
            shard=shard,
        )

    whole, parts = validated(WHOLE), [validated(shard) for shard in all_of(4)]
    assert whole.elsewhere is None
    for part in parts:
        assert part.elsewhere is not None
        every = part.of_all_shards
        assert len(every) == len(rows)
        assert [one.key for one in every.recipients] == [one.key for one in whole.recipients]
        assert every.excluded == whole.excluded
        assert {one.key for one in every.unsendable} == {one.key for one in whole.unsendable}
        assert all(one.row is None for one in part.elsewhere.recipients)
        assert all(one.row is not None for one in part.recipients)
    assert sorted(one.number for part in parts for one in part.recipients) == [one.number for one in whole.recipients]
    assert sorted(one.row for part in parts for one in part.excluded) == [one.row for one in whole.excluded]


# What a shard may do.


@given(st.integers(0, 100_000), SHARDS)
def test_the_shares_of_a_number_add_up_to_it(whole: int, number: int) -> None:
    shares = [shard.share_of(whole) for shard in all_of(number)]
    assert sum(shares) == whole
    assert max(shares) - min(shares) <= 1


@given(st.integers(1, 10_000), st.integers(1, 1_000), st.floats(0.01, 10_000), SHARDS)
def test_limits_of_all_shards_are_never_above_the_whole(messages: int, chats: int, rate: float, number: int) -> None:
    limits = RateLimits(messages_per_minute=rate, messages_per_day=messages, new_chats_per_day=chats)
    if number > min(messages, chats):
        with pytest.raises(ValueError, match=rf"^line_limits: \w+ must be {number} or more, one for each shard, got"):
            limits.of_shard(Shard(1, number), "line_limits")
        return
    parts = [limits.of_shard(shard, "line_limits") for shard in all_of(number)]
    assert sum(part.messages_per_day or 0 for part in parts) == messages
    assert sum(part.new_chats_per_day or 0 for part in parts) == chats
    assert sum(part.messages_per_minute or 0 for part in parts) == pytest.approx(rate)


def test_no_limit_stays_none() -> None:
    assert RateLimits().of_shard(Shard(2, 4), "total_limits") == RateLimits()


@pytest.mark.parametrize(("most", "shares"), [(0, [0, 0, 0]), (5, [2, 2, 1]), (0.05, [0.05] * 3), (4.0, [2, 1, 1])])
def test_failures_that_are_allowed(most: float, shares: list[float]) -> None:
    campaigns = [Campaign(message="Hi", max_failures=most, shard=f"{number}/3") for number in (1, 2, 3)]
    assert [campaign.of_shard().max_failures for campaign in campaigns] == shares


# Which division is in force, and who owns a shard.


def owner_of(store: str, shard: str, task: str | None = None) -> Owner:
    return Journal(f"{store}/out.csv", "spring", Writer(task or shard, 0), Shard.parse(shard)).owner


def test_all_shards_of_a_division_are_taken_together(store: str) -> None:
    owners = [owner_of(store, f"{number}/4") for number in range(1, 5)]
    assert all(owner.take(NOON) for owner in owners)
    for owner in owners:
        owner.confirm(NOON)
    assert not owner_of(store, "2/4", "another").take(NOON)
    assert owner_of(store, "2/4").take(NOON)  # another try
    with pytest.raises(LostOwnershipError, match="another try of this one"):
        owners[1].confirm(NOON)
    owners[0].confirm(NOON)


@pytest.mark.parametrize("after", ["1/6", "1/1"])
def test_another_division_waits_for_all_of_the_one_before(store: str, after: str) -> None:
    owners = [owner_of(store, f"{number}/4") for number in range(1, 5)]
    other = owner_of(store, after)
    for owner in owners:
        assert owner.take(NOON)
    for owner in owners[:3]:
        owner.give_up(NOON)
    assert other.is_other_task(NOON)
    assert not other.take(NOON + OWNER_TIMEOUT - MINUTE)
    owners[3].confirm(NOON)
    assert other.take(NOON + OWNER_TIMEOUT)
    assert other.earlier_requests_until is not None  # one of the four may have gone on until it was divided
    assert other.earlier_requests_until >= NOON + OWNER_TIMEOUT + timedelta(seconds=90)
    for owner in owners:
        with pytest.raises(LostOwnershipError, match="with other shards"):
            owner.confirm(NOON + OWNER_TIMEOUT)
        owner.give_up(NOON + OWNER_TIMEOUT)
    other.confirm(NOON + OWNER_TIMEOUT)
    assert not owners[0].take(NOON + OWNER_TIMEOUT)


def test_a_whole_task_and_shards_wait_for_each_other(store: str) -> None:
    whole, shard = owner_of(store, "1/1"), owner_of(store, "2/2")
    assert whole.take(NOON)
    assert whole.generation == 0
    assert not shard.take(NOON + MINUTE)
    whole.give_up(NOON + MINUTE)
    assert shard.take(NOON + MINUTE)
    assert shard.generation == 1
    with pytest.raises(LostOwnershipError):
        whole.confirm(NOON + MINUTE)
    assert not whole.take(NOON + MINUTE)
    shard.give_up(NOON + 2 * MINUTE)
    assert whole.take(NOON + 2 * MINUTE)
    whole.confirm(NOON + 2 * MINUTE)
    with pytest.raises(LostOwnershipError):
        shard.confirm(NOON + 2 * MINUTE)


def test_a_division_that_comes_back_is_another_one(store: str) -> None:
    """So an owner that stood still meanwhile does not take it for its own."""
    first = owner_of(store, "1/4")
    assert first.take(NOON)
    between = owner_of(store, "1/6")
    assert between.take(NOON + OWNER_TIMEOUT)
    between.give_up(NOON + OWNER_TIMEOUT)
    assert owner_of(store, "2/4").take(NOON + OWNER_TIMEOUT)
    with pytest.raises(LostOwnershipError):
        first.confirm(NOON + OWNER_TIMEOUT)


def test_instances_that_divide_a_campaign_in_the_same_moment(store: str) -> None:
    """Alike, they write the same file. Of two ways, the one with more shards is in force, whoever was first."""
    log = Divisions(ObjectStoragePath(f"{store}/divisions"))
    assert log.latest() is None
    for of in (4, 4, 6, 4):
        log.write(Division(1, of), NOON, time.time())
    assert log.latest() == Division(1, 6)
    assert NOON <= (log.since(Division(1, 6)) or NOON) < NOON + MINUTE
    assert len(names(f"{store}/divisions")) == 2
    log.write(Division(2, 4), NOON, time.time())
    log.write(Division(1, 6), NOON, time.time())  # by one that stood still
    assert log.latest() == Division(2, 4)


def test_who_has_stood_still_while_it_took_a_shard_waits(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    late, early = owner_of(store, "1/4"), owner_of(store, "1/6")
    write = Divisions.write

    def slow(self: Divisions, *given: Any) -> None:
        monkeypatch.setattr(Divisions, "write", write)
        assert early.take(NOON)
        write(self, *given)

    monkeypatch.setattr(Divisions, "write", slow)
    assert not late.take(NOON)
    early.confirm(NOON)


def test_a_version_without_shards_refuses_a_campaign_that_has_some(store: str) -> None:
    assert owner_of(store, "1/4").take(NOON)
    (name,) = (name for name in names(f"{store}/out.csv.parts") if name.count(".") == 2)
    found = json.loads(ObjectStoragePath(f"{store}/out.csv.parts/{name}").read_text())
    with pytest.raises(FormatError, match="reads formats 1 to 1, the record has format 2"):
        check_format("owner", found)
    whole = owner_of(store, "1/1")
    assert whole.take(NOON + OWNER_TIMEOUT)
    assert check_format("owner", json.loads(ObjectStoragePath(f"{store}/out.csv.parts/{name}").read_text()))


def test_a_whole_task_writes_one_file(store: str) -> None:
    whole = owner_of(store, "1/1")
    assert whole.take(NOON)
    whole.confirm(NOON)
    whole.give_up(NOON)
    (name,) = names(f"{store}/out.csv.parts")
    found = json.loads(ObjectStoragePath(f"{store}/out.csv.parts/{name}").read_text())
    assert name.endswith(".owner.json")
    assert found.keys() == {"format", "task", "token", "at", "is_alive"}


def test_an_owner_that_stands_still_between_look_and_write_ends(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has written over another one that came and went, and must not take the campaign for its own."""
    one, two = owner_of(store, "1/1", "one"), owner_of(store, "1/1", "two")
    assert one.take(NOON)
    write, moments = Owner._write, [0.0]

    def stands_still(self: Owner, at: datetime, *, is_alive: bool) -> None:
        monkeypatch.setattr(Owner, "_write", write)
        assert two.take(NOON + OWNER_TIMEOUT)
        two.give_up(NOON + OWNER_TIMEOUT)
        moments[0] = 3600.0
        self._write(at, is_alive=is_alive)

    monkeypatch.setattr(Owner, "_write", stands_still)
    monkeypatch.setattr("airflow_provider_linq.campaigns._owner.time.time", lambda: moments[0])
    with pytest.raises(LostOwnershipError, match="stood still"):
        one.confirm(NOON + MINUTE)


def test_an_owner_of_the_whole_reads_one_file_for_a_claim(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = owner_of(store, "1/1")
    assert whole.take(NOON)
    whole.confirm(NOON)
    calls: list[str] = []
    monkeypatch.setattr(Owner, "_read", noting(calls, "read", Owner._read))
    monkeypatch.setattr(Divisions, "latest", noting(calls, "list", Divisions.latest))
    monkeypatch.setattr(Owner, "_write", noting(calls, "write", Owner._write))
    for seconds in range(5):
        whole.confirm(NOON + timedelta(seconds=seconds))
    assert calls == ["read"] * 5
    whole.confirm(NOON + MINUTE)
    assert calls[5:] == ["read", "write", "list"]


def noting(calls: list[str], name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def noted(*given: Any, **more: Any) -> Any:
        calls.append(name)
        return function(*given, **more)

    return noted


def test_a_whole_task_that_stands_still_while_it_takes_a_campaign_does_not_have_it(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It writes over what the shards have left there for it."""
    whole, shard = owner_of(store, "1/1"), owner_of(store, "1/2")
    during(monkeypatch, Owner, "_write", lambda: shard.take(NOON))
    assert not whole.take(NOON)
    shard.confirm(NOON)
    (file,) = (name for name in names(f"{store}/out.csv.parts") if re.fullmatch(r"\w+\.owner\.json", name))
    assert not json.loads(ObjectStoragePath(f"{store}/out.csv.parts/{file}").read_text())["is_alive"]
    for _ in range(2):
        with pytest.raises(LostOwnershipError):
            whole.confirm(NOON)


def test_a_whole_task_that_stands_still_while_it_says_that_it_is_alive_has_lost_the_campaign(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if it was for a few seconds only, and also when it looks once more."""
    whole, shard = owner_of(store, "1/1"), owner_of(store, "1/2")
    assert whole.take(NOON)
    during(monkeypatch, Owner, "_write", lambda: shard.take(NOON + OWNER_TIMEOUT))
    for _ in range(2):
        with pytest.raises(LostOwnershipError, match="with other shards"):
            whole.confirm(NOON + OWNER_TIMEOUT)
    shard.confirm(NOON + OWNER_TIMEOUT)


def during(monkeypatch: pytest.MonkeyPatch, cls: type, name: str, happens: Callable[[], Any]) -> None:
    """Let something happen right before the next call of a method."""
    method = getattr(cls, name)

    def called(*given: Any, **more: Any) -> Any:
        monkeypatch.setattr(cls, name, method)
        happens()
        return method(*given, **more)

    monkeypatch.setattr(cls, name, called)


@pytest.mark.parametrize("after", ["1/3", "2/3"])
def test_requests_of_an_owner_that_began_while_the_campaign_was_divided(
    store: str, monkeypatch: pytest.MonkeyPatch, after: str
) -> None:
    """Its file was not there when it was asked for: all that is known is when the division was in force."""
    moments = [0.0]
    monkeypatch.setattr("airflow_provider_linq.campaigns._owner.time.time", lambda: moments[0])
    assert owner_of(store, "2/2").take(NOON - timedelta(days=1))
    slow, late = owner_of(store, "1/3"), NOON + timedelta(seconds=600)

    def meanwhile() -> None:
        moments[0] = 600.0
        early = owner_of(store, "1/2")
        assert early.take(late)
        early.confirm(late)

    during(monkeypatch, Divisions, "write", meanwhile)
    assert slow.take(NOON)
    owner = slow
    if after != "1/3":
        owner = owner_of(store, after)
        assert owner.take(late + timedelta(hours=1))
    known = owner.earlier_requests_until
    assert known is None or known >= late + timedelta(seconds=60)


def test_what_was_written_over_tells_of_no_request(store: str) -> None:
    """A shard that stood still has written over the owner of the whole."""
    assert owner_of(store, "1/2").take(NOON)
    whole = owner_of(store, "1/1")
    assert whole.take(NOON + OWNER_TIMEOUT)
    (file,) = (name for name in names(f"{store}/out.csv.parts") if re.fullmatch(r"\w+\.owner\.json", name))
    ObjectStoragePath(f"{store}/out.csv.parts/{file}").write_text('{"format": 2, "is_divided": true}')
    with pytest.raises(LostOwnershipError):
        whole.confirm(NOON + OWNER_TIMEOUT)
    other = owner_of(store, "1/1", "another")
    assert other.take(NOON + timedelta(hours=1))
    assert other.earlier_requests_until is None


def test_what_other_versions_have_written_of_shards(store: str) -> None:
    """Two shards, the first of which is alive."""
    parts = ObjectStoragePath(f"{store}/out.csv.parts")
    campaign = hashlib.sha256(b"spring").hexdigest()[:16]
    (parts / f"{campaign}/divisions").mkdir(parents=True)
    for sample, name in {
        "division.json": f"{campaign}/divisions/00000003-of-2.json",
        "owner_of_a_shard.json": f"{campaign}.1-of-2.owner.json",
        "owner_while_there_are_shards.json": f"{campaign}.owner.json",
    }.items():
        (parts / name).write_text((ROOT / "tests/data/formats/campaign" / sample).read_text())
    assert not owner_of(store, "1/1").take(NOON + MINUTE)
    assert not owner_of(store, "1/2").take(NOON + MINUTE)
    second = owner_of(store, "2/2")
    assert second.take(NOON + MINUTE)
    assert (second.generation, second.earlier_requests_until) == (3, NOON + timedelta(seconds=90))
    whole = owner_of(store, "1/1")
    assert not whole.take(NOON + MINUTE + OWNER_TIMEOUT - timedelta(seconds=1))
    assert whole.take(NOON + MINUTE + OWNER_TIMEOUT)
    assert whole.generation == 4


def test_who_has_taken_which_shard_since_the_division_is_in_force(store: str) -> None:
    assert owner_of(store, "2/3").take(NOON)
    first = owner_of(store, "1/3")
    assert first.take(NOON)
    assert first.takers(NOON) == {1: Taker("1/3", is_alive=True), 2: Taker("2/3", is_alive=True)}
    assert first.takers(NOON + OWNER_TIMEOUT)[2] == Taker("2/3", is_alive=False)
    assert owner_of(store, "1/1").take(NOON + OWNER_TIMEOUT)
    again = owner_of(store, "3/3")
    assert again.take(NOON + 2 * OWNER_TIMEOUT)
    again.give_up(NOON + 2 * OWNER_TIMEOUT)
    assert again.takers(NOON + 2 * OWNER_TIMEOUT) == {3: Taker("3/3", is_alive=False)}


def test_an_owner_file_that_is_written_at_present_is_somebodys(store: str) -> None:
    first, second = owner_of(store, "1/2"), owner_of(store, "2/2")
    assert first.take(NOON)
    assert second.take(NOON)
    (file,) = (name for name in names(f"{store}/out.csv.parts") if ".2-of-2." in name)
    ObjectStoragePath(f"{store}/out.csv.parts/{file}").write_text('{"format": 1, "ta')
    assert first.takers(NOON)[2].is_alive


def test_an_error_names_some_of_many_shards() -> None:
    takers = Takers(Shard(1, 40), {1: Taker("1", is_alive=True)}, {"2": "success"})
    with pytest.raises(AirflowFailException, match=r"to 1,365 recipients in 2/40, 3/40, .* 11/40 and 29 more$"):
        takers.check(dict.fromkeys(range(1, 41), 35))
    takers.check({1: 35})


def test_who_has_said_all_is_waited_for_no_more(store: str) -> None:
    one, two = owner_of(store, "1/2"), owner_of(store, "2/2")
    assert one.take(NOON)
    assert two.take(NOON)
    assert two.is_anybody_sending(NOON)
    one.complete(NOON)
    assert not two.is_anybody_sending(NOON)
    one.confirm(NOON + MINUTE)
    assert not two.is_anybody_sending(NOON + MINUTE)
    assert one.is_anybody_sending(NOON)
    assert not one.is_anybody_sending(NOON + OWNER_TIMEOUT)
