"""Each recipient once, whatever happens on the way."""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timezone
from itertools import count
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from airflow.sdk import DAG

from airflow_provider_linq._internal.version_compat import AirflowException, AirflowFailException, TaskDeferred
from airflow_provider_linq.campaigns import DeliveryReport, RateLimits, SendWindow, _dispatcher, _run, _sending, _state
from airflow_provider_linq.campaigns._sender import Sender
from airflow_provider_linq.campaigns._state import SendJob
from airflow_provider_linq.campaigns.config import Campaign
from linq_client import LinqError
from tests.support.airflow import Store
from tests.support.campaigns import A, B, campaign, context, fault, lines_of, once, outcomes, people, posts, sent_to
from tests.support.emulator_process import Emulator
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.usefixtures("connect")


def test_a_retry_asks_only_for_those_who_are_not_settled(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_state, "MAX_ATTEMPTS", 1)
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


@pytest.mark.parametrize("second", ["in another order", "the first invalid"])
@pytest.mark.parametrize("has_store", [True, False])
def test_a_person_is_the_same_in_all_tries_whichever_form_of_their_number_comes_first(
    emulator: Emulator, tmp_path: Path, second: str, has_store: bool
) -> None:
    """A query without an order gives its rows in any."""
    path, store = tmp_path / "outcomes.jsonl", [Store()] if has_store else []
    ann, same = {"to": "+525550100134", "name": "Ann"}, {"to": "+5215550100134", "name": "Ann"}
    settings = {"outcomes_path": str(path), "on_invalid": "skip", "max_invalid": 1.0}
    campaign(rows=[ann, same], **settings).execute(context(*store))
    again = [same, ann] if second == "in another order" else [{**ann, "name": ""}, same]
    result = campaign(rows=again, **settings).execute(context(*store, try_number=2))
    assert sent_to(emulator) == once([ann])
    assert result["sent"] == 1


def test_the_text_may_change_between_tries(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_state, "MAX_ATTEMPTS", 1)
    rows, store = people(10), Store()
    fault(emulator, kind="reset", when="after", count=4)
    with pytest.raises(AirflowException, match="4 recipients are not settled"):
        campaign(rows=rows).execute(context(store))
    campaign(rows=rows, message="Dear {{ row.name }}").execute(context(store, try_number=2))
    assert sent_to(emulator) == once(rows)


def test_without_a_store_the_keys_carry_the_guarantee(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_state, "MAX_ATTEMPTS", 1)
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


def test_a_refused_key_ends_the_campaign_at_once(emulator: Emulator, connect: Callable[..., None]) -> None:
    connect(password="wrong")
    with pytest.raises(AirflowFailException):
        campaign(rows=people(100)).execute(context(Store()))
    assert posts(emulator) == 0


def test_an_outage_ends_the_try(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_dispatcher, "OUTAGE", 0.5)
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
    monkeypatch.setattr(_state, "MAX_ATTEMPTS", 1)
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
    monkeypatch.setattr(_state, "MAX_ATTEMPTS", 1)
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


def test_a_changed_input_sends_to_who_is_new(emulator: Emulator) -> None:
    rows, store = people(50), Store()
    campaign(rows=rows[:40]).execute(context(store))
    assert campaign(rows=rows[::-1]).execute(context(store, try_number=2))["sent"] == 50
    assert sent_to(emulator) == once(rows)


def test_a_clear_after_the_delivery_report_sends_to_who_is_new(emulator: Emulator, tmp_path: Path) -> None:
    rows, store = people(8), Store()
    arguments = {"outcomes_path": str(tmp_path / "outcomes.jsonl"), "delivery_report": DeliveryReport(timeout=1)}
    with pytest.raises(TaskDeferred):
        campaign(rows=rows[:4], **arguments).execute(context(store))
    emulator.advance(10)
    assert campaign(rows=rows[:4], **arguments).execute_complete(context(store))["report"]["sent"] == 4
    cleared = {"try_number": 2, "max_tries": 11}
    with pytest.raises(TaskDeferred):
        campaign(rows=rows, line_limits=RateLimits(messages_per_day=6), **arguments).execute(context(store, **cleared))
    emulator.advance(24 * 3600)
    with pytest.raises(TaskDeferred):
        campaign(rows=rows, **arguments).execute_complete(context(store, **cleared))
    assert sent_to(emulator) == once(rows)


def test_a_task_sends_one_campaign(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    given = context(Store())
    monkeypatch.setattr(_run, "get_current_context", lambda: given)
    assert _run.send_campaign(Campaign(rows=people(2), message="Hi"))["sent"] == 2
    with pytest.raises(AirflowFailException, match="A task sends one campaign"):
        _run.send_campaign(Campaign(rows=people(3), message="Hi again"))


def test_rows_that_can_be_read_once_last_for_all_runs(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    given = context(Store())
    monkeypatch.setattr(_run, "get_current_context", lambda: given)
    monkeypatch.setattr(_run.time, "sleep", lambda seconds: emulator.advance(seconds))
    rows = people(9)
    told = Campaign(rows=iter(rows), message="Hi {{ row.name }}", line_limits=RateLimits(messages_per_day=4))
    assert _run.send_campaign(told)["sent"] == 9
    assert sent_to(emulator) == once(rows)


def test_a_clear_with_another_key_is_no_doubt(emulator: Emulator) -> None:
    rows, store = people(3), Store()
    campaign(rows=rows, campaign_key="spring").execute(context(store))
    emulator.advance(3600)
    cleared = context(store, try_number=2, max_tries=11)
    cleared["dag_run"].start_date = datetime(2026, 3, 1, 11, tzinfo=timezone.utc)
    assert campaign(rows=rows, campaign_key="summer").execute(cleared)["sent"] == 3
    assert set(sent_to(emulator).values()) == {2}


def test_a_reply_to_a_message_that_is_gone_is_not_sent(emulator: Emulator, tmp_path: Path) -> None:
    emulator.control("POST", "inbound", {"line": A, "from": "person0@example.com", "text": "Hi"})
    message = {"parts": [{"type": "text", "value": "Hello"}], "reply_to": {"message_id": "{{ row.message }}"}}
    row = {"to": "person0@example.com", "message": "00000000-0000-4000-8000-000000000000"}
    result = campaign(rows=[row], message=message, from_="any", max_failures=1).execute(context(Store()))
    assert (result["sent"], result["failed"]) == (0, 1)


def test_files_alone_do_not_tell_whose_message_it_was(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(_state, "MAX_ATTEMPTS", 1)
    image = tmp_path / "menu.png"
    image.write_bytes(b"\x89PNG\r\n\x1a\n" + b"0" * 100)
    rows, store = people(1), Store()
    told = {"rows": rows, "message": [{"type": "media", "path": str(image)}], "max_failures": 1}
    fault(emulator, kind="reset", when="after", count=1)
    with pytest.raises(AirflowException, match="1 recipients are not settled"):
        campaign(**told).execute(context(store))
    emulator.advance(3600)
    assert campaign(**told).execute(context(store, try_number=2))["unknown"] == 1
    assert sent_to(emulator) == once(rows)


def test_an_own_line_may_be_written_to(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_state, "MAX_ATTEMPTS", 1)
    emulator.control("PATCH", "switches", {"idempotency_hours": 1})
    store, told = Store(), {"rows": [{"to": B, "name": "staff"}], "from_": A}
    fault(emulator, kind="reset", when="after", count=1)
    with pytest.raises(AirflowException, match="1 recipients are not settled"):
        campaign(**told).execute(context(store))
    emulator.advance(12 * 3600)
    assert campaign(**told).execute(context(store, try_number=2))["sent"] == 1
    assert sent_to(emulator) == {B: 1}


def test_in_the_last_try_who_is_not_settled_is_a_failure(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_state, "MAX_ATTEMPTS", 1)
    rows = people(10)
    fault(emulator, kind="status", status=500, code=3007, count=4)
    last = {"try_number": 3, "max_tries": 2}
    with pytest.raises(AirflowFailException, match="4 of 10 recipients .* max_failures is 2.* code 3007"):
        campaign(rows=rows, max_failures=2).execute(context(Store(), **last))
    fault(emulator, kind="status", status=500, code=3007, count=4)
    result = campaign(rows=rows[:5], max_failures=0.9).execute(context(Store(), **last, task_id="other"))
    assert (result["sent"], result["unknown"]) == (1, 4)


def test_a_task_that_is_stopped_begins_no_more(emulator: Emulator) -> None:
    emulator.control("POST", "faults", {"kind": "latency", "seconds": 1, "method": "POST"})
    rows, store = people(200), Store()
    task = campaign(rows=rows, concurrency=2)

    def stop_after_some() -> None:
        emulator.wait_for(2, timeout=PATIENCE)
        task.on_kill()

    stop = Thread(target=stop_after_some)
    stop.start()
    with pytest.raises(AirflowException, match="The task was stopped"):
        task.execute(context(store))
    stop.join()
    emulator.wait_until_idle(timeout=PATIENCE)  # what the task did not wait for may still be accepted
    sent = len(emulator.ledger())
    assert 2 <= sent < 100
    emulator.control("DELETE", "faults")
    before = posts(emulator)
    assert campaign(rows=rows).execute(context(store, try_number=2))["sent"] == 200
    assert posts(emulator) - before == 200 - sent
    assert sent_to(emulator) == once(rows)


def test_a_macro_that_exits_ends_the_campaign(emulator: Emulator) -> None:
    calls = count()

    def leave() -> str:
        if next(calls) >= 5:
            sys.exit(1)
        return "Hello"

    with DAG("dag", user_defined_macros={"leave": leave}):
        task = campaign(rows=people(5), message="{{ leave() }} {{ row.name }}")
    with pytest.raises(SystemExit):
        task.execute({**context(Store()), "dag": task.dag})


def test_who_is_in_doubt_on_a_line_that_has_left_the_account_stays_unknown(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_state, "MAX_ATTEMPTS", 1)
    emulator.control("PATCH", "switches", {"idempotency_hours": 1})
    rows, store = people(1), Store()
    fault(emulator, kind="reset", when="after", count=1)
    with pytest.raises(AirflowException, match="1 recipients are not settled"):
        campaign(rows=rows, from_=A).execute(context(store))
    emulator.advance(12 * 3600)
    emulator.control(
        "POST", "faults", {"path": "^/v3/chats$", "method": "GET", "kind": "status", "status": 403, "code": 2006}
    )
    task = campaign(rows=rows, from_=B, max_failures=1)
    assert task.execute(context(store, try_number=2))["unknown"] == 1
    assert sent_to(emulator) == once(rows)


def test_a_line_that_the_platform_chose_is_not_taken_for_the_only_one(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_state, "MAX_ATTEMPTS", 1)
    emulator.control("PATCH", "switches", {"idempotency_hours": 1})
    rows, store = people(2), Store()
    fault(emulator, kind="reset", when="after", count=1)
    with pytest.raises(AirflowException, match="1 recipients are not settled"):
        campaign(rows=rows[:1], from_="any").execute(context(store))
    other = B if lines_of(emulator)[A] else A
    emulator.advance(12 * 3600)
    edited = campaign(rows=rows, message="Edited", from_=other, max_failures=1)
    assert edited.execute(context(store, try_number=2))["unknown"] == 1
    assert edited.execute(context(store, try_number=3, max_tries=11))["unknown"] == 1
    assert sent_to(emulator) == once(rows)


def test_nobody_is_sent_to_without_a_claim(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = iter([0.0])
    # The window closes between two looks at the clock.
    monkeypatch.setattr(SendWindow, "wait", lambda self, now, zone: next(opened, 3600.0))
    claimed: list[bool] = []
    send = Sender.send

    def sent(self: Sender, job: SendJob, *rest: Any) -> Any:
        claimed.append(job.claimed_at is not None)
        return send(self, job, *rest)

    monkeypatch.setattr(Sender, "send", sent)
    with pytest.raises(TaskDeferred):
        campaign(rows=people(3), send_window=("09:00", "20:00"), concurrency=1).execute(context(Store()))
    assert claimed == [True]


def test_a_report_counts_who_was_sent_to_on_another_machine(emulator: Emulator, tmp_path: Path) -> None:
    store, path = Store(), tmp_path / "outcomes.jsonl"
    arguments = {"rows": people(3), "outcomes_path": str(path), "delivery_report": DeliveryReport(timeout=1)}
    with pytest.raises(TaskDeferred):
        campaign(**arguments).execute(context(store))
    shutil.rmtree(f"{path}.parts")
    report = campaign(**arguments).execute_complete(context(store))["report"]
    assert (report["sent"], report["unknown"]) == (3, 3)


def test_an_outcomes_file_that_cannot_be_written_hides_nothing(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(*arguments: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(_sending, "write_rows", broken)
    fault(emulator, kind="status", status=401, code=2004)
    with pytest.raises(AirflowFailException, match="code 2004"):
        campaign(rows=people(2), outcomes_path=str(tmp_path / "o.csv")).execute(context(Store()))


def test_lines_take_turns(emulator: Emulator) -> None:
    campaign(rows=people(60), from_=[A, B], concurrency=1).execute(context(Store()))
    first = Counter(message["line"] for message in emulator.ledger()[:20])
    assert min(first[A], first[B]) > 5
