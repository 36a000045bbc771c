"""A campaign that several instances of a task send together, and that is divided again between two tries."""

from __future__ import annotations

import hashlib
import signal
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.contract_events import sends, to
from tests.support.contract_server import LINES, ContractServer
from tests.support.expectations import (
    KEYS_FOR_HALF_AN_HOUR,
    MINUTE,
    OUTCOMES,
    campaign,
    nobody_got_two,
    outcomes,
    recipients,
    reports_are_true,
    rows_for,
    statuses,
)
from tests.support.task_child import Ending
from tests.support.task_process import Task, Try

pytestmark = pytest.mark.usefixtures("workers")

Serve = Callable[..., ContractServer]


class Mapped:
    """A mapped task with an instance for each shard."""

    def __init__(self, server: ContractServer, folder: Path, rows: list[dict[str, Any]], **given: Any) -> None:
        self._server = server
        self._make = lambda index: campaign(server, folder, rows, map_index=index, **{"concurrency": 1, **given})
        self._instances: dict[int, Task] = {}

    def divide(self, shards: int) -> list[Task]:
        """Map the task again, as a clear does, and return its instances."""
        for index in range(shards):
            if index in self._instances:
                self._instances[index].clear()
            else:
                self._instances[index] = self._make(index)
            self._instances[index].arguments["shard"] = f"{index + 1}/{shards}"
        return [self._instances[index] for index in range(shards)]


def together(tasks: Iterable[Task]) -> list[Ending]:
    """One try of each, at the same time."""
    started = [(task, task.start()) for task in tasks]
    return [task.ended(under_way.end()) for task, under_way in started]


def finish(server: ContractServer, tasks: Sequence[Task]) -> None:
    """Go on with all of them at the same time until each has succeeded."""
    for _ in range(12):
        left = [task for task in tasks if task.ending is None or task.ending.state != "success"]
        if not left:
            return
        for ending in together(left):
            assert ending.state in ("success", "killed", "up_for_retry", "deferred"), ending
        server.advance(MINUTE)
    raise AssertionError([task.ending for task in tasks])


def of_shard(rows: Sequence[dict[str, Any]], number: int, of: int) -> list[list[str]]:
    """Those of a shard, as durable-formats.md says."""
    digests = {row["to"]: hashlib.sha256(row["to"].encode()).digest() for row in rows}
    return [[to] for to, digest in digests.items() if int.from_bytes(digest[:8], "big") % of == number - 1]


def is_true(server: ContractServer, folder: Path, rows: Sequence[dict[str, Any]], tasks: Iterable[Task]) -> None:
    """Everybody got one message and is in the outcomes once; the results of the instances add up to that."""
    nobody_got_two(server)
    reports_are_true(server, statuses(folder), recipients(rows))
    assert [row["row"] for row in outcomes(folder / OUTCOMES).values()] == list(range(1, len(rows) + 1))
    assert set(statuses(folder).values()) == {"sent"}
    assert sum(task.ending.result["sent"] for task in tasks if task.ending) == len(rows)


def test_four_instances_are_killed_and_continue_as_six_while_one_of_the_four_stands_still(
    serve: Serve, tmp_path: Path
) -> None:
    """Killed with a request that was accepted, and one that was not; the platform has forgotten the keys at the end."""
    server = serve(key_lifetime=KEYS_FOR_HALF_AN_HOUR, key_scope="line")
    rows = rows_for(48)
    mapped = Mapped(server, tmp_path, rows, from_=LINES)
    four = mapped.divide(4)
    server.at("accepted", 2, four[0].kill, to(of_shard(rows, 1, 4)))
    server.at("received", 3, four[1].kill, to(of_shard(rows, 2, 4)))
    frozen = server.at("received", 3, four[2].freeze, to(of_shard(rows, 3, 4)))
    started = [task.start() for task in four]
    assert not started[2].ends_before(frozen.happened)
    endings = [task.ended(started[index].end()).state for index, task in enumerate(four) if index != 2]
    assert endings == ["killed", "killed", "success"]
    four[2].ended(Ending("killed"))  # as Airflow sees it
    before = server.sent_to().total()
    assert 0 < before < len(rows)

    server.advance(3 * MINUTE)
    six = mapped.divide(6)
    server.at("accepted", 2, six[0].kill, to(of_shard(rows, 1, 6)))
    server.at("received", 2, six[4].kill, to(of_shard(rows, 5, 6)))
    finish(server, six)
    assert sum(task.kills for task in six) >= 4
    is_true(server, tmp_path, rows, six)

    server.advance(45 * MINUTE)
    lost = thawed(started[2])
    assert (lost.state, "sends this campaign now" in lost.error) == ("up_for_retry", True), lost
    is_true(server, tmp_path, rows, six)


def thawed(asleep: Try) -> Ending:
    asleep.send_signal(signal.SIGCONT)
    return asleep.end()


def test_six_instances_become_one_task_while_one_of_the_six_stands_still(serve: Serve, tmp_path: Path) -> None:
    server = serve(key_lifetime=KEYS_FOR_HALF_AN_HOUR)
    rows = rows_for(30)
    six = Mapped(server, tmp_path, rows).divide(6)
    for index in (1, 2):
        server.at("accepted", 2, six[index].kill, to(of_shard(rows, index + 1, 6)))
    frozen = server.at("accepted", 1, six[5].freeze, to(of_shard(rows, 6, 6)))
    started = [task.start() for task in six]
    assert not started[5].ends_before(frozen.happened)
    for index, task in enumerate(six[:5]):
        task.ended(started[index].end())
    whole = campaign(server, tmp_path, rows, concurrency=1)
    assert whole.go().state == "deferred"  # the killed ones may be alive, for all that it knows
    assert whole.finish().state == "success"
    is_true(server, tmp_path, rows, [whole])
    server.advance(45 * MINUTE)
    assert thawed(started[5]).state == "up_for_retry"
    is_true(server, tmp_path, rows, [whole])


def test_a_task_that_stands_still_sends_nothing_after_others_have_divided_its_campaign(
    serve: Serve, tmp_path: Path
) -> None:
    server = serve(key_lifetime=KEYS_FOR_HALF_AN_HOUR)
    rows = rows_for(20)
    whole = campaign(server, tmp_path, rows, concurrency=1)
    frozen = server.at("received", 5, whole.freeze, sends)
    asleep = whole.start()
    assert not asleep.ends_before(frozen.happened)
    server.advance(3 * MINUTE)
    two = Mapped(server, tmp_path, rows).divide(2)
    finish(server, two)
    is_true(server, tmp_path, rows, two)
    server.advance(45 * MINUTE)
    assert thawed(asleep).state == "up_for_retry"
    is_true(server, tmp_path, rows, two)


def test_divisions_come_and_go_and_one_that_comes_back_is_another_one(serve: Serve, tmp_path: Path) -> None:
    """An instance of the first division stands still until the campaign is divided in that way again."""
    server = serve(key_lifetime=KEYS_FOR_HALF_AN_HOUR)
    rows = rows_for(16)
    first = Mapped(server, tmp_path, rows, name="first", campaign_key="spring").divide(2)
    frozen = server.at("received", 2, first[0].freeze, to(of_shard(rows, 1, 2)))
    asleep = first[0].start()
    assert not asleep.ends_before(frozen.happened)
    server.advance(3 * MINUTE)
    three = Mapped(server, tmp_path, rows, name="second", campaign_key="spring").divide(3)
    finish(server, three)
    # Of the shard that stands still, nobody says that it is another one's now.
    again = Mapped(server, tmp_path, rows, name="third", campaign_key="spring").divide(2)[1]
    assert again.finish().state == "success"
    server.advance(45 * MINUTE)
    assert thawed(asleep).state == "up_for_retry"
    nobody_got_two(server)
    assert set(statuses(tmp_path).values()) == {"sent"}
