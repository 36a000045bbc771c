"""The journal of a campaign: who may have been sent to, what became of them, and which task sends at present."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_linq._internal.durable import FORMAT
from airflow_provider_linq._internal.version_compat import AirflowException, AirflowFailException
from airflow_provider_linq.campaigns import _state
from airflow_provider_linq.campaigns._journal import (
    Claim,
    Entry,
    Journal,
    Writer,
)
from airflow_provider_linq.campaigns._model import Outcome, recipient_key
from tests.support.airflow import Store
from tests.support.campaigns import (
    STORES,
    campaign,
    context,
    fault,
    folder_in,
    once,
    outcomes,
    people,
    posts,
    sent_to,
)
from tests.support.emulator_process import Emulator

ANN, BOB = "+12025550121", "+12025550122"
LINE = "+12025550101"
NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
SENT = Outcome(1, (ANN,), "sent", idempotency_key="k1", line=LINE, chat_id="c1", message_id="m1")
ME, OTHER = Writer("me", 2), Writer("other", 0)


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder that is not there yet, on a disk and in an object store."""
    return folder_in(request.param, tmp_path)


def journal_at(path: str, campaign_key: str = "spring", writer: Writer = ME) -> Journal:
    return Journal(path, campaign_key, writer)


def entries(journal: Journal) -> list[Entry]:
    return [entry for _, entry in journal.read()]


def change(part: Path, line: int, edit: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Edit a line of a part, from 0, as another version would have written it."""
    lines = [json.loads(text) for text in part.read_text().splitlines()]
    lines[line] = edit(lines[line])
    part.write_text("".join(json.dumps(value) + "\n" for value in lines))


@pytest.mark.usefixtures("connect")
def test_another_run_looks_for_those_whom_a_dead_one_has_claimed(emulator: Emulator, tmp_path: Path) -> None:
    """The first got the message, and nobody knows; the second did not; the third was never claimed."""
    rows, path = people(3), str(tmp_path / "outcomes.jsonl")
    emulator.control("PATCH", "switches", {"idempotency_hours": 1})
    campaign(rows=rows[:1], campaign_key="spring").execute(context(Store(), run_id="dead"))
    claims = [
        Claim(recipient_key("spring", [row["to"]]), (row["to"],), number, LINE, "2026-03-01T12:00:00Z")
        for number, row in enumerate(rows[:2], start=1)
    ]
    journal_at(path, writer=Writer("dead", 0)).append(claims)
    emulator.advance(12 * 3600)
    result = campaign(rows=rows, campaign_key="spring", outcomes_path=path).execute(context(Store()))
    assert (result["sent"], result["unknown"]) == (3, 0)
    assert sent_to(emulator) == once(rows)
    sent = {message["to"][0]: message["id"] for message in emulator.ledger()}
    assert {to: row["message_id"] for to, row in outcomes(Path(path)).items()} == sent


@pytest.mark.usefixtures("connect")
@pytest.mark.parametrize("what", ["part", "owner"])
def test_a_journal_of_a_newer_version_ends_the_campaign_before_it_begins(
    emulator: Emulator, tmp_path: Path, what: str
) -> None:
    path = str(tmp_path / "outcomes.jsonl")
    journal = journal_at(path, writer=OTHER)
    assert journal.owner.take(NOON)
    journal.owner.give_up(NOON)
    journal.append([SENT])
    (part,) = Path(f"{path}.parts").glob("*.jsonl" if what == "part" else "*.owner.json")
    change(part, 0, lambda head: {**head, "format": FORMAT + 1})
    with pytest.raises(AirflowFailException, match="has format 2. This task sends nothing"):
        campaign(rows=people(2), campaign_key="spring", outcomes_path=path).execute(context(Store()))
    assert posts(emulator) == 0


@pytest.mark.usefixtures("connect")
def test_who_is_sent_to_after_a_look_is_claimed_as_well(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where Airflow has no store, a retry looks for everybody: nobody else knows whom it has sent to after that."""
    monkeypatch.setattr(_state, "MAX_ATTEMPTS", 1)
    emulator.control("PATCH", "switches", {"idempotency_hours": 1})
    rows, path = people(3), str(tmp_path / "outcomes.jsonl")
    retry = context(try_number=2)
    retry["dag_run"].start_date = NOON - timedelta(hours=2)
    earlier = journal_at(path, writer=Writer.of(retry["ti"])).owner
    assert earlier.take(NOON - timedelta(hours=1))
    earlier.give_up(NOON - timedelta(hours=1))
    fault(emulator, kind="reset", when="after")
    with pytest.raises(AirflowException, match="3 recipients are not settled"):
        campaign(rows=rows, campaign_key="spring", outcomes_path=path).execute(retry)
    emulator.control("DELETE", "faults")
    claimed = [entry.to[0] for entry in entries(journal_at(path)) if isinstance(entry, Claim)]
    assert sorted(claimed) == [row["to"] for row in rows]
    # That run dies for good; in another one, one of them is no row any more.
    emulator.advance(12 * 3600)
    result = campaign(rows=rows[1:], campaign_key="spring", outcomes_path=path).execute(
        context(Store(), run_id="other")
    )
    assert sent_to(emulator) == once(rows)
    assert result["sent"] == 2
    assert {to: row["status"] for to, row in outcomes(Path(path)).items()} == {
        "person0@example.com": "unknown",
        "person1@example.com": "sent",
        "person2@example.com": "sent",
    }
