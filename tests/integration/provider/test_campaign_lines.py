"""From which line the messages of a campaign go, and how fast."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta, timezone
from itertools import count
from typing import Any

import pytest
from airflow.sdk import DAG

from airflow_provider_linq._internal.version_compat import AirflowException, AirflowFailException, TaskDeferred
from airflow_provider_linq.campaigns import RateLimits, _dispatcher, _state
from airflow_provider_linq.campaigns._lines import NoLineError
from airflow_provider_linq.operators.campaigns import LinqSendCampaignOperator
from tests.support.airflow import Store
from tests.support.campaigns import A, B, C, campaign, context, fault, lines_of, once, people, posts, sent_to
from tests.support.emulator_process import Emulator

pytestmark = pytest.mark.usefixtures("connect")


def test_new_recipients_are_spread_over_the_lines(emulator: Emulator) -> None:
    emulator.control("POST", "lines", {"phone_number": B, "reputation": "AT_RISK"})
    emulator.control("POST", "lines", {"phone_number": C, "reputation": "CRITICAL"})
    campaign(rows=people(300), from_=[A, B, C]).execute(context(Store()))
    lines = lines_of(emulator)
    assert lines[A] + lines[B] == 300
    assert 1.5 < lines[A] / lines[B] < 2.7


def test_who_has_a_chat_with_a_line_stays_with_it(emulator: Emulator) -> None:
    rows = people(20)
    for row in rows:
        emulator.control("POST", "inbound", {"line": B, "from": row["to"], "text": "Hi"})
    campaign(rows=rows, from_=[A, B]).execute(context(Store()))
    assert Counter(message["line"] for message in emulator.ledger() if message["direction"] == "outbound") == {B: 20}


def test_an_ineligible_line_is_excluded_from_then_on(emulator: Emulator) -> None:
    rows = people(100)
    emulator.control("POST", "lines", {"phone_number": B, "ineligible": True})
    result = campaign(rows=rows, from_=[A, B]).execute(context(Store()))
    assert result["sent"] == 100
    assert lines_of(emulator) == {A: 100}
    assert posts(emulator) < 120


def test_without_any_line_the_next_try_continues(emulator: Emulator) -> None:
    rows, store = people(10), Store()
    emulator.control("POST", "lines", {"phone_number": A, "ineligible": True})
    with pytest.raises(NoLineError, match="No line is left to send from"):
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
    result = campaign(rows=rows, on_invalid="skip", groups=True).execute(context(Store()))
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


def test_what_is_above_the_limit_of_a_day_waits_for_the_next(emulator: Emulator) -> None:
    rows, store = people(25), Store()
    task = campaign(rows=rows, line_limits=RateLimits(messages_per_day=10))
    for _ in range(2):
        with pytest.raises(TaskDeferred):
            task.execute_complete(context(store))
        emulator.advance(24 * 3600)
    assert sum(sent_to(emulator).values()) == 20
    assert task.execute_complete(context(store))["sent"] == 25
    assert sent_to(emulator) == once(rows)


def test_limits_hold_where_the_platform_chooses(emulator: Emulator) -> None:
    with pytest.raises(TaskDeferred):
        campaign(rows=people(30), from_="any", line_limits=RateLimits(messages_per_day=10)).execute(context(Store()))
    assert lines_of(emulator) == {A: 10, B: 10}


def test_new_chats_have_a_limit_of_their_own(emulator: Emulator) -> None:
    rows, store = people(10), Store()
    for row in rows[:4]:
        emulator.control("POST", "inbound", {"line": A, "from": row["to"], "text": "Hi"})
    task = campaign(rows=rows, total_limits=RateLimits(new_chats_per_day=3))
    with pytest.raises(TaskDeferred):
        task.execute(context(store))
    sent = Counter(message["to"][0] for message in emulator.ledger() if message["direction"] == "outbound")
    assert len(sent) == 7
    assert {row["to"] for row in rows[:4]} <= set(sent)


def test_a_line_begins_fifty_chats_a_day_unless_somebody_says_otherwise(
    emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    rows, store = people(63), Store()
    for row in rows[:10]:
        emulator.control("POST", "inbound", {"line": A, "from": row["to"], "text": "Hi"})
    task = LinqSendCampaignOperator(task_id="campaign", message="Hello {{ row.name }}", rows=rows, deferrable=True)
    with caplog.at_level("INFO"), pytest.raises(TaskDeferred):
        task.execute(context(store))
    assert "each line at most 7,000 messages a day, 50 new chats a day" in caplog.text
    assert f"the limit of new chats a day of {A} is reached" in caplog.text
    assert sum(message["direction"] == "outbound" for message in emulator.ledger()) == 60
    emulator.advance(24 * 3600)
    assert task.execute_complete(context(store))["sent"] == 63
    assert {handle: number for handle, number in sent_to(emulator).items() if handle != A} == once(rows)


def test_where_all_may_be_strangers_no_chats_are_read(emulator: Emulator) -> None:
    task = LinqSendCampaignOperator(task_id="campaign", message="Hello {{ row.name }}", rows=people(5))
    assert task.execute(context(Store()))["sent"] == 5
    assert [request for request in emulator.requests_served() if request["path"].endswith("/v3/chats")] == [
        request for request in emulator.requests_served() if request["method"] == "POST"
    ]


def test_messages_are_spread_over_the_minute(emulator: Emulator) -> None:
    began = datetime.now(timezone.utc)
    campaign(rows=people(5), total_limits=RateLimits(messages_per_minute=600)).execute(context(Store()))
    assert datetime.now(timezone.utc) - began > timedelta(seconds=0.4)


def test_retry_after_holds_for_all_workers(emulator: Emulator) -> None:
    rows = people(30)
    fault(emulator, kind="status", status=429, code=1007, retry_after=1, count=8)
    began = datetime.now(timezone.utc)
    assert campaign(rows=rows).execute(context(Store()))["sent"] == 30
    assert datetime.now(timezone.utc) - began > timedelta(seconds=1)
    assert posts(emulator) == 38


def test_a_long_retry_after_is_waited_for_without_a_worker(emulator: Emulator) -> None:
    rows, store = people(5), Store()
    fault(emulator, kind="status", status=429, code=1007, retry_after=7200, count=5)
    with pytest.raises(TaskDeferred):
        campaign(rows=rows).execute(context(store))
    assert campaign(rows=rows).execute_complete(context(store))["sent"] == 5
    assert sent_to(emulator) == once(rows)


def test_who_is_limited_for_ever_is_left_to_the_next_try(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_state, "MAX_WAITS", 3)
    monkeypatch.setattr(_dispatcher, "LEAST_PAUSE", 0.01)
    fault(emulator, kind="status", status=429, code=1007, retry_after=0)
    with pytest.raises(AirflowException, match="2 recipients are not settled.*code 1007"):
        campaign(rows=people(2)).execute(context(Store()))
    assert posts(emulator) == 6


def test_a_pause_of_years_is_one_of_a_day(emulator: Emulator) -> None:
    fault(emulator, kind="status", status=429, code=1007, retry_after=10**9, count=1)
    with pytest.raises(TaskDeferred) as deferred:
        campaign(rows=people(1)).execute(context(Store()))
    assert deferred.value.trigger.moment < datetime.now(timezone.utc) + timedelta(days=1, seconds=5)


def test_a_line_that_is_no_longer_permitted_is_excluded(emulator: Emulator) -> None:
    rows = people(20)
    fault(emulator, kind="status", status=403, code=2006, count=1)
    assert campaign(rows=rows, from_=[A, B], concurrency=1).execute(context(Store()))["sent"] == 20
    assert len(lines_of(emulator)) == 1


def test_the_minute_of_a_line_needs_a_line(emulator: Emulator) -> None:
    with pytest.raises(AirflowFailException, match="line_limits: messages_per_minute needs lines"):
        campaign(rows=people(1), from_="any", line_limits=RateLimits(messages_per_minute=5)).execute(context(Store()))


def in_dag(dag: DAG) -> Any:
    running = context(Store())
    running["dag"] = dag
    return running


def turning_critical(emulator: Emulator, after: int, rows: int, *lines: str) -> DAG:
    """A DAG with a macro that lets lines turn critical when so many messages are made; all are made once in advance."""
    calls = count()

    def turn() -> str:
        if next(calls) == rows + after:
            for line in lines:
                emulator.control("POST", "lines", {"phone_number": line, "reputation": "CRITICAL"})
        return "Hello"

    return DAG("dag", user_defined_macros={"turn": turn})


def test_lines_that_all_turn_critical_end_the_try(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_dispatcher, "REFRESH_EVERY", 0.0)
    with turning_critical(emulator, 20, 200, A, B) as dag:
        task = campaign(rows=people(200), message="{{ turn() }} {{ row.name }}", from_="any", concurrency=1)
    with pytest.raises(NoLineError, match="No line is left to send from"):
        task.execute(in_dag(dag))
    assert 20 <= len(emulator.ledger()) < 40


def test_a_line_that_turns_critical_sends_no_more_also_to_those_who_are_claimed(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_dispatcher, "REFRESH_EVERY", 0.0)
    rows = people(200)
    with turning_critical(emulator, 20, 200, B) as dag:
        task = campaign(rows=rows, message="{{ turn() }} {{ row.name }}", from_=[A, B], concurrency=1)
    assert task.execute(in_dag(dag))["sent"] == 200
    assert sent_to(emulator) == once(rows)
    assert [message["line"] for message in emulator.ledger()[40:]] == [A] * 160
