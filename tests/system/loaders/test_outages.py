"""An API that is down, slow, or says no for a while: nothing is lost, and nothing that was not read passes for read."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.hostile_api import (
    LINE,
    OTHER_LINE,
    Chat,
    HostileAPI,
    Request,
    Response,
    Rule,
    http_date,
    line_row,
    on,
    outage,
    refusal,
    serving,
    small_account,
    subscription_row,
)
from tests.support.loaders import Extraction, run_tap_quickly

MESSAGES = r"/chats/[^/]+/messages"


def ids(account: list[Chat]) -> set[str]:
    return {row["id"] for chat in account for row in chat.messages}


def extract(api: HostileAPI, folder: Path, **options: Any) -> Extraction:
    with serving(api):
        extraction = run_tap_quickly(api, folder, **options)
    assert "Traceback" not in extraction.log, extraction.log[-1_500:]
    return extraction


def read(extraction: Extraction) -> set[str]:
    return {row["id"] for row in extraction.records("messages")}


def complete(extraction: Extraction, account: list[Chat]) -> None:
    assert extraction.code == 0, extraction.log[-1_500:]
    assert read(extraction) == ids(account)
    assert extraction.bookmarks()


HTML = Response(b"<html>503 Service Unavailable</html>", 503)
NO_BODY = Response(b"", 502)
API_SAYS = refusal(503, 4004, "service unavailable")
OUTAGES: dict[str, Callable[[], Rule]] = {
    "4 s at the first request": lambda: outage(4),
    "4 s in the middle": lambda: outage(4, after=50),
    "4 s at the last chats": lambda: outage(4, after=98),
    "4 s of 502": lambda: outage(4, after=40, response=NO_BODY),
    "4 s of the API's own 503": lambda: outage(4, after=40, response=API_SAYS),
    "4 s of 500": lambda: outage(4, after=40, response=refusal(500, 3006)),
    "4 s of messages alone": lambda: outage(4, after=40, path=MESSAGES),
    "12 requests": lambda: on(".*", HTML, times=12, skip=40),
    "12 requests of messages": lambda: on(MESSAGES, API_SAYS, times=12, skip=40),
    "4 s of 429 without a time": lambda: outage(4, after=40, response=refusal(429, 1007)),
    "one chat fails 4 times": lambda: on("/chats/chat-00007/messages", HTML, times=4),
}


@pytest.mark.parametrize("name", OUTAGES)
def test_an_outage_that_ends_costs_nothing(name: str, tmp_path: Path) -> None:
    account = small_account(100, 1)
    complete(extract(HostileAPI(chats=account, rules=[OUTAGES[name]()]), tmp_path), account)


def test_an_outage_of_the_list_alone(tmp_path: Path) -> None:
    account = small_account(100, 1)
    complete(extract(HostileAPI(chats=account, rules=[outage(4, after=2, path="/chats")]), tmp_path), account)


def test_an_outage_of_three_quarters_of_a_minute(tmp_path: Path) -> None:
    """A usual deployment. Some wait for it, and one asks again now and then."""
    account = small_account(100, 1)
    api = HostileAPI(chats=account, rules=[outage(45, after=40)])
    complete(extract(api, tmp_path), account)
    assert len(api.requests) < 600


def test_retry_after_is_kept(tmp_path: Path) -> None:
    """Everybody waits, and not only who got the answer."""
    account = small_account(60, 1)
    asked: list[float] = []

    def refuse(request: Request) -> Response | None:
        asked.append(time.monotonic())
        if len(asked) == 20:
            return Response(refusal(429, 1007).body, 429, {"Retry-After": "3"})
        return None

    complete(extract(HostileAPI(chats=account, rules=[on(MESSAGES, refuse)]), tmp_path, concurrency=1), account)
    assert asked[20] - asked[19] >= 2.9


@pytest.mark.parametrize("place", ["first", "middle", "last", "only"])
@pytest.mark.parametrize(
    "refused",
    [
        refusal(500, 3006),
        Response(b"[]"),
        Response(b"{}"),
        Response({"messages": None, "next_cursor": None}),
        Response(b""),
    ],
    ids=["500", "a list", "an empty object", "no list", "nothing"],
)
def test_a_chat_that_never_answers_costs_only_itself(place: str, refused: Response, tmp_path: Path) -> None:
    account = small_account(1 if place == "only" else 25)
    number = {"first": 0, "middle": 12, "last": 24, "only": 0}[place]
    api = HostileAPI(chats=account, rules=[on(f"/chats/{account[number].id}/messages", refused)])
    extraction = extract(api, tmp_path)
    assert extraction.code == 1
    assert account[number].id in extraction.last_line
    assert read(extraction) == ids([chat for chat in account if chat is not account[number]])
    assert not extraction.bookmarks()


def test_many_chats_that_never_answer_cost_only_themselves(tmp_path: Path) -> None:
    account = small_account(60, 1)
    failing = {chat.id for chat in account[:30]}
    api = HostileAPI(chats=account, rules=[on(f"/chats/({'|'.join(failing)})/messages", refusal(500, 3006))])
    extraction = extract(api, tmp_path)
    assert extraction.code == 1
    assert read(extraction) == ids(account[30:])
    assert not extraction.bookmarks()


SHORT_LISTS: dict[str, Callable[[Any], Any]] = {
    "the cursor has another name": lambda body: {**without(body, "next_cursor"), "nextCursor": body["next_cursor"]},
    "the cursor is one level deeper": lambda body: {**without(body, "next_cursor"), "pagination": body},
    "the cursor is gone": lambda body: without(body, "next_cursor"),
    "the cursor is an object": lambda body: {**body, "next_cursor": {"after": "x"}},
    "the cursor is a number": lambda body: {**body, "next_cursor": 100},
    "no success": lambda body: {"success": False, "error": {"status": 500, "code": 3006, "message": "x"}},
    "no success and an empty list": lambda body: {**emptied(body), "success": False, "next_cursor": None},
    "null for the list": lambda body: {**dict.fromkeys(body), "next_cursor": None},
    "an object for the list": lambda body: {**{name: {} for name in body}, "next_cursor": None},
    "the list has another name": lambda body: {
        "data": next(iter(body.values())),
        "next_cursor": body.get("next_cursor"),
    },
    "a list without anything around it": lambda body: next(iter(body.values())),
}


def without(body: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key != name}


def emptied(body: dict[str, Any]) -> dict[str, Any]:
    return {key: [] if isinstance(value, list) else value for key, value in body.items()}


def changed(path: str, change: Callable[[Any], Any], api: HostileAPI) -> Rule:
    """Serve the pages of a list otherwise."""

    def rule(request: Request) -> Response | None:
        if not re.fullmatch(path, request.path):
            return None
        response = api._serve(request)
        return Response(change(response.body))

    return rule


@pytest.mark.parametrize("path", ["/chats", MESSAGES], ids=["chats", "messages"])
@pytest.mark.parametrize("name", SHORT_LISTS)
def test_a_page_of_another_form_does_not_pass_for_the_end(name: str, path: str, tmp_path: Path) -> None:
    account = small_account(250, 1) if path == "/chats" else small_account(2, 250)
    api = HostileAPI(chats=account)
    api.rules.append(changed(path, SHORT_LISTS[name], api))
    extraction = extract(api, tmp_path)
    if read(extraction) != ids(account):
        assert extraction.code == 1
        assert not extraction.bookmarks()
        assert extraction.last_line.strip()


@pytest.mark.parametrize("status", [400, 404, 410])
def test_cursors_that_expire(status: int, tmp_path: Path) -> None:
    """They live for a second, and reading what they list takes longer: in the end all is read all the same."""
    account = small_account(3_000, 1)
    made: dict[str, float] = {}

    def expire(request: Request) -> Response | None:
        cursor = request.query.get("cursor")
        if cursor and time.monotonic() - made.get(cursor, 0) > 1:
            return refusal(status, 1005, "cursor expired")
        made[str(int(cursor or 0) + int(request.query["limit"]))] = time.monotonic()
        return None

    def slow(request: Request) -> Response | None:
        time.sleep(0.01)
        return None

    api = HostileAPI(chats=account, rules=[on("/chats", expire), on(MESSAGES, slow)])
    complete(extract(api, tmp_path, concurrency=16), account)


def test_a_cursor_that_never_works_is_a_failure(tmp_path: Path) -> None:
    account = small_account(250, 1)

    def refuse(request: Request) -> Response | None:
        return refusal(400, 1005, "invalid cursor") if "cursor" in request.query else None

    extraction = extract(HostileAPI(chats=account, rules=[on("/chats", refuse)]), tmp_path)
    assert extraction.code == 1
    assert not extraction.bookmarks()


def test_a_list_without_an_end_is_a_failure(tmp_path: Path) -> None:
    """Empty pages, each with a new cursor."""
    api = HostileAPI(chats=small_account())
    api.rules.append(on("/chats", lambda request: Response({"chats": [], "next_cursor": f"c{request.number}"})))
    extraction = extract(api, tmp_path)
    assert extraction.code == 1
    assert not extraction.bookmarks()
    assert len(api.requests) < 20_000


LINES: dict[str, list[Any]] = {
    "reputation is a text": [line_row(LINE, reputation="HEALTHY")],
    "reputation is null": [line_row(LINE, reputation=None)],
    "reputation of an odd time": [line_row(LINE, reputation={"status": "HEALTHY", "updated_at": ""})],
    "forwarding number is a number": [line_row(LINE, forwarding_number=12025550199)],
    "forwarding number is an object": [line_row(LINE, forwarding_number={"number": "+12025550199"})],
    "line type is an object": [line_row(LINE, line_type={"name": "iMessage"})],
    "line type is new": [line_row(LINE, line_type="carrier pigeon")],
    "nothing but the number and an id": [{"id": "l1", "phone_number": LINE}],
    "unknown fields": [line_row(LINE, plan={"tier": "ephemeral"})],
    "twice the same": [line_row(LINE), line_row(LINE)],
}


@pytest.mark.parametrize("name", LINES)
def test_odd_lines_are_lines(name: str, tmp_path: Path) -> None:
    account = small_account()
    complete(extract(HostileAPI(lines=LINES[name], chats=account), tmp_path), account)


BAD_LINES: dict[str, Any] = {
    "number is null": line_row("+12025550109", phone_number=None),
    "number is missing": {"id": "l9"},
    "number is a number": line_row("+12025550109", phone_number=12025550109),
    "number is empty": line_row("+12025550109", phone_number=""),
    "null": None,
    "a text": "+12025550109",
    "a list": [],
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_a_line_without_a_number_does_not_stop_the_others(name: str, tmp_path: Path) -> None:
    """It may have messages, so the run has not read everything."""
    account = small_account()
    extraction = extract(HostileAPI(lines=[BAD_LINES[name], line_row(LINE)], chats=account), tmp_path)
    assert extraction.code == 1
    assert read(extraction) == ids(account)
    assert LINE in extraction.bookmarks()
    assert extraction.last_line.strip()


def test_a_line_whose_id_is_odd_is_read(tmp_path: Path) -> None:
    account = small_account()
    extraction = extract(HostileAPI(lines=[line_row(LINE, id=7)], chats=account), tmp_path)
    assert read(extraction) == ids(account)
    assert extraction.code == 0


@pytest.mark.parametrize(
    "body", [{"phone_numbers": []}, {"phone_numbers": None}, {}, {"phone_numbers": {}}, {"data": []}], ids=json.dumps
)
@pytest.mark.parametrize("with_state", [False, True], ids=["first run", "later run"])
def test_no_line_at_all_is_a_failure(body: Any, with_state: bool, tmp_path: Path) -> None:
    account = small_account()
    state = extract(HostileAPI(chats=account), tmp_path / "before").state if with_state else None
    api = HostileAPI(chats=account, rules=[on("/phone_numbers", Response(body))])
    extraction = extract(api, tmp_path, state=state)
    assert extraction.code == 1
    assert extraction.last_line.strip()
    assert not extraction.records("messages")


def test_a_line_that_is_gone_can_fail_the_run(tmp_path: Path) -> None:
    account = small_account() + small_account(2, line=OTHER_LINE, prefix="other")
    both = [line_row(LINE), line_row(OTHER_LINE)]
    state = extract(HostileAPI(lines=both, chats=account), tmp_path / "before").state
    api = HostileAPI(lines=both[:1], chats=account)
    warned = extract(api, tmp_path / "warn", state=state)
    assert OTHER_LINE in warned.log
    assert OTHER_LINE in warned.bookmarks()
    failed = extract(HostileAPI(lines=both[:1], chats=account), tmp_path / "fail", state=state, on_gap="fail")
    assert failed.code == 1
    assert OTHER_LINE in failed.last_line


def test_lines_in_pages(tmp_path: Path) -> None:
    account = small_account() + small_account(2, line=OTHER_LINE, prefix="other")

    def page(request: Request) -> Response:
        if "cursor" in request.query:
            return Response({"phone_numbers": [line_row(OTHER_LINE)], "next_cursor": None})
        return Response({"phone_numbers": [line_row(LINE)], "next_cursor": "2"})

    extraction = extract(HostileAPI(chats=account, rules=[on("/phone_numbers", page)]), tmp_path)
    complete(extraction, account)
    assert {row["phone_number"] for row in extraction.records("phone_numbers")} == {LINE, OTHER_LINE}


def test_subscriptions_in_pages(tmp_path: Path) -> None:
    def page(request: Request) -> Response:
        if "cursor" in request.query:
            return Response({"subscriptions": [subscription_row("s2")], "next_cursor": None})
        return Response({"subscriptions": [subscription_row("s1")], "next_cursor": "2"})

    extraction = extract(HostileAPI(chats=small_account(), rules=[on("/webhook-subscriptions", page)]), tmp_path)
    assert {row["id"] for row in extraction.records("webhook_subscriptions")} == {"s1", "s2"}


@pytest.mark.parametrize(
    "refused",
    [
        refusal(403, 2011),
        refusal(404, 2010),
        refusal(500, 3006),
        Response({"subscriptions": None}),
        Response(b"<html>"),
    ],
    ids=["403", "404", "500", "null", "html"],
)
def test_subscriptions_that_cannot_be_read_cost_no_message(refused: Response, tmp_path: Path) -> None:
    """A key may lack the right. It is said, whatever the exit code."""
    account = small_account()
    extraction = extract(HostileAPI(chats=account, rules=[on("/webhook-subscriptions", refused)]), tmp_path)
    assert read(extraction) == ids(account)
    assert extraction.bookmarks()
    assert "webhook" in extraction.log
    assert extraction.code in (0, 1)


def test_subscriptions_do_not_hide_which_chats_failed(tmp_path: Path) -> None:
    account = small_account(5)
    rules = [
        on("/webhook-subscriptions", refusal(403, 2011)),
        on(f"/chats/{account[2].id}/messages", refusal(500, 3006)),
    ]
    extraction = extract(HostileAPI(chats=account, rules=rules), tmp_path)
    assert extraction.code == 1
    assert account[2].id in extraction.log


DATES: dict[str, Callable[[], str]] = {
    "asctime": lambda: time.strftime("%a %b %d %H:%M:%S %Y", time.gmtime()),
    "no zone": lambda: http_date().removesuffix(" GMT"),
    "minus nothing": lambda: http_date().replace("GMT", "-0000"),
    "plus nothing": lambda: http_date().replace("GMT", "+0000"),
    "UTC": lambda: http_date().replace("GMT", "UTC"),
    "RFC 850": lambda: time.strftime("%A, %d-%b-%y %H:%M:%S GMT", time.gmtime()),
    "an offset": lambda: time.strftime("%a, %d %b %Y %H:%M:%S +0200", time.gmtime(time.time() + 7_200)),
}


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata"])
@pytest.mark.parametrize("name", DATES)
def test_a_date_means_the_same_everywhere(name: str, zone: str, tmp_path: Path) -> None:
    account = small_account()
    api = HostileAPI(chats=account)

    def dated(request: Request) -> Response:
        response = api._serve(request)
        response.date = DATES[name]()
        return response

    api.rules.append(dated)
    extraction = extract(api, tmp_path, env={"TZ": zone})
    complete(extraction, account)
    passed_at = extraction.bookmarks()[LINE]
    now = time.strftime("%Y-%m-%dT%H", time.gmtime())
    earlier = time.strftime("%Y-%m-%dT%H", time.gmtime(time.time() - 120))
    assert passed_at[:13] in (now, earlier)


def test_one_date_far_ahead_is_not_believed(tmp_path: Path) -> None:
    account = small_account(20)
    api = HostileAPI(chats=account)
    api.rules.append(
        on("/chats", lambda request: dated(api._serve(request), "Wed, 21 Oct 2099 07:28:00 GMT"), times=1, skip=1)
    )
    extraction = extract(api, tmp_path)
    complete(extraction, account)
    assert extraction.bookmarks()[LINE] < "2090"


def dated(response: Response, date: str) -> Response:
    response.date = date
    return response


def test_the_same_message_in_two_chats_comes_once(tmp_path: Path) -> None:
    """Merged groups. One key twice in a run is twice in the warehouse of a loader that appends."""
    account = small_account(2)
    account[1].messages.append(dict(account[0].messages[0]))
    extraction = extract(HostileAPI(chats=account), tmp_path)
    found = [row["id"] for row in extraction.records("messages")]
    assert sorted(found) == sorted(ids(account))
