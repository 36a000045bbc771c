"""Commands for what contacts do with polls: send one, add options, vote."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from linq_emulator.control import lookup
from linq_emulator.control.base import Command, CommandError, Handler
from linq_emulator.domain import blocklist, inbound, polls
from linq_emulator.domain.content import MAX_TEXT
from linq_emulator.domain.models import IMESSAGE, Message, Poll
from linq_emulator.serializers import poll_envelope

__all__ = ["HANDLERS"]

OptionText = Annotated[str, Meta(min_length=1, max_length=MAX_TEXT)]


class InboundPoll(Struct, forbid_unknown_fields=True):
    """Body of POST polls."""

    sender: str = field(name="from")
    options: Annotated[list[OptionText], Meta(min_length=polls.MIN_OPTIONS)]
    line: str | None = None
    chat_id: str | None = None


def receive_poll(command: Command) -> object:
    """Receive a poll. The response is the poll, or ``{"dropped": true}`` for a blocked sender."""
    body = command.parse(InboundPoll)
    backend = command.backend
    if blocklist.is_blocked(backend, body.sender):
        return {"dropped": True}
    chat, sender = lookup.find_inbound_chat(command, body.sender, body.line, body.chat_id, IMESSAGE)
    if chat.service != IMESSAGE:
        raise CommandError("chat_id", "must be an iMessage chat: only these have polls")
    draft = polls.new_draft(backend, sender, body.options)
    message = inbound.receive(backend, chat, sender, draft.parts, poll=draft.poll)
    return _envelope(command, message, draft.poll)


class NewOptions(Struct, forbid_unknown_fields=True):
    """Body of POST poll_options."""

    message_id: str
    sender: str = field(name="from")
    options: Annotated[list[OptionText], Meta(min_length=1)]


def add_options(command: Command) -> object:
    """Let a contact add options to a poll."""
    body = command.parse(NewOptions)
    message, poll = _find(command, body.message_id)
    participant = lookup.find_participant(message.chat, body.sender)
    polls.add_options(command.backend, message, poll, participant, body.options)
    return _envelope(command, message, poll)


class Vote(Struct, forbid_unknown_fields=True):
    """Body of POST votes: the option by its id or its text."""

    message_id: str
    sender: str = field(name="from")
    option_id: str | None = None
    option: str | None = None
    operation: Literal["add", "remove"] = "add"


def vote(command: Command) -> object:
    """Add or remove a contact's vote."""
    body = command.parse(Vote)
    message, poll = _find(command, body.message_id)
    participant = lookup.find_participant(message.chat, body.sender)
    if (body.option_id is None) == (body.option is None):
        raise CommandError("option", "give either option_id or option")
    option = next((one for one in poll.options if body.option_id == one.id or body.option == one.text), None)
    if option is None:
        raise CommandError("option", "is not an option of this poll", 404)
    polls.vote(command.backend, message, option, participant, adds=body.operation == "add")
    return _envelope(command, message, poll)


def _find(command: Command, message_id: str) -> tuple[Message, Poll]:
    message = lookup.find_message(command, message_id)
    if message.poll is None:
        raise CommandError("message_id", "is not a poll")
    return message, message.poll


def _envelope(command: Command, message: Message, poll: Poll | None) -> dict[str, Any]:
    assert poll is not None
    return poll_envelope(message, poll, command.backend.media.url, with_texts=True)


HANDLERS: list[tuple[str, str, Handler]] = [
    ("POST", "polls", receive_poll),
    ("POST", "poll_options", add_options),
    ("POST", "votes", vote),
]
