"""The virtual clock: delivery, receipts, expiry, and one jump that equals many steps."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

LINE, OTHER_LINE = "+12025550101", "+12025550102"
ANN, BOB = "+12025550150", "+12025550151"
HOUR = 3600


def status_of(server, message):
    return server.ok("GET", f"/v3/messages/{message['id']}")


def test_each_step_has_its_own_time_although_the_clock_jumps(server):
    server.set_switches(read_share=1, read_seconds=30)
    sent = server.create(ANN)["message"]
    assert (sent["delivery_status"], sent["sent_at"]) == ("pending", None)
    server.advance(0.5)
    assert status_of(server, sent)["delivery_status"] == "queued"
    server.advance(2 * HOUR)
    shown = status_of(server, sent)
    assert shown["delivery_status"] == "read"
    assert shown["sent_at"] == "2026-11-21T10:00:01.000Z"
    assert shown["delivered_at"] == "2026-11-21T10:00:02.000Z"
    assert shown["read_at"] == shown["updated_at"] == "2026-11-21T10:00:32.000Z"
    assert (shown["is_delivered"], shown["is_read"]) == (True, True)


@pytest.mark.parametrize(
    ("to", "services", "preferred", "service", "status"),
    [
        ([ANN], None, None, "iMessage", "delivered"),
        ([ANN], ["RCS", "SMS"], None, "RCS", "delivered"),
        ([ANN], ["SMS"], None, "SMS", "sent"),
        ([ANN], None, "SMS", "RCS", "delivered"),
        ([ANN], ["iMessage", "SMS"], "RCS", "SMS", "sent"),
        ([ANN], ["SMS"], "iMessage", "iMessage", "failed"),
        ([ANN], [], None, "SMS", "failed"),
        ([ANN, BOB], None, None, "iMessage", "sent"),
        ([ANN, BOB], ["SMS"], None, "SMS", "sent"),
    ],
)
def test_the_way_of_a_message_by_service(server, to, services, preferred, service, status):
    if services is not None:
        server.set_handle(ANN, services=services)
    more = {"preferred_service": preferred} if preferred else {}
    sent = server.create(*to, **more)["message"]
    server.advance(HOUR)
    shown = status_of(server, sent)
    assert (shown["service"], shown["delivery_status"]) == (service, status)
    assert (shown["delivered_at"] is not None) is (status == "delivered")


def test_receipts_by_order_and_delivered_after_failed(server):
    server.set_switches(automatic_delivery=False)
    sent = server.create(ANN)["message"]
    server.advance(HOUR)
    assert status_of(server, sent)["delivery_status"] == "pending"
    for status in ("failed", "delivered", "read"):
        server.report_receipt(sent["id"], status)
        assert status_of(server, sent)["delivery_status"] == status
    group = server.create(ANN, BOB)["message"]
    assert server.wrong("POST", "receipts", {"message_id": group["id"], "status": "read"})["field"] == "status"


def test_a_share_of_failures(server):
    server.set_switches(failure_share=1)
    sent = server.create(ANN)["message"]
    server.advance(10)
    assert status_of(server, sent)["delivery_status"] == "failed"


@pytest.mark.parametrize("moves", [True, False])
def test_whether_delivery_moves_updated_at(server, moves):
    server.set_switches(delivery_moves_message=moves)
    sent = server.create(ANN)["message"]
    server.advance(10)
    shown = status_of(server, sent)
    assert (shown["updated_at"] > shown["created_at"]) is moves


def history(server, sends, steps):
    """The ledger after sends at given seconds, with the clock moved in given steps in between."""
    server.restart()
    server.set_switches(read_share=0.5, failure_share=0.2, read_seconds=400)
    for line in (LINE, OTHER_LINE):
        server.set_line(line, retention_hours=1)
    for wait, to in sends:
        server.advance(wait)
        server.create(to)
    for step in steps:
        server.advance(step)
    return server.ledger()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sends=st.lists(st.tuples(st.integers(0, 900), st.sampled_from([ANN, BOB])), min_size=1, max_size=6),
    steps=st.lists(st.floats(0, 1500), min_size=1, max_size=8),
)
def test_one_jump_equals_many_steps(server, sends, steps):
    # The server has a seed: after each reset the same identifiers, and so the same fates.
    rounded = [round(step, 3) for step in steps]
    slow = history(server, sends, rounded)
    fast = history(server, sends, [sum(round(step * 1000) for step in rounded) / 1000])
    assert slow == fast


def test_expiry_comes_with_the_sweep_after_the_window(server):
    server.set_line(LINE, retention_hours=1)
    server.advance(60)
    chat = server.create(ANN, text="question", idempotency_key="k")
    reply = server.send(chat["id"], "answer", reply_to={"message_id": chat["message"]["id"]})
    kept = server.create(ANN, line=OTHER_LINE)["message"]
    message = chat["message"]["id"]
    server.advance(HOUR + 239)
    assert server.ok("GET", f"/v3/messages/{message}"), "one second before the sweep at 11:05"
    late = server.send(chat["id"], "late", reply_to={"message_id": reply["id"]})
    server.advance(1)
    for gone in (message, reply["id"]):
        assert server.refused("GET", f"/v3/messages/{gone}") == (404, 2002)
    listed = server.ok("GET", f"/v3/chats/{chat['id']}/messages")["messages"]
    assert [one["id"] for one in listed] == [late["id"]]
    assert listed[0]["reply_to"] is None
    thread = server.ok("GET", f"/v3/messages/{late['id']}/thread")["messages"]
    assert [one["id"] for one in thread] == [late["id"]]
    again = {"message": {"parts": [{"type": "text", "value": "x"}], "idempotency_key": "k"}}
    assert server.refused("POST", f"/v3/chats/{chat['id']}/messages", again) == (404, 2002)
    assert server.ok("GET", f"/v3/messages/{kept['id']}")
    ledger = {line["id"]: line for line in server.ledger()}
    assert ledger[message]["expired_at"] == "2026-11-21T11:05:00.000Z"
    assert ledger[message]["text"] == "question"
    assert ledger[late["id"]]["expired_at"] is None


def test_inbound_and_seeded_messages_expire_too(server):
    server.seed(5, messages_per_chat=10, hours=20)
    server.inbound(ANN, "hi")
    server.set_line(LINE, retention_hours=24)
    server.set_line(OTHER_LINE, retention_hours=24)
    server.advance(12 * HOUR)
    left = [line for line in server.ledger() if line["expired_at"] is None]
    assert 1 < len(left) < 51
    assert all(line["created_at"] > "2026-11-20T22" for line in left)
    server.advance(13 * HOUR)
    assert all(line["expired_at"] for line in server.ledger())
    chats = server.walk("/v3/chats", "chats")
    assert len(chats) == 6, "chats stay"
    assert not any(server.walk(f"/v3/chats/{chat['id']}/messages", "messages") for chat in chats)


@pytest.mark.parametrize(("created", "first"), [("ingested", "late"), ("sent", "live")])
def test_messages_that_are_recovered_late(server, created, first):
    server.set_switches(reconciled_created_at=created)
    live = server.inbound(ANN, "live")
    server.advance(HOUR)
    late = server.inbound(ANN, "late", sent_at="2026-11-21T09:00:00Z", reconciled=True)
    assert "reconciled_at" not in live
    assert late["reconciled_at"] == "2026-11-21T11:00:00.000Z"
    assert late["sent_at"] == "2026-11-21T09:00:00.000Z"
    assert (late["created_at"] == late["sent_at"]) is (created == "sent")
    listed = server.ok("GET", f"/v3/chats/{live['chat_id']}/messages")["messages"]
    assert listed[0]["parts"][0]["value"] == first


def test_the_clock_runs_and_runs_faster(server):
    server.set_clock(freeze=False, speed=10_000)
    sent = server.create(ANN)["message"]
    first = server.control("GET", "clock")
    assert first["frozen"] is False
    assert first["speed"] == 10_000
    assert server.control("GET", "clock")["now"] > first["now"]
    server.set_clock(freeze=True)
    server.advance(2)
    assert status_of(server, sent)["delivery_status"] == "delivered"


def test_the_clock_goes_back_only_while_nothing_was_accepted(server):
    assert server.control("POST", "clock", {"now": "2026-01-01T00:00:00+01:00"})["now"] == "2025-12-31T23:00:00.000Z"
    server.create(ANN)
    assert server.wrong("POST", "clock", {"now": "2025-01-01T00:00:00Z"})["field"] == "now"
    assert server.wrong("POST", "clock", {"now": "2027-01-01T00:00:00"})["field"] == "now"
    assert server.wrong("POST", "clock", {"advance": -1})["field"] == "advance"
