"""An API that says no for ever, or something else than it should: what was not read never passes for read."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.support.hostile_api import HostileAPI, Request, Response, line_row, on, refusal, small_account
from tests.system.loaders.scenarios import (
    FORMS,
    FORMS_OF_CHATS,
    NEVER,
    ONLY_LISTS,
    SEVERAL_PAGES,
    Played,
    changed,
    check_complete,
    extract,
    ids,
    read,
)


@pytest.mark.parametrize("early", [f"never {name}" for name in NEVER])
def test_chats_that_never_answer_cost_only_themselves(early: str, played: Played) -> None:
    """The run ends by itself: such a chat is no outage, and nothing to wait for for hours."""
    scenario, extraction = played(early)
    assert extraction.code == 1, extraction.log[-1_500:]
    assert read(extraction) == ids([chat for chat in scenario.api.chats if chat not in scenario.failing])
    assert not extraction.bookmarks
    named = [chat.id for chat in scenario.failing if chat.id in extraction.log]
    assert len(named) == len(scenario.failing), f"only {named} are named"
    assert scenario.failing[0].id in extraction.last_line


@pytest.mark.parametrize("early", [f"list {name}" for name in ONLY_LISTS])
def test_a_list_of_chats_of_another_form_does_not_pass_for_its_end(early: str, played: Played) -> None:
    scenario, extraction = played(early)
    if read(extraction) != ids(scenario.api.chats):
        assert extraction.code == 1, extraction.log[-1_500:]
        assert not extraction.bookmarks
        assert extraction.last_line.strip()


def test_lists_of_chats_of_many_forms(tmp_path: Path) -> None:
    """A line for each: one whose chats were not all read is a failure, and keeps its bookmark."""
    lines = {f"+120255501{number:02}": form for number, form in enumerate(FORMS_OF_CHATS, 10)}
    api = HostileAPI(lines=[line_row(line) for line in lines])
    for number, (line, form) in enumerate(lines.items()):
        api.chats += small_account(SEVERAL_PAGES, 1, line, prefix=f"line{number}")
        api.rules.append(changed("/chats", FORMS[form], api, line))
    extraction = extract(api, tmp_path)
    found = read(extraction)
    for line, form in lines.items():
        if not ids([chat for chat in api.chats if chat.line == line]) <= found:
            assert extraction.code == 1
            assert line not in extraction.bookmarks, form
            assert line in extraction.last_line, form


def test_lists_of_messages_of_many_forms(tmp_path: Path) -> None:
    """A chat for each: one that was not read to its end is a failure, and is named."""
    api = HostileAPI(chats=small_account(len(FORMS), SEVERAL_PAGES))
    for chat, form in zip(api.chats, FORMS, strict=True):
        api.rules.append(changed(f"/chats/{chat.id}/messages", FORMS[form], api))
    api.chats += small_account(2, prefix="good")
    extraction = extract(api, tmp_path)
    found = read(extraction)
    for chat, form in zip(api.chats, [*FORMS, "good", "good"], strict=True):
        if not ids([chat]) <= found:
            assert form != "good"
            assert extraction.code == 1
            assert chat.id in extraction.log, form
            assert not extraction.bookmarks


def test_pages_that_the_api_can_t_make_are_asked_for_in_smaller_ones(tmp_path: Path) -> None:
    """As of a chat whose messages take a gateway too long, 100 at a time: no run would ever read it."""
    api = HostileAPI(chats=[*small_account(1, 250, prefix="long"), *small_account(3)])

    def too_slow(request: Request) -> Response | None:
        return Response(b"<html>504</html>", 504) if int(request.query["limit"]) > 20 else None

    api.rules.append(on(f"/chats/{api.chats[0].id}/messages", too_slow))
    check_complete(extract(api, tmp_path), api.chats)


def test_cursors_that_expire(tmp_path: Path) -> None:
    """Each the first time that it is used, in one of the ways to say so: in the end all is read all the same."""
    account = small_account(350, 1)
    used: set[str] = set()
    lock = threading.Lock()

    def expire(request: Request) -> Response | None:
        cursor = request.query.get("cursor")
        with lock:
            if not cursor or cursor in used:
                return None
            used.add(cursor)
        return refusal([400, 404, 410][len(used) % 3], 1005, "cursor expired")

    extraction = extract(HostileAPI(chats=account, rules=[on("/chats", expire)]), tmp_path, concurrency=16)
    check_complete(extraction, account)
    assert len(used) >= 3


def test_a_cursor_that_never_works_is_a_failure(tmp_path: Path) -> None:
    def refuse(request: Request) -> Response | None:
        return refusal(400, 1005, "invalid cursor") if "cursor" in request.query else None

    api = HostileAPI(chats=small_account(SEVERAL_PAGES, 1), rules=[on("/chats", refuse)])
    extraction = extract(api, tmp_path)
    assert api.by_rules
    assert extraction.code == 1
    assert not extraction.bookmarks


def test_a_list_without_an_end_is_a_failure(tmp_path: Path) -> None:
    """Empty pages, each with a new cursor."""
    api = HostileAPI(chats=small_account())
    api.rules.append(on("/chats", lambda request: Response({"chats": [], "next_cursor": f"c{request.number}"})))
    extraction = extract(api, tmp_path)
    assert extraction.code == 1
    assert not extraction.bookmarks
    assert len(api.requests) < 20_000


def test_the_same_message_in_two_chats_comes_once(tmp_path: Path) -> None:
    """Merged groups. One key twice in a run is twice in the warehouse of a loader that appends."""
    account = small_account(2)
    account[1].messages.append(dict(account[0].messages[0]))
    extraction = extract(HostileAPI(chats=account), tmp_path)
    found = [row["id"] for row in extraction.records("messages")]
    assert sorted(found) == sorted(ids(account))
