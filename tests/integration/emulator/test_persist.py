"""`--persist`: what a restart keeps, and which files it refuses."""

from __future__ import annotations

import base64
import hmac
import json
import os
import shutil
import signal
import stat
from pathlib import Path

import pytest

from linq_emulator.testing import EmulatorThread
from tests.integration.emulator.conftest import LINE, START, Server, ThreadedServer
from tests.support.waiting import wait_until

ANN, BOB = "+12025550150", "+12025550151"
SAMPLES = Path(__file__).parents[2] / "data" / "formats" / "emulator"


def shown(server):
    """All that the API and the ledger show, but for URLs, which have the port of the server."""
    chats = server.walk("/v3/chats", "chats")
    messages = [server.walk(f"/v3/chats/{chat['id']}/messages", "messages") for chat in chats]
    text = json.dumps([chats, messages, server.ledger(), server.ok("GET", "/v3/webhook-subscriptions")])
    return text.replace(server.base_url.removesuffix("/api/partner"), "")


def fill(server):
    """Something of each kind that changes the state."""
    server.set_handle(BOB, services=["SMS"])
    chat = server.create(ANN, text="first", idempotency_key="k1")
    server.send(chat["id"], "second", idempotency_key="k2")
    server.create(ANN, BOB, text="to a group")
    server.advance(60)
    answer = server.inbound(ANN, "Yes \ud83d \u0000 \N{GRINNING FACE}")
    server.react(chat["message"]["id"], ANN, "love")
    server.edit_message(answer["id"], "No")
    server.receive_poll(ANN, ["Friday", "Saturday"], line=LINE)
    server.inbound(BOB, "STOP")
    server.set_switches(message_order="oldest")
    size = {"filename": "a.png", "content_type": "image/png", "size_bytes": 4}
    upload = server.ok("POST", "/v3/attachments", size)
    content = b"\x89PNG"
    put = server.session.put(upload["upload_url"], data=content, headers=upload["required_headers"], timeout=300)
    assert put.ok
    part = {"type": "media", "attachment_id": upload["attachment_id"]}
    server.ok("POST", f"/v3/chats/{chat['id']}/messages", {"message": {"parts": [part]}})
    server.refused("POST", "/v3/chats", {"from": LINE, "to": ["x"], "message": {}})
    server.seed(3, messages=12, hours=1)
    return chat


def test_a_restart_shows_the_same(tmp_path):
    file = tmp_path / "emulator.jsonl"
    with ThreadedServer(persist=file, freeze=START) as server:
        chat = fill(server)
        before, now = shown(server), server.now()
    with ThreadedServer(persist=file, freeze="2026-12-01T00:00:00Z") as server:
        assert shown(server) == before
        assert server.now() == now
        again = server.create(ANN, text="first", idempotency_key="k1")
        assert again["message"]["id"] == chat["message"]["id"]
        assert server.refused("POST", "/v3/chats", _to(BOB)) == (403, 2024)
        assert server.switches()["message_order"] == "oldest"
        count = len(server.ledger())
        server.send(chat["id"], "after the restart")
        media = next(
            part
            for message in server.walk(f"/v3/chats/{chat['id']}/messages", "messages")
            for part in message["parts"] or ()
            if part["type"] == "media"
        )
        assert server.session.get(media["url"], timeout=300).content == b"\x89PNG"
        before = shown(server)
    with ThreadedServer(persist=file) as server:
        assert len(server.ledger()) == count + 1
        assert shown(server) == before


def _to(handle):
    return {"from": LINE, "to": [handle], "message": {"parts": [{"type": "text", "value": "x"}]}}


def test_what_was_under_way_goes_on(tmp_path):
    """Also after a kill, and with the clock that went on while nothing ran."""
    file = tmp_path / "emulator.jsonl"
    with Server(persist=file, speed=1, ephemeral_hours=1, switches={"delivery_seconds": 3600}) as server:
        message = server.create(ANN)["message"]
        server.inbound(ANN, "on a clock that runs")
        before = shown(server)
        os.kill(server.pid, signal.SIGKILL)
    with ThreadedServer(persist=file, ephemeral_hours=1, switches={"delivery_seconds": 3600}) as server:
        assert shown(server) == before
        assert server.ok("GET", f"/v3/messages/{message['id']}")["delivery_status"] == "pending"
        server.advance(minutes=20)
        assert server.ok("GET", f"/v3/messages/{message['id']}")["delivery_status"] == "queued"
        server.advance(hours=2)
        assert server.refused("GET", f"/v3/messages/{message['id']}") == (404, 2002)
        assert server.ledger()[0]["expired_at"]


def test_routing_tokens_are_kept_until_the_header_changes(tmp_path, receiver):
    file = tmp_path / "emulator.jsonl"
    wanted = {
        "target_url": receiver.url,
        "subscribed_events": ["message.received"],
        "routing_key_header": "X-Cluster",
    }

    def routed(server):
        """The token that the next delivery of the chat brings; the receiver answers with another one."""
        came = len(receiver.got)
        server.inbound(ANN, "hi")
        receiver.wait(came + 1)
        _wait_for_states(server, ["delivered"] * (came + 1))
        return {name.lower(): value for name, value in receiver.got[-1][0].items()}.get("x-cluster")

    with ThreadedServer(persist=file, freeze=START) as server:
        subscription = server.ok("POST", "/v3/webhook-subscriptions", wanted)
        receiver.headers = {"X-Cluster": "blue"}
        assert routed(server) is None
    with ThreadedServer(persist=file, freeze=START) as server:
        receiver.headers = {}
        assert routed(server) == "blue"
        server.ok("PUT", f"/v3/webhook-subscriptions/{subscription['id']}", {"routing_key_header": "X-Cluster"})
    with ThreadedServer(persist=file, freeze=START) as server:
        assert routed(server) is None


def test_a_webhook_that_was_not_delivered_is_delivered_after_the_restart(tmp_path, receiver):
    file = tmp_path / "emulator.jsonl"
    with ThreadedServer(persist=file, freeze=START) as server:
        wanted = {"target_url": receiver.url, "subscribed_events": ["message.received"]}
        subscription = server.ok("POST", "/v3/webhook-subscriptions", wanted)
        server.inbound(ANN, "one")
        _wait_for_states(server, ["delivered"])
        receiver.answers = [503]
        server.inbound(ANN, "two")
        wait_until(lambda: len(server.webhook_deliveries()[1]["attempts"]) == 1, "the second delivery was attempted")
    with ThreadedServer(persist=file, freeze=START) as server:
        _wait_for_states(server, ["delivered", "delivered"])
        attempts = [[attempt["status"] for attempt in delivery["attempts"]] for delivery in server.webhook_deliveries()]
        assert attempts == [[204], [503, 204]]
    events = [json.loads(body)["event_id"] for _, body in receiver.got]
    assert events[1] == events[2], "it is the same event"
    assert len(set(events)) == 2
    headers, body = receiver.got[-1]
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    key = base64.b64decode(subscription["signing_secret"].removeprefix("whsec_"))
    expected = base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
    assert headers["webhook-signature"] == f"v1,{expected}", "it is signed with the secret that was handed out"


def _wait_for_states(server, states):
    wait_until(lambda: [delivery["state"] for delivery in server.webhook_deliveries()] == states, f"they are {states}")


def test_a_reset_empties_the_file(tmp_path):
    file = tmp_path / "emulator.jsonl"
    with ThreadedServer(persist=file, freeze=START) as server:
        server.create(ANN)
        server.advance(60)
        server.reset()
        now = server.now()
        server.create(BOB, text="after the reset")
        before = shown(server)
    with ThreadedServer(persist=file) as server:
        assert shown(server) == before
        assert server.now() == now


def test_a_line_that_was_cut_off_is_left_out(tmp_path):
    file = tmp_path / "emulator.jsonl"
    with ThreadedServer(persist=file, freeze=START) as server:
        server.create(ANN)
        before = shown(server)
        server.create(BOB)
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:-1]) + lines[-1][:40])
    for _ in range(2):
        with ThreadedServer(persist=file, freeze=START) as server:
            assert shown(server) == before
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("length", [0, 1, 20])
def test_a_first_line_that_was_cut_off_is_written_again(tmp_path, length):
    file = tmp_path / "emulator.jsonl"
    with ThreadedServer(persist=file):
        first = file.read_bytes()
    file.write_bytes(first[:length])
    with ThreadedServer(persist=file):
        assert file.read_bytes().startswith(b'{"kind":"start",')


def test_a_disk_that_is_full_confirms_nothing_and_leaves_the_file_whole(tmp_path, monkeypatch):
    resource = pytest.importorskip("resource", reason="only POSIX bounds the size of a file")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")  # a compiled module that doesn't fit would be cut off, for good
    file = tmp_path / "emulator.jsonl"
    with Server(persist=file, freeze=START) as server:
        chat = server.create(ANN)
        before, content = shown(server), file.read_bytes()
        unbounded = resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (len(content) + 40, resource.RLIM_INFINITY))
        answer = server.call("POST", "/v3/chats", _to(BOB))
        assert (answer.status_code, "cannot be written" in answer.text) == (500, True)
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, unbounded)
        # There is room again. But a line without the one that is missing would give another state.
        text = {"message": {"parts": [{"type": "text", "value": "x"}]}}
        assert server.call("POST", f"/v3/chats/{chat['id']}/messages", text).status_code == 500
        assert file.read_bytes() == content
    with ThreadedServer(persist=file) as server:
        assert shown(server) == before


def test_a_key_outside_ascii_is_the_same_after_a_restart(tmp_path):
    file = tmp_path / "emulator.jsonl"
    headers = {"Idempotency-Key": "заказ-1".encode()}
    with ThreadedServer(persist=file, freeze=START) as server:
        server.ok("POST", "/v3/chats", _to(ANN), headers=headers)
        server.ok("POST", "/v3/messages", _to(ANN), headers=headers)
        before = shown(server)
    with ThreadedServer(persist=file) as server:
        assert shown(server) == before


def test_what_was_refused_at_the_door_stays_refused(tmp_path):
    """A request with a wrong key, or with too long a body, does nothing after a restart either."""
    file = tmp_path / "emulator.jsonl"
    with ThreadedServer(persist=file, freeze=START) as server:
        chat = server.create(ANN)
        server.receive_poll(ANN, ["Friday", "Saturday"], line=LINE)
        message, answer = f"/v3/messages/{chat['message']['id']}", server.inbound(ANN, "Yes")
        wrong = {"Authorization": "Bearer another-key"}
        assert server.refused("DELETE", message, headers=wrong) == (401, 2004)
        read = f"/v3/chats/{chat['id']}/read"
        assert server.call("POST", read, {"x": "x" * 9_000_000}).status_code == 413
        before = shown(server)
        assert answer["id"] in before
    with ThreadedServer(persist=file) as server:
        assert shown(server) == before


def refused(file, **options):
    with pytest.raises(RuntimeError, match="did not start") as caught:
        EmulatorThread(persist=file, **options)
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"no json\n", "line 1"),
        (b"a text without an end of line", "no file of --persist"),
        (b'{"kind":"stories"}', "no file of --persist"),
        (b"{}\n", "line 1"),
        (b'{"kind":"request","at":1}\n', "line 1"),
        (b'{"kind":"start","format":2}\n', "format 2"),
        (b'{"kind":"start","format":2}\n{"kind":"req', "format 2"),
    ],
)
def test_a_file_that_is_no_journal_is_refused_and_stays(tmp_path, content, named):
    file = tmp_path / "other"
    file.write_bytes(content)
    said = refused(file)
    assert named in said
    assert str(file) in said
    assert file.read_bytes() == content


def test_a_file_belongs_to_one_emulator_and_its_options(tmp_path):
    file = tmp_path / "emulator.jsonl"
    with ThreadedServer(persist=file, freeze=START) as server:
        server.create(ANN)
        assert "in use" in refused(file)
    assert "--line" in refused(file, lines=["+12025550109"])
    assert "--ephemeral-hours" in refused(file, ephemeral_hours=2)


@pytest.mark.parametrize("sample", sorted(SAMPLES.iterdir()), ids=lambda path: path.name)
def test_every_earlier_format_is_read(tmp_path, sample):
    """Fields and kinds of lines that this version does not know are passed over."""
    file = tmp_path / sample.name
    shutil.copy(sample, file)
    with ThreadedServer(persist=file) as server:
        messages = [(message["direction"], message["text"], message["idempotency_key"]) for message in server.ledger()]
        assert messages == [("outbound", "See you at ten", "k1"), ("inbound", "Yes", None)]
        assert server.create(ANN, text="See you at ten", idempotency_key="k1")
        assert len(server.ledger()) == 2
        [delivery] = server.webhook_deliveries()
        assert delivery["state"] == "delivered"
