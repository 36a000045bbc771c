"""The server that judges is judged: what it does with keys, late requests and lists, by plain HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests

from tests.support.contract_events import Fate, first_sends, page, refused
from tests.support.contract_server import API_KEY, LINES, ContractServer

Serve = Callable[..., ContractServer]
ANN, BEN = "ann@example.com", "ben@example.com"


def ask(server: ContractServer, method: str, path: str, **options: Any) -> requests.Response:
    headers = {"Authorization": f"Bearer {API_KEY}"}
    return requests.request(method, f"{server.base_url}{path}", headers=headers, timeout=300, **options)


def post(server: ContractServer, *people: str, line: str = LINES[0], key: str | None = "a-key") -> requests.Response:
    message = {"parts": [{"type": "text", "value": "Hi"}], "idempotency_key": key}
    return ask(server, "POST", "/v3/chats", json={"from": line, "to": [*people], "message": message})


def code(response: requests.Response) -> tuple[int, int]:
    return response.status_code, response.json()["error"]["code"]


@pytest.mark.parametrize(("scope", "messages"), [("account", 1), ("line", 2), ("chat", 3)])
def test_a_key_is_known_in_its_scope(serve: Serve, scope: str, messages: int) -> None:
    server = serve(key_scope=scope)
    for line, person in [(LINES[0], ANN), (LINES[0], ANN), (LINES[1], ANN), (LINES[0], BEN)]:
        assert post(server, person, line=line).status_code == 201
    assert len(server.ledger) == messages


def test_a_key_is_known_for_its_time(serve: Serve) -> None:
    server = serve(key_lifetime=60)
    first = post(server, ANN).json()
    server.advance(50)
    assert post(server, ANN).json()["chat"]["message"]["id"] == first["chat"]["message"]["id"]
    server.advance(20)
    assert post(server, ANN).json()["chat"]["message"]["id"] != first["chat"]["message"]["id"]


def test_what_is_put_off_is_accepted_later(serve: Serve) -> None:
    server = serve(key_under_way=2009, list_lag=5)
    server.rule(Fate(60.0, refused(504, 3005)), first_sends)
    assert code(post(server, ANN)) == (504, 3005)
    assert code(post(server, ANN)) == (409, 2009)
    server.ineligible.add(LINES[0])
    assert code(post(server, ANN)) == (403, 2027)
    server.advance(61)
    assert ask(server, "GET", "/v3/chats").json()["chats"] == []
    server.advance(5)
    (chat,) = ask(server, "GET", "/v3/chats", params={"from": LINES[0], "to": ANN}).json()["chats"]
    (message,) = ask(server, "GET", f"/v3/chats/{chat['id']}/messages").json()["messages"]
    assert message["created_at"].startswith("2026-03-02T10:01:00")
    assert [row.id for row in server.ledger] == [message["id"]]


def test_an_answer_is_hidden_but_a_refusal_is_not(serve: Serve) -> None:
    server = serve()
    server.opted_out.add(BEN)
    server.rule(Fate("now", page(404)))
    assert post(server, ANN).text.startswith("<html>")
    assert code(post(server, BEN, key="another")) == (403, 2024)
    assert [row.people for row in server.ledger] == [frozenset({ANN})]


@pytest.mark.parametrize("lost", ["reset", "cut", "garbage"])
def test_an_answer_is_lost(serve: Serve, lost: Any) -> None:
    server = serve()
    server.rule(Fate("now", lost), times=1)
    with pytest.raises(requests.RequestException):
        post(server, ANN).json()
    assert post(server, ANN).status_code == 201
    assert [request.answer for request in server.posts] == [lost, 201]
    assert len(server.ledger) == 1


def test_lists_have_pages(serve: Serve) -> None:
    server = serve()
    for index in range(45):
        post(server, f"person{index}@example.com", key=None)
    cursor, found = None, list[str]()
    while cursor or not found:
        listed = ask(server, "GET", "/v3/chats", params={"cursor": cursor}).json()
        found += [chat["id"] for chat in listed["chats"]]
        cursor = listed["next_cursor"]
    assert found == [chat.id for chat in server.chats][::-1]


def test_an_event_comes_before_the_answer(serve: Serve) -> None:
    server = serve()
    seen: list[Any] = []
    server.at("accepted", 2, lambda: seen.append([request.answer for request in server.posts]))
    post(server, ANN, key="one")
    post(server, ANN, key="one")
    post(server, ANN, key="two")
    assert seen == [[201, 201, "none"]]
