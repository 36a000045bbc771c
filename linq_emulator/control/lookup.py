"""The models that a command names; a command that names none is refused."""

from __future__ import annotations

from typing import Any

from linq_emulator.control.base import Command, CommandError
from linq_emulator.domain import inbound, validate
from linq_emulator.domain.models import Chat, Line, Message, Participant
from linq_emulator.serializers import message_fields

__all__ = [
    "find_chat",
    "find_inbound_chat",
    "find_line",
    "find_message",
    "find_participant",
    "message_result",
    "sender",
]


def find_line(command: Command, number: str) -> Line:
    """The line of a number; 404 if there is none."""
    line = command.backend.store.lines.get(number)
    if line is None:
        raise CommandError("line", f"{number} is not a line of this emulator", 404)
    return line


def find_chat(command: Command, chat_id: str) -> Chat:
    """The chat of an id; 404 if there is none."""
    chat = command.backend.store.chats.get(chat_id)
    if chat is None:
        raise CommandError("chat_id", "there is no such chat", 404)
    return chat


def find_message(command: Command, message_id: str, field: str = "message_id") -> Message:
    """The message of an id; 404 if there is none."""
    message = command.backend.store.messages.get(message_id)
    if message is None:
        raise CommandError(field, "there is no such message, or it is deleted or expired", 404)
    return message


def find_participant(chat: Chat, handle: str) -> Participant:
    """The active participant that the field ``from`` names."""
    participant = chat.active_participant(handle)
    if participant is None:
        raise CommandError("from", "is not a participant of this chat")
    return participant


def sender(handle: str, field: str) -> str:
    """A handle that messages can come from; 400 otherwise."""
    if not validate.is_sender(handle):
        rule = "must be an E.164 phone number, an e-mail address, a short code or an alphanumeric sender id"
        raise CommandError(field, rule)
    return handle


def find_inbound_chat(
    command: Command, handle: str, number: str | None, chat_id: str | None, service: str | None
) -> tuple[Chat, Participant]:
    """The chat that a contact writes into, and the contact in it. The direct chat with a line is added if need be."""
    sender(handle, "from")
    if (number is None) == (chat_id is None):
        raise CommandError("line", "give either line or chat_id")
    if chat_id is None:
        chat = inbound.find_or_add_chat(command.backend, find_line(command, number or ""), handle, service)
    else:
        chat = find_chat(command, chat_id)
        if chat.left:
            raise CommandError("chat_id", "the line has left this chat")
    return chat, find_participant(chat, handle)


def message_result(command: Command, message: Message) -> dict[str, Any]:
    """A message as the API shows it."""
    return message_fields(message, command.backend.media.url)
