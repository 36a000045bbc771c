"""Attachments, location, lines, contact cards, capability."""

from __future__ import annotations

import pytest
import requests

LINE, OTHER_LINE, ANN, BOB = "+12025550101", "+12025550102", "+12025550150", "+12025550151"
PNG = {"filename": "a b.png", "content_type": "image/png", "size_bytes": 5}


def upload(server, body=b"12345", **changes):
    made = server.ok("POST", "/v3/attachments", PNG)
    headers = made["required_headers"] | changes
    return made, requests.put(made["upload_url"], data=body, headers=headers, timeout=300)


def media(attachment_id):
    return {"message": {"parts": [{"type": "media", "attachment_id": attachment_id}]}}


def test_an_attachment_from_upload_to_download(server):
    chat = server.create(ANN)["id"]
    made = server.ok("POST", "/v3/attachments", PNG)
    assert made["http_method"] == "PUT"
    assert made["expires_at"] == "2026-11-21T10:15:00.000Z"
    path = f"/v3/attachments/{made['attachment_id']}"
    before = server.ok("GET", path)
    assert (before["status"], "download_url" in before) == ("pending", False)
    assert server.refused("POST", f"/v3/chats/{chat}/messages", media(made["attachment_id"])) == (404, 2007)
    put = requests.put(made["upload_url"], data=b"12345", headers=made["required_headers"], timeout=300)
    assert put.status_code == 200
    after = server.ok("GET", path)
    assert (after["status"], after["download_url"][:7]) == ("complete", "http://")
    part = server.ok("POST", f"/v3/chats/{chat}/messages", media(made["attachment_id"]))["message"]["parts"][0]
    assert (part["filename"], part["mime_type"], part["size_bytes"]) == ("a b.png", "image/png", 5)
    for url in (part["url"], made["download_url"]):
        got = requests.get(url, timeout=300)
        assert (got.content, got.headers["Content-Type"]) == (b"12345", "image/png")
    assert server.call("DELETE", path).status_code == 204
    assert server.refused("GET", path) == (404, 2003)
    assert requests.get(made["download_url"], timeout=300).status_code == 404
    assert server.ok("GET", f"/v3/chats/{chat}/messages")["messages"], "messages stay"


def test_refused_uploads(server):
    assert upload(server, b"123456", **{"Content-Length": "6"})[1].status_code == 403
    assert upload(server, **{"Content-Type": "image/jpeg"})[1].status_code == 403
    made = server.ok("POST", "/v3/attachments", PNG)
    forged = made["upload_url"][:-4] + "beef"
    assert requests.put(forged, data=b"12345", headers=made["required_headers"], timeout=300).status_code == 403
    server.advance(900)
    late = requests.put(made["upload_url"], data=b"12345", headers=made["required_headers"], timeout=300)
    assert late.status_code == 403
    assert server.ok("GET", f"/v3/attachments/{made['attachment_id']}")["status"] == "failed"


@pytest.mark.parametrize(("seconds", "works"), [(0, True), (900, False)])
def test_how_long_a_media_url_works(server, seconds, works):
    server.set_switches(media_url_seconds=seconds)
    made, _ = upload(server)
    chat = server.create(ANN)["id"]
    url = server.ok("POST", f"/v3/chats/{chat}/messages", media(made["attachment_id"]))["message"]["parts"][0]["url"]
    assert requests.get(url, timeout=300).ok
    server.advance(900)
    assert requests.get(url, timeout=300).ok is works
    fresh = server.ok("GET", f"/v3/chats/{chat}/messages")["messages"][0]["parts"][0]["url"]
    assert requests.get(fresh, timeout=300).ok, "a new read gives a new URL"


def test_files_on_the_ephemeral_tier(server):
    server.set_switches(attachment_tier="ephemeral")
    made, _ = upload(server)
    path, chat = f"/v3/attachments/{made['attachment_id']}", server.create(ANN)["id"]
    part = server.ok("POST", f"/v3/chats/{chat}/messages", media(made["attachment_id"]))["message"]["parts"][0]
    urls = [made["download_url"], part["url"], server.ok("GET", path)["download_url"]]
    assert all(requests.get(url, timeout=300).content == b"12345" for url in urls)
    server.advance(15 * 60)
    assert [requests.get(url, timeout=300).status_code for url in urls] == [403] * 3
    assert requests.get(server.ok("GET", path)["download_url"], timeout=300).ok, "a new URL"
    shown = server.ok("GET", f"/v3/chats/{chat}/messages")["messages"][0]["parts"][0]
    assert requests.get(shown["url"], timeout=300).ok
    server.advance(24 * 3600 - 15 * 60)
    assert requests.get(server.ok("GET", path)["download_url"], timeout=300).status_code == 404, "its bytes are gone"
    assert server.refused("POST", f"/v3/chats/{chat}/messages", media(made["attachment_id"])) == (404, 2007)


def test_a_slow_first_fetch_of_media_by_url(server):
    server.set_switches(media_fetch_seconds=600)  # far longer than `send` and `ok` wait
    chat = server.create(ANN)["id"]
    picture = {"type": "media", "url": "https://example.com/a.png"}
    server.inbound(ANN, parts=[picture | {"url": "https://example.com/inbound.png"}])
    server.send(chat, "what a contact sends makes no request wait")
    sticker = {"operation": "add", "type": "sticker", "emoji": "🎂"}
    server.ok("POST", f"/v3/messages/{server.send(chat)['id']}/reactions", sticker)
    server.set_switches(media_fetch_seconds=3)
    body = {"message": {"parts": [picture], "idempotency_key": "k"}}
    accepted = len(server.ledger())
    with pytest.raises(requests.ReadTimeout):
        server.session.post(f"{server.base_url}/v3/chats/{chat}/messages", json=body, timeout=0.5)
    server.wait_for(accepted + 1)  # and not only sent, when the client gives up
    server.set_switches(media_fetch_seconds=600)
    again = server.ok("POST", f"/v3/chats/{chat}/messages", body)
    assert again["message"]["id"] == server.ledger()[-1]["id"], "accepted before, and fetched once"
    assert server.send(chat, "text")["id"]


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"filename": ""}, (400, 1005)),
        ({"filename": "x" * 256}, (400, 1005)),
        ({"filename": None}, (400, 1001)),
        ({"content_type": "audio/flac"}, (400, 5004)),
        ({"size_bytes": 0}, (400, 5005)),
        ({"size_bytes": 104_857_601}, (400, 5005)),
        ({"size_bytes": "5"}, (400, 1003)),
    ],
)
def test_refused_attachments(server, change, refusal):
    assert server.refused("POST", "/v3/attachments", PNG | change) == refusal


def test_location_sharing(server):
    chat, group = server.create(ANN)["id"], server.create(ANN, BOB)["id"]
    base = f"/v3/chats/{chat}/location"
    empty = server.call("GET", base)
    assert empty.headers["Content-Type"] == "application/geo+json"
    assert empty.json() == {"success": True, "data": {"type": "FeatureCollection", "features": []}}
    assert server.ok("POST", f"{base}/request")["success"] is True
    assert server.refused("POST", f"{base}/request") == (429, 1007)
    place = {"longitude": -73.99, "latitude": 40.73, "locality": "New York"}
    server.set_handle(ANN, location=place)
    for path in (base, f"/v3/chats/{group}/location"):
        feature = server.ok("GET", path)["data"]["features"][0]
        assert feature["geometry"] == {"type": "Point", "coordinates": [-73.99, 40.73]}
        assert feature["properties"]["handle"] == ANN
    server.advance(60)
    assert server.refused("POST", f"{base}/request") == (409, 2015)
    assert server.refused("POST", f"/v3/chats/{group}/location/request") == (409, 2016)
    assert server.call("DELETE", base, {"handle": ANN}).status_code == 202
    assert server.ok("GET", base)["data"]["features"] == []
    assert server.refused("DELETE", base, {"handle": ANN})[0] == 404
    server.set_handle(BOB, services=["SMS"])
    sms = server.create(BOB)["id"]
    assert server.refused("POST", f"/v3/chats/{sms}/location/request") == (409, 2017)


def test_lines_and_forwarding(server):
    server.set_line(LINE, reputation="AT_RISK")
    line, other = server.ok("GET", "/v3/phone_numbers")["phone_numbers"]
    assert (line["phone_number"], line["reputation"]["status"]) == (LINE, "AT_RISK")
    assert other["reputation"]["status"] == "HEALTHY"
    path = f"/v3/phone_numbers/{line['id']}"
    assert server.ok("PUT", path, {"forwarding_number": ANN})["forwarding_number"] == ANN
    assert server.refused("PUT", path, {"forwarding_number": "123"}) == (400, 1002)
    assert server.refused("PUT", path, {}) == (400, 1001)
    assert server.ok("PUT", path, {"forwarding_number": ""})["forwarding_number"] is None
    unknown = "/v3/phone_numbers/00000000-0000-4000-8000-000000000000"
    assert server.refused("PUT", unknown, {"forwarding_number": None}) == (404, 2019)
    assert [one["phone_number"] for one in server.ok("GET", "/v3/phonenumbers")["phone_numbers"]] == [LINE, OTHER_LINE]


def test_available_number(server):
    assert server.ok("GET", "/v3/available_number")["phone_number"] == LINE
    answer = server.ok("GET", "/v3/available_number")
    assert answer["phone_number"] == OTHER_LINE
    assert f"TEL;TYPE=PREF:{OTHER_LINE}" in requests.get(answer["vcf_url"], timeout=300).text
    server.create(ANN)
    sticky = {"to": ANN}
    assert server.ok("GET", "/v3/available_number", params=sticky)["phone_number"] == LINE
    assert server.ok("GET", "/v3/available_number", params=sticky)["phone_number"] == LINE
    excluded = {"exclude_from": f"{LINE},{OTHER_LINE}"}
    assert server.refused("GET", "/v3/available_number", params=excluded) == (400, 1005)
    assert server.refused("GET", "/v3/available_number", params={"type": "rcs"}) == (503, 4004)


def test_contact_cards(server):
    chat = server.create(ANN)["id"]
    assert server.refused("POST", f"/v3/chats/{chat}/share_contact_card") == (404, 2012)
    card = {"phone_number": LINE, "first_name": "Ada"}
    assert server.refused("PATCH", f"/v3/contact_card?phone_number=%2B{LINE[1:]}", {"last_name": "L"}) == (404, 2012)
    created = server.call("POST", "/v3/contact_card", card)
    assert (created.status_code, created.json()["is_active"]) == (200, True)
    patched = server.ok("PATCH", "/v3/contact_card", {"last_name": "L"}, params={"phone_number": LINE})
    assert (patched["first_name"], patched["last_name"]) == ("Ada", "L")
    assert server.refused("POST", "/v3/contact_card", card) == (429, 1007)
    server.advance(600)
    assert server.refused("POST", "/v3/contact_card", card) == (409, 2014)
    assert server.ok("GET", "/v3/contact_card")["contact_cards"] == [patched]
    assert server.ok("GET", "/v3/contact_card", params={"phone_number": OTHER_LINE})["contact_cards"] == []
    assert server.call("POST", f"/v3/chats/{chat}/share_contact_card").status_code == 204
    shared = server.call("POST", f"/v3/chats/{chat}/share_contact_card")
    assert (shared.status_code, shared.headers["Retry-After"]) == (429, "300")


def test_capability(server):
    server.set_handle(ANN, services=["RCS", "SMS"])
    check = "/v3/capability/check_"
    unavailable = {"address": ANN, "available": False, "reason": "not_supported"}
    assert server.ok("POST", f"{check}imessage", {"address": ANN}) == unavailable
    assert server.refused("POST", f"{check}rcs", {"address": ANN}) == (429, 1007)
    server.advance(10)
    assert server.ok("POST", f"{check}rcs", {"address": ANN})["available"] is True
    assert server.refused("POST", f"{check}rcs", {"address": "dan@example.com"})[0] == 400
    server.set_switches(capability_scope="line")
    server.advance(10)
    for line in (LINE, OTHER_LINE):
        assert server.ok("POST", f"{check}imessage", {"address": ANN, "from": line})
    assert server.refused("POST", f"{check}imessage", {"address": ANN, "from": LINE}) == (429, 1007)
