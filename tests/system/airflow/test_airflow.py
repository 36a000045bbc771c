"""The provider on a real Airflow: scheduler, triggerer, API server, LocalExecutor; and the emulator as the API."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from benchmarks.airflow_process import PATIENCE, Airflow
from tests.support.airflow_versions import HAS_CONNECTION_FORMS, HAS_STATE_STORES
from tests.support.browser import browser as browser  # a fixture
from tests.support.campaign_drills import slow
from tests.support.emulator_process import Emulator

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).parents[3]
OUTPUT = ROOT / "output" / "ui"
DAGS = {"examples": ROOT / "dags_examples", "tests": Path(__file__).parent / "dags"}
ANN, BOB, CAT, DAN, EVE = (f"+1212555012{digit}" for digit in range(1, 6))


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    """An emulator on the real time, for all tests of the module."""
    with Emulator() as started:
        yield started


@pytest.fixture(scope="module")
def airflow(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    started = Airflow(tmp_path_factory.mktemp("airflow"), emulator, DAGS)
    started.environment["AIRFLOW__LINQ__OUTCOMES_UNDER"] = str(started.home / "outcomes")
    try:
        started.start()
        yield started
    finally:
        started.stop()


def sent_to(emulator: Emulator, handle: str) -> list[str]:
    rows = [row for row in emulator.ledger() if row["direction"] == "outbound" and row["to"] == [handle]]
    return [row["text"] for row in rows]


def inbound(emulator: Emulator, sender: str, text: str) -> None:
    emulator.control("POST", "inbound", {"line": emulator.lines[0], "from": sender, "text": text})


@pytest.mark.skipif(not HAS_CONNECTION_FORMS, reason="Airflow before 3.1.3 has no connection forms without WTForms")
def test_the_connection_form(airflow: Airflow) -> None:
    (form,) = [
        hook for hook in airflow.call("GET", "connections/hook_meta", root="/ui") if hook["connection_type"] == "linq"
    ]
    assert form["hook_name"] == "Linq"
    assert form["standard_fields"]["password"]["title"] == "API key"
    assert set(form["extra_fields"]) >= {"default_line", "retention_window_hours"}


def test_the_test_of_a_connection(airflow: Airflow, emulator: Emulator) -> None:
    connection = {"connection_id": "tried", "conn_type": "linq", "host": emulator.base_url}
    right = airflow.call("POST", "connections/test", {**connection, "password": emulator.api_key})
    assert right["status"]
    assert right["message"].startswith("2 lines: +12025550101 HEALTHY")
    wrong = airflow.call("POST", "connections/test", {**connection, "password": "not-the-key"})
    assert not wrong["status"]
    assert "the API key is missing or wrong" in wrong["message"]


def test_a_worker_killed_between_request_and_result(airflow: Airflow, emulator: Emulator, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    # The API has taken the message, and holds the answer back.
    fault = {"kind": "latency", "seconds": 300, "path": "/chats$", "method": "POST", "when": "after", "count": 1}
    emulator.control("POST", "faults", fault)
    run = airflow.run("killed_send", to=ANN, pid_file=str(pid_file))
    airflow.wait_until(lambda: sent_to(emulator, ANN), "the message has been accepted")
    os.kill(int(pid_file.read_text()), signal.SIGKILL)

    done = airflow.until("killed_send", run, "send", "success")
    assert done["try_number"] > 1
    assert len(sent_to(emulator, ANN)) == 1
    (row,) = [row for row in emulator.ledger() if row["to"] == [ANN]]
    result = airflow.xcom("killed_send", run, "send")
    assert (result["message_id"], result["idempotency_key"]) == (row["id"], row["idempotency_key"])

    # Cleared by a user: the earlier result is returned, and nothing is sent.
    airflow.wait_until(lambda: airflow.runs("killed_send")[0]["state"] == "success", "the run has ended")
    order = {"dag_run_id": run, "dry_run": False, "only_failed": False}
    airflow.call("POST", "dags/killed_send/clearTaskInstances", order)
    airflow.wait_until(
        lambda: airflow.task("killed_send", run, "send")["try_number"] > done["try_number"], "it is tried again"
    )
    airflow.until("killed_send", run, "send", "success")
    cleared = airflow.xcom("killed_send", run, "send")
    assert cleared["message_id"] == result["message_id"]
    assert len(sent_to(emulator, ANN)) == 1
    if HAS_STATE_STORES:  # else the API has been asked, with the same key
        assert cleared == result
        assert "on_clear is 'keep'" in airflow.logs()


def test_a_campaign_whose_worker_is_killed(airflow: Airflow, emulator: Emulator, tmp_path: Path) -> None:
    """Nobody is written to twice, or left out: by the state store or, before Airflow 3.3, by the idempotency keys."""
    people = [f"person{index}@example.com" for index in range(500)]

    def sent() -> Counter[str]:
        outbound = [row for row in emulator.ledger() if row["direction"] == "outbound"]
        return Counter(to for row in outbound for to in row["to"] if to in people)

    note = tmp_path / "process"
    slow(emulator, 0.5)
    run = airflow.run("killed_campaign", pid_file=str(note))
    airflow.wait_until(lambda: sent().total() >= 50, "some are sent")
    _, process = note.read_text().split()
    os.kill(int(process), signal.SIGKILL)
    assert sent().total() < len(people)
    emulator.control("DELETE", "faults")

    done = airflow.until("killed_campaign", run, "send", "success")
    assert done["try_number"] > 1
    assert sent() == Counter(people)
    assert airflow.xcom("killed_campaign", run, "send")["sent"] == len(people)


@pytest.mark.skipif(not HAS_STATE_STORES, reason="Airflow before 3.3 can't tell such a clear from another one")
def test_a_task_that_is_cleared_while_it_runs(airflow: Airflow, emulator: Emulator) -> None:
    """Airflow raises `max_tries` for it as for any clear; but it was stopped and had not ended, so it is a retry."""

    def clear() -> None:
        order = {"dag_run_id": run, "dry_run": False, "only_failed": False}
        airflow.call("POST", "dags/cleared_send/clearTaskInstances", order)

    emulator.control("PATCH", "switches", {"automatic_delivery": False})
    run = airflow.run("cleared_send", to=EVE)
    airflow.wait_until(lambda: sent_to(emulator, EVE), "the message has been accepted")
    first = airflow.until("cleared_send", run, "send", "running")
    clear()
    airflow.wait_until(lambda: airflow.task("cleared_send", run, "send")["try_number"] == 2, "it is tried again")
    again = airflow.until("cleared_send", run, "send", "running")
    assert again["max_tries"] > first["max_tries"]
    (message,) = [row for row in emulator.ledger() if row["to"] == [EVE]]
    emulator.control("POST", "receipts", {"message_id": message["id"], "status": "delivered"})
    airflow.until("cleared_send", run, "send", "success")
    assert len(sent_to(emulator, EVE)) == 1

    # It has ended now, and this is what "resend" is for.
    emulator.control("PATCH", "switches", {"automatic_delivery": True})
    airflow.wait_until(lambda: airflow.runs("cleared_send")[0]["state"] == "success", "the run has ended")
    clear()
    airflow.wait_until(lambda: len(sent_to(emulator, EVE)) == 2, "it is sent again")
    airflow.until("cleared_send", run, "send", "success")
    assert len(sent_to(emulator, EVE)) == 2


def test_a_deferred_wait_for_a_delivery(airflow: Airflow, emulator: Emulator) -> None:
    emulator.control("PATCH", "switches", {"delivery_seconds": 8})
    run = airflow.run("linq_send_message", to=BOB)
    airflow.until("linq_send_message", run, "arrived", "deferred", "success")
    airflow.until("linq_send_message", run, "arrived", "success")
    assert airflow.xcom("linq_send_message", run, "arrived")["delivery_status"] == "delivered"
    assert len(sent_to(emulator, BOB)) == 1
    emulator.control("PATCH", "switches", {"delivery_seconds": 2})


def test_a_deferred_question_and_a_branch(airflow: Airflow, emulator: Emulator) -> None:
    run = airflow.run("linq_ask_and_branch", to=CAT)
    airflow.until("linq_ask_and_branch", run, "ask", "deferred")
    inbound(emulator, CAT, "Let me see, a secret between us")
    inbound(emulator, CAT, "Yes!")
    airflow.until("linq_ask_and_branch", run, "confirm", "success")
    assert airflow.xcom("linq_ask_and_branch", run, "ask")["answer"] == "yes"
    assert airflow.task("linq_ask_and_branch", run, "cancel")["state"] == "skipped"


@pytest.mark.skipif(not HAS_STATE_STORES, reason="Airflow before 3.3 has no state store of assets")
def test_events_over_the_death_of_a_triggerer(airflow: Airflow, emulator: Emulator) -> None:
    def answers() -> int:
        return len(sent_to(emulator, DAN))

    airflow.unpause("linq_on_inbound_message")
    # The watcher begins with what comes in after it has: it has saved its cursor then.
    airflow.wait_until(lambda: "linq_inbound_" in str(airflow.asset_state("linq_inbound")), "the line is watched")
    inbound(emulator, DAN, "When do you open today?")
    airflow.wait_until(lambda: answers() == 1, "the first is answered")
    with airflow.without_triggerer():
        inbound(emulator, DAN, "And are you open tomorrow?")
        inbound(emulator, DAN, "Open on Sunday?")
    airflow.wait_until(lambda: answers() == 3, "those in between are answered")
    inbound(emulator, DAN, "Open at night?")
    airflow.wait_until(lambda: answers() == 4, "what came later is answered")
    assert {run["state"] for run in airflow.runs("linq_on_inbound_message")} <= {"success", "running", "queued"}


@pytest.mark.skipif(HAS_STATE_STORES, reason="Airflow 3.3 has a state store of assets")
def test_events_without_a_store(airflow: Airflow, emulator: Emulator) -> None:
    """Each start begins with what comes in from then on, and says so."""

    def starts() -> int:
        return airflow.logs().count("No asset has a state store")

    asked: list[float] = []

    def is_answered(answers: int) -> bool:
        if not asked or time.monotonic() > asked[-1] + 20:  # what came before its first poll has no answer
            asked.append(time.monotonic())
            inbound(emulator, DAN, "When do you open today?")
        return len(sent_to(emulator, DAN)) > answers

    airflow.unpause("linq_on_inbound_message")
    airflow.wait_until(lambda: starts() == 1, "the line is watched")
    airflow.wait_until(lambda: is_answered(0), "what comes in is answered")
    with airflow.without_triggerer():
        inbound(emulator, DAN, "Open on Sunday?")
    airflow.wait_until(lambda: starts() > 1, "the line is watched again")
    before = len(sent_to(emulator, DAN))
    airflow.wait_until(lambda: is_answered(before), "what comes in later is answered")


@pytest.mark.skipif(not HAS_STATE_STORES, reason="the page reads the task state store, which Airflow 3.3 brought")
def test_a_campaign_and_an_extraction_are_watched_in_the_ui(airflow: Airflow, browser: Browser) -> None:
    run = airflow.run("watched", folder=str(airflow.home / "outcomes" / "watched"))
    page = browser.new_page()
    page.set_default_timeout(PATIENCE * 1000)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    airflow.wait_until(lambda: link_of_campaign(airflow, run), "the task shows the link, while it runs")

    page.goto(airflow.url + link_of_campaign(airflow, run))
    page.get_by_text("of 300 recipients settled").wait_for()
    assert "watched0@example.com" not in page.content(), "no recipient is on the page of a campaign that runs"
    page.get_by_text("300 of 300 recipients settled").wait_for()
    page.get_by_text("ended", exact=True).wait_for()
    assert page.get_by_role("meter", name="delivered").get_attribute("aria-valuetext") == "300 (100.0 %)"
    assert page.get_by_role("meter", name="+12025550101: messages").get_attribute("aria-valuenow") == "4"
    page.get_by_label("Search outcomes").fill("WATCHED299@")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("cell", name="watched299@example.com").wait_for()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download as CSV").click()
    assert "watched299@example.com" in download.value.path().read_text()
    look(browser, page.url)

    airflow.until("watched", run, "extract", "success")
    page.get_by_role("link", name="All campaigns").click()
    row = page.get_by_role("row").filter(has_text=run)
    assert "300 of 300" in row.inner_text()
    page.get_by_text("messages don't expire").first.wait_for()
    assert errors == []
    page.close()


def link_of_campaign(airflow: Airflow, run: str) -> str:
    """The extra link of the task, or nothing while it has none."""
    links = airflow.call("GET", f"dags/watched/dagRuns/{quote(run)}/taskInstances/send/links")["extra_links"]
    return str(links["Campaign"] or "")


def look(browser: Browser, url: str) -> None:
    """Keep screenshots, wide and narrow, light and dark, and let axe look at what is ours."""
    from axe_playwright_python.sync_playwright import Axe

    OUTPUT.mkdir(parents=True, exist_ok=True)
    for width, viewport in (("wide", {"width": 1440, "height": 900}), ("phone", {"width": 390, "height": 844})):
        for scheme in ("light", "dark"):
            page = browser.new_page(viewport=viewport, color_scheme=scheme)  # type: ignore[arg-type]
            page.set_default_timeout(PATIENCE * 1000)
            page.goto(url)
            page.get_by_role("cell", name="watched0@example.com").wait_for()
            page.screenshot(path=OUTPUT / f"airflow-{width}-{scheme}.png")
            page.get_by_role("heading", name="Outcomes").scroll_into_view_if_needed()
            page.screenshot(path=OUTPUT / f"airflow-{width}-{scheme}-outcomes.png")
            results = Axe().run(page, context="#linq-page")
            assert results.violations_count == 0, results.generate_report()
            page.close()


def test_no_log_holds_the_key_or_a_text(airflow: Airflow, emulator: Emulator) -> None:
    logs = airflow.logs()
    assert "killed_send" in logs
    for private in (emulator.api_key, "table is number seventeen", "a secret between us"):
        assert private not in logs
