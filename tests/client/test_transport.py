"""The one request path: retries, time-outs, redirects, lists, and that no secret gets out."""

from __future__ import annotations

import logging
import pickle
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from linq_client import (
    APIConnectionError,
    AuthenticationError,
    BlockedError,
    ConflictError,
    InvalidRequestError,
    LineIneligibleError,
    LinqClient,
    LinqError,
    NotFoundError,
    OptedOutError,
    PaginationError,
    PermissionDeniedError,
    RateLimitedError,
    ServerError,
    SettingsError,
)
from tests.emulator_process import Emulator

ANN = "+12025550121"
KEY = "the-secret-key"
OK = (200, {}, b'{"phone_numbers": []}')

Answers = list[tuple[int, dict[str, str], bytes]]


class Server(ThreadingHTTPServer):
    """Gives prepared answers one after the other, the last one for ever, and keeps what it was asked."""

    def __init__(self, answers: Answers) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers = answers
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.bodies: list[bytes] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def _answer(self) -> None:
        self.server.bodies.append(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        self.server.seen.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
        answers = self.server.answers
        status, headers, body = answers.pop(0) if len(answers) > 1 else answers[0]
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _answer

    def log_message(self, format: str, *args: object) -> None: ...


@contextmanager
def serving(*answers: tuple[int, dict[str, str], bytes]) -> Iterator[Server]:
    with Server(list(answers)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def client_of(server: Server, retry_budget: float = 10.0) -> LinqClient:
    return LinqClient(KEY, base_url=server.url, retry_budget=retry_budget, timeout=(2, 2))


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
def test_what_no_retry_can_mend_is_raised_at_once(status: int, code: int) -> None:
    body = b'{"error": {"code": %d}}' % code
    with serving((status, {}, body), OK) as server, client_of(server) as client:
        with pytest.raises(LinqError) as caught:
            client.phone_numbers.list()
        assert (caught.value.status, caught.value.code) == (status, code)
        assert len(server.seen) == 1


def test_a_send_is_retried_with_the_same_key(emulator: Emulator) -> None:
    """The API takes the message in, and its answer is lost: the retry must not send again."""
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


def test_a_delete_whose_answer_was_lost_is_done(emulator: Emulator) -> None:
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


@pytest.mark.parametrize(
    "header",
    [lambda: "1", lambda: format_datetime(datetime.now(timezone.utc) + timedelta(seconds=2), usegmt=True)],
    ids=["seconds", "date"],
)
def test_retry_after_is_waited_for(header: Callable[[], str]) -> None:
    with serving((429, {"Retry-After": header()}, b"{}"), OK) as server, client_of(server) as client:
        started = time.monotonic()
        client.phone_numbers.list()
        assert 0.9 < time.monotonic() - started < 8


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


def test_an_answer_without_a_time_is_none() -> None:
    """The clock of the worker is no stand-in for the server's: bookmarks are made of it."""

    class Timeless(Handler):
        def send_header(self, keyword: str, value: str) -> None:
            if keyword != "Date":
                super().send_header(keyword, value)

    with serving(OK) as server, LinqClient(KEY, base_url=server.url, max_retries=0) as client:
        server.RequestHandlerClass = Timeless
        with pytest.raises(APIConnectionError, match="names no time"):
            client.phone_numbers.list()


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


def test_a_silent_server_times_out() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as deaf:  # accepts by its backlog, never answers
        client = LinqClient(
            KEY, base_url=f"http://127.0.0.1:{deaf.server_port}", timeout=(0.2, 0.2), max_retries=1, retry_budget=5
        )
        with client, pytest.raises(APIConnectionError, match="ReadTimeout"):
            client.phone_numbers.list()


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


def page(items: str, cursor: str | None) -> tuple[int, dict[str, str], bytes]:
    next_cursor = "null" if cursor is None else f'"{cursor}"'
    return 200, {}, f'{{"chats": [{items}], "next_cursor": {next_cursor}}}'.encode()


def chat(id_: str) -> str:
    return f'{{"id": "{id_}", "created_at": "2026-03-01T12:00:00Z", "updated_at": "2026-03-01T12:00:00Z"}}'


def test_a_list_reads_past_an_empty_page() -> None:
    with serving(page(chat("a"), "1"), page("", "2"), page(chat("b"), None)) as server, client_of(server) as client:
        assert [each.id for each in client.chats.list()] == ["a", "b"]
        assert [path for _, path, _ in server.seen] == [
            "/v3/chats?limit=100",
            "/v3/chats?limit=100&cursor=1",
            "/v3/chats?limit=100&cursor=2",
        ]


def test_a_cursor_seen_before_ends_a_list_with_an_error() -> None:
    with serving(page(chat("a"), "1"), page("", "2"), page(chat("b"), "1")) as server, client_of(server) as client:
        listing = client.chats.list()
        assert [next(listing).id, next(listing).id] == ["a", "b"]
        with pytest.raises(PaginationError):
            next(listing)


def test_a_list_that_broke_does_not_look_complete() -> None:
    with serving(page(chat("a"), "1"), (403, {}, b"{}")) as server, client_of(server) as client:
        listing = client.chats.list()
        assert next(listing).id == "a"
        for _ in range(2):
            with pytest.raises(PermissionDeniedError):
                list(listing)


def test_a_list_starts_when_it_is_read_and_checks_its_limit() -> None:
    with serving(page("", None)) as server, client_of(server) as client:
        client.chats.list()
        assert server.seen == []
        for limit in (0, 101):
            with pytest.raises(InvalidRequestError, match="limit: must be 1 to 100"):
                client.chats.list(limit=limit)


def test_what_the_vendor_adds_is_kept() -> None:
    body = (
        '{"id": "m", "chat_id": "c", "created_at": "2026-03-01T12:00:00Z", "updated_at": "2026-03-01T12:00:00Z",'
        '"is_from_me": true, "delivery_status": "teleported", "mood": "sunny",'
        '"parts": [{"type": "hologram", "watts": 5}, {"type": "text", "value": "a", "glow": 1}]}'
    )
    with serving((200, {}, body.encode())) as server, client_of(server) as client:
        message = client.messages.get("m")
    assert message.delivery_status == "teleported"
    assert message.model_extra == {"mood": "sunny"}
    assert [part.model_extra for part in message.parts] == [{"watts": 5}, {"glow": 1}]


def test_an_answer_that_lacks_an_id_is_named() -> None:
    wrong = pytest.raises(APIConnectionError, match="not a Chat: wrong or missing created_at, updated_at")
    with serving((200, {}, b'{"id": "c"}')) as server, client_of(server) as client, wrong:
        client.chats.get("c")


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (401, 2004, AuthenticationError),
        (403, 2006, PermissionDeniedError),
        (403, 9999, PermissionDeniedError),
        (403, 2024, OptedOutError),
        (403, 2026, BlockedError),
        (403, 2027, LineIneligibleError),
        (409, 1006, ConflictError),
        (429, 1007, RateLimitedError),
        (404, 2002, NotFoundError),
        (418, 8888, InvalidRequestError),
        (500, 3006, ServerError),
    ],
)
def test_known_and_unknown_codes(status: int, code: int, kind: type[LinqError]) -> None:
    body = b'{"error": {"code": %d, "message": "m", "doc_url": "https://docs.example/e"}, "trace_id": "t"}' % code
    answer = (status, {"Retry-After": "0"}, body)
    with serving(answer) as server, client_of(server, 0.01) as client, pytest.raises(LinqError) as caught:
        client.phone_numbers.list()
    error = caught.value
    assert type(error) is kind
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert (error.status, error.code, error.trace_id, error.doc_url) == (status, code, "t", "https://docs.example/e")


def test_neither_key_nor_text_in_errors_and_logs(caplog: pytest.LogCaptureFixture) -> None:
    secret_text = "the cake is in the cellar"
    echo = b'{"error": {"code": 1004, "message": "bad text: %s"}}' % secret_text.encode()
    caplog.set_level(logging.DEBUG)
    with serving((500, {"Retry-After": "0"}, echo), (400, {}, echo)) as server, client_of(server) as client:
        for call in (client.messages.send, client.messages.edit):
            with pytest.raises(InvalidRequestError) as caught:
                call("c", secret_text)
            assert_secrets_kept(caught.value, secret_text)
        for shown in (repr(client), caplog.text):
            assert secret_text not in shown
            assert KEY not in shown
    assert "try 1 failed" in caplog.text


def test_neither_key_nor_text_hangs_on_a_connection_error() -> None:
    secret_text = "the cake is in the cellar"
    with Server([OK]) as closed:
        url = closed.url
    with LinqClient(KEY, base_url=url, max_retries=0) as client, pytest.raises(APIConnectionError) as caught:
        client.messages.send("c", secret_text)
    assert "Connection refused" in str(caught.value)
    assert_secrets_kept(caught.value, secret_text)


def assert_secrets_kept(error: BaseException, secret_text: str) -> None:
    """Nothing that can be printed of the error, or reached from it, holds the key or the text."""
    assert error.__cause__ is None
    assert error.__context__ is None
    shown = "".join(traceback.format_exception_only(type(error), error)) + repr(error) + repr(vars(error))
    assert secret_text not in shown
    assert KEY not in shown


@pytest.mark.parametrize("key", ["", "a b", "caf\N{LATIN SMALL LETTER E WITH ACUTE}", "a\nb"])
def test_a_bad_key_is_refused_without_being_shown(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LINQ_API_KEY", raising=False)
    with pytest.raises(InvalidRequestError, match=r"^api_key: must be") as caught:
        LinqClient(key)
    assert not key or key not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["api.linqapp.com", "ftp://x.example", "https://x.example/api/partner/v3", "https://u:p@x.example", "https://"],
)
def test_a_bad_base_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequestError, match=r"^base_url: must"):
        LinqClient(KEY, base_url=url)


@pytest.mark.parametrize(
    "wrong", [{"pool_size": 0}, {"timeout": (0, 0)}, {"max_retries": -1}, {"max_retries": "3"}, {"retry_budget": -1}]
)
def test_a_number_out_of_range_is_refused(wrong: Any) -> None:
    with pytest.raises(SettingsError, match=f"^{next(iter(wrong))}: must be"):
        LinqClient(KEY, **wrong)


def test_an_empty_argument_is_not_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINQ_API_KEY", KEY)
    with pytest.raises(SettingsError, match="^api_key"):
        LinqClient("")
    with pytest.raises(SettingsError, match="^base_url"):
        LinqClient(base_url="")


ODD = [b"{}", b'{"data": null}', b'{"data": {"features": [{"type": "Feature", "geometry": null}]}}', b"[]", b"null"]


@pytest.mark.parametrize("body", [*ODD, b'{"chats": null, "next_cursor": {}}', b"\xff\xfe", b'{"chats": [null]}'])
@pytest.mark.parametrize("status", [200, 204, 400, 500])
def test_whatever_comes_only_our_errors_go_out(status: int, body: bytes) -> None:
    with serving((status, {"Retry-After": "0"}, b"" if status == 204 else body)) as server:
        with LinqClient(KEY, base_url=server.url, max_retries=0) as client:
            for call in (
                lambda: list(client.chats.list()),
                client.phone_numbers.list,
                client.webhook_events.list,
                client.contact_card.get,
                lambda: client.location.get("c"),
                lambda: client.messages.send("c", "Hi"),
                lambda: client.chats.create("+12025550101", ANN, "Hi"),
                lambda: client.chats.send_voice_memo("c", attachment_id="a"),
            ):
                with pytest.raises(LinqError):
                    call()


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(OK) as server:
        monkeypatch.setenv("LINQ_API_KEY", KEY)
        monkeypatch.setenv("LINQ_BASE_URL", server.url + "/api/partner/")
        with LinqClient() as client:
            client.phone_numbers.list()
        ((_, path, headers),) = server.seen
    assert path == "/api/partner/v3/phone_numbers"
    assert headers["authorization"] == f"Bearer {KEY}"
    assert headers["user-agent"].startswith("linq-connectors/")


def test_threads_share_a_client(emulator: Emulator) -> None:
    emulator.control("POST", "seed", {"chats": 40, "messages_per_chat": 5, "hours": 5, "seed": 3})
    expected = {row["id"] for row in emulator.ledger()}
    with LinqClient(emulator.api_key, base_url=emulator.base_url, pool_size=8) as client:
        chats = [each.id for each in client.chats.list(limit=7)]
        found: list[str] = []
        threads = [
            threading.Thread(
                target=lambda mine: found.extend(m.id for c in mine for m in client.messages.list(c, limit=2)),
                args=(chats[worker::8],),
            )
            for worker in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(found) == len(expected)
    assert set(found) == expected
