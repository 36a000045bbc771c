"""Which task sends a campaign: one at a time, however many begin, die or stand still."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import pytest

from airflow_provider_linq._internal.version_compat import TaskDeferred
from airflow_provider_linq.campaigns._journal import Journal, Writer
from airflow_provider_linq.campaigns._owner import OWNER_TIMEOUT, LostOwnershipError
from tests.support.airflow import Store
from tests.support.campaigns import STORES, campaign, context, folder_in, people, posts
from tests.support.emulator_process import Emulator

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder that is not there yet, on a disk and in an object store."""
    return folder_in(request.param, tmp_path)


@pytest.mark.usefixtures("connect")
def test_a_campaign_waits_while_another_task_sends_it(emulator: Emulator, tmp_path: Path) -> None:
    rows, path = people(3), str(tmp_path / "outcomes.jsonl")
    owner = Journal(path, "spring", Writer("other", 0)).owner
    assert owner.take(NOON)
    task, store = campaign(rows=rows, campaign_key="spring", outcomes_path=path), Store()
    with pytest.raises(TaskDeferred):
        task.execute(context(store))
    assert posts(emulator) == 0
    emulator.advance(OWNER_TIMEOUT.total_seconds())
    assert task.execute_complete(context(store))["sent"] == 3
    with pytest.raises(LostOwnershipError):
        owner.confirm(NOON + OWNER_TIMEOUT)
    assert owner.take(NOON + OWNER_TIMEOUT)  # immediately: the task has given it up
