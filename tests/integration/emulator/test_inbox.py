"""The inbox without a browser: its files, what protects them, what it reads, and how it hears of changes."""

from __future__ import annotations

import json
import re
import threading

import pytest
import requests

from linq_emulator.testing import ControlError
from tests.integration.emulator.conftest import LINE
from tests.integration.emulator.test_cli import launch
from tests.integration.emulator.test_guard import own_host, raw
from tests.support.waiting import wait_until

OTHER_LINE, ANN, BOB = "+12025550102", "+12025550150", "+12025550151"


def origin(server):
    return server.base_url.removesuffix("/api/partner")


def view(server, **query):
    return server.control("GET", "inbox", **query)


# --- files --------------------------------------------------------------------------------------------------------


def test_the_page_and_all_that_it_names_are_served_from_here(server):
    assert server.inbox == f"{origin(server)}/"
    page = requests.get(server.inbox, timeout=60)
    named = set(re.findall(r'(?:src|href)="([^"]+)"', page.text))
    assert named, "it has styles and a script"
    todo, seen = list(named), {}
    while todo:
        path = todo.pop()
        if path in seen:
            continue
        assert path.startswith("/_inbox/"), f"{path} is of this server"
        seen[path] = requests.get(origin(server) + path, timeout=60)
        assert seen[path].status_code == 200, path
        todo += [f"/_inbox/{name}" for name in re.findall(r'from "\./([^"]+)"', seen[path].text)]
    types = {path.rpartition(".")[2]: response.headers["Content-Type"].split(";")[0] for path, response in seen.items()}
    assert types == {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


def test_no_text_can_become_a_script(server):
    """Scripts come from files only, and no file has a way to make markup of a text."""
    page = requests.get(server.inbox, timeout=60)
    policy = dict(rule.split(" ", 1) for rule in page.headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert policy["frame-ancestors"] == "'none'"
    assert not re.search(r"<script(?![^>]+src=)|<style|\son\w+=|style=", page.text)
    main = requests.get(f"{origin(server)}/_inbox/main.js", timeout=60)
    assert main.headers["X-Content-Type-Options"] == "nosniff"


def test_another_page_may_link_to_the_inbox_and_do_nothing_else(server):
    foreign = [("Host", own_host(server)), ("Origin", "https://evil.example"), ("Sec-Fetch-Site", "cross-site")]
    assert raw(server, "GET", "/", foreign)[0] == 200
    for path in ("/_emulator/inbox", "/_emulator/inbox/events", "/_emulator/messages/latest?to=x", "/_inbox/main.js"):
        assert raw(server, "GET", path, foreign)[0] == 403, path
    assert raw(server, "GET", "/", [("Host", "evil.example")])[0] == 421


def test_it_can_be_switched_off():
    with launch("--port", "0", "--no-ui") as process:
        try:
            printed = json.loads(process.stdout.readline())
            base = printed["base_url"].removesuffix("/api/partner")
            statuses = [requests.get(base + path, timeout=60).status_code for path in ("/", "/_emulator/inbox")]
            clock = requests.get(f"{base}/_emulator/clock", timeout=60)
        finally:
            process.terminate()
    assert printed["inbox"] is None
    assert statuses == [404, 404]
    assert clock.ok


def test_with_a_token_the_page_is_empty_until_it_is_given():
    token = "a-token-of-sixteen-or-more"
    with launch("--port", "0", "--token", token) as process:
        try:
            base = json.loads(process.stdout.readline())["inbox"]
            reads = (
                "_emulator/inbox",
                "_emulator/inbox/events",
                "_emulator/inbox/settings",
                "_emulator/messages/wait?to=x",
            )
            without = [requests.get(base + path, timeout=60).status_code for path in reads]
            given = requests.get(base + reads[0], headers={"Authorization": f"Bearer {token}"}, timeout=60)
            page = requests.get(base, timeout=60)
        finally:
            process.terminate()
    assert without == [401] * 4
    assert given.json()["chats"] == []
    assert page.ok
    assert token not in page.text


# --- what it reads ------------------------------------------------------------------------------------------------


def test_chats_are_in_the_order_of_activity(server):
    ann = server.create(ANN, text="first")
    server.advance(60)
    server.create(BOB, text="second", line=OTHER_LINE)
    server.advance(60)
    server.inbound(ANN, "STOP")
    seen = view(server)
    assert [chat["name"] for chat in seen["chats"]] == [ANN, BOB]
    assert seen["chats"][0]["last"] == {"text": "STOP", "outbound": False, "status": "received", "gone": False}
    assert seen["chats"][0]["opted_out"]
    assert [line["chats"] for line in seen["lines"]] == [1, 1]
    assert [chat["name"] for chat in view(server, line=OTHER_LINE)["chats"]] == [BOB]
    assert len(view(server, chats=1)["chats"]) == 1
    assert view(server, chats=1)["total_chats"] == 2
    assert view(server, chat=ann["id"])["conversation"]["chat"]["name"] == ANN
    assert view(server, chat="none")["conversation"] is None


def test_a_conversation_is_read_in_windows_and_has_what_is_gone(server):
    server.set_line(LINE, retention_hours=1)
    chat = server.create(ANN, text="0")["id"]
    for number in range(1, 6):
        server.send(chat, str(number))
    deleted = server.ledger()[1]["id"]
    server.ok("DELETE", f"/v3/messages/{deleted}")
    server.advance(hours=2)
    server.inbound(ANN, "6")

    def texts(**window):
        conversation = view(server, chat=chat, **window)["conversation"]
        return conversation["first"], [message["parts"][0]["value"] for message in conversation["messages"]]

    assert texts() == (0, ["0", "1", "2", "3", "4", "5", "6"])
    assert texts(messages=2) == (5, ["5", "6"])
    assert texts(first=1, messages=3) == (1, ["1", "2", "3"])
    assert texts(first=90) == (7, [])
    messages = view(server, chat=chat)["conversation"]["messages"]
    assert [bool(message["expired_at"]) for message in messages] == [True, False, True, True, True, True, False]
    assert messages[1]["deleted_at"]
    assert messages[6]["expires_at"] - messages[6]["created_at"] == 3_600_000


@pytest.mark.parametrize("query", [{"chats": 0}, {"chats": "x"}, {"first": -1}, {"messages": 501}])
def test_a_wrong_window_is_refused(server, query):
    with pytest.raises(ControlError) as refused:
        view(server, **query)
    assert (refused.value.status, refused.value.field) == (400, next(iter(query)))


@pytest.mark.parametrize("text", ["tulips", "TULIPS \N{WHITE FLOWER}", "order-77", "5550151", BOB])
def test_the_search_finds_texts_handles_and_keys(server, text):
    server.create(ANN, text="roses", idempotency_key="order-76")
    wanted = server.create(BOB, text="Tulips \N{WHITE FLOWER}", idempotency_key="Order-77")["message"]["id"]
    for words in (text, wanted):
        found = server.control("GET", "inbox/search", q=words)
        assert [message["id"] for message in found["found"]] == [wanted]
        assert found["is_complete"]
    assert server.control("GET", "inbox/search", q=" ")["found"] == []


def test_a_message_shows_its_request_the_uses_of_its_key_and_its_deliveries(server, receiver):
    wanted = {"target_url": receiver.url, "subscribed_events": ["message.sent", "message.received"]}
    server.ok("POST", "/v3/webhook-subscriptions", wanted)
    chat = server.create(ANN, text="x", idempotency_key="k")
    server.create(ANN, text="x", idempotency_key="k")
    server.advance(5)
    receiver.wait(1)
    answer = server.inbound(ANN, "an answer to it", reply_to=chat["message"]["id"])
    receiver.wait(2)
    shown = server.control("GET", f"inbox/messages/{chat['message']['id']}")
    assert (shown["request"]["method"], shown["request"]["path"], shown["request"]["status"]) == (
        "POST",
        "/v3/chats",
        201,
    )
    assert json.loads(shown["request"]["body"])["message"]["idempotency_key"] == "k"
    assert json.loads(shown["request"]["answer"])["chat"]["id"] == chat["id"]
    assert server.api_key not in json.dumps(shown)
    assert [use["status"] for use in shown["key_uses"]] == [201]
    assert [delivery["event_type"] for delivery in shown["deliveries"]] == ["message.sent"]
    conversation = view(server, chat=chat["id"])["conversation"]
    assert [message["key_uses"] for message in conversation["messages"]] == [1, 0]
    received = server.control("GET", f"inbox/messages/{answer['id']}")
    assert received["request"] is None
    assert [delivery["event_type"] for delivery in received["deliveries"]] == ["message.received"]


def test_a_failure_says_its_code(server):
    chat = server.create(ANN)
    server.report_receipt(chat["message"]["id"], "failed", code=4005)
    [message] = view(server, chat=chat["id"])["conversation"]["messages"]
    assert (message["status"], message["failure_code"]) == ("failed", 4005)


def test_a_reset_empties_it(server):
    chat = server.create(ANN)["id"]
    assert view(server, chat=chat)["conversation"]["total"] == 1
    server.reset()
    assert view(server, chat=chat)["conversation"] is None
    assert view(server)["chats"] == []
    other = server.create(BOB)["id"]
    assert view(server, chat=other)["conversation"]["total"] == 1


# --- changes ------------------------------------------------------------------------------------------------------


class Events:
    """The stream of changes, read line by line."""

    def __init__(self, server):
        self.response = requests.get(f"{origin(server)}/_emulator/inbox/events", stream=True, timeout=60)
        self.lines = self.response.iter_lines()

    def next(self):
        """The number of the next change."""
        comments = 0
        for line in self.lines:
            if line.startswith(b"data: "):
                return json.loads(line.removeprefix(b"data: "))["change"]
            comments += line.startswith(b":")
            assert comments < 5, "for more than a minute, the stream had nothing but its heartbeat"
        raise AssertionError("the stream has ended")


def test_whoever_follows_hears_of_each_change(server):
    events = Events(server)
    assert events.response.headers["Content-Type"].startswith("text/event-stream")
    last = events.next()
    for change in (
        lambda: server.create(ANN),
        lambda: server.inbound(ANN, "x"),
        lambda: server.advance(60),
        lambda: server.fault("latency", seconds=0),
        lambda: server.set_switches(cursor="key"),
        lambda: server.reset(),
    ):
        change()
        number = events.next()
        assert number > last
        last = number
    events.response.close()


def test_streams_are_bounded_and_a_closed_one_makes_room(server):
    streams = [Events(server) for _ in range(100)]
    refused = requests.get(f"{origin(server)}/_emulator/inbox/events", timeout=60)
    assert (refused.status_code, refused.json()["error"]["field"]) == (503, "events")
    assert "100" in refused.json()["error"]["rule"]
    streams.pop().response.close()

    def has_room():
        with Events(server).response as response:
            return response.ok

    wait_until(has_room, "there is room for another stream")
    for events in streams:
        events.response.close()


def test_a_read_is_no_change(server):
    server.create(ANN)
    before = view(server)["change"]
    server.ok("GET", "/v3/chats")
    server.ledger()
    assert view(server)["change"] == before


# --- tests that wait for a message --------------------------------------------------------------------------------


def test_the_latest_message_to_somebody(server):
    assert server.latest_message(ANN) is None
    server.create(ANN, text="one")
    server.create(BOB, text="two")
    server.create(ANN, BOB, text="three")
    assert server.latest_message(ANN)["text"] == "three"
    assert server.latest_message(LINE) is None
    server.inbound(ANN, "four")
    assert server.latest_message(LINE)["text"] == "four"
    with pytest.raises(ControlError, match="to"):
        server.control("GET", "messages/latest")


def test_a_test_waits_for_a_message(server):
    first = server.create(ANN, text="first")["message"]
    assert server.wait_for_message(ANN)["text"] == "first", "it is there already"
    found = []
    waiting = threading.Thread(target=lambda: found.append(server.wait_for_message(ANN, after=first["id"])))
    waiting.start()
    server.create(BOB, text="to somebody else")
    server.create(ANN, text="second")
    waiting.join(60)
    assert [message["text"] for message in found] == ["second"]


def test_a_wait_ends(server):
    server.create(BOB)
    with pytest.raises(TimeoutError, match="0.05 seconds"):
        server.wait_for_message(ANN, timeout=0.05)
    with pytest.raises(ControlError) as refused:
        server.wait_for_message(ANN, after="nothing")
    assert (refused.value.status, refused.value.field) == (400, "after")


def test_a_wait_outlives_a_reset(server):
    found = []
    waiting = threading.Thread(target=lambda: found.append(server.wait_for_message(ANN)))
    server.create(BOB)
    waiting.start()
    server.reset()
    server.create(ANN, text="after the reset")
    waiting.join(60)
    assert [message["text"] for message in found] == ["after the reset"]


# --- files of persons ---------------------------------------------------------------------------------------------


def test_a_person_sends_a_file(server):
    content = b"\x89PNG picture"
    stored = server.add_file("gate.png", "image/png", content)
    message = server.inbound(ANN, parts=[{"type": "media", "attachment_id": stored}])
    [part] = message["parts"]
    assert (part["filename"], part["mime_type"], part["size_bytes"]) == ("gate.png", "image/png", len(content))
    assert requests.get(part["url"], timeout=60).content == content


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"filename": "", "content_type": "image/png", "content": ""}, "filename"),
        ({"filename": "a.exe", "content_type": "application/x-msdownload", "content": ""}, "content_type"),
        ({"filename": "a.png", "content_type": "image/png", "content": "?"}, "content"),
    ],
)
def test_a_wrong_file_is_refused(server, body, field):
    assert server.wrong("POST", "files", body)["field"] == field
