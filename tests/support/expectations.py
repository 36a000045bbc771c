"""What must hold of every send, whatever happened: the ledger is the oracle."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.contract_server import LINES, ContractServer
from tests.support.contract_world import People
from tests.support.task_child import Ending
from tests.support.task_process import Task

#: What an outcome may say of somebody who got no message.
NOT_SENT = {"skipped", "failed", "unknown", "pending"}


TEXT = "Hello {{ row.name }}"
#: Arguments of `Task` that `campaign` passes on.
TASK = ("record", "name", "run_id", "map_index", "retries", "api_key", "extra", "rendered", "environment", "ahead")
OUTCOMES = "outcomes.jsonl"
MINUTE, HOUR = 60.0, 3600.0
#: What is asked of a platform that forgets keys: longer than the provider trusts them.
KEYS_FOR_HALF_AN_HOUR = 31 * MINUTE


def rows_for(number: int, first: int = 0) -> list[dict[str, Any]]:
    return [{"to": f"person{index}@example.com", "name": f"Person {index}"} for index in range(first, first + number)]


def recipients(rows: Iterable[Mapping[str, Any]]) -> list[People]:
    return [frozenset(row["to"].split(",")) for row in rows]


def campaign(server: ContractServer, folder: Path, rows: list[dict[str, Any]], **arguments: Any) -> Task:
    """A campaign with an outcomes file; what is no argument of the operator is one of `Task`."""
    of_task = {name: arguments.pop(name) for name in TASK if name in arguments}
    given = {"message": TEXT, "rows": rows, "from_": LINES[0], "concurrency": 2, "deferrable": True, "groups": True}
    given["line_limits"] = {"new_chats_per_day": None}
    return Task(server, folder, "campaign", {**given, "outcomes_path": str(folder / OUTCOMES), **arguments}, **of_task)


def send(server: ContractServer, folder: Path, person: str, **arguments: Any) -> Task:
    """One message to a person; what is no argument of the operator is one of `Task`."""
    of_task = {name: arguments.pop(name) for name in TASK if name in arguments}
    return Task(server, folder, "create", {"to": person, "message": "Hi", "from_": LINES[0], **arguments}, **of_task)


def statuses(folder: Path) -> dict[People, str]:
    return {people: row["status"] for people, row in outcomes(folder / OUTCOMES).items()}


def nobody_got_two(server: ContractServer) -> None:
    server.settle()
    doubled = [people for people, count in server.sent_to().items() if count > 1]
    assert not doubled, (
        f"{len(doubled)} of {len(server.sent_to())} recipients got two messages; "
        f"{','.join(doubled[0])}:\n{server.story(doubled[0])}"
    )


def outcomes(path: Path) -> dict[People, dict[str, Any]]:
    """The rows of an outcomes file; a recipient in two of them is no duplicate that we made."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    counts = Counter(frozenset(row["to"]) for row in rows)
    assert counts.total() == len(counts), counts.most_common(3)
    return {frozenset(row["to"]): row for row in rows}


def reports_are_true(
    server: ContractServer,
    told: Mapping[People, str],
    wanted: Iterable[People],
    *,
    may_be_unknown: Iterable[People] = (),
) -> None:
    """Everybody who was wanted, or got something, is told of; `sent` is who got it; `unknown` only who may be."""
    got = server.sent_to()
    silent = {people for people in {*wanted, *got} if people not in told}
    assert not silent, f"{len(silent)} recipients are told of nowhere: {silent}"
    unknown = {people for people, status in told.items() if status == "unknown"}
    excused = unknown & set(may_be_unknown)
    wrong = {
        people: status
        for people, status in told.items()
        if (status == "sent") != (got[people] > 0) and people not in excused
    }
    assert not wrong, f"the report is wrong about {len(wrong)}: {wrong}"
    # As sets: what is equal as one may be two tuples, since its order follows from how it was made.
    uncertain = unknown - excused
    assert not uncertain, f"these could be known: {uncertain}"


def campaign_is_true(
    server: ContractServer,
    ending: Ending,
    path: Path,
    rows: Sequence[Mapping[str, Any]],
    *,
    may_be_unknown: Iterable[People] = (),
) -> None:
    """A campaign that has ended: no second message, nobody lost in silence, and outcomes and counts are true."""
    nobody_got_two(server)
    assert ending.state in ("success", "failed"), ending
    told = {people: row["status"] for people, row in outcomes(path).items()}
    print(f"{ending.state}: {dict(Counter(told.values()))}, {server.sent_to().total()} in the ledger")
    reports_are_true(server, told, recipients(rows), may_be_unknown=may_be_unknown)
    if ending.state == "success":
        wanted = Counter(told[people] for people in set(recipients(rows)))
        counts = {name: ending.result[name] for name in ("sent", "failed", "unknown", "pending")}
        assert counts == {name: wanted[name] for name in counts}, (counts, wanted)
        assert not wanted["pending"]
