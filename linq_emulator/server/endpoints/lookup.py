"""What the path of a request names: the record, or the documented refusal."""

from __future__ import annotations

from linq_emulator.domain import validate
from linq_emulator.domain.models import Chat, Message
from linq_emulator.errors import ApiError
from linq_emulator.serializers import message_bytes, page
from linq_emulator.server.gateway import Call


def chat(call: Call) -> Chat:
    """The chat of ``{chat_id}``; 1005 when that is no UUID, 2001 when there is none."""
    found = call.world.store.chats.get(validate.identifier(call.path["chat_id"], "chat_id"))
    if found is None:
        raise ApiError(2001)
    return found


def message(call: Call) -> Message:
    """The message of ``{message_id}``; 1005 when that is no UUID, 2002 when there is none."""
    found = call.world.store.messages.get(validate.identifier(call.path["message_id"], "message_id"))
    if found is None:
        raise ApiError(2002)
    return found


def messages_page(call: Call, items: list[Message], next_cursor: str | None) -> bytes:
    """The body of a list of messages."""
    media = call.world.media
    expire = media.urls_expire
    encoded = [message_bytes(one, media.url, media_urls_expire=expire) for one in items]
    return page("messages", encoded, next_cursor)
