"""Sending: chat identity, idempotency keys, first messages, opt-outs, lines, limits."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

LINE, OTHER_LINE = "+12025550101", "+12025550102"
ANN, BOB, CAT, DAN = "+12025550150", "+12025550151", "+12025550152", "dan@example.com"


def text(value, **more):
    return {"parts": [{"type": "text", "value": value}], **more}


def creation(*to, line=LINE, message=None, **more):
    return {"from": line, "to": list(to), "message": message or text("hello"), **more}


# --- identity ---------------------------------------------------------------------------------------------------


def test_a_chat_is_its_line_and_its_set_of_recipients(server):
    first = server.create(ANN, BOB)
    assert server.create(BOB, ANN, BOB)["id"] == first["id"]
    assert server.create(ANN)["id"] != first["id"]
    assert server.create(ANN, BOB, line=OTHER_LINE)["id"] != first["id"]
    assert len(server.walk(f"/v3/chats/{first['id']}/messages", "messages")) == 2


def test_a_named_group_is_not_matched(server):
    named = server.create(ANN, BOB)["id"]
    server.ok("PUT", f"/v3/chats/{named}", {"display_name": "Team"})
    assert server.create(ANN, BOB)["id"] == named, "the name applies later"
    server.advance(2)
    other = server.create(ANN, BOB)["id"]
    assert other != named
    assert server.create(ANN, BOB)["id"] == other


def test_a_changed_or_left_group_is_not_matched(server):
    changed = server.create(ANN, BOB, CAT)["id"]
    server.ok("POST", f"/v3/chats/{changed}/participants", {"handle": DAN})
    server.advance(2)
    again = server.create(ANN, BOB, CAT)["id"]
    assert again != changed
    server.ok("POST", f"/v3/chats/{again}/leave")
    server.advance(2)
    assert server.create(ANN, BOB, CAT)["id"] not in (changed, again)


@pytest.mark.parametrize(("place", "inside", "beside"), [("inside", 1, 0), ("beside", 0, 1), ("both", 1, 1)])
def test_where_the_message_of_a_create_stands(server, place, inside, beside):
    server.set_switches(create_chat_message=place)
    answer = server.ok("POST", "/v3/chats", creation(ANN))
    assert ("message" in answer["chat"], "message" in answer) == (bool(inside), bool(beside))


# --- first messages ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        {"parts": [{"type": "link", "value": "https://example.com"}]},
        text("look at https://example.com/x"),
        text("see www.example.com"),
        text("hi", effect={"type": "screen", "name": "confetti"}),
        text("hi", reply_to={"message_id": "00000000-0000-4000-8000-000000000000"}),
    ],
)
def test_the_first_message_of_a_new_chat(server, message):
    assert server.refused("POST", "/v3/chats", creation(ANN, message=message)) == (400, 1005)
    assert server.ok("GET", "/v3/chats")["chats"] == []


def test_a_link_is_fine_in_a_chat_that_exists_and_without_a_from(server):
    link = {"parts": [{"type": "link", "value": "https://example.com"}]}
    chat = server.create(ANN)["id"]
    assert server.ok("POST", "/v3/chats", creation(ANN, message=link))["chat"]["id"] == chat
    assert server.ok("POST", "/v3/messages", {"to": [BOB], "message": link})["created_new_chat"]


# --- idempotency ------------------------------------------------------------------------------------------------


def test_a_key_gives_the_same_answer_and_sends_nothing(server):
    chat = server.create(ANN)["id"]
    first = server.send(chat, "one", idempotency_key="k")
    server.advance(60)
    assert server.send(chat, "other words", idempotency_key="k") == first
    assert len(server.ledger()) == 2


@pytest.mark.parametrize("place", ["inside", "both"])
def test_a_key_whose_message_failed_gets_the_failed_message(server, place):
    server.set_switches(create_chat_message=place)
    keyed = creation(ANN, message=text("one", idempotency_key="k"))
    first = server.ok("POST", "/v3/chats", keyed)
    server.report_receipt(first["chat"]["message"]["id"], "failed", code=4006)
    again = server.call("POST", "/v3/chats", keyed)
    assert again.status_code == 201
    shown = [one["message"] for one in (again.json(), again.json()["chat"]) if "message" in one]
    assert len(shown) == (2 if place == "both" else 1)
    for message in shown:
        assert message["delivery_status"] == "failed"
        assert message["id"] == first["chat"]["message"]["id"]
    assert len(server.ledger()) == 1
    server.set_switches(failed_key="first_response")
    assert server.ok("POST", "/v3/chats", keyed) == first
    assert server.create(ANN, idempotency_key="another")["message"]["delivery_status"] == "pending"


def test_a_key_whose_message_is_deleted_is_never_resent(server):
    chat = server.create(ANN)["id"]
    sent = server.send(chat, idempotency_key="k")
    assert server.call("DELETE", f"/v3/messages/{sent['id']}").status_code == 204
    body = {"message": text("again", idempotency_key="k")}
    assert server.refused("POST", f"/v3/chats/{chat}/messages", body) == (404, 2002)


def test_the_header_of_a_send_without_from(server):
    body, header = {"to": [ANN], "message": text("hi")}, {"Idempotency-Key": "h"}
    first = server.ok("POST", "/v3/messages", body, headers=header)
    assert server.ok("POST", "/v3/messages", body, headers=header) == first


@pytest.mark.parametrize(
    ("scope", "same_chat", "other_chat", "other_line"),
    [("account", True, True, True), ("line", True, True, False), ("chat", True, False, False)],
)
def test_the_scope_of_a_key(server, scope, same_chat, other_chat, other_line):
    server.set_switches(idempotency_scope=scope)
    first = server.create(ANN, idempotency_key="k")["message"]["id"]
    for repeated, kwargs in ((same_chat, {}), (other_chat, {"to": BOB}), (other_line, {"to": CAT, "line": OTHER_LINE})):
        to = kwargs.pop("to", ANN)
        again = server.create(to, idempotency_key="k", **kwargs)["message"]["id"]
        assert (again == first) is repeated


def test_how_long_a_key_is_remembered(server):
    server.set_switches(idempotency_hours=1)
    first = server.create(ANN, idempotency_key="k")["message"]["id"]
    server.advance(3599)
    assert server.create(ANN, idempotency_key="k")["message"]["id"] == first
    server.advance(1)
    assert server.create(ANN, idempotency_key="k")["message"]["id"] != first


def test_a_refused_send_leaves_its_key_free(server):
    server.set_handle(ANN, opted_out=True)
    body = creation(ANN, message=text("hi", idempotency_key="k"))
    assert server.refused("POST", "/v3/chats", body) == (403, 2024)
    assert server.ok("POST", "/v3/chats", body | {"override_optout": True})


# --- opt-outs and blocks ----------------------------------------------------------------------------------------

KEYWORDS = ("STOP", "UNSUBSCRIBE", "OPTOUT", "CANCEL", "END", "QUIT")


def opts_out(server, text):
    """Whether a message opts its sender out, who had not opted out before."""
    server.set_handle(ANN, opted_out=False)
    server.inbound(ANN, text)
    return server.set_handle(ANN)["opted_out"]


over_http = settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])


@over_http
@given(word=st.sampled_from(KEYWORDS), before=st.sampled_from(["", " ", "\n\t"]), after=st.sampled_from(["", "  "]))
def test_keywords_are_whole_trimmed_messages(server, word, before, after):
    assert opts_out(server, before + word + after)
    assert not opts_out(server, f"please {word}")
    assert not opts_out(server, word + ".")
    assert opts_out(server, word.lower()) is (word == "OPTOUT")


@over_http
@given(st.sampled_from(["opt out", "opt-out", "optout"]), st.lists(st.booleans(), min_size=7, max_size=7))
def test_opt_out_in_any_case(server, word, uppers):
    mixed = "".join(letter.upper() if up else letter for letter, up in zip(word, uppers, strict=False))
    assert opts_out(server, mixed)
    assert not opts_out(server, f"{mixed} please")
    assert not opts_out(server, f"{mixed[:3]}  {mixed[-3:]}")


def test_opting_out_blocks_every_line_and_marks_one_chat(server):
    chat, other = server.create(ANN)["id"], server.create(ANN, line=OTHER_LINE)["id"]
    group = server.create(ANN, BOB)["id"]
    server.inbound(ANN, " STOP ")
    health = {one["id"]: one["health_status"]["status"] for one in server.ok("GET", "/v3/chats")["chats"]}
    assert health == {chat: "OPTED_OUT", other: "HEALTHY", group: "HEALTHY"}
    for refused in (chat, other):
        path = f"/v3/chats/{refused}/messages"
        assert server.refused("POST", path, {"message": text("hi")}) == (403, 2024)
    assert server.refused("POST", "/v3/messages", {"to": [ANN], "message": text("hi")}) == (403, 2024)
    assert server.send(group), "groups are never blocked"
    server.ok("POST", f"/v3/chats/{chat}/messages", {"message": text("bye"), "override_optout": True})
    assert server.refused("POST", f"/v3/chats/{chat}/messages", {"message": text("hi")}) == (403, 2024)
    assert [line["override_optout"] for line in server.ledger()].count(True) == 1


def test_any_later_message_opts_in_again(server):
    chat, group = server.create(ANN)["id"], server.create(ANN, BOB)["id"]
    server.inbound(ANN, "opt-out")
    server.inbound(ANN, "QUIT")
    assert server.refused("POST", f"/v3/chats/{chat}/messages", {"message": text("hi")}) == (403, 2024)
    server.inbound(ANN, "hello all", chat_id=group)
    assert server.ok("GET", f"/v3/chats/{chat}")["health_status"]["status"] == "HEALTHY"
    assert server.send(chat)


def test_a_keyword_in_a_group_is_nothing(server):
    chat, group = server.create(ANN)["id"], server.create(ANN, BOB)["id"]
    server.inbound(ANN, "STOP", chat_id=group)
    assert server.ok("GET", f"/v3/chats/{group}")["health_status"]["status"] == "HEALTHY"
    assert server.send(chat)


def test_blocked_handles(server):
    chat, group = server.create(ANN)["id"], server.create(ANN, BOB)["id"]
    entry = server.ok("POST", "/v3/blocked_handles", {"handle": ANN, "reason": "spam"})["blocked_handle"]
    assert server.ok("POST", "/v3/blocked_handles", {"handle": ANN})["blocked_handle"] == entry
    assert server.ok("GET", "/v3/blocked_handles")["blocked_handles"] == [entry]
    assert server.refused("POST", f"/v3/chats/{chat}/messages", {"message": text("hi")}) == (403, 2026)
    assert server.send(group)
    assert server.inbound(ANN, "hi") == {"dropped": True}
    assert server.call("DELETE", "/v3/blocked_handles", {"handle": ANN}).status_code == 204
    assert server.send(chat)


# --- lines ------------------------------------------------------------------------------------------------------


def test_an_ineligible_line_only_reads(server):
    chat = server.create(ANN, BOB, CAT)
    message = chat["message"]["id"]
    server.set_line(LINE, ineligible=True)
    base = f"/v3/chats/{chat['id']}"
    for method, path, body in (
        ("POST", "/v3/chats", creation(DAN)),
        ("POST", f"{base}/messages", {"message": text("hi")}),
        ("POST", f"/v3/messages/{message}/reactions", {"operation": "add", "type": "love"}),
        ("POST", f"{base}/typing", None),
        ("POST", f"{base}/participants", {"handle": DAN}),
        ("POST", f"{base}/leave", None),
        ("PUT", base, {"display_name": "x"}),
        ("POST", f"{base}/voicememo", {"voice_memo_url": "https://example.com/a.mp3"}),
    ):
        assert server.refused(method, path, body) == (403, 2027), path
    assert server.ok("GET", f"{base}/messages")["messages"]
    assert server.ok("GET", f"/v3/messages/{message}")


def test_a_send_without_from_picks_and_fails_over(server):
    body = {"to": [ANN], "message": text("hi"), "continuation_message": {"text": "new number"}}
    first = server.ok("POST", "/v3/messages", body)
    assert first["from_selection"] == {"reason": "new_best_number", "reused_existing_chat": False}
    again = server.ok("POST", "/v3/messages", body | {"exclude_from": [first["from"]]})
    assert again["from_selection"]["reason"] == "reused_active_chat"
    assert (again["chat_id"], again["created_new_chat"]) == (first["chat_id"], False)
    server.set_line(first["from"], ineligible=True)
    moved = server.ok("POST", "/v3/messages", body)
    assert moved["from_selection"]["reason"] == "failover_flagged"
    assert moved["previous_chat_id"] == first["chat_id"]
    assert moved["from"] != first["from"]
    assert moved["message"]["parts"][0]["value"] == "new number"
    server.set_line(moved["from"], ineligible=True)
    assert server.refused("POST", "/v3/messages", {"to": [BOB], "message": text("hi")})[0] == 409


def test_new_contacts_go_round_the_healthy_lines(server):
    used = [server.ok("POST", "/v3/messages", {"to": [to], "message": text("hi")})["from"] for to in (ANN, BOB, CAT)]
    assert len(set(used)) == 2
    server.set_line(LINE, reputation="AT_RISK")
    assert server.ok("POST", "/v3/messages", {"to": [DAN], "message": text("hi")})["from"] == OTHER_LINE
    excluded = {"to": ["eve@example.com"], "message": text("hi"), "exclude_from": [LINE, OTHER_LINE]}
    assert server.refused("POST", "/v3/messages", excluded) == (400, 1005)


# --- limits -----------------------------------------------------------------------------------------------------


def test_thirty_messages_in_a_minute_and_pair(server):
    chat = server.create(ANN)["id"]
    for _ in range(29):
        server.send(chat)
    refused = server.call("POST", f"/v3/chats/{chat}/messages", {"message": text("one too many")})
    assert refused.status_code == 429
    assert refused.json()["error"]["code"] == 1007
    assert refused.headers["Retry-After"] == str(refused.json()["error"]["retry_after"]) == "60"
    assert server.create(BOB)
    assert server.create(ANN, line=OTHER_LINE)
    server.advance(60)
    assert server.send(chat)


def test_a_sandbox(server):
    server.set_switches(sandbox=True)
    assert server.refused("POST", "/v3/chats", creation(ANN)) == (403, 2008)
    server.inbound(ANN, "hi")
    for number in range(100):
        if number % 30 == 29:
            server.advance(60)
        server.create(ANN)
    server.advance(60)
    refused = server.call("POST", "/v3/chats", creation(ANN))
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) == 14 * 3600 - 4 * 60
    server.advance(14 * 3600)
    assert server.create(ANN)


def test_voice_memos(server):
    chat = server.create(ANN)["id"]
    path = f"/v3/chats/{chat}/voicememo"
    memo = server.ok("POST", path, {"voice_memo_url": "https://example.com/hi.m4a"})["voice_memo"]
    assert memo["voice_memo"]["mime_type"] == "audio/x-m4a"
    assert memo["chat"]["id"] == chat
    assert server.refused("POST", path, {"voice_memo_url": "https://example.com/hi.png"}) == (400, 5004)
    assert server.refused("POST", path, {})[0] == 400


def test_a_key_gets_the_response_of_what_is_asked_for(server):
    """Whichever operation was first with it: the others answer in their own fields, and send nothing."""
    message = {"parts": [{"type": "text", "value": "hello"}], "idempotency_key": "k"}
    to = ["+12025550121"]
    created = server.ok("POST", "/v3/chats", {"from": "+12025550101", "to": to, "message": message})["chat"]
    chat = f"/v3/chats/{created['id']}"
    assert server.ok("POST", f"{chat}/messages", {"message": message})["message"]["id"] == created["message"]["id"]
    routed = server.ok("POST", "/v3/messages", {"to": to, "message": message})
    assert (routed["chat_id"], routed["message"]["id"]) == (created["id"], created["message"]["id"])
    options = [{"text": "a"}, {"text": "b"}]
    poll = {"poll": {"options": options, "idempotency_key": "k"}}
    assert server.refused("POST", f"{chat}/polls", poll) == (409, 2015)
    server.ok("POST", f"{chat}/polls", {"poll": {"options": options, "idempotency_key": "p"}})
    assert server.refused("POST", f"{chat}/messages", {"message": {**message, "idempotency_key": "p"}}) == (409, 2015)
    assert len(server.ledger()) == 2
