"""How far a campaign is, as the task state store has it for Airflow's UI."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_linq._internal import durable
from airflow_provider_linq._internal.version_compat import AirflowException, AirflowFailException, TaskDeferred
from airflow_provider_linq.operators.campaigns import LinqSendCampaignOperator
from linq_client.times import parse_datetime
from tests.support.airflow import ROOT, Store
from tests.support.campaigns import A, B, campaign, context, fault, people
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


def test_all_that_is_recorded_is_documented(emulator: Emulator, tmp_path: Path) -> None:
    store = Store()
    campaign(rows=people(1), shard="1/1", outcomes_path=str(tmp_path / "outcomes.csv")).execute(context(store))
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


def test_who_failed_is_counted_by_code(emulator: Emulator, tmp_path: Path) -> None:
    """Also those of an earlier try, as far as their codes are on record, and nobody who was sent to since."""
    store, path = Store(), str(tmp_path / "outcomes.jsonl")

    def run(**instance: int) -> tuple[int, dict[str, int]]:
        task = campaign(rows=people(6), from_=[A], concurrency=1, max_failures=0, outcomes_path=path)
        with pytest.raises(AirflowFailException):
            task.execute(context(store, **instance))
        return progress(store)["failed"], progress(store)["failed_by_code"]

    fault(emulator, kind="status", status=422, code=1002, count=2)
    fault(emulator, kind="status", status=403, code=2008, count=1)
    assert run() == (3, {"1002": 2, "2008": 1})
    assert run(try_number=2) == (3, {"1002": 2, "2008": 1})
    fault(emulator, kind="status", status=422, code=1002, count=1)
    assert run(try_number=3, max_tries=11) == (1, {"1002": 1}), "a clear asks for them again"


def test_how_the_lines_are_is_recorded(emulator: Emulator) -> None:
    emulator.control("POST", "lines", {"phone_number": B, "reputation": "AT_RISK"})
    store = Store()
    campaign(rows=people(3), from_=[A, B]).execute(context(store))
    assert progress(store)["lines"] == {
        A: {"reputation": "HEALTHY", "share": 0.6667, "excluded": None},
        B: {"reputation": "AT_RISK", "share": 0.3333, "excluded": None},
    }
    emulator.control("POST", "lines", {"phone_number": B, "reputation": "CRITICAL"})
    store = Store()
    campaign(rows=people(4), from_=[A, B]).execute(context(store))
    assert progress(store)["lines"] == {
        A: {"reputation": "HEALTHY", "share": 1, "excluded": None},
        B: {"reputation": "CRITICAL", "share": 0, "excluded": "its reputation is CRITICAL"},
    }


def test_where_the_platform_chooses_no_line_has_a_share(emulator: Emulator) -> None:
    for number in range(20):
        emulator.control("POST", "lines", {"phone_number": f"+12025550{number + 100}"})
    store = Store()
    campaign(rows=people(1), from_="any").execute(context(store))
    # An account may have thousands, and the record is written every few seconds: those that have sent are in it.
    ((line, health),) = progress(store)["lines"].items()
    assert health["share"] is None
    assert [line] == [message["from"] for message in emulator.ledger()]


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
