"""What a message may hold, and how wrong requests are refused."""

from __future__ import annotations

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

LINE, ANN, BOB, CAT = "+12025550101", "+12025550150", "+12025550151", "+12025550152"
UUID = "00000000-0000-4000-8000-000000000000"


def part(**fields):
    return {"parts": [{"type": "text", "value": "hello", **fields}]}


def decoration(start, end, **fields):
    return part(text_decorations=[{"range": [start, end], **(fields or {"style": "bold"})}])


REFUSED = [
    ({}, 1001),
    ({"parts": []}, 1004),
    ({"parts": "hello"}, 1003),
    ({"parts": [1]}, 1003),
    ({"parts": [{"type": "text"}]}, 1001),
    ({"parts": [{"type": "text", "value": ""}]}, 1004),
    ({"parts": [{"type": "text", "value": "x" * 10_001}]}, 1004),
    ({"parts": [{"type": "text", "value": 7}]}, 1003),
    ({"parts": [{"type": "poem", "value": "x"}]}, 1004),
    ({"parts": [{"type": "text", "value": "a"}, {"type": "text", "value": "b"}]}, 1004),
    ({"parts": [{"type": "link", "value": "https://example.com"}, {"type": "text", "value": "a"}]}, 1004),
    ({"parts": [{"type": "link", "value": "ftp://example.com"}]}, 1004),
    ({"parts": [{"type": "link", "value": "https://example.com/" + "x" * 2048}]}, 1004),
    ({"parts": [{"type": "media"}]}, 1004),
    ({"parts": [{"type": "media", "url": "https://example.com/a.png", "attachment_id": UUID}]}, 1004),
    ({"parts": [{"type": "media", "url": "http://example.com/a.png"}]}, 1005),
    ({"parts": [{"type": "media", "url": "https://example.com/a.flac"}]}, 5004),
    ({"parts": [{"type": "media", "attachment_id": UUID}]}, 2003),
    ({"parts": [{"type": "media", "attachment_id": "7"}]}, 1005),
    ({"parts": [{"type": "media", "url": "https://example.com/a.png"}] * 41}, 1004),
    ({"parts": [{"type": "media", "url": "https://example.com/a.png"}] * 101}, 1004),
    (decoration(0, 6), 1004),
    (decoration(3, 3), 1004),
    (decoration(-1, 3), 1004),
    (decoration(0, 3, style="bold", animation="shake"), 1004),
    (decoration(0, 3, style="wavy"), 1004),
    (part(text_decorations=[{"range": [0, 3], "animation": "big"}, {"range": [2, 5], "style": "bold"}]), 1004),
    (part(mention_range=[0, 2]), 1004),
    (part() | {"effect": {"type": "screen", "name": "slam"}}, 1005),
    (part() | {"effect": {"type": "both", "name": "slam"}}, 1005),
    (part() | {"idempotency_key": "k" * 256}, 1005),
    (part() | {"idempotency_key": ""}, 1005),
    (part() | {"preferred_service": "Pigeon"}, 1005),
    (part() | {"reply_to": {"message_id": "x"}}, 1005),
    (part() | {"experience": {"name": "a", "action": "b"}}, 1004),
    ({"experience": {"name": "a", "action": "b"}}, 2011),
]


@pytest.mark.parametrize(("message", "code"), REFUSED)
def test_refused_content(server, message, code):
    chat = server.create(ANN)["id"]
    status, got = server.refused("POST", f"/v3/chats/{chat}/messages", {"message": message})
    assert got == code
    assert status == {2003: 404, 2011: 403}.get(code, 400)
    assert len(server.ledger()) == 1


@pytest.mark.parametrize(
    "message",
    [
        part() | {"idempotency_key": "k" * 255},
        {"parts": [{"type": "text", "value": "x" * 10_000}]},
        {"parts": [{"type": "text", "value": "a"}, {"type": "media", "url": "https://example.com/a.png"}] * 40},
        {"parts": [{"type": "link", "value": "http://example.com/" + "x" * 2029}]},
        part() | {"effect": {"type": "bubble", "name": "slam"}},
        part(text_decorations=[{"range": [0, 3], "style": "bold"}, {"range": [2, 5], "style": "italic"}]),
    ],
)
def test_accepted_content(server, message):
    chat = server.create(ANN)["id"]
    sent = server.ok("POST", f"/v3/chats/{chat}/messages", {"message": message})["message"]
    shown = server.ok("GET", f"/v3/messages/{sent['id']}")
    assert [one["type"] for one in shown["parts"]] == [one["type"] for one in message["parts"]]
    assert all(one["reactions"] is None for one in shown["parts"])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    value=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20),
    start=st.integers(-2, 45),
    length=st.integers(-2, 45),
)
def test_ranges_count_utf16_units(server, value, start, length):
    server.restart()
    chat = server.create(ANN)["id"]
    units = len(value.encode("utf-16-le")) // 2
    decorated = {
        "type": "text",
        "value": value,
        "text_decorations": [{"range": [start, start + length], "style": "bold"}],
    }
    answer = server.call("POST", f"/v3/chats/{chat}/messages", {"message": {"parts": [decorated]}})
    assert (answer.status_code == 202) is (0 <= start < start + length <= units)
    if answer.ok:
        assert answer.json()["message"]["parts"][0]["value"] == value


def test_mentions_are_for_groups(server):
    chat, group = server.create(ANN)["id"], server.create(ANN, BOB)["id"]
    mention = {"message": part(mention=ANN)}
    assert server.refused("POST", f"/v3/chats/{chat}/messages", mention) == (409, 2023)
    shown = server.ok("POST", f"/v3/chats/{group}/messages", mention)["message"]["parts"][0]
    assert shown["mentions"] == [{"handle": ANN, "is_me": False, "range": [0, 5]}]
    stranger = {"message": part(mention="+12025550199")}
    assert server.refused("POST", f"/v3/chats/{group}/messages", stranger) == (400, 1005)


def test_a_mention_of_somebody_who_left_is_a_conflict(server):
    group = server.create(ANN, BOB, CAT)["id"]
    server.ok("DELETE", f"/v3/chats/{group}/participants", {"handle": BOB})
    server.advance(1)
    path = f"/v3/chats/{group}/messages"
    assert server.refused("POST", path, {"message": part(mention=BOB)}) == (409, 2015)
    assert server.ok("POST", path, {"message": part(mention=CAT)})


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"from": None}, (400, 1001)),
        ({"from": "2025550101"}, (400, 1002)),
        ({"from": "+12025550199"}, (403, 2006)),
        ({"to": None}, (400, 1001)),
        ({"to": []}, (400, 1005)),
        ({"to": ANN}, (400, 1003)),
        ({"to": ["+1 202 555 0150"]}, (400, 1002)),
        ({"to": ["+1(202)555-0150"]}, (400, 1002)),
        ({"to": ["not an address"]}, (400, 1002)),
        ({"to": [f"person{number}@example.com" for number in range(32)]}, (400, 1005)),
        ({"to": [LINE]}, (400, 1005)),
        ({"message": None}, (400, 1001)),
        ({"message": "hi"}, (400, 1003)),
        ({"override_optout": "yes"}, (400, 1003)),
    ],
)
def test_refused_creations(server, change, refusal):
    body = {"from": LINE, "to": [ANN], "message": part()} | change
    assert server.refused("POST", "/v3/chats", body) == refusal
    assert server.ledger() == []


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"7", b'{"a":', b"\xff\xfe"])
def test_bodies_that_are_no_json_object(server, raw):
    answer = server.session.post(f"{server.base_url}/v3/chats", data=raw, timeout=300)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, 1003)


@pytest.mark.parametrize("header", [None, "Bearer wrong", "linq-emulator-key", "Bearer "])
def test_a_key_is_needed(server, header):
    headers = {} if header is None else {"Authorization": header}
    answer = requests.get(f"{server.base_url}/v3/chats", headers=headers, timeout=300)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, 2004)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/v3/chats/{}", 2001),
        ("/v3/chats/{}/messages", 2001),
        ("/v3/chats/{}/location", 2001),
        ("/v3/messages/{}", 2002),
        ("/v3/messages/{}/thread", 2002),
        ("/v3/attachments/{}", 2003),
        ("/v3/webhook-subscriptions/{}", 2010),
    ],
)
def test_unknown_and_malformed_ids(server, path, code):
    assert server.refused("GET", path.format(UUID)) == (404, code)
    assert server.refused("GET", path.format("7")) == (400, 1005)


def test_headers_of_every_answer(server):
    for path, status in (("/v3/chats", 200), ("/v3/chats/7", 400), ("/v3/no-such-thing", 404)):
        answer = server.call("GET", path)
        assert answer.status_code == status
        assert len(bytes.fromhex(answer.headers["X-Trace-ID"])) == 16
        assert answer.headers["Date"] == "Sat, 21 Nov 2026 10:00:00 GMT"


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE"])
def test_methods_that_no_path_has_get_an_envelope_too(server, method):
    assert server.refused(method, "/v3/chats") == (404, 1005)
    assert server.refused(method, "/v3/chats", headers={"Authorization": "Bearer wrong"}) == (401, 2004)


def test_a_number_that_is_out_of_range_is_named(server):
    response = server.call("POST", "/v3/chats", data=b'{"from": 1e999}')
    assert (response.status_code, response.json()["error"]["code"]) == (400, 1003)
    assert "out of range" in response.json()["error"]["message"]
