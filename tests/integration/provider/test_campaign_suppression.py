"""Campaigns: who must not be written to is not, in any try, and wherever the list comes from."""

from __future__ import annotations

import json
import re
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from airflow_provider_linq._internal.key_lifetimes import LATE_ACCEPTANCE
from airflow_provider_linq._internal.version_compat import AirflowException, AirflowFailException, TaskDeferred
from airflow_provider_linq.campaigns import RateLimits, _state, _suppression
from tests.support.airflow import Store
from tests.support.campaigns import A, campaign, context, fault, once, outcomes, people, posts, sent_to
from tests.support.emulator_process import Emulator
from tests.support.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.usefixtures("connect")


def _file(path: Path, *lines: str) -> str:
    path.write_text("".join(f"{line}\n" for line in lines))
    return str(path)


def _database(path: Path, monkeypatch: pytest.MonkeyPatch, *handles: str | None) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("create table opt_outs (handle text)")
        database.executemany("insert into opt_outs values (?)", [(handle,) for handle in handles])
    monkeypatch.setenv("AIRFLOW_CONN_PEOPLE", json.dumps({"conn_type": "sqlite", "host": str(path)}))


def test_suppressed_people_are_skipped_from_all_sources_together(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, path = people(8), tmp_path / "outcomes.jsonl"
    _database(tmp_path / "db.sqlite", monkeypatch, "PERSON4@example.com", "nobody@example.com")
    result = campaign(
        rows=[*rows, {"to": "person1@example.com"}],  # of a suppressed person, neither gaps nor duplicates matter
        suppression=["Person1@Example.com", {"handle": "person2@example.com"}, ("person6@example.com",)],
        suppression_path=_file(tmp_path / "list.csv", "handle,why", "person3@EXAMPLE.com,asked"),
        suppression_sql="select handle from opt_outs",
        suppression_conn_id="people",
        outcomes_path=str(path),
    ).execute(context(Store()))
    assert sent_to(emulator) == once([rows[0], rows[5], rows[7]])
    assert (result["sent"], result["skipped"]["suppressed"], result["failed"]) == (3, 6, 0)
    found = outcomes(path)
    assert {to for to, row in found.items() if row["reason"] == "suppressed"} == {
        f"person{number}@example.com" for number in (1, 2, 3, 4, 6)
    }
    assert found["person1@example.com"]["status"] == "skipped"


def test_a_number_is_suppressed_in_either_of_its_forms(emulator: Emulator) -> None:
    rows = [{"to": "+5215550100134", "name": "Ann"}, {"to": "+525550100135", "name": "Bob"}, *people(1)]
    result = campaign(rows=rows, suppression=["+525550100134", "+5215550100135"]).execute(context(Store()))
    assert sent_to(emulator) == once([rows[2]])
    assert result["skipped"]["suppressed"] == 2


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ({"suppression": []}, "suppression: must name somebody, got none"),
        ({"suppression": "person1@example.com"}, "suppression: must be a list of handles, got str"),
        ({"suppression": ["202-555-0150"]}, r"suppression: entry 1: must be an E.164 number .*, got 12 characters"),
        ({"suppression": [["+12025550151", "+12025"]]}, "suppression: entry 1: must be an E.164 number .*, got list"),
        ({"suppression": [None]}, "suppression: entry 1: must be a handle"),
        (
            {"suppression": [{"phone": "a@example.com"}]},
            "suppression_field: must be a column .* has phone; got 'handle'",
        ),
        ({"suppression_path": "missing.csv"}, "suppression_path: must be a file that can be read"),
        ({"suppression_path": "empty.csv"}, "suppression_path: .* has no header line"),
        (
            {"suppression_path": "no_header.csv"},
            "suppression_field: .* which has Ann, …; got 'handle'",
        ),
        ({"suppression_path": "nobody.csv"}, "suppression_path: must name somebody"),
        ({"suppression_path": "empty.jsonl"}, "suppression_path: must name somebody"),
        ({"suppression_path": "cut.jsonl"}, "suppression_path: line 2 .* is no JSON"),
        ({"suppression_path": "gap.csv"}, "suppression_path: entry 2: must be a handle"),
        ({"suppression_sql": "select handle from opt_outs"}, "suppression_conn_id: must name the connection"),
        ({"suppression_sql": "select handle from opt_outs", "suppression_conn_id": "people"}, "must name somebody"),
    ],
)
def test_a_source_that_is_not_sure_to_be_right_fails_before_anything_is_sent(
    emulator: Emulator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    source: dict[str, Any],
    why: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    _database(tmp_path / "db.sqlite", monkeypatch)
    _file(tmp_path / "empty.csv")
    _file(tmp_path / "empty.jsonl")
    _file(tmp_path / "nobody.csv", "handle")
    _file(tmp_path / "no_header.csv", "+12025550150,Ann", "+12025550151,Bob")
    _file(tmp_path / "gap.csv", "handle", "a@example.com", "NULL")
    _file(tmp_path / "cut.jsonl", '{"handle": "a@example.com"}', '{"handle": "b@exam')
    with pytest.raises(AirflowFailException, match=why) as failed:
        campaign(rows=people(2), on_invalid="skip", **source).execute(context(Store()))
    assert not re.search("5550|a@example", f"{failed.value} {caplog.text}")
    assert posts(emulator) == 0


def test_a_list_that_renders_to_none_is_refused(emulator: Emulator) -> None:
    task = campaign(rows=people(2), suppression=["a@example.com"])
    task.suppression = None  # as the XCom of a task that was skipped
    with pytest.raises(AirflowFailException, match="suppression: must have a value"):
        task.execute(context(Store()))
    with pytest.raises(ValueError, match="suppression_conn_id goes with suppression_sql"):
        campaign(rows=people(2), suppression_conn_id="people")
    with pytest.raises(ValueError, match="suppression must be a list, which can be read more than once"):
        campaign(rows=people(2), suppression=iter(["a@example.com"]))
    assert posts(emulator) == 0


def test_a_group_with_a_suppressed_member_is_not_sent_to(emulator: Emulator, tmp_path: Path) -> None:
    path = tmp_path / "outcomes.jsonl"
    rows = [
        {"to": ["c@example.com", "a@example.com"], "name": "X"},
        {"to": ["a@example.com", "b@example.com"], "name": "Y"},
    ]
    result = campaign(rows=rows, suppression=["C@example.com"], outcomes_path=str(path)).execute(context(Store()))
    assert (result["sent"], result["skipped"]["suppressed"]) == (1, 1)
    assert sent_to(emulator) == {"a@example.com": 1, "b@example.com": 1}
    skipped = outcomes(path)["a@example.com,c@example.com"]
    assert skipped["detail"] == "to[1]: must not be on the suppression list"
    assert skipped["to"][1] == "c@example.com"


def test_a_dry_run_says_who_would_be_skipped_and_why_without_a_number(
    emulator: Emulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    rows = [*people(2), {"to": "+12025550150", "name": "A"}, {"to": "person0@example.com", "name": "B"}]
    result = campaign(
        rows=rows, suppression=["+12025550150"], dry_run=True, outcomes_path=str(tmp_path / "planned.jsonl")
    ).execute(context(Store()))
    assert (result["pending"], result["skipped"]["suppressed"], result["skipped"]["duplicate"]) == (2, 1, 1)
    assert "Dry run: 2 would be sent to, 2 skipped (1 duplicate, 1 suppressed)" in caplog.text
    assert "- suppressed: to: must not be on the suppression list: row 3" in caplog.text
    assert not re.search("2025550150", caplog.text)
    assert posts(emulator) == 0


def test_who_is_suppressed_between_two_tries_is_not_sent_to_and_who_was_sent_to_stays_sent(
    emulator: Emulator, tmp_path: Path
) -> None:
    rows, store, path = people(4), Store(), tmp_path / "outcomes.jsonl"
    limits = RateLimits(messages_per_day=2)
    with pytest.raises(TaskDeferred):
        campaign(rows=rows, total_limits=limits, outcomes_path=str(path)).execute(context(store))
    assert sent_to(emulator).total() == 2
    everybody = [row["to"] for row in rows]
    task = campaign(rows=rows, suppression=everybody, total_limits=limits, outcomes_path=str(path))
    result = task.execute_complete(context(store))
    assert (result["sent"], result["skipped"]["suppressed"], result["pending"]) == (2, 2, 0)
    assert sent_to(emulator).total() == 2
    assert sorted(row["status"] for row in outcomes(path).values()) == ["sent", "sent", "skipped", "skipped"]
    # Taken off the list, they are sent to; nobody gets a second message.
    result = campaign(rows=rows, outcomes_path=str(path)).execute(context(store, try_number=2))
    assert (result["sent"], result["skipped"]["suppressed"]) == (4, 0)
    assert sent_to(emulator) == once(rows)


@pytest.mark.parametrize("is_accepted", [True, False])
def test_who_is_in_doubt_and_suppressed_is_looked_for_and_not_sent_to(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_accepted: bool
) -> None:
    monkeypatch.setattr(_state, "MAX_ATTEMPTS", 1)  # each further one waits for twice as long
    rows, store, path = people(3), Store(), tmp_path / "outcomes.jsonl"
    fault(emulator, kind="reset", when="after" if is_accepted else "before", count=1000)
    with pytest.raises(AirflowException, match="are not settled"):
        campaign(rows=rows, outcomes_path=str(path)).execute(context(store))
    emulator.control("DELETE", "faults")
    before = posts(emulator)
    emulator.advance(LATE_ACCEPTANCE.total_seconds() + 1)
    suppressed = campaign(rows=rows, suppression=[row["to"] for row in rows], outcomes_path=str(path))
    result = suppressed.execute(context(store, try_number=2))
    assert posts(emulator) == before
    sent = 3 if is_accepted else 0
    assert (result["sent"], result["skipped"]["suppressed"], result["unknown"]) == (sent, 3 - sent, 0)
    statuses = {row["status"] for row in outcomes(path).values()}
    assert statuses == ({"sent"} if is_accepted else {"skipped"})
    assert sent_to(emulator) == (once(rows) if is_accepted else {})
    assert {message["line"] for message in emulator.ledger()} <= {A}


def test_what_has_failed_is_not_sent_again_to_who_is_suppressed(emulator: Emulator, tmp_path: Path) -> None:
    rows, store, path = people(2), Store(), tmp_path / "outcomes.jsonl"
    emulator.control("PATCH", "switches", {"automatic_delivery": False})
    campaign(rows=rows, outcomes_path=str(path)).execute(context(store))
    for message in emulator.ledger():
        emulator.control("POST", "receipts", {"message_id": message["id"], "status": "failed"})
    emulator.advance(3_600)
    result = campaign(rows=rows, resend_failed=True, suppression=[rows[0]["to"]], outcomes_path=str(path)).execute(
        context(store, try_number=2)
    )
    assert result["sent"] == 2
    assert sent_to(emulator) == {rows[0]["to"]: 1, rows[1]["to"]: 2}


def _replace(path: Path, *handles: str) -> None:
    """As an export does it that is done right."""
    new = path.with_suffix(".new")
    new.write_text("handle\n" + "".join(f"{handle}\n" for handle in handles))
    new.replace(path)


def test_who_comes_on_the_list_while_a_paced_run_sends_gets_nothing(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_suppression, "REREAD_EVERY", 0.0)
    rows, store, path, opt_outs = people(4), Store(), tmp_path / "outcomes.jsonl", tmp_path / "list.csv"
    _replace(opt_outs, "nobody@example.com")
    task = campaign(
        rows=rows,
        suppression_path=str(opt_outs),
        total_limits=RateLimits(messages_per_minute=1),
        outcomes_path=str(path),
        max_failures=0,
    )
    with ThreadPoolExecutor(1) as thread:
        run = thread.submit(task.execute, context(store))
        wait_until(lambda: sent_to(emulator).total() == 1, "the first one was sent to")
        # Those who wait for their minute are claimed by now, or not; and the one who was sent to is on the list, too.
        _replace(opt_outs, *(row["to"] for row in rows))
        result = run.result(timeout=PATIENCE)
    assert (result["sent"], result["skipped"]["suppressed"], result["failed"], result["unknown"]) == (1, 3, 0, 0)
    assert sent_to(emulator) == once(rows[:1])
    assert sorted(row["status"] for row in outcomes(path).values()) == ["sent", "skipped", "skipped", "skipped"]


def test_a_list_that_cannot_be_read_again_stays_in_force_for_a_while(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(_suppression, "REREAD_EVERY", 0.0)
    monkeypatch.setattr(_suppression, "REREAD_FAILED", 0.0)
    rows, store, opt_outs = people(3), Store(), tmp_path / "list.csv"
    _replace(opt_outs, "nobody@example.com")
    limits = RateLimits(messages_per_minute=1)
    task = campaign(rows=rows, suppression_path=str(opt_outs), total_limits=limits)
    with ThreadPoolExecutor(1) as thread:
        run = thread.submit(task.execute, context(store))
        wait_until(lambda: sent_to(emulator).total() == 1, "the first one was sent to")
        opt_outs.unlink()
        wait_until(lambda: "could not be read again (InvalidRequestError)" in caplog.text, "the log says so")
        monkeypatch.setattr(_suppression, "TOO_OLD", 0.0)
        with pytest.raises(AirflowFailException, match="suppression_path: must be a file that can be read"):
            run.result(timeout=PATIENCE)
    assert sent_to(emulator).total() == 1
    # What was sent, and what was not, is on record.
    result = campaign(rows=rows).execute(context(store, try_number=2))
    assert (result["sent"], sent_to(emulator)) == (3, once(rows))


def test_a_reading_that_never_ends_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_suppression, "REREAD_EVERY", 0.0)
    is_over = Event()

    def read() -> frozenset[str]:
        is_over.wait(PATIENCE)
        return frozenset()

    reader = _suppression.SuppressionReader(read)
    try:
        assert not reader.poll()  # it begins
        assert not reader.poll()
        monkeypatch.setattr(_suppression, "LONGEST_READING", 0.0)
        with pytest.raises(TimeoutError, match="suppression list"):
            reader.poll()
    finally:
        is_over.set()
