"""Subscriptions and deliveries, to a receiver on loopback."""

from __future__ import annotations

import base64
import hmac
import json
import os
import signal
import socket
import threading
from contextlib import suppress
from datetime import datetime
from hashlib import sha256
from http.server import BaseHTTPRequestHandler
from itertools import pairwise

import pytest

from tests.integration.emulator.conftest import START
from tests.support.loopback_server import LoopbackServer
from tests.support.waiting import wait_until

LINE, OTHER_LINE, ANN, BOB, CAT = "+12025550101", "+12025550102", "+12025550150", "+12025550151", "+12025550152"


def subscribe(server, url, *events, **more):
    return server.ok(
        "POST", "/v3/webhook-subscriptions", {"target_url": url, "subscribed_events": list(events), **more}
    )


def settled(server):
    """The deliveries, once none is on its way."""

    def is_settled():
        return all(one["state"] != "pending" for one in server.webhook_deliveries())

    wait_until(is_settled, "no delivery is on its way")
    return server.webhook_deliveries()


def test_subscriptions(server):
    names = server.ok("GET", "/v3/webhook-events")["events"]
    assert len(names) == len(set(names)) == 75
    made = subscribe(server, "https://example.com/hook", "message.sent")
    assert base64.b64decode(made.pop("signing_secret").removeprefix("whsec_"))
    path = f"/v3/webhook-subscriptions/{made['id']}"
    assert server.ok("GET", path) == made
    assert server.ok("GET", "/v3/webhook-subscriptions")["subscriptions"] == [made]
    changed = server.ok("PUT", path, {"is_active": False, "phone_numbers": [LINE]})
    assert (changed["is_active"], changed["phone_numbers"], changed["target_url"]) == (
        False,
        [LINE],
        made["target_url"],
    )
    assert server.ok("PUT", path, {"phone_numbers": []})["phone_numbers"] is None
    assert server.call("DELETE", path).status_code == 204
    assert server.refused("GET", path) == (404, 2010)


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"target_url": "http://example.com/hook"}, (400, 1005)),
        ({"target_url": "nowhere"}, (400, 1005)),
        ({"target_url": None}, (400, 1001)),
        ({"target_url": "https://example.com/?version=2024-01-01"}, (400, 1005)),
        ({"subscribed_events": []}, (400, 1005)),
        ({"subscribed_events": ["message.whispered"]}, (400, 1005)),
        ({"phone_numbers": ["202"]}, (400, 1002)),
    ],
)
def test_refused_subscriptions(server, change, refusal):
    body = {"target_url": "https://example.com/hook", "subscribed_events": ["message.sent"]} | change
    assert server.refused("POST", "/v3/webhook-subscriptions", body) == refusal


def test_a_target_url_is_used_once(server):
    subscribe(server, "https://example.com/hook", "message.sent")
    body = {"target_url": "https://example.com/hook", "subscribed_events": ["message.sent"]}
    assert server.refused("POST", "/v3/webhook-subscriptions", body) == (409, 2015)
    server.set_switches(duplicate_target_url="allowed")
    assert server.ok("POST", "/v3/webhook-subscriptions", body)


def test_both_signatures_and_the_envelope(server, receiver):
    made = subscribe(server, receiver.url, "message.sent")
    sent = server.call("POST", "/v3/chats", {"from": LINE, "to": [ANN], "message": text("hi", idempotency_key="k")})
    server.advance(60)
    event = receiver.wait(1)[0]
    headers, body = receiver.got[0]
    headers = {name.lower(): value for name, value in headers.items()}
    identifier, stamp = headers["webhook-id"], headers["webhook-timestamp"]
    key = base64.b64decode(made["signing_secret"].removeprefix("whsec_"))
    signed = hmac.new(key, f"{identifier}.{stamp}.".encode() + body, sha256).digest()
    assert headers["webhook-signature"] == "v1," + base64.b64encode(signed).decode()
    legacy = hmac.new(made["signing_secret"].encode(), f"{stamp}.".encode() + body, sha256).hexdigest()
    assert headers["x-webhook-signature"] == legacy
    assert headers["x-webhook-event"] == event["event_type"] == "message.sent"
    assert headers["x-webhook-subscription-id"] == made["id"]
    assert identifier == event["event_id"]
    assert event["created_at"] == "2026-11-21T10:00:01.000Z", "sent one second after acceptance"
    assert stamp == headers["x-webhook-timestamp"] == "1795255201"
    assert event["trace_id"] == sent.headers["X-Trace-ID"]
    assert (event["api_version"], event["webhook_version"]) == ("v3", "2026-02-03")
    data = event["data"]
    assert (data["direction"], data["sender_handle"]["handle"], data["idempotency_key"]) == ("outbound", LINE, "k")
    assert data["chat"]["id"] == sent.json()["chat"]["id"]
    assert "reactions" not in data["parts"][0]


def text(value, **more):
    return {"parts": [{"type": "text", "value": value}], **more}


def test_the_older_version_lacks_edits(server, receiver):
    subscribe(server, f"{receiver.url}?version=2025-01-01", "message.received", "message.edited")
    inbound = server.inbound(ANN, "helo")
    server.edit_message(inbound["id"], "hello")
    event = receiver.wait(1)[0]
    assert event["webhook_version"] == "2025-01-01"
    assert (event["data"]["is_from_me"], event["data"]["message"]["parts"][0]["value"]) == (False, "helo")
    assert event["data"]["from_handle"]["handle"] == ANN


def test_a_line_without_retention_keeps_nothing(server, receiver):
    server.set_line(LINE, zero_retention=True)
    subscribe(server, receiver.url, "message.received", "message.sent", "message.edited")
    chat = server.create(ANN, text="secret", idempotency_key="k")
    sent = f"/v3/messages/{chat['message']['id']}"
    assert chat["message"]["parts"][0]["value"] == "secret"
    assert server.ok("PATCH", sent, {"text": "secret edit"})["parts"][0]["value"] == "secret edit"
    inbound = server.inbound(ANN, "secret")
    server.advance(60)
    for path in (sent, f"{sent}/thread", f"/v3/messages/{inbound['id']}"):
        assert server.refused("GET", path) == (404, 2002)
    assert server.ok("GET", f"/v3/chats/{chat['id']}/messages")["messages"] == []
    assert server.create(ANN, idempotency_key="k")["message"]["id"] == chat["message"]["id"]
    assert server.call("DELETE", sent).status_code == 204
    assert [one["text"] for one in server.ledger()] == ["secret edit", "secret"]
    events = {event["event_type"]: event["data"] for event in receiver.wait(3)}
    assert all(data["zero_retention"] and "secret" not in json.dumps(data) for data in events.values())
    assert (events["message.received"]["parts"], events["message.sent"]["parts"]) == ([], [])
    server.set_line(LINE, zero_retention=False)
    kept = server.send(chat["id"], "kept")["id"]
    assert [one["id"] for one in server.ok("GET", f"/v3/chats/{chat['id']}/messages")["messages"]] == [kept]


def test_every_kind_of_event(server, receiver):
    names = server.ok("GET", "/v3/webhook-events")["events"]
    subscribe(server, receiver.url, *(name for name in names if not name.startswith("webhook_subscription.")))
    server.set_switches(read_share=1, group_update_seconds=0)
    chat = server.create(ANN)
    server.advance(60)
    message = chat["message"]["id"]
    server.ok("PATCH", f"/v3/messages/{message}", {"text": "edited"})
    for operation in ("add", "remove"):
        server.ok("POST", f"/v3/messages/{message}/reactions", {"operation": operation, "type": "love"})
    server.report_receipt(message, "failed", code=4002)
    server.inbound(ANN, "hi")
    server.set_typing(chat["id"], ANN)
    server.set_typing(chat["id"], ANN, started=False)
    for place in ({"longitude": 1, "latitude": 2}, {"longitude": 2, "latitude": 2}, None):
        server.set_handle(ANN, location=place)
    server.set_line(LINE, reputation="CRITICAL")
    group = server.create(ANN, BOB)["id"]
    server.ok("PUT", f"/v3/chats/{group}", {"display_name": "x", "group_chat_icon": "https://example.com/i.png"})
    server.ok("POST", f"/v3/chats/{group}/participants", {"handle": CAT})
    server.ok("DELETE", f"/v3/chats/{group}/participants", {"handle": CAT})
    wanted = [
        "chat.created", "message.sent", "message.delivered", "message.read", "message.edited", "reaction.added",
        "reaction.removed", "message.failed", "message.received", "chat.typing_indicator.started",
        "chat.typing_indicator.stopped", "location.sharing.started", "location.sharing.stopped",
        "phone_number.status_updated", "chat.created", "chat.group_name_updated", "chat.group_icon_updated",
        "participant.added", "participant.removed",
    ]  # fmt: skip
    deliveries = settled(server)
    assert [one["event_type"] for one in deliveries] == wanted
    assert sorted(event["event_type"] for event in receiver.wait(len(wanted))) == sorted(wanted)
    failed = next(json.loads(one["body"]) for one in deliveries if one["event_type"] == "message.failed")
    assert (failed["data"]["code"], failed["data"]["message_id"]) == (4002, message)


def test_an_update_that_fails(server, receiver):
    subscribe(server, receiver.url, "chat.group_name_update_failed")
    group = server.create(ANN, BOB, CAT)["id"]
    server.ok("POST", f"/v3/chats/{group}/leave")
    server.ok("PUT", f"/v3/chats/{group}", {"display_name": "x"})
    server.advance(2)
    assert receiver.wait(1)[0]["data"]["chat_id"] == group


def test_filters(server, receiver):
    subscribe(server, receiver.url, "message.received", phone_numbers=[OTHER_LINE])
    server.inbound(ANN, "hi")
    server.inbound(ANN, "this one", line=OTHER_LINE)
    assert receiver.wait(1)[0]["data"]["chat"]["owner_handle"]["handle"] == OTHER_LINE
    assert len(settled(server)) == 1


def attempts(server):
    return server.webhook_deliveries()[0]["attempts"]


def until(server, count):
    wait_until(lambda: len(attempts(server)) >= count, f"there are {count} attempts")
    return attempts(server)


@pytest.mark.parametrize("answer", [500, 503, 429])
def test_retries_are_on_the_virtual_clock(server, receiver, answer):
    subscribe(server, receiver.url, "message.received")
    receiver.answers = [answer, answer]
    server.inbound(ANN, "hi")
    assert len(until(server, 1)) == 1
    server.advance(4)
    assert len(attempts(server)) == 1
    server.advance(1)
    assert len(until(server, 2)) == 2
    server.advance(10)
    assert [(one["at"][14:19], one["status"]) for one in until(server, 3)] == [
        ("00:00", answer),
        ("00:05", answer),
        ("00:15", 204),
    ]
    assert settled(server)[0]["state"] == "delivered"
    assert len({json.loads(body)["event_id"] for _, body in receiver.got}) == 1


@pytest.mark.parametrize(("schedule", "tries", "last"), [("exponential", 10, 1800), ("six", 6, 60)])
def test_the_end_of_retries(server, receiver, schedule, tries, last):
    server.set_switches(webhook_retries=schedule)
    subscribe(server, receiver.url, "message.received")
    receiver.answers = [500] * 20
    server.inbound(ANN, "hi")
    server.advance(4000)
    delivery = settled(server)[0]
    assert (delivery["state"], len(delivery["attempts"])) == ("failed", tries)
    minutes, seconds = divmod(last, 60)
    assert delivery["attempts"][-1]["at"][14:19] == f"{minutes:02d}:{seconds:02d}"


def test_ten_retries_up_to_a_fifth_early_or_late(server, receiver):
    server.set_switches(webhook_retries="ten")
    subscribe(server, receiver.url, "message.received")
    receiver.answers = [500] * 20
    server.inbound(ANN, "hi")
    server.advance(4000)
    delivery = settled(server)[0]
    times = [datetime.fromisoformat(one["at"].replace("Z", "+00:00")).timestamp() for one in delivery["attempts"]]
    shares = [
        (second - first) / gap
        for (first, second), gap in zip(pairwise(times), (2, 4, 8, 16, 32, 64, 128, 256, 512, 600), strict=True)
    ]
    assert delivery["state"] == "failed"
    assert all(0.799 < share < 1.201 for share in shares)
    assert len({round(share, 2) for share in shares}) > 5, "each gap has a jitter of its own"


def test_other_refusals_are_final_and_a_dead_host_is_not(server, receiver):
    subscribe(server, receiver.url, "message.received")
    receiver.answers = [404]
    server.inbound(ANN, "hi")
    assert [one["state"] for one in settled(server)] == ["failed"]
    receiver.stop()
    server.inbound(ANN, "hi")
    tried = wait_until(lambda: server.webhook_deliveries()[1]["attempts"], "it was tried")
    assert tried[0]["status"] is None
    receiver.__init__()


def test_nothing_leaves_the_machine(server):
    subscribe(server, "https://example.com/hook", "message.received")
    server.inbound(ANN, "hi")
    delivery = server.webhook_deliveries()[0]
    assert (delivery["state"], delivery["attempts"]) == ("undeliverable", [])
    server.advance(4000)
    assert server.webhook_deliveries()[0]["attempts"] == [], "nor is a host without an address tried again"


def test_affinity(server, receiver):
    subscribe(server, receiver.url, "message.received", routing_key_header="X-Cluster")
    receiver.headers = {"X-Cluster": "blue"}
    first = server.inbound(ANN, "hi")
    receiver.wait(1)
    settled(server)
    server.inbound(ANN, "hi")
    receiver.wait(2)
    headers = [{name.lower(): value for name, value in one.items()} for one, _ in receiver.got]
    assert [one["linq-chat-id"] for one in headers] == [first["chat_id"]] * 2
    assert [one.get("x-cluster") for one in headers] == [None, "blue"]


class HangingReceiver:
    """It takes connections and answers none."""

    def __init__(self):
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=300)
        self._socket.setblocking(False)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/"
        self.taken = []

    def take(self):
        """Take all connections that have come; how many there are now. Attempts end by themselves after ten seconds."""
        with suppress(BlockingIOError):
            while True:
                self.taken.append(self._socket.accept()[0])
        return sum(map(self._is_open, self.taken))

    def _is_open(self, connection):
        connection.setblocking(False)
        try:
            while connection.recv(65536):
                pass
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def release(self):
        """End all connections, and take none any more."""
        for one in (*self.taken, self._socket):
            one.close()


@pytest.fixture
def hanging():
    receiver = HangingReceiver()
    yield receiver
    receiver.release()


def send_together(server, count):
    """Send messages whose events come in one moment: an attempt ends after ten seconds, also if others begin later."""
    for number in range(count):
        server.create(f"person{number}@example.com")
    server.advance(60)


def test_a_receiver_that_hangs_holds_up_nothing(server, receiver, hanging):
    """The attempts for it are bounded, those for others go on, and what waits is attempted when it has ended."""
    subscribe(server, hanging.url, "message.sent")
    subscribe(server, receiver.url, "message.sent")
    send_together(server, 110)
    wait_until(lambda: hanging.take() >= 100, "100 attempts are under way")
    assert hanging.take() <= 100
    receiver.wait(110)
    hanging.release()
    stuck = [one for one in server.webhook_deliveries() if one["target_url"] == hanging.url]

    def are_attempted():
        return all(one["attempts"] for one in server.webhook_deliveries() if one["target_url"] == hanging.url)

    assert len(stuck) == 110
    wait_until(are_attempted, "each was attempted")


def test_a_reset_ends_what_is_under_way(server, receiver, hanging):
    """What fails only now is not attempted again."""
    subscribe(server, hanging.url, "message.received")
    server.inbound(ANN, "x")
    wait_until(lambda: hanging.take() == 1, "the attempt is under way")
    server.reset()
    [connection] = hanging.taken
    with suppress(OSError):
        connection.sendall(b"HTTP/1.1 503 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    for number in range(3):
        subscribe(server, f"{receiver.url}?number={number}", "message.received")
        server.inbound(ANN, "x")
        server.advance(60)
    receiver.wait(6)
    hanging.take()
    assert hanging.taken == [connection]


def test_it_ends_while_many_deliveries_wait(start, hanging):
    server = start(switches={"webhook_retries": "ten"}, freeze=START)
    subscribe(server, hanging.url, "message.sent")
    send_together(server, 150)
    wait_until(lambda: hanging.take() >= 100, "the attempts are under way")
    os.kill(server.pid, signal.SIGTERM)

    def ending():
        try:
            server.check_running()
        except RuntimeError as error:
            return str(error)
        return None

    assert "exit code 0" in wait_until(ending, "it has ended")


def test_connections_outlive_a_reset(server):
    """Those that nobody uses any more would be left open."""
    connections = []

    class Keeping(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            connections.append(self.client_address)
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response_only(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

    with LoopbackServer(Keeping) as receiver:
        thread = threading.Thread(target=receiver.serve_forever, args=(0.02,))
        thread.start()
        try:
            # One that nobody uses for five seconds is closed, so on a busy machine this may need several.
            for _ in range(100):
                subscribe(server, receiver.origin, "message.received")
                server.inbound(ANN, "x")
                assert [one["state"] for one in settled(server)] == ["delivered"]
                server.reset()
                if len(set(connections)) < len(connections):
                    return
        finally:
            receiver.shutdown()
            thread.join()
    raise AssertionError("each delivery had a connection of its own")
