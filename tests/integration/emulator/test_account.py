"""Backgrounds, reputation audits, the blocklist, the choice of a number, and the events of the account."""

from __future__ import annotations

import json

import pytest

LINE, OTHER_LINE, ANN, BOB, CAT, DAN = (
    "+12025550101", "+12025550102", "+12025550150", "+12025550151", "+12025550152", "+12025550153",
)  # fmt: skip
UUID = "00000000-0000-4000-8000-000000000000"


def subscribe(server, **more):
    names = server.ok("GET", "/v3/webhook-events")["events"]
    body = {"target_url": "https://hooks.example/all", "subscribed_events": names, **more}
    return server.ok("POST", "/v3/webhook-subscriptions", body)["id"]


def events(server, start=""):
    bodies = [json.loads(delivery["body"]) for delivery in server.webhook_deliveries()]
    return [(body["event_type"], body["data"]) for body in bodies if body["event_type"].startswith(start)]


# --- backgrounds ---


@pytest.mark.parametrize(
    ("background", "shown"),
    [
        ({"type": "color", "variant": "mango", "shades": ["ignored"]}, {"variant": "mango", "shades": None}),
        ({"type": "color", "shades": ["#F2C4E1", "#f5a623"]}, {"variant": "custom", "shades": ["#F2C4E1", "#f5a623"]}),
        ({"type": "dynamic", "style": "sky", "variant": "dawn"}, {"style": "sky", "variant": "dawn"}),
        ({"type": "photo", "image_url": "https://files.example/b.heic"}, {"type": "photo"}),
    ],
)
def test_a_background_is_set_later_and_removed(server, background, shown):
    chat = server.create(ANN)["id"]
    subscribe(server)
    path = f"/v3/chats/{chat}/background"
    response = server.call("POST", path, background)
    assert (response.status_code, response.content) == (202, b"")
    assert events(server, "chat.background") == []
    server.advance(2)
    ((name, data),) = events(server, "chat.background")
    assert name == "chat.background_updated"
    assert (data["chat"]["id"], data["actor_handle"]["is_me"]) == (chat, True)
    assert shown.items() <= data["background"].items()
    if background["type"] == "photo":
        assert server.session.get(data["background"]["image_url"], timeout=300).ok
    assert server.call("DELETE", path).status_code == 202
    server.advance(2)
    assert events(server, "chat.background")[1][1]["background"] is None
    server.call("DELETE", path)
    server.advance(2)
    assert len(events(server, "chat.background")) == 2, "there was none to remove"


def test_backgrounds_of_contacts_and_of_other_services(server):
    chat = server.create(ANN)["id"]
    server.set_handle(BOB, services=["SMS"])
    texting = server.create(BOB)["id"]
    subscribe(server)
    server.set_background(chat, ANN, type="dynamic", style="water", variant="dark")
    assert (
        server.call("POST", f"/v3/chats/{texting}/background", {"type": "color", "variant": "ice"}).status_code == 202
    )
    server.advance(2)
    ((_, data),) = events(server, "chat.background")
    assert data["actor_handle"]["handle"] == ANN
    server.set_background(chat, ANN)
    server.advance(2)
    assert events(server, "chat.background")[-1][1]["background"] is None


def test_a_background_of_a_group_that_the_line_leaves_fails(server):
    chat = server.create(ANN, BOB, CAT)["id"]
    subscribe(server)
    server.ok("POST", f"/v3/chats/{chat}/leave")
    server.call("POST", f"/v3/chats/{chat}/background", {"type": "color", "variant": "ice"})
    server.advance(2)
    ((name, data),) = events(server, "chat.background")
    assert (name, data["chat_id"], data["error_code"]) == ("chat.background_update_failed", chat, 4001)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, 1001),
        ({"type": "gradient"}, 1005),
        ({"type": "color"}, 1001),
        ({"type": "color", "variant": "custom"}, 1001),
        ({"type": "color", "variant": "pink"}, 1005),
        ({"type": "color", "shades": ["#F2C4E1"]}, 1005),
        ({"type": "color", "shades": ["#F2C4E1", 7]}, 1005),
        ({"type": "dynamic", "style": "sky"}, 1001),
        ({"type": "dynamic", "style": "glitter", "variant": "dawn"}, 1005),
        ({"type": "dynamic", "style": "sky", "variant": "dark"}, 1005),
        ({"type": "photo"}, 1001),
        ({"type": "photo", "image_url": "http://files.example/a.png"}, 1005),
        ({"type": "photo", "image_url": "https://files.example/a.gif"}, 5006),
        ({"type": "photo", "image_url": "https://files.example/a.pdf"}, 5006),
    ],
)
def test_refused_backgrounds(server, body, code):
    chat = server.create(ANN)["id"]
    assert server.refused("POST", f"/v3/chats/{chat}/background", body)[1] == code


# --- reputation audits ---


def audit(server, line=LINE, **expected):
    path = f"/v3/phone_numbers/{line.replace('+', '%2B')}/reputation_audit"
    started = server.ok("POST", path)
    server.advance(10)
    return server.ok("GET", f"{path}/{started['audit_id']}")


def test_an_audit_runs_ends_and_rests(server):
    path = f"/v3/phone_numbers/{LINE}/reputation_audit"
    started = server.ok("POST", path)
    assert started["status"] == "pending"
    assert server.ok("POST", path) == started, "one at a time"
    found = f"{path}/{started['audit_id']}"
    assert server.ok("GET", found) == {"audit_id": started["audit_id"], "phone": LINE, "status": "pending"}
    server.advance(10)
    done = server.ok("GET", found)
    assert (done["status"], done["report"]["severity"], done["report"]["primary_driver"]) == ("complete", "HEALTHY", "")
    assert len(done["report"]["action_items"]) == 1
    refused = server.call("POST", path)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, 1007)
    wait = int(refused.headers["Retry-After"])
    server.advance(wait)
    assert server.ok("POST", path)["audit_id"] != started["audit_id"]
    server.advance(24 * 3600)
    assert server.refused("GET", found)[0] == 404


def test_what_an_audit_finds(server):
    stop = server.create(ANN)["id"]
    server.inbound(ANN, "STOP", chat_id=stop)
    server.advance(61)
    for _ in range(2):
        body = {"message": {"parts": [{"type": "text", "value": "but"}]}, "override_optout": True}
        server.ok("POST", f"/v3/chats/{stop}/messages", body)
    one_sided = server.create(BOB)["id"]
    for _ in range(3):
        server.send(one_sided)
    server.set_chat_health(one_sided, "CRITICAL")
    server.set_line(LINE, reputation="AT_RISK", ineligible=True)
    report = audit(server)["report"]
    assert (report["severity"], report["primary_driver"]) == ("AT_RISK", "flagged")
    assert {driver["key"] for driver in report["drivers"]} == {
        "flagged",
        "opt_out_handling",
        "overall_conversation_health",
    }
    assert report["evidence"]["opt_out_chats"] == [{"chat_id": stop, "messages_after_stop": 2}]
    unhealthy = {one["chat_id"]: one for one in report["evidence"]["unhealthy_chats"]}
    assert unhealthy[one_sided]["driver_keys"] == ["low_engagement"]
    assert unhealthy[stop]["status"] == "OPTED_OUT"
    assert [item["priority"] for item in report["action_items"]] == [1, 2, 3]


def test_refused_audits(server):
    audit_id = audit(server)["audit_id"]
    paths = [f"/v3/phone_numbers/{OTHER_LINE}/reputation_audit/{audit_id}"]
    paths += [f"/v3/phone_numbers/{LINE}/reputation_audit/{UUID}", f"/v3/phone_numbers/{ANN}/reputation_audit/{UUID}"]
    assert {server.refused("GET", path) for path in paths} == {(404, 2019)}
    assert server.refused("POST", "/v3/phone_numbers/line/reputation_audit") == (400, 1002)


def test_an_audit_can_fail(server):
    server.set_switches(audit_outcome="error")
    failed = audit(server)
    assert failed["status"] == "error"
    assert failed["error"]
    assert "report" not in failed


# --- the blocklist ---


def test_blocks_are_normalized_and_listed_newest_first(server):
    for handle in (ANN, "Ann@Example.com", "262966", "AcmeBank"):
        server.ok("POST", "/v3/blocked_handles", {"handle": handle, "reason": "spam"})
        server.advance(1)
    assert [block["handle"] for block in server.ok("GET", "/v3/blocked_handles")["blocked_handles"]] == [
        "AcmeBank",
        "262966",
        "ann@example.com",
        ANN,
    ]
    assert server.inbound("ANN@example.com", "hi", line=LINE) == {"dropped": True}
    body = {"to": ["aNN@example.com"], "message": {"parts": [{"type": "text", "value": "hi"}]}}
    assert server.refused("POST", "/v3/messages", body) == (403, 2026)
    server.ok("DELETE", "/v3/blocked_handles", {"handle": "ANN@EXAMPLE.COM"})
    server.ok("POST", "/v3/messages", body)


# --- a number to send from ---


def test_available_number(server):
    taken = server.ok("GET", "/v3/available_number")
    other = server.ok("GET", "/v3/available_number")
    assert {taken["phone_number"], other["phone_number"]} == {LINE, OTHER_LINE}, "in turn"
    server.create(ANN, line=OTHER_LINE)
    for _ in range(2):
        assert server.ok("GET", "/v3/available_number", params={"to": ANN})["phone_number"] == OTHER_LINE
    assert server.refused("GET", "/v3/available_number", params={"type": "RCS"}) == (503, 4004)
    assert server.refused("GET", "/v3/available_number", params={"exclude_from": f"{LINE},{OTHER_LINE}"}) == (400, 1005)
    card = server.ok("GET", "/v3/available_number", params={"exclude_from": OTHER_LINE})
    shown = server.session.get(card["vcf_url"], timeout=300).text
    assert LINE in shown
    assert OTHER_LINE not in shown, "what is excluded is no second number either"
    server.advance(2 * 24 * 3600)
    assert server.session.get(card["vcf_url"], timeout=300).status_code == 403, "the link expires"


# --- events of the account ---


def test_changes_of_lines_and_cards(server):
    subscribe(server)
    line_id = server.ok("GET", "/v3/phone_numbers")["phone_numbers"][0]["id"]
    for number in (ANN, ANN, ""):
        server.ok("PUT", f"/v3/phone_numbers/{line_id}", {"forwarding_number": number})
    server.set_line(LINE, zero_retention=True)
    server.set_line("+12025550109")
    server.ok("POST", "/v3/contact_card", {"phone_number": LINE, "first_name": "Shop"})
    path = f"/v3/contact_card?phone_number=%2B{LINE[1:]}"
    server.ok("PATCH", path, {"first_name": "Shop", "last_name": "Keeper"})
    server.share_contact_card(ANN, LINE, first_name="Ann")
    got = events(server)[1:]  # the first is about the subscription
    assert [name for name, _ in got] == [
        "phone_number.forwarding_updated",
        "phone_number.forwarding_updated",
        "zero_day_retention.updated",
        "phone_number.assigned",
        "contact_card.created",
        "contact_card.updated",
        "contact_card.received",
    ]
    changes = [data.get("change") for _, data in got]
    assert changes[:3] == [{"from": None, "to": ANN}, {"from": ANN, "to": None}, {"from": False, "to": True}]
    assert changes[5] == {"last_name": {"from": None, "to": "Keeper"}}
    assert got[6][1]["sender_handle"] == ANN


def test_changes_of_subscriptions(server):
    mine = subscribe(server)
    path = f"/v3/webhook-subscriptions/{mine}"
    server.ok("PUT", path, {"target_url": "https://user:pass@hooks.example/new?version=2026-02-03#x"})
    server.ok("PUT", path, {"routing_key_header": "X-Route"})
    server.ok("PUT", path, {"routing_key_header": None})
    server.ok("PUT", path, {})
    other = server.ok(
        "POST",
        "/v3/webhook-subscriptions",
        {"target_url": "https://hooks.example/other", "subscribed_events": ["message.sent"]},
    )["id"]
    theirs = f"/v3/webhook-subscriptions/{other}"
    server.ok("PUT", theirs, {"phone_numbers": [LINE], "subscribed_events": ["message.sent", "message.read"]})
    server.ok("PUT", theirs, {"is_active": False})
    server.ok("PUT", theirs, {"is_active": True})
    server.ok("DELETE", theirs)
    got = events(server, "webhook_subscription.")
    assert [name.removeprefix("webhook_subscription.") for name, _ in got] == [
        "created",
        "target_url_changed",
        "routing_headers_set",
        "routing_headers_cleared",
        "created",
        "events.updated",
        "phone_numbers.updated",
        "disabled",
        "enabled",
        "deleted",
    ]
    assert got[1][1]["change"] == {"from": "https://hooks.example/all", "to": "https://hooks.example/new"}
    assert got[1][1]["webhook_subscription"] == {"id": mine, "target_url": "https://hooks.example/new"}
    assert "change" not in got[7][1]


def test_a_subscription_to_lines_gets_no_events_of_the_account(server):
    subscribe(server, phone_numbers=[LINE])
    server.order_event("api_token.created")
    server.order_event("call.ringing", line=OTHER_LINE)
    server.order_event("call.ringing", line=LINE)
    assert [name for name, _ in events(server)] == ["call.ringing"]


def test_an_event_by_order(server):
    chat = server.create(ANN)["id"]
    subscribe(server, routing_key_header="X-Route")
    ordered = server.order_event("call.ended", {"duration_seconds": 12}, chat_id=chat)
    body = json.loads(server.webhook_deliveries()[-1]["body"])
    assert (body["event_id"], body["event_type"], body["data"]) == (ordered["event_id"], "call.ended", ordered["data"])
    assert body["data"]["duration_seconds"] == 12
    assert {"api_version", "webhook_version", "created_at", "trace_id", "partner_id"} < set(body)
    assert server.order_event("message.sent", {"id": UUID})["data"] == {"id": UUID}
    assert server.wrong("POST", "events", {"type": "message.sent"})["field"] == "data"
    assert server.wrong("POST", "events", {"type": "message.unsent"})["field"] == "type"
    wrong = {"type": "call.ended", "chat_id": chat, "line": OTHER_LINE}
    assert server.wrong("POST", "events", wrong)["field"] == "line"
