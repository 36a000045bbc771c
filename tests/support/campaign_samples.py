"""Writes the samples of a campaign's records with the code as it is.

They stay as they are once a format is released, and are read for ever: this is for a new one, which gets new names.

    AIRFLOW_HOME=$(mktemp -d) python -m tests.support.campaign_samples
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

from airflow_provider_linq._internal import durable
from airflow_provider_linq._internal.durable import StateStore
from airflow_provider_linq.campaigns._checkpoint import Checkpoint
from airflow_provider_linq.campaigns._journal import Journal, Writer
from airflow_provider_linq.campaigns._limits import Quota
from airflow_provider_linq.campaigns._model import Recipient, recipient_key
from airflow_provider_linq.campaigns._packed_states import PackedStates
from airflow_provider_linq.campaigns._resume import open_checkpoint
from airflow_provider_linq.campaigns._state import (
    Claimed,
    Event,
    NoAnswer,
    RecipientState,
    Refused,
    Released,
    Requested,
    Resolved,
    SendJob,
    Sent,
    transition,
)
from airflow_provider_linq.campaigns._summary import count_rows
from airflow_provider_linq.campaigns._validate import ValidatedRows
from airflow_provider_linq.campaigns.config import NO_LIMITS
from linq_client import LinqError
from linq_client.times import format_datetime

FOLDER = Path(__file__).parents[1] / "data" / "formats" / "campaign"
A, B = "+12025550101", "+12025550102"
KEY = "spring"
NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
PEOPLE = ["ann", "ben", "cat", "dan", "eve", "fay", "gus", "hal", "ida"]

#: The task instance that the campaign is sent by, as `tests.support.campaigns.context` has it.
INSTANCE = {"dag_id": "dag", "run_id": "run", "task_id": "task", "map_index": -1, "try_number": 1, "max_tries": 10}

_LOST = LinqError("no answer")
_CHAT, _MESSAGE = "3f0a7c1e-5b1f-4b0e-9d53-0d7f2f0f8a1{}", "8d1f0a52-7a3f-4f0e-8a55-1f0d2c3b4a5{}"


def _accepted(line: str, number: int) -> Sent:
    created_at = format_datetime(NOON + timedelta(seconds=number))
    return Sent(line, _CHAT.format(number), _MESSAGE.format(number), created_at, starts_chat=True)


#: What has happened to whom: the line that they were claimed for, and what followed.
STORY: dict[str, tuple[str | None, list[Event]]] = {
    "ann": (A, [_accepted(A, 1)]),
    "ben": (B, [_accepted(B, 2)]),
    "cat": (A, [Refused(RecipientState.OPTED_OUT, 2024)]),
    "dan": (A, [Refused(RecipientState.FAILED, 2008, "The API refuses it")]),
    "eve": (B, [NoAnswer(_LOST, True, NOON), Resolved(False, NOON, "The chats do not tell whether it was sent")]),
    "fay": (A, [NoAnswer(_LOST, True, NOON)]),
    "gus": (None, []),  # in an earlier try, where the platform chose the line
}


def recipients() -> list[Recipient]:
    """All who are in the input, in its order."""
    return [
        Recipient(number, (to,), recipient_key(KEY, [to]), {"to": to, "name": name}, "UTC")
        for number, name in enumerate(PEOPLE, start=1)
        for to in [f"{name}@example.com"]
    ]


def _tell(checkpoint: Checkpoint, recipient: Recipient) -> None:
    name = recipient.to[0].partition("@")[0]
    if name not in STORY:
        return
    line, events = STORY[name]
    job = SendJob(recipient)
    for event in [Claimed(line, starts_chat=True, at=NOON), Requested(NOON), *events]:
        job = transition(job, event)
        checkpoint.update(job)


class _Store:
    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def get(self, key: str) -> Any:
        return self.values.get(key)

    def set(self, key: str, value: Any, *, retention: Any) -> None:
        self.values[key] = json.loads(json.dumps(value))


def make() -> dict[str, Any]:
    """Return the records of a campaign that has got to the middle, by the names of their files."""
    store, rows = _Store(), ValidatedRows(recipients=recipients())
    given: Any = {"task_state_store": store}
    kept, ti = StateStore(given), SimpleNamespace(**INSTANCE)
    with TemporaryDirectory() as folder:
        journal = Journal(f"{folder}/outcomes.jsonl", KEY, Writer.of(ti))
        assert journal.owner.take(NOON)
        checkpoint = open_checkpoint(kept, None, KEY, ti, rows, journal, now=NOON, unrecorded_since=None)
        for recipient in rows.recipients:
            _tell(checkpoint, recipient)
        hal = transition(SendJob(rows.recipients[7]), Claimed(A, starts_chat=True, at=NOON))
        checkpoint.update(hal)
        checkpoint.update(transition(hal, Released()))
        quota = Quota(NO_LIMITS, NO_LIMITS, checkpoint.header.days)
        for line in (A, B):
            quota.commit(None, line, "2026-03-01", starts_chat=True)
        checkpoint.save(NOON)
        made: dict[str, Any] = {"header.json": store.values[durable.CAMPAIGN]}
        made["states.json"] = store.values[f"{durable.CAMPAIGN}_0"]
        (part,) = Path(f"{folder}/outcomes.jsonl.parts").glob("*-*.jsonl")
        (owner,) = Path(f"{folder}/outcomes.jsonl.parts").glob("*.owner.json")
        made["journal.jsonl"] = [json.loads(line) for line in part.read_text().splitlines()]
        made["owner.json"] = json.loads(owner.read_text())
        checkpoint.header.result = count_rows(KEY, "outcomes.jsonl", checkpoint.counts(rows), checkpoint.excluded(rows))
        checkpoint.header.deadline = format_datetime(NOON + timedelta(hours=6))
        checkpoint.header.save(kept)
        made["header_awaiting_deliveries.json"] = store.values[durable.CAMPAIGN]
    sent = [recipient.key for recipient in rows.recipients[:2]]
    deliveries = PackedStates(sent, 1, durable.CAMPAIGN_DELIVERY, lost=0)
    deliveries[sent[0]] = 1
    deliveries.save(kept)
    made["delivery.json"] = store.values[f"{durable.CAMPAIGN_DELIVERY}_0"]
    made["journal_of_a_later_version.jsonl"] = _with_additions(made["journal.jsonl"])
    return made


def _with_additions(journal: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a journal as a later version may write it in this format: with more fields, and a line of a new kind."""
    head, *entries = journal
    more = [
        {kind: {**value, "colour": "blue"} if isinstance(value, dict) else value for kind, value in entry.items()}
        for entry in entries
    ]
    return [{**head, "host": "worker-1"}, {"weather": {"of": "today"}}, *({**entry, "by": "us"} for entry in more)]


def write(folder: Path = FOLDER) -> None:
    """Write the samples."""
    for name, value in make().items():
        if name.endswith(".jsonl"):
            text = "".join(json.dumps(line) + "\n" for line in value)
        else:
            text = json.dumps(value, indent=2) + "\n"
        (folder / name).write_text(text)


if __name__ == "__main__":
    write()
