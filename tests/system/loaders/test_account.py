"""The account itself: its lines, its webhook subscriptions, and its clock, as nobody promised them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.hostile_api import (
    LINE,
    OTHER_LINE,
    HostileAPI,
    Request,
    Response,
    ago,
    http_date,
    line_row,
    on,
    refusal,
    small_account,
    subscription_row,
)
from tests.system.loaders.scenarios import check_complete, extract, ids, read

#: Fields of a line's row, none of which matters to what it holds.
ODD_FIELDS: dict[str, dict[str, Any]] = {
    "reputation is a text": {"reputation": "HEALTHY"},
    "reputation is null": {"reputation": None},
    "reputation of an odd time": {"reputation": {"status": "HEALTHY", "updated_at": ""}},
    "forwarding number is a number": {"forwarding_number": 12025550199},
    "forwarding number is an object": {"forwarding_number": {"number": "+12025550199"}},
    "line type is an object": {"line_type": {"name": "iMessage"}},
    "line type is new": {"line_type": "carrier pigeon"},
    "unknown fields": {"plan": {"tier": "ephemeral"}},
}


def test_odd_lines_are_lines(tmp_path: Path) -> None:
    lines = [line_row(f"+120255501{number:02}", **fields) for number, fields in enumerate(ODD_FIELDS.values(), 10)]
    lines.append({"id": "l1", "phone_number": "+12025550150"})
    account = [
        chat for row in lines for chat in small_account(2, 2, row["phone_number"], prefix=row["phone_number"][1:])
    ]
    extraction = extract(HostileAPI(lines=lines, chats=account), tmp_path)
    check_complete(extraction, account)
    assert extraction.bookmarks.keys() == {row["phone_number"] for row in lines}


def test_a_line_that_is_listed_twice_is_read_once(tmp_path: Path) -> None:
    account = small_account()
    extraction = extract(HostileAPI(lines=[line_row(LINE), line_row(LINE)], chats=account), tmp_path)
    check_complete(extraction, account)
    assert len(extraction.records("messages")) == len(ids(account))


@pytest.mark.parametrize(
    "row",
    [line_row(OTHER_LINE, phone_number=None), {"id": "l9"}, line_row(OTHER_LINE, phone_number="")],
    ids=["null", "missing", "empty"],
)
def test_a_line_without_a_number_yet_is_passed_over(row: Any, tmp_path: Path) -> None:
    """It is being set up, and holds nothing to read."""
    account = small_account()
    extraction = extract(HostileAPI(lines=[row, line_row(LINE)], chats=account), tmp_path)
    check_complete(extraction, account)
    assert any("WARNING" in line and "number" in line for line in extraction.complaints), extraction.log


@pytest.mark.parametrize("number", [12025550109, ["+12025550109"], {"e164": "+12025550109"}, True], ids=json.dumps)
def test_a_line_whose_number_is_unreadable_does_not_stop_the_others(number: Any, tmp_path: Path) -> None:
    """It may have messages, so the run has not read everything."""
    account = small_account()
    lines = [line_row(OTHER_LINE, id="the-odd-line", phone_number=number), line_row(LINE)]
    extraction = extract(HostileAPI(lines=lines, chats=account), tmp_path)
    assert extraction.code == 1
    assert read(extraction) == ids(account)
    assert LINE in extraction.bookmarks
    assert "the-odd-line" in extraction.last_line, extraction.last_line


@pytest.mark.parametrize("row", [None, "+12025550109", []], ids=json.dumps)
def test_what_is_no_line_is_heard_of(row: Any, tmp_path: Path) -> None:
    account = small_account()
    extraction = extract(HostileAPI(lines=[row, line_row(LINE)], chats=account), tmp_path)
    assert read(extraction) == ids(account)
    assert LINE in extraction.bookmarks
    assert extraction.complaints


def test_a_line_whose_id_is_odd_is_read(tmp_path: Path) -> None:
    account = small_account()
    extraction = extract(HostileAPI(lines=[line_row(LINE, id=7)], chats=account), tmp_path)
    assert read(extraction) == ids(account)
    assert extraction.code == 0


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a complete run has left."""
    return extract(HostileAPI(chats=small_account()), tmp_path_factory.mktemp("before")).state


NO_LINES = [{"phone_numbers": []}, {"phone_numbers": None}, {}, {"phone_numbers": {}}, {"data": []}]


@pytest.mark.parametrize(("body", "is_later"), [(NO_LINES[0], False), *((body, True) for body in NO_LINES)])
def test_no_line_at_all_is_a_failure(body: Any, is_later: bool, state: Any, tmp_path: Path) -> None:
    api = HostileAPI(chats=small_account(), rules=[on("/phone_numbers", Response(body))])
    extraction = extract(api, tmp_path, state=state if is_later else None)
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
    assert OTHER_LINE in warned.bookmarks
    failed = extract(HostileAPI(lines=both[:1], chats=account), tmp_path / "fail", state=state, on_missing_line="fail")
    assert failed.code == 1
    assert OTHER_LINE in failed.last_line


def test_lines_in_pages(tmp_path: Path) -> None:
    account = small_account() + small_account(2, line=OTHER_LINE, prefix="other")

    def page(request: Request) -> Response:
        if "cursor" in request.query:
            return Response({"phone_numbers": [line_row(OTHER_LINE)], "next_cursor": None})
        return Response({"phone_numbers": [line_row(LINE)], "next_cursor": "2"})

    extraction = extract(HostileAPI(chats=account, rules=[on("/phone_numbers", page)]), tmp_path)
    check_complete(extraction, account)
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
    """A key may lack the right, and an endpoint's outage is not waited for longer than any. It is said."""
    account = small_account()
    extraction = extract(
        HostileAPI(chats=account, rules=[on("/webhook-subscriptions", refused)]), tmp_path, outage_patience_minutes=0.05
    )
    assert read(extraction) == ids(account)
    assert extraction.bookmarks
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


@pytest.mark.parametrize(
    ("name", "zone"), [*((name, "America/New_York") for name in DATES), ("no zone", "Asia/Kolkata")]
)
def test_a_date_means_the_same_everywhere(name: str, zone: str, tmp_path: Path) -> None:
    account = small_account()
    api = HostileAPI(chats=account)

    def dated(request: Request) -> Response:
        response = api.serve(request)
        response.date = DATES[name]()
        return response

    api.rules.append(dated)
    extraction = extract(api, tmp_path, env={"TZ": zone})
    check_complete(extraction, account)
    passed_at = extraction.bookmarks[LINE]
    now = time.strftime("%Y-%m-%dT%H", time.gmtime())
    earlier = time.strftime("%Y-%m-%dT%H", time.gmtime(time.time() - 120))
    assert passed_at[:13] in (now, earlier)


def test_one_date_far_ahead_is_not_believed(tmp_path: Path) -> None:
    account = small_account(20)
    api = HostileAPI(chats=account)
    api.rules.append(
        on("/chats", lambda request: dated(api.serve(request), "Wed, 21 Oct 2099 07:28:00 GMT"), times=1, skip=1)
    )
    extraction = extract(api, tmp_path)
    check_complete(extraction, account)
    assert extraction.bookmarks[LINE] < "2090"


def test_a_first_date_that_is_ahead_moves_no_bookmark_ahead(tmp_path: Path) -> None:
    """There is nothing to hold it against, and no message that comes after the run may lie before its bookmark."""
    account = small_account(20)
    api = HostileAPI(chats=account)
    ahead = format_datetime(datetime.now(timezone.utc) + timedelta(minutes=40), usegmt=True)
    api.rules.append(on("/phone_numbers", lambda request: dated(api.serve(request), ahead)))
    extraction = extract(api, tmp_path)
    check_complete(extraction, account)
    assert extraction.bookmarks[LINE] <= ago()


def test_a_first_date_out_of_a_cache_makes_no_state_a_wrong_one(tmp_path: Path) -> None:
    account = small_account(20)
    api = HostileAPI(chats=account)
    first = extract(api, tmp_path)
    old = format_datetime(datetime.now(timezone.utc) - timedelta(hours=3), usegmt=True)
    api.rules.append(on("/phone_numbers", lambda request: dated(api.serve(request), old)))
    second = extract(api, tmp_path / "second", state=first.state, on_gap="fail")
    assert second.code == 0, second.log
    assert second.records("extraction_gaps") == []
    assert second.bookmarks[LINE] >= first.bookmarks[LINE]


def dated(response: Response, date: str) -> Response:
    response.date = date
    return response
