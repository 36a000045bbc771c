"""Every emulated operation through the vendor's own client, sync and async, with strict validation of each response."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Generator
from typing import Any

import httpx
import pytest
from linq import AsyncLinqAPIV3, LinqAPIV3

LINE, ANN, BOB, CAT, DAN = "+12025550101", "+12025550121", "+12025550122", "+12025550123", "+12025550124"

Walk = Generator[Any, Any, None]


def text(value: str, **fields: Any) -> Any:
    return {"parts": [{"type": "text", "value": value}], **fields}


def chats(client: Any, server: Any) -> Walk:
    created = yield client.chats.create(from_=LINE, to=[ANN], message=text("Hi"))
    chat = created.chat.id
    sent = yield client.chats.messages.send(chat, message=text("Again", effect={"type": "screen", "name": "hearts"}))
    assert sent.message.effect.name == "hearts"
    server.advance(60)
    page = yield client.chats.messages.list(chat)
    assert len(page.messages) == 2
    page = yield client.chats.list_chats(from_=LINE, to=ANN)
    assert [one.id for one in page.chats] == [chat]
    assert (yield client.chats.retrieve(chat)).id == chat
    yield client.chats.typing.start(chat)
    yield client.chats.typing.stop(chat)
    yield client.chats.mark_as_read(chat)
    yield client.chats.background.set(chat, type="color", shades=["#F2C4E1", "#F5A623"])
    yield client.chats.background.remove(chat)
    assert (yield client.chats.location.request(chat)).success
    server.set_handle(ANN, location={"longitude": 1, "latitude": 2})
    assert (yield client.chats.location.retrieve(chat)).data.features[0].geometry.coordinates[:2] == [1, 2]
    assert (yield client.chats.location.stop(chat, handle=ANN)).success

    group = (yield client.chats.create(from_=LINE, to=[ANN, BOB, CAT], message=text("Hi"))).chat.id
    assert (yield client.chats.update(group, display_name="Hikers")).chat_id == group
    assert (yield client.chats.participants.add(group, handle=DAN)).status == "accepted"
    server.advance(60)
    assert (yield client.chats.participants.remove(group, handle=DAN)).status == "accepted"
    server.advance(60)
    assert (yield client.chats.leave_chat(group)).status == "accepted"


def messages(client: Any, server: Any) -> Walk:
    routed = yield client.messages.create(to=[ANN], message=text("Hi"), idempotency_key="k")
    message, chat = routed.message.id, routed.chat_id
    assert (yield client.messages.retrieve(message)).chat_id == chat
    assert (yield client.messages.update(message, text="Hello")).parts[0].value == "Hello"
    yield client.messages.add_reaction(message, operation="add", type="love")
    yield client.messages.add_reaction(message, operation="add", type="sticker", emoji="🎂", placement={"x": 0.5})
    shown = yield client.messages.retrieve(message)
    sticker = next(one for one in shown.parts[0].reactions if one.type == "sticker")
    moved = yield client.messages.update_sticker_placement(sticker.id, message_id=message, placement={"scale": 2})
    assert moved.success
    reply = yield client.chats.messages.send(chat, message=text("Yes", reply_to={"message_id": message}))
    thread = yield client.messages.list_messages_thread(message)
    assert [one.id for one in thread.messages] == [message, reply.message.id]
    yield client.messages.delete(reply.message.id)

    app = {"bundle_id": "com.example.game", "name": "Game", "team_id": "ABCDE12345"}
    card: Any = {"parts": [{"type": "imessage_app", "app": app, "layout": {"caption": "Your move"}}]}
    sent = yield client.chats.messages.send(chat, message=card)
    server.advance(60)
    updated = yield client.messages.update_app_card(sent.message.id, layout={"caption": "My move"})
    assert updated.message.parts[0].layout.caption == "My move"
    clip: Any = {"parts": [{"type": "app_clip", "value": "https://shop.example/clip"}]}
    yield client.chats.messages.send(chat, message=clip)
    listed = yield client.experiences.list()
    link_experience = next(one for one in listed.experiences if one.experience == "link")
    assert (yield client.experiences.retrieve("link")).display_name == link_experience.display_name
    link: Any = {"experience": {"name": "link", "action": "open", "params": {"url": "https://shop.example"}}}
    yield client.chats.messages.send(chat, message=link)

    poll = yield client.chats.polls.create(chat, poll={"options": [{"text": "Friday"}, {"text": "Saturday"}]})
    added = yield client.messages.poll.add_options(poll.message_id, options=[{"text": "Sunday"}])
    sunday = added.poll.options[2].option_id
    yield client.messages.poll.vote(poll.message_id, operation="add", option_id=sunday)
    assert (yield client.messages.poll.retrieve(poll.message_id)).poll.total_voters == 1
    assert (yield client.messages.retrieve(poll.message_id)).parts is None


def files_and_lines(client: Any, server: Any) -> Walk:
    slot = yield client.attachments.create(filename="memo.m4a", content_type="audio/x-m4a", size_bytes=4)
    httpx.put(slot.upload_url, content=b"memo", headers=slot.required_headers).raise_for_status()
    assert (yield client.attachments.retrieve(slot.attachment_id)).status == "complete"
    chat = (yield client.chats.create(from_=LINE, to=[BOB], message=text("Hi"))).chat.id
    yield client.chats.send_voicememo(chat, attachment_id=slot.attachment_id)
    yield client.attachments.delete(slot.attachment_id)

    numbers = (yield client.phone_numbers.list()).phone_numbers
    yield client.phone_numbers.update(numbers[0].id, forwarding_number=DAN)
    with pytest.warns(DeprecationWarning, match="deprecated"):
        yield client.phonenumbers.list()
    audit = yield client.phone_numbers.start_reputation_audit(LINE)
    server.advance(60)
    done = yield client.phone_numbers.get_reputation_audit(audit.audit_id, phone_number=LINE)
    assert done.report.severity == "HEALTHY"
    assert (yield client.available_number.retrieve(to=[BOB], type="iMessage")).phone_number == LINE
    assert (yield client.capability.check_i_message(address=ANN)).available
    server.advance(60)
    assert (yield client.capability.check_RCS(address=ANN)).available
    yield client.contact_card.create(phone_number=LINE, first_name="Shop")
    yield client.contact_card.update(phone_number=LINE, last_name="Keeper")
    assert (yield client.contact_card.retrieve(phone_number=LINE)).contact_cards[0].last_name == "Keeper"
    yield client.chats.share_contact_card(chat)
    yield client.blocked_handles.block(handle="262966", reason="spam")
    assert [one.handle for one in (yield client.blocked_handles.list()).blocked_handles] == ["262966"]
    yield client.blocked_handles.unblock(handle="262966")


def webhooks(client: Any, server: Any) -> Walk:
    assert len((yield client.webhook_events.list()).events) == 75
    made = yield client.webhook_subscriptions.create(
        target_url="https://hooks.example/linq", subscribed_events=["message.received"]
    )
    yield client.webhook_subscriptions.retrieve(made.id)
    yield client.webhook_subscriptions.update(made.id, is_active=False)
    assert [one.id for one in (yield client.webhook_subscriptions.list()).subscriptions] == [made.id]
    yield client.webhook_subscriptions.delete(made.id)


WALKS = (chats, messages, files_and_lines, webhooks)


def run(walk: Walk) -> None:
    result = None
    while True:
        try:
            result = walk.send(result)
        except StopIteration:
            return


async def run_async(walk: Walk) -> None:
    result = None
    while True:
        try:
            result = walk.send(result)
        except StopIteration:
            return
        if inspect.isawaitable(result):
            result = await result


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_every_operation(server: Any, kind: str) -> None:
    options: dict[str, Any] = {"api_key": server.api_key, "base_url": server.base_url, "max_retries": 0}
    if kind == "sync":
        with LinqAPIV3(**options, _strict_response_validation=True) as client:
            for walk in WALKS:
                run(walk(client, server))
    else:

        async def walk_all() -> None:
            async with AsyncLinqAPIV3(**options, _strict_response_validation=True) as client:
                for walk in WALKS:
                    await run_async(walk(client, server))

        asyncio.run(walk_all())
    served = {(each["method"], each["route"]) for each in server.request_summary() if each["status"] < 300}
    document = server.control("GET", "openapi.json")
    emulated = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert len(emulated) == 56
    assert served == emulated, "an operation that is emulated is not in the walk"
