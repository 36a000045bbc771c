"""The vendor's own client, with strict validation of every answer, against the emulator.

It is the one witness of the API's form that neither side of our wire was written from memory of the other.
"""

from __future__ import annotations

import http.server
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import linq
import pytest
import time_machine
from linq import LinqAPIV3

from linq_emulator.testing import EmulatorProcess
from tests.support.loopback_server import LoopbackServer
from tests.support.waiting import wait_until

ANN, BOB, CAT, DAN = "+12025550121", "+12025550122", "+12025550123", "+12025550124"


def vendor(emulator: EmulatorProcess, **options: Any) -> LinqAPIV3:
    return LinqAPIV3(
        **{"api_key": emulator.api_key, "base_url": emulator.base_url, "max_retries": 0} | options,
        _strict_response_validation=True,
    )


@pytest.fixture
def client(emulator: EmulatorProcess) -> Iterator[LinqAPIV3]:
    with vendor(emulator) as opened:
        yield opened


def text(value: str, **fields: Any) -> Any:
    return {"parts": [{"type": "text", "value": value}], **fields}


def new_chat(emulator: EmulatorProcess, client: LinqAPIV3, *to: str) -> str:
    return client.chats.create(from_=emulator.lines[0], to=list(to) or [ANN], message=text("Hi")).chat.id


def test_chats_and_messages(emulator: EmulatorProcess, client: LinqAPIV3) -> None:
    line = emulator.lines[0]
    created = client.chats.create(from_=line, to=[ANN], message=text("Hi")).chat
    assert {handle.handle for handle in created.handles} == {line, ANN}

    keyed = text("Once", idempotency_key="order-7")
    first = client.chats.messages.send(created.id, message=keyed)
    again = client.chats.messages.send(created.id, message=keyed)
    assert first.message.id == again.message.id
    emulator.advance(60)
    media: Any = {"parts": [{"type": "media", "url": "https://files.example/map.png"}]}
    client.chats.messages.send(created.id, message=media)
    client.chats.messages.send(created.id, message={"parts": [{"type": "link", "value": "https://shop.example"}]})
    asked = emulator.control("POST", "inbound", {"line": line, "from": ANN, "text": "When?"})
    reply = client.chats.messages.send(created.id, message=text("At nihne", reply_to={"message_id": asked["id"]}))
    emulator.advance(60)

    listed = list(client.chats.messages.list(created.id, limit=2))
    assert len(listed) == len({message.id for message in listed}) == 6
    assert {message.is_from_me for message in listed} == {True, False}
    assert client.messages.retrieve(reply.message.id).reply_to is not None

    edited = client.messages.update(reply.message.id, text="At nine")
    assert edited.id == reply.message.id
    client.messages.add_reaction(asked["id"], operation="add", type="love")
    client.messages.add_reaction(asked["id"], operation="add", type="custom", custom_emoji="\N{PARTY POPPER}")
    emulator.advance(5)
    reactions = (client.messages.retrieve(asked["id"]).parts or [])[0].reactions or []
    assert [reaction.type for reaction in reactions] == ["custom"], "one reaction a person: the newest"
    thread = [message.id for message in client.messages.list_messages_thread(asked["id"], limit=1)]
    assert thread == [asked["id"], reply.message.id]
    client.messages.delete(reply.message.id)

    assert [chat.id for chat in client.chats.list_chats(from_=line, limit=1)] == [created.id]
    assert client.chats.retrieve(created.id).health_status.status == "HEALTHY"
    client.chats.mark_as_read(created.id)
    client.chats.typing.start(created.id)
    client.chats.typing.stop(created.id)


def test_groups(emulator: EmulatorProcess, client: LinqAPIV3) -> None:
    chat = new_chat(emulator, client, ANN, BOB, CAT)
    assert client.chats.update(chat, display_name="Hikers").chat_id == chat
    assert client.chats.participants.add(chat, handle=DAN).status == "accepted"
    emulator.advance(60)
    assert client.chats.retrieve(chat).display_name == "Hikers"
    assert client.chats.participants.remove(chat, handle=DAN).status == "accepted"
    emulator.advance(60)
    assert client.chats.leave_chat(chat).status == "accepted"


def test_a_message_without_a_line(emulator: EmulatorProcess, client: LinqAPIV3) -> None:
    sent = client.messages.create(to=[ANN], message=text("Hi"), idempotency_key="k-1")
    again = client.messages.create(to=[ANN], message=text("Hi"), idempotency_key="k-1")
    assert sent.created_new_chat
    assert sent.message.id == again.message.id


def test_attachments_and_voice_memo(emulator: EmulatorProcess, client: LinqAPIV3) -> None:
    data = b"\x00" * 3_000
    slot = client.attachments.create(filename="memo.m4a", content_type="audio/x-m4a", size_bytes=len(data))
    httpx.request(slot.http_method, slot.upload_url, content=data, headers=slot.required_headers).raise_for_status()
    known = client.attachments.retrieve(slot.attachment_id)
    assert (known.status, known.size_bytes) == ("complete", 3_000)
    assert httpx.get(known.download_url or "").content == data
    chat = new_chat(emulator, client)
    assert client.chats.send_voicememo(chat, attachment_id=slot.attachment_id).voice_memo.voice_memo.size_bytes == 3_000
    client.attachments.delete(slot.attachment_id)


def test_lines_cards_capability_location(emulator: EmulatorProcess, client: LinqAPIV3) -> None:
    line = emulator.lines[0]
    assert [number.phone_number for number in client.phone_numbers.list().phone_numbers] == emulator.lines
    assert client.capability.check_i_message(address=ANN, from_=line).available
    emulator.advance(11)
    client.capability.check_RCS(address=ANN)
    card = client.contact_card.create(phone_number=line, first_name="Shop")
    assert client.contact_card.retrieve(phone_number=line).contact_cards[0].first_name == card.first_name
    client.contact_card.update(phone_number=line, last_name="Keeper")
    chat = new_chat(emulator, client)
    client.chats.share_contact_card(chat)
    assert client.chats.location.request(chat).success
    emulator.control("POST", "handles", {"handle": ANN, "location": {"longitude": -77.0365, "latitude": 38.8977}})
    assert client.chats.location.retrieve(chat).data.features[0].geometry.coordinates[:2] == [-77.0365, 38.8977]
    assert client.chats.location.stop(chat, handle=ANN).success


def test_webhook_subscriptions(emulator: EmulatorProcess, client: LinqAPIV3) -> None:
    assert len(client.webhook_events.list().events) == 75
    made = client.webhook_subscriptions.create(
        target_url="https://hooks.example/linq", subscribed_events=["message.received"]
    )
    assert made.signing_secret.startswith("whsec_")
    assert client.webhook_subscriptions.retrieve(made.id).is_active
    assert not client.webhook_subscriptions.update(made.id, is_active=False).is_active
    assert [each.id for each in client.webhook_subscriptions.list().subscriptions] == [made.id]
    client.webhook_subscriptions.delete(made.id)


@pytest.mark.parametrize(
    ("kind", "code", "call"),
    [
        (linq.BadRequestError, 1002, lambda e, c: c.chats.create(from_="555", to=[ANN], message=text("Hi"))),
        (linq.BadRequestError, 1004, lambda e, c: c.chats.create(from_=e.lines[0], to=[ANN], message={"parts": []})),
        (
            linq.BadRequestError,
            1005,
            lambda e, c: c.chats.create(from_=e.lines[0], to=[ANN], message=text("see https://x.example")),
        ),
        (linq.AuthenticationError, 2004, lambda e, c: c.with_options(api_key="wrong").phone_numbers.list()),
        (
            linq.PermissionDeniedError,
            2006,
            lambda e, c: c.chats.create(from_="+12025550188", to=[ANN], message=text("Hi")),
        ),
        (
            linq.PermissionDeniedError,
            2024,
            lambda e, c: (
                e.control("POST", "handles", {"handle": BOB, "opted_out": True}),
                c.chats.create(from_=e.lines[0], to=[BOB], message=text("Hi")),
            ),
        ),
        (linq.NotFoundError, 2001, lambda e, c: c.chats.retrieve("00000000-0000-4000-8000-000000000000")),
        (linq.NotFoundError, 2002, lambda e, c: c.messages.retrieve("00000000-0000-4000-8000-000000000000")),
        (linq.NotFoundError, 2003, lambda e, c: c.attachments.retrieve("00000000-0000-4000-8000-000000000000")),
        (linq.ConflictError, 1006, lambda e, c: c.chats.update(new_chat(e, c), display_name="Ann")),
        (
            linq.RateLimitError,
            1007,
            lambda e, c: [c.chats.create(from_=e.lines[0], to=[ANN], message=text(f"Hi {n}")) for n in range(31)],
        ),
    ],
)
def test_refusals(
    emulator: EmulatorProcess,
    client: LinqAPIV3,
    kind: type[linq.APIStatusError],
    code: int,
    call: Callable[[EmulatorProcess, LinqAPIV3], object],
) -> None:
    with pytest.raises(kind) as caught:
        call(emulator, client)
    assert caught.value.code == code
    assert caught.value.doc_url
    if kind is linq.RateLimitError:
        assert (caught.value.retry_after or 0) > 0


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        (linq.UnprocessableEntityError, {"kind": "status", "status": 422, "code": 4005}),
        (linq.InternalServerError, {"kind": "status", "status": 503, "code": 4004}),
        (linq.APIConnectionError, {"kind": "reset"}),
        (linq.APITimeoutError, {"kind": "latency", "seconds": 600}),
    ],
)
def test_failures(emulator: EmulatorProcess, kind: type[linq.APIError], fault: dict[str, Any]) -> None:
    emulator.control("POST", "faults", {"path": "/v3/phone_numbers", "count": 1} | fault)
    with vendor(emulator) as client:
        with pytest.raises(kind):
            client.with_options(timeout=0.5 if kind is linq.APITimeoutError else 60).phone_numbers.list()
        assert client.phone_numbers.list().phone_numbers


def test_each_path_of_the_vendors_client_is_known(emulator: EmulatorProcess) -> None:
    """What the emulator lacks says so: nobody has to look for a mistake of their own."""
    calls: set[tuple[str, str]] = set()
    for file in (Path(linq.__file__).parent / "resources").rglob("*.py"):
        calls |= set(
            re.findall(r'self\._(get|post|put|patch|delete)\(\s*(?:path_template\(\s*)?"(/v3[^"]*)"', file.read_text())
        )
    assert len(calls) > 60
    lacking = set()
    with httpx.Client(headers={"Authorization": f"Bearer {emulator.api_key}"}, timeout=300) as client:
        for method, template in calls:
            path = re.sub(r"{[^}]*}", "00000000-0000-4000-8000-000000000000", template)
            response = client.request(method, emulator.base_url + path)
            if response.status_code == 404 and (error := response.json()["error"])["code"] == 1005:
                assert "linq-emulator" in error["message"], (method, template)
                lacking.add(template)
    assert lacking
    assert all(template.startswith("/v3/payment") for template in lacking)


def test_expired_messages_are_gone(client: LinqAPIV3, emulator: EmulatorProcess) -> None:
    emulator.control("POST", "lines", {"phone_number": emulator.lines[0], "retention_hours": 1})
    chat = new_chat(emulator, client)
    keyed = text("Once", idempotency_key="k-9")
    sent = client.chats.messages.send(chat, message=keyed).message.id
    emulator.advance(3_600 + 301)
    assert list(client.chats.messages.list(chat)) == []
    for ask in (lambda: client.messages.retrieve(sent), lambda: client.chats.messages.send(chat, message=keyed)):
        with pytest.raises(linq.NotFoundError) as gone:
            ask()
        assert gone.value.code == 2002
    assert [row["text"] for row in emulator.ledger()].count("Once") == 1


def test_webhook_payloads(emulator: EmulatorProcess, client: LinqAPIV3) -> None:
    """What the emulator delivers passes the vendor's signature check and its models."""
    received: list[tuple[str, dict[str, str]]] = []

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            received.append((body, dict(self.headers)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    with LoopbackServer(Receiver) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        secret = client.webhook_subscriptions.create(
            target_url=f"{server.origin}/hook",
            subscribed_events=["message.sent", "message.delivered", "message.received", "chat.created"],
        ).signing_secret
        new_chat(emulator, client)
        emulator.control("POST", "inbound", {"line": emulator.lines[0], "from": ANN, "text": "Hello"})
        emulator.advance(30)
        wait_until(lambda: len(received) >= 4, "all events have come")
        server.shutdown()
    with time_machine.travel("2026-03-01T12:00:30Z"):
        events = [client.webhooks.unwrap(body, headers=headers, key=secret) for body, headers in received]
    assert {event.event_type for event in events} == {
        "chat.created",
        "message.sent",
        "message.delivered",
        "message.received",
    }
    for event, (body, _) in zip(events, received, strict=True):
        type(event).model_validate_json(body)  # the client itself does not validate deliveries
