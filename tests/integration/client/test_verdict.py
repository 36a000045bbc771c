"""What is certain after an error: the table over responses and kinds of requests, at the HTTP boundary."""

from __future__ import annotations

import json
import logging
import pickle
import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import quote

import pytest

from benchmarks.ports import free_port
from linq_client import (
    APIConnectionError,
    AuthenticationError,
    BlockedError,
    ChatNotFoundError,
    ConflictError,
    Effect,
    ErrorCode,
    InvalidRequestError,
    LastingConflictError,
    LineIneligibleError,
    LineNotPermittedError,
    LinqClient,
    LinqError,
    MessageNotFoundError,
    NotFoundError,
    OptedOutError,
    PermissionDeniedError,
    RateLimitedError,
    RequestKind,
    ServerError,
    SettingsError,
)
from tests.support.scripted_server import KEY, NO_WAIT, OK, Handler, Response, Server, client_of, envelope, serving

CALLS: dict[RequestKind, Callable[[LinqClient], object]] = {
    RequestKind.READ: lambda client: client.phone_numbers.list(),
    RequestKind.CHANGE: lambda client: client.chats.share_contact_card("c"),
    RequestKind.SEND: lambda client: client.messages.send("c", "Hi"),
    RequestKind.REPLY: lambda client: client.messages.send("c", {"parts": ["Hi"], "reply_to": {"message_id": "m"}}),
}
EFFECTS = {"N": Effect.NONE, "U": Effect.UNKNOWN, "D": Effect.DONE_BEFORE}

PAGE = b"<html>no</html>"


def plain(status: int, body: object = PAGE, **headers: str) -> Response:
    return status, headers, body if isinstance(body, bytes) else json.dumps(body).encode()


#: response, class, verdict, retryable, permanent, effect of READ CHANGE SEND REPLY
TABLE: list[tuple[Response, type[LinqError], bool, bool, bool, str]] = [
    # The API's own word.
    (envelope(400, 1002), InvalidRequestError, True, False, True, "NNNN"),
    (envelope(400, 1006), InvalidRequestError, True, False, True, "NNNN"),
    (envelope(413, 5001), InvalidRequestError, True, False, True, "NNNN"),
    (envelope(422, 4005), InvalidRequestError, True, False, True, "NNNN"),
    (envelope(418, 8888), InvalidRequestError, True, False, False, "NNNN"),
    (envelope(401, 2004), AuthenticationError, True, False, True, "NNNN"),
    (envelope(403, 2005), PermissionDeniedError, True, False, True, "NNNN"),
    (envelope(403, 2006), LineNotPermittedError, True, False, True, "NNNN"),
    (envelope(403, 2008), PermissionDeniedError, True, False, True, "NNNN"),
    (envelope(403, 9999), PermissionDeniedError, True, False, True, "NNNN"),
    (envelope(403, 2024), OptedOutError, True, False, True, "NNNN"),
    (envelope(403, 2026), BlockedError, True, False, True, "NNNN"),
    (envelope(403, 2027), LineIneligibleError, True, False, False, "NNNN"),
    (envelope(404, 2001), ChatNotFoundError, True, False, True, "NNNN"),
    (envelope(404, 2002), MessageNotFoundError, True, False, True, "NNDU"),
    (envelope(404, 2003), NotFoundError, True, False, True, "NNNN"),
    (envelope(404, 2007), NotFoundError, True, True, False, "NNNN"),
    *((envelope(409, code), LastingConflictError, True, False, True, "NNNN") for code in (1006, 2013, 2014)),
    *((envelope(409, code), LastingConflictError, True, False, True, "NNNN") for code in (2016, 2017, 2018, 2023)),
    (envelope(409, 2009), ConflictError, True, True, False, "NNUU"),
    (envelope(409, 2015), ConflictError, True, False, False, "NNUU"),
    (envelope(409, 7777), ConflictError, True, False, False, "NNUU"),
    (envelope(429, 1007), RateLimitedError, True, True, False, "NNNN"),
    # It failed on the way: then its word says nothing of what was done.
    (envelope(408, 3005), ServerError, True, True, False, "NUUU"),
    (envelope(500, 3006), ServerError, True, True, False, "NUUU"),
    (envelope(503, 4004), ServerError, True, True, False, "NUUU"),
    (envelope(504, 3005), ServerError, True, True, False, "NUUU"),
    # A code means something together with its status alone.
    (envelope(400, 2002), InvalidRequestError, True, False, True, "NNNN"),
    (envelope(409, 2001), ConflictError, True, False, False, "NNUU"),
    (envelope(403, 2001), PermissionDeniedError, True, False, True, "NNNN"),
    (envelope(500, 2024), ServerError, True, True, False, "NUUU"),
    # Somebody else's word.
    *((plain(status), InvalidRequestError, False, False, False, "NUUU") for status in (400, 413, 418, 451)),
    (plain(401), AuthenticationError, False, False, False, "NUUU"),
    (plain(403), PermissionDeniedError, False, False, False, "NUUU"),
    (plain(404), NotFoundError, False, False, False, "NUUU"),
    (plain(408), ServerError, False, True, False, "NUUU"),
    (plain(409), ConflictError, False, False, False, "NUUU"),
    (plain(429), RateLimitedError, False, True, False, "NUUU"),
    *((plain(status), ServerError, False, True, False, "NUUU") for status in (500, 502, 520)),
    (plain(300), InvalidRequestError, False, False, False, "NUUU"),
    (plain(302, Location="/login"), SettingsError, False, False, False, "NUUU"),
    # JSON that is not the API's error envelope.
    (envelope(403, 403), PermissionDeniedError, False, False, False, "NUUU"),
    (envelope(403, 2024, status=451), PermissionDeniedError, False, False, False, "NUUU"),
    (envelope(404, 2002, code="2002"), NotFoundError, False, False, False, "NUUU"),
    (envelope(404, 2002, code=True), NotFoundError, False, False, False, "NUUU"),
    (plain(404, {"success": True, "error": {"code": 2002}}), NotFoundError, False, False, False, "NUUU"),
    (plain(404, {"code": 2002}), NotFoundError, False, False, False, "NUUU"),
    (plain(404, {"error": "no such chat"}), NotFoundError, False, False, False, "NUUU"),
    (plain(404, [{"error": {"code": 2002}}]), NotFoundError, False, False, False, "NUUU"),
    (plain(302, {"success": False, "error": {"code": 2024}}), InvalidRequestError, False, False, False, "NUUU"),
    # The envelope may lack what we don't need.
    (plain(404, {"error": {"code": 2002}}), MessageNotFoundError, True, False, True, "NNDU"),
    (plain(403, {"error": {"code": 2024, "status": "403"}, "trace_id": 7}), OptedOutError, True, False, True, "NNNN"),
    # A success that can't be read.
    *((plain(200, body), APIConnectionError, False, True, False, "NUUU") for body in (b"", PAGE, b"[]", b'{"a')),
    (plain(200, PAGE, **{"Content-Length": "999"}), APIConnectionError, False, True, False, "NUUU"),
    (plain(202, PAGE, **{"Content-Length": "8, 9"}), APIConnectionError, False, True, False, "NUUU"),
    ((403, {"Content-Length": "8, 9"}, envelope(403, 2024)[2]), APIConnectionError, False, True, False, "NUUU"),
]


def fails(client: LinqClient, kind: RequestKind) -> LinqError:
    with pytest.raises(LinqError) as caught:
        CALLS[kind](client)
    return caught.value


@pytest.mark.parametrize(("response", "error_class", "verdict", "retryable", "permanent", "effects"), TABLE)
def test_what_is_certain_after_a_response(
    response: Response, error_class: type[LinqError], verdict: bool, retryable: bool, permanent: bool, effects: str
) -> None:
    with serving(response) as server, LinqClient(KEY, base_url=server.url, max_retries=0) as client:
        for kind, effect in zip(CALLS, effects, strict=True):
            error = fails(client, kind)
            assert type(error) is error_class
            found = (error.verdict, error.retryable, error.permanent, error.effect)
            assert found == (verdict, retryable, permanent, EFFECTS[effect]), kind
            assert error.status == (None if response[1].get("Content-Length") else response[0])
            assert (error.code is not None) == verdict
            copy = pickle.loads(pickle.dumps(error))
            assert (copy.verdict, copy.effect, copy.permanent) == (error.verdict, error.effect, error.permanent)
        assert len(server.seen) == len(CALLS), "each call is one request without retries"


def test_an_object_that_is_not_the_one_asked_for_is_no_success() -> None:
    """Not worth a retry, since the API has changed; and what it did with a send is not known."""
    with serving(plain(200, {"chat_id": "c"})) as server, client_of(server) as client:
        sent = fails(client, RequestKind.SEND)
        for read in (client.chats.get, client.location.get):
            with pytest.raises(APIConnectionError) as caught:
                read("c")
            assert (caught.value.effect, caught.value.status) == (Effect.NONE, 200)
    assert (sent.effect, sent.retryable, sent.verdict) == (Effect.UNKNOWN, False, False)
    assert sent.idempotency_key is not None


@pytest.mark.parametrize("code", ErrorCode)
def test_each_code_says_what_it_means(code: ErrorCode) -> None:
    assert code.meaning
    assert code.remedy
    assert ErrorCode.find(int(code)) is code
    with serving(envelope(400, code)) as server, client_of(server) as client:
        assert code.meaning in str(fails(client, RequestKind.SEND))


def test_what_is_refused_here_was_not_sent() -> None:
    with serving(OK) as server, client_of(server) as client:
        for call in (lambda: client.messages.send("c", ""), lambda: client.messages.send("..", "Hi")):
            with pytest.raises(InvalidRequestError) as caught:
                call()
            assert (caught.value.effect, caught.value.permanent) == (Effect.NONE, True)
        assert server.seen == []


# All tries of a call together.

CUT = plain(202, b"{", **{"Content-Length": "999"})


@pytest.mark.parametrize(
    ("responses", "error_class", "effects"),
    [
        ([CUT, envelope(403, 2024)], OptedOutError, "UU"),
        ([envelope(502, 3002), envelope(403, 2024)], OptedOutError, "UU"),
        ([plain(429, **{"Retry-After": "0"}), envelope(403, 2024)], OptedOutError, "UU"),
        ([envelope(429, 1007), envelope(403, 2024)], OptedOutError, "NN"),
        ([envelope(404, 2007), envelope(429, 1007), envelope(403, 2027)], LineIneligibleError, "NN"),
        ([envelope(409, 2009), envelope(403, 2027)], LineIneligibleError, "UU"),
        ([envelope(429, 1007), CUT, envelope(400, 1002)], InvalidRequestError, "UU"),
        ([CUT, envelope(404, 2002)], MessageNotFoundError, "DU"),
        ([CUT, envelope(429, 1007), envelope(403, 2024)], OptedOutError, "UU"),
    ],
)
def test_a_refusal_says_nothing_of_the_tries_before(
    responses: list[Response], error_class: type[LinqError], effects: str
) -> None:
    for kind, effect in zip((RequestKind.SEND, RequestKind.REPLY), effects, strict=True):
        with serving(*responses) as server, client_of(server) as client:
            error = fails(client, kind)
            assert (type(error), error.effect) == (error_class, EFFECTS[effect])
            assert error.verdict, "that of the last try"
            assert len(server.seen) == len(responses)
            assert len({json.loads(body)["message"]["idempotency_key"] for body in server.bodies}) == 1


def test_one_call_knows_nothing_of_another() -> None:
    with serving(CUT, envelope(403, 2024)) as server, LinqClient(KEY, base_url=server.url, max_retries=0) as client:
        assert fails(client, RequestKind.SEND).effect is Effect.UNKNOWN
        assert fails(client, RequestKind.SEND).effect is Effect.NONE


@contextmanager
def unused_port() -> Iterator[tuple[socket.socket, str]]:
    """A port that refuses connections until somebody listens on its socket."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", free_port()))
        yield bound, f"http://127.0.0.1:{bound.getsockname()[1]}"


def test_without_a_connection_nothing_is_done() -> None:
    with unused_port() as (_, url), LinqClient(KEY, base_url=url, max_retries=1, retry=NO_WAIT) as client:
        for kind in CALLS:
            error = fails(client, kind)
            assert (type(error), error.effect, error.verdict) == (APIConnectionError, Effect.NONE, False)
            assert (error.retryable, error.permanent) == (True, False)


def test_a_name_that_is_not_found_is_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*args: object, **kwargs: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    with LinqClient(KEY, base_url="https://nobody.example", max_retries=0) as client:
        assert fails(client, RequestKind.SEND).effect is Effect.NONE


def test_a_connection_that_takes_too_long_is_none() -> None:
    """The queue of the listener is full, so that the next connection is not taken in."""
    with socket.socket() as listener, ExitStack() as waiting:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            queued = waiting.enter_context(socket.socket())
            queued.setblocking(False)
            queued.connect_ex(listener.getsockname())
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with LinqClient(KEY, base_url=url, max_retries=0, timeout=(0.2, 5)) as client:
            error = fails(client, RequestKind.SEND)
    assert "ConnectTimeout" in str(error)
    assert error.effect is Effect.NONE


@pytest.mark.parametrize("reset", [True, False], ids=["reset", "silence"])
def test_a_connection_that_was_made_may_have_done_it(reset: bool) -> None:
    """The server takes the connection in, and then says nothing, or resets it."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        taken: list[socket.socket] = []

        def take() -> None:
            connection, _ = listener.accept()
            connection.recv(1)
            taken.append(connection)
            if reset:
                connection.close()  # with bytes unread, which resets

        thread = threading.Thread(target=take)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with LinqClient(KEY, base_url=url, max_retries=0, timeout=(60, 60 if reset else 0.2)) as client:
            error = fails(client, RequestKind.SEND)
        thread.join()
        taken[0].close()
    assert (type(error), error.effect, error.verdict) == (APIConnectionError, Effect.UNKNOWN, False)


def after_first_try(act: Callable[[], object]) -> Callable[[logging.LogRecord], bool]:
    """A log filter that acts between the first try of a call and its second one."""

    def filter_(record: logging.LogRecord) -> bool:
        if record.getMessage().startswith("try 1 failed"):
            act()
        return True

    return filter_


@contextmanager
def filtering(filter_: Callable[[logging.LogRecord], bool]) -> Iterator[None]:
    logger = logging.getLogger("linq_client._retry")
    logger.addFilter(filter_)
    try:
        yield
    finally:
        logger.removeFilter(filter_)


def test_what_was_lost_stays_lost_when_the_connection_fails_later() -> None:
    with (
        Server([CUT], free_port()) as server,
        LinqClient(KEY, base_url=server.url, max_retries=1, timeout=(60, 60), retry=NO_WAIT) as client,
    ):
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with filtering(after_first_try(server.server_close)):
            error = fails(client, RequestKind.SEND)
        thread.join()
    assert "Connection refused" in str(error)
    assert error.effect is Effect.UNKNOWN


def test_a_refusal_after_no_connection_is_one() -> None:
    with unused_port() as (bound, url), ExitStack() as stack:

        def listen() -> None:
            bound.close()
            server = Server([envelope(403, 2024)], port=int(url.rsplit(":", 1)[1]))
            thread = threading.Thread(target=server.handle_request)
            thread.start()
            stack.callback(server.server_close)
            stack.callback(thread.join)

        with (
            LinqClient(KEY, base_url=url, timeout=(60, 60), retry=NO_WAIT) as client,
            filtering(after_first_try(listen)),
        ):
            error = fails(client, RequestKind.SEND)
    assert (type(error), error.effect) == (OptedOutError, Effect.NONE)


# Through a proxy.


def through(proxy: str, monkeypatch: pytest.MonkeyPatch, **options: Any) -> LinqClient:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    monkeypatch.setenv("NO_PROXY", "")
    return LinqClient(KEY, base_url="https://api.example/api/partner", max_retries=0, **options)


def test_a_proxy_that_is_not_there_gets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with unused_port() as (_, url), through(url, monkeypatch) as client:
        assert fails(client, RequestKind.SEND).effect is Effect.NONE


def test_what_a_proxy_says_about_its_connection_is_not_taken_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    class Proxy(Handler):
        def do_CONNECT(self) -> None:
            self.send_error(503)

    with serving(OK, handler=Proxy) as server, through(server.url, monkeypatch) as client:
        error = fails(client, RequestKind.SEND)
    assert (type(error), error.effect) == (APIConnectionError, Effect.UNKNOWN)


# A DELETE that finds nothing.


@pytest.mark.parametrize(
    ("first", "then", "done"),
    [
        (CUT, envelope(404, 2002), True),
        (envelope(500, 3006), envelope(404, 2002), True),
        (envelope(429, 1007), envelope(404, 2002), False),
        (CUT, plain(404), False),
        (CUT, envelope(404, 2001), False),
    ],
)
def test_a_delete_is_done_if_an_earlier_try_may_have_done_it(first: Response, then: Response, done: bool) -> None:
    with serving(first, then) as server, client_of(server) as client:
        if done:
            client.messages.delete("m")
            return
        with pytest.raises(NotFoundError) as caught:
            client.messages.delete("m")
        assert caught.value.effect is (Effect.NONE if first[0] == 429 else Effect.UNKNOWN)


def test_moving_a_file_does_nothing_that_matters() -> None:
    slot = b'{"attachment_id": "a", "upload_url": "%s/up"}'
    with serving(plain(403)) as files, serving() as server:
        server.responses.append((200, {}, slot % files.url.encode()))
        with client_of(server) as client, pytest.raises(PermissionDeniedError) as caught:
            client.attachments.upload(b"1", filename="a.png")
    assert (caught.value.effect, caught.value.verdict, caught.value.permanent) == (Effect.NONE, False, False)


# What is quoted of the other side.

TEXT = "the cake is in the cellar"
ECHOES = [KEY, f"Bearer {KEY}", f"x\n{KEY}\x1b[31m", quote(KEY, safe=""), TEXT, "a\u2028b\u202ec", "z" * 100_000]


def shown(error: LinqError) -> str:
    return "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error)) + str(pickle.dumps(error))


@pytest.mark.parametrize("kind", CALLS)
@pytest.mark.parametrize("echo", ECHOES)
def test_an_echo_of_the_request_does_not_get_into_an_error(
    echo: str, kind: RequestKind, caplog: pytest.LogCaptureFixture
) -> None:
    body = {"error": {"code": 3006, "message": echo, "doc_url": echo}, "trace_id": echo, echo: echo}
    urls = {"error": {"code": 3006, "message": echo, "doc_url": f"https://docs.example/?{quote(echo)}"}}
    header = quote(echo) if echo != KEY else KEY
    for response in (
        plain(500, body),
        plain(500, urls, **{"X-Trace-ID": header}),
        plain(200, {"success": False, echo: echo}),
    ):
        with serving(response) as server, client_of(server) as client:
            error = fails(client, kind)
        everything = shown(error) + caplog.text
        assert KEY not in everything
        assert "\x1b" not in everything + str(error)
        assert "\u2028" not in str(error)
        assert len(str(error)) < 400
        assert "\n" not in str(error)
        assert echo == KEY or error.trace_id != echo
        if kind in (RequestKind.SEND, RequestKind.REPLY):
            assert TEXT not in everything


@pytest.mark.parametrize(
    ("words", "quoted"),
    [
        ("bad \x1b[31mname\r\nfake line", "bad [31mname fake line"),
        (f"no {KEY} no", "no *** no"),
        ("z" * 1000, "z" * 199 + "\N{HORIZONTAL ELLIPSIS}"),
        ("caf\N{LATIN SMALL LETTER E WITH ACUTE}", "caf\N{LATIN SMALL LETTER E WITH ACUTE}"),
        (7, None),
    ],
)
def test_words_of_the_api_are_quoted_in_one_short_line(words: object, quoted: str | None) -> None:
    with serving(envelope(400, 1005, message=words)) as server, client_of(server) as client:
        said = str(fails(client, RequestKind.READ))
    wanted = f": {quoted}" if quoted else ""
    assert said == f"GET /v3/phone_numbers: a parameter has an invalid value{wanted} (HTTP 400, code 1005, trace t)"


@pytest.mark.parametrize(
    ("trace_id", "doc_url", "kept"),
    [
        ("0af7651916cd43dd8448eb211c80319c", "https://docs.example/e#1005", True),
        ("A-1", "http://docs.example", True),
        ("z" * 65, "ftp://docs.example", False),
        ("a b", "https://docs.example/a b", False),
        ("", "javascript:alert(1)", False),
        (KEY, f"https://docs.example/{KEY}", False),
        (["a"], 7, False),
        ("a\n", "https://docs.example/\n", False),
        ("caf\N{LATIN SMALL LETTER E WITH ACUTE}", "https://docs.example/" + "z" * 200, False),
    ],
)
def test_a_trace_id_and_a_page_are_such_or_none(trace_id: object, doc_url: object, kept: bool) -> None:
    body = {"error": {"code": 1005, "doc_url": doc_url}, "trace_id": trace_id}
    headers = (
        {"X-Trace-ID": trace_id} if isinstance(trace_id, str) and trace_id.isascii() and "\n" not in trace_id else {}
    )
    for response in (plain(400, body), plain(400, body, **headers)):
        with serving(response) as server, client_of(server) as client:
            error = fails(client, RequestKind.SEND)
        assert (error.trace_id, error.doc_url) == ((trace_id, doc_url) if kept else (None, None))


@pytest.mark.parametrize(
    ("header", "in_body", "seconds"),
    [
        ("99999999", None, 86_400),
        ("inf", None, 86_400),
        ("1e308", None, 86_400),
        ("9" * 400, None, 86_400),
        ("Wed, 21 Oct 2099 07:28:00 GMT", None, 86_400),
        ("Wed Oct 21 07:28:00 2099", None, 86_400),
        ("Fri, 31 Dec 9999 23:59:59 GMT", None, None),
        ("Fri, 31 Dec 9999 23:59:59 -1200", 5, 5),
        ("nan", None, None),
        ("-5", None, None),
        ("soon", 7, 7),
        ("", 7, 7),
        ("3", 7, 3),
        (None, 1e300, 86_400),
        (None, 10**400, 86_400),
        (None, -(10**400), None),
        (None, True, None),
        (None, [5], None),
        (None, "12", 12),
        (None, 0, 0),
    ],
)
def test_what_is_asked_for_is_a_day_at_most(header: str | None, in_body: object, seconds: float | None) -> None:
    for status in (429, 503):
        response = envelope(status, 1007, retry_after=in_body)
        named = {} if header is None else {"Retry-After": header}
        with serving((status, named, response[2])) as server:
            with LinqClient(KEY, base_url=server.url, max_retries=0) as client:
                assert fails(client, RequestKind.SEND).retry_after == seconds
