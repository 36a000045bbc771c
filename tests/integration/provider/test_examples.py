"""Each example of `dags_examples` runs as it stands, real Airflow in this process, against the emulator."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, closing
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.models.variable import Variable
from airflow.providers.standard.triggers.temporal import DateTimeTrigger

from airflow_provider_linq.operators import campaigns
from linq_client import LinqClient
from linq_webhooks.archive import open_archive
from tests.integration.provider.test_dags import answering
from tests.integration.provider.test_events import AssetStore
from tests.support.airflow import BUNDLES, Run, load_dag, run_to_end
from tests.support.emulator_process import Emulator
from tests.support.waiting import PATIENCE, wait_until
from tests.support.webhook_receiver import ReceiverThread

ANN, BOB, CAT = "+12125550110", "+12125550111", "+12125550112"
RunDag = Callable[..., Run]

# Warnings are errors here too, but for those that Airflow's own dependencies give when `dag.test` first imports them.
pytestmark = pytest.mark.filterwarnings("ignore:Using `httpx` with `starlette.testclient` is deprecated")


@pytest.fixture
def emulator(emulator: Emulator) -> Emulator:
    """The emulator, whose clock runs: examples wait for deliveries and answers."""
    emulator.control("POST", "clock", {"freeze": False, "speed": 5})
    return emulator


def texts(emulator: Emulator) -> list[str]:
    return [row["text"] for row in emulator.ledger() if row["direction"] == "outbound"]


def test_every_example_has_a_test_and_says_what_it_shows() -> None:
    names = {path.stem for path in BUNDLES["examples"].glob("*.py")}
    tested = {name.removeprefix("test_") for name in globals() if name.startswith("test_linq")}
    # The last one is run by test_dags, and by the demo.
    assert names == tested | {"campaign", "linq_campaign_with_replies"}
    for name in names:
        dag = load_dag(name)
        assert dag.dag_id == name
        assert (dag.doc_md or "").strip().startswith("### ")
        assert not dag.catchup


def test_linq_send_message(emulator: Emulator, run_dag: RunDag) -> None:
    run = run_dag("linq_send_message")
    assert run.states("send") == ["success"]
    assert run.xcom("arrived")["delivery_status"] == "delivered"

    emulator.control("POST", "clock", {"now": "2100-03-01T12:00:00Z"})
    late = run_dag("linq_send_message")
    assert late.states("send") == late.states("arrived") == ["skipped"]
    assert len(emulator.ledger()) == 1


def test_linq_group_chat(emulator: Emulator, run_dag: RunDag) -> None:
    run = run_dag("linq_group_chat")
    assert run.state == "success"
    assert run.xcom("name")["display_name"].startswith("Shift of ")
    assert [len(row["to"]) for row in emulator.ledger()] == [3, 3]


@pytest.mark.parametrize(("answer", "reply"), [("Yes!", "Wonderful"), ("no.", "No problem")])
def test_linq_ask_and_branch(emulator: Emulator, run_dag: RunDag, answer: str, reply: str) -> None:
    with answering(emulator, {ANN: answer}, is_prompt=True):
        run = run_dag("linq_ask_and_branch")
    assert run.state == "success"
    assert texts(emulator)[1].startswith(reply)
    assert sorted(run.states("confirm") + run.states("cancel")) == ["skipped", "success"]


def test_who_opted_out_is_not_asked(emulator: Emulator, run_dag: RunDag) -> None:
    emulator.control("POST", "handles", {"handle": ANN, "opted_out": True})
    run = run_dag("linq_ask_and_branch")
    assert run.xcom("ask")["refused"] == "opted_out"
    assert (run.states("confirm"), run.states("cancel"), run.states("no_answer")) == (
        ["skipped"],
        ["skipped"],
        ["success"],
    )


def test_linq_voice_memo(emulator: Emulator, run_dag: RunDag, tmp_path: Path) -> None:
    (tmp_path / "greeting.m4a").write_bytes(b"\x00\x00\x00\x20ftypM4A " + b"\x00" * 100)
    run = run_dag("linq_voice_memo", path=f"{tmp_path}/greeting.m4a")
    assert run.xcom("memo")["chat_id"] == run.xcom("hello")["chat_id"]
    assert len(emulator.ledger()) == 2


@pytest.mark.parametrize(("services", "sent"), [(["iMessage", "SMS"], "by_imessage"), (["SMS"], "by_sms")])
def test_linq_check_capability(emulator: Emulator, run_dag: RunDag, services: list[str], sent: str) -> None:
    emulator.control("POST", "handles", {"handle": ANN, "services": services})
    run = run_dag("linq_check_capability")
    assert run.state == "success"
    assert {task: run.states(task) for task in ("by_imessage", "by_sms")} == {
        task: ["success" if task == sent else "skipped"] for task in ("by_imessage", "by_sms")
    }


def test_linq_on_inbound_message(emulator: Emulator, run_dag: RunDag) -> None:
    """Started by hand, it has no events; tests/system/airflow runs it on a real Airflow with some."""
    assert run_dag("linq_on_inbound_message").xcom("answer") == 0


def test_who_is_blocked_does_not_keep_others_from_their_answer(
    emulator: Emulator, connect: Callable[..., None]
) -> None:
    dag = load_dag("linq_on_inbound_message")
    sent = [
        emulator.control("POST", "inbound", {"line": emulator.lines[0], "from": who, "text": "When are you open?"})
        for who in (ANN, BOB)
    ]
    emulator.control("POST", "handles", {"handle": ANN, "blocked": True})
    messages = [{"message_id": row["id"], "chat_id": row["chat_id"]} for row in sent]
    answer: Any = dag.get_task("answer")
    inbound = answer.python_callable.__globals__["inbound"]
    assert answer.python_callable({inbound: [SimpleNamespace(extra={"payload": {"messages": messages}})]}) == 1
    assert texts(emulator) == ["We are open from 9 to 6."]


def test_linq_webhook_subscription(emulator: Emulator, run_dag: RunDag) -> None:
    url = "http://127.0.0.1:9/webhooks/linq"
    Variable.delete("linq_webhook_secret")
    subscribed = run_dag("linq_webhook_subscription", url=url).xcom("subscribe")
    assert (subscribed["change"], subscribed["target_url"]) == ("created", f"{url}?version=2026-02-03")
    assert subscribed["subscription_id"] in Variable.get("linq_webhook_secret")


@pytest.mark.usefixtures("patient_receivers")
def test_linq_answer_within_seconds(
    emulator: Emulator, run_dag: RunDag, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a person's message by the platform's delivery, receiver, archive, triggerer and task to the answer."""
    url = str(tmp_path / "archive")
    monkeypatch.setenv("LINQ_WEBHOOK_ARCHIVE", url)
    emulator.control("POST", "clock", {"now": datetime.now(timezone.utc).isoformat(), "speed": 1})
    assert run_dag("linq_answer_within_seconds").xcom("answer") == 0, "started by hand, it has no events"
    answer: Any = load_dag("linq_answer_within_seconds").get_task("answer")
    names = answer.python_callable.__globals__
    asked, trigger = names["asked"], names["trigger"]

    with LinqClient(emulator.api_key, base_url=emulator.base_url) as client, ExitStack() as stack:
        subscription = client.webhook_subscriptions.create("http://127.0.0.1:9/", ["message.received"])
        assert subscription.signing_secret is not None
        secrets = {subscription.id: [subscription.signing_secret]}
        receiver = stack.enter_context(ReceiverThread(open_archive(url), secrets))
        client.webhook_subscriptions.update(subscription.id, target_url=receiver.url)
        emulator.control("POST", "inbound", {"line": emulator.lines[0], "from": CAT, "text": "Too early: open?"})
        with closing(open_archive(url)) as archive:  # of one without an event, nobody knows when it began
            wait_until(lambda: list(archive.read()), "the event is in the archive")

        async def payload() -> dict[str, Any]:
            store = AssetStore()
            trigger.asset_state_store = store
            event = asyncio.create_task(anext(trigger.run()))
            async with asyncio.timeout(PATIENCE):
                while not store.values:  # it watches from then on
                    await asyncio.sleep(0.02)
            for who, text in ((ANN, "When are you open?"), (BOB, "Thanks!")):
                order = {"line": emulator.lines[0], "from": who, "text": text}
                await asyncio.to_thread(emulator.control, "POST", "inbound", order)
            return dict((await event).payload)

        requests = len(emulator.requests_served())
        found = asyncio.run(payload())
        paths = [row["path"] for row in emulator.requests_served()[requests:]]
        assert not [path for path in paths if "/chats" in path or "/messages" in path], "the API is not asked"
    events = {asked: [SimpleNamespace(extra={"payload": found})] * 2}
    assert answer.python_callable(events) == 2
    assert [(row["to"], row["text"]) for row in emulator.ledger() if row["direction"] == "outbound"] == [
        ([ANN], "We are open from 9 to 6.")
    ], "one answer, though the event came twice"


def test_linq_alert_on_failure(emulator: Emulator, run_dag: RunDag) -> None:
    assert run_dag("linq_alert_on_failure").state == "failed"
    assert texts(emulator) == ["linq_alert_on_failure: load has failed in try 1."]


def test_linq_approved_campaign(emulator: Emulator, run_dag: RunDag, tmp_path: Path) -> None:
    (tmp_path / "customers.csv").write_text(f"phone,first_name\n{ANN},Ann *A|B*\n{BOB},\nnobody,Cat\n")
    params = {"folder": str(tmp_path), "customers": f"{tmp_path}/customers.csv"}
    dag = load_dag("linq_approved_campaign")
    approved = run_to_end(dag, params, mark_success_pattern="approve")
    assert approved.state == "success"
    preview = approved.xcom("preview")
    assert "**2** people get a message, 1 rows are left out." in preview
    assert f"| …{ANN[-4:]} | Hello Ann \\*A\\|B\\*, we open" in preview
    assert "* row 3:" in preview
    assert sorted(row["to"][0] for row in emulator.ledger()) == sorted([ANN, BOB])


def test_linq_extract_hourly(emulator: Emulator, run_dag: RunDag, connect: Callable[..., None], tmp_path: Path) -> None:
    connect(retention_window_hours=24)
    for line in emulator.lines:
        emulator.control("POST", "lines", {"phone_number": line, "retention_hours": 24})
    emulator.control("POST", "seed", {"chats": 6, "messages_per_chat": 5, "hours": 10, "seed": 1})
    assert emulator.control("GET", "clock")

    def rows() -> list[dict[str, Any]]:
        files = tmp_path.glob("messages/*.jsonl")
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]

    first = run_dag("linq_extract_hourly", folder=str(tmp_path))
    assert first.states("extract") == ["success", "success"]
    assert {row["id"] for row in rows()} == {row["id"] for row in emulator.ledger()}
    count = len(rows())

    late = emulator.control("POST", "inbound", {"line": emulator.lines[1], "from": ANN, "text": "Hello"})["id"]
    assert run_dag("linq_extract_hourly", folder=str(tmp_path)).states("extract") == ["success", "success"]
    assert late in {row["id"] for row in rows()}
    assert len(rows()) < 2 * count, "the second run goes on from the state of the first"

    emulator.advance(30 * 3600)
    assert run_dag("linq_extract_hourly", folder=str(tmp_path)).states("extract") == ["failed", "failed"]


class Customers:
    """The table of the campaign, in SQLite."""

    def __init__(self, path: Path) -> None:
        self.path = path
        columns = "handle text, first_name text, time_zone text, opted_out_at timestamp"
        self._run(f"create table customers ({columns})")

    def add(self, handle: str, first_name: str | None, time_zone: str | None) -> None:
        self._run("insert into customers values (?, ?, ?, null)", handle, first_name, time_zone)

    def opted_out(self) -> set[str]:
        return {handle for (handle,) in self._run("select handle from customers where opted_out_at is not null")}

    def _run(self, sql: str, *parameters: Any) -> list[Any]:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            return connection.execute(sql, parameters).fetchall()


@pytest.fixture
def customers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Customers:
    found = Customers(tmp_path / "customers.db")
    connection = {"conn_type": "sqlite", "host": str(found.path)}
    monkeypatch.setenv("AIRFLOW_CONN_CUSTOMERS_DB", json.dumps(connection))
    return found


@pytest.fixture
def waits(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the campaign has waited without a worker: the emulator's clock is moved, and nobody waits."""
    emulator.control("POST", "clock", {"freeze": True})
    waited: list[float] = []

    def trigger(moment: datetime) -> DateTimeTrigger:
        now = datetime.now(timezone.utc)
        waited.append((moment - now).total_seconds())
        emulator.advance(waited[-1] + 30)  # by its clock, which stood still, the campaign took no time before
        replied = {row["from"] for row in emulator.ledger() if row["direction"] == "inbound"}
        for row in emulator.ledger():
            if row["to"] == [BOB] and BOB not in replied:
                emulator.control("POST", "inbound", {"chat_id": row["chat_id"], "from": BOB, "text": "STOP"})
        return DateTimeTrigger(moment=now)

    monkeypatch.setattr(campaigns, "DateTimeTrigger", trigger)
    return waited


def test_campaign(
    emulator: Emulator, run_dag: RunDag, customers: Customers, waits: list[float], tmp_path: Path
) -> None:
    # It is noon in London, and four in the morning in Los Angeles.
    dan, eve = "Dan@example.com", "+12125550114"
    customers.add(ANN, "Ann", "Europe/London")
    customers.add(BOB, "Bob", "Europe/London")
    customers.add(CAT, None, "America/Los_Angeles")
    customers.add(dan, "Dan", "Europe/London")
    customers.add(eve, "Eve", "Europe/Nowhere")
    customers.add("no handle", "Fay", None)
    emulator.control("POST", "handles", {"handle": dan.lower(), "opted_out": True})

    run = run_dag("campaign", folder=str(tmp_path))

    assert run.state == "success"
    assert Counter(row["to"][0] for row in emulator.ledger() if row["direction"] == "outbound") == Counter(
        [ANN, BOB, CAT]
    )
    (greeting,) = [row for row in emulator.ledger() if row["to"] == [CAT]]
    assert greeting["text"].startswith("Hello there!")
    assert greeting["created_at"].startswith("2026-03-01T17:00:"), "nine in the morning in Los Angeles"
    assert waits[0] == pytest.approx(5 * 3600, abs=60)
    result = run.xcom("send")
    assert (result["sent"], result["failed"], result["unknown"]) == (3, 0, 0)
    assert result["skipped"] == {"opted_out": 1, "blocked": 0, "invalid": 2, "duplicate": 0, "suppressed": 0, "late": 0}
    assert (result["report"]["replied"], result["report"]["opted_out"]) == (1, 1)
    assert run.xcom("write_back") == 2
    assert customers.opted_out() == {BOB, dan}

    # Another run in the same week writes to those alone who are new.
    customers.add("+12125550115", "Gus", "Europe/London")
    again = run_dag("campaign", folder=str(tmp_path))
    assert again.state == "success"
    written = Counter(row["to"][0] for row in emulator.ledger() if row["direction"] == "outbound")
    assert written == Counter([ANN, BOB, CAT, "+12125550115"])


def test_a_campaign_that_fails_writes_back_and_counts_as_failed(
    emulator: Emulator, run_dag: RunDag, customers: Customers, waits: list[float], tmp_path: Path
) -> None:
    customers.add(ANN, "Ann", "Europe/London")
    customers.add(BOB, "Bob", "Europe/London")
    emulator.control("POST", "handles", {"handle": ANN, "opted_out": True})
    emulator.control("PATCH", "switches", {"sandbox": True})  # whoever has not written to us is refused

    run = run_dag("campaign", folder=str(tmp_path))

    assert run.states("send") == ["failed"]
    assert run.tries("send") == [1]
    assert run.states("write_back") == ["success"]
    assert run.state == "failed"
    assert customers.opted_out() == {ANN}
    assert not emulator.ledger()
