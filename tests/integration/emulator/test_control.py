"""The control API: seeds, faults, ledger, request log, reset, and how it refuses wrong commands."""

from __future__ import annotations

import http.client
import json
import re
import threading
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from linq_emulator.testing import ControlError
from tests.support.waiting import PATIENCE, wait_until

LINE, ANN, BOB = "+12025550101", "+12025550150", "+12025550151"
DOCS = Path(__file__).parents[3] / "docs" / "reference" / "emulator.md"


def text(value, **more):
    return {"parts": [{"type": "text", "value": value}], **more}


# --- switches ---------------------------------------------------------------------------------------------------


def documented_defaults():
    """Name and default of each switch in the table of the docs."""
    table = DOCS.read_text().split("## Switches")[1].split("## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| .*? \| (.*?) \| .* \|$", table, re.MULTILINE)
    return {name: json.loads(default) if re.match(r"true|false|\d", default) else default for name, default in rows}


def test_switches(server):
    assert server.switches() == documented_defaults()
    assert server.set_switches(cursor="key")["cursor"] == "key"
    for wrong in (
        {"nope": 1},
        {"cursor": "sideways"},
        {"empty_pages": "yes"},
        {"read_share": 2},
        {"edit_status": True},
    ):
        assert server.wrong("PATCH", "switches", {"chat_order": "oldest", **wrong})["field"] == next(iter(wrong))
    assert server.switches()["chat_order"] == "newest", "all or nothing"


# --- seed -------------------------------------------------------------------------------------------------------

SEED = {
    "chats": 12,
    "messages": 100,
    "hours": 5,
    "inbound_share": 0.5,
    "groups_share": 0.3,
    "text_bytes": 40,
    "seed": 9,
}


def test_a_seed_is_repeatable_and_has_the_requested_shares(server):
    assert server.control("POST", "seed", SEED)["messages"] == 100
    first = server.ledger()
    server.restart()
    server.control("POST", "seed", SEED)
    assert server.ledger() == first
    assert all(len(line["text"]) == 40 for line in first)
    assert {line["line"] for line in first} == {LINE, "+12025550102"}
    assert 20 < sum(line["direction"] == "inbound" for line in first) < 80
    assert min(line["created_at"] for line in first) >= "2026-11-21T05:00"
    assert max(line["created_at"] for line in first) <= "2026-11-21T10:00:00.000Z"
    server.control("POST", "seed", SEED)
    assert len({line["id"] for line in server.ledger()}) == 200
    assert len(server.walk("/v3/chats", "chats", limit=100)) == 24


def test_a_seed_on_more_lines(server):
    assert len(server.control("POST", "seed", {"chats": 5, "messages_per_chat": 1, "lines": 5})["lines"]) == 5
    assert len(server.ok("GET", "/v3/phone_numbers")["phone_numbers"]) == 5
    assert server.control("POST", "seed", {"chats": 1, "messages": 1, "lines": ["+12025550177"], "warm": True})


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "chats"),
        ({"chats": 0, "messages": 1}, "chats"),
        ({"chats": 1}, "messages"),
        ({"chats": 1, "messages": 1, "messages_per_chat": 1}, "messages"),
        ({"chats": 1, "messages": 1, "inbound_share": 1.5}, "inbound_share"),
        ({"chats": 1, "messages": 1, "colour": "red"}, "colour"),
        ({"chats": 1, "messages": 1, "lines": ["7"]}, "lines"),
    ],
)
def test_wrong_seeds(server, body, field):
    assert server.wrong("POST", "seed", body)["field"] == field


# --- faults -----------------------------------------------------------------------------------------------------


def test_a_status_fault(server):
    fault = {
        "kind": "status",
        "path": "^/v3/chats$",
        "method": "get",
        "count": 2,
        "status": 429,
        "code": 1007,
        "retry_after": 7,
    }
    server.control("POST", "faults", fault)
    for _ in range(2):
        answer = server.call("GET", "/v3/chats")
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")
    assert server.ok("GET", "/v3/chats")
    assert server.faults()[0]["hits"] == 2


def send_with_fault(server, chat, when, kind):
    server.control("POST", "faults", {"kind": kind, "path": "/messages$", "count": 1, "when": when})
    return server.call("POST", f"/v3/chats/{chat}/messages", {"message": text("x", idempotency_key=f"{kind}{when}")})


@pytest.mark.parametrize(("when", "accepted"), [("before", 0), ("after", 1)])
def test_faults_before_and_after_acceptance(server, when, accepted):
    chat = server.create(ANN)["id"]
    for number, kind in enumerate(["status", "malformed"], 1):
        answer = send_with_fault(server, chat, when, kind)
        assert (answer.status_code == 500) is (kind == "status")
        if kind == "malformed":
            with pytest.raises(requests.exceptions.JSONDecodeError):
                answer.json()
        assert len(server.ledger()) == 1 + number * accepted
    for number, kind in enumerate(["reset", "truncate"], 3):
        with pytest.raises((requests.exceptions.ConnectionError, requests.exceptions.ChunkedEncodingError)):
            send_with_fault(server, chat, when, kind)
        assert len(server.ledger()) == 1 + number * accepted
    again = {"message": text("x", idempotency_key=f"reset{when}")}
    server.ok("POST", f"/v3/chats/{chat}/messages", again)
    assert len(server.ledger()) == 1 + 4 * accepted + (1 - accepted)
    statuses = [one["status"] for one in server.requests_served() if one["fault"]]
    assert statuses[0] == 500
    assert statuses[2] is None


def test_a_truncated_list_promises_more_than_it_sends(server):
    server.create(ANN)
    server.control("POST", "faults", {"kind": "truncate", "when": "after"})
    with server.call("GET", "/v3/chats", stream=True) as answer:
        promised = int(answer.headers["Content-Length"])
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            _ = answer.content
    assert promised > 100


def test_latency_makes_a_request_wait(server):
    server.fault("latency", seconds=0.2)
    began = time.monotonic()
    server.ok("GET", "/v3/chats")
    assert time.monotonic() - began >= 0.2


def test_latency_holds_up_nobody_else(server):
    server.fault("latency", path="^/v3/phone_numbers$", seconds=600)
    address = urlsplit(server.base_url)
    with closing(http.client.HTTPConnection(address.netloc)) as slow:
        slow.request("GET", f"{address.path}/v3/phone_numbers", headers={"Authorization": f"Bearer {server.api_key}"})
        wait_until(lambda: server.faults()[0]["hits"], "the slow request has come")
        assert server.ok("GET", "/v3/chats") == {"chats": [], "next_cursor": None}


def test_a_probability(server):
    server.control("POST", "faults", {"kind": "status", "probability": 0.5})
    statuses = [server.call("GET", "/v3/chats").status_code for _ in range(60)]
    assert 10 < statuses.count(500) < 50


def test_faults_are_removed(server):
    first = server.control("POST", "faults", {"kind": "status"})["id"]
    second = server.control("POST", "faults", {"kind": "reset"})["id"]
    assert [one["id"] for one in server.control("DELETE", f"faults/{first}")["faults"]] == [second]
    assert server.control("DELETE", "faults") == {"faults": []}
    assert server.ok("GET", "/v3/chats")
    assert server.wrong("POST", "faults", {"kind": "gremlin"})["field"] == "kind"
    assert server.wrong("POST", "faults", {"kind": "status", "path": "("})["field"] == "path"
    for missing in ("7", "x", "9" * 5000):
        with pytest.raises(ControlError, match="fault_id"):
            server.control("DELETE", f"faults/{missing}")


# --- ledger and logs ----------------------------------------------------------------------------------------------


def test_the_ledger_keeps_everything(server):
    chat = server.create(ANN, text="one", idempotency_key="k")
    server.inbound(ANN, "two")
    server.ok("PATCH", f"/v3/messages/{chat['message']['id']}", {"text": "uno"})
    server.ok("POST", f"/v3/messages/{chat['message']['id']}/reactions", {"operation": "add", "type": "like"})
    first, second = server.ledger()
    assert (first["direction"], first["from"], first["to"], first["line"]) == ("outbound", LINE, [ANN], LINE)
    assert (first["text"], first["idempotency_key"], first["chat_id"]) == ("uno", "k", chat["id"])
    assert [one["type"] for one in first["reactions"]] == ["like"]
    assert (second["direction"], second["from"], second["to"], second["text"]) == ("inbound", ANN, [LINE], "two")


def test_requests_are_counted(server):
    chat = server.create(ANN)["id"]
    for _ in range(3):
        server.call("GET", f"/v3/chats/{chat}", params={"x": "1"})
    server.call("GET", "/v3/chats/7")
    log = server.requests_served()
    assert [(one["method"], one["status"]) for one in log] == [("POST", 201), *[("GET", 200)] * 3, ("GET", 400)]
    assert (log[1]["path"], log[1]["query"], log[1]["at"]) == (f"/v3/chats/{chat}", "x=1", "2026-11-21T10:00:00.000Z")
    summary = server.request_summary()
    assert {(one["method"], one["route"], one["status"]): one["count"] for one in summary} == {
        ("POST", "/v3/chats", 201): 1,
        ("GET", "/v3/chats/{chat_id}", 200): 3,
        ("GET", "/v3/chats/{chat_id}", 400): 1,
    }


def test_reset_forgets_everything_but_the_time(server):
    server.create(ANN)
    server.set_line("+12025550177")
    server.control("POST", "faults", {"kind": "reset", "path": "never"})
    server.set_switches(cursor="key")
    server.advance(60)
    now = server.control("POST", "reset")["now"]
    assert now == "2026-11-21T10:01:00.000Z"
    assert server.ok("GET", "/v3/chats")["chats"] == server.ledger() == []
    assert len(server.ok("GET", "/v3/phone_numbers")["phone_numbers"]) == 2
    assert server.control("GET", "faults") == {"faults": []}
    assert server.switches()["cursor"] == "offset"


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_reset_ends_the_requests_that_are_under_way(server, when):
    """They would be carried out, or logged, in a later test."""
    server.fault("latency", method="POST", when=when, seconds=600)
    sent = []

    def send():
        with pytest.raises(requests.ConnectionError):
            server.call("POST", "/v3/chats", {"from": LINE, "to": [ANN], "message": text("x")})
        sent.append(True)

    sender = threading.Thread(target=send)
    sender.start()
    wait_until(lambda: server.faults()[0]["hits"], "the request is held")
    server.reset()
    sender.join(PATIENCE)
    assert sent == [True]
    server.wait_until_idle(timeout=0)
    assert server.requests_served() == server.ledger() == []


@pytest.mark.parametrize("sender", ["262966", "729", "ACME Bank"])
def test_senders_that_cannot_be_written_to(server, sender):
    inbound = server.inbound(sender, "Your code is 1234")
    assert (inbound["from_handle"]["handle"], inbound["service"]) == (sender, "SMS")
    assert [chat["id"] for chat in server.ok("GET", "/v3/chats", params={"to": sender})["chats"]] == [
        inbound["chat_id"]
    ]
    body = {"from": LINE, "to": [sender], "message": {"parts": [{"type": "text", "value": "hi"}]}}
    assert server.refused("POST", "/v3/chats", body) == (400, 1002)
    server.ok("POST", "/v3/blocked_handles", {"handle": sender})
    assert server.inbound(sender, "again") == {"dropped": True}


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("inbound", {"from": ANN, "text": "x"}, "line"),
        ("inbound", {"line": LINE, "from": "(ann)", "text": "x"}, "from"),
        ("inbound", {"line": LINE, "from": ANN}, "text"),
        ("inbound", {"line": LINE, "from": ANN, "text": "x", "sent_at": "2027-01-01T00:00:00Z"}, "sent_at"),
        ("inbound", {"line": LINE, "from": ANN, "text": ""}, "body"),
        ("inbound", {"line": LINE, "from": ANN, "text": "x", "colour": 1}, "colour"),
        ("handles", {"handle": "12"}, "handle"),
        ("handles", {"handle": ANN, "services": "Pigeon"}, "services"),
        ("handles", {"handle": ANN, "location": {"longitude": 200, "latitude": 0}}, "location.longitude"),
        ("lines", {"phone_number": "7"}, "phone_number"),
        ("lines", {"phone_number": LINE, "retention_hours": 25}, "retention_hours"),
        ("receipts", {"status": "read"}, "message_id"),
        ("clock", {"freeze": "yes"}, "freeze"),
        ("clock", {"now": "soon"}, "now"),
    ],
)
def test_wrong_commands_name_the_field(server, path, body, field):
    assert server.wrong("POST", path, body)["field"] == field


def test_chat_health(server):
    chat = server.create(ANN)["id"]
    server.set_chat_health(chat, "AT_RISK")
    assert server.ok("GET", f"/v3/chats/{chat}")["health_status"]["status"] == "AT_RISK"
