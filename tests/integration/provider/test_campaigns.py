"""Campaigns: what is sent, and what comes back."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import ObjectStoragePath
from airflow.sdk.definitions.template import literal  # in airflow.sdk, Airflow 3.1.0 does not have it

from airflow_provider_linq._internal.key_lifetimes import LATE_ACCEPTANCE
from airflow_provider_linq._internal.version_compat import AirflowException, AirflowFailException, TaskDeferred
from airflow_provider_linq.campaigns import DeliveryReport, RateLimits, _run
from airflow_provider_linq.campaigns._model import recipient_key
from airflow_provider_linq.campaigns.config import Campaign
from tests.support.airflow import Store
from tests.support.campaigns import A, campaign, context, fault, once, outcomes, people, posts, sent_to
from tests.support.emulator_process import Emulator

pytestmark = pytest.mark.usefixtures("connect")


def test_each_recipient_gets_one_message(emulator: Emulator, tmp_path: Path) -> None:
    rows, path = people(300), tmp_path / "outcomes.jsonl"
    result = campaign(rows=rows, outcomes_path=str(path)).execute(context(Store()))
    assert sent_to(emulator) == once(rows)
    assert (result["sent"], result["failed"], result["unknown"], result["pending"]) == (300, 0, 0, 0)
    found = outcomes(path)
    ledger = {message["to"][0]: message for message in emulator.ledger()}
    assert {to: row["message_id"] for to, row in found.items()} == {to: row["id"] for to, row in ledger.items()}
    assert [row["row"] for row in found.values()] == list(range(1, 301))
    assert found["person7@example.com"]["idempotency_key"] == ledger["person7@example.com"]["idempotency_key"]
    assert ledger["person7@example.com"]["parts"][0]["value"] == "Hello Person 7"


def test_rows_are_checked_before_anything_is_sent(emulator: Emulator, tmp_path: Path) -> None:
    path = tmp_path / "outcomes.jsonl"
    rows = [
        *people(2),
        {"to": "+1 202 555 0150", "name": "X"},
        {"to": "person0@example.com", "name": "Again"},
        {"to": "a@example.com"},
    ]
    with pytest.raises(AirflowFailException, match="3 of 5 rows can't be sent to") as refused:
        campaign(rows=rows, outcomes_path=str(path)).execute(context(Store()))
    assert not emulator.ledger()
    assert all(f"row {number}" in str(refused.value) for number in (3, 4, 5))
    assert {row["row"]: row["reason"] for row in outcomes(path).values()} == {
        3: "invalid",
        4: "duplicate",
        5: "invalid",
    }
    result = campaign(rows=rows, on_invalid="skip").execute(context(Store()))
    assert result["sent"] == 2
    assert result["skipped"] == {"opted_out": 0, "blocked": 0, "invalid": 2, "duplicate": 1, "suppressed": 0, "late": 0}
    assert sent_to(emulator) == once(rows[:2])


def test_a_link_is_refused_where_it_may_be_the_first_message(emulator: Emulator) -> None:
    rows = people(1)
    with pytest.raises(AirflowFailException, match="no URL in the first message"):
        campaign(rows=rows, message="See https://example.com").execute(context(Store()))
    assert campaign(rows=rows, message="See https://example.com", from_="any").execute(context(Store()))["sent"] == 1


def test_opt_outs_are_no_failures(emulator: Emulator, tmp_path: Path) -> None:
    rows, path = people(5), tmp_path / "outcomes.csv"
    emulator.control("POST", "handles", {"handle": "person1@example.com", "opted_out": True})
    emulator.control("POST", "handles", {"handle": "person2@example.com", "blocked": True})
    result = campaign(rows=rows, outcomes_path=str(path)).execute(context(Store()))
    assert result["sent"] == 3
    assert result["skipped"] == {"opted_out": 1, "blocked": 1, "invalid": 0, "duplicate": 0, "suppressed": 0, "late": 0}
    assert "person1@example.com,skipped,opted_out" in path.read_text()


def test_a_refusal_that_is_garbled_settles_nothing(emulator: Emulator) -> None:
    emulator.control("POST", "handles", {"handle": "person0@example.com", "opted_out": True})
    fault(emulator, kind="malformed", when="after", count=1)
    store = Store()
    # The first request may have come through: the refusal of the second counts when that can't be any more.
    with pytest.raises(AirflowException, match="1 recipients are not settled"):
        campaign(rows=people(1)).execute(context(store))
    emulator.advance(LATE_ACCEPTANCE.total_seconds() + 1)
    result = campaign(rows=people(1)).execute(context(store, try_number=2))
    assert (result["skipped"]["opted_out"], result["failed"], result["unknown"]) == (1, 0, 0)
    assert posts(emulator) == 3


@pytest.mark.parametrize(("allowed", "fails"), [(0, True), (1, True), (2, False), (0.1, True), (0.2, False)])
def test_too_many_failures_fail_the_task_when_all_were_sent_to(
    emulator: Emulator, tmp_path: Path, allowed: float, fails: bool
) -> None:
    rows, path = people(10), tmp_path / "outcomes.jsonl"
    fault(emulator, kind="status", status=403, code=2008, count=2)
    task = campaign(rows=rows, max_failures=allowed, outcomes_path=str(path))
    if fails:
        with pytest.raises(AirflowFailException, match="2 of 10 recipients failed"):
            task.execute(context(Store()))
    else:
        assert task.execute(context(Store()))["failed"] == 2
    assert sum(sent_to(emulator).values()) == 8
    assert Counter((row["status"], row["code"]) for row in outcomes(path).values()) == {
        ("sent", None): 8,
        ("failed", 2008): 2,
    }


def test_a_dry_run_sends_nothing_and_says_what_it_would(emulator: Emulator, tmp_path: Path) -> None:
    path = tmp_path / "outcomes.jsonl"
    rows = [*people(2), {"to": "nobody"}]
    store = Store()
    result = campaign(rows=rows, dry_run=True, outcomes_path=str(path)).execute(context(store))
    assert result["pending"] == 2
    assert posts(emulator) == 0
    assert not store.values
    found = outcomes(path)
    assert found["person0@example.com"]["message"] == "Hello Person 0"
    assert found["person0@example.com"]["line"] == A
    assert found["person0@example.com"]["idempotency_key"] == recipient_key(
        result["campaign_key"], ["person0@example.com"]
    )
    assert found[""]["reason"] == "invalid"


def test_files_are_uploaded_once(emulator: Emulator, tmp_path: Path) -> None:
    image = tmp_path / "menu.png"
    image.write_bytes(b"\x89PNG\r\n\x1a\n" + b"0" * 100)
    message = ["Hello {{ row.name }}", {"type": "media", "path": str(image)}]
    assert campaign(rows=people(20), message=message).execute(context(Store()))["sent"] == 20
    uploads = [request for request in emulator.requests_served() if request["path"].endswith("/attachments")]
    assert len(uploads) == 1


def test_the_follow_up_waits_for_deliveries_and_reports(emulator: Emulator, tmp_path: Path) -> None:
    rows, store = people(10), Store()
    path = tmp_path / "report.jsonl"
    task = campaign(
        rows=rows,
        outcomes_path=str(tmp_path / "outcomes.jsonl"),
        report_path=str(path),
        delivery_report=DeliveryReport(delivered_share=1, timeout=3600, poll_interval=600),
    )
    with pytest.raises(TaskDeferred):
        task.execute(context(store))
    before = posts(emulator)
    emulator.advance(1)
    emulator.control("POST", "inbound", {"line": A, "from": "person1@example.com", "text": "Thanks"})
    emulator.control("POST", "inbound", {"line": A, "from": "person2@example.com", "text": "STOP"})
    emulator.advance(600)
    result = task.execute_complete(context(store))
    assert result["sent"] == 10
    assert result["report"] == {
        **{"sent": 10, "delivered": 10, "read": 0, "failed": 0, "gone": 0, "unknown": 0},
        **{"replied": 2, "opted_out": 1},
    }
    assert {to for to, row in outcomes(path).items() if row["opted_out"]} == {"person2@example.com"}
    assert posts(emulator) == before


def test_the_follow_up_ends_when_its_time_is_over(emulator: Emulator, tmp_path: Path) -> None:
    emulator.control("PATCH", "switches", {"automatic_delivery": False})
    store = Store()
    task = campaign(
        rows=people(4), outcomes_path=str(tmp_path / "outcomes.jsonl"), delivery_report=DeliveryReport(timeout=900)
    )
    with pytest.raises(TaskDeferred):
        task.execute(context(store))
    message = emulator.ledger()[0]
    emulator.control("POST", "receipts", {"message_id": message["id"], "status": "delivered"})
    looked = len(emulator.requests_served())
    emulator.advance(300)
    with pytest.raises(TaskDeferred):
        task.execute_complete(context(store))
    emulator.advance(300)
    with pytest.raises(TaskDeferred):
        task.execute_complete(context(store))
    requests = emulator.requests_served()[looked:]
    # Who is delivered is asked for no more, and nothing but the messages is.
    assert Counter(request["path"].startswith("/v3/messages/") for request in requests) == {True: 7}
    emulator.advance(301)
    assert task.execute_complete(context(store))["report"]["delivered"] == 1


def test_a_function_does_the_same_and_waits_itself(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    emulator.control("POST", "clock", {"freeze": False, "speed": 7200})
    monkeypatch.setattr(_run, "get_current_context", lambda: context(Store()))
    monkeypatch.setattr(_run.time, "sleep", lambda seconds: emulator.advance(seconds))
    result = _run.send_campaign(
        Campaign(rows=people(3), message="Hi {{ row.name }}", send_window=("18:00", "18:30"), timezone="UTC")
    )
    assert result["sent"] == 3
    assert sent_to(emulator) == once(people(3))


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"concurrency": 0}, "concurrency must be a whole number, 1 or more, got 0"),
        ({"max_failures": -1}, "max_failures must be 0 or more"),
        ({"on_invalid": "ignore"}, "on_invalid must be one of fail, skip"),
        ({"send_window": ("20:00", "20:00")}, "send_window must open and close at different times"),
        ({"delivery_report": DeliveryReport()}, "delivery_report needs outcomes_path"),
        ({"report_path": "r.csv"}, "report_path goes with delivery_report"),
        ({"send_window": "09:00"}, "send_window must be two times of the day"),
        ({"not_after": timedelta(0)}, "not_after must be above 0"),
        ({"null_values": "NULL"}, "null_values must be a list of words"),
        ({"null_values": 5}, "null_values must be a list of words"),
        ({"delivery_report": True, "outcomes_path": "out.csv"}, "delivery_report must be a DeliveryReport, got True"),
        ({"line_limits": None}, "line_limits must be a RateLimits, got None"),
        ({"total_limits": {"messages_per_day": 5}}, "total_limits must be a RateLimits, got {"),
        ({"to_field": None}, "to_field must be the name of a column"),
        ({"outcomes_path": ObjectStoragePath("out.csv")}, "outcomes_path: must be a path or URL as text, got Obj"),
        ({"rows_path": 5}, "rows_path: must be a path or URL as text, got int"),
        ({"files_under": "/"}, "files_under must be folders"),
        ({"message": literal("Hi")}, "message must be a template over the rows, .* give that in values"),
    ],
)
def test_wrong_arguments_are_refused_when_the_dag_is_parsed(arguments: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        campaign(rows=[], **arguments)


def test_a_path_may_be_one_of_pathlib(emulator: Emulator, tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text("to,name\nann@example.com,Ann\n")
    paths: dict[str, Any] = {"rows_path": tmp_path / "people.csv", "outcomes_path": tmp_path / "out.jsonl"}
    result = campaign(**paths).execute(context(Store()))
    assert (result["sent"], result["outcomes_path"]) == (1, str(tmp_path / "out.jsonl"))


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"rows": None}, "exactly one of rows, rows_path and sql"),
        ({"campaign_key": "of {{ ds }}"}, "campaign_key: must be rendered, got a template"),
        ({"not_after": "20:00"}, "not_after: must be a datetime"),
        ({"campaign_key": "None"}, "campaign_key: must tell this message from others"),
        ({"outcomes_path": "out.txt"}, "outcomes_path"),
        ({"from_": ["12025550101"]}, "from_: must be E.164"),
        ({"from_": []}, "from_: must be 1 to 249 lines, got 0"),
        ({"from_": ["+12025550101"] * 250}, "from_: must be 1 to 249 lines, got 250"),
        ({"from_": 12025550101}, "from_: must be a line or a list of lines, got int"),
        ({"values": "name=Ann"}, "values: must be names and values, got str"),
        ({"timezone": "Mars"}, "timezone: must be the IANA name"),
        ({"message": "{{ row.name"}, "message: line 1 of the template"),
        ({"dry_run": "perhaps", "outcomes_path": "a.csv"}, "dry_run: must be true or false"),
        ({"dry_run": True}, "dry_run: needs outcomes_path"),
    ],
)
def test_wrong_values_are_refused_before_anything_is_sent(
    emulator: Emulator, arguments: dict[str, Any], why: str
) -> None:
    with pytest.raises(AirflowFailException, match=why):
        campaign(**{"rows": people(2), **arguments}).execute(context(Store()))
    assert posts(emulator) == 0


def test_a_file_that_is_missing_ends_the_campaign_before_it_begins(emulator: Emulator, tmp_path: Path) -> None:
    message = ["Hello", {"type": "media", "path": str(tmp_path / "none.png")}]
    with pytest.raises(AirflowFailException, match="path: must be a file that can be read"):
        campaign(rows=people(5), message=message).execute(context(Store()))
    assert not emulator.ledger()


def test_an_outcomes_file_is_not_lost_to_a_row_that_turned_invalid(emulator: Emulator, tmp_path: Path) -> None:
    rows, store, path = people(3), Store(), tmp_path / "outcomes.jsonl"
    campaign(rows=rows, outcomes_path=str(path)).execute(context(store))
    before = path.read_text()
    with pytest.raises(AirflowFailException, match="1 of 4 rows"):
        campaign(rows=[*rows, {"to": "?"}], outcomes_path=str(path)).execute(context(store, try_number=2))
    assert path.read_text() == before


def test_the_log_tells_what_begins_what_it_waits_for_and_what_was_done(
    emulator: Emulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    path, store, rows = tmp_path / "outcomes.jsonl", Store(), [{**row, "zone": "UTC"} for row in people(30)]
    rows[0]["zone"] = "Asia/Tokyo"  # where it is nine in the evening
    arguments: dict[str, Any] = {
        "rows": rows,
        "campaign_key": "soup",
        "outcomes_path": str(path),
        "line_limits": RateLimits(messages_per_day=20),
        "send_window": "11:30-21:00",
        "timezone_field": "zone",
        "not_after": timedelta(days=400),
    }
    task = campaign(**arguments)
    with pytest.raises(TaskDeferred):
        task.execute(context(store))
    begun, progress, waiting = (
        record.getMessage() for record in caplog.records if record.name.startswith("airflow_provider_linq.campaigns")
    )
    assert begun.startswith(
        "Campaign soup: 30 recipients, from 1 line, each line at most 20 messages a day, "
        "between 11:30 and 21:00 UTC or the recipient's zone, not after 20"
    )
    assert progress.startswith("Campaign: 20 of 30 settled: 20 sent")
    assert "pending" not in progress
    assert waiting.startswith(
        f"Nothing can be sent now: the limit of messages a day of {A} is reached until 2026-03-02 00:00 UTC, for 9; "
        "the send window is closed in Asia/Tokyo until 2026-03-02 02:30 UTC, for 1. Waiting until 20"
    )
    assert len(path.read_text().splitlines()) == 30, "the outcomes are there before the end"
    emulator.advance(23.75 * 3600)
    assert task.execute_complete(context(store))["sent"] == 30
    assert "Campaign soup: 30 recipients, 20 of them settled in earlier runs" in caplog.text
    assert f"Campaign: 30 sent, 20 of them in earlier tries. What became of each is in {path}" in caplog.text
    caplog.clear()
    assert task.execute(context(store, try_number=2, max_tries=11))["sent"] == 30
    assert "Campaign: 30 were sent in earlier tries, nothing in this one. What" in caplog.text


def test_a_campaign_that_is_stopped_says_how_far_it_came(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    task, store = campaign(rows=people(5)), Store()
    emulator.control("POST", "faults", {"kind": "latency", "seconds": 0.2, "path": "phone_numbers"})
    task.on_kill()
    with pytest.raises(AirflowException, match="The task was stopped: .* clear the task"):
        task.execute(context(store))
    assert "Campaign: 0 of 5 settled" in caplog.text
    assert posts(emulator) == 0
    assert campaign(rows=people(5)).execute(context(store, try_number=2))["sent"] == 5
    assert sent_to(emulator) == once(people(5))
