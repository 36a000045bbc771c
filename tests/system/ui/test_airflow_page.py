"""The Linq page in Airflow's own UI, in a real Chromium, with records as campaigns leave them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_linq.ui import LinqUIPlugin
from linq_client.errors import ErrorCode
from tests.support.asgi_server import running_app
from tests.system.ui.airflow_ui import AirflowUI
from tests.system.ui.conftest import OUTPUT, PHONE, WIDE

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.skipif(not LinqUIPlugin.react_apps, reason="there is no page before Airflow 3.3")

A, B, C = "+12025550101", "+12025550102", "+12025550103"
TASK = "/api/v2/dags/spring/dagRuns/run/taskInstances/send"
PAGE = "/plugin/linq?dag_id=spring&run_id=run&task_id=send&map_index=-1"

PROGRESS: dict[str, Any] = {
    "format": 1, "state": "sending", "recipients": 400, "sent": 150, "opted_out": 4, "blocked": 1, "failed": 21,
    "failed_by_code": {"4005": 3, "2008": 15, "4999": 1}, "unknown": 2, "under_way": 8, "per_second": 0.5,
    "done_at": "2026-03-02T12:00:00Z", "waits_for": None, "waits_until": None, "messages_per_day": 7000,
    "new_chats_per_day": 50, "days": {"2026-03-01": {A: [40, 9]}, "2026-03-02": {A: [90, 50], B: [20, 12]}},
    "lines": {
        A: {"reputation": "HEALTHY", "share": 0.6667, "excluded": None},
        B: {"reputation": "AT_RISK", "share": 0.3333, "excluded": None},
        C: {"reputation": "CRITICAL", "share": 0, "excluded": "its reputation is CRITICAL"},
    },
    "at": "2026-03-02T11:00:00Z",
}  # fmt: skip


@pytest.fixture
def airflow() -> AirflowUI:
    """A campaign that runs."""
    ui = AirflowUI()
    ui.api[TASK] = {"state": "running", "operator": "LinqSendCampaignOperator", "try_number": 1, "start_date": None}
    ui.api[f"{TASK}/state-store/linq_campaign_progress"] = {"value": PROGRESS}
    return ui


@pytest.fixture
def show(browser: Browser, airflow: AirflowUI) -> Iterator[Callable[..., Page]]:
    """Opens a page, by default of the campaign. What it reports as an error fails the test."""
    opened: list[Page] = []
    errors: list[str] = []

    def start(path: str = PAGE, **options: Any) -> Page:
        page = browser.new_page(**{"viewport": WIDE, **options})
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        opened.append(page)
        page.goto(origin + path)
        return page

    with running_app(airflow.app) as origin:
        yield start
        for page in opened:
            page.close()
    assert errors == []


def test_failures_are_named_by_what_their_codes_mean(show: Callable[..., Page]) -> None:
    page = show()
    table = page.get_by_role("table", name="Failed")
    for code, number in (("2008", "15"), ("4005", "3")):
        known = ErrorCode(int(code))
        row = table.get_by_role("row").filter(has=page.get_by_role("cell", name=code, exact=True))
        row.get_by_text(known.meaning, exact=False).wait_for()
        words = row.inner_text().casefold()
        assert number in words
        assert known.remedy.casefold() in words
    # A code that the vendor has added since, and those who have failed without one.
    assert table.get_by_role("row").filter(has_text="4999").inner_text().split() == ["4999", "1"]
    assert "2" in table.get_by_role("row").filter(has_text="No code is on record").inner_text()


def test_each_line_shows_its_health_and_its_limits(show: Callable[..., Page]) -> None:
    page = show()
    page.get_by_role("heading", name="Lines on 2026-03-02 (UTC)").wait_for()
    for words in (
        "at risk",
        "67 % of new recipients",
        "33 % of new recipients",
        "not used: its reputation is CRITICAL",
    ):
        assert page.get_by_text(words).count() == 1
    full = page.get_by_role("meter", name=f"{A}: new chats").first
    assert (full.get_attribute("aria-valuenow"), full.get_attribute("aria-valuetext")) == ("100", "50 of 50")
    assert page.get_by_role("meter", name=f"{B}: messages").get_attribute("aria-valuetext") == "20 of 7,000"
    page.get_by_role("heading", name="Lines on 2026-03-01 (UTC)").wait_for()
    assert page.get_by_role("meter", name=f"{A}: messages").count() == 2


def test_without_a_limit_no_line_looks_full(show: Callable[..., Page], airflow: AirflowUI) -> None:
    record = {**PROGRESS, "new_chats_per_day": None}
    airflow.api[f"{TASK}/state-store/linq_campaign_progress"] = {"value": record}
    page = show()
    page.get_by_role("meter", name=f"{A}: messages").first.wait_for()
    assert page.get_by_role("meter", name="new chats").count() == 0
    assert page.get_by_text("50", exact=True).count() == 1, "the number is there"


def test_a_record_of_an_earlier_version_is_shown(show: Callable[..., Page], airflow: AirflowUI) -> None:
    before = {name: value for name, value in PROGRESS.items() if name not in ("lines", "failed_by_code")}
    airflow.api[f"{TASK}/state-store/linq_campaign_progress"] = {"value": before}
    page = show()
    page.get_by_text("178 of 400 recipients settled").wait_for()
    assert page.get_by_role("meter", name=f"{B}: messages").get_attribute("aria-valuetext") == "20 of 7,000"
    assert page.get_by_role("table", name="Failed").count() == 0


def test_the_latest_of_all_tasks(show: Callable[..., Page], airflow: AirflowUI) -> None:
    task = {"dag_id": "spring", "dag_run_id": "run", "map_index": -1, "state": "running", "start_date": None}
    read_until = "2026-03-02T10:00:00Z"
    lines = [
        {"line": A, "window_hours": None, "read_until": read_until, "gap": False},
        {"line": B, "window_hours": 24, "read_until": read_until, "gap": True},
    ]
    ids = {"LinqSendCampaignOperator": "send", "LinqExtractOperator": "extract"}
    airflow.api["/api/v2/dags/~/dagRuns/~/taskInstances"] = lambda query: {
        "task_instances": [{**task, "id": ids[query["operator"]], "task_id": ids[query["operator"]]}]
    }
    airflow.api[TASK.replace("send", "extract") + "/xcomEntries/return_value"] = {"value": {"lines": lines}}
    page = show("/plugin/linq")
    assert "178 of 400" in page.get_by_role("row").filter(has_text="spring").inner_text()
    page.get_by_text("messages don't expire").wait_for()
    page.get_by_text("a gap: messages may have expired unread").wait_for()
    page.get_by_role("link", name="run", exact=True).click()
    page.get_by_text("178 of 400 recipients settled").wait_for()


def test_what_a_message_has_on_record(show: Callable[..., Page], airflow: AirflowUI) -> None:
    airflow.api[TASK]["operator"] = "LinqSendMessageOperator"
    del airflow.api[f"{TASK}/state-store/linq_campaign_progress"]
    record = {
        "format": 1,
        "status": "in_progress",
        "line": A,
        "key": "airflow-key",
        "started_at": "2026-03-02T10:00:00Z",
    }
    airflow.api[f"{TASK}/state-store"] = {"task_state_store": [{"key": "linq_message", "value": record}]}
    page = show()
    page.get_by_text("A request was begun, and its answer is not on record.").wait_for()
    for value in (A, "airflow-key"):
        page.get_by_text(value, exact=True).wait_for()


def test_outcomes_say_what_a_code_means(
    show: Callable[..., Page], airflow: AirflowUI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__LINQ__OUTCOMES_UNDER", str(tmp_path))
    path = tmp_path / "spring" / "run.jsonl"
    path.parent.mkdir()
    rows = [
        {"row": 1, "to": ["guest1@example.com"], "status": "sent", "line": A, "message_id": "m-1"},
        {"row": 2, "to": ["guest2@example.com"], "status": "failed", "reason": "refused", "code": 4001, "line": A},
        {"row": 3, "to": ["guest3@example.com"], "status": "failed", "reason": "refused", "code": 4999, "line": A},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    ended = {"sent": 398, "skipped": {}, "failed": 2, "unknown": 0, "pending": 0, "report": None}
    airflow.api[TASK]["state"] = "success"
    airflow.api[f"{TASK}/xcomEntries/return_value"] = {"value": {**ended, "outcomes_path": str(path)}}
    page = show()
    row = page.get_by_role("row").filter(has_text="guest2@example.com")
    row.get_by_text(ErrorCode.DELIVERY_FAILED.remedy).wait_for()
    assert "4001" in row.inner_text()
    assert "4999" in page.get_by_role("row").filter(has_text="guest3@example.com").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "viewport"), [("wide", WIDE), ("phone", PHONE)])
def test_how_it_looks(show: Callable[..., Page], scheme: str, width: str, viewport: dict[str, int]) -> None:
    """Keep screenshots, and let axe look at what is ours."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page = show(viewport=viewport, color_scheme=scheme)
    page.get_by_role("table", name="Failed").wait_for()
    OUTPUT.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=OUTPUT / f"airflow-running-{width}-{scheme}.png")
    page.get_by_role("heading", name="Lines on 2026-03-02 (UTC)").scroll_into_view_if_needed()
    page.screenshot(path=OUTPUT / f"airflow-running-{width}-{scheme}-lines.png")
    results = axe.Axe().run(page, context="#linq-page")
    assert results.violations_count == 0, results.generate_report()
