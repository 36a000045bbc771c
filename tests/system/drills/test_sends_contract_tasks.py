"""The numbered situations from 12 on: who a result belongs to, mapped tasks, other runs, clears, and interruptions."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest

from tests.support.contract_events import reads
from tests.support.contract_server import LINES, ContractServer
from tests.support.expectations import (
    HOUR,
    KEYS_FOR_HALF_AN_HOUR,
    OUTCOMES,
    TEXT,
    campaign,
    campaign_is_true,
    nobody_got_two,
    recipients,
    rows_for,
    send,
)
from tests.support.interrupts import Interrupted, sweep
from tests.support.seeds import seed
from tests.support.task_child import Ending
from tests.support.task_process import Task

pytestmark = pytest.mark.usefixtures("workers")

Serve = Callable[..., ContractServer]
ANN, BEN, BAD = "ann@example.com", "ben@example.com", "bad@example.com"


def got(server: ContractServer, person: str) -> int:
    return server.sent_to()[frozenset({person})]


# 12. Whose message is it?


@pytest.mark.parametrize("is_cleared", [False, True])
def test_12_another_recipient_in_a_retry_without_a_store(serve: Serve, tmp_path: Path, is_cleared: bool) -> None:
    server = serve()
    task = send(server, tmp_path, ANN, record="none")
    if not is_cleared:
        server.at("accepted", 1, task.kill)
    task.go()
    if is_cleared:
        task.clear()
    task.arguments["to"] = BEN
    ending = task.go()
    assert (got(server, ANN), got(server, BEN)) in ((1, 0), (1, 1))
    assert (ending.state == "success") == (got(server, BEN) == 1), ending


@pytest.mark.parametrize("record", ["store", "none"])
def test_12_a_given_key_that_names_no_recipient(serve: Serve, tmp_path: Path, record: str) -> None:
    server = serve()
    tasks = [
        send(server, tmp_path, person, idempotency_key="soup", map_index=index, record=record)
        for index, person in enumerate([ANN, BEN])
    ]
    for task, person in zip(tasks, [ANN, BEN], strict=True):
        ending = task.go()
        assert ending.state in ("failed", "up_for_retry", "refused") or got(server, person) == 1, (person, ending)
    nobody_got_two(server)


def test_12_a_recipient_is_known_in_another_form(serve: Serve, tmp_path: Path) -> None:
    """The comparison must not take the platform's form of a number for another person's."""
    server = serve(shown_as=lambda handle: "+52" + handle[4:] if handle.startswith("+521") else handle.lower())
    for person in ("+5215512345001", "Ann.Lee@Example.com"):
        task = send(server, tmp_path, person, name=f"to-{person[-3:]}")
        server.at("accepted", 1, task.kill)
        assert task.go().state == "killed"
        ending = task.go()
        assert ending.state == "success", ending
        assert ending.result["message_id"] == server.ledger[-1].id
    nobody_got_two(server)


# 13. Mapped sends.


class Mapped:
    """A mapped task: an instance for each item. A clear maps it anew; who has no item any more is removed."""

    def __init__(self, server: ContractServer, folder: Path, *, is_keyed: bool) -> None:
        self._make = partial(send, server, folder, retries=1)
        self._is_keyed = is_keyed
        self.instances: dict[int, Task] = {}

    def clear(self) -> None:
        for task in self.instances.values():
            task.clear()

    def run(self, people: Sequence[str], stop_after: int | None = None) -> dict[str, Ending]:
        """Run the instances for these items, one after the other, and return how each has ended."""
        endings = {}
        for index, person in enumerate(people[:stop_after]):
            task = self.instances.setdefault(index, self._make(person, map_index=index))
            task.arguments["to"] = person
            if self._is_keyed:
                task.arguments["idempotency_key"] = f"order-of-{person}"
            endings[person] = task.finish()
        return endings


@pytest.mark.parametrize("is_keyed", [False, True])
def test_13_the_bad_entry_is_taken_off_a_mapped_list(serve: Serve, tmp_path: Path, is_keyed: bool) -> None:
    server = serve()
    server.opted_out.add(BAD)
    mapped = Mapped(server, tmp_path, is_keyed=is_keyed)
    first = mapped.run([BAD, ANN, BEN])
    assert first[BAD].state in ("failed", "refused")
    mapped.clear()
    second = mapped.run([ANN, BEN])
    each_got_one_or_failed(server, second)


@pytest.mark.parametrize("is_keyed", [False, True])
def test_13_a_mapped_list_is_stopped_and_comes_in_another_order(serve: Serve, tmp_path: Path, is_keyed: bool) -> None:
    server = serve()
    people = [row["to"] for row in rows_for(12)]
    mapped = Mapped(server, tmp_path, is_keyed=is_keyed)
    mapped.run(people, stop_after=5)
    mapped.clear()
    order = [*people[6:], *people[:6]]
    each_got_one_or_failed(server, mapped.run(order))


def each_got_one_or_failed(server: ContractServer, endings: dict[str, Ending]) -> None:
    nobody_got_two(server)
    for person, ending in endings.items():
        if ending.state == "success":
            assert got(server, person) == 1, person
            assert ending.result["message_id"] in {row.id for row in server.ledger if person in row.people}


# 14. Another run.


@pytest.mark.parametrize("record", ["store", "none"])
def test_14_another_run_takes_over_the_key_and_the_files(serve: Serve, tmp_path: Path, record: str) -> None:
    """The first run died for good; the second comes ten hours later, when the platform has forgotten the keys."""
    server = serve(key_lifetime=KEYS_FOR_HALF_AN_HOUR)
    rows = rows_for(60)
    died = campaign(server, tmp_path, rows, campaign_key="spring", run_id="first", record=record)
    server.at("accepted", 20, died.kill)
    assert died.go().state == "killed"
    server.advance(10 * HOUR)
    again = campaign(server, tmp_path, rows, campaign_key="spring", run_id="second", record=record)
    campaign_is_true(server, again.finish(), tmp_path / OUTCOMES, rows)


def test_14_a_retry_on_another_machine_does_not_see_the_files(serve: Serve, tmp_path: Path) -> None:
    server = serve(key_lifetime=KEYS_FOR_HALF_AN_HOUR)
    rows = rows_for(60)
    task = campaign(server, tmp_path, rows)
    server.at("accepted", 20, task.kill)
    assert task.go().state == "killed"
    server.advance(10 * HOUR)
    task.lose_files(f"{OUTCOMES}.parts")
    campaign_is_true(server, task.finish(), tmp_path / OUTCOMES, rows)


# 15. A task that is cleared while it runs.


def waiting(server: ContractServer, folder: Path) -> Task:
    """A send that waits for its delivery on the worker."""
    waits = {"wait_for_delivery": "delivered", "deferrable": False, "poll_interval": 0.05}
    return send(server, folder, ANN, on_clear="resend", retries=5, **waits)


@pytest.mark.parametrize("is_killed", [False, True])
def test_15_cleared_while_it_runs(serve: Serve, tmp_path: Path, is_killed: bool) -> None:
    server = serve(delivered_after=None)
    task = waiting(server, tmp_path)
    server.at("received", 2, task.kill if is_killed else task.interrupt, reads)
    under_way = task.start()
    task.clear()
    assert under_way.end().state != "success"
    task.under_way = None
    server.knobs.delivered_after = 0
    ending = task.finish()
    assert (ending.state, got(server, ANN)) == ("success", 1)


def test_15_cleared_after_it_has_ended(serve: Serve, tmp_path: Path) -> None:
    """This is what `resend` is for."""
    server = serve()
    task = waiting(server, tmp_path)
    assert task.finish().state == "success"
    task.clear()
    server.at("accepted", 1, task.kill)
    assert task.go().state == "killed"
    assert task.finish().state == "success"
    assert got(server, ANN) == 2


def test_15_a_campaign_is_cleared_while_it_runs(serve: Serve, tmp_path: Path) -> None:
    """Its key renders anew, as a key with a time in it does: this would be another campaign, were it a clear."""
    server = serve()
    rows = rows_for(40)
    task = campaign(server, tmp_path, rows, campaign_key="soup-10:00")
    server.at("accepted", 15, task.interrupt)
    under_way = task.start()
    task.clear()
    task.ended(under_way.end())
    task.arguments["campaign_key"] = "soup-10:01"
    campaign_is_true(server, task.finish(), tmp_path / OUTCOMES, rows)


# 16. Check sums.


def test_16_nobody_inherits_what_became_of_another(serve: Serve, tmp_path: Path) -> None:
    """With 32 bits, the last two here had the same check sum in the same range of the first release's record."""
    server = serve()
    rows = rows_for(5)
    one, other = ({"to": f"{name}@example.com", "name": name} for name in ("p2621810", "p4118852"))
    task = campaign(server, tmp_path, [*rows, one], campaign_key="k")
    assert task.finish().state == "success"
    task.clear()
    task.arguments["rows"] = [*rows, other]
    task.finish()
    assert got(server, other["to"]) == 1
    nobody_got_two(server)


# 17. An interruption at any line.


def test_17_an_interruption_ends_the_try_soon(serve: Serve, tmp_path: Path) -> None:
    """Wherever the main thread is while requests are under way; and what it leaves is gone on with."""
    server = serve()
    is_full = os.environ.get("LINQ_DRILLS") == "full"
    arguments = {"message": TEXT, "rows": rows_for(3), "from_": LINES[0], "concurrency": 2}
    share = (0, 1) if is_full else (seed() % 2, 2)
    swept = partial(sweep, arguments=arguments, folder=tmp_path, share=share, limit=120.0)
    task = Task(server, tmp_path, "campaign", arguments)
    ending = task.go(limit=1800, calls=swept)
    log = next(tmp_path.glob("*.log")).read_text()
    assert ending.state == "success", log[log.rfind("interrupted at") :]
    interrupted: list[Interrupted] = ending.result
    print(
        f"{len(interrupted)} lines of {share}, {sum(one.error == 'none' for one in interrupted)} of them not met again"
    )
    assert max(one.seconds for one in interrupted) < 60
    for one in interrupted:
        assert one.result["sent"] == 3, one
        assert [got(server, person) for person in one.recipients] == [1, 1, 1], one
    assert set(recipients([{"to": person} for one in interrupted for person in one.recipients])) <= set(
        server.sent_to()
    )
