"""How state looks on the wire: dicts of the API's objects, and the encoded bytes of what lists repeat.

Shapes: linq-python 0.65.0 ``types/chat.py``, ``types/message.py``, ``types/chats/sent_message.py`` and
``types/shared/``. A field that the API may leave out is sent as null.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from linq_emulator.clock import iso, iso_or_none
from linq_emulator.domain.models import Attachment, Chat, ContactCard, Line, Message, Part, Participant, Reaction
from linq_emulator.errors import DOCS

MediaUrl = Callable[[Attachment], str]
JSON = dict[str, Any]

encode = msgspec.json.Encoder().encode


def handle(participant: Participant) -> JSON:
    """A ChatHandle."""
    return {
        "id": participant.id,
        "handle": participant.handle,
        "joined_at": iso(participant.joined_at),
        "left_at": iso_or_none(participant.left_at),
        "service": participant.service,
        "is_me": participant.is_me,
        "status": participant.status,
        "line_type": participant.line_type,
    }


def handles(chat: Chat) -> list[JSON]:
    """Everybody who is or was in a chat, the own line first."""
    return [handle(chat.me), *(handle(other) for other in chat.others)]


def health(chat: Chat) -> JSON:
    """The health_status of a chat."""
    anchor = chat.health.lower().replace("_", "-")
    return {
        "status": chat.health,
        "doc_url": f"{DOCS}/channel/imessage/guides/chats/chat-health#{anchor}",
        "updated_at": iso(chat.health_at),
    }


def display_name(chat: Chat) -> str:
    """The name that was set, or the recipients with commas between."""
    return chat.display_name or ", ".join(other.handle for other in chat.active() or chat.others)


def chat_fields(chat: Chat) -> JSON:
    """A Chat, as GET, the list and chat.created show it."""
    return {
        "id": chat.id,
        "display_name": display_name(chat),
        "service": chat.service,
        "handles": handles(chat),
        "is_group": chat.is_group,
        "is_archived": False,
        "group_chat_icon": chat.icon,
        "health_status": health(chat),
        "created_at": iso(chat.created_at),
        "updated_at": iso(chat.updated_at),
    }


def chat_bytes(chat: Chat) -> bytes:
    """`chat_fields` encoded, kept until the chat changes."""
    if chat.encoded is None:
        chat.encoded = encode(chat_fields(chat))
    return chat.encoded


def reaction(item: Reaction, media_url: MediaUrl) -> JSON:
    """A Reaction."""
    sticker = item.sticker
    return {
        "id": item.id,
        "is_me": item.participant.is_me,
        "handle": handle(item.participant),
        "type": item.type,
        "custom_emoji": item.custom_emoji,
        "sticker": sticker
        and {"url": media_url(sticker), "file_name": sticker.filename, "mime_type": sticker.content_type},
    }


def part(item: Part, media_url: MediaUrl, *, reactions: bool = True) -> JSON:
    """One part; webhooks show it without reactions."""
    shown: JSON = {"type": item.type}
    if item.attachment is not None:
        shown["id"] = item.attachment.id
        shown["url"] = media_url(item.attachment)
        shown["filename"] = item.attachment.filename
        shown["mime_type"] = item.attachment.content_type
        shown["size_bytes"] = item.attachment.size_bytes
    elif item.type != "imessage_app":
        shown["value"] = item.value
    if item.extra:
        shown.update(item.extra)
    if reactions:
        shown["reactions"] = [reaction(one, media_url) for one in item.reactions] if item.reactions else None
    return shown


def reply_to(message: Message) -> JSON | None:
    """What a message answers, as long as that can still be read."""
    target = message.reply_to
    if target is None or target.gone:
        return None
    return {"message_id": target.id, "part_index": message.reply_part}


def _common(message: Message, media_url: MediaUrl) -> JSON:
    return {
        "id": message.id,
        "created_at": iso(message.created_at),
        "sent_at": iso_or_none(message.sent_at),
        "delivered_at": iso_or_none(message.delivered_at),
        "delivery_status": message.status,
        "is_read": message.status == "read",
        "service": message.service,
        "preferred_service": message.preferred_service,
        "parts": [part(one, media_url) for one in message.parts],
        "effect": message.effect,
        "reply_to": reply_to(message),
        "from_handle": _sender(message.sender),
    }


def _sender(participant: Participant) -> msgspec.Raw:
    # Kept encoded, since every message of a list repeats it.
    if participant.encoded is None:
        participant.encoded = msgspec.Raw(encode(handle(participant)))
    return participant.encoded


def sent_message(message: Message, media_url: MediaUrl) -> JSON:
    """A SentMessage: what the answer to a send holds."""
    return _common(message, media_url)


def message_fields(message: Message, media_url: MediaUrl) -> JSON:
    """A Message, as GET and the lists show it."""
    shown = _common(message, media_url)
    shown["chat_id"] = message.chat.id
    shown["updated_at"] = iso(message.updated_at)
    shown["read_at"] = iso_or_none(message.read_at)
    shown["is_from_me"] = message.outbound
    shown["is_delivered"] = message.status in ("delivered", "read")
    shown["from"] = message.sender.handle
    if message.reconciled_at is not None:
        # The key is left out for messages that arrived live (linq-python 0.65.0 types/message.py).
        shown["reconciled_at"] = iso(message.reconciled_at)
    return shown


def message_bytes(message: Message, media_url: MediaUrl, *, media_urls_expire: bool) -> bytes:
    """`message_fields` encoded, kept until the message changes, unless it holds a URL that expires."""
    if message.encoded is not None:
        return message.encoded
    encoded = encode(message_fields(message, media_url))
    if not (media_urls_expire and _shows_media(message)):
        message.encoded = encoded
    return encoded


def _shows_media(message: Message) -> bool:
    for one in message.parts:
        if one.attachment is not None:
            return True
        if one.reactions and any(each.sticker is not None for each in one.reactions):
            return True
    return False


def page(name: str, items: list[bytes], next_cursor: str | None) -> bytes:
    """The body of a list, joined from encoded items."""
    return b'{"%s":[%s],"next_cursor":%s}' % (name.encode(), b",".join(items), encode(next_cursor))


def line(item: Line) -> JSON:
    """A PhoneNumber (linq-python 0.65.0 types/phone_number_list_response.py)."""
    anchor = item.reputation.lower().replace("_", "-")
    return {
        "id": item.id,
        "phone_number": item.phone_number,
        "reputation": {
            "status": item.reputation,
            "doc_url": f"{DOCS}/channel/imessage/guides/phone-numbers/phone-reputation#{anchor}",
        },
        "forwarding_number": item.forwarding_number,
        "line_type": item.line_type,
    }


def contact_card(item: Line, card: ContactCard) -> JSON:
    """A contact card."""
    return {
        "phone_number": item.phone_number,
        "first_name": card.first_name,
        "last_name": card.last_name,
        "image_url": card.image_url,
        "is_active": True,
    }
