"""From rows to recipients: all that is checked before anything is sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_linq._internal.version_compat import AirflowFailException
from tests.support.airflow import Store
from tests.support.campaigns import campaign, context, people, posts, sent_to
from tests.support.emulator_process import Emulator


@pytest.mark.usefixtures("connect")
@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"to_field": "phone"}, "to_field: must be a column of the rows, which have name, to; got 'phone'"),
        ({"timezone_field": "zone"}, "timezone_field: must be a column of the rows, which have name, to; got 'zone'"),
        (
            {"message": "Hi {{ row.Name | default('you') }}"},
            "message: must name columns .*, which have name, to; got Name",
        ),
    ],
)
def test_a_column_that_is_not_there_ends_the_task_before_anything_is_sent(
    emulator: Emulator, arguments: dict[str, Any], why: str
) -> None:
    with pytest.raises(AirflowFailException, match=why):
        campaign(rows=people(3), on_invalid="skip", **arguments).execute(context(Store()))
    assert posts(emulator) == 0


def some_invalid(valid: int, invalid: int) -> list[dict[str, Any]]:
    return [*people(valid), *({"to": f"nobody {number}", "name": "X"} for number in range(invalid))]


@pytest.mark.usefixtures("connect")
@pytest.mark.parametrize(("allowed", "invalid"), [(None, 9), (2, 2), (0.2, 2), (0, 0), (1.0, 1), (5, 5)])
def test_as_many_rows_may_be_invalid_as_are_allowed(emulator: Emulator, allowed: float | None, invalid: int) -> None:
    rows = some_invalid(10 - invalid, invalid)
    result = campaign(rows=rows, on_invalid="skip", max_invalid=allowed).execute(context(Store()))
    assert (result["sent"], result["skipped"]["invalid"]) == (10 - invalid, invalid)
    assert sum(sent_to(emulator).values()) == 10 - invalid


@pytest.mark.usefixtures("connect")
@pytest.mark.parametrize(("allowed", "invalid", "shown"), [(0, 1, "0"), (2, 3, "2"), (0.2, 3, "0.2"), (1.0, 2, "1")])
def test_more_invalid_rows_than_are_allowed_fail_the_task_and_nothing_is_sent(
    emulator: Emulator, tmp_path: Path, allowed: float, invalid: int, shown: str
) -> None:
    path = tmp_path / "outcomes.jsonl"
    rows = some_invalid(10 - invalid, invalid)
    task = campaign(rows=rows, on_invalid="skip", max_invalid=allowed, outcomes_path=str(path))
    with pytest.raises(
        AirflowFailException, match=f"Nothing was sent in this try, and max_invalid is {shown}. {invalid} of"
    ):
        task.execute(context(Store()))
    assert posts(emulator) == 0
    found = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(row["row"], row["reason"]) for row in found] == [(n, "invalid") for n in range(11 - invalid, 11)]


@pytest.mark.usefixtures("connect")
def test_duplicates_are_not_counted_as_invalid(emulator: Emulator) -> None:
    rows = [*people(3), *people(3)]
    result = campaign(rows=rows, on_invalid="skip", max_invalid=0).execute(context(Store()))
    assert (result["sent"], result["skipped"]["duplicate"]) == (3, 3)


@pytest.mark.usefixtures("connect")
@pytest.mark.parametrize("allowed", [None, 10, 0.99])
def test_a_campaign_of_which_all_rows_are_invalid_fails(emulator: Emulator, allowed: float | None) -> None:
    task = campaign(rows=some_invalid(0, 4), on_invalid="skip", max_invalid=allowed)
    with pytest.raises(AirflowFailException, match="Nothing was sent in this try.* 4 of 4 rows can't be sent to"):
        task.execute(context(Store()))
    assert posts(emulator) == 0


@pytest.mark.parametrize("name", ["campaign_key", "outcomes_path", "from_", "not_after", "values", "timezone"])
def test_what_another_task_made_none_is_not_left_out(emulator: Emulator, connect: Any, name: str) -> None:
    task = campaign(rows=people(2), **{name: "{{ ti.xcom_pull('other') }}"})
    setattr(task, name, None)  # as Airflow does when it renders
    with pytest.raises(AirflowFailException, match=f"{name}: must have a value, got None"):
        task.execute(context(Store()))
    assert posts(emulator) == 0
