"""Lists over several pages: which are read to their end, and when it is not known whether that is the end."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any

import pytest

from linq_client import APIConnectionError, APIResponse, CursorExpiredError, LinqClient, PaginationError, Paginator
from tests.support.scripted_server import Response, client_of, envelope, serving


def page(field: str, items: list[Any], **more: Any) -> Response:
    return 200, {}, json.dumps({field: items, **more}).encode()


def line(number: int, **more: Any) -> dict[str, Any]:
    return {"id": f"l{number}", "phone_number": f"+1202555010{number}", **more}


def subscription(number: int, **more: Any) -> dict[str, Any]:
    times = {"created_at": "2026-03-01T12:00:00Z", "updated_at": "2026-03-01T12:00:00Z"}
    target = {"target_url": "https://hooks.example", "subscribed_events": [], "is_active": True}
    return {"id": f"s{number}", **times, **target, **more}


def card(number: int, **more: Any) -> dict[str, Any]:
    return {"phone_number": f"+1202555010{number}", "first_name": "Ann", **more}


Read = Callable[[LinqClient], list[Any]]
WITHOUT_PAGES: list[tuple[str, Callable[..., dict[str, Any]], Read, Read | None]] = [
    ("phone_numbers", line, lambda client: client.phone_numbers.list(), lambda client: client.phone_numbers.list_raw()),
    (
        "subscriptions",
        subscription,
        lambda client: client.webhook_subscriptions.list(),
        lambda client: client.webhook_subscriptions.list_raw(),
    ),
    ("contact_cards", card, lambda client: client.contact_card.get(), None),
]


@pytest.mark.parametrize(("field", "item", "read", "read_raw"), WITHOUT_PAGES)
def test_a_list_without_pages_that_gets_some_is_read_to_its_end(
    field: str, item: Callable[..., dict[str, Any]], read: Read, read_raw: Read | None
) -> None:
    pages = [page(field, [item(1)], next_cursor="a/b"), page(field, [item(2)], next_cursor=None)]
    with serving(*pages, *pages) as server, client_of(server) as client:
        assert len(read(client)) == 2
        assert not read_raw or read_raw(client) == [item(1), item(2)]
        assert [path.partition("?")[2] for _, path, _ in server.seen[:2]] == ["", "cursor=a%2Fb"]
    with serving(page(field, [item(1)])) as server, client_of(server) as client:
        assert len(read(client)) == 1, "without any cursor, as documented"


@pytest.mark.parametrize(
    ("field", "items", "read"),
    [
        (
            "phone_numbers",
            [line(1, reputation="HEALTHY"), {"id": 5, "phone_number": None}, line(2, forwarding_number={})],
            lambda client: client.phone_numbers.list_raw(),
        ),
        (
            "subscriptions",
            [subscription(1, subscribed_events=None), {"id": None}],
            lambda client: client.webhook_subscriptions.list_raw(),
        ),
    ],
)
def test_a_raw_list_takes_any_form(field: str, items: list[Any], read: Read) -> None:
    for all_items in (items, [None, *items, "text"]):
        with serving(page(field, all_items)) as server, client_of(server) as client:
            assert read(client) == all_items


READS: list[tuple[str, Read]] = [
    *((field, read) for field, _, *both in WITHOUT_PAGES for read in both if read),
    ("chats", lambda client: list(client.chats.list())),
    ("messages", lambda client: list(client.messages.list("c"))),
    ("messages", lambda client: list(client.messages.thread("m"))),
    ("events", lambda client: client.webhook_events.list()),
]


@pytest.mark.parametrize(("field", "read"), READS)
def test_an_error_with_status_200_does_not_pass_for_an_empty_list(field: str, read: Read) -> None:
    failed = {"success": False, "error": {"code": 3006, "message": "x"}}
    for more, problem in (
        ({field: [], "next_cursor": None, **failed}, r"says success: false \(code 3006\)"),
        ({field: [], "success": False, "error": "x"}, "says success: false$"),
        ({field: [], "success": "false"}, "a success that is not true$"),
        ({field: [], "next_cursor": None, "error": {"code": 3006}}, r"holds an error, .* \(code 3006\)"),
        ({field: [], "success": True, "error": "Bearer x"}, "holds an error, or a success that is not true$"),
        ({field: None, "next_cursor": None}, f"has no list {field}"),
        ({field: {}}, f"has no list {field}"),
        ({"next_cursor": None}, f"has no list {field}"),
    ):
        with serving((200, {}, json.dumps(more).encode())) as server, client_of(server) as client:
            with pytest.raises(APIConnectionError, match=problem) as caught:
                read(client)
            assert (caught.value.status, caught.value.verdict) == (200, False)
            assert len(server.seen) == 5, "it may pass"


@pytest.mark.parametrize("more", [{"success": True}, {"success": None, "error": None}, {"error": {}}])
def test_a_list_that_says_that_nothing_is_wrong_is_one(more: dict[str, Any]) -> None:
    body = json.dumps({"chats": [], "next_cursor": None, **more}).encode()
    with serving((200, {}, body)) as server, client_of(server) as client:
        assert list(client.chats.list()) == []
        assert len(server.seen) == 1


def test_a_refusal_with_status_200_does_not_pass_for_a_success() -> None:
    with serving((200, {}, b'{"success": false}')) as server, client_of(server) as client:
        with pytest.raises(APIConnectionError, match="success: false"):
            client.location.request("c")
        assert len(server.seen) == 1


@pytest.mark.parametrize("more", [{}, {"pagination": {"next_cursor": "2"}}])
def test_a_full_page_without_a_cursor_is_not_the_end(more: dict[str, Any]) -> None:
    rows = [{"id": str(number)} for number in range(7)]
    with serving(page("chats", rows, **more)) as server, client_of(server) as client:
        for limit in (7, 5):
            with pytest.raises(PaginationError, match="a full page of 7 must name a next_cursor or null, got neither"):
                next(client.chats.list(limit=limit).pages())
        (only,) = client.chats.list(limit=8).pages()
        assert len(only.items) == 7
    with serving(page("chats", rows, next_cursor=None)) as server, client_of(server) as client:
        assert len(list(client.chats.list(limit=7).pages())) == 1


@pytest.mark.parametrize("rows", [[], [{"id": "1"}], [None]])
def test_pages_that_bring_nothing_come_to_an_end(rows: list[Any]) -> None:
    """Ever new cursors, to ever the same items; without HTTP, since it takes many of them."""
    asked: list[object] = []

    def fetch(params: Mapping[str, Any]) -> APIResponse:
        asked.append(params.get("cursor"))
        return APIResponse({"chats": rows, "next_cursor": str(len(asked))}, 200, None, datetime.now(timezone.utc))

    paginator = Paginator(fetch, "chats", lambda item: item, {})
    with pytest.raises(PaginationError, match="1000 pages one after the other brought nothing"):
        for _ in paginator.pages():
            pass
    assert len(asked) == 1000 + bool(rows)


@pytest.mark.parametrize("refusal", [envelope(400, 1005), envelope(404, 2003), (404, {}, b""), (410, {}, b"")])
def test_a_cursor_that_the_api_does_not_know_is_named(refusal: Response) -> None:
    with serving(refusal) as server, client_of(server) as client:
        with pytest.raises(CursorExpiredError, match=f"does not know the cursor.*HTTP {refusal[0]}") as caught:
            list(client.chats.list(cursor="old"))
        assert (caught.value.retryable, caught.value.permanent) == (False, False)
        with pytest.raises(Exception, match="HTTP") as first:
            list(client.chats.list())
        assert not isinstance(first.value, CursorExpiredError), "there was none"
