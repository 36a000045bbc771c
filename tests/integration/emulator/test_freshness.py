"""Lists repeat what was encoded before; whatever happens, they must show what a single GET shows."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

LINE, ANN, BOB, CAT, DAN = "+12025550101", "+12025550150", "+12025550151", "+12025550152", "dan@example.com"


def edit(server, chat, message):
    server.call("PATCH", f"/v3/messages/{message}", {"text": "edited"})


def react(server, chat, message):
    server.call("POST", f"/v3/messages/{message}/reactions", {"operation": "add", "type": "love"})


def unreact(server, chat, message):
    server.call("POST", f"/v3/messages/{message}/reactions", {"operation": "remove", "type": "love"})


def delete(server, chat, message):
    server.call("DELETE", f"/v3/messages/{message}")


def reply(server, chat, message):
    said = {"parts": [{"type": "text", "value": "indeed"}], "reply_to": {"message_id": message}}
    server.call("POST", f"/v3/chats/{chat}/messages", {"message": said})


def answer(server, chat, message):
    server.inbound(ANN, "hi", chat_id=chat)


def stop(server, chat, message):
    server.inbound(ANN, "STOP", chat_id=chat)


def read(server, chat, message):
    server.call("POST", f"/v3/chats/{chat}/read")


def name(server, chat, message):
    server.call("PUT", f"/v3/chats/{chat}", {"display_name": "Team"})


def add(server, chat, message):
    server.call("POST", f"/v3/chats/{chat}/participants", {"handle": DAN})


def remove(server, chat, message):
    server.call("DELETE", f"/v3/chats/{chat}/participants", {"handle": CAT})


def leave(server, chat, message):
    server.call("POST", f"/v3/chats/{chat}/leave")


def health(server, chat, message):
    server.set_chat_health(chat, "CRITICAL")


def wait(server, chat, message):
    server.advance(1)


def expire(server, chat, message):
    server.set_line(LINE, retention_hours=1)
    server.advance(3900)


STEPS = (edit, react, unreact, delete, reply, answer, stop, read, name, add, remove, leave, health, wait, expire)


def assert_fresh(server):
    for chat in server.walk("/v3/chats", "chats"):
        assert chat == server.ok("GET", f"/v3/chats/{chat['id']}")
        for message in server.walk(f"/v3/chats/{chat['id']}/messages", "messages"):
            assert message == server.ok("GET", f"/v3/messages/{message['id']}")


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    recipients=st.sampled_from([(ANN,), (ANN, BOB, CAT)]),
    steps=st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 3)), min_size=1, max_size=8),
)
def test_lists_show_what_gets_show(server, recipients, steps):
    server.restart()
    chat = server.create(*recipients)["id"]
    server.send(chat, "second")
    for step, number in steps:
        assert_fresh(server)
        messages = server.ok("GET", f"/v3/chats/{chat}/messages")["messages"]
        if messages and not (step in (answer, stop) and server.ok("GET", f"/v3/chats/{chat}")["handles"][0]["left_at"]):
            step(server, chat, messages[number % len(messages)]["id"])
    assert_fresh(server)


def test_what_examples_may_miss(server):
    chat = server.create(ANN, BOB, CAT)
    replied = server.send(chat["id"], reply_to={"message_id": chat["message"]["id"]})["id"]
    for step, message in ((react, replied), (unreact, replied), (delete, chat["message"]["id"]), (leave, replied)):
        assert_fresh(server)
        step(server, chat["id"], message)
        server.advance(1)
    assert_fresh(server)
    direct = server.create(ANN)
    for step in (answer, wait, read, reply, edit):
        assert_fresh(server)
        step(server, direct["id"], direct["message"]["id"])
    assert_fresh(server)
