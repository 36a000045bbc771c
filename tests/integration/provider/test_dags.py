"""Whole DAG runs, real Airflow in this process, against the emulator."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.airflow import Run
from tests.support.emulator_process import Emulator

ANN, BOB, CAT = "+12125550110", "+12125550111", "+12125550112"
TEXT = "Your table is number seventeen"

# Warnings are errors here too, but for those that Airflow's own dependencies give when `dag.test` first imports them.
pytestmark = pytest.mark.filterwarnings("ignore:Using `httpx` with `starlette.testclient` is deprecated")


@contextmanager
def answering(emulator: Emulator, answers: Mapping[str, str], *, is_prompt: bool = False) -> Iterator[None]:
    """While the block runs, answer once for each handle that is written to, some time after a sensor first looked.

    :param is_prompt: answer while the API takes its time over the response to the send: then a first look finds the
        answer, and a test does not wait for the second one.
    """
    done = threading.Event()
    if is_prompt:
        emulator.fault("latency", path="^/v3/chats$", method="POST", when="after", seconds=2)

    def answer() -> None:
        left = dict(answers)
        while not done.wait(0.2):
            watched = {row["path"] for row in emulator.requests_served() if row["method"] == "GET"}
            for row in emulator.ledger():
                is_watched = any(row["chat_id"] in path for path in watched)
                if row["direction"] == "outbound" and (is_prompt or is_watched):
                    for handle in left.keys() & set(row["to"]):
                        order = {"chat_id": row["chat_id"], "from": handle, "text": left.pop(handle)}
                        emulator.control("POST", "inbound", order)

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def test_the_campaign_as_it_stands(
    emulator: Emulator, run_dag: Callable[..., Run], capfd: pytest.CaptureFixture[str]
) -> None:
    with answering(emulator, {ANN: "YES", BOB: "no", CAT: "Who is this?"}):
        run = run_dag("linq_campaign_with_replies")
    assert run.state == "success"
    assert run.xcom("summarize") == {"sent": 3, "replied": 3, "confirmed": 1, "declined": 1, "other": 1}
    assert Counter(row["direction"] for row in emulator.ledger()) == {"outbound": 3, "inbound": 3}

    logs = "".join(capfd.readouterr())
    assert "Campaign: {'sent': 3" in logs
    for private in ("Who is this?", "ready to be booked", emulator.api_key, ANN):
        assert private not in logs


def test_a_campaign_with_somebody_who_opted_out(
    emulator: Emulator, run_dag: Callable[..., Run], capfd: pytest.CaptureFixture[str]
) -> None:
    emulator.control("POST", "inbound", {"line": emulator.lines[0], "from": BOB, "text": "STOP"})
    with answering(emulator, {ANN: "Yes"}):
        run = run_dag("linq_campaign_with_replies", recipients=[ANN, BOB], text=TEXT)
    assert run.states("send") == ["success", "failed"]
    assert run.tries("send") == [1, 1]
    assert run.states("wait_for_reply") == ["success"]
    assert run.xcom("summarize") == {"sent": 1, "replied": 1, "confirmed": 1}

    logs = "".join(capfd.readouterr())
    assert "the recipient has opted out" in logs
    for private in (TEXT, emulator.api_key, ANN, BOB):
        assert private not in logs


def test_a_campaign_that_reaches_nobody(emulator: Emulator, run_dag: Callable[..., Run]) -> None:
    emulator.control("POST", "inbound", {"line": emulator.lines[0], "from": BOB, "text": "STOP"})
    run = run_dag("linq_campaign_with_replies", recipients=[BOB])
    assert run.xcom("summarize") == {"sent": 0, "replied": 0}


def test_a_retry_after_lost_answers_sends_nothing_again(
    emulator: Emulator, run_dag: Callable[..., Run], capfd: pytest.CaptureFixture[str]
) -> None:
    # The client itself tries five times: with as many answers lost, the first try of the task fails.
    emulator.control("POST", "faults", {"kind": "reset", "method": "POST", "when": "after", "count": 5})
    run = run_dag("send_with_retry", to=ANN, text=TEXT)
    assert run.state == "success"
    assert run.tries("send") == [2]
    posts = [row for row in emulator.requests_served() if row["method"] == "POST"]
    assert len(posts) == 6
    (row,) = emulator.ledger()
    result = run.xcom("send")
    assert (row["id"], row["text"]) == (result["message_id"], TEXT)
    assert row["idempotency_key"] == result["idempotency_key"]

    logs = "".join(capfd.readouterr())
    assert "no usable response" in logs
    for private in (TEXT, emulator.api_key):
        assert private not in logs


def test_what_no_retry_can_mend_is_tried_once(emulator: Emulator, run_dag: Callable[..., Run]) -> None:
    run = run_dag("send_with_retry", to=ANN, text="See https://shop.example")
    assert run.state == "failed"
    assert run.tries("send") == [1]
    assert not emulator.requests_served()


def test_a_message_into_a_chat_and_an_answer_in_reschedule_mode(
    emulator: Emulator, run_dag: Callable[..., Run]
) -> None:
    with answering(emulator, {ANN: "Fine by me"}):
        run = run_dag("answer_in_chat", to=ANN, text=TEXT)
    assert run.state == "success"
    opened, sent, answer = run.xcom("open"), run.xcom("send"), run.xcom("wait")
    assert sent["chat_id"] == opened["chat_id"]
    assert sent["idempotency_key"] != opened["idempotency_key"]
    assert answer["chat_id"] == opened["chat_id"]
    assert answer["from_handle"] == ANN
    assert answer["text"] == "Fine by me"
    assert [row["text"] for row in emulator.ledger()] == ["Hello", TEXT, "Fine by me"]


def test_a_campaign_over_the_shards_of_two_divisions(
    emulator: Emulator, run_dag: Callable[..., Run], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """All who are in one of them get the message, and the instance that ends last tells of the others."""
    run = run_dag("shards_of_two_divisions", folder=str(tmp_path))
    assert (run.state, sorted(run.states("send")), run.tries("send")) == ("failed", ["failed", "success"], [1, 1])
    rows = [json.loads(row) for row in (tmp_path / "outcomes.jsonl").read_text().splitlines()]
    statuses = Counter(row["status"] for row in rows)
    assert statuses["sent"] == len(emulator.ledger()) > 10
    # Airflow runs them in any order.
    shard, lacks = [("1/2", "2/2"), ("2/3", "1/3, 3/3")][run.states("send").index("failed")]
    error = f"got '{shard}' and no instance that sends to {statuses['pending']} recipients in {lacks}"
    assert error in "".join(capfd.readouterr())
