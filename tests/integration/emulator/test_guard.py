"""What protects a developer's machine: foreign pages, foreign hosts, endless bodies, ranges, and the token."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linq_emulator.testing import ControlError, Emulator
from tests.support.waiting import PATIENCE

ROOT = Path(__file__).parents[3]
LINE, ANN = "+12025550101", "+12025550150"
CONTROL = [("GET", "/_emulator/ledger"), ("POST", "/_emulator/reset"), ("GET", "/_media/x/y"), ("PUT", "/_upload/x")]


def raw(server, method, path, headers=(), body=None):
    """Status and body of one request with exactly these headers."""
    connection = http.client.HTTPConnection(urlsplit(server.base_url).netloc, timeout=60)
    try:
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in headers:
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def own_host(server):
    return urlsplit(server.base_url).netloc


def key(server):
    return "Authorization", f"Bearer {server.api_key}"


# --- foreign hosts and pages --------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "[::1]:{port}", "LOCALHOST", "127.0.0.1:7"])
def test_names_of_loopback_are_served(server, host):
    port = urlsplit(server.base_url).port
    headers = [("Host", host.format(port=port)), key(server)]
    assert raw(server, "GET", "/api/partner/v3/phone_numbers", headers)[0] == 200
    assert raw(server, "GET", "/_emulator/clock", headers)[0] == 200


@pytest.mark.parametrize(
    "host", ["evil.example:{port}", "localhost.evil.example", "127.0.0.1.evil.example", "", "[::1", "10.0.0.7:{port}"]
)
def test_any_other_name_is_refused_everywhere(server, host):
    headers = [("Host", host.format(port=urlsplit(server.base_url).port)), key(server)]
    for method, path in [("GET", "/api/partner/v3/phone_numbers"), *CONTROL]:
        status, body = raw(server, method, path, headers)
        assert (status, json.loads(body)["error"]["field"]) == (421, "Host")


def test_a_request_without_a_host_is_refused(server):
    assert raw(server, "GET", "/_emulator/clock")[0] in (400, 421)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Origin", "https://evil.example"),
        ("Origin", "null"),
        ("Origin", "http://127.0.0.1:3000"),
        ("Sec-Fetch-Site", "cross-site"),
    ],
)
@pytest.mark.parametrize(("method", "path"), CONTROL)
def test_foreign_pages_reach_neither_commands_nor_files(server, name, value, method, path):
    server.create(ANN)
    status, body = raw(server, method, path, [("Host", own_host(server)), (name, value)])
    assert (status, json.loads(body)["error"]["field"]) == (403, name)
    assert len(server.ledger()) == 1


def test_a_page_of_the_emulator_may_command_it(server):
    own = [("Host", own_host(server)), ("Origin", f"http://{own_host(server)}"), ("Sec-Fetch-Site", "same-origin")]
    headers = [*own, ("Content-Type", "application/json; charset=utf-8")]
    assert raw(server, "POST", "/_emulator/clock", headers, b'{"advance": 1}')[0] == 200


def test_a_proxy_may_serve_it_over_tls_if_it_has_a_token(server):
    """The page is then on https, and the proxy's request is for the same host. Without a token, it is a foreign one."""

    def answer(server, origin, token):
        named = [("Host", "emulator.example"), ("Origin", origin), ("Content-Type", "application/json")]
        return raw(server, "POST", "/_emulator/clock", [*named, ("Authorization", f"Bearer {token}")], b"{}")[0]

    with launch("--token", TOKEN, "--allow-host", "emulator.example") as process:
        try:
            guarded = Emulator(**json.loads(process.stdout.readline()))
            assert answer(guarded, "https://emulator.example", TOKEN) == 200
            assert answer(guarded, "https://emulator.example", "another") == 401
            for foreign in ("https://evil.example", "https://emulator.example:8443", "https://emulator.example.evil"):
                assert answer(guarded, foreign, TOKEN) == 403
        finally:
            process.terminate()
    own = [("Host", own_host(server)), ("Origin", f"https://{own_host(server)}"), ("Content-Type", "application/json")]
    assert raw(server, "POST", "/_emulator/clock", own, b"{}")[0] == 403


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", None])
def test_commands_are_json(server, media_type):
    headers = [("Host", own_host(server)), *([("Content-Type", media_type)] if media_type else [])]
    status, body = raw(server, "POST", "/_emulator/clock", headers, b'{"advance": 60}')
    assert (status, json.loads(body)["error"]["field"]) == (415, "Content-Type")
    assert server.control("GET", "clock")["now"] == "2026-11-21T10:00:00.000Z"


def test_a_file_is_never_shown_as_a_page(server):
    message = {"parts": [{"type": "media", "url": "https://files.example/page.html"}]}
    server.ok("POST", "/v3/chats", {"from": LINE, "to": [ANN], "message": message})
    chat = server.ok("GET", "/v3/chats")["chats"][0]
    [part] = server.ok("GET", f"/v3/chats/{chat['id']}/messages")["messages"][0]["parts"]
    card = server.ok("GET", "/v3/available_number")["vcf_url"]
    for url, media_type in ((part["url"], "text/html"), (card, "text/vcard")):
        response = server.session.get(url, timeout=300)
        assert response.headers["Content-Type"].startswith(media_type)
        assert response.headers["Content-Disposition"].startswith("attachment")
        assert response.headers["X-Content-Type-Options"] == "nosniff"


# --- bodies -------------------------------------------------------------------------------------------------------


def first_answer(server, head):
    """The status of the answer to a request whose body never comes."""
    address = urlsplit(server.base_url)
    with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
        connection.sendall(head.format(host=address.netloc).encode())
        return int(connection.recv(100).split()[1])


@pytest.mark.parametrize("length", ["Content-Length: 10", "Content-Length: 900000000", "Transfer-Encoding: chunked"])
def test_the_key_is_checked_before_the_body_is_read(server, length):
    head = "POST /api/partner/v3/chats HTTP/1.1\r\nHost: {host}\r\n" + length + "\r\n\r\n"
    assert first_answer(server, head) == 401


@pytest.mark.parametrize(
    ("path", "header"),
    [("/api/partner/v3/chats", "Authorization: Bearer {key}"), ("/_emulator/clock", "Content-Type: application/json")],
)
def test_a_body_that_is_too_long_is_refused_before_it_comes(server, path, header):
    head = f"POST {path} HTTP/1.1\r\nHost: {{host}}\r\n{header.format(key=server.api_key)}\r\n"
    assert first_answer(server, head + "Content-Length: 900000000\r\n\r\n") == 413


def test_a_body_without_a_length_is_bounded_too(server):
    pieces = (b" " * 65536 for _ in range(200))
    response = server.session.post(f"{server.base_url}/v3/chats", data=pieces, timeout=60)
    assert (response.status_code, response.json()["error"]["code"]) == (413, 1003)
    assert server.ok("GET", "/v3/phone_numbers")


def test_the_largest_valid_message_is_accepted(server):
    server.set_handle(ANN, services=["iMessage"])
    text, link = (
        {"type": "text", "value": "\N{GRINNING FACE}" * 10_000},
        {"type": "media", "url": "https://a.example/a.png"},
    )
    message = {"parts": [part for _ in range(40) for part in (text, link)]}
    body = json.dumps({"from": LINE, "to": [ANN], "message": message})
    assert len(body) > 4_000_000, "json.dumps escapes each character twice"
    headers = {"Content-Type": "application/json"}
    assert server.session.post(f"{server.base_url}/v3/chats", data=body, headers=headers, timeout=60).status_code == 201


def test_an_upload_has_the_size_that_was_announced(server):
    size = {"filename": "a.txt", "content_type": "text/plain", "size_bytes": 3}
    upload = server.ok("POST", "/v3/attachments", size)
    url, headers = upload["upload_url"], {"Content-Type": "text/plain"}
    assert server.session.put(url, data=b"four", headers=headers, timeout=300).status_code == 403
    assert server.session.put(url, data=iter([b"abc", b"def"]), headers=headers, timeout=300).status_code == 403
    assert server.session.put(url, data=b"abc", headers=headers, timeout=300).status_code == 200


@pytest.mark.parametrize("depth", [101, 1_000, 5_000, 100_000])
def test_a_body_that_is_nested_deeply_is_refused(server, depth):
    nested = "[" * depth + "]" * depth
    headers = {"Content-Type": "application/json"}
    for path, status in (("/v3/chats", 400), ("/v3/webhook-subscriptions", 400)):
        body = '{"from": "+12025550101", "x": ' + nested + "}"
        response = server.session.post(server.base_url + path, data=body, headers=headers, timeout=300)
        assert (response.status_code, response.json()["error"]["code"]) == (status, 1003)
    url = server.base_url.removesuffix("/api/partner") + "/_emulator/"
    for path, body in (("inbound", '{"from": "x", "parts": ' + nested + "}"), ("switches", '{"x": ' + nested + "}")):
        method = "PATCH" if path == "switches" else "POST"
        assert server.session.request(method, url + path, data=body, headers=headers, timeout=300).status_code == 400


def test_brackets_in_a_text_are_no_nesting(server):
    assert server.create(ANN, text='["{[\\"' * 500)["message"]


@pytest.mark.parametrize("app", [90, 97, 98, 99, 100])
def test_what_is_accepted_can_be_sent_again(server, app):
    """An app card holds any object. What surrounds it in a response is deeper than in the request."""
    nested = json.loads('{"a":' * app + "1" + "}" * app)
    card = {"bundle_id": "b", "name": "n", "team_id": "t", "more": nested}
    part = {"type": "imessage_app", "app": card, "layout": {"caption": "c"}}
    response = server.call("POST", "/v3/chats", {"from": LINE, "to": [ANN], "message": {"parts": [part]}})
    assert response.status_code in (201, 400)
    for chat in server.ok("GET", "/v3/chats")["chats"]:
        assert server.ok("GET", f"/v3/chats/{chat['id']}/messages")["messages"]


@pytest.mark.parametrize(
    "url", ["http://[::1", "https://[", "https://", "http://127.0.0.1:99999", "https://a b", "//x"]
)
def test_what_is_no_url_is_refused(server, url):
    target = {"target_url": url, "subscribed_events": ["message.sent"]}
    assert server.refused("POST", "/v3/webhook-subscriptions", target) == (400, 1005)
    message = {"parts": [{"type": "media", "url": url}]}
    assert server.refused("POST", "/v3/chats", {"from": LINE, "to": [ANN], "message": message}) == (400, 1005)


@pytest.mark.parametrize("name", ["a b", "x\r\ny", "\u00e9", "a:", "x" * 101])
def test_what_is_no_header_is_refused(server, name):
    target = {"target_url": "https://a.example", "subscribed_events": ["message.sent"], "routing_key_header": name}
    assert server.refused("POST", "/v3/webhook-subscriptions", target) == (400, 1005)


# --- ranges of commands -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("clock", {"advance": 1e300}, "advance"),
        ("clock", {"advance": -1}, "advance"),
        ("clock", {"now": "9999-12-31T23:59:59-05:00"}, "now"),
        ("clock", {"now": "0001-01-01T00:00:00+14:00"}, "now"),
        ("clock", {"speed": 1e300}, "speed"),
        ("inbound", {"line": LINE, "from": ANN, "text": "x", "sent_at": "0001-01-01T00:00:00Z"}, "sent_at"),
        ("faults", {"kind": "latency", "seconds": 1e300}, "seconds"),
        ("faults", {"kind": "latency", "seconds": -1}, "seconds"),
        ("faults", {"kind": "status", "status": 302}, "status"),
        ("faults", {"kind": "status", "status": 1000}, "status"),
        ("faults", {"kind": "status", "code": 10**30}, "code"),
        ("faults", {"kind": "status", "retry_after": 10**30}, "retry_after"),
        ("faults", {"kind": "status", "count": 0}, "count"),
        ("faults", {"kind": "status", "lasts": 0}, "lasts"),
        ("faults", {"kind": "status", "method": "BREW"}, "method"),
        ("faults", {"kind": "status", "path": "(?=a)"}, "path"),
        ("faults", {"kind": "status", "path": r"(a)\1"}, "path"),
        ("faults", {"kind": "status", "path": "((a{1000}){1000}){1000}"}, "path"),
        ("faults", {"kind": "status", "path": "a" * 1001}, "path"),
        ("seed", {"chats": 200_000, "messages_per_chat": 20}, "messages_per_chat"),
        ("seed", {"chats": 1, "messages": 2_000_001}, "messages"),
        ("seed", {"chats": 1, "messages": 2_000_000, "text_bytes": 10_000}, "text_bytes"),
        ("seed", {"chats": 1, "messages": 1, "lines": [LINE] * 1001}, "lines"),
    ],
)
def test_a_command_out_of_range_is_refused_and_breaks_nothing(server, path, body, field):
    assert server.wrong("POST", path, body)["field"] == field
    assert server.create(ANN)
    assert server.control("GET", "clock")["now"] == "2026-11-21T10:00:00.000Z"


def test_the_clock_ends_before_its_calendar(server):
    server.set_clock(now="2899-12-31T23:59:59Z")
    assert server.wrong("POST", "clock", {"advance": 2})["field"] == "advance"
    server.set_clock(freeze=False, speed=1_000_000)
    try:
        assert server.create(ANN)["message"]["created_at"] <= "2900-01-01T00:00:00.000Z"
    finally:
        server.set_clock(freeze=True, speed=1)


@pytest.mark.parametrize("pattern", ["(/?[a-z0-9_]*)*$", "(a+)+$", "(a|aa)+$", "^(.*a){20}$"])
def test_no_pattern_of_a_fault_stops_the_server(server, pattern):
    server.fault("status", path=pattern, method="GET")
    assert server.call("GET", "/v3/" + "a" * 3000 + "!").status_code in (404, 500)
    assert server.call("POST", "/v3/chats", {}).status_code == 400


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from([LINE, ANN, "\ud83d", "\x00"]),
    lambda value: st.lists(value, max_size=3) | st.dictionaries(st.text(max_size=5), value, max_size=3),
    max_leaves=6,
)
FIELDS = {
    "clock": ["freeze", "now", "advance", "speed"],
    "faults": [
        "kind",
        "path",
        "method",
        "probability",
        "count",
        "lasts",
        "clock",
        "when",
        "status",
        "code",
        "envelope",
    ],
    "inbound": ["from", "line", "text", "parts", "chat_id", "sent_at", "reconciled", "service", "reply_to"],
    "handles": ["handle", "services", "opted_out", "blocked", "location"],
    "lines": ["phone_number", "ineligible", "reputation", "retention_hours", "line_type"],
    "receipts": ["message_id", "status", "code"],
}


@settings(max_examples=60)
@given(
    command=st.sampled_from(sorted(FIELDS)).flatmap(
        lambda path: st.tuples(st.just(path), st.dictionaries(st.sampled_from(FIELDS[path]), JSON))
    )
)
def test_no_command_is_an_error_of_the_server(shared_server, command):
    path, body = command
    url = f"{shared_server.base_url.removesuffix('/api/partner')}/_emulator/{path}"
    headers = {"Content-Type": "application/json"}
    response = shared_server.session.post(url, data=json.dumps(body), headers=headers, timeout=300)
    assert response.status_code in (200, 400, 404)
    assert shared_server.control("GET", "clock")


# --- other addresses ----------------------------------------------------------------------------------------------

TOKEN = "a-token-of-this-test"


def launch(*options):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "linq_emulator", "--port", "0", *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


@pytest.mark.parametrize("host", ["0.0.0.0", "emulator.example"])
def test_other_addresses_need_a_token(host):
    with launch("--host", host) as process:
        stdout, stderr = process.communicate(timeout=PATIENCE)
    assert (process.returncode, stdout, len(stderr.splitlines())) == (2, "", 1)
    assert "--token" in stderr


@pytest.mark.parametrize("token", ["short", "with a space in it...."])
def test_a_weak_token_is_refused(token):
    with launch("--token", token) as process:
        _, stderr = process.communicate(timeout=PATIENCE)
    assert (process.returncode, len(stderr.splitlines())) == (2, 1)
    assert "--token" in stderr


def test_a_token_guards_the_commands_and_names_guard_the_rest():
    with launch("--host", "0.0.0.0", "--token", TOKEN, "--allow-host", "emulator.example") as process:
        try:
            address = json.loads(process.stdout.readline())
            assert TOKEN not in json.dumps(address)
            server = Emulator(**address)
            with pytest.raises(ControlError) as refused:
                server.ledger()
            assert refused.value.status == 401
            with pytest.raises(ControlError):
                Emulator(**address, token="another-token-of-it").reset()
            assert Emulator(**address, token=TOKEN).inbound(ANN, "hello")["id"]
            path = "/api/partner/v3/phone_numbers"
            statuses = {
                name: raw(server, "GET", path, [("Host", name), key(server)])[0]
                for name in ("emulator.example:8181", "localhost", "0.0.0.0", "evil.example")
            }
            assert statuses == {"emulator.example:8181": 200, "localhost": 200, "0.0.0.0": 421, "evil.example": 421}
        finally:
            process.terminate()
        stderr = process.stderr.read()
    assert len(stderr.splitlines()) == 1
    assert "0.0.0.0" in stderr
    assert TOKEN not in stderr


@pytest.mark.parametrize(
    "begin", [b"", b"Transfer-Encoding: chunked\r\n\r\n1;a=", b"Transfer-Encoding: chunked\r\n\r\n0\r\n"]
)
def test_what_is_no_body_and_has_no_end_is_cut_off(server, begin):
    head = (
        f"POST /api/partner/v3/chats HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {server.api_key}\r\n".encode()
    )
    with socket.create_connection(("127.0.0.1", urlsplit(server.base_url).port), 60) as connection:
        connection.sendall(head + begin + b"X-Long: ")
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            connection.sendall(b"x" * 30_000_000)
    assert server.ok("GET", "/v3/phone_numbers")
