"""What one try, or one task, leaves to another: claims, ownership, clocks. Nobody gets two messages by it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.contract_events import Fate, Request, reads, refused
from tests.support.contract_server import LINES, ContractServer
from tests.support.expectations import (
    HOUR,
    KEYS_FOR_HALF_AN_HOUR,
    MINUTE,
    OUTCOMES,
    campaign,
    nobody_got_two,
    recipients,
    reports_are_true,
    rows_for,
    send,
    statuses,
)
from tests.support.task_child import Ending
from tests.support.task_process import Task
from tests.support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("workers")

Serve = Callable[..., ContractServer]


def runs(server: ContractServer, folder: Path, rows: list[dict[str, Any]], name: str, **given: Any) -> Task:
    """One of several tasks that send one campaign."""
    return campaign(server, folder, rows, name=name, **{"campaign_key": "spring", "concurrency": 1, **given})


def test_an_older_claim_of_another_task_does_not_hide_a_later_one_of_ones_own(serve: Serve, tmp_path: Path) -> None:
    """The other task claimed on line 0, which was resolved; this one claimed on line 1 and was killed."""
    server = serve(key_scope="line")
    rows = rows_for(1)
    first = runs(server, tmp_path, rows, "first", from_=LINES[:1])
    server.rule(Fate("never", "reset"))
    server.at("received", 1, first.kill, lambda request: request.send is not None)
    assert first.go().state == "killed"
    server.no_rules()
    server.advance(HOUR)
    server.ineligible.add(LINES[0])
    second = runs(server, tmp_path, rows, "second", from_=LINES[:2])
    server.at("accepted", 1, second.kill)
    assert second.go().state == "killed"
    assert server.sent_to().total() == 1
    server.ineligible.clear()
    second.finish()
    nobody_got_two(server)


@pytest.mark.parametrize("later", [0.0, HOUR])
def test_a_claim_of_another_task_on_any_line_stays_on_any_line(serve: Serve, tmp_path: Path, later: float) -> None:
    server = serve(key_scope="line", routed_to=lambda people: LINES[1])
    rows = rows_for(1)
    first = runs(server, tmp_path, rows, "first", from_="any")
    server.at("accepted", 1, first.kill)
    assert first.go().state == "killed"
    server.advance(3 * MINUTE)
    second = runs(server, tmp_path, rows, "second", from_=LINES[0])
    server.rule(Fate("now", refused(503, 4004)), lambda r: reads(r) and r.path.startswith("/v3/chats"))
    assert second.go().state == "up_for_retry"
    nobody_got_two(server)
    server.no_rules()
    server.advance(later)
    second.finish()
    nobody_got_two(server)


def test_a_cleared_task_that_waits_for_another_one_still_sends_its_new_rows(serve: Serve, tmp_path: Path) -> None:
    server = serve()
    waits = {"delivered_share": 1.0, "timeout": HOUR, "poll_interval": 60}
    task = runs(server, tmp_path, rows_for(5), "report", delivery_report=waits)
    assert task.finish().state == "success"
    other = runs(server, tmp_path, rows_for(1, first=100), "other")
    held = server.hold(lambda request: request.send is not None)
    under_way = other.start()
    held.until_held()
    task.clear()
    task.arguments["rows"] = rows_for(8)
    assert task.go().state == "deferred"
    held.release()
    assert other.ended(under_way.end()).state == "success"
    ending = task.finish()
    assert ending.state == "success"
    assert set(recipients(rows_for(8))) <= set(server.sent_to()), ending.result
    assert ending.result["sent"] == 8


def stops_in_a_write(operator: Any, context: Any, *, nth: int, marker: str) -> Any:
    """The worker stands still in a write to the store, which it does not know of afterwards."""
    store = context["task_state_store"]
    write, left = store.set, [nth]

    def set_(*args: Any, **kwargs: Any) -> None:
        left[0] -= 1
        if left[0] == 0:
            Path(marker).touch()
            os.kill(os.getpid(), signal.SIGSTOP)
        write(*args, **kwargs)

    store.set = set_
    return operator.execute(context)


def test_a_worker_that_stood_still_within_a_save_confirms_again(serve: Serve, tmp_path: Path) -> None:
    server = serve(key_lifetime=KEYS_FOR_HALF_AN_HOUR)
    rows, marker = rows_for(10), tmp_path / "stopped"
    first = runs(server, tmp_path, rows, "first")
    asleep = first.start(calls=partial(stops_in_a_write, nth=3, marker=str(marker)))
    try:
        wait_until(marker.exists, "the worker stands still within a save")
        server.advance(3 * MINUTE)
        assert runs(server, tmp_path, rows, "second").finish().state == "success"
        assert server.sent_to().total() == 10
        server.advance(45 * MINUTE)
    finally:
        asleep.send_signal(signal.SIGCONT)
        asleep.end()
    nobody_got_two(server)


def test_a_task_that_lost_the_campaign_takes_back_no_claim(serve: Serve, tmp_path: Path) -> None:
    server = serve(key_lifetime=KEYS_FOR_HALF_AN_HOUR)
    rows = rows_for(6)
    first = runs(server, tmp_path, rows, "first")
    server.at("received", 1, first.freeze, lambda request: request.send is not None)
    answered = server.at("answered", 1)
    asleep = first.start()
    answered.wait()
    server.advance(3 * MINUTE)
    second = runs(server, tmp_path, rows, "second")
    server.at("accepted", 4, second.kill)
    assert second.go().state == "killed"
    asleep.send_signal(signal.SIGCONT)
    assert first.ended(asleep.end()).state == "up_for_retry"  # and is not tried again
    server.advance(45 * MINUTE)
    runs(server, tmp_path, rows, "third").finish()
    nobody_got_two(server)


def test_the_journal_keeps_its_order_over_machines_whose_clocks_differ(serve: Serve, tmp_path: Path) -> None:
    server = serve(key_lifetime=KEYS_FOR_HALF_AN_HOUR)
    rows = rows_for(6)
    first = runs(server, tmp_path, rows, "first", ahead=300)
    server.rule(Fate("never", "reset"), times=1)
    server.at("received", 1, first.interrupt, lambda request: request.send is not None)
    assert first.go().state == "up_for_retry"
    server.no_rules()
    first.ahead = 0  # another worker
    server.at("accepted", 5, first.kill)
    assert first.go().state == "killed"
    server.advance(45 * MINUTE)
    runs(server, tmp_path, rows, "second").finish()
    nobody_got_two(server)


def test_the_owner_gives_up_not_before_its_last_request(serve: Serve, tmp_path: Path) -> None:
    server = serve()
    task = runs(server, tmp_path, rows_for(2), "first", concurrency=1)
    server.at("received", 1, lambda: server.advance(50), lambda request: request.send is not None)
    server.rule(Fate("never", "reset"), times=1)
    task.go()
    (file,) = tmp_path.glob("*.parts/*.owner.json")
    owner = json.loads(file.read_text())
    assert not owner["is_alive"]
    at = datetime.fromisoformat(owner["at"].replace("Z", "+00:00")).timestamp()
    assert at >= int(server.posts[-1].at), f"{server.posts[-1].at - at:.0f} s too early"


def test_a_look_needs_no_request_that_is_not_repeated(serve: Serve, tmp_path: Path) -> None:
    """A 503 that any read is repeated after ends the whole try, if it meets the read of the clock."""
    server = serve(key_lifetime=KEYS_FOR_HALF_AN_HOUR)
    rows = rows_for(6)
    task = runs(server, tmp_path, rows, "first")
    server.at("accepted", 3, task.kill)
    assert task.go().state == "killed"
    server.advance(45 * MINUTE)

    def lines(request: Request) -> bool:
        return reads(request) and request.path.endswith("/phone_numbers")

    server.rule(Fate("now", refused(503, 4004)), lines, skip=1, times=1)
    ending = task.go()
    assert ending.state == "success", ending


def test_a_report_is_about_the_rows_of_its_task(serve: Serve, tmp_path: Path) -> None:
    server = serve()
    waits = {"delivered_share": 1.0, "timeout": HOUR, "poll_interval": 60}
    assert runs(server, tmp_path, rows_for(10), "first").finish().state == "success"
    ending = runs(server, tmp_path, rows_for(3, first=10), "second", delivery_report=waits).finish()
    assert ending.result["sent"] == 3
    assert ending.result["report"]["sent"] == 3


def test_somebody_who_moves_to_a_new_instance_of_a_mapped_task_has_the_same_key(serve: Serve, tmp_path: Path) -> None:
    """
    The list of a cleared task has one more at its front; the last one is now an instance that never was.

    Where the platform has forgotten the key by then, it is a limit that the documentation names: a look would take
    a message of another task with the same words, sent earlier in the run, for this one.
    """
    server = serve()
    new, ann, ben = "new@example.com", "ann@example.com", "ben@example.com"
    mapped = [send(server, tmp_path, person, map_index=index) for index, person in enumerate([ann, ben])]
    for task in mapped:
        assert task.go().state == "success"
    server.advance(45 * MINUTE)
    last = send(server, tmp_path, ben, map_index=2)
    last._began, last._clears = mapped[0]._began, 1  # of the same run
    for task, person in zip([*mapped, last], [new, ann, ben], strict=True):
        if task is not last:
            task.clear()
            task._began = last._began  # `run_after` stays when a task is cleared
        task.arguments["to"] = person
        task.finish()
    nobody_got_two(server)


def test_a_text_that_changes_in_a_retry_of_a_mapped_send_without_a_store(serve: Serve, tmp_path: Path) -> None:
    server = serve()
    task = send(server, tmp_path, "ann@example.com", map_index=0, record="none", message="It is 10:00")
    server.at("accepted", 1, task.kill)
    assert task.go().state == "killed"
    task.arguments["message"] = "It is 10:01"
    ending = task.finish()
    nobody_got_two(server)
    assert ending.state == "success", ending


def test_all_lines_are_lost_while_some_are_in_doubt(serve: Serve, tmp_path: Path) -> None:
    server = serve()
    rows = rows_for(12)
    server.rule(Fate("now", "reset"), lambda r: r.send is not None and r.repeats == 0, times=4)
    server.at("answered", 8, lambda: server.ineligible.update(LINES), lambda request: request.send is not None)
    task = runs(server, tmp_path, rows, "first", from_=LINES, concurrency=4)
    ending = task.go()
    print(ending, len(server.requests))
    assert ending.state == "up_for_retry"
    assert len(server.requests) < 200
    server.ineligible.clear()
    server.no_rules()
    server.advance(HOUR)
    assert task.finish().state == "success"
    nobody_got_two(server)
    assert set(server.sent_to()) == set(recipients(rows))


def test_an_api_that_never_stops_asking_to_wait(serve: Serve, tmp_path: Path) -> None:
    """An API that never stops asking to wait ends the try, after as many requests as a recipient has patience for."""
    server = serve()
    server.rule(Fate("never", refused(429, 1007, retry_after=0)))
    task = runs(server, tmp_path, rows_for(3), "first")
    ending = task.go()
    assert ending.state == "up_for_retry"
    assert len(server.posts) <= 3 * 21


def test_the_clock_of_airflow_is_ten_minutes_ahead_without_a_store(serve: Serve, tmp_path: Path) -> None:
    """Single sends translate the start of the run to the clock of the API; campaigns take five minutes off it."""
    server = serve(key_lifetime=KEYS_FOR_HALF_AN_HOUR)
    task = runs(server, tmp_path, rows_for(10), "first", record="none", outcomes_path=None, ahead=600)
    server.at("accepted", 5, task.kill)
    assert task.go().state == "killed"
    server.advance(45 * MINUTE)
    task.finish()
    nobody_got_two(server)


def test_a_refusal_of_a_line_that_the_platform_chose_is_not_repeated_without_an_end(
    serve: Serve, tmp_path: Path
) -> None:
    """It names no line that could be excluded, so nothing has changed for the next request."""
    server = serve()
    server.rule(Fate("never", refused(403, 2027)))
    task = runs(server, tmp_path, rows_for(1), "first", from_="any")
    assert task.go().state == "up_for_retry"
    posts = len(server.posts)
    assert posts <= 7, f"{posts} requests, and {len(list(tmp_path.glob('*.parts/*.jsonl')))} files"


@pytest.mark.parametrize("is_killed", [False, True])
def test_who_was_sent_to_and_has_opted_out_since_is_found_without_a_record(
    serve: Serve, tmp_path: Path, is_killed: bool
) -> None:
    """Neither store nor files, and the platform refuses before it looks at the key: only the chats tell."""
    server = serve(key_scope="account", refusals_first=True)
    rows = rows_for(4)
    task = campaign(server, tmp_path, rows, record="none")
    assert task.go().state == "success"
    server.opted_out.update(row["to"] for row in rows[:2])
    server.advance(13 * HOUR)
    task.lose_files(f"{OUTCOMES}.parts")
    task.clear()
    if is_killed:
        server.at("received", 3, task.kill, lambda request: True)
        assert task.go().state == "killed"
    task.finish()
    nobody_got_two(server)
    reports_are_true(server, statuses(tmp_path), recipients(rows))


def test_a_try_that_was_replaced_leaves_the_outcomes_to_the_one_that_has_the_campaign(
    serve: Serve, tmp_path: Path
) -> None:
    """It stood still during its last send of the day, and for it the others still have to wait for tomorrow."""
    server = serve()
    task = campaign(
        server, tmp_path, rows_for(2), concurrency=1, line_limits={"messages_per_day": 1, "new_chats_per_day": None}
    )
    frozen = server.at("accepted", 1, task.freeze)
    asleep = task.start()
    assert not asleep.ends_before(frozen.happened)
    task.ended(Ending("killed"))
    server.advance(25 * HOUR)
    assert task.finish().state == "success"
    assert set(statuses(tmp_path).values()) == {"sent"}
    asleep.send_signal(signal.SIGCONT)
    ending = asleep.end()
    assert set(statuses(tmp_path).values()) == {"sent"}
    assert (ending.state, "sends this campaign now" in ending.error) == ("up_for_retry", True), ending
    nobody_got_two(server)
