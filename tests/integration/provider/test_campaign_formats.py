"""What campaigns leave for later: samples of each format are read by this version, and nothing else is guessed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_linq._internal.durable import CAMPAIGN, CAMPAIGN_DELIVERY, FORMAT, FormatError, StateStore
from airflow_provider_linq._internal.version_compat import AirflowFailException, TaskDeferred
from airflow_provider_linq.campaigns import DeliveryReport
from airflow_provider_linq.campaigns._header import Header
from airflow_provider_linq.campaigns._journal import Journal, Writer
from airflow_provider_linq.campaigns._model import Outcome
from airflow_provider_linq.campaigns._packed_states import PackedStates
from airflow_provider_linq.campaigns._state import RecipientState
from linq_client import LinqClient
from tests.support.airflow import Store
from tests.support.campaign_samples import FOLDER, KEY, PEOPLE, recipients
from tests.support.campaigns import A, B, campaign, context, once, outcomes, posts, sent_to
from tests.support.emulator_process import Emulator

#: In the names of the files of the campaign "spring"; files with other names would not be found again.
SPRING = "622a494d3ea8c7ba"
PART = f"{SPRING}-{1_772_366_400_000_000_000:020d}-00112233445566778899aabbccddeeff.jsonl"
OWNER = f"{SPRING}.owner.json"

ROWS = [{"to": f"{name}@example.com", "name": name} for name in PEOPLE]
STATES = {
    "ann": RecipientState.SENT,
    "ben": RecipientState.SENT,
    "cat": RecipientState.OPTED_OUT,
    "dan": RecipientState.FAILED,
    "eve": RecipientState.UNKNOWN,
    "fay": RecipientState.CLAIMED,  # from the first line of the header
    "gus": RecipientState.CLAIMED_ANYWHERE,
    "hal": RecipientState.PENDING,
    "ida": RecipientState.PENDING,
}
#: To whom the platform had accepted a message when the samples were written, and from which line.
ACCEPTED = {"ann": A, "ben": B, "eve": B, "fay": A, "gus": B}
BEN = "8d1f0a52-7a3f-4f0e-8a55-1f0d2c3b4a52"

Edit = Callable[[dict[str, Any]], dict[str, Any]]
JOURNALS = ["journal.jsonl", "journal_of_a_later_version.jsonl"]


def sample(name: str) -> Any:
    text = (FOLDER / name).read_text()
    return [json.loads(line) for line in text.splitlines()] if name.endswith(".jsonl") else json.loads(text)


def stored(*, header: str = "header.json") -> Store:
    values = {CAMPAIGN: header, f"{CAMPAIGN}_0": "states.json", f"{CAMPAIGN_DELIVERY}_0": "delivery.json"}
    return Store({key: sample(name) for key, name in values.items()})


def filed(folder: Path, journal: str = "journal.jsonl") -> Path:
    """Lay the files of the samples beside an outcomes file, and return its path."""
    path = folder / "outcomes.jsonl"
    parts = folder / "outcomes.jsonl.parts"
    parts.mkdir()
    (parts / PART).write_bytes((FOLDER / journal).read_bytes())
    (parts / OWNER).write_bytes((FOLDER / "owner.json").read_bytes())
    return path


@pytest.fixture
def accepted(emulator: Emulator, connect: Callable[..., None]) -> Emulator:
    """The platform, a minute after the samples were written."""
    keys = {recipient.to[0]: recipient.key for recipient in recipients()}
    with LinqClient(emulator.api_key, base_url=emulator.base_url) as client:
        for name, line in ACCEPTED.items():
            to = f"{name}@example.com"
            client.chats.create(line, to, {"parts": [f"Hello {name}"], "idempotency_key": keys[to]})
    emulator.control("POST", "handles", {"handle": "cat@example.com", "opted_out": True})
    emulator.advance(60)
    return emulator


def continued(path: Path | None = None, **more: Any) -> Any:
    given = {"rows": ROWS, "from_": [A, B], "campaign_key": KEY, "max_failures": 1, **more}
    return campaign(**given, outcomes_path=None if path is None else str(path))


def all_but(*names: str) -> list[dict[str, Any]]:
    return [row for row in ROWS if row["name"] not in names]


def test_the_header_is_read_and_written_as_it_was() -> None:
    for name in ("header.json", "header_awaiting_deliveries.json", "header_of_a_second_try.json"):
        written, kept = {"try_number": None, "try_began": None, **sample(name)}, Store()
        header = Header.load(StateStore(context(Store({CAMPAIGN: {**written, "mood": "new"}}))))
        assert header is not None
        header.save(StateStore(context(kept)))
        assert kept.values == {CAMPAIGN: written}


def test_states_are_read_as_they_were() -> None:
    written = sample("states.json")
    keys = {recipient.to[0].partition("@")[0]: recipient.key for recipient in recipients()}
    states = PackedStates(list(keys.values()), 1, CAMPAIGN, lost=99)
    assert not states.load(StateStore(context(Store({f"{CAMPAIGN}_0": {**written, "mood": "new"}}))))
    assert {name: states[key] for name, key in keys.items()} == STATES


def test_deliveries_are_read_as_they_were() -> None:
    keys = [recipient.key for recipient in recipients()[:2]]
    states = PackedStates(keys, 1, CAMPAIGN_DELIVERY, lost=99)
    assert not states.load(StateStore(context(Store({f"{CAMPAIGN_DELIVERY}_0": sample("delivery.json")}))))
    assert [states[key] for key in keys] == [1, 0]


@pytest.mark.parametrize("name", JOURNALS)
def test_a_journal_is_read_as_it_was(tmp_path: Path, name: str) -> None:
    path = filed(tmp_path, name)
    found = list(Journal(str(path), KEY, Writer("other", 0)).read())
    assert {writer for writer, _ in found} == {Writer("fa438564f3580e72", 10)}
    again = tmp_path / "again.jsonl"
    Journal(str(again), KEY, found[0][0]).append(entry for _, entry in found)
    (part,) = Path(f"{again}.parts").iterdir()
    expected = sample("journal.jsonl")
    for line in expected:
        if "outcome" in line:
            line["outcome"]["replaces"] = None  # the samples are older than this field
    assert [json.loads(line) for line in part.read_text().splitlines()] == expected


def test_what_a_message_replaces_is_read_as_it_was(tmp_path: Path) -> None:
    path = filed(tmp_path, "journal_of_a_resend.jsonl")
    journal = Journal(str(path), KEY, Writer("other", 0))
    assert [entry.replaces for _, entry in journal.read() if isinstance(entry, Outcome)] == [
        None,
        "8d1f0a52-7a3f-4f0e-8a55-1f0d2c3b4a51",
    ]


@pytest.mark.parametrize("journal", JOURNALS)
def test_a_campaign_continues_from_the_samples(accepted: Emulator, tmp_path: Path, journal: str) -> None:
    path, before = filed(tmp_path, journal), posts(accepted)
    result = continued(path).execute(context(stored(), try_number=2))
    assert sent_to(accepted) == once(all_but("cat", "dan"))
    assert (result["sent"], result["skipped"]["opted_out"], result["failed"]) == (7, 1, 1)
    assert posts(accepted) - before == 3, "the keys of fay, hal and ida are asked for, and nobody's else"
    assert outcomes(path)["ben@example.com"]["message_id"] == BEN


def test_a_campaign_continues_from_the_store_alone(accepted: Emulator) -> None:
    before = posts(accepted)
    assert continued().execute(context(stored(), try_number=2))["sent"] == 7
    assert sent_to(accepted) == once(all_but("cat", "dan"))
    assert posts(accepted) - before == 3


@pytest.mark.parametrize("journal", JOURNALS)
def test_another_run_continues_from_the_files_alone(accepted: Emulator, tmp_path: Path, journal: str) -> None:
    path, task = filed(tmp_path, journal), continued
    with pytest.raises(TaskDeferred):  # the owner of the sample may still be alive
        task(path).execute(context(Store(), run_id="another"))
    assert sent_to(accepted) == once([row for row in ROWS if row["name"] in ACCEPTED])
    accepted.advance(40 * 60)
    result = task(path).execute_complete(context(Store(), run_id="another"))
    assert (result["sent"], result["skipped"]["opted_out"]) == (8, 1)
    assert sent_to(accepted) == once(all_but("cat")), "dan was refused in the other run, and is asked again"


def test_the_wait_for_deliveries_continues_from_the_samples(accepted: Emulator, tmp_path: Path) -> None:
    store = stored(header="header_awaiting_deliveries.json")
    task = continued(filed(tmp_path), delivery_report=DeliveryReport())
    result = task.execute_complete(context(store))
    asked = [one["path"] for one in accepted.requests_served() if one["path"].startswith("/v3/messages/")]
    assert [path.rpartition("/")[2] for path in asked] == [BEN], "that of ann is known to be delivered"
    assert result["report"]["sent"] == 2
    assert sent_to(accepted) == once([row for row in ROWS if row["name"] in ACCEPTED])


FOREIGN: dict[str, Edit] = {
    "newer": lambda record: {**record, "format": FORMAT + 1},
    "0.1.0": lambda record: {name: value for name, value in record.items() if name != "format"},
    "text": lambda record: {**record, "format": str(FORMAT)},
}
REFUSAL = rf"^{{}}.*: this version reads formats 1 to {FORMAT}, the record has .*This task sends nothing"


@pytest.mark.parametrize("edit", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("name", ["record of the campaign", "linq_campaign_0", "journal", "owner of the campaign"])
def test_a_record_of_another_version_ends_the_task_and_nothing_is_sent(
    accepted: Emulator, tmp_path: Path, name: str, edit: Edit
) -> None:
    """And it stays as it was, for the version that can read it."""
    path, store = filed(tmp_path), stored()
    key = {"record of the campaign": CAMPAIGN, "linq_campaign_0": f"{CAMPAIGN}_0"}.get(name)
    if key is not None:
        store.values[key] = edit(store.values[key])
    else:
        file = Path(f"{path}.parts") / {"journal": PART, "owner of the campaign": OWNER}[name]
        head, *rest = file.read_text().splitlines() if name == "journal" else [file.read_text()]
        file.write_text("\n".join([json.dumps(edit(json.loads(head))), *rest]))

    def refused() -> Any:
        return file.read_text() if key is None else store.values[key]

    before = refused(), accepted.ledger(), posts(accepted)
    with pytest.raises(AirflowFailException, match=REFUSAL.format(name)) as raised:
        continued(path).execute(context(store, try_number=2))
    assert isinstance(raised.value, FormatError)
    assert (refused(), accepted.ledger(), posts(accepted)) == before
    assert not path.exists()


@pytest.mark.parametrize("edit", FOREIGN.values(), ids=FOREIGN)
def test_deliveries_of_another_version_end_the_wait(accepted: Emulator, tmp_path: Path, edit: Edit) -> None:
    store = stored(header="header_awaiting_deliveries.json")
    name = f"{CAMPAIGN_DELIVERY}_0"
    store.values[name] = changed = edit(store.values[name])
    task = continued(filed(tmp_path), delivery_report=DeliveryReport())
    with pytest.raises(FormatError, match=REFUSAL.format(name)):
        task.execute_complete(context(store))
    assert store.values[name] == changed
