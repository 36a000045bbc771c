"""The numbered situations of sends, against a server that is written from the contract alone.

Whatever the platform does within its contract, and whenever a worker dies: nobody gets two messages, nobody is lost in
silence, and what is reported is true. `unknown` is right only where a test says that no client can know.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.contract_events import Fate, Request, first_sends, gateway, page, reads, refused, to
from tests.support.contract_server import API_KEY, LINES, ContractServer
from tests.support.expectations import (
    HOUR,
    KEYS_FOR_HALF_AN_HOUR,
    MINUTE,
    OUTCOMES,
    campaign,
    campaign_is_true,
    nobody_got_two,
    recipients,
    rows_for,
    statuses,
)
from tests.support.task_child import Iterates
from tests.support.task_process import Task

pytestmark = pytest.mark.usefixtures("workers")

Serve = Callable[..., ContractServer]


# 1. Acceptance comes after the client has given up.


@pytest.mark.parametrize("under_way", [2009, 2015])
def test_1_accepted_after_the_client_has_given_up(serve: Serve, tmp_path: Path, under_way: int) -> None:
    """Repeats are refused while the first request is under way; it is accepted minutes after the try has ended."""
    server = serve(key_under_way=under_way, key_lifetime=KEYS_FOR_HALF_AN_HOUR, list_lag=4)
    rows = rows_for(20)
    late = recipients(rows[:5])
    server.rule(Fate("on command", "reset"), to(late, first_sends))
    task = campaign(server, tmp_path, rows)
    assert task.go().state == "up_for_retry"
    told = statuses(tmp_path)
    assert {told[people] for people in late} == {"unknown"}
    server.advance(3 * MINUTE)
    assert server.accept_late() == 5
    server.advance(HOUR)
    campaign_is_true(server, task.finish(), tmp_path / OUTCOMES, rows)


@pytest.mark.parametrize("accepted", ["now", 5.0])
def test_1_the_line_of_what_was_accepted_becomes_ineligible(serve: Serve, tmp_path: Path, accepted: float) -> None:
    """An ailing line takes messages, answers 502, then refuses; lists lag, and another line would not know the key."""
    server = serve(key_scope="line", list_lag=4, key_under_way=2015)
    rows = rows_for(40)

    def on_ailing_line(request: Request) -> bool:
        return request.send is not None and request.send.line == LINES[0]

    def fail() -> None:
        server.ineligible.add(LINES[0])

    server.rule(Fate(accepted, refused(502, 3004)), lambda r: on_ailing_line(r) and first_sends(r), skip=3)
    server.rule(Fate("now", refused(502, 3004)), lambda r: on_ailing_line(r) and r.repeats > 0)
    server.at("answered", 6, fail, on_ailing_line)
    task = campaign(server, tmp_path, rows, from_=LINES, concurrency=4)
    task.go()
    nobody_got_two(server)
    assert LINES[0] in server.ineligible
    server.advance(HOUR)
    server.ineligible.clear()
    server.no_rules()
    nobody_got_two(server)
    ending = task.ending if task.ending is not None and task.ending.state == "success" else task.finish()
    campaign_is_true(server, ending, tmp_path / OUTCOMES, rows)


# 2. A filter makes pages of answers.


def test_2_a_filter_hides_the_acceptance(serve: Serve, tmp_path: Path) -> None:
    """The next try comes an hour later, when the keys are forgotten."""
    server = serve(key_lifetime=KEYS_FOR_HALF_AN_HOUR)
    rows = rows_for(30)
    pages = [page(400), page(403), page(404), page(451), gateway(403), gateway(404), gateway(409)]
    for row, hides in zip(rows, pages, strict=False):
        server.rule(Fate("now", hides), to(recipients([row])))
    task = campaign(server, tmp_path, rows)
    if (ending := task.go()).state != "success":
        told = statuses(tmp_path)
        assert {told[people] for people in recipients(rows[: len(pages)])} <= {"sent", "unknown"}
        server.no_rules()
        server.advance(HOUR)
        ending = task.finish()
    campaign_is_true(server, ending, tmp_path / OUTCOMES, rows)


# 3. and 4. What a look does not find.


def killed_and_forgotten(server: ContractServer, task: Task, nth: int = 20) -> None:
    """Kill it at the n-th accepted message, and let the platform forget its keys."""
    server.at("accepted", nth, task.kill)
    assert task.go().state == "killed"
    server.advance(45 * MINUTE)


def test_3_created_at_is_behind_the_date(serve: Serve, tmp_path: Path) -> None:
    server = serve(key_lifetime=KEYS_FOR_HALF_AN_HOUR, created_at_skew=-30)
    rows = rows_for(60)
    task = campaign(server, tmp_path, rows)
    killed_and_forgotten(server, task)
    campaign_is_true(server, task.finish(), tmp_path / OUTCOMES, rows)


def as_shown(handle: str) -> str:
    """Mexican mobile numbers, without the 1 that is not dialled any more."""
    return "+52" + handle[4:] if handle.startswith("+521") else handle


@pytest.mark.parametrize("filter_knows_sent_form", [True, False])
def test_4_numbers_are_shown_in_another_form(serve: Serve, tmp_path: Path, filter_knows_sent_form: bool) -> None:
    """No client can tell whether a chat with such a number is that of its recipient: `unknown` is right."""
    knobs = {"shown_as": as_shown, "filter_knows_sent_form": filter_knows_sent_form}
    server = serve(key_lifetime=KEYS_FOR_HALF_AN_HOUR, **knobs)
    rows = [{"to": f"+52155123450{index:02}", "name": f"Person {index}"} for index in range(60)]
    task = campaign(server, tmp_path, rows, max_failures=60)
    killed_and_forgotten(server, task)
    campaign_is_true(server, task.finish(), tmp_path / OUTCOMES, rows, may_be_unknown=recipients(rows))


def groups(number: int) -> list[dict[str, str]]:
    return [{"to": f"a{index}@example.com,b{index}@example.com", "name": f"Group {index}"} for index in range(number)]


def test_4_somebody_has_joined_the_group_since(serve: Serve, tmp_path: Path) -> None:
    """No client can tell which group it was: `unknown` is right."""
    server = serve(key_lifetime=KEYS_FOR_HALF_AN_HOUR)
    rows = groups(30)
    task = campaign(server, tmp_path, rows, max_failures=30)
    killed_and_forgotten(server, task, 12)
    for index, chat in enumerate(server.chats):
        server.joins(f"c{index}@example.com", chat)
    campaign_is_true(server, task.finish(), tmp_path / OUTCOMES, rows, may_be_unknown=recipients(rows))


def test_4_the_filter_of_chats_knows_direct_chats_only(serve: Serve, tmp_path: Path) -> None:
    server = serve(key_lifetime=KEYS_FOR_HALF_AN_HOUR, to_filter="direct")
    rows = groups(10) + rows_for(20)
    task = campaign(server, tmp_path, rows)
    killed_and_forgotten(server, task)
    campaign_is_true(server, task.finish(), tmp_path / OUTCOMES, rows)


# 5. A key that is refused for good.


def test_5_a_known_key_is_refused_for_good(serve: Serve, tmp_path: Path) -> None:
    server = serve(key_known=2015, list_lag=5)
    rows = rows_for(20)
    lost = recipients(rows[:5])
    server.rule(Fate("now", "reset"), to(lost, first_sends))
    task = campaign(server, tmp_path, rows)
    if (ending := task.go()).state != "success":
        told = statuses(tmp_path)
        assert {told[people] for people in lost} <= {"sent", "unknown"}
        server.advance(HOUR)
        ending = task.finish()
    campaign_is_true(server, ending, tmp_path / OUTCOMES, rows)


# 6. Two tasks at once.


@pytest.mark.parametrize(
    ("change", "outcomes_path"),
    [
        ("a line is at risk", None),
        ("a line is at risk", OUTCOMES),
        # Without files it is a limit that docs/explanation/exactly-once.md names: nothing is there that both tasks see.
        ("somebody writes to another line", OUTCOMES),
    ],
)
def test_6_two_tasks_with_one_campaign_key(
    serve: Serve, tmp_path: Path, change: str, outcomes_path: str | None
) -> None:
    """Between their starts the world changes, so that a choice from live state would be another one."""
    server = serve(key_scope="line")
    rows = rows_for(60)
    path = None if outcomes_path is None else str(tmp_path / outcomes_path)
    arguments = {"from_": LINES, "campaign_key": "spring", "outcomes_path": path}
    first = campaign(server, tmp_path, rows, name="first", **arguments)
    second = campaign(server, tmp_path, rows, name="second", api_key="key-of-the-second", **arguments)
    server.api_keys.add(second.api_key)

    def of_first(request: Request) -> bool:
        return request.send is not None and request.api_key == API_KEY

    held = server.hold(of_first, skip=10)
    under_way = first.start()
    held.until_held()
    if change == "a line is at risk":
        server.reputation[LINES[1]] = "AT_RISK"
    else:
        for row in rows[::2]:
            server.writes(row["to"], LINES[2])
    second.go()
    held.release()
    first.ended(under_way.end())
    for task in (first, second):
        assert task.ending is not None
        ending = task.ending if task.ending.state in ("success", "failed") else task.finish()
        assert ending.state == "failed" or ending.result["sent"] == 60
    nobody_got_two(server)
    assert set(server.sent_to()) == set(recipients(rows))


# 7. A try that wakes up.


def test_7_a_try_wakes_up_after_another_has_finished(serve: Serve, tmp_path: Path) -> None:
    """Its machine was asleep, while it waited for the answer to its only request."""
    server = serve(key_lifetime=KEYS_FOR_HALF_AN_HOUR)
    rows = rows_for(60)
    task = campaign(server, tmp_path, rows, concurrency=1)
    server.at("accepted", 20, task.freeze)
    answered = server.at("answered", 20)
    asleep = task.start()
    try:
        answered.wait()
        server.advance(45 * MINUTE)
        ending = task.finish()
        campaign_is_true(server, ending, tmp_path / OUTCOMES, rows)
        server.advance(45 * MINUTE)
    finally:
        asleep.send_signal(signal.SIGCONT)
        asleep.end()
    campaign_is_true(server, ending, tmp_path / OUTCOMES, rows)


def test_7_a_try_wakes_up_and_is_still_the_only_one(serve: Serve, tmp_path: Path) -> None:
    server = serve(key_lifetime=KEYS_FOR_HALF_AN_HOUR)
    rows = rows_for(60)
    task = campaign(server, tmp_path, rows)
    server.at("accepted", 20, task.freeze)
    answered = server.at("answered", 20)
    asleep = task.start()
    try:
        answered.wait()
        server.advance(3 * HOUR)
    finally:
        task.thaw()
        ending = task.ended(asleep.end())
    if ending.state != "success":
        ending = task.finish()
    campaign_is_true(server, ending, tmp_path / OUTCOMES, rows)


# 8. and 9. Rows that change.


def test_8_rows_of_who_is_in_doubt_go_or_turn_invalid(serve: Serve, tmp_path: Path) -> None:
    """What was sent to them can't be made again, so a look may leave them `unknown`."""
    server = serve()
    rows = rows_for(40)
    task = campaign(server, tmp_path, rows, on_invalid="skip", max_failures=40)
    server.at("accepted", 15, task.kill)
    assert task.go().state == "killed"
    got = [next(iter(people)) for people in server.sent_to()]
    gone, invalid = got[:5], got[5:10]
    left = [{**row, "name": None} if row["to"] in invalid else row for row in rows if row["to"] not in gone]
    task.arguments["rows"] = left
    ending = task.finish()
    may = [frozenset({person}) for person in (*gone, *invalid)]
    nobody_got_two(server)
    assert ending.state == "success"
    told = statuses(tmp_path)
    assert {told.get(people) for people in may} <= {"sent", "unknown"}
    assert set(server.sent_to()) == set(recipients(rows))


def test_9_rows_are_added_while_the_deliveries_are_awaited(serve: Serve, tmp_path: Path) -> None:
    server = serve(delivered_after=None)
    rows = rows_for(30)
    waits = {"delivered_share": 1.0, "timeout": 6 * HOUR, "poll_interval": 300}
    task = campaign(server, tmp_path, rows, delivery_report=waits)
    assert task.go().state == "deferred"
    assert server.sent_to().total() == 30
    task.skip_wait()
    server.at("received", 5, task.kill, reads)
    assert task.go().state == "killed"
    more = rows_for(40)
    task.arguments["rows"] = more
    server.knobs.delivered_after = 0
    ending = task.finish()
    campaign_is_true(server, ending, tmp_path / OUTCOMES, more)
    assert ending.state == "failed" or set(server.sent_to()) == set(recipients(more))


# 10. Rows that can be read once.


@pytest.mark.parametrize("operator", ["campaign", "function"])
def test_10_rows_come_from_a_generator(serve: Serve, tmp_path: Path, operator: str) -> None:
    """An operator refuses them when it is made; a function makes a list of them. In the middle there is a long wait."""
    server = serve()
    rows = rows_for(40)
    server.rule(Fate("never", refused(429, 1007, retry_after=122)), skip=12, times=1)
    task = campaign(server, tmp_path, rows)
    task.operator = operator
    task.arguments |= {"rows": Iterates(rows), "deferrable": False}
    if operator == "function":  # which can't be deferred
        del task.arguments["deferrable"]
    ending = task.finish()
    if operator == "campaign" and ending.state == "refused":
        assert not server.posts
        return
    campaign_is_true(server, ending, tmp_path / OUTCOMES, rows)
    assert ending.result["sent"] == 40


# 11. Without a task state store.


def two_zones(number: int) -> list[dict[str, str]]:
    zones = ["Asia/Tokyo", "America/New_York"]
    return [{**row, "zone": zones[index % 2]} for index, row in enumerate(rows_for(number))]


@pytest.mark.parametrize("kept", ["outcomes", "nothing"])
@pytest.mark.parametrize("kills", [0, 2])
def test_11_windows_that_never_overlap_without_a_store(serve: Serve, tmp_path: Path, kept: str, kills: int) -> None:
    """Two have opted out, one in each zone. Where nothing is kept, it may be refused before anything is sent."""
    server = serve()
    rows = two_zones(12)
    server.opted_out |= {rows[0]["to"], rows[1]["to"]}
    given = {"send_window": ("09:00", "10:30"), "timezone_field": "zone"}
    path = None if kept == "nothing" else str(tmp_path / OUTCOMES)
    task = campaign(server, tmp_path, rows, record="none", outcomes_path=path, **given)
    for nth in range(kills):
        server.at("accepted", 2 + 4 * nth, task.kill)
    ending = task.finish(waits=8)
    nobody_got_two(server)
    if ending.state in ("refused", "failed"):
        assert kept == "nothing"
        assert not server.posts
        return
    assert (ending.result["sent"], ending.result["skipped"]["opted_out"]) == (10, 2)
    assert server.sent_to().total() == 10
