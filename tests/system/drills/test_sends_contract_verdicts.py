"""One verdict on every answer: what is no word of the API settles nothing, and what was in doubt is looked up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.contract_events import Answer, Fate, first_sends, gateway, page, reads, refused, repeats, to
from tests.support.contract_server import LINES, ContractServer
from tests.support.contract_world import Chat
from tests.support.expectations import (
    HOUR,
    KEYS_FOR_HALF_AN_HOUR,
    MINUTE,
    OUTCOMES,
    campaign,
    campaign_is_true,
    nobody_got_two,
    recipients,
    rows_for,
    send,
    statuses,
)
from tests.support.task_child import Ending
from tests.support.task_process import Task

pytestmark = pytest.mark.usefixtures("workers")

Serve = Callable[..., ContractServer]
ANN = "ann@example.com"
PAGES = {"403": page(403), "404": page(404), "400": page(400), "429": page(429), "gateway": gateway(403)}


# Absence is what the API says, and nobody else.


LOOKS = {
    "lists, page": ("lists", page(404)),
    "messages, page": ("messages", page(404)),
    "messages, gateway": ("messages", gateway(404)),
    "messages, other code": ("messages", refused(404, 2019)),
}


@pytest.mark.parametrize(("of", "answer"), LOOKS.values(), ids=LOOKS)
def test_a_look_that_is_answered_by_a_404_shows_no_absence(
    serve: Serve, tmp_path: Path, of: str, answer: Answer
) -> None:
    """It is not "chat not found": so are reads of chats answered in the second try, when the keys are forgotten."""
    server = serve(key_lifetime=KEYS_FOR_HALF_AN_HOUR)
    rows = rows_for(10)
    task = campaign(server, tmp_path, rows)
    server.at("accepted", 5, task.kill)
    assert task.go().state == "killed"
    server.advance(45 * MINUTE)
    end = "/v3/chats" if of == "lists" else "/messages"
    server.rule(
        Fate(answer=answer, answer_refusals=True), lambda request: reads(request) and request.path.endswith(end)
    )
    ending = task.go()
    nobody_got_two(server)
    server.no_rules()
    if ending.state not in ("success", "failed"):
        ending = task.finish()
    campaign_is_true(server, ending, tmp_path / OUTCOMES, rows)


# What has no key.


def chat_with(server: ContractServer, person: str) -> Chat:
    return server.writes(person, LINES[0]).chat


def to_chat(server: ContractServer, folder: Path, kind: str, **more: Any) -> Task:
    files = {"voice_memo_url": "https://example.com/memo.m4a"} if kind == "memo" else {}
    return Task(server, folder, kind, {"chat_id": chat_with(server, ANN).id, **files}, retries=5, **more)


@pytest.mark.parametrize("kind", ["memo", "location"])
@pytest.mark.parametrize("hides", PAGES.values(), ids=PAGES)
def test_what_has_no_key_is_made_once_whatever_a_page_says(
    serve: Serve, tmp_path: Path, kind: str, hides: Answer
) -> None:
    server = serve()
    task = to_chat(server, tmp_path, kind)
    server.rule(Fate("now", hides))
    ending = task.finish()
    assert ending.state == "failed"
    server.no_rules()
    task.clear()
    task.finish()
    assert server.sent_to(kind).total() == 1


@pytest.mark.parametrize("kind", ["memo", "location"])
def test_what_has_no_key_is_made_again_after_the_api_has_refused_it(serve: Serve, tmp_path: Path, kind: str) -> None:
    server = serve()
    task = to_chat(server, tmp_path, kind)
    server.rule(Fate("never", refused(429, 1007, retry_after=1)), times=1)
    assert task.finish().state == "success"
    assert server.sent_to(kind).total() == 1


@pytest.mark.parametrize("kind", ["memo", "location"])
@pytest.mark.parametrize("answer", ["reset", "cut", "garbage", refused(502, 3004), page(502)])
def test_what_has_no_key_is_made_once_when_its_answer_is_lost(
    serve: Serve, tmp_path: Path, kind: str, answer: Any
) -> None:
    server = serve()
    task = to_chat(server, tmp_path, kind)
    server.rule(Fate("now", answer), times=1)
    assert task.finish().state == "failed"
    assert server.sent_to(kind).total() == 1


# Single sends.


@pytest.mark.parametrize("hides", PAGES.values(), ids=PAGES)
def test_a_page_does_not_free_a_send_for_another_line(serve: Serve, tmp_path: Path, hides: Answer) -> None:
    """The task is cleared with another line, where the platform does not know the key."""
    server = serve(key_scope="line")
    task = send(server, tmp_path, ANN, retries=1)
    server.rule(Fate("now", hides))
    assert task.finish().state == "failed"
    server.no_rules()
    task.clear()
    task.arguments["from_"] = LINES[1]
    ending = task.finish()
    assert server.sent_to().total() == 1
    assert ending.state == "failed" or ending.result["message_id"] == server.ledger[0].id


STOPPED = ["return", "skip", "fail"]


def is_no_false_refusal(server: ContractServer, ending: Ending) -> None:
    """Either it is told that the message was sent, or that it may have been."""
    nobody_got_two(server)
    if ending.state == "success":
        assert (ending.result["refused"], ending.result["message_id"]) == (None, server.ledger[0].id)
    else:
        assert ending.state in ("failed", "up_for_retry"), ending
        assert "sent" in ending.error, ending.error


@pytest.mark.parametrize("on_opt_out", STOPPED)
def test_a_send_was_read_and_answered_by_stop_before_its_retry(serve: Serve, tmp_path: Path, on_opt_out: str) -> None:
    server = serve()
    task = send(server, tmp_path, ANN, on_opt_out=on_opt_out)
    server.at("accepted", 1, task.kill)
    assert task.go().state == "killed"
    server.writes(ANN, LINES[0], "STOP")
    is_no_false_refusal(server, task.finish())


@pytest.mark.parametrize("on_opt_out", STOPPED)
def test_a_send_was_answered_by_stop_before_the_client_asks_again(
    serve: Serve, tmp_path: Path, on_opt_out: str
) -> None:
    server = serve()
    task = send(server, tmp_path, ANN, on_opt_out=on_opt_out)
    server.rule(Fate("now", refused(502, 3004)), times=1)
    server.at("answered", 1, lambda: server.writes(ANN, LINES[0], "STOP"))
    is_no_false_refusal(server, task.finish())


def test_a_campaign_was_answered_by_stop_before_it_asks_again(serve: Serve, tmp_path: Path) -> None:
    server = serve()
    rows = rows_for(20)
    lost = recipients(rows[:5])

    def stop() -> None:
        for row in rows[:5]:
            if server.sent_to()[frozenset({row["to"]})] and row["to"] not in server.opted_out:
                server.writes(row["to"], LINES[0], "STOP")

    server.rule(Fate("now", refused(502, 3004)), to(lost, first_sends))
    for nth in range(1, 21):
        server.at("answered", nth, stop, first_sends)
    task = campaign(server, tmp_path, rows)
    campaign_is_true(server, task.finish(), tmp_path / OUTCOMES, rows)
    assert {statuses(tmp_path)[people] for people in lost} == {"sent"}


@pytest.mark.parametrize("where", ["create", "send", "chat"])
def test_a_single_send_is_looked_up_when_its_key_may_be_forgotten(serve: Serve, tmp_path: Path, where: str) -> None:
    """Keys live for an hour, and the retry comes after two. Where the platform chooses the line, it chooses another."""
    server = serve(key_lifetime=HOUR, key_scope="line")
    task = send(server, tmp_path, ANN)
    if where != "create":
        task.operator = "send"
        del task.arguments["from_"]
        task.extra = {}
    if where == "chat":
        del task.arguments["to"]
        task.arguments["chat_id"] = chat_with(server, ANN).id
    server.at("accepted", 1, task.kill)
    assert task.go().state == "killed"
    server.advance(2 * HOUR)
    server.knobs.routed_to = lambda people: LINES[2]
    ending = task.finish()
    nobody_got_two(server)
    sent = next(row for row in server.ledger if row.from_line)
    assert ending.state == "success", ending
    assert ending.result["message_id"] == sent.id


def test_a_single_send_from_any_line_is_looked_up_at_once(serve: Serve, tmp_path: Path) -> None:
    """The platform looks for keys on a line, and chooses another one the second time."""
    server = serve(key_scope="line", list_lag=3)
    task = send(server, tmp_path, ANN)
    task.operator = "send"
    del task.arguments["from_"]
    server.knobs.routed_to = lambda people: LINES[0]
    server.at("accepted", 1, task.kill)
    assert task.go().state == "killed"
    server.knobs.routed_to = lambda people: LINES[1]
    server.advance(1)
    ending = task.finish(between=5 * MINUTE)
    nobody_got_two(server)
    assert ending.state == "failed" or ending.result["message_id"] == server.ledger[0].id


# Keys of the account.


def test_a_renewed_key_does_not_end_a_campaign(serve: Serve, tmp_path: Path) -> None:
    server = serve()
    rows = rows_for(40)
    task = campaign(server, tmp_path, rows)
    server.at("accepted", 15, lambda: task.renew_key("renewed-key"))
    ending = task.go()
    assert ending.state == "success", ending
    campaign_is_true(server, ending, tmp_path / OUTCOMES, rows)
    assert {request.api_key for request in server.posts} > {"renewed-key"}


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_renewed_key_does_not_end_a_wait(serve: Serve, tmp_path: Path, deferrable: bool) -> None:
    server = serve(delivered_after=None)
    waits = {"wait_for_delivery": "delivered", "poll_interval": 0.1, "delivery_timeout": HOUR}
    task = send(server, tmp_path, ANN, deferrable=deferrable, retries=0, **waits)

    def renew() -> None:
        task.renew_key("renewed-key")

    def arrive() -> None:
        server.knobs.delivered_after = 0

    server.at("received", 3, renew, lambda request: reads(request) and "/messages/" in request.path)
    server.at("received", 7, arrive, lambda request: reads(request) and "/messages/" in request.path)
    ending = task.finish()
    assert ending.state == "success", ending
    assert {request.api_key for request in server.requests} > {"renewed-key"}


def test_a_key_that_is_revoked_ends_a_campaign(serve: Serve, tmp_path: Path) -> None:
    """The connection has no other key, so no retry can help."""
    server = serve()
    task = campaign(server, tmp_path, rows_for(40))
    server.at("accepted", 15, server.api_keys.clear)
    ending = task.go()
    assert ending.state == "failed", ending
    assert server.sent_to().total() < 20


def test_pages_of_a_gateway_are_no_verdict_on_the_key(serve: Serve, tmp_path: Path) -> None:
    server = serve()
    rows = rows_for(40)
    task = campaign(server, tmp_path, rows)
    server.rule(Fate("never", page(401)), skip=12, times=2)
    server.rule(Fate("never", gateway(401)), repeats, times=1)
    ending = task.finish()
    assert ending.state == "success", ending
    campaign_is_true(server, ending, tmp_path / OUTCOMES, rows)
