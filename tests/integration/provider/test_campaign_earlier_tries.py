"""What a try finds of earlier ones: fewer people or many more, a record that is damaged, or no record at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_linq._internal.version_compat import AirflowException, AirflowFailException
from airflow_provider_linq.campaigns import DeliveryReport, _packed_states, _report, _state
from airflow_provider_linq.campaigns._model import recipient_key
from linq_client import LinqError
from tests.support.airflow import Store
from tests.support.campaigns import Mapped, campaign, context, fault, once, people, posts, sent_to
from tests.support.emulator_process import Emulator

pytestmark = pytest.mark.usefixtures("connect")


@pytest.mark.parametrize("dies_at", ["nothing", "linq_campaign", "linq_campaign_1", "linq_campaign_2"])
def test_a_list_that_outgrows_its_values_in_the_store(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, dies_at: str
) -> None:
    """Of more people there are more values, under other names; a try may die before they are named."""
    monkeypatch.setattr(_packed_states, "SHARD", 4)
    monkeypatch.setattr(_state, "MAX_ATTEMPTS", 1)
    emulator.control("PATCH", "switches", {"idempotency_hours": 1})
    rows, store = people(14), Store()
    fault(emulator, kind="reset", when="after", count=2)
    with pytest.raises(AirflowException, match="2 recipients are not settled"):
        campaign(rows=rows[:3]).execute(context(store))
    emulator.advance(2 * 3600)
    before = sent_to(emulator)
    if dies_at != "nothing":
        found = Store(store.values)

        def die(key: str, value: Any, **how: Any) -> None:
            if key == dies_at:
                raise KeyboardInterrupt
            Store.set(found, key, value, **how)

        found.set = die  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            campaign(rows=rows).execute(context(found, try_number=2))
        assert sent_to(emulator) == before
        store = Store(found.values)
    assert campaign(rows=rows).execute(context(store, try_number=3))["sent"] == 14
    assert campaign(rows=rows).execute(context(store, try_number=4))["sent"] == 14
    assert sent_to(emulator) == once(rows)


def test_since_when_somebody_is_unknown_is_not_forgotten_for_others_who_are_in_doubt(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I10: they are looked for again in every try, as far back as their message may be."""
    monkeypatch.setattr(_state, "MAX_ATTEMPTS", 1)
    emulator.control("PATCH", "switches", {"idempotency_hours": 1})
    rows, store = people(2), Store()
    fault(emulator, kind="reset", when="after", count=1)
    with pytest.raises(AirflowException, match="1 recipients are not settled"):
        campaign(rows=rows[:1]).execute(context(store))
    emulator.advance(12 * 3600)
    edited = campaign(rows=rows, message="Edited", max_failures=1)  # so that the first message is not recognized
    fault(emulator, kind="reset", when="before", count=1)
    with pytest.raises(AirflowException, match="1 recipients are not settled"):
        edited.execute(context(store, try_number=2))
    emulator.advance(3600)
    result = edited.execute(context(store, try_number=3))
    assert (result["sent"], result["unknown"]) == (1, 1)
    assert sent_to(emulator) == once(rows)


def test_whose_state_is_lost_is_looked_for_as_far_back_as_the_campaign_goes(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two whose states are kept together, one is taken off the list, while somebody else is in doubt since today."""
    monkeypatch.setattr(_state, "MAX_ATTEMPTS", 1)
    emulator.control("PATCH", "switches", {"idempotency_hours": 1})
    together: dict[int, list[dict[str, Any]]] = {}
    for row in people(200):
        place = int(recipient_key("spring", (row["to"],))[-64:-56], 16)
        together.setdefault(place * _packed_states.RANGES >> 32, []).append(row)
    ann, bob = next(rows for rows in together.values() if len(rows) > 1)[:2]
    cat = {"to": "cat@example.com", "name": "Cat"}
    store, told = Store(), {"campaign_key": "spring"}
    campaign(rows=[ann, bob], **told).execute(context(store))
    emulator.advance(12 * 3600)
    fault(emulator, kind="reset", when="before", count=1)
    with pytest.raises(AirflowException, match="1 recipients are not settled"):
        campaign(rows=[ann, bob, cat], **told).execute(context(store, try_number=2))
    emulator.advance(3600)
    assert campaign(rows=[ann, cat], **told).execute(context(store, try_number=3))["sent"] == 2
    assert sent_to(emulator) == once([ann, bob, cat])


def test_whom_another_task_may_have_written_to_since_is_looked_for(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The task's own record says that nothing was requested for them; the journal knows of the other's claim."""
    monkeypatch.setattr(_state, "MAX_ATTEMPTS", 1)
    emulator.control("PATCH", "switches", {"idempotency_hours": 1})
    rows, store = people(4), Store()
    told = {"campaign_key": "spring", "outcomes_path": str(tmp_path / "outcomes.jsonl")}
    fault(emulator, kind="reset", when="before", count=3)
    with pytest.raises(AirflowException, match="3 recipients are not settled"):
        campaign(rows=rows[:3], **told).execute(context(store, task_id="one"))
    emulator.advance(3600)
    fault(emulator, kind="reset", when="after", count=1)
    with pytest.raises(AirflowException, match="1 recipients are not settled"):
        campaign(rows=rows[3:], **told).execute(context(Store(), task_id="two"))
    emulator.advance(12 * 3600)
    assert campaign(rows=rows, **told).execute(context(store, task_id="one", try_number=2))["sent"] == 4
    assert sent_to(emulator) == once(rows)


def test_no_rows_at_all_where_there_were_some_are_no_success(emulator: Emulator) -> None:
    """The export that a later try reads may have broken off."""
    store = Store()
    campaign(rows=people(3)).execute(context(store))
    with pytest.raises(AirflowException, match="rows: there are none in this try, and were 3 in an earlier one"):
        campaign(rows=[]).execute(context(store, try_number=2))


@pytest.mark.parametrize("line", ['{"claim": {"key": "k"}}', '{"outcome": []}', '{"claim": null}'])
def test_a_journal_with_a_line_that_says_too_little_stops_the_campaign(
    emulator: Emulator, tmp_path: Path, line: str
) -> None:
    """Whom it is about, it does not say: they may have been sent to."""
    path, rows = tmp_path / "outcomes.jsonl", people(3)
    campaign(rows=rows, outcomes_path=str(path)).execute(context(Store()))
    part = sorted(Path(f"{path}.parts").glob("*.jsonl"))[-1]
    part.write_text(f"{part.read_text()}{line}\n")
    before = posts(emulator)
    with pytest.raises(AirflowException, match="a line lacks a field, so nothing is sent"):
        campaign(rows=people(4), outcomes_path=str(path)).execute(context(Store(), try_number=2))
    assert posts(emulator) == before


@pytest.mark.usefixtures("impatient")
def test_a_store_that_is_gone_at_the_end_hides_no_error(
    emulator: Emulator, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store()
    fault(emulator, kind="status", status=401, code=2004)
    get, is_gone = store.get, [False]

    def gone(key: str, default: Any = None) -> Any:
        if is_gone[0]:
            raise OSError("the database is gone")
        is_gone[0] = bool(posts(emulator))
        return get(key, default)

    monkeypatch.setattr(store, "get", gone)
    with pytest.raises(AirflowFailException, match="code 2004"):
        campaign(rows=people(1)).execute(context(store))
    assert "The end of the try could not be noted: OSError" in caplog.text


class TestNoStore:
    """Before 3.3 Airflow has none."""

    @pytest.mark.parametrize(
        ("more", "why"),
        [
            (
                {"resend_failed": True, "outcomes_path": "{tmp}/o.csv"},
                "resend_failed: must be false where Airflow has no",
            ),
            (
                {"send_window": ("09:00", "20:00"), "timezone_field": "zone"},
                "outcomes_path: must be given with send_window and timezone_field",
            ),
        ],
    )
    def test_what_needs_one_is_refused(
        self, emulator: Emulator, tmp_path: Path, more: dict[str, Any], why: str
    ) -> None:
        more = {name: value.format(tmp=tmp_path) if isinstance(value, str) else value for name, value in more.items()}
        rows = [{**row, "zone": "Europe/Berlin"} for row in people(1)]
        with pytest.raises(AirflowFailException, match=why):
            campaign(rows=rows, **more).execute(context())
        assert posts(emulator) == 0

    def test_the_report_is_waited_for_here(
        self, emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        emulator.control("PATCH", "switches", {"automatic_delivery": False})
        waits: list[float] = []

        def sleep(seconds: float) -> None:
            waits.append(seconds)
            emulator.advance(seconds)

        monkeypatch.setattr(_report.time, "sleep", sleep)
        report = DeliveryReport(timeout=100, poll_interval=30)
        task = campaign(rows=people(2), outcomes_path=str(tmp_path / "o.csv"), delivery_report=report)
        assert task.execute(context())["report"]["sent"] == 2
        assert sum(waits) == pytest.approx(100, abs=5)
        assert max(waits) <= 30


def test_what_airflow_says_of_the_other_instances_may_be_out_of_reach(
    emulator: Emulator, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that can be sent is sent, and nobody is said to have left others out."""
    rows = people(12)
    mapped = Mapped(tmp_path, rows)

    def unreachable(*arguments: Any, **more: Any) -> Any:
        raise ConnectionError("no API server")

    given = context(Store(), map_index=0, task_id="campaign", states=mapped.states)
    given["ti"].get_task_states = unreachable
    result = campaign(**mapped.given, shard="1/2").execute(given)
    assert result["sent"] == sent_to(emulator).total() > 0
    assert "The states of the other instances can't be read: ConnectionError" in caplog.text
    assert "are pending until other tasks send to them" in caplog.text


def test_a_number_that_python_does_not_read_is_one_row(emulator: Emulator, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    ann, bob = people(2)
    path.write_text(f'{json.dumps(ann)}\n{{"to": "x", "name": {"9" * 5000}}}\n{json.dumps(bob)}\n')
    result = campaign(rows_path=str(path), on_invalid="skip").execute(context(Store()))
    assert (result["sent"], result["skipped"]["invalid"]) == (2, 1)


def test_in_a_suppression_list_it_is_an_error(emulator: Emulator, tmp_path: Path) -> None:
    path = tmp_path / "stop.jsonl"
    path.write_text(f'{{"handle": "ann@example.com"}}\n{{"handle": {"9" * 5000}}}\n')
    with pytest.raises((AirflowFailException, LinqError), match="suppression_path: entry 2 can't be read"):
        campaign(rows=people(1), suppression_path=str(path)).execute(context(Store()))
    assert posts(emulator) == 0
