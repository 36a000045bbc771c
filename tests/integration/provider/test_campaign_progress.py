"""How far a campaign is, as the task state store has it for Airflow's UI."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from airflow_provider_linq._internal import durable
from airflow_provider_linq._internal.version_compat import AirflowException, TaskDeferred
from airflow_provider_linq.operators.campaigns import LinqSendCampaignOperator
from linq_client.times import parse_datetime
from tests.support.airflow import ROOT, Store
from tests.support.campaigns import A, B, campaign, context, people
from tests.support.emulator_process import Emulator

pytestmark = pytest.mark.usefixtures("connect")

SETTLED = ("sent", "opted_out", "blocked", "failed", "unknown")


def progress(store: Store) -> dict[str, Any]:
    found: dict[str, Any] = store.values[durable.CAMPAIGN_PROGRESS]
    return found


def test_a_campaign_that_has_ended(emulator: Emulator) -> None:
    emulator.control("POST", "inbound", {"line": A, "from": "person2@example.com", "text": "STOP"})
    emulator.control("POST", "inbound", {"line": B, "from": "person2@example.com", "text": "STOP"})
    store = Store()
    result = campaign(rows=people(7), from_=[A, B]).execute(context(store))
    found = progress(store)
    assert (found["state"], found["recipients"], found["under_way"]) == ("ended", 7, 0)
    assert {name: found[name] for name in SETTLED} == {
        "sent": 6, "opted_out": 1, "blocked": 0, "failed": 0, "unknown": 0
    }  # fmt: skip
    assert (result["sent"], result["skipped"]["opted_out"]) == (6, 1)
    (lines,) = found["days"].values()
    assert sum(messages for messages, _ in lines.values()) == 6
    assert (found["per_second"], found["done_at"], found["waits_for"], found["waits_until"]) == (None,) * 4
    assert "example.com" not in json.dumps(found), "whoever sees the task's state sees no recipient"


def test_all_that_is_recorded_is_documented(emulator: Emulator) -> None:
    store = Store()
    campaign(rows=people(1)).execute(context(store))
    text = (ROOT / "docs/reference/durable-formats.md").read_text().partition("### Progress")[2].partition("###")[0]
    cells = re.findall(r"^\| (`.*?) \|", text, flags=re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", " ".join(cells))) == progress(store).keys() - {"format"}


def test_a_campaign_that_waits(emulator: Emulator) -> None:
    store = Store()
    task = LinqSendCampaignOperator(task_id="campaign", message="Hello", rows=people(51), from_=A, deferrable=True)
    with pytest.raises(TaskDeferred):
        task.execute(context(store))
    found = progress(store)
    assert (found["state"], found["sent"], found["under_way"]) == ("waiting", 50, 0)
    assert (found["messages_per_day"], found["new_chats_per_day"]) == (7000, 50)
    assert "the limit of new chats a day" in found["waits_for"]
    assert parse_datetime(found["waits_until"]) > parse_datetime(found["at"])


def test_a_campaign_that_is_stopped(emulator: Emulator) -> None:
    task, store = campaign(rows=people(5)), Store()
    task.on_kill()
    with pytest.raises(AirflowException):
        task.execute(context(store))
    assert (progress(store)["state"], progress(store)["sent"], progress(store)["recipients"]) == ("ended", 0, 5)


class Refusing(Store):
    """A store that takes all but the progress."""

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        if key == durable.CAMPAIGN_PROGRESS:
            raise ConnectionError("the database is away")
        super().set(key, value, retention=retention)


def test_a_progress_that_cannot_be_recorded_stops_nobody(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    assert campaign(rows=people(3)).execute(context(Refusing()))["sent"] == 3
    assert "The progress of the campaign could not be recorded: ConnectionError" in caplog.text


def test_the_link_is_there_when_the_campaign_begins(emulator: Emulator) -> None:
    task, run = campaign(rows=people(1)), context(Store(), run_id="manual__2026-03-01T00:00")
    task.on_kill()
    with pytest.raises(AirflowException):
        task.execute(run)
    (link,) = task.operator_extra_links
    assert link.name == "Campaign"
    assert run["ti"].pushed == {
        link.xcom_key: "/plugin/linq?dag_id=dag&run_id=manual__2026-03-01T00%3A00&task_id=task&map_index=-1"
    }


def test_no_campaign_fails_for_its_link(emulator: Emulator) -> None:
    run = context(Store())
    del run["ti"].xcom_push
    assert campaign(rows=people(1)).execute(run)["sent"] == 1
