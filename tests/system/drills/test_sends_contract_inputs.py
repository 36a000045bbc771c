"""What a campaign is given: what can't be meant is an error, and nobody is written to."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import reload
from pathlib import Path
from typing import Any

import pytest

from tests.support.contract_server import ContractServer
from tests.support.expectations import OUTCOMES, campaign, campaign_is_true, recipients, rows_for
from tests.support.task_child import Ending
from tests.support.task_process import Task

pytestmark = pytest.mark.usefixtures("workers")

Serve = Callable[..., ContractServer]


def is_refused(server: ContractServer, ending: Ending) -> None:
    """It fails, and at once: no retry can help; and nobody was written to."""
    assert not server.posts, f"{len(server.posts)} requests were made"
    assert ending.state in ("failed", "refused"), ending


@pytest.mark.parametrize("value", [None, "", "None"])
def test_a_campaign_key_that_renders_to_nothing(serve: Serve, tmp_path: Path, value: str | None) -> None:
    """As an XCom of a task that was skipped does. The default key would write to everybody again."""
    server = serve()
    template = "{{ ti.xcom_pull(task_ids='name_it') }}"
    task = campaign(server, tmp_path, rows_for(5), campaign_key=template, rendered={"campaign_key": value})
    is_refused(server, task.finish())


def test_a_campaign_key_that_was_left_out_is_the_default(serve: Serve, tmp_path: Path) -> None:
    server = serve()
    rows = rows_for(5)
    task = campaign(server, tmp_path, rows, campaign_key=None)
    campaign_is_true(server, task.finish(), tmp_path / OUTCOMES, rows)


@pytest.mark.parametrize("value", [None, "", "None"])
def test_a_line_that_renders_to_nothing(serve: Serve, tmp_path: Path, value: str | None) -> None:
    """It must not become the platform's choice."""
    server = serve()
    template = "{{ ti.xcom_pull(task_ids='choose') }}"
    task = campaign(server, tmp_path, rows_for(5), from_=template, rendered={"from_": value})
    is_refused(server, task.finish())


def test_an_outcomes_path_that_renders_to_nothing_before_a_report(serve: Serve, tmp_path: Path) -> None:
    server = serve()
    template = "{{ ti.xcom_pull(task_ids='place') }}"
    waits = {"delivered_share": 1.0, "timeout": 60, "poll_interval": 1}
    rendered = {"outcomes_path": None}
    task = campaign(server, tmp_path, rows_for(5), outcomes_path=template, delivery_report=waits, rendered=rendered)
    is_refused(server, task.finish())


@pytest.mark.parametrize("path", ["/proc/outcomes.jsonl", "file/outcomes.csv", "folder", "taken/outcomes.jsonl"])
def test_an_outcomes_path_that_can_not_be_written(serve: Serve, tmp_path: Path, path: str) -> None:
    """It is tried before the first message goes. In the way are: a system's folder, a file, a folder, a folder."""
    server = serve()
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "folder").mkdir()
    (tmp_path / "taken" / "outcomes.jsonl").mkdir(parents=True)
    ending = campaign(server, tmp_path, rows_for(5), outcomes_path=str(tmp_path / path)).go()
    assert not server.posts, f"{len(server.posts)} requests were made"
    assert ending.state in ("failed", "refused", "up_for_retry")


def invalid(number: int) -> list[dict[str, Any]]:
    return [{"to": f"nobody-{index}", "name": "Nobody"} for index in range(number)]


@pytest.mark.parametrize("rows", [invalid(5), [{"to": None, "name": "Nobody"}]])
def test_all_rows_are_invalid(serve: Serve, tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    """A success with nobody sent to would hide that a column is gone."""
    server = serve()
    is_refused(server, campaign(server, tmp_path, rows, on_invalid="skip").finish())


@pytest.mark.parametrize(("most", "is_right"), [(3, True), (2, False), (0.3, True), (0.2, False), (None, True)])
def test_more_rows_are_invalid_than_may_be(serve: Serve, tmp_path: Path, most: float | None, is_right: bool) -> None:
    server = serve()
    rows = rows_for(7)
    given = {} if most is None else {"max_invalid": most}
    task = campaign(server, tmp_path, [*rows, *invalid(3)], on_invalid="skip", **given)
    ending = task.finish()
    if is_right:
        assert ending.state == "success", ending
        assert set(server.sent_to()) == set(recipients(rows))
    else:
        is_refused(server, ending)


UNKNOWN_COLUMNS: dict[str, dict[str, Any]] = {
    "to_field": {"to_field": "phone"},
    "timezone_field": {"timezone_field": "zone", "send_window": ("00:00", "23:59")},
    "template": {"message": "Hello {{ row.nmae | default('there') }}"},
}


@pytest.mark.parametrize("on_invalid", ["fail", "skip"])
@pytest.mark.parametrize("given", UNKNOWN_COLUMNS.values(), ids=UNKNOWN_COLUMNS)
def test_a_column_that_no_row_has(serve: Serve, tmp_path: Path, given: dict[str, Any], on_invalid: str) -> None:
    """The error lists the columns there are."""
    server = serve()
    ending = campaign(server, tmp_path, rows_for(5), on_invalid=on_invalid, **given).finish()
    is_refused(server, ending)
    assert "name" in ending.error, ending.error


def test_a_column_that_some_rows_have(serve: Serve, tmp_path: Path) -> None:
    server = serve()
    rows = rows_for(5)
    rows[3]["title"] = "Dr"
    task = campaign(server, tmp_path, rows, message="Hello {{ row.title | default('dear') }} {{ row.name }}")
    campaign_is_true(server, task.finish(), tmp_path / OUTCOMES, rows)


def is_deferrable(operator: Any, context: Any) -> bool:
    """Import the operator again, as a process with these settings does, and leave the argument out."""
    module = reload(sys.modules[type(operator).__module__])
    return bool(module.LinqSendCampaignOperator(task_id="other", message="Hi", rows=[]).deferrable)


@pytest.mark.parametrize("default", [True, False])
def test_deferrable_is_what_airflow_says(serve: Serve, tmp_path: Path, default: bool) -> None:
    server = serve()
    settings = {"AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE": str(default)}
    task: Task = campaign(server, tmp_path, rows_for(1), environment=settings)
    assert task.go(calls=is_deferrable).result == default
