"""The delivery report of a campaign as a page."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest

from airflow_provider_linq._internal.version_compat import AirflowFailException, TaskDeferred
from airflow_provider_linq.campaigns import DeliveryReport
from tests.support.airflow import Store
from tests.support.campaigns import A, B, campaign, context, fault, people, posts
from tests.support.emulator_process import Emulator

pytestmark = pytest.mark.usefixtures("connect")


def read(page: str) -> str:
    """What a person sees of a page."""
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page.partition("<body")[2])))


def test_the_counts_are_on_a_page(emulator: Emulator, tmp_path: Path) -> None:
    path, store = tmp_path / "report.html", Store()
    for line in (A, B):
        emulator.control("POST", "inbound", {"line": line, "from": "person3@example.com", "text": "STOP"})
    fault(emulator, kind="status", status=422, code=1002, count=1)
    task = campaign(
        rows=[*people(30), {"to": "nameless@example.com"}, {"to": "person7@example.com", "name": "Twice"}],
        from_=[A, B],
        on_invalid="skip",
        campaign_key="<b>soup</b>",
        max_failures=1,
        concurrency=1,
        outcomes_path=str(tmp_path / "outcomes.jsonl"),
        report_path=str(path),
        delivery_report=DeliveryReport(delivered_share=1),
    )
    with pytest.raises(TaskDeferred):
        task.execute(context(store))
    emulator.advance(600)
    emulator.control("POST", "inbound", {"line": A, "from": "person1@example.com", "text": "Thanks"})
    result = task.execute_complete(context(store))
    assert (result["sent"], result["failed"]) == (28, 1)
    page = path.read_text()
    assert "<script" not in page
    assert "<b>" not in page
    assert "example.com" not in page, "nobody's handle is mailed"
    shown = read(page)
    for words in (
        "Campaign <b>soup</b>",
        "Sent 28 (100.0 %)",
        "Delivered 28 (100.0 %)",
        "opted out 1",
        "invalid 1",
        "duplicate 1",
        "refused with code 1002: a phone number is not in E.164 form; write it",
        f"Line {A}",
        f"Line {B}",
    ):
        assert words in shown
    assert result["report"]["replied"] == shown.count("Replied 1 (3.6 %)")


def test_no_outcomes_go_into_a_page(emulator: Emulator, tmp_path: Path) -> None:
    task = campaign(rows=people(1), outcomes_path=str(tmp_path / "outcomes.html"))
    with pytest.raises(AirflowFailException, match=r"outcomes_path: must end in one of \.csv"):
        task.execute(context(Store()))
    assert posts(emulator) == 0
