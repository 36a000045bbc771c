"""Runs of the tap against an API that misbehaves, those that take long begun early and together.

Most of their time they wait. So a session starts all that its tests will ask for when its first test begins.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.hostile_api import (
    Chat,
    HostileAPI,
    Request,
    Response,
    Rule,
    on,
    outage,
    refusal,
    serving,
    small_account,
)
from tests.support.tap_runs import Extraction, Run, start_tap

FULL = os.environ.get("LINQ_DRILLS") == "full"
MESSAGES = r"/chats/[^/]+/messages"


def ids(account: list[Chat]) -> set[str]:
    return {row["id"] for chat in account for row in chat.messages}


def read(extraction: Extraction) -> set[str]:
    return {row["id"] for row in extraction.records("messages")}


def extract(api: HostileAPI, folder: Path, **options: Any) -> Extraction:
    """Run the tap to its end, with the options of `start_tap`; a traceback in the log is a fault whatever comes."""
    with serving(api):
        extraction = start_tap(api, folder, **options).end()
    assert "Traceback" not in extraction.log, extraction.log[-1_500:]
    return extraction


def check_complete(extraction: Extraction, account: list[Chat]) -> None:
    assert extraction.code == 0, extraction.log[-1_500:]
    assert read(extraction) == ids(account)
    assert extraction.bookmarks


@dataclass
class Scenario:
    """An account, and how its API misbehaves.

    Attributes:
        failing: chats that can't be read.
    """

    api: HostileAPI
    failing: list[Chat] = field(default_factory=list)
    run: Run | None = None

    def play(self, folder: Path) -> Extraction:
        with serving(self.api):
            self.run = start_tap(self.api, folder)
            return self.run.end()


#: Returns a scenario of `EARLY`, and how it ended.
Played = Callable[[str], tuple[Scenario, Extraction]]


def _account(*rules: Rule, chats: int = 60) -> Scenario:
    return Scenario(HostileAPI(chats=small_account(chats, 1), rules=list(rules)))


#: A usual deployment takes three quarters of a minute.
LONG = 45 if FULL else 15

#: Outages that end. An account of 60 chats is some 65 requests.
OUTAGES: dict[str, Callable[[], Scenario]] = {
    "at the first request": lambda: _account(outage(3)),
    "in the middle": lambda: _account(outage(3, after=30)),
    "at the last chats": lambda: _account(outage(3, after=59)),
    "of 502": lambda: _account(outage(3, after=30, response=Response(b"", 502))),
    "of the API's own 503": lambda: _account(outage(3, after=30, response=refusal(503, 4004, "service unavailable"))),
    "of 500": lambda: _account(outage(3, after=30, response=refusal(500, 3006))),
    "of messages alone": lambda: _account(outage(3, after=30, path=MESSAGES)),
    "of the list alone": lambda: _account(outage(3, after=1, path="/chats")),
    "of 12 requests": lambda: _account(on(".*", Response(b"<html>", 503), times=12, skip=30)),
    "of 12 requests for messages": lambda: _account(on(MESSAGES, refusal(503, 4004), times=12, skip=30)),
    "of 429 without a time": lambda: _account(outage(3, after=30, response=refusal(429, 1007))),
    "of one chat, 4 times": lambda: _account(on("/chats/chat-00007/messages", Response(b"<html>", 503), times=4)),
    "long": lambda: _account(outage(LONG, after=30)),
}

#: What a chat says for ever that can't be read.
REFUSALS: dict[str, Response] = {
    "500": refusal(500, 3006),
    "a list": Response(b"[]"),
    "an empty object": Response(b"{}"),
    "null for the list": Response({"messages": None, "next_cursor": None}),
    "nothing": Response(b""),
}


def _failing(account: list[Chat], refused: dict[int, Response]) -> Scenario:
    rules = [on(f"/chats/{account[number].id}/messages", response) for number, response in refused.items()]
    return Scenario(HostileAPI(chats=account, rules=rules), [account[number] for number in refused])


def _one_of(chats: int, place: int, refused: Response) -> Callable[[], Scenario]:
    return lambda: _failing(small_account(chats), {place: refused})


#: Chats that never answer; who else there is decides what that looks like.
NEVER: dict[str, Callable[[], Scenario]] = {
    **{f"the only chat: {name}": _one_of(1, 0, refused) for name, refused in REFUSALS.items()},
    "one of each among 25": lambda: _failing(
        small_account(25), dict(zip((0, 6, 12, 18, 24), REFUSALS.values(), strict=True))
    ),
    "every other one": lambda: _failing(small_account(40, 1), dict.fromkeys(range(0, 40, 2), refusal(500, 3006))),
}
if FULL:
    # As long as no other chat works this looks like an outage of all of them, which is waited out for minutes.
    NEVER["the first half"] = lambda: _failing(small_account(40, 1), dict.fromkeys(range(20), refusal(500, 3006)))
    for place, number in {"first": 0, "middle": 12, "last": 24}.items():
        for name, refused in REFUSALS.items():
            NEVER[f"the {place} of 25 chats: {name}"] = _one_of(25, number, refused)


def without(body: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key != name}


def emptied(body: dict[str, Any]) -> dict[str, Any]:
    return {key: [] if isinstance(value, list) else value for key, value in body.items()}


#: Pages of other forms, none of which may pass for the end of a list.
FORMS: dict[str, Callable[[Any], Any]] = {
    "the cursor has another name": lambda body: {**without(body, "next_cursor"), "nextCursor": body["next_cursor"]},
    "the cursor is one level deeper": lambda body: {**without(body, "next_cursor"), "pagination": body},
    "the cursor is gone": lambda body: without(body, "next_cursor"),
    "the cursor is an object": lambda body: {**body, "next_cursor": {"after": "x"}},
    "the cursor is a number": lambda body: {**body, "next_cursor": 100},
    "no success": lambda body: {"success": False, "error": {"status": 500, "code": 3006, "message": "x"}},
    "no success and an empty list": lambda body: {**emptied(body), "success": False, "next_cursor": None},
    "null for the list": lambda body: {**dict.fromkeys(body), "next_cursor": None},
    "an object for the list": lambda body: {**{name: {} for name in body}, "next_cursor": None},
    "the list has another name": lambda body: {"data": next(iter(body.values())), "next_cursor": body["next_cursor"]},
    "a list without anything around it": lambda body: next(iter(body.values())),
}
#: Those that are tried with lists of chats, which cost a request for each chat, too.
FORMS_OF_CHATS = (
    list(FORMS)
    if FULL
    else ["the cursor has another name", "the cursor is a number", "no success and an empty list", "null for the list"]
)
#: More than the tap asks for in a page.
SEVERAL_PAGES = 104


def changed(path: str, change: Callable[[Any], Any], api: HostileAPI, line: str | None = None) -> Rule:
    """Serve the pages of a list, or of a line's list, in another form."""

    def rule(request: Request) -> Response | None:
        if not re.fullmatch(path, request.path) or line not in (None, request.query.get("from")):
            return None
        return Response(change(api.serve(request).body))

    return rule


def _only_line(form: str) -> Callable[[], Scenario]:
    def scenario() -> Scenario:
        made = _account(chats=SEVERAL_PAGES)
        made.api.rules.append(changed("/chats", FORMS[form], made.api))
        return made

    return scenario


#: The account's only list of chats has another form.
ONLY_LISTS = {form: _only_line(form) for form in (FORMS if FULL else ("the cursor is gone", "no success"))}

EARLY: dict[str, Callable[[], Scenario]] = {
    **{f"outage {name}": scenario for name, scenario in OUTAGES.items()},
    **{f"never {name}": scenario for name, scenario in NEVER.items()},
    **{f"list {name}": scenario for name, scenario in ONLY_LISTS.items()},
}


def slug(name: str) -> str:
    return re.sub(r"\W+", "-", json.dumps(name)).strip("-")
