"""The model that the path of a request names, and the body of a list of messages."""

from __future__ import annotations

from linq_emulator.domain import validate
from linq_emulator.domain.models import Chat, Message
from linq_emulator.errors import ApiError
from linq_emulator.serializers import list_body, message_bytes
from linq_emulator.server.gateway import Request, Response

__all__ = ["find_chat", "find_message", "find_readable_message", "messages_response"]


def find_chat(request: Request) -> Chat:
    """The chat of ``{chat_id}``.

    Raises:
        ApiError: 1005 if the id is no UUID, 2001 if there is no such chat.
    """
    chat = request.backend.store.chats.get(validate.identifier(request.path["chat_id"], "chat_id"))
    if chat is None:
        raise ApiError(2001)
    return chat


def find_message(request: Request) -> Message:
    """The message of ``{message_id}``.

    Raises:
        ApiError: 1005 if the id is no UUID, 2002 if there is no such message.
    """
    message = request.backend.store.messages.get(validate.identifier(request.path["message_id"], "message_id"))
    if message is None:
        raise ApiError(2002)
    return message


def find_readable_message(request: Request) -> Message:
    """The same, for reading: 2002 also for a message of which nothing was kept."""
    message = find_message(request)
    if not message.can_be_read:
        raise ApiError(2002)
    return message


def messages_response(request: Request, messages: list[Message], next_cursor: str | None) -> Response:
    """A page of messages."""
    media = request.backend.media
    urls_expire = media.urls_expire
    encoded = [message_bytes(message, media.url, media_urls_expire=urls_expire) for message in messages]
    return Response(200, list_body("messages", encoded, next_cursor))
