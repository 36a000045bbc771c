"""A request that is refused changes nothing: every operation with every chat, message and file that there is.

The world has them in the states that count: a chat that its line has left, an ineligible line, an opted-out or blocked
contact, what has expired, was deleted or was never kept. Random requests seldom meet those.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, TypeAlias

import pytest

from linq_emulator.server.openapi import document
from tests.support import emulator_world as world_of
from tests.support.emulator_world import ANN, BLOCKED, BOB, CAT, DAN, MAIL, OPTED_OUT, ORIGIN, SMS_ONLY, STRANGER, World

DOCUMENT = document(ORIGIN)
UNKNOWN = "01234567-89ab-4def-8123-456789abcdef"
TEXT = world_of.text()

Codes: TypeAlias = defaultdict[str, set[int]]


class Call(NamedTuple):
    """A request in which nothing is wrong but, perhaps, what it names."""

    method: str
    route: str
    path: str
    body: Any = None
    what: str = ""
    headers: dict[str, str] | None = None


def messages(world: World) -> Iterator[tuple[str, Any]]:
    """Contents of a message that is sent to a chat, of each kind that something may be said against."""
    card = {
        "app": {"bundle_id": "a", "name": "b", "team_id": "ABCDE12345"},
        "layout": {"image_url": "https://a.b/c.png"},
    }
    yield "text", TEXT
    yield "media by URL", {"parts": [{"type": "media", "url": "https://files.example/new.png"}]}
    yield "card", {"parts": [{"type": "imessage_app", **card}]}
    yield "clip", {"parts": [{"type": "app_clip", "value": "https://shop.example/clip"}]}
    yield (
        "experience",
        {"experience": {"name": "link", "action": "open", "params": {"url": "https://shop.example"}}},
    )
    yield "mention", {"parts": [{"type": "text", "value": "hi", "mention": CAT}]}
    for number, attachment in enumerate([*world.names["attachment_id"], UNKNOWN]):
        yield f"file {number}", {"parts": [{"type": "media", "attachment_id": attachment}]}
    for key in ("sent", "failed", "deleted"):
        yield f"key {key}", {**TEXT, "idempotency_key": key}
    for name, message in world.messages.items():
        yield f"reply to {name}", {**TEXT, "reply_to": {"message_id": message}}


def in_chats(world: World) -> Iterator[Call]:
    """Operations in every chat."""
    handle = {"handle": DAN}
    fixed: list[tuple[str, str, Any]] = [
        ("GET", "", None),
        ("GET", "/messages", None),
        ("GET", "/location", None),
        ("PUT", "", {"display_name": "Friends"}),
        ("PUT", "", {"group_chat_icon": "https://files.example/icon.png"}),
        ("POST", "/typing", None),
        ("DELETE", "/typing", None),
        ("POST", "/read", None),
        ("POST", "/share_contact_card", None),
        ("POST", "/background", {"type": "color", "shades": ["#F2C4E1", "#F5A623"]}),
        ("POST", "/background", {"type": "photo", "photo_url": "https://files.example/b.png"}),
        ("DELETE", "/background", None),
        ("POST", "/location/request", None),
        ("DELETE", "/location", {"handle": MAIL}),
        ("DELETE", "/location", handle),
        ("POST", "/polls", {"poll": {"options": [{"text": "a"}, {"text": "b"}]}}),
        *(
            ("POST", "/polls", {"poll": {"options": [{"text": "a"}, {"text": "b"}], "idempotency_key": key}})
            for key in ("deleted", "sent", "failed")
        ),
        ("POST", "/voicememo", {"voice_memo_url": "https://files.example/memo.m4a"}),
        *(("POST", "/voicememo", {"attachment_id": one}) for one in world.names["attachment_id"]),
        ("POST", "/participants", handle),
        ("POST", "/participants", {"handle": SMS_ONLY}),
        ("DELETE", "/participants", handle),
        ("DELETE", "/participants", {"handle": ANN}),
        ("POST", "/leave", None),
    ]
    for chat, chat_id in (*world.chats.items(), ("unknown", UNKNOWN)):
        for kind, message in messages(world):
            if kind.startswith("reply to") and chat not in ("direct", "group"):
                continue
            body = {"message": message}
            yield Call(
                "POST", "/v3/chats/{chat_id}/messages", f"/v3/chats/{chat_id}/messages", body, f"{kind} in {chat}"
            )
        for method, rest, body in fixed:
            yield Call(method, f"/v3/chats/{{chat_id}}{rest}", f"/v3/chats/{chat_id}{rest}", body, chat)


def of_messages(world: World) -> Iterator[Call]:
    """Operations on every message."""
    layout = {"caption": "new", "image_url": "https://files.example/card.png"}
    fixed: list[tuple[str, str, Any]] = [
        ("GET", "", None),
        ("GET", "/thread", None),
        ("GET", "/poll", None),
        ("PATCH", "", {"text": "new"}),
        ("POST", "/reactions", {"operation": "add", "type": "love"}),
        ("POST", "/reactions", {"operation": "remove", "type": "love"}),
        ("POST", "/reactions", {"operation": "add", "type": "sticker", "emoji": "x"}),
        ("POST", "/reactions", {"operation": "add", "type": "sticker", "emoji": "x", "placement": {"scale": -1}}),
        *(
            ("POST", "/reactions", {"operation": "add", "type": "sticker", "attachment_id": one})
            for one in world.names["attachment_id"]
        ),
        ("POST", "/update", {"layout": layout}),
        ("POST", "/poll/options", {"options": [{"text": "c"}]}),
        *(
            ("POST", "/poll/votes", {"operation": operation, "option_id": option})
            for operation in ("add", "remove")
            for option in (*world.names["option_id"][::2], UNKNOWN)
        ),
        ("DELETE", "", None),
    ]
    for name, message_id in (*world.messages.items(), ("unknown", UNKNOWN)):
        for method, rest, body in fixed:
            path = f"/v3/messages/{message_id}{rest}"
            yield Call(method, f"/v3/messages/{{message_id}}{rest}", path, body, name)
        for reaction in (*world.names["reaction_id"], UNKNOWN):
            yield Call(
                "PATCH",
                "/v3/messages/{message_id}/reactions/{reaction_id}",
                f"/v3/messages/{message_id}/reactions/{reaction}",
                {"placement": {"x": 0.5}},
                name,
            )


def sends(world: World) -> Iterator[Call]:
    """The two operations that make chats, to all kinds of people, from all lines."""
    people = {
        "one": [ANN],
        "new": ["+12025550199"],
        "opted out": [OPTED_OUT],
        "blocked": [BLOCKED],
        "SMS": [SMS_ONLY],
        "group": [ANN, BOB, CAT],
        "left": [ANN, BOB, DAN],
        "itself": [world_of.LINE],
    }
    for (name, to), (kind, message) in itertools.product(people.items(), messages(world)):
        is_simple = kind in ("text", "media by URL")
        if not is_simple and (kind.startswith("reply to") or name not in ("one", "new", "group", "SMS")):
            continue
        for line in (*world_of.LINES, "+12025550109") if is_simple else (world_of.LINE,):
            body = {"from": line, "to": to, "message": message}
            yield Call("POST", "/v3/chats", "/v3/chats", body, f"{kind} from {line} to {name}")
        for excluded in ([], world_of.LINES):
            sent = {"to": to, "message": message, "exclude_from": excluded, "continuation_message": {"text": "again"}}
            yield Call("POST", "/v3/messages", "/v3/messages", sent, f"{kind} to {name}, without {excluded}")
    for name in ("first of direct", "first of expired", "first of zero retention", "deleted"):
        reply = {**TEXT, "reply_to": {"message_id": world.messages[name]}}
        yield Call("POST", "/v3/chats", "/v3/chats", {"from": world_of.LINE, "to": [ANN], "message": reply}, name)
        yield Call("POST", "/v3/messages", "/v3/messages", {"to": [ANN], "message": reply}, name)
    for key in ("deleted", "failed", "sent"):
        sent = {"to": [ANN], "message": TEXT}
        yield Call("POST", "/v3/messages", "/v3/messages", sent, f"header {key}", {"Idempotency-Key": key})


def of_the_account(world: World) -> Iterator[Call]:
    """All other operations."""

    def at(method: str, route: str, body: Any = None, **names: str) -> Call:
        return Call(method, route, route.format(**names) if names else route, body, str(names))

    for attachment in (*world.names["attachment_id"], UNKNOWN):
        for method in ("GET", "DELETE"):
            yield at(method, "/v3/attachments/{attachment_id}", attachment_id=attachment)
    yield at("POST", "/v3/attachments", {"filename": "a.flac", "content_type": "audio/flac", "size_bytes": 3})
    yield at("POST", "/v3/attachments", {"filename": "a.png", "content_type": "image/png", "size_bytes": 104857601})
    for number in (*world.names["phone_number_id"], UNKNOWN):
        body = {"forwarding_number": "nobody"}
        yield at("PUT", "/v3/phone_numbers/{phone_number_id}", body, phone_number_id=number)
        yield at("PUT", "/v3/phone_numbers/{phone_number_id}", {"forwarding_number": ANN}, phone_number_id=number)
    for line in (*world_of.LINES, "+12025550109"):
        card = {"phone_number": line, "first_name": "Shop"}
        yield at("POST", "/v3/contact_card", card)
        for _ in range(3):
            yield Call("PATCH", "/v3/contact_card", f"/v3/contact_card?phone_number=%2B{line[1:]}", {"last_name": "K"})
        yield at("POST", "/v3/phone_numbers/{phone_number}/reputation_audit", phone_number=line)
        yield at("POST", "/v3/phone_numbers/{phone_number}/reputation_audit", phone_number=line)
        yield at(
            "GET",
            "/v3/phone_numbers/{phone_number}/reputation_audit/{audit_id}",
            phone_number=line,
            audit_id=world.names["audit_id"][0],
        )
        for service in ("imessage", "rcs"):
            for address in (ANN, MAIL, "nobody"):
                yield at("POST", f"/v3/capability/check_{service}", {"address": address, "from": line})
    for experience in ("link", "nothing"):
        yield at("GET", "/v3/experiences/{experience}", experience=experience)
    for path in ("/v3/phone_numbers", "/v3/phonenumbers", "/v3/chats", "/v3/contact_card", "/v3/blocked_handles"):
        yield at("GET", path)
    for path in ("/v3/experiences", "/v3/webhook-events", "/v3/webhook-subscriptions", "/v3/available_number"):
        yield at("GET", path)
    for handle in ("262966", "nobody at all, as this is too long"):
        yield at("POST", "/v3/blocked_handles", {"handle": handle})
        yield at("DELETE", "/v3/blocked_handles", {"handle": handle})
    for events in (["message.sent"], [], ["nothing"]):
        for url in ("https://hooks.example/0", "https://hooks.example/1", "ftp://hooks.example"):
            body = {"target_url": url, "subscribed_events": events}
            yield at("POST", "/v3/webhook-subscriptions", body)
    for subscription in (*world.names["subscription_id"], UNKNOWN):
        for body in (
            {"target_url": "https://hooks.example/1", "is_active": False},
            {"is_active": False, "phone_numbers": ["nobody"]},
            {"subscribed_events": ["message.read"], "routing_id_header": "not a header"},
        ):
            yield at("PUT", "/v3/webhook-subscriptions/{subscription_id}", body, subscription_id=subscription)
        yield at("GET", "/v3/webhook-subscriptions/{subscription_id}", subscription_id=subscription)
        yield at("DELETE", "/v3/webhook-subscriptions/{subscription_id}", subscription_id=subscription)


async def refused_of(world: World, calls: Iterable[Call], codes: Codes) -> list[Call]:
    """Make requests, and return those that are refused; note with which codes each operation is, 0 for a success."""
    refused = []
    for call in calls:
        status, found = await world.request(call.method, f"/api/partner{call.path}", call.body, call.headers)
        error = {"code": 0} if status < 400 else found["error"]
        codes[f"{call.method} {call.route}"].add(error["code"])
        if status < 400:
            # Each of the next ones is refused for its own reason, and not for a limit of requests.
            world.backend.clock.set(advance=3000)
            continue
        refused.append(call)
        documented = DOCUMENT["paths"][call.route][call.method.lower()]["responses"]
        assert error["code"] in documented.get(str(status), {}).get("x-codes", ()), f"{call}: {error} is not documented"
        assert error["code"] != 3006, f"{call} has failed"
    return refused


def check(
    calls_of: Callable[[World], Iterator[Call]], prepare: Callable[[World], object] = lambda world: None
) -> Codes:
    """Make requests, and then those that are refused in the world as it is; they must not change it.

    :param calls_of: yields the requests.
    :param prepare: changes the world beforehand.
    """
    codes: Codes = defaultdict(set)

    def new_world() -> World:
        world = World()
        prepare(world)
        return world

    world = new_world()
    calls = asyncio.run(refused_of(world, calls_of(world), codes))
    while True:
        world = new_world()
        state, refused = world.state(), []
        for start in range(0, len(calls), 20):  # a state takes as long as some requests
            some = calls[start : start + 20]
            found = asyncio.run(refused_of(world, some, codes))
            refused += found
            if found == some:
                assert world.state() == state, f"one of these was refused and has changed something: {some}"
            state = world.state() if found != some else state
        if refused == calls:
            return codes
        calls = refused


def test_what_is_refused_in_a_chat_changes_nothing() -> None:
    codes = check(in_chats)
    assert codes["POST /v3/chats/{chat_id}/messages"] >= {0, 2001, 2002, 2003, 2007, 2013, 2018, 2023, 2024, 2026, 2027}
    assert codes["POST /v3/chats/{chat_id}/polls"] >= {0, 2001, 2002, 2013, 2017, 2024, 2026, 2027}
    assert codes["POST /v3/chats/{chat_id}/participants"] >= {0, 1006, 2013, 2015, 2017, 2027}
    assert codes["POST /v3/chats/{chat_id}/leave"] >= {0, 1006, 2013, 2015, 2027}


def test_what_is_refused_of_a_message_changes_nothing() -> None:
    codes = check(of_messages)
    assert codes["PATCH /v3/messages/{message_id}"] >= {0, 1005, 2002, 2005, 2013, 2027}
    assert codes["POST /v3/messages/{message_id}/reactions"] >= {0, 1005, 2002, 2003, 2007, 2013, 2017, 2027}
    assert codes["POST /v3/messages/{message_id}/poll/votes"] >= {0, 1005, 2002, 2013, 2027}
    assert codes["POST /v3/messages/{message_id}/update"] >= {0, 1005, 2002, 2013, 2027}


def test_what_is_refused_of_a_new_chat_changes_nothing() -> None:
    codes = check(sends)
    assert codes["POST /v3/chats"] >= {0, 1005, 2002, 2003, 2006, 2007, 2018, 2023, 2024, 2026, 2027}
    assert codes["POST /v3/messages"] >= {0, 2002, 2003, 2007, 2023, 2024, 2026}


def test_what_is_refused_of_the_account_changes_nothing() -> None:
    codes = check(of_the_account)
    assert codes["POST /v3/webhook-subscriptions"] >= {0, 1005, 2015}
    assert codes["POST /v3/contact_card"] >= {0, 2006, 2014}


def _no_line(world: World) -> None:
    for line in world.backend.store.lines.values():
        line.ineligible = True


def _sandbox(world: World) -> None:
    world.backend.switches.update({"sandbox": True})


def _rate_limit(world: World) -> None:
    backend = world.backend
    for chat in backend.store.chats.values():
        for _ in range(30):
            backend.rate_limits.acquire("pair", (chat.line.phone_number, frozenset(chat.recipients())), backend.now())


@pytest.mark.parametrize(
    ("prepare", "code"), [(_no_line, 2015), (_sandbox, 2008), (_rate_limit, 1007)], ids=["no line", "sandbox", "limit"]
)
def test_what_nobody_may_send_changes_nothing(prepare: Callable[[World], object], code: int) -> None:
    assert code in check(sends, prepare)["POST /v3/messages"]


def wrong_commands(world: World) -> Iterator[tuple[str, dict[str, Any]]]:
    """Commands of the control API that name something that can't be, after something that would be added."""
    file = {"parts": [{"type": "media", "url": "https://files.example/new.png"}]}
    photo = {"type": "photo", "image_url": "https://files.example/b.png"}
    sticker = {"type": "sticker", "emoji": "x"}
    for chat in ("left", "opted out", "expired"):
        chat_id = world.chats[chat]
        yield "inbound", {"from": STRANGER, "chat_id": chat_id, **file}
        yield "inbound", {"from": STRANGER, "chat_id": chat_id, "text": "STOP"}
        yield "backgrounds", {"from": STRANGER, "chat_id": chat_id, **photo}
        yield "polls", {"from": STRANGER, "chat_id": chat_id, "options": ["a", "b"]}
        yield "typing", {"from": STRANGER, "chat_id": chat_id}
    for message in ("deleted", "first of expired", "system event", "poll in direct"):
        message_id = world.messages[message]
        yield "inbound", {"from": STRANGER, "line": world_of.LINE, "text": "x", "reply_to": UNKNOWN}
        yield "reactions", {"from": STRANGER, "message_id": message_id, **sticker}
        yield "reactions", {"from": ANN, "message_id": message_id, **sticker, "operation": "remove"}
        yield "reactions", {"from": ANN, "message_id": message_id, **sticker, "part_index": 9}
        yield "edits", {"message_id": message_id, "text": "x"}
        yield "receipts", {"message_id": message_id, "status": "failed", "code": 1}
        yield "votes", {"message_id": message_id, "from": ANN, "option": "nothing"}
        yield "poll_options", {"message_id": message_id, "from": STRANGER, "options": ["x"]}
    yield "lines", {"phone_number": "nobody", "ineligible": True}
    yield "lines", {"phone_number": "+12025550120", "retention_hours": 48}
    yield "handles", {"handle": "nobody at all, as this is too long", "blocked": True}
    yield "events", {"type": "message.sent"}
    yield "clock", {"advance": 4e11, "freeze": False}
    yield "seed", {"chats": 1, "lines": ["+12025550121", "nobody"]}


def test_a_command_that_is_refused_changes_nothing() -> None:
    world = World()
    state = world.state()
    for path, body in wrong_commands(world):
        status, found = asyncio.run(world.request("POST", f"/_emulator/{path}", body))
        assert status in (400, 404), (path, body, found)
        assert world.state() == state, f"{path} was refused and has changed something: {body}"
