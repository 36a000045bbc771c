"""The one request path: retries, time-outs, redirects, and files."""

from __future__ import annotations

import io
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timezone
from http.server import ThreadingHTTPServer
from typing import ClassVar

import pytest

from linq_client import (
    APIConnectionError,
    AuthenticationError,
    InvalidRequestError,
    LinqClient,
    LinqError,
    NotFoundError,
    RateLimitedError,
    ServerError,
    SettingsError,
)
from tests.support.emulator_process import Emulator
from tests.support.scripted_server import ANN, KEY, OK, Handler, Response, client_of, serving


@pytest.mark.parametrize(
    "failure",
    [
        (500, {}, b""),
        (503, {}, b"<html>bad gateway</html>"),
        (408, {}, b"{}"),
        (429, {"Retry-After": "0"}, b"{}"),
        (409, {}, b'{"error": {"code": 2009}}'),
        (200, {}, b"<html>log in</html>"),
        (200, {}, b'{"phone_numbers": ['),
        (200, {"Content-Length": "999"}, b'{"phone_numbers": ['),
        (200, {"Content-Length": "21, 22"}, b'{"phone_numbers": []}'),
        (200, {}, b""),
        (200, {}, b"{}"),
        (200, {}, b'{"success": false, "error": {"code": 3006}}'),
        (200, {}, b'{"phone_numbers": {}}'),
        (204, {}, b""),
        (404, {}, b'{"error": {"code": 2007}}'),
    ],
)
def test_a_read_is_retried(failure: tuple[int, dict[str, str], bytes]) -> None:
    with serving(failure, OK) as server, client_of(server) as client:
        assert client.phone_numbers.list() == []
        assert len(server.seen) == 2


@pytest.mark.parametrize(("status", "code"), [(400, 1005), (401, 2004), (403, 2005), (404, 2001), (409, 2015)])
def test_what_no_retry_can_fix_is_raised_immediately(status: int, code: int) -> None:
    body = b'{"error": {"code": %d}}' % code
    with serving((status, {}, body), OK) as server, client_of(server) as client:
        with pytest.raises(LinqError) as caught:
            client.phone_numbers.list()
        assert (caught.value.status, caught.value.code) == (status, code)
        assert len(server.seen) == 1


def test_a_send_is_retried_with_the_same_key(emulator: Emulator) -> None:
    """The API takes the message in, and its response is lost: the retry must not send again."""
    with LinqClient(emulator.api_key, base_url=emulator.base_url) as client:
        chat = client.chats.create(emulator.lines[0], ANN, "Hi")
        for kind in ("reset", "truncate", "malformed", "status"):
            fault = {"kind": kind, "path": "/messages$", "method": "POST", "count": 1, "when": "after"}
            emulator.control("POST", "faults", fault | ({"status": 502} if kind == "status" else {}))
            client.messages.send(chat.id, f"Only once, {kind}")
        fault = {"kind": "reset", "path": "/v3/chats$", "method": "POST", "count": 1, "when": "after"}
        emulator.control("POST", "faults", fault)
        client.chats.create(emulator.lines[0], "+12025550122", "Only once, new chat")
    texts = [row["text"] for row in emulator.ledger()]
    assert len(texts) == len(set(texts)) == 6


def test_the_key_of_a_send_that_failed_is_known(emulator: Emulator) -> None:
    with LinqClient(emulator.api_key, base_url=emulator.base_url, max_retries=0) as client:
        chat = client.chats.create(emulator.lines[0], ANN, "Hi")
        emulator.control("POST", "faults", {"kind": "reset", "path": "/messages$", "count": 1, "when": "after"})
        with pytest.raises(APIConnectionError) as caught:
            client.messages.send(chat.id, "Once")
        client.messages.send(chat.id, {"parts": ["Once"], "idempotency_key": caught.value.idempotency_key})
    assert [row["text"] for row in emulator.ledger()].count("Once") == 1


def test_a_delete_whose_response_was_lost_is_done(emulator: Emulator) -> None:
    with LinqClient(emulator.api_key, base_url=emulator.base_url) as client:
        sent = client.chats.create(emulator.lines[0], ANN, "Hi").message.id
        emulator.control("POST", "faults", {"kind": "reset", "path": "/messages/", "count": 1, "when": "after"})
        client.messages.delete(sent)
        with pytest.raises(NotFoundError):
            client.messages.delete(sent)


def test_what_may_not_be_repeated_is_not_retried(emulator: Emulator) -> None:
    with LinqClient(emulator.api_key, base_url=emulator.base_url) as client:
        chat = client.chats.create(emulator.lines[0], ANN, "Hi")
        memo = client.attachments.upload(b"0" * 999, filename="memo.m4a", content_type="audio/x-m4a")
        emulator.control("POST", "faults", {"kind": "reset", "path": "/voicememo$", "count": 1, "when": "after"})
        with pytest.raises(APIConnectionError):
            client.chats.send_voice_memo(chat.id, attachment_id=memo)
    assert [row["path"].endswith("/voicememo") for row in emulator.requests_served()].count(True) == 1


@pytest.mark.parametrize("header", ["1", "Sun, 01 Mar 2026 12:00:01 GMT"], ids=["seconds", "date"])
def test_retry_after_is_waited_for(header: str) -> None:
    limited = (429, {"Retry-After": header, "Date": "Sun, 01 Mar 2026 12:00:00 GMT"}, b"{}")
    with serving(limited, OK) as server, client_of(server) as client:
        started = time.monotonic()
        client.phone_numbers.list()
        assert 0.9 < time.monotonic() - started < 60


@pytest.mark.parametrize("header", ["-1", "nan", "soon"])
def test_a_retry_after_that_is_none_is_passed_over(header: str) -> None:
    with serving((429, {"Retry-After": header}, b"{}"), OK) as server, client_of(server) as client:
        assert client.phone_numbers.list() == []


def test_retry_after_may_stand_in_the_body_alone() -> None:
    with serving((429, {}, b'{"error": {"code": 1007, "retry_after": 3600}}'), OK) as server:
        with client_of(server) as client, pytest.raises(RateLimitedError) as caught:
            client.phone_numbers.list()
    assert caught.value.retry_after == 3600


def test_a_retry_after_date_is_measured_on_the_servers_clock() -> None:
    headers = {"Date": "Sun, 01 Mar 2020 12:00:00 GMT", "Retry-After": "Sun, 01 Mar 2020 13:00:00 GMT"}

    class OldServer(Handler):
        def send_header(self, keyword: str, value: str) -> None:
            if keyword != "Date" or value == headers["Date"]:
                super().send_header(keyword, value)

    with serving((429, headers, b"{}")) as server, client_of(server) as client:
        server.RequestHandlerClass = OldServer
        with pytest.raises(RateLimitedError) as caught:
            client.phone_numbers.list()
        assert caught.value.retry_after == 3600
        assert client.server_time == datetime(2020, 3, 1, 12, tzinfo=timezone.utc)


class Timeless(Handler):
    def send_header(self, keyword: str, value: str) -> None:
        if keyword != "Date":
            super().send_header(keyword, value)


def test_a_response_without_a_time_is_none() -> None:
    """The clock of the worker is no stand-in for the server's: bookmarks are made of it."""
    with serving(OK) as server, LinqClient(KEY, base_url=server.url, max_retries=0) as client:
        server.RequestHandlerClass = Timeless
        with pytest.raises(APIConnectionError, match="names no time"):
            client.phone_numbers.list()


@pytest.mark.parametrize(("status", "kind"), [(401, AuthenticationError), (503, ServerError), (302, SettingsError)])
def test_an_error_needs_no_time(status: int, kind: type[LinqError]) -> None:
    """It may be that of a proxy; and what it says decides whether a retry helps."""
    response = (status, {"Retry-After": "0", "Location": "/login"}, b"<html>no</html>")
    with serving(response) as server, LinqClient(KEY, base_url=server.url, max_retries=0) as client:
        server.RequestHandlerClass = Timeless
        with pytest.raises(kind) as caught:
            client.phone_numbers.list()
    assert caught.value.status == status


def test_a_retry_after_beyond_the_budget_is_not_waited_for() -> None:
    with serving((429, {"Retry-After": "3600"}, b"{}"), OK) as server, client_of(server) as client:
        with pytest.raises(RateLimitedError) as caught:
            client.phone_numbers.list()
        assert caught.value.retry_after == 3600
        assert len(server.seen) == 1


def test_tries_are_bounded() -> None:
    with serving((503, {"Retry-After": "0"}, b"{}")) as server:
        with LinqClient(KEY, base_url=server.url, max_retries=2) as client, pytest.raises(ServerError):
            client.phone_numbers.list()
        assert len(server.seen) == 3


def test_an_error_of_the_connection_names_the_host() -> None:
    """A base URL that is wrong shows."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{unused.getsockname()[1]}"
        with LinqClient(KEY, base_url=f"http://{host}/api", max_retries=0) as client:
            with pytest.raises(APIConnectionError) as caught:
                client.phone_numbers.list()
    problem = "no usable response (ConnectionError: Connection refused)"
    assert str(caught.value) == f"GET /v3/phone_numbers at {host}: {problem}"


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda client: client.chats.list(cursor="c\ud800"), "cursor"),
        (lambda client: client.messages.get("\ud800"), "message_id"),
        (lambda client: client.messages.send("c", "a\ud83d"), r"parts\[0\]\.value"),
        (lambda client: client.messages.edit("m", "a\ud83d"), "text"),
        (lambda client: client.messages.react("m", "custom", custom_emoji="\ud83d"), "custom_emoji"),
        (lambda client: client.chats.update("c", display_name="\ude00"), "display_name"),
        (lambda client: client.request("PUT", "/v3/x", json={"a": [{"b": "\ude00"}]}), r"a\[0\]\.b"),
        (lambda client: client.request("PUT", "/v3/x", json={"a": {"\ude00": 1}}), "a"),
    ],
)
def test_half_a_surrogate_pair_is_refused_before_it_is_sent(call: Callable[[LinqClient], object], field: str) -> None:
    with serving(OK) as server, client_of(server) as client:
        with pytest.raises(InvalidRequestError, match=f"^{field}: ") as caught:
            list(call(client))  # type: ignore[call-overload]
        str(caught.value).encode()
        assert server.seen == []


def test_a_silent_server_times_out() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as deaf:  # accepts by its backlog, never responses
        client = LinqClient(
            KEY, base_url=f"http://127.0.0.1:{deaf.server_port}", timeout=(0.2, 0.2), max_retries=1, retry_budget=5
        )
        with client, pytest.raises(APIConnectionError, match="ReadTimeout"):
            client.phone_numbers.list()


@pytest.mark.parametrize(
    "said_first", [b"100 Continue", b"102 Processing", b"103 Early Hints\r\nLink: </a>; rel=preload"]
)
def test_what_is_said_before_a_response_is_read_past(said_first: bytes) -> None:
    """Or the response would be taken for that to the next request on the connection."""

    class Talkative(Handler):
        protocol_version = "HTTP/1.1"

        def response(self) -> tuple[int, dict[str, str], bytes]:
            self.wfile.write(b"".join(b"HTTP/1.1 %s\r\n\r\n" % said_first for _ in range(2)))
            return 200, {}, b'{"id": "%s"}' % self.path.rpartition("/")[2].encode()

    with serving(OK, handler=Talkative) as server, client_of(server) as client:
        asked = [f"/v3/chats/{number}" for number in range(3)]
        assert [client.request("GET", path).body["id"] for path in asked] == ["0", "1", "2"]
        assert len(server.seen) == 3


def test_a_change_of_protocol_is_no_response() -> None:
    """Nor is what comes after it read as that to another request."""
    with serving((101, {"Upgrade": "websocket"}, OK[2]), OK) as server, client_of(server) as client:
        assert client.phone_numbers.list() == []
        assert len(server.seen) == 2


def test_a_redirect_is_not_followed_with_the_key() -> None:
    with serving(OK) as stranger, serving((302, {"Location": stranger.url}, b"")) as server:
        with client_of(server) as client, pytest.raises(InvalidRequestError, match="base_url"):
            client.phone_numbers.list()
        assert server.seen[0][2]["authorization"] == f"Bearer {KEY}"
        assert stranger.seen == []


def test_files_are_moved_without_the_key(tmp_path: object) -> None:
    with serving((200, {}, b"bytes")) as files:
        slot = b'{"attachment_id": "a", "upload_url": "%s/up", "required_headers": {"Content-Type": "image/png"}}'
        with serving((200, {}, slot % files.url.encode())) as server, client_of(server) as client:
            assert client.attachments.upload(b"12345", filename="a.png") == "a"
        ((method, path, headers),) = files.seen
    assert (method, path, headers["content-length"], headers["content-type"]) == ("PUT", "/up", "5", "image/png")
    assert "authorization" not in headers


@pytest.mark.parametrize(
    "response", [(202, {}, b"{}"), (204, {}, b""), (206, {"Content-Range": "bytes 0-2/9"}, b"abc")]
)
def test_what_is_no_whole_file_is_not_kept(response: tuple[int, dict[str, str], bytes]) -> None:
    """It would pass for the file, and never be fetched again."""
    file = io.BytesIO()
    with serving(response, (200, {}, b"abcdefghi")) as server, client_of(server) as client:
        assert client.transfer("GET", f"{server.url}/f", into=file) == 9
        assert [request[2]["accept-encoding"] for request in server.seen] == ["identity"] * 2
    assert file.getvalue() == b"abcdefghi"


def test_an_upload_is_repeated_from_its_start() -> None:
    with serving((503, {"Retry-After": "0"}, b""), (200, {}, b"")) as files:
        slot = b'{"attachment_id": "a", "upload_url": "%s/up"}' % files.url.encode()
        with serving((200, {}, slot)) as server, client_of(server) as client:
            client.attachments.upload(b"12345", filename="a.png")
        assert files.bodies == [b"12345", b"12345"]


def test_an_upload_that_is_redirected_is_not_done() -> None:
    with serving((200, {}, b"")) as login, serving((302, {"Location": login.url}, b"")) as files:
        slot = b'{"attachment_id": "a", "upload_url": "%s/up"}' % files.url.encode()
        with serving((200, {}, slot)) as server, client_of(server) as client, pytest.raises(LinqError):
            client.attachments.upload(b"12345", filename="a.png")
        assert login.seen == []


class KeepsAlive(Handler):
    """Notes which connection each request comes by."""

    protocol_version = "HTTP/1.1"
    ports: ClassVar[list[int]] = []

    def response(self) -> Response:
        self.ports.append(self.client_address[1])
        return super().response()


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_process_that_was_forked_reads_no_responses_of_another_one() -> None:
    KeepsAlive.ports.clear()
    with serving(OK, handler=KeepsAlive) as server, client_of(server) as client:
        client.phone_numbers.list()
        child = os.fork()
        if child == 0:
            with suppress(BaseException):
                client.phone_numbers.list()
            os._exit(0)
        os.waitpid(child, 0)
        client.phone_numbers.list()
    first, of_the_child, last = KeepsAlive.ports
    assert of_the_child != first
    assert last == first, "what the child leaves stays the parent's"


def test_cookies_are_not_kept() -> None:
    with serving((200, {"Set-Cookie": "a=b"}, OK[2])) as server, client_of(server) as client:
        client.phone_numbers.list()
        client.phone_numbers.list()
        assert "cookie" not in server.seen[1][2]


def test_netrc_does_not_replace_the_key(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    netrc = f"{tmp_path}/netrc"
    with open(netrc, "w") as file:
        file.write("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", netrc)
    with serving(OK) as server, client_of(server) as client:
        client.phone_numbers.list()
        assert server.seen[0][2]["authorization"] == f"Bearer {KEY}"
