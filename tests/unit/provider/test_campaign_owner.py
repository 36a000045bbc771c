"""Which task sends a campaign: one at a time, however many begin, die or stand still."""

from __future__ import annotations

import json
import threading
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from airflow.sdk import ObjectStoragePath

from airflow_provider_linq._internal.durable import FORMAT, FormatError
from airflow_provider_linq.campaigns._journal import Journal, Writer
from airflow_provider_linq.campaigns._owner import (
    CONFIRM_AGE,
    OWNER_HEARTBEAT,
    OWNER_TIMEOUT,
    LostOwnershipError,
    Owner,
)
from tests.support.campaigns import STORES, folder_in, names

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder that is not there yet, on a disk and in an object store."""
    return folder_in(request.param, tmp_path)


def owner_in(store: str, task: str) -> Owner:
    return Journal(f"{store}/out.csv", "spring", Writer(task, 0)).owner


def test_one_task_at_a_time_sends_a_campaign(store: str) -> None:
    one, two = owner_in(store, "one"), owner_in(store, "two")
    assert one.take(NOON)
    assert not two.take(NOON + timedelta(seconds=1))
    one.confirm(NOON + timedelta(seconds=2))
    with pytest.raises(LostOwnershipError):
        two.confirm(NOON + timedelta(seconds=2))
    two.give_up(NOON)  # of what it does not have
    one.confirm(NOON + timedelta(seconds=3))
    one.give_up(NOON + timedelta(seconds=4))
    assert two.take(NOON + timedelta(seconds=4))
    with pytest.raises(LostOwnershipError):
        one.confirm(NOON + timedelta(seconds=5))


def test_an_owner_that_has_not_confirmed_for_long_loses_the_campaign(store: str) -> None:
    one, two = owner_in(store, "one"), owner_in(store, "two")
    assert one.take(NOON)
    assert not two.take(NOON + OWNER_TIMEOUT - timedelta(seconds=1))
    assert two.take(NOON + OWNER_TIMEOUT)
    with pytest.raises(LostOwnershipError):
        one.confirm(NOON + OWNER_TIMEOUT)
    one.give_up(NOON + OWNER_TIMEOUT)  # which must not give up what is two's
    two.confirm(NOON + OWNER_TIMEOUT)
    assert not one.take(NOON + OWNER_TIMEOUT + timedelta(seconds=1))


def test_an_owner_that_confirms_keeps_the_campaign(store: str) -> None:
    one, two = owner_in(store, "one"), owner_in(store, "two")
    assert one.take(NOON)
    now = NOON
    for _ in range(10):
        now += OWNER_HEARTBEAT + timedelta(seconds=1)
        one.confirm(now)
        assert not two.take(now + timedelta(seconds=1))
    assert not two.take(now + OWNER_TIMEOUT - timedelta(seconds=1))
    assert two.take(now + OWNER_TIMEOUT)


def test_an_owner_does_not_write_each_time_that_it_confirms(tmp_path: Path) -> None:
    one = owner_in(str(tmp_path), "one")
    assert one.take(NOON)
    (file,) = (tmp_path / "out.csv.parts").iterdir()
    before = file.stat()
    one.confirm(NOON + OWNER_HEARTBEAT)
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    one.confirm(NOON + OWNER_HEARTBEAT + timedelta(seconds=1))
    assert json.loads(file.read_text())["at"] == "2026-03-01T12:00:31Z"


def test_a_new_try_of_the_same_task_takes_over_immediately(store: str) -> None:
    before, now = owner_in(store, "one"), owner_in(store, "one")
    assert before.take(NOON)
    assert now.take(NOON + timedelta(seconds=1))
    with pytest.raises(LostOwnershipError, match="another try of this one, sends this campaign now"):
        before.confirm(NOON + timedelta(seconds=2))
    before.give_up(NOON + timedelta(seconds=2))
    now.confirm(NOON + timedelta(seconds=2))
    assert not owner_in(store, "two").take(NOON + timedelta(seconds=3))


def test_of_tasks_that_take_a_campaign_in_the_same_moment_one_may_use_it(store: str) -> None:
    owners = [owner_in(store, f"task {number}") for number in range(6)]
    barrier = threading.Barrier(len(owners))
    taken: list[Owner] = []

    def take(owner: Owner) -> None:
        barrier.wait()
        if owner.take(NOON):
            taken.append(owner)

    threads = [threading.Thread(target=take, args=(owner,)) for owner in owners]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    confirmed = []
    for owner in taken:
        try:
            owner.confirm(NOON)
        except LostOwnershipError:
            continue
        confirmed.append(owner)
    assert len(confirmed) == 1


def test_an_owner_knows_until_when_the_one_before_made_requests(store: str) -> None:
    one, two, three = (owner_in(store, task) for task in ("one", "two", "three"))
    assert one.take(NOON)
    assert one.earlier_requests_until is None
    now = NOON + OWNER_HEARTBEAT + timedelta(seconds=1)
    one.confirm(now)
    # One that died may have confirmed without writing, and have used its claims for a while after that.
    assert two.take(now + OWNER_TIMEOUT)
    assert two.earlier_requests_until == now + OWNER_HEARTBEAT + CONFIRM_AGE
    now += timedelta(hours=1)
    two.give_up(now)
    assert three.take(now + timedelta(minutes=1))
    assert three.earlier_requests_until == now


def test_an_owner_file_of_a_newer_format_is_refused(store: str) -> None:
    one = owner_in(store, "one")
    assert one.take(NOON)
    (name,) = names(f"{store}/out.csv.parts")
    file = ObjectStoragePath(f"{store}/out.csv.parts/{name}")
    found = json.loads(file.read_text())
    file.write_text(json.dumps({**found, "colour": "blue"}))
    one.confirm(NOON)
    file.write_text(json.dumps({**found, "format": FORMAT + 1}))
    for use in (one.confirm, owner_in(store, "two").take):
        with pytest.raises(FormatError, match=r"^owner of the campaign .* the record has format 2"):
            use(NOON)


@pytest.mark.parametrize("kept", [0, 10, 40])
def test_an_owner_file_that_was_not_written_to_its_end_names_nobody(store: str, kept: int) -> None:
    """A worker can be killed while it writes, and not every store writes a file whole or not at all."""
    one, two = owner_in(store, "one"), owner_in(store, "two")
    assert one.take(NOON)
    (name,) = names(f"{store}/out.csv.parts")
    file = ObjectStoragePath(f"{store}/out.csv.parts/{name}")
    file.write_text(file.read_text()[:kept])
    with pytest.raises(LostOwnershipError):
        one.confirm(NOON)
    one.give_up(NOON)
    assert two.take(NOON)
    assert two.earlier_requests_until is None  # so they may have been made until now
    two.confirm(NOON)
