"""A campaign that several instances of a mapped task send together, each to its shard of the recipients."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, task_group

from airflow_provider_linq._internal.idempotency import derive_key
from airflow_provider_linq._internal.version_compat import AirflowException, AirflowFailException, TaskDeferred
from airflow_provider_linq.campaigns import DeliveryReport, RateLimits, _sending, _state
from airflow_provider_linq.campaigns._journal import Journal, Writer
from airflow_provider_linq.campaigns._model import recipient_key
from airflow_provider_linq.campaigns._owner import OWNER_TIMEOUT
from airflow_provider_linq.campaigns._shards import Shard
from airflow_provider_linq.operators.campaigns import LinqSendCampaignOperator
from tests.support.airflow import Store
from tests.support.campaigns import DiesAt, Mapped, campaign, context, fault, once, outcomes, people, posts, sent_to
from tests.support.emulator_process import Emulator

pytestmark = pytest.mark.usefixtures("connect")

#: Of a DAG "dag", run "run" and task "campaign" that is not mapped.
KEY = derive_key("dag", "run", "campaign", -1)


def of_shard(rows: Iterable[Mapping[str, Any]], number: int, of: int) -> list[str]:
    return [row["to"] for row in rows if Shard(number, of).has((row["to"],))]


def test_instances_send_one_campaign_together(emulator: Emulator, tmp_path: Path) -> None:
    rows = people(40)
    mapped = Mapped(tmp_path, rows)
    results = mapped.run_all(4)
    assert sent_to(emulator) == once(rows)
    assert {result["campaign_key"] for result in results} == {KEY}
    assert [result["sent"] for result in results] == [len(of_shard(rows, number, 4)) for number in range(1, 5)]
    found = [json.loads(line) for line in mapped.path.read_text().splitlines()]
    assert [(row["row"], row["to"], row["status"]) for row in found] == [
        (number, [row["to"]], "sent") for number, row in enumerate(rows, start=1)
    ]
    assert {row["idempotency_key"] for row in found} == {recipient_key(KEY, [row["to"]]) for row in rows}
    assert mapped.stores[1].values["linq_campaign_progress"]["shard"] == "2/4"


def test_the_outcomes_tell_of_all_as_soon_as_one_has_ended(emulator: Emulator, tmp_path: Path) -> None:
    rows = people(20)
    mapped = Mapped(tmp_path, rows)
    mapped.run(2, 3)
    statuses = {handle: row["status"] for handle, row in outcomes(mapped.path).items()}
    sent = set(of_shard(rows, 2, 3))
    assert statuses == {row["to"]: "sent" if row["to"] in sent else "pending" for row in rows}


@pytest.mark.parametrize("after", [3, 1])
def test_instances_that_end_in_the_same_moment_lose_no_rows_of_each_other(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """One has read what there is, and writes it when the other, or those of another division, have ended, too."""
    rows = people(30)
    mapped = Mapped(tmp_path, rows)
    write = _sending.write_rows

    def meanwhile(path: str, found: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> int:
        monkeypatch.setattr(_sending, "write_rows", write)
        read = list(found)
        if after == 3:
            mapped.run(2, 3)
            mapped.run(3, 3)
        else:
            emulator.advance(OWNER_TIMEOUT.total_seconds() + 60)
            campaign(**mapped.given).execute(context(Store(), task_id="campaign"))
        return write(path, read, columns)

    monkeypatch.setattr(_sending, "write_rows", meanwhile)
    mapped.run(1, 3)
    assert sent_to(emulator) == once(rows)
    assert {handle: row["status"] for handle, row in outcomes(mapped.path).items()} == {
        row["to"]: "sent" for row in rows
    }
    assert len(mapped.path.read_text().splitlines()) == len(rows)


@pytest.mark.parametrize(("divisions", "has_store"), [((4, 6), True), ((3, 1), False), ((3, 2, 3), True)])
def test_a_campaign_is_divided_again(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, divisions: tuple[int, ...], has_store: bool
) -> None:
    """In each division but the last, the first instances send, and leave some in doubt."""
    monkeypatch.setattr(_state, "MAX_ATTEMPTS", 1)
    rows = people(24)
    mapped = Mapped(tmp_path, rows)
    if not has_store:
        mapped.stores = dict.fromkeys(range(4))  # type: ignore[arg-type]
    for turn, of in enumerate(divisions[:-1], start=1):
        fault(emulator, kind="reset", when="after", count=3)
        with pytest.raises(AirflowException, match="recipients are not settled"):
            mapped.run(1, of, try_number=turn)
        for number in range(2, of):
            mapped.run(number, of, try_number=turn)
        emulator.control("DELETE", "faults")
        emulator.advance(OWNER_TIMEOUT.total_seconds() + 3600)
    mapped.run_all(divisions[-1], try_number=len(divisions))
    assert sent_to(emulator) == once(rows)
    assert Counter(row["status"] for row in outcomes(mapped.path).values()) == {"sent": len(rows)}


@pytest.mark.parametrize("writes", range(3))
def test_an_instance_that_dies_while_it_takes_up_other_recipients(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    """Those whom it had claimed for another shard are in doubt as before, though the platform forgets their keys."""
    monkeypatch.setattr(_state, "MAX_ATTEMPTS", 1)
    emulator.control("PATCH", "switches", {"idempotency_hours": 1})
    rows = people(8)
    mapped = Mapped(tmp_path, rows)
    store = mapped.stores[0] = DiesAt()
    fault(emulator, kind="reset", when="after", count=4)
    with pytest.raises(AirflowException, match="4 recipients are not settled"):
        mapped.run(1, 1)
    emulator.advance(2 * 3600)
    store.left = writes
    with pytest.raises(KeyboardInterrupt):
        mapped.run(1, 2, try_number=2)
    emulator.advance(2 * 3600)
    store.left = 10**6
    for number in (1, 2):
        mapped.run(number, 2, try_number=3)
    assert sent_to(emulator) == once(rows)


def test_an_instance_whose_journal_is_gone_looks_for_all_whom_it_has_not_on_record(
    emulator: Emulator, tmp_path: Path
) -> None:
    emulator.control("PATCH", "switches", {"idempotency_hours": 1})
    rows = people(10)
    mapped = Mapped(tmp_path, rows)
    mapped.run(1, 1)
    for part in (tmp_path / "outcomes.jsonl.parts").rglob("*.*"):
        part.unlink() if part.is_file() else None
    emulator.advance(2 * 3600)
    mapped.run(1, 2, try_number=2)
    assert sent_to(emulator) == once(rows)


def test_all_instances_with_a_record_notice_that_the_journal_is_gone(emulator: Emulator, tmp_path: Path) -> None:
    """The second finds one there, which the first has begun since."""
    emulator.control("PATCH", "switches", {"idempotency_hours": 1})
    rows = people(24)
    mapped = Mapped(tmp_path, rows)
    mapped.run_all(2)
    shutil.rmtree(tmp_path / "outcomes.jsonl.parts")
    emulator.advance(2 * 3600)
    for number in (1, 2):
        mapped.run(number, 3, try_number=2)
    assert sent_to(emulator) == once(rows)


def test_an_instance_waits_for_all_of_another_division(emulator: Emulator, tmp_path: Path) -> None:
    rows = people(10)
    mapped = Mapped(tmp_path, rows)
    journal = Journal(str(mapped.path), KEY, Writer("other", 0), Shard(3, 3))
    mapped.run(1, 3)
    now = emulator.now()
    assert journal.owner.take(now)
    before = posts(emulator)
    with pytest.raises(TaskDeferred):
        mapped.run(2, 2)
    assert posts(emulator) == before
    mapped.run(2, 3)  # of the same division
    journal.owner.give_up(now)
    mapped.run_all(2)
    assert sent_to(emulator) == once(rows)


# Lists that are no division.


@pytest.mark.parametrize(
    ("shards", "lacks"),
    [
        (["1/2", "2/3"], ["1/3", "3/3"]),
        (["2/3", "1/2"], ["2/2"]),
        (["1/3", "3/3"], ["2/3"]),
        (["1/2", "1/2"], ["2/2"]),
        (["2/4"], ["1/4", "3/4", "4/4"]),
    ],
)
def test_who_is_in_no_shard_of_the_list_is_said_by_the_instance_that_ends_last(
    emulator: Emulator, tmp_path: Path, shards: list[str], lacks: list[str]
) -> None:
    """All in the list are sent to; when the list is right, so are the others."""
    rows = people(40)
    mapped = Mapped(tmp_path, rows)
    mapped.expand(len(shards))
    *early, last = enumerate(shards)
    for index, shard in early:
        mapped.run_instance(index, shard)
    of = int(last[1].split("/")[1])
    with pytest.raises(
        AirflowFailException,
        match=rf"^shard: the list must name all {of} shards of one division, got '{last[1]}' and no instance that "
        rf"sends to \d+ recipients in {', '.join(lacks)}$",
    ):
        mapped.run_instance(*last)
    listed = {row["to"] for row in rows if any(Shard.parse(shard).has((row["to"],)) for shard in shards)}
    assert sent_to(emulator) == Counter(listed)
    assert {handle for handle, row in outcomes(mapped.path).items() if row["status"] == "pending"} == {
        row["to"] for row in rows
    } - listed
    mapped.states = dict.fromkeys(range(3))
    mapped.run_all(3, try_number=2)
    assert sent_to(emulator) == once(rows)


def test_instances_with_shards_of_two_divisions_wait_for_each_other_and_the_last_one_says_so(
    emulator: Emulator, tmp_path: Path
) -> None:
    mapped = Mapped(tmp_path, people(30))
    mapped.expand(2)
    owner = Journal(str(mapped.path), KEY, Writer("first", 0), Shard(1, 2)).owner
    assert owner.take(emulator.now())
    with pytest.raises(TaskDeferred):
        mapped.run_instance(1, "2/3")
    owner.give_up(emulator.now())
    mapped.run_instance(0, "1/2")
    with pytest.raises(AirflowFailException, match="no instance that sends to"):
        mapped.run_instance(1, "2/3")


def test_an_instance_that_has_a_shard_takes_no_other(emulator: Emulator, tmp_path: Path) -> None:
    """So of two that end in the same moment, both say who is left out."""
    mapped = Mapped(tmp_path, people(30))
    mapped.expand(2)
    mapped.run_instance(0, "1/3")
    other = Writer.of(context(map_index=1, task_id="campaign")["ti"])
    assert Journal(str(mapped.path), KEY, other, Shard(3, 3)).owner.take(emulator.now())
    mapped.states = {0: None, 1: "running"}
    with pytest.raises(AirflowFailException, match=r"no instance that sends to \d+ recipients in 2/3$"):
        mapped.run_instance(0, "1/3", try_number=2)


@pytest.mark.parametrize("state", [None, "queued", "running", "deferred", "up_for_retry", "failed", "upstream_failed"])
def test_pending_recipients_are_left_to_an_instance_that_has_no_shard_yet(
    emulator: Emulator, tmp_path: Path, caplog: pytest.LogCaptureFixture, state: str | None
) -> None:
    """One that has failed is seen by everybody."""
    rows = people(20)
    mapped = Mapped(tmp_path, rows)
    mapped.states = {0: None, 1: state}
    with caplog.at_level("INFO"):
        assert mapped.run_instance(0, "1/2")["sent"] == len(of_shard(rows, 1, 2))
    left = len(of_shard(rows, 2, 2))
    assert f"{left} recipients in 2/2 are left to instances that have taken no shard yet" in caplog.text


def test_pending_recipients_are_left_to_the_instance_that_has_their_shard(emulator: Emulator, tmp_path: Path) -> None:
    """It waits, or has failed, which everybody sees."""
    mapped = Mapped(tmp_path, people(20))
    fault(emulator, kind="status", status=403, code=2008, count=1)
    with pytest.raises(AirflowFailException, match="recipients failed"):
        mapped.run(1, 2, line_limits=RateLimits(messages_per_day=1000))
    with pytest.raises(TaskDeferred):
        mapped.run(1, 2, line_limits=RateLimits(messages_per_day=6), try_number=2, rows=people(40))
    mapped.run(2, 2)


def test_rows_that_come_when_their_instance_has_ended(
    emulator: Emulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = people(20)
    mapped = Mapped(tmp_path, rows[:10])
    mapped.run(1, 2)
    mapped.run(2, 2, rows=rows)
    late = len(of_shard(rows[10:], 1, 2))
    assert f"{late} recipients in 1/2 are pending, and their instances have ended" in caplog.text
    mapped.run(1, 2, try_number=2, rows=rows)
    assert sent_to(emulator) == once(rows)


def test_tasks_that_are_not_mapped_share_a_campaign_by_its_key(
    emulator: Emulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """None of them knows of the others, so each says who is left to them."""
    rows, path = people(20), tmp_path / "outcomes.jsonl"
    for number in (1, 2):
        task = campaign(rows=rows, outcomes_path=str(path), shard=f"{number}/2", campaign_key="spring")
        task.execute(context(Store(), task_id=f"send_{number}"))
    left = len(of_shard(rows, 2, 2))
    (said,) = [record.message for record in caplog.records if "pending until" in record.message]
    assert said.startswith(
        f"{left} recipients in 2/2 are pending until other tasks send to them, with this campaign_key"
    )
    assert sent_to(emulator) == once(rows)


def mapped_dag(how: str, **arguments: Any) -> DAG:
    """A DAG with a mapped task: over shards, or in one of several ways over campaigns."""
    given = {"task_id": "campaign", "message": "Hello", "rows": people(1), **arguments}

    @task_group(group_id="of_one", prefix_group_id=False)
    def of_one(key: Any) -> None:
        LinqSendCampaignOperator(campaign_key=key, **given)

    with DAG("dag", schedule=None) as dag:
        if how == "group":
            of_one.expand(key=["spring", "autumn"])
        elif how == "expand_kwargs":
            LinqSendCampaignOperator.partial(**given).expand_kwargs([{"campaign_key": "spring"}])
        else:
            LinqSendCampaignOperator.partial(**given).expand(**{how: ["1/2", "2/2"]})
    return dag


@pytest.mark.parametrize("how", ["campaign_key", "expand_kwargs", "group"])
def test_a_task_that_is_mapped_over_campaigns_leaves_their_other_shards_to_other_tasks(
    emulator: Emulator, tmp_path: Path, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    """Its other instances say nothing about this campaign, and have ended well."""
    rows, path = people(20), str(tmp_path / "outcomes.jsonl")
    dag = mapped_dag(how, outcomes_path=path, shard="1/2")
    task = campaign(rows=rows, outcomes_path=path, shard="1/2", campaign_key="spring")
    result = task.execute(
        context(Store(), task_id="campaign", map_index=0, states={0: "running", 1: "success"}, dag=dag)
    )
    assert result["sent"] == len(of_shard(rows, 1, 2))
    assert "pending until other tasks send to them, with this campaign_key" in caplog.text


def test_a_task_that_is_mapped_over_shards_of_a_campaign_with_a_key_has_to_name_all(
    emulator: Emulator, tmp_path: Path
) -> None:
    path = str(tmp_path / "outcomes.jsonl")
    dag = mapped_dag("shard", outcomes_path=path, campaign_key="spring")
    task = campaign(rows=people(20), outcomes_path=path, shard="1/2", campaign_key="spring")
    with pytest.raises(AirflowFailException, match="no instance that sends to"):
        task.execute(context(Store(), task_id="campaign", map_index=0, states={0: "running", 1: "success"}, dag=dag))


def test_a_shard_in_a_task_that_nobody_shares_is_refused(emulator: Emulator, tmp_path: Path) -> None:
    task = campaign(rows=people(20), outcomes_path=str(tmp_path / "out.csv"), shard="1/2")
    with pytest.raises(
        AirflowFailException, match="campaign_key: must be given with shard in a task that is not mapped"
    ):
        task.execute(context(Store()))
    assert posts(emulator) == 0


# What all share.


def test_limits_of_a_day_hold_for_all_instances(emulator: Emulator, tmp_path: Path) -> None:
    limits = RateLimits(messages_per_day=9)
    mapped = Mapped(tmp_path, people(60), line_limits=limits, total_limits=limits)
    for number in range(1, 5):
        with pytest.raises(TaskDeferred):
            mapped.run(number, 4)
    assert sent_to(emulator).total() == 9


@pytest.mark.parametrize("after", [3, 1])
def test_limits_of_a_day_hold_when_a_campaign_is_divided_again(emulator: Emulator, tmp_path: Path, after: int) -> None:
    """What others have sent today counts for each of those who come after, in part."""
    mapped = Mapped(tmp_path, people(80), line_limits=RateLimits(messages_per_day=20, new_chats_per_day=20))
    for number in (1, 2):
        with pytest.raises(TaskDeferred):
            mapped.run(number, 4)
    assert sent_to(emulator).total() == 10
    for number in range(1, after + 1):
        with pytest.raises(TaskDeferred):
            mapped.run(number, after)
    assert 18 <= sent_to(emulator).total() <= 20
    emulator.advance(24 * 3600)
    for number in range(1, after + 1):
        with pytest.raises(TaskDeferred):
            mapped.run(number, after, try_number=2)
    assert 38 <= sent_to(emulator).total() <= 40


def test_limits_of_a_day_hold_for_a_task_that_comes_back(emulator: Emulator, tmp_path: Path) -> None:
    """Of two tasks with one key, each divides the campaign in its way; the first has what it sent on record."""
    limits = RateLimits(messages_per_day=12, new_chats_per_day=12)
    rows, given = people(80), {"campaign_key": "spring", "line_limits": limits}
    two, three = Mapped(tmp_path, rows, **given), Mapped(tmp_path, rows, task_id="other", **given)
    assert 2 <= two.run(1, 2, rows=rows[:6])["sent"] <= 4
    for tasks, number, of in [(three, 1, 3), (three, 2, 3), (two, 1, 2), (two, 2, 2), (three, 1, 3)]:
        with pytest.raises(TaskDeferred):
            tasks.run(number, of)
    assert sent_to(emulator).total() <= 12


def test_limits_of_a_day_hold_for_a_whole_task_that_comes_back(emulator: Emulator, tmp_path: Path) -> None:
    limits = RateLimits(messages_per_day=12, new_chats_per_day=12)
    rows, store = people(80), Store()
    mapped = Mapped(tmp_path, rows, total_limits=limits)
    campaign(**{**mapped.given, "rows": rows[:5]}).execute(context(store, task_id="campaign"))
    for number in (1, 2):
        with pytest.raises(TaskDeferred):
            mapped.run(number, 2)
    with pytest.raises(TaskDeferred):
        campaign(**mapped.given).execute(context(store, task_id="campaign", try_number=2))
    assert sent_to(emulator).total() == 12


def test_limits_of_a_day_hold_where_one_shard_has_all_who_are_in_doubt(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_state, "MAX_ATTEMPTS", 1)
    rows = people(80)
    first = [row for row in rows if Shard(3, 3).has((row["to"],))][:10]
    mapped = Mapped(tmp_path, rows, total_limits=RateLimits(messages_per_day=12))
    fault(emulator, kind="reset", when="after", count=10)
    with pytest.raises(AirflowException, match="10 recipients are not settled"):
        mapped.run(1, 1, rows=first)
    emulator.control("DELETE", "faults")
    for number in (1, 2, 3):
        with pytest.raises(TaskDeferred):
            mapped.run(number, 3, try_number=2)
    assert 10 <= sent_to(emulator).total() <= 12


def test_limits_of_a_day_hold_for_two_instances_with_one_shard(emulator: Emulator, tmp_path: Path) -> None:
    """As where the list of shards is in another order in a retry."""
    limits = RateLimits(messages_per_day=12, new_chats_per_day=12)
    mapped = Mapped(tmp_path, people(80), total_limits=limits)
    for _ in range(2):
        for number in (1, 2):
            with pytest.raises(TaskDeferred):
                mapped.run(number, 2)
        mapped.stores.clear()
    assert sent_to(emulator).total() == 12


def test_failures_are_counted_by_each_instance_against_its_part(emulator: Emulator, tmp_path: Path) -> None:
    mapped = Mapped(tmp_path, people(20), max_failures=3)
    fault(emulator, kind="status", status=403, code=2008, count=2)
    assert mapped.run(1, 2)["failed"] == 2
    fault(emulator, kind="status", status=403, code=2008, count=2)
    with pytest.raises(AirflowFailException, match=r"2 of \d+ recipients failed .* max_failures is 1 for shard 2/2"):
        mapped.run(2, 2)


def test_each_instance_refuses_what_one_would(emulator: Emulator, tmp_path: Path) -> None:
    """All rows are checked before the first message, also those of others."""
    mapped = Mapped(tmp_path, [*people(10), {"to": "nobody", "name": "N"}])
    for number in (1, 2, 3):
        with pytest.raises(AirflowFailException, match="1 of 11 rows can't be sent to"):
            mapped.run(number, 3)
    assert posts(emulator) == 0


def test_rows_without_a_message_count_in_one_instance(emulator: Emulator, tmp_path: Path) -> None:
    rows = people(12)
    bad = [{"to": "nobody", "name": "N"}, {"to": "", "name": "N"}, rows[3], {"to": "ann@example.com", "name": None}]
    mapped = Mapped(tmp_path, [*rows, *bad], on_invalid="skip", suppression=[rows[5]["to"]])
    results = mapped.run_all(3)
    skipped = sum((Counter(result["skipped"]) for result in results), Counter[str]())
    assert {name: number for name, number in skipped.items() if number} == {
        "invalid": 3,
        "duplicate": 1,
        "suppressed": 1,
    }
    assert sum(result["sent"] for result in results) == 11
    found = [json.loads(line) for line in mapped.path.read_text().splitlines()]
    assert [row["row"] for row in found] == list(range(1, 17))


def test_a_shard_with_nobody_in_it_succeeds(emulator: Emulator, tmp_path: Path) -> None:
    rows = people(1)
    results = Mapped(tmp_path, rows).run_all(4)
    assert sorted(result["sent"] for result in results) == [0, 0, 0, 1]


def test_a_dry_run_plans_all_and_counts_its_own(emulator: Emulator, tmp_path: Path) -> None:
    rows = people(12)
    mapped = Mapped(tmp_path, rows, dry_run=True)
    results = mapped.run_all(3)
    assert sum(result["pending"] for result in results) == len(rows)
    assert {row["message"] for row in outcomes(mapped.path).values()} == {f"Hello {row['name']}" for row in rows}
    assert posts(emulator) == 0


def test_each_instance_reports_on_the_messages_of_its_shard(emulator: Emulator, tmp_path: Path) -> None:
    emulator.control("POST", "clock", {"freeze": False})
    rows = people(16)
    mapped = Mapped(tmp_path, rows)
    mapped.run(1, 2)
    soon = DeliveryReport(timeout=0.1)
    results = mapped.run_all(4, delivery_report=soon, try_number=2, deferrable=False)
    assert [result["report"]["sent"] for result in results] == [result["sent"] for result in results]
    assert sum(result["sent"] for result in results) == len(rows)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"shard": "5/4"}, "shard must be text such as '2/4', with at most 256 shards, got '5/4'"),
        ({"shard": 1}, "shard must be text such as '2/4', with at most 256 shards, got 1"),
        (
            {"outcomes_path": None},
            "shard needs outcomes_path, which all shards share with what is beside it, got '1/4'",
        ),
        (
            {"report_path": "report.csv", "delivery_report": DeliveryReport()},
            "report_path must not be given with shard: each shard reports on its own messages in XCom",
        ),
        (
            {"line_limits": RateLimits(new_chats_per_day=3)},
            "line_limits: new_chats_per_day must be 4 or more, one for each shard, got 3",
        ),
        (
            {"total_limits": RateLimits(messages_per_day=3)},
            "total_limits: messages_per_day must be 4 or more, one for each shard, got 3",
        ),
    ],
)
def test_what_does_not_go_with_shards(given: dict[str, Any], error: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(error)}$"):
        campaign(**{"rows": people(1), "shard": "1/4", "outcomes_path": "out.csv", **given})
