"""Every example of the README and the documentation that has a DAG runs as it is written there."""

from __future__ import annotations

import json
import os
import re
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from inspect import signature
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from airflow.models.variable import Variable

from airflow_provider_linq.operators.campaigns import LinqSendCampaignOperator
from tests.integration.provider.test_dags import answering
from tests.support.airflow import BUNDLES, ROOT, Run, dags_of, only_bundle, run_to_end
from tests.support.emulator_process import Emulator
from tests.support.pages import TEST_DAGS, TUTORIAL, save_files

ANN = "+12025550123"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
CODE = [code for document in DOCUMENTS for code in BLOCK.findall(document.read_text())]
EXAMPLES = {found.group(1): code for code in CODE if (found := re.search(r'with DAG\(\s*"(\w+)"', code))}
DECORATED = [code for code in CODE if "\n@dag(" in code]

pytestmark = pytest.mark.filterwarnings("ignore:Using `httpx` with `starlette.testclient` is deprecated")


@pytest.fixture
def run_example(emulator: Emulator, airflow_db: None, connect: Callable[..., None]) -> Callable[..., Run]:
    """Run one of the examples against the emulator, whose clock runs fast."""
    emulator.control("POST", "clock", {"freeze": False, "speed": 60})

    def run_example(name: str, folders: Mapping[str, str] | None = None, **params: Any) -> Run:
        file = BUNDLES["documentation"] / f"{name}.py"
        code = EXAMPLES[name]
        for documented, real in (folders or {}).items():
            code = code.replace(documented, real)
        file.write_text(code)
        return run_to_end(dags_of(file)[name], params)

    return run_example


def test_every_argument_of_a_campaign_is_documented() -> None:
    page = (ROOT / "docs" / "reference" / "campaigns.md").read_text()
    for name in signature(LinqSendCampaignOperator.__init__).parameters.keys() - {"self", "kwargs"}:
        assert f":param {name}:" in str(LinqSendCampaignOperator.__doc__)
        assert re.search(rf"^\| .*`{name}`", page, re.MULTILINE), name


def test_all_examples_are_run_here() -> None:
    run = {name for name in EXAMPLES if f'"{name}"' in Path(__file__).read_text()}
    assert run == EXAMPLES.keys()


@pytest.mark.parametrize("code", DECORATED, ids=lambda code: str(re.findall(r"^def (\w+)", code, re.MULTILINE)))
def test_what_needs_a_scheduler_can_be_read(code: str, tmp_path: Path) -> None:
    (tmp_path / "example.py").write_text(code)
    assert len(dags_of(tmp_path / "example.py")) == 1


@pytest.mark.parametrize("name", ["send_two_messages", "chats_and_people", "reputations"])
def test_it_runs_as_it_stands(run_example: Callable[..., Run], name: str) -> None:
    assert run_example(name).state == "success"


def test_the_ones_with_files(run_example: Callable[..., Run], emulator: Emulator, tmp_path: Path) -> None:
    (tmp_path / "today.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\x00" * 50)
    (tmp_path / "greeting.m4a").write_bytes(b"\x00\x00\x00\x20ftypM4A " + b"\x00" * 100)
    (tmp_path / "today.png").rename(tmp_path / "monday.png")
    folders = {"s3://aws_default@menus": f"file://{tmp_path}", "/srv": str(tmp_path)}
    assert run_example("send_a_file", folders).state == "success"
    assert run_example("send_a_voice_memo", folders).state == "success"
    assert len(emulator.ledger()) == 3


def test_the_one_that_is_late(run_example: Callable[..., Run], emulator: Emulator) -> None:
    emulator.control("POST", "clock", {"freeze": True, "now": "2100-03-01T12:00:00Z"})
    assert run_example("lunch").states("send") == ["skipped"]
    assert not emulator.ledger()


def test_the_one_that_asks(run_example: Callable[..., Run], emulator: Emulator) -> None:
    with answering(emulator, {ANN: "No."}, is_prompt=True):
        run = run_example("appointment")
    assert [run.states(task) for task in ("confirm", "cancel", "call")] == [["skipped"], ["success"], ["skipped"]]


def test_the_one_that_extracts(run_example: Callable[..., Run], emulator: Emulator, tmp_path: Path) -> None:
    emulator.control("POST", "seed", {"chats": 3, "messages_per_chat": 5, "hours": 10, "seed": 1})
    run = run_example("extract", {"/srv": str(tmp_path)})
    assert run.xcom("extract")["records"]["messages"] == len(emulator.ledger())


def test_the_one_with_a_line_each(run_example: Callable[..., Run], emulator: Emulator, tmp_path: Path) -> None:
    emulator.control("POST", "seed", {"chats": 2, "messages_per_chat": 5, "hours": 10, "seed": 1, "lines": 2})
    assert run_example("extract_by_line", {"s3://aws_default@bucket": f"file://{tmp_path}"}).state == "success"
    assert len(list((tmp_path / "linq" / "state").iterdir())) == 2


def test_the_one_of_the_readme(run_example: Callable[..., Run], emulator: Emulator) -> None:
    with answering(emulator, {ANN: "At five"}, is_prompt=True):
        run = run_example("ask_for_a_time")
    assert run.xcom("wait")["text"] == "At five"


def test_the_one_that_waits(run_example: Callable[..., Run], emulator: Emulator) -> None:
    with answering(emulator, {ANN: "Yes, at five"}):
        run = run_example("ask_and_wait")
    assert run.state == "success"
    assert run.xcom("is_yes") is True


def test_the_one_that_subscribes(run_example: Callable[..., Run], emulator: Emulator) -> None:
    Variable.delete("linq_webhook_secret")
    subscribed = run_example("subscribe_to_webhooks").xcom("subscribe")
    assert subscribed["change"] == "created"
    assert subscribed["subscription_id"] in Variable.get("linq_webhook_secret")


def test_the_ones_that_fail(run_example: Callable[..., Run], emulator: Emulator) -> None:
    assert run_example("alerting").state == "failed"
    assert [row["text"] for row in emulator.ledger()] == ["load of alerting has failed."]
    assert run_example("patient").state == "failed"  # its chat does not exist: no retry can mend that


@pytest.mark.parametrize(
    "name", ["first_campaign", "campaign_of_an_xcom", "campaign_in_a_task", "campaign_with_values"]
)
def test_the_campaigns(run_example: Callable[..., Run], emulator: Emulator, name: str) -> None:
    run = run_example(name)
    assert run.state == "success"
    result = run.xcom("remind" if name == "campaign_in_a_task" else "send")
    assert result["sent"] == len(emulator.ledger()) == 2


def test_the_campaigns_from_a_file(run_example: Callable[..., Run], emulator: Emulator, tmp_path: Path) -> None:
    rows = ["phone,first_name", f"{ANN},Ann", "+12025550124,", "nobody,Bob"]
    (tmp_path / "customers.csv").write_text("\n".join(rows))

    planned = run_example("campaign_from_a_file", folder=str(tmp_path)).xcom("send")
    assert (planned["pending"], planned["skipped"]["invalid"]) == (2, 1)
    assert "Hello there! Today: soup. Shall we keep you some?" in (tmp_path / "planned.csv").read_text()
    assert not emulator.ledger()

    sent = run_example("campaign_from_a_file", folder=str(tmp_path), dry_run=False).xcom("send")
    assert (sent["sent"], sent["skipped"]["invalid"]) == (2, 1)
    assert {row["text"] for row in emulator.ledger()} == {
        "Hello Ann! Today: soup. Shall we keep you some?",
        "Hello there! Today: soup. Shall we keep you some?",
    }


def test_the_campaign_from_a_query(
    run_example: Callable[..., Run], emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(sqlite3.connect(tmp_path / "customers.db")) as connection, connection:
        connection.execute(
            "create table customers (phone text, first_name text, time_zone text, opted_out_at timestamp)"
        )
        connection.execute("insert into customers values (?, 'Ann', 'Europe/London', null)", [ANN])
        connection.execute("insert into customers values ('+12025550124', 'Bob', null, current_timestamp)")
    database = {"conn_type": "sqlite", "host": str(tmp_path / "customers.db")}
    monkeypatch.setenv("AIRFLOW_CONN_CUSTOMERS_DB", json.dumps(database))
    assert run_example("soup_of_the_week").xcom("send")["sent"] == 1
    assert [row["to"] for row in emulator.ledger()] == [[ANN]]


def test_the_one_that_erases(run_example: Callable[..., Run], emulator: Emulator) -> None:
    emulator.control("POST", "inbound", {"from": ANN, "line": emulator.lines[0], "text": "Forget me"})
    planned = run_example("erase").xcom("erase")
    done = run_example("erase", dry_run=False).xcom("erase")
    assert (planned["messages"], planned["messages_deleted"]) == (1, 0)
    assert (done["messages"], done["messages_deleted"]) == (1, 1)
    assert ANN not in str(done)


def test_the_campaign_with_suppression(
    run_example: Callable[..., Run], emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(sqlite3.connect(tmp_path / "customers.db")) as connection, connection:
        connection.execute("create table opt_outs (handle text, opted_out boolean, happened_at timestamp)")
        connection.executemany(
            "insert into opt_outs values (?, ?, ?)",
            [
                ("bob@example.com", True, "2026-03-01"),
                (ANN, True, "2026-03-01"),
                (ANN, False, "2026-03-02"),
                ("72645", True, "2026-03-01"),  # a short code can write STOP, and can't be written to
                (None, True, "2026-03-01"),
            ],
        )
    database = {"conn_type": "sqlite", "host": str(tmp_path / "customers.db")}
    monkeypatch.setenv("AIRFLOW_CONN_CUSTOMERS_DB", json.dumps(database))
    result = run_example("campaign_with_suppression").xcom("send")
    assert (result["sent"], result["skipped"]["suppressed"]) == (1, 1)
    assert [row["to"] for row in emulator.ledger()] == [[ANN]]


def test_the_campaign_on_several_workers(run_example: Callable[..., Run], emulator: Emulator, tmp_path: Path) -> None:
    (tmp_path / "campaigns").mkdir()
    guests = [{"to": f"+120255501{number}", "name": f"Guest {number}"} for number in range(10, 30)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(guests), tmp_path / "guests.parquet")
    run = run_example("soup_on_four_workers", {"s3://aws_default@bucket": f"file://{tmp_path}"})
    assert run.state == "success"
    assert len(emulator.ledger()) == len(guests)
    (file,) = (tmp_path / "campaigns").glob("*.jsonl")
    assert [json.loads(row)["status"] for row in file.read_text().splitlines()] == ["sent"] * len(guests)


def test_the_careful_campaign(run_example: Callable[..., Run], emulator: Emulator, tmp_path: Path) -> None:
    emulator.control("PATCH", "switches", {"delivery_seconds": 0})
    (tmp_path / "customers.csv").write_text(f"phone,first_name\n{ANN},Ann\n+12025550124,Bob\n")
    run = run_example("careful_campaign", folder=str(tmp_path))
    assert run.state == "success"
    assert run.xcom("send")["report"]["delivered"] == len(emulator.ledger()) == 2
    assert len(list(tmp_path.glob("*-report.parquet"))) == 1


def test_the_tests_of_the_guide(airflow_db: None) -> None:
    """Those of "Test your DAGs", with the DAGs of the tutorial. `make e2e` types both pages into a shell."""
    # One level down, so that its modules are not called as ours are.
    folder = BUNDLES["documentation"] / "project"
    save_files(TUTORIAL + TEST_DAGS, folder)
    options = f"--import-mode=importlib --rootdir={folder.parent} -c {os.devnull} -p no:schemathesis"
    with only_bundle(folder):
        assert pytest.main([str(folder / "tests"), *options.split()]) == pytest.ExitCode.OK
