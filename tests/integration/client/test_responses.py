"""What comes back: lists, errors, odd responses; the settings; and that no secret gets out."""

from __future__ import annotations

import logging
import pickle
import threading
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from linq_client import (
    APIConnectionError,
    AuthenticationError,
    BlockedError,
    ChatNotFoundError,
    ConflictError,
    Effect,
    InvalidRequestError,
    LastingConflictError,
    LineIneligibleError,
    LineNotPermittedError,
    LinqClient,
    LinqError,
    MessageNotFoundError,
    OptedOutError,
    PaginationError,
    PermissionDeniedError,
    RateLimitedError,
    ServerError,
    SettingsError,
)
from tests.support.emulator_process import Emulator
from tests.support.scripted_server import ANN, KEY, OK, Server, client_of, serving


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


def test_a_list_continues_after_a_page_with_another_size() -> None:
    with serving(page(chat("a"), "1"), page(chat("b"), None)) as server, client_of(server) as client:
        first = next(client.chats.list(limit=7).pages())
        rest = client.chats.list(cursor=first.next_cursor)
        assert [each.id for each in rest] == ["b"]
        assert [path for _, path, _ in server.seen] == ["/v3/chats?limit=7", "/v3/chats?limit=100&cursor=1"]


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


def test_a_response_that_lacks_an_id_is_named() -> None:
    wrong = pytest.raises(APIConnectionError, match="not a Chat: wrong or missing created_at, updated_at")
    with serving((200, {}, b'{"id": "c"}')) as server, client_of(server) as client, wrong:
        client.chats.get("c")


@pytest.mark.parametrize("traced", [True, False])
def test_a_change_of_a_deleted_message_says_so(traced: bool) -> None:
    response = (204, {"X-Trace-ID": "t1"} if traced else {}, b"")
    with serving(response) as server, client_of(server) as client:
        changes: list[Callable[[], object]] = [
            lambda: client.messages.edit("m", "At nine"),
            lambda: client.messages.react("m", "love"),
        ]
        for change in changes:
            with pytest.raises(MessageNotFoundError, match="/v3/messages/m.*deleted.*204") as caught:
                change()
            error = caught.value
            assert (error.effect, error.retryable, error.verdict, error.permanent) == (
                Effect.NONE,
                False,
                traced,
                traced,
            )
            assert error.trace_id == ("t1" if traced else None)
        assert len(server.seen) == 2


CALLS_FOR_AN_OBJECT: dict[str, tuple[Callable[[LinqClient], object], Effect]] = {
    "get chat": (lambda client: client.chats.get("c"), Effect.NONE),
    "get message": (lambda client: client.messages.get("m"), Effect.NONE),
    "list chats": (lambda client: list(client.chats.list()), Effect.NONE),
    "list messages": (lambda client: list(client.messages.list("c")), Effect.NONE),
    "list lines": (lambda client: client.phone_numbers.list(), Effect.NONE),
    "get attachment": (lambda client: client.attachments.get("a"), Effect.NONE),
    "check": (lambda client: client.capability.check_imessage(ANN), Effect.NONE),
    "locations": (lambda client: client.location.get("c"), Effect.NONE),
    "send": (lambda client: client.messages.send("c", "Hi"), Effect.UNKNOWN),
    "send from any line": (lambda client: client.messages.send_from_any_line(ANN, "Hi"), Effect.UNKNOWN),
    "create chat": (lambda client: client.chats.create("+12025550101", ANN, "Hi"), Effect.UNKNOWN),
    "voice memo": (lambda client: client.chats.send_voice_memo("c", attachment_id="a"), Effect.UNKNOWN),
    "rename": (lambda client: client.chats.update("c", display_name="Team"), Effect.UNKNOWN),
    "leave": (lambda client: client.chats.leave("c"), Effect.UNKNOWN),
    "add": (lambda client: client.participants.add("c", ANN), Effect.UNKNOWN),
    "remove": (lambda client: client.participants.remove("c", ANN), Effect.UNKNOWN),
}


@pytest.mark.parametrize(("call", "effect"), CALLS_FOR_AN_OBJECT.values(), ids=CALLS_FOR_AN_OBJECT)
def test_an_empty_success_is_no_object(call: Callable[[LinqClient], object], effect: Effect) -> None:
    with serving((204, {}, b"")) as server, client_of(server, 0.01) as client:
        with pytest.raises(APIConnectionError, match="204|no list|no features") as caught:
            call(client)
        assert caught.value.effect is effect


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (401, 2004, AuthenticationError),
        (403, 2006, LineNotPermittedError),
        (403, 9999, PermissionDeniedError),
        (403, 2024, OptedOutError),
        (403, 2026, BlockedError),
        (403, 2027, LineIneligibleError),
        (409, 1006, LastingConflictError),
        (409, 2015, ConflictError),
        (429, 1007, RateLimitedError),
        (404, 2001, ChatNotFoundError),
        (404, 2002, MessageNotFoundError),
        (418, 8888, InvalidRequestError),
        (500, 3006, ServerError),
    ],
)
def test_known_and_unknown_codes(status: int, code: int, kind: type[LinqError]) -> None:
    body = b'{"error": {"code": %d, "message": "m", "doc_url": "https://docs.example/e"}, "trace_id": "t"}' % code
    response = (status, {"Retry-After": "0"}, body)
    with serving(response) as server, client_of(server, 0.01) as client, pytest.raises(LinqError) as caught:
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


@pytest.mark.parametrize("id_", ["", ".", "..", "/", " ", "\ud800", "a\udfffb", None, 7, b"m", "\ud800" * 100_000])
def test_what_is_no_id_is_refused_before_anything_is_sent(id_: Any) -> None:
    with serving(OK) as server, client_of(server) as client:
        for call in (client.messages.get, client.chats.leave, client.attachments.delete):
            with pytest.raises(InvalidRequestError, match="_id: must be an id, got") as caught:
                call(id_)
            assert str(caught.value).isprintable()
            assert len(str(caught.value)) <= 200
        assert server.seen == []
