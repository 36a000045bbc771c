"""The invariants of a campaign that need a checkpoint or the API; see `campaigns/_state.py` for their list.

I1, I5, I7, I8 and I9 are in test_campaign_state.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_linq._internal.key_lifetimes import KEY_TRUST
from airflow_provider_linq._internal.version_compat import AirflowException, AirflowFailException
from airflow_provider_linq.campaigns import Campaign, _dispatcher, _run, _state
from airflow_provider_linq.campaigns._dispatcher import Dispatcher
from airflow_provider_linq.campaigns._sender import Sender
from tests.support.airflow import Store
from tests.support.campaigns import A, B, campaign, context, fault, once, outcomes, people, sent_to
from tests.support.emulator_process import Emulator

pytestmark = pytest.mark.usefixtures("connect")


class WatchedStore(Store):
    """A store that shows each write to a test before it happens; what the test raises is the death of the worker."""

    def __init__(self, watch: Callable[[str, Any], None]) -> None:
        super().__init__()
        self._watch = watch

    def set(self, key: str, value: Any, *, retention: Any = None) -> None:
        self._watch(key, value)
        super().set(key, value, retention=retention)


def journal_of(path: Path) -> list[dict[str, Any]]:
    parts = sorted(path.with_name(f"{path.name}.parts").glob("*.jsonl"))
    return [json.loads(line) for part in parts for line in part.read_text().splitlines()]


def test_i1_a_claim_is_durable_before_a_request_is_made(emulator: Emulator, tmp_path: Path) -> None:
    path = tmp_path / "outcomes.jsonl"
    store = Store()
    send, seen = Sender.send, []

    def watched(self: Sender, job: Any, *rest: Any) -> Any:
        claimed = {entry["claim"]["key"]: entry["claim"]["line"] for entry in journal_of(path) if "claim" in entry}
        seen.append(claimed.get(job.recipient.key) == job.line and "linq_campaign_0" in store.values)
        return send(self, job, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Sender, "send", watched)
        campaign(rows=people(30), from_=[A, B], outcomes_path=str(path)).execute(context(store))
    assert seen == [True] * 30


def test_i2_details_are_written_before_states(emulator: Emulator, tmp_path: Path) -> None:
    path = tmp_path / "outcomes.jsonl"
    known: list[tuple[int, int]] = []

    def watch(key: str, value: Any) -> None:
        if key in ("linq_campaign", "linq_campaign_0"):
            entries = journal_of(path)
            known.append((sum("claim" in one for one in entries), sum("outcome" in one for one in entries)))

    campaign(rows=people(300), outcomes_path=str(path)).execute(context(WatchedStore(watch)))
    assert known[-1] == (300, 300)
    assert all(claims >= settled for claims, settled in known)
    assert any(0 < settled < 300 for _, settled in known)


@pytest.mark.parametrize("has_journal", [True, False])
def test_i3_the_header_is_written_before_the_states_and_its_lines_only_grow(
    emulator: Emulator, tmp_path: Path, has_journal: bool
) -> None:
    more = {"outcomes_path": str(tmp_path / "outcomes.jsonl")} if has_journal else {}
    writes: list[tuple[str, list[str]]] = []

    def watch(key: str, value: Any) -> None:
        if key != "linq_campaign_progress":
            writes.append((key, value.get("lines", [])))

    store = WatchedStore(watch)
    campaign(rows=people(20), from_=A, **more).execute(context(store))
    campaign(rows=people(40), from_=[B, A], **more).execute(context(store, try_number=2))
    assert [key for key, _ in writes][:2] == ["linq_campaign", "linq_campaign_0"]
    for at, (key, _) in enumerate(writes):
        if key == "linq_campaign_0":
            assert writes[at - 1][0] == "linq_campaign"
    headers = [lines for key, lines in writes if key == "linq_campaign"]
    for before, after in pairwise(headers):
        assert after[: len(before)] == before
    assert set(headers[-1]) == {A, B}


@pytest.mark.parametrize("dies_at", range(9))
def test_i4_the_first_doubt_on_record_is_never_too_late(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, dies_at: int
) -> None:
    """The worker dies at each write in turn, hours after the claim before; the record says when it was."""
    emulator.control("PATCH", "switches", {"idempotency_hours": 1})
    rows, number = people(12), 0

    def watch(key: str, value: Any) -> None:
        nonlocal number
        number += 1
        if number > dies_at:
            raise KeyboardInterrupt

    store = WatchedStore(watch)
    fault(emulator, kind="reset", when="after", count=12)
    monkeypatch.setattr(_state, "MAX_ATTEMPTS", 1)
    with pytest.raises((KeyboardInterrupt, AirflowException)):
        campaign(rows=rows).execute(context(store))
    emulator.control("DELETE", "faults")
    emulator.advance(12 * 3600)
    after = Store()
    after.values.update(store.values)
    result = campaign(rows=rows).execute(context(after, try_number=2))
    assert (result["sent"], result["unknown"]) == (12, 0)
    assert sent_to(emulator) == once(rows)


@pytest.mark.parametrize("dies_at", range(13))
def test_i4_while_some_are_settled_and_others_claimed(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, dies_at: int
) -> None:
    """Three are claimed at a time, hours apart: the states on record may be those of the claim before."""
    emulator.control("PATCH", "switches", {"idempotency_hours": 1})
    monkeypatch.setattr(_dispatcher, "CLAIM", 3)
    rows, number, send, sends = people(9), 0, Sender.send, count()

    def watch(key: str, value: Any) -> None:
        nonlocal number
        number += key != "linq_campaign_progress"
        if number > dies_at:
            raise KeyboardInterrupt

    def hours_apart(self: Sender, *rest: Any) -> Any:
        event = send(self, *rest)
        if next(sends) % 3 == 0:  # two more responses agree with the clock
            emulator.advance(4 * 3600)
        return event

    store = WatchedStore(watch)
    with monkeypatch.context() as patch:
        patch.setattr(Sender, "send", hours_apart)
        with pytest.raises(KeyboardInterrupt):
            campaign(rows=rows, concurrency=1).execute(context(store))
    emulator.advance(12 * 3600)
    after = Store(store.values)
    result = campaign(rows=rows).execute(context(after, try_number=2))
    assert (result["sent"], result["unknown"]) == (9, 0)
    assert sent_to(emulator) == once(rows)


def test_i6_keys_hold_no_try_no_text_and_no_position(emulator: Emulator) -> None:
    rows = people(8)
    campaign(rows=rows, campaign_key="spring").execute(context(Store()))
    first = {message["to"][0]: message["idempotency_key"] for message in emulator.ledger()}
    emulator.control("POST", "reset")
    other = context(Store(), task_id="other", try_number=3)
    campaign(rows=[*people(12)[8:], *rows[::-1]], message="Dear {{ row.name }}", campaign_key="spring").execute(other)
    again = {message["to"][0]: message["idempotency_key"] for message in emulator.ledger()}
    assert {to: again[to] for to in first} == first


def test_i10_unknown_is_opened_in_every_try_and_failed_after_a_clear(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rows, store, path = people(2), Store(), tmp_path / "outcomes.jsonl"
    arguments: dict[str, Any] = {"rows": rows, "concurrency": 1, "outcomes_path": str(path), "max_failures": 2}
    fault(emulator, kind="status", status=403, code=2008, count=1)
    fault(emulator, kind="reset", when="after")
    monkeypatch.setattr(_state, "MAX_ATTEMPTS", 1)
    with pytest.raises(AirflowException):
        campaign(**arguments).execute(context(store))
    emulator.control("DELETE", "faults")
    emulator.advance(KEY_TRUST.total_seconds() + 1)
    edited = {**arguments, "message": "Edited"}
    for try_number in (2, 3):
        assert campaign(**edited).execute(context(store, try_number=try_number))["unknown"] == 1
    assert outcomes(path)["person0@example.com"]["status"] == "failed"
    result = campaign(**arguments).execute(context(store, try_number=4, max_tries=14))
    assert (result["sent"], result["failed"], result["unknown"]) == (2, 0, 0)
    assert sent_to(emulator) == once(rows)


def test_i11_a_task_sends_one_campaign(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    given = context(Store())
    monkeypatch.setattr(_run, "get_current_context", lambda: given)
    assert _run.send_campaign(Campaign(rows=people(2), message="Hi"))["sent"] == 2
    with pytest.raises(AirflowFailException, match="A task sends one campaign"):
        _run.send_campaign(Campaign(rows=people(3), message="Hi again"))


def test_i12_after_a_signal_nothing_is_begun_and_everything_is_known(emulator: Emulator, tmp_path: Path) -> None:
    rows, store, path = people(60), Store(), tmp_path / "outcomes.jsonl"
    arguments: dict[str, Any] = {"rows": rows, "concurrency": 4, "outcomes_path": str(path)}
    take_one, number = Dispatcher._take_one, 0

    def signalled(self: Dispatcher, timeout: float) -> None:
        nonlocal number
        take_one(self, timeout)
        number += 1
        if number == 10:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Dispatcher, "_take_one", signalled)
        task = campaign(**arguments)
        with pytest.raises(KeyboardInterrupt):
            task.execute(context(store))
    sent = len(emulator.ledger())
    assert 10 <= sent <= 14
    states = {row["status"] for row in outcomes(path).values()}
    assert states == {"sent", "pending"}
    assert sum(row["status"] == "sent" for row in outcomes(path).values()) == sent
    assert campaign(**arguments).execute(context(store, try_number=2))["sent"] == 60
    assert sent_to(emulator) == once(rows)


def test_who_was_written_to_is_in_the_outcomes_when_a_later_try_finds_invalid_rows(
    emulator: Emulator, tmp_path: Path
) -> None:
    """The first try is killed before it writes the outcomes; the second sends nothing, since a row is invalid now."""
    rows, path = people(6), tmp_path / "outcomes.jsonl"
    writes = 0

    def watch(key: str, value: Any) -> None:
        nonlocal writes
        writes += key != "linq_campaign_progress"  # a picture for people
        if writes > 4:  # after the claims
            raise SystemExit

    store = WatchedStore(watch)
    with pytest.raises(SystemExit):
        campaign(rows=rows, outcomes_path=str(path)).execute(context(store))
    path.unlink()
    sent = set(sent_to(emulator))
    assert sent
    after = Store()
    after.values.update(store.values)
    task = campaign(rows=[*rows, {"to": "?"}], outcomes_path=str(path))
    with pytest.raises(AirflowFailException, match="1 of 7 rows"):
        task.execute(context(after, try_number=2))
    told = outcomes(path)
    assert sent <= {to for to, row in told.items() if row["status"] in ("sent", "unknown")}
