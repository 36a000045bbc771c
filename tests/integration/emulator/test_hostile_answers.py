"""Answers that are not quite what the documents promise: odd text, odd dates, outages, cursors, pages, slow bytes."""

from __future__ import annotations

import concurrent.futures
import http.client
import json
import threading
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

import pytest
import requests

from tests.support.loopback_server import LoopbackServer
from tests.support.waiting import wait_until

LINE, ANN, BOB = "+12025550101", "+12025550150", "+12025550151"
HALF_EMOJI, NUL = "half an emoji \ud83d", "a\x00b"


def content(server, path, **query):
    """The bytes of a list that must succeed."""
    response = server.call("GET", path, params=query)
    assert response.status_code == 200
    return response.content


def messages_path(server):
    return f"/v3/chats/{server.ok('GET', '/v3/chats')['chats'][0]['id']}/messages"


# --- texts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "escape"), [(HALF_EMOJI, b"emoji \\ud83d"), (NUL, b"a\\u0000b"), ("\udc00\ud83d", b"\\udc00\\ud83d")]
)
def test_what_a_sender_wrote_is_served_as_an_escape(server, text, escape):
    message = server.inbound(ANN, text)
    path = messages_path(server)
    server.inbound(ANN, "a good \N{GRINNING FACE}")
    for body in (
        content(server, path),
        content(server, f"/v3/messages/{message['id']}"),
        content(server, f"/v3/messages/{message['id']}/thread"),
    ):
        assert escape in body
        body.decode()
    texts = [one["parts"][0]["value"] for one in json.loads(content(server, path))["messages"]]
    assert texts == ["a good \N{GRINNING FACE}", text]
    assert [one["text"] for one in server.ledger()] == [text, "a good \N{GRINNING FACE}"]
    assert server.edit_message(message["id"], f"{text}!")["parts"][0]["value"] == f"{text}!"


def test_the_api_accepts_no_half_of_a_character(server):
    body = json.dumps({"from": LINE, "to": [ANN], "message": {"parts": [{"type": "text", "value": HALF_EMOJI}]}})
    response = server.session.post(f"{server.base_url}/v3/chats", data=body, timeout=300)
    assert (response.status_code, response.json()["error"]["code"]) == (400, 1003)


def test_a_half_character_reaches_webhooks(server):
    bodies, came = [], threading.Event()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self):
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()
            came.set()

        def log_message(self, *arguments):
            pass

    with LoopbackServer(Receiver) as receiver:
        threading.Thread(target=receiver.serve_forever, daemon=True).start()
        target = {"target_url": receiver.origin, "subscribed_events": ["message.received"]}
        server.ok("POST", "/v3/webhook-subscriptions", target)
        server.inbound(ANN, HALF_EMOJI)
        assert came.wait(60)
        receiver.shutdown()
    assert json.loads(bodies[0])["data"]["parts"][0]["value"] == HALF_EMOJI
    assert server.webhook_deliveries()[0]["event_type"] == "message.received"


# --- faults in bodies -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "odd"),
    [
        ("bad_bytes", b'"value":"\xe9good"'),
        ("truncated_utf8", b'"value":"\xf0\x9f\x98good"'),
        ("control", b'"value":"\x01good"'),
        ("nul", b'"value":"\\u0000good"'),
        ("lone_surrogate", b'"value":"\\ud83dgood"'),
    ],
)
def test_a_malformed_text(server, body, odd):
    server.inbound(ANN, "good")
    path = messages_path(server)
    plain = content(server, path)
    assert server.fault("malformed", body=body, path="/messages$")["when"] == "after"
    broken = content(server, path)
    assert broken.count(odd) == 1
    assert broken.replace(odd, b'"value":"good"') == plain


def test_a_byte_order_mark(server):
    plain = content(server, "/v3/chats")
    server.fault("malformed", body="bom")
    assert content(server, "/v3/chats") == b"\xef\xbb\xbf" + plain


def test_a_malformed_name_of_a_chat_and_a_malformed_error(server):
    server.create(ANN)
    server.fault("malformed", body="lone_surrogate")
    assert b'"display_name":"\\ud83d+1202' in content(server, "/v3/chats")
    assert b'"message":"\\ud83d' in server.call("GET", "/v3/chats/7").content
    assert b'"id":"\\ud83d' in content(server, "/v3/phone_numbers"), "its first text, since it has no free one"
    assert server.call("DELETE", f"/v3/messages/{server.ledger()[0]['id']}").content == b""


def test_a_malformed_body_is_half_of_it_unless_it_is_said(server):
    whole = content(server, "/v3/phone_numbers")
    assert server.fault("malformed")["when"] == "before"
    assert content(server, "/v3/phone_numbers") == b"{"
    server.clear_faults()
    server.fault("malformed", when="after")
    assert content(server, "/v3/phone_numbers") == whole[: len(whole) // 2]


# --- slow bytes -----------------------------------------------------------------------------------------------------


def test_an_answer_that_trickles(server):
    whole = content(server, "/v3/chats")
    server.fault("trickle", seconds=0.01, path="^/v3/chats$", count=1)
    response = server.call("GET", "/v3/chats", stream=True)
    assert [*response.iter_content(1)] == [bytes([one]) for one in whole]
    assert content(server, "/v3/chats") == whole, "the connection goes on"


def test_a_trickle_holds_up_nobody(server):
    server.fault("trickle", seconds=600, path="^/v3/chats$")
    address = urlsplit(server.base_url)
    connection = http.client.HTTPConnection(address.netloc, timeout=60)
    connection.request("GET", f"{address.path}/v3/chats", headers={"Authorization": f"Bearer {server.api_key}"})
    response = connection.getresponse()
    assert response.status == 200, "the head comes whole"
    assert server.ok("GET", "/v3/phone_numbers")
    response.close()
    connection.close()
    assert server.faults()[0]["hits"] == 1


# --- outages --------------------------------------------------------------------------------------------------------


def test_an_outage_by_the_virtual_clock(server):
    server.fault("status", status=503, envelope=False, lasts=60)
    server.advance(3600)
    for _ in range(3):
        response = server.call("GET", "/v3/chats")
        assert (response.status_code, response.headers["Content-Type"]) == (503, "text/html; charset=utf-8")
        assert b"503 Service Unavailable" in response.content
        assert "X-Trace-ID" not in response.headers
    server.advance(59)
    assert server.call("POST", "/v3/chats", {}).status_code == 503, "writes, too"
    server.advance(1)
    assert server.ok("GET", "/v3/chats")
    assert server.faults()[0]["hits"] == 4


def test_an_outage_of_some_paths_with_resets(server):
    server.fault("reset", path="^/v3/chats", lasts=10)
    with pytest.raises(requests.exceptions.ConnectionError):
        server.call("GET", "/v3/chats")
    assert server.ok("GET", "/v3/phone_numbers")
    server.advance(10)
    assert server.ok("GET", "/v3/chats")


def test_an_outage_by_the_real_clock(server):
    server.fault("status", status=502, envelope=False, retry_after=7, lasts=0.5, clock="real")
    first = server.call("GET", "/v3/chats")
    assert (first.status_code, first.headers["Retry-After"]) == (502, "7")
    server.advance(3600)
    wait_until(lambda: server.call("GET", "/v3/chats").status_code != 502, "the outage is over")


def test_an_error_envelope_with_status_200(server):
    server.fault("status", status=200, code=3006)
    response = server.call("GET", "/v3/chats")
    assert response.status_code == 200
    assert (response.json()["success"], response.json()["error"]["code"]) == (False, 3006)


# --- cursors and pages ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["offset", "key"])
@pytest.mark.parametrize("empty_pages", [False, True])
def test_a_cursor_that_expires(server, kind, empty_pages):
    server.seed(7, messages_per_chat=1)
    server.set_switches(cursor_seconds=60, cursor=kind, empty_pages=empty_pages)
    assert len(server.walk("/v3/chats", "chats", limit=2)) == 7
    cursor = server.ok("GET", "/v3/chats", params={"limit": 2})["next_cursor"]
    server.advance(60)
    following = server.ok("GET", "/v3/chats", params={"limit": 2, "cursor": cursor})["next_cursor"]
    server.advance(1)
    assert server.refused("GET", f"/v3/chats?limit=2&cursor={cursor}") == (400, 1005)
    assert server.ok("GET", "/v3/chats", params={"limit": 2, "cursor": following}), "each has a time of its own"
    for wrong in ("2", ".", "2.", "2.x"):
        assert server.refused("GET", f"/v3/chats?cursor={wrong}") == (400, 1005)


def test_cursors_of_messages_and_threads_expire(server):
    first = server.inbound(ANN, "one")
    for number in range(3):
        server.inbound(ANN, f"{number}", reply_to=first["id"])
    server.set_switches(cursor_seconds=10)
    for path in (messages_path(server), f"/v3/messages/{first['id']}/thread"):
        assert len(server.walk(path, "messages", limit=2)) == 4
        cursor = server.ok("GET", path, params={"limit": 2})["next_cursor"]
        server.advance(11)
        assert server.refused("GET", f"{path}?cursor={cursor}") == (400, 1005)


def test_short_lists_in_pages(server):
    for number in range(3):
        server.set_line(f"+1202555017{number}")
        target = {"target_url": f"https://a.example/{number}", "subscribed_events": ["message.sent"]}
        server.ok("POST", "/v3/webhook-subscriptions", target)
    lists = {"/v3/phone_numbers": "phone_numbers", "/v3/webhook-subscriptions": "subscriptions"}
    whole = {path: server.ok("GET", path) for path in lists}
    assert all(list(body) == [lists[path]] for path, body in whole.items()), "without pages there is no next_cursor"
    server.set_switches(short_list_page_size=2, cursor_seconds=30)
    for path, name in lists.items():
        page = server.ok("GET", path)
        assert len(page[name]) == 2
        assert server.walk(path, name) == whole[path][name]
        server.advance(31)
        assert server.refused("GET", f"{path}?cursor={page['next_cursor']}") == (400, 1005)
    server.set_switches(short_list_page_size=5)
    assert server.ok("GET", "/v3/phone_numbers")["next_cursor"] is None, "a full last page"
    assert server.wrong("PATCH", "switches", {"short_list_page_size": 1.5})["field"] == "short_list_page_size"


# --- dates ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "date"),
    [
        ("imf", "Tue, 01 Dec 2026 08:05:09 GMT"),
        ("asctime", "Tue Dec  1 08:05:09 2026"),
        ("numeric_zone", "Tue, 01 Dec 2026 08:05:09 -0000"),
        ("none", None),
    ],
)
def test_forms_of_date(server, form, date):
    server.set_clock(now="2026-12-01T08:05:09Z")
    server.set_switches(date_form=form)
    assert server.call("GET", "/v3/chats").headers.get("Date") == date
    assert server.call("GET", "/v3/chats/7").headers.get("Date") == date, "errors, too"
    server.fault("status", status=503, envelope=False)
    assert server.call("GET", "/v3/chats").headers.get("Date") == date


@pytest.mark.parametrize(
    ("offset", "date"), [(3600.5, "Sat, 21 Nov 2026 11:00:00 GMT"), (-60, "Sat, 21 Nov 2026 09:59:00 GMT")]
)
def test_a_date_that_is_off(server, offset, date):
    server.set_switches(date_offset_seconds=offset)
    assert server.call("GET", "/v3/chats").headers["Date"] == date
    assert server.inbound(ANN, "x")["created_at"] == "2026-11-21T10:00:00.000Z"


def test_a_latency_and_a_trickle_together(server):
    server.fault("latency", seconds=0.01)
    server.fault("trickle", seconds=0)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        bodies = {
            *pool.map(
                lambda _: (
                    requests.get(
                        f"{server.base_url}/v3/chats", headers=dict(server.session.headers), timeout=60
                    ).content
                ),
                range(5),
            )
        }
    assert bodies == {b'{"chats":[],"next_cursor":null}'}
