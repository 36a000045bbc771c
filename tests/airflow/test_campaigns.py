"""Campaigns: each recipient once, whatever happens on the way."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, TaskDeferred

from airflow_provider_linq.campaigns import run, sending
from airflow_provider_linq.campaigns.campaign import Campaign
from airflow_provider_linq.campaigns.follow_up import FollowUp
from airflow_provider_linq.campaigns.model import recipient_key
from airflow_provider_linq.campaigns.pace import Pace
from airflow_provider_linq.operators.linq_campaigns import LinqSendCampaignOperator
from linq_client import LinqError
from tests.airflow import conftest
from tests.airflow.conftest import Store
from tests.emulator_process import Emulator

A, B, C = "+12025550101", "+12025550102", "+12025550103"

pytestmark = pytest.mark.usefixtures("connect")


def context(store: Store | None = None, **instance: Any) -> Any:
    """Of a task with retries left."""
    return conftest.context(store, **{"max_tries": 10, **instance})


def people(number: int) -> list[dict[str, Any]]:
    """So many recipients with names; mail addresses, since there are few fictional phone numbers."""
    return [{"to": f"person{index}@example.com", "name": f"Person {index}"} for index in range(number)]


def campaign(**arguments: Any) -> LinqSendCampaignOperator:
    return LinqSendCampaignOperator(task_id="campaign", **{"message": "Hello {{ row.name }}", **arguments})


def sent_to(emulator: Emulator) -> Counter[str]:
    return Counter(handle for message in emulator.ledger() for handle in message["to"])


def once(rows: list[dict[str, Any]]) -> Counter[str]:
    return Counter(row["to"] for row in rows)


def lines_of(emulator: Emulator) -> Counter[str]:
    return Counter(message["line"] for message in emulator.ledger())


def fault(emulator: Emulator, **order: Any) -> None:
    emulator.control("POST", "faults", {"path": "^/v3/(chats|messages)$", "method": "POST", **order})


def outcomes(path: Path) -> dict[str, dict[str, Any]]:
    return {",".join(row["to"]): row for row in map(json.loads, path.read_text().splitlines())}


def posts(emulator: Emulator) -> int:
    return sum(request["method"] == "POST" for request in emulator.requests_served())


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


def test_a_retry_asks_only_for_those_who_are_not_settled(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "MAX_TRIES", 1)
    rows, store = people(60), Store()
    fault(emulator, kind="status", status=500, code=3006, count=5)
    with pytest.raises(AirflowException, match="5 recipients are not settled"):
        campaign(rows=rows).execute(context(store))
    assert sum(sent_to(emulator).values()) == 55
    before = posts(emulator)
    result = campaign(rows=rows).execute(context(store, try_number=2))
    assert sent_to(emulator) == once(rows)
    assert posts(emulator) - before == 5
    assert result["sent"] == 60


def test_who_got_no_answer_is_asked_for_with_the_same_key(emulator: Emulator) -> None:
    rows = people(40)
    fault(emulator, kind="reset", when="after", count=12)
    result = campaign(rows=rows).execute(context(Store()))
    assert sent_to(emulator) == once(rows)
    assert result["sent"] == 40


def test_the_text_may_change_between_tries(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "MAX_TRIES", 1)
    rows, store = people(10), Store()
    fault(emulator, kind="reset", when="after", count=4)
    with pytest.raises(AirflowException, match="4 recipients are not settled"):
        campaign(rows=rows).execute(context(store))
    campaign(rows=rows, message="Dear {{ row.name }}").execute(context(store, try_number=2))
    assert sent_to(emulator) == once(rows)


def test_without_a_store_the_keys_carry_the_guarantee(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "MAX_TRIES", 1)
    rows = people(30)
    fault(emulator, kind="reset", when="after", count=4)
    started = datetime(2026, 3, 1, 11, 59, tzinfo=timezone.utc)
    with pytest.raises(AirflowException, match="4 recipients are not settled"):
        campaign(rows=rows).execute(context())
    again = context(try_number=2)
    again["dag_run"].start_date = started
    assert campaign(rows=rows).execute(again)["sent"] == 30
    assert sent_to(emulator) == once(rows)


def test_without_a_store_and_with_forgotten_keys_the_chats_tell(emulator: Emulator) -> None:
    emulator.control("PATCH", "switches", {"idempotency_hours": 1})
    rows = people(20)
    campaign(rows=rows[:12]).execute(context())
    emulator.advance(12 * 3600)
    again = context(try_number=2)
    again["dag_run"].start_date = datetime(2026, 3, 1, 11, 59, tzinfo=timezone.utc)
    assert campaign(rows=rows).execute(again)["sent"] == 20
    assert sent_to(emulator) == once(rows)


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
    assert result["skipped"] == {"opted_out": 0, "blocked": 0, "invalid": 2, "duplicate": 1}
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
    assert result["skipped"] == {"opted_out": 1, "blocked": 1, "invalid": 0, "duplicate": 0}
    assert "person1@example.com,skipped,opted_out" in path.read_text()


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


def test_a_clear_sends_to_those_who_failed_and_to_nobody_else(emulator: Emulator) -> None:
    rows, store = people(10), Store()
    fault(emulator, kind="status", status=403, code=2008, count=2)
    with pytest.raises(AirflowFailException):
        campaign(rows=rows).execute(context(store))
    with pytest.raises(AirflowFailException):
        campaign(rows=rows).execute(context(store, try_number=2))
    assert sum(sent_to(emulator).values()) == 8
    assert campaign(rows=rows).execute(context(store, try_number=3, max_tries=4))["sent"] == 10
    assert sent_to(emulator) == once(rows)


def test_another_campaign_key_is_another_campaign_after_a_clear_only(emulator: Emulator) -> None:
    rows, store = people(3), Store()
    campaign(rows=rows, campaign_key="spring").execute(context(store))
    result = campaign(rows=rows, campaign_key="summer").execute(context(store, try_number=2))
    assert result["campaign_key"] == "spring"
    assert sent_to(emulator) == once(rows)
    campaign(rows=rows, campaign_key="summer").execute(context(store, try_number=3, max_tries=4))
    assert set(sent_to(emulator).values()) == {2}


def test_two_tasks_with_the_same_key_send_once(emulator: Emulator) -> None:
    rows = people(5)
    for task_id in ("one", "two"):
        result = campaign(rows=rows, campaign_key="spring").execute(context(Store(), task_id=task_id))
        assert result["sent"] == 5
    assert sent_to(emulator) == once(rows)


def test_a_message_that_is_gone_was_sent(emulator: Emulator, tmp_path: Path) -> None:
    rows, path = people(3), tmp_path / "outcomes.jsonl"
    emulator.control("POST", "lines", {"phone_number": A, "retention_hours": 1})
    campaign(rows=rows, campaign_key="spring").execute(context(Store(), task_id="one"))
    emulator.advance(2 * 3600)
    task = campaign(rows=rows, campaign_key="spring", outcomes_path=str(path))
    assert task.execute(context(Store(), task_id="two"))["sent"] == 3
    assert sent_to(emulator) == once(rows)
    assert {row["reason"] for row in outcomes(path).values()} == {"gone"}


def test_new_recipients_are_spread_over_the_lines(emulator: Emulator) -> None:
    emulator.control("POST", "lines", {"phone_number": B, "reputation": "AT_RISK"})
    emulator.control("POST", "lines", {"phone_number": C, "reputation": "CRITICAL"})
    campaign(rows=people(300), from_=[A, B, C]).execute(context(Store()))
    lines = lines_of(emulator)
    assert lines[A] + lines[B] == 300
    assert 1.5 < lines[A] / lines[B] < 2.7


def test_who_talks_to_a_line_stays_with_it(emulator: Emulator) -> None:
    rows = people(20)
    for row in rows:
        emulator.control("POST", "inbound", {"line": B, "from": row["to"], "text": "Hi"})
    campaign(rows=rows, from_=[A, B]).execute(context(Store()))
    assert Counter(message["line"] for message in emulator.ledger() if message["direction"] == "outbound") == {B: 20}


def test_an_ineligible_line_is_left_out_from_then_on(emulator: Emulator) -> None:
    rows = people(100)
    emulator.control("POST", "lines", {"phone_number": B, "ineligible": True})
    result = campaign(rows=rows, from_=[A, B]).execute(context(Store()))
    assert result["sent"] == 100
    assert lines_of(emulator) == {A: 100}
    assert posts(emulator) < 120


def test_without_any_line_the_next_try_goes_on(emulator: Emulator) -> None:
    rows, store = people(10), Store()
    emulator.control("POST", "lines", {"phone_number": A, "ineligible": True})
    with pytest.raises(LinqError, match="no line is left to send from"):
        campaign(rows=rows).execute(context(store))
    emulator.control("POST", "lines", {"phone_number": A, "ineligible": False})
    assert campaign(rows=rows).execute(context(store, try_number=2))["sent"] == 10
    assert sent_to(emulator) == once(rows)


def test_the_platform_may_choose_the_line(emulator: Emulator) -> None:
    emulator.control("POST", "lines", {"phone_number": B, "reputation": "CRITICAL"})
    rows = people(10)
    assert campaign(rows=rows, from_="any").execute(context(Store()))["sent"] == 10
    assert lines_of(emulator) == {A: 10}


def test_lines_must_be_those_of_the_account(emulator: Emulator) -> None:
    with pytest.raises(AirflowFailException, match=r"from_: must be lines of this account, got \+12025550199"):
        campaign(rows=people(1), from_=[A, "+12025550199"]).execute(context(Store()))


def test_a_group_is_one_recipient(emulator: Emulator) -> None:
    rows = [
        {"to": ["b@example.com", "a@example.com"], "name": "you"},
        {"to": "a@example.com, B@example.com", "name": "all"},
    ]
    result = campaign(rows=rows, on_invalid="skip").execute(context(Store()))
    assert (result["sent"], result["skipped"]["duplicate"]) == (1, 1)
    assert sorted(emulator.ledger()[0]["to"]) == ["a@example.com", "b@example.com"]


def test_outside_of_the_send_window_it_waits_without_a_worker(emulator: Emulator) -> None:
    rows = [{**row, "zone": zone} for row, zone in zip(people(3), ("America/New_York", "", "Asia/Tokyo"), strict=True)]
    store = Store()
    task = campaign(rows=rows, send_window=("12:00", "20:00"), timezone_field="zone")
    with pytest.raises(TaskDeferred) as deferred:  # noon in UTC is 07:00 in New York and 21:00 in Tokyo
        task.execute(context(store))
    assert sent_to(emulator) == {"person1@example.com": 1}
    wait = deferred.value.trigger.moment - datetime.now(timezone.utc)
    assert timedelta(hours=4, minutes=59) < wait <= timedelta(hours=5)
    emulator.advance(5 * 3600)
    with pytest.raises(TaskDeferred):
        task.execute_complete(context(store))
    assert sent_to(emulator) == {"person0@example.com": 1, "person1@example.com": 1}
    emulator.advance(10 * 3600)
    assert task.execute_complete(context(store))["sent"] == 3
    assert sent_to(emulator) == once(rows)


def test_what_is_above_the_ceiling_of_a_day_waits_for_the_next(emulator: Emulator) -> None:
    rows, store = people(25), Store()
    task = campaign(rows=rows, line_pace=Pace(messages_per_day=10))
    for _ in range(2):
        with pytest.raises(TaskDeferred):
            task.execute_complete(context(store))
        emulator.advance(24 * 3600)
    assert sum(sent_to(emulator).values()) == 20
    assert task.execute_complete(context(store))["sent"] == 25
    assert sent_to(emulator) == once(rows)


def test_ceilings_hold_where_the_platform_chooses(emulator: Emulator) -> None:
    with pytest.raises(TaskDeferred):
        campaign(rows=people(30), from_="any", line_pace=Pace(messages_per_day=10)).execute(context(Store()))
    assert lines_of(emulator) == {A: 10, B: 10}


def test_new_chats_have_a_ceiling_of_their_own(emulator: Emulator) -> None:
    rows, store = people(10), Store()
    for row in rows[:4]:
        emulator.control("POST", "inbound", {"line": A, "from": row["to"], "text": "Hi"})
    task = campaign(rows=rows, total_pace=Pace(new_chats_per_day=3))
    with pytest.raises(TaskDeferred):
        task.execute(context(store))
    sent = Counter(message["to"][0] for message in emulator.ledger() if message["direction"] == "outbound")
    assert len(sent) == 7
    assert {row["to"] for row in rows[:4]} <= set(sent)


def test_messages_are_spread_over_the_minute(emulator: Emulator) -> None:
    began = datetime.now(timezone.utc)
    campaign(rows=people(5), total_pace=Pace(messages_per_minute=600)).execute(context(Store()))
    assert datetime.now(timezone.utc) - began > timedelta(seconds=0.4)


def test_retry_after_holds_for_all_workers(emulator: Emulator) -> None:
    rows = people(30)
    fault(emulator, kind="status", status=429, code=1007, retry_after=1, count=8)
    began = datetime.now(timezone.utc)
    assert campaign(rows=rows).execute(context(Store()))["sent"] == 30
    assert timedelta(seconds=1) < datetime.now(timezone.utc) - began < timedelta(seconds=4)
    assert posts(emulator) == 38


def test_a_long_retry_after_is_waited_for_without_a_worker(emulator: Emulator) -> None:
    rows, store = people(5), Store()
    fault(emulator, kind="status", status=429, code=1007, retry_after=7200, count=5)
    with pytest.raises(TaskDeferred):
        campaign(rows=rows).execute(context(store))
    assert campaign(rows=rows).execute_complete(context(store))["sent"] == 5
    assert sent_to(emulator) == once(rows)


def test_a_refused_key_ends_the_campaign_at_once(emulator: Emulator, connect: Callable[..., None]) -> None:
    connect(password="wrong")
    with pytest.raises(AirflowFailException):
        campaign(rows=people(100)).execute(context(Store()))
    assert posts(emulator) == 0


def test_an_outage_ends_the_try(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "OUTAGE", 0.5)
    rows, store = people(100), Store()
    fault(emulator, kind="status", status=503, code=3006)
    with pytest.raises(LinqError, match="HTTP 503"):
        campaign(rows=rows).execute(context(store))
    emulator.control("DELETE", "faults")
    assert posts(emulator) < 100
    assert campaign(rows=rows).execute(context(store, try_number=2))["sent"] == 100
    assert sent_to(emulator) == once(rows)


def test_a_refusal_of_who_is_in_doubt_needs_a_look_into_the_chat(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sending, "MAX_TRIES", 1)
    rows, store, path = people(2), Store(), tmp_path / "outcomes.jsonl"
    fault(emulator, kind="reset", when="after", count=1)
    with pytest.raises(AirflowException, match="1 recipients are not settled"):
        campaign(rows=rows, concurrency=1).execute(context(store))
    # The API refuses who opted out also where it knows the key.
    fault(emulator, kind="status", status=403, code=2024)
    result = campaign(rows=rows, outcomes_path=str(path)).execute(context(store, try_number=2))
    assert result["sent"] == 2
    assert sent_to(emulator) == once(rows)
    assert outcomes(path)["person0@example.com"]["message_id"] in {message["id"] for message in emulator.ledger()}


def test_who_cannot_be_settled_stays_unknown(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sending, "MAX_TRIES", 1)
    emulator.control("PATCH", "switches", {"idempotency_hours": 1})
    rows, store, path = people(2), Store(), tmp_path / "outcomes.jsonl"
    fault(emulator, kind="reset", when="after", count=2)
    with pytest.raises(AirflowException, match="2 recipients are not settled"):
        campaign(rows=rows).execute(context(store))
    emulator.advance(12 * 3600)
    task = campaign(rows=rows, message="Edited", outcomes_path=str(path), max_failures=2)
    assert task.execute(context(store, try_number=2))["unknown"] == 2
    assert sent_to(emulator) == once(rows)
    row = outcomes(path)["person0@example.com"]
    assert (row["status"], row["reason"]) == ("unknown", "unsettled")
    assert row["idempotency_key"] in {message["idempotency_key"] for message in emulator.ledger()}
    # With its text again the message is recognized.
    assert campaign(rows=rows).execute(context(store, try_number=3))["sent"] == 2


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


def test_a_changed_input_sends_to_who_is_new(emulator: Emulator) -> None:
    rows, store = people(50), Store()
    campaign(rows=rows[:40]).execute(context(store))
    assert campaign(rows=rows[::-1]).execute(context(store, try_number=2))["sent"] == 50
    assert sent_to(emulator) == once(rows)


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
        follow_up=FollowUp(delivered_share=1, timeout=3600, poll_interval=600),
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
    task = campaign(rows=people(4), outcomes_path=str(tmp_path / "outcomes.jsonl"), follow_up=FollowUp(timeout=900))
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
    monkeypatch.setattr(run, "get_current_context", lambda: context(Store()))
    monkeypatch.setattr(run.time, "sleep", lambda seconds: emulator.advance(seconds))
    result = run.send_campaign(
        Campaign(rows=people(3), message="Hi {{ row.name }}", send_window=("18:00", "18:30"), timezone="UTC")
    )
    assert result["sent"] == 3
    assert sent_to(emulator) == once(people(3))


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"concurrency": 0}, "concurrency must be 1 or more"),
        ({"max_failures": -1}, "max_failures must be 0 or more"),
        ({"on_invalid": "ignore"}, "on_invalid must be one of fail, skip"),
        ({"send_window": ("20:00", "20:00")}, "send_window must open and close at different times"),
        ({"follow_up": FollowUp()}, "follow_up needs outcomes_path"),
        ({"report_path": "r.csv"}, "report_path goes with follow_up"),
    ],
)
def test_wrong_arguments_are_refused_when_the_dag_is_parsed(arguments: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        campaign(rows=[], **arguments)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"rows": None}, "exactly one of rows, rows_path and sql"),
        ({"campaign_key": "None"}, "campaign_key: must tell this message from others"),
        ({"outcomes_path": "out.txt"}, "outcomes_path"),
        ({"from_": ["12025550101"]}, "from_: must be E.164"),
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
