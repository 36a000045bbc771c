"""Every endpoint of the client, against the emulator over HTTP."""

from __future__ import annotations

import io
from datetime import datetime, timezone
from pathlib import Path

import pytest

from linq_client import (
    ConflictError,
    InvalidRequestError,
    LinqClient,
    Media,
    MessageNotFoundError,
    NotFoundError,
    OptedOutError,
)
from linq_client.models import LinkPart, MediaPart, TextPart
from tests.support.emulator_process import Emulator

ANN, BOB, CAT, DAN = "+12025550121", "+12025550122", "+12025550123", "+12025550124"


def test_a_direct_chat_from_first_message_to_reply(emulator: Emulator, client: LinqClient) -> None:
    line = emulator.lines[0]
    created = client.chats.create(line, ANN, "Hi Ann")
    assert {handle.handle for handle in created.handles} == {line, ANN}
    assert created.idempotency_key
    assert created.trace_id

    sent = client.messages.send(created.id, ["See you", Media(url="https://files.example/map.png")])
    emulator.advance(60)
    message = client.messages.get(sent.message.id)
    assert message.chat_id == created.id
    assert message.is_from_me
    assert message.delivery_status in ("delivered", "read")
    text, media = message.parts
    assert isinstance(text, TextPart)
    assert text.value == "See you"
    assert isinstance(media, MediaPart)

    emulator.control("POST", "inbound", {"line": line, "from": ANN, "text": "At eight?"})
    listed = list(client.messages.list(created.id, limit=1))
    assert len(listed) == 3
    assert [message.is_from_me for message in listed].count(False) == 1

    chat = client.chats.get(created.id)
    assert not chat.is_group
    assert [found.id for found in client.chats.list(from_=line, to=ANN)] == [created.id]
    client.chats.mark_read(chat.id)
    client.typing.start(chat.id)
    client.typing.stop(chat.id)


def test_a_link_stands_alone(emulator: Emulator, client: LinqClient) -> None:
    chat = client.chats.create(emulator.lines[0], ANN, "Hi")
    sent = client.messages.send(chat.id, [{"type": "link", "value": "https://shop.example/sale"}])
    assert isinstance(client.messages.get(sent.message.id).parts[0], LinkPart)


def test_one_key_sends_one_message(emulator: Emulator, client: LinqClient) -> None:
    chat = client.chats.create(emulator.lines[0], ANN, "Hi")
    message = {"parts": ["Once"], "idempotency_key": "order-7"}
    first, again = client.messages.send(chat.id, message), client.messages.send(chat.id, message)
    assert first.message.id == again.message.id
    assert first.idempotency_key == "order-7"
    assert [row["text"] for row in emulator.ledger()].count("Once") == 1


def test_edit_react_thread_delete(emulator: Emulator, client: LinqClient) -> None:
    chat = client.chats.create(emulator.lines[0], ANN, "Hi")
    emulator.advance(30)
    asked = emulator.control("POST", "inbound", {"line": emulator.lines[0], "from": ANN, "text": "When?"})
    reply = client.messages.send(chat.id, {"parts": ["At nihne"], "reply_to": {"message_id": asked["id"]}})
    emulator.advance(30)
    client.messages.edit(reply.message.id, "At nine")
    gone = client.messages.send(chat.id, "Not this").message.id
    client.messages.delete(gone)
    with pytest.raises(MessageNotFoundError, match="deleted"):
        client.messages.edit(gone, "Nor that")
    client.messages.react(asked["id"], "love")
    client.messages.react(asked["id"], "custom", custom_emoji="\N{PARTY POPPER}")
    client.messages.react(asked["id"], "love", operation="remove")
    emulator.advance(5)

    thread = [message.id for message in client.messages.thread(asked["id"])]
    assert thread == [asked["id"], reply.message.id]
    assert [message.id for message in client.messages.thread(asked["id"], order="desc")] == thread[::-1]
    edited = client.messages.get(reply.message.id).parts[0]
    assert isinstance(edited, TextPart)
    assert edited.value == "At nine"
    reactions = client.messages.get(asked["id"]).parts[0].reactions or []
    assert [(reaction.type, reaction.custom_emoji) for reaction in reactions] == [("custom", "\N{PARTY POPPER}")]

    client.messages.delete(reply.message.id)
    with pytest.raises(NotFoundError) as gone:
        client.messages.get(reply.message.id)
    assert gone.value.code == 2002


def test_groups(emulator: Emulator, client: LinqClient) -> None:
    group = client.chats.create(emulator.lines[0], [ANN, BOB, CAT], "Hello all")
    assert group.is_group
    assert client.chats.update(group.id, display_name="Hikers").chat_id == group.id
    assert client.participants.add(group.id, DAN).status == "accepted"
    emulator.advance(60)
    chat = client.chats.get(group.id)
    assert chat.display_name == "Hikers"
    assert DAN in {handle.handle for handle in chat.handles}
    assert client.participants.remove(group.id, DAN).status == "accepted"
    emulator.advance(60)
    assert client.chats.leave(group.id).status == "accepted"
    emulator.advance(60)
    with pytest.raises(ConflictError) as left:
        client.messages.send(group.id, "Still here?")
    assert left.value.code == 2013


def test_a_direct_chat_has_no_name(emulator: Emulator, client: LinqClient) -> None:
    chat = client.chats.create(emulator.lines[0], ANN, "Hi")
    with pytest.raises(ConflictError) as refused:
        client.chats.update(chat.id, display_name="Ann")
    assert refused.value.code == 1006
    with pytest.raises(InvalidRequestError, match="display_name"):
        client.chats.update(chat.id)


def test_the_platform_may_choose_the_line(emulator: Emulator, client: LinqClient) -> None:
    new = client.messages.send_from_any_line(ANN, "See https://shop.example")
    assert new.created_new_chat
    assert new.from_line in emulator.lines
    again = client.messages.send_from_any_line([ANN], "And more", continuation_text="More")
    assert (again.chat_id, again.from_line) == (new.chat_id, new.from_line)
    other = client.messages.send_from_any_line(BOB, "Hi", exclude_from=[emulator.lines[0]])
    assert other.from_line != emulator.lines[0]
    key = {"parts": ["Once"], "idempotency_key": "k-1"}
    sent = [client.messages.send_from_any_line(ANN, key).message.id for _ in range(2)]
    assert sent[0] == sent[1]


def test_opt_out_and_its_override(emulator: Emulator, client: LinqClient) -> None:
    chat = client.chats.create(emulator.lines[0], ANN, "Hi")
    emulator.control("POST", "inbound", {"line": emulator.lines[0], "from": ANN, "text": "STOP"})
    with pytest.raises(OptedOutError):
        client.messages.send(chat.id, "Really?")
    assert client.messages.send(chat.id, "You are off the list.", override_optout=True).message.id


def test_attachments(emulator: Emulator, client: LinqClient, tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 500)
    by_path = client.attachments.upload(photo)
    by_bytes = client.attachments.upload(photo.read_bytes(), filename="photo.png")
    for attachment_id in (by_path, by_bytes):
        known = client.attachments.get(attachment_id)
        assert (known.filename, known.size_bytes) == ("photo.png", photo.stat().st_size)
        stored = io.BytesIO()
        assert client.attachments.download(attachment_id, stored) == photo.stat().st_size
        assert stored.getvalue() == photo.read_bytes()
    with pytest.raises(InvalidRequestError, match="max_bytes"):
        client.attachments.download(by_path, io.BytesIO(), max_bytes=1_000)

    chat = client.chats.create(emulator.lines[0], ANN, "Hi")
    sent = client.messages.send(chat.id, [Media(attachment_id=by_path)])
    assert isinstance(part := sent.message.parts[0], MediaPart)
    assert part.id == by_path
    client.attachments.delete(by_bytes)
    with pytest.raises(NotFoundError) as gone:
        client.attachments.get(by_bytes)
    assert gone.value.code == 2003
    with pytest.raises(InvalidRequestError, match="content_type"):
        client.attachments.upload(b"x", filename="thing.unheard-of")


def test_voice_memo(emulator: Emulator, client: LinqClient) -> None:
    chat = client.chats.create(emulator.lines[0], ANN, "Hi")
    memo_id = client.attachments.upload(b"\x00" * 2_000, filename="memo.m4a", content_type="audio/x-m4a")
    memo = client.chats.send_voice_memo(chat.id, attachment_id=memo_id)
    assert memo.from_line == emulator.lines[0]
    with pytest.raises(InvalidRequestError, match="voice_memo_url"):
        client.chats.send_voice_memo(chat.id)


def test_location(emulator: Emulator, client: LinqClient) -> None:
    chat = client.chats.create(emulator.lines[0], ANN, "Hi")
    assert client.location.get(chat.id) == []
    client.location.request(chat.id)
    emulator.control("POST", "handles", {"handle": ANN, "location": {"longitude": -77.0365, "latitude": 38.8977}})
    (place,) = client.location.get(chat.id)
    assert (place.handle, place.longitude, place.latitude) == (ANN, -77.0365, 38.8977)
    client.location.stop(chat.id, ANN)
    assert client.location.get(chat.id) == []


def test_capability(emulator: Emulator, client: LinqClient) -> None:
    emulator.control("POST", "handles", {"handle": BOB, "services": ["SMS"]})
    assert client.capability.check_imessage(ANN, from_=emulator.lines[0]).available
    emulator.advance(11)
    assert not client.capability.check_imessage(BOB).available
    emulator.advance(11)
    assert not client.capability.check_rcs(BOB).available
    with pytest.raises(InvalidRequestError, match="address"):
        client.capability.check_rcs("ann@mail.example")


def test_lines_and_contact_cards(emulator: Emulator, client: LinqClient) -> None:
    lines = client.phone_numbers.list()
    assert [line.phone_number for line in lines] == emulator.lines
    assert lines[0].reputation is not None
    assert client.phone_numbers.set_forwarding(lines[0].id, "+12025550177").forwarding_number == "+12025550177"
    assert not client.phone_numbers.set_forwarding(lines[0].id, None).forwarding_number

    line = emulator.lines[0]
    assert client.contact_card.create(line, "Shop").first_name == "Shop"
    with pytest.raises(ConflictError) as exists:
        client.contact_card.create(line, "Shop")
    assert exists.value.code == 2014
    emulator.advance(601)
    assert client.contact_card.update(line, last_name="Keeper").last_name == "Keeper"
    assert [card.phone_number for card in client.contact_card.get(line)] == [line]
    chat = client.chats.create(line, ANN, "Hi")
    client.chats.share_contact_card(chat.id)


def test_webhook_subscriptions(emulator: Emulator, client: LinqClient) -> None:
    assert "message.received" in client.webhook_events.list()
    made = client.webhook_subscriptions.create("https://hooks.example/linq?version=2026-02-03", ["message.received"])
    assert made.signing_secret
    assert made.signing_secret not in repr(made)
    assert client.webhook_subscriptions.get(made.id).signing_secret is None
    changed = client.webhook_subscriptions.update(made.id, is_active=False, phone_numbers=[emulator.lines[0]])
    assert not changed.is_active
    assert changed.phone_numbers == [emulator.lines[0]]
    assert not client.webhook_subscriptions.update(made.id, phone_numbers=[]).phone_numbers
    assert [each.id for each in client.webhook_subscriptions.list()] == [made.id]
    client.webhook_subscriptions.delete(made.id)
    with pytest.raises(NotFoundError) as gone:
        client.webhook_subscriptions.get(made.id)
    assert gone.value.code == 2010


@pytest.mark.parametrize("where", ["inside", "beside", "both"])
def test_the_message_of_a_new_chat_is_found_where_it_is(emulator: Emulator, client: LinqClient, where: str) -> None:
    emulator.control("PATCH", "switches", {"create_chat_message": where})
    created = client.chats.create(emulator.lines[0], ANN, "Hi")
    assert client.messages.get(created.message.id).chat_id == created.id


def test_the_clock_is_the_servers(emulator: Emulator, client: LinqClient) -> None:
    assert client.server_time == datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
    emulator.advance(90)
    page = next(client.chats.list().pages())
    assert page.server_time == client.server_time == datetime(2026, 3, 1, 12, 1, 30, tzinfo=timezone.utc)


def test_ids_stay_one_segment_of_the_path(client: LinqClient) -> None:
    with pytest.raises((NotFoundError, InvalidRequestError)) as refused:
        client.messages.get("../phone_numbers")
    assert refused.value.status in (400, 404)
    for bad in ("", "..", "."):
        with pytest.raises(InvalidRequestError, match="message_id: must be an id"):
            client.messages.get(bad)
