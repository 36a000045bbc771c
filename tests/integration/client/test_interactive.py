"""Polls, cards, stickers, backgrounds, blocks, audits and the choice of a line, against the emulator over HTTP."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from linq_client import (
    AppCard,
    AppClip,
    BlockedError,
    CardApp,
    CardLayout,
    ConflictError,
    Experience,
    InlineSticker,
    InvalidRequestError,
    LinqClient,
    MessageNotFoundError,
    NotFoundError,
    Placement,
    RateLimitedError,
    ServerError,
    Text,
)
from linq_client.models import AppCardPart, AppClipPart, TextPart
from linq_emulator.testing import EmulatorProcess

ANN, BOB = "+12025550121", "+12025550122"
APP = CardApp(name="Shop", team_id="ABCDE12345", bundle_id="example.shop")


@pytest.fixture
def client(emulator: EmulatorProcess) -> Iterator[LinqClient]:
    with LinqClient(emulator.api_key, base_url=emulator.base_url, retry_budget=0) as opened:
        yield opened


@pytest.fixture
def chat_id(emulator: EmulatorProcess, client: LinqClient) -> str:
    created = client.chats.create(emulator.lines[0], ANN, "Hi Ann")
    emulator.inbound(ANN, "Hi", line=emulator.lines[0])
    emulator.advance(60)
    return created.id


def test_a_poll_is_created_once_voted_for_and_added_to(
    emulator: EmulatorProcess, client: LinqClient, chat_id: str
) -> None:
    made = client.polls.create(chat_id, ["Friday", "Saturday"], idempotency_key="day")
    assert client.polls.create(chat_id, ["Friday", "Saturday"], idempotency_key="day").message_id == made.message_id
    assert made.poll is not None
    friday, saturday = made.poll.options
    emulator.advance(60)
    emulator.vote(made.message_id, ANN, option="Friday")
    client.polls.vote(made.message_id, saturday.option_id)
    read = client.polls.get(made.message_id)
    assert [[voter.handle for voter in option.voters] for option in read.poll.options] == [[ANN], [emulator.lines[0]]]
    assert read.poll.total_voters == 2
    client.polls.vote(made.message_id, saturday.option_id, operation="remove")
    more = client.polls.add_options(made.message_id, ["Sunday"])
    assert [option.text for option in more.poll.options] == ["Friday", "Saturday", "Sunday"]
    assert more.poll.options[0].option_id == friday.option_id
    assert more.poll.total_voters == 1
    with pytest.raises(InvalidRequestError):
        client.polls.vote(made.message_id, "no-such-option")
    with pytest.raises(MessageNotFoundError):
        client.polls.get(client.messages.send(chat_id, "No poll").message.id)


def test_a_card_is_sent_read_and_replaced(emulator: EmulatorProcess, client: LinqClient, chat_id: str) -> None:
    sent = client.messages.send(chat_id, [AppCard(app=APP, layout=CardLayout(caption="Your move"), url="data:,e4")])
    with pytest.raises(ConflictError):
        client.messages.update_card(sent.message.id, {"caption": "Too early"})
    emulator.advance(60)
    (card,) = client.messages.get(sent.message.id).parts
    assert isinstance(card, AppCardPart)
    assert card.app is not None
    assert card.layout is not None
    assert (card.app.team_id, card.layout.caption, card.url) == ("ABCDE12345", "Your move", "data:,e4")
    update = client.messages.update_card(sent.message.id, {"caption": "Check"}, url="data:,e5", interactive=False)
    assert update.message.id != sent.message.id
    (card,) = client.messages.get(update.message.id).parts
    assert isinstance(card, AppCardPart)
    assert card.layout is not None
    assert (card.layout.caption, card.url) == ("Check", "data:,e5")
    words = client.messages.send(chat_id, "No card")
    emulator.advance(60)
    with pytest.raises(InvalidRequestError):
        client.messages.update_card(words.message.id, {"caption": "x"})


def test_an_app_clip_and_an_experience(emulator: EmulatorProcess, client: LinqClient, chat_id: str) -> None:
    clip = client.messages.send(chat_id, [AppClip(value="https://clip.example/pay", caption="Pay")])
    (part,) = client.messages.get(clip.message.id).parts
    assert isinstance(part, AppClipPart)
    assert part.value == "https://clip.example/pay"

    offered = client.experiences.list()
    assert client.experiences.get(offered[0].experience) == offered[0]
    action = next(action for action in offered[0].actions if action.name)
    params = {
        name: "https://shop.example/x" if field.type == "url" else 1 if field.type in ("cents", "int") else "x"
        for name, field in (action.fields or {}).items()
    }
    experience = Experience(name=offered[0].experience, action=action.name or "", params=params)
    sent = client.messages.send(chat_id, {"experience": experience})
    assert client.messages.get(sent.message.id).chat_id == chat_id


def test_stickers_in_a_text_and_on_a_message(emulator: EmulatorProcess, client: LinqClient, chat_id: str) -> None:
    image = client.attachments.upload(b"\x89PNG\r\n\x1a\n" + b"0" * 64, filename="cake.png")
    text = Text(value="A cake \U0001f382!", inline_stickers=(InlineSticker(range=(7, 9), attachment_id=image),))
    sent = client.messages.send(chat_id, [text])
    (part,) = client.messages.get(sent.message.id).parts
    assert isinstance(part, TextPart)
    assert part.inline_stickers is not None
    assert [sticker.range for sticker in part.inline_stickers] == [[7, 9]]

    emulator.advance(60)
    client.messages.react(sent.message.id, "sticker", emoji="\u2615", placement=Placement(x=-0.5, scale=0.5))
    emulator.advance(60)
    (reaction,) = client.messages.get(sent.message.id).parts[0].reactions or []
    assert reaction.type == "sticker"
    assert reaction.id is not None
    client.messages.move_sticker(sent.message.id, reaction.id, Placement(x=0.5, rotation=90))
    with pytest.raises(NotFoundError):
        client.messages.move_sticker(sent.message.id, "00000000-0000-4000-8000-000000000000", Placement(x=0))


def test_a_background_comes_and_goes(client: LinqClient, chat_id: str) -> None:
    client.background.set(chat_id, "color", shades=["#F2C4E1", "#F5A623"])
    client.background.set(chat_id, "dynamic", style="water", variant="dark")
    client.background.set(chat_id, "photo", image_url="https://files.example/bay.jpg")
    client.background.remove(chat_id)
    with pytest.raises(NotFoundError):
        client.background.remove("00000000-0000-4000-8000-000000000000")


def test_a_blocked_handle_is_not_written_to(emulator: EmulatorProcess, client: LinqClient, chat_id: str) -> None:
    blocked = client.blocked_handles.block(ANN, reason="asked for it")
    assert client.blocked_handles.block(ANN).blocked_at == blocked.blocked_at
    client.blocked_handles.block("262966")
    assert {each.handle: each.reason for each in client.blocked_handles.list()} == {
        "262966": None,
        ANN: "asked for it",
    }
    assert {item["handle"] for item in client.blocked_handles.list_raw()} == {"262966", ANN}
    with pytest.raises(BlockedError):
        client.messages.send(chat_id, "Hello?")
    client.blocked_handles.unblock(ANN)
    client.messages.send(chat_id, "Hello again")


def test_the_platform_chooses_a_line(emulator: EmulatorProcess, client: LinqClient, chat_id: str) -> None:
    first, second = emulator.lines
    chosen = client.available_number.get(to=ANN)
    assert chosen.phone_number == first
    assert chosen.vcf_url
    assert client.available_number.get(exclude_from=[first], type="iMessage").phone_number == second
    with pytest.raises(InvalidRequestError):
        client.available_number.get(exclude_from=[first, second])
    with pytest.raises(ServerError) as none_left:
        client.available_number.get(type="RCS")
    assert none_left.value.status == 503


def test_an_audit_of_a_line(emulator: EmulatorProcess, client: LinqClient) -> None:
    line, other = emulator.lines
    started = client.phone_numbers.start_reputation_audit(line)
    assert started.status == "pending"
    assert client.phone_numbers.start_reputation_audit(line).audit_id == started.audit_id
    emulator.advance(60)
    audit = client.phone_numbers.get_reputation_audit(line, started.audit_id)
    assert (audit.status, audit.phone) == ("complete", line)
    assert audit.report is not None
    assert audit.report.severity == "HEALTHY"
    with pytest.raises(NotFoundError):
        client.phone_numbers.get_reputation_audit(other, started.audit_id)
    with pytest.raises(RateLimitedError) as too_soon:
        client.phone_numbers.start_reputation_audit(line)
    assert too_soon.value.retry_after
