"""Models as JSON: the API's objects as dicts, and cached bytes of the objects that lists repeat.

Shapes: linq-python 0.65.0 ``types/chat.py``, ``types/message.py``, ``types/chats/sent_message.py`` and
``types/shared/``. A field that the API may omit is sent as null.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from linq_emulator.clock import iso, iso_or_none
from linq_emulator.domain.models import (
    Attachment,
    Chat,
    ContactCard,
    Line,
    Message,
    Part,
    Participant,
    Poll,
    PollOption,
    Reaction,
)
from linq_emulator.errors import DOCS
from linq_emulator.json_codec import encode

__all__ = [
    "JSON",
    "MediaUrl",
    "chat_bytes",
    "chat_fields",
    "chat_handles",
    "chat_reference",
    "contact_card_fields",
    "display_name",
    "handle_fields",
    "health_fields",
    "line_fields",
    "list_body",
    "message_bytes",
    "message_fields",
    "part_fields",
    "poll_envelope",
    "poll_fields",
    "poll_option_fields",
    "reaction_fields",
    "reply_to_fields",
    "sent_message_fields",
]

MediaUrl = Callable[[Attachment], str]
JSON = dict[str, Any]


def handle_fields(participant: Participant) -> JSON:
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


def chat_handles(chat: Chat) -> list[JSON]:
    """All present and former participants of a chat, the own line first."""
    return [handle_fields(chat.me), *(handle_fields(other) for other in chat.others)]


def health_fields(chat: Chat) -> JSON:
    """The health_status of a chat."""
    anchor = chat.health.lower().replace("_", "-")
    return {
        "status": chat.health,
        "doc_url": f"{DOCS}/channel/imessage/guides/chats/chat-health#{anchor}",
        "updated_at": iso(chat.health_at),
    }


def display_name(chat: Chat) -> str:
    """The name that was set, or the recipients separated by commas."""
    return chat.display_name or ", ".join(other.handle for other in chat.active_others() or chat.others)


def chat_fields(chat: Chat) -> JSON:
    """A Chat, as in GET, in lists and in chat.created."""
    return {
        "id": chat.id,
        "display_name": display_name(chat),
        "service": chat.service,
        "handles": chat_handles(chat),
        "is_group": chat.is_group,
        "is_archived": False,
        "group_chat_icon": chat.icon,
        "health_status": health_fields(chat),
        "created_at": iso(chat.created_at),
        "updated_at": iso(chat.updated_at),
    }


def chat_reference(chat: Chat) -> JSON:
    """A chat, as events name it."""
    return {"id": chat.id, "is_group": chat.is_group, "owner_handle": handle_fields(chat.me)}


def chat_bytes(chat: Chat) -> bytes:
    """`chat_fields` as JSON, cached until the chat changes."""
    if chat.encoded is None:
        chat.encoded = encode(chat_fields(chat))
    return chat.encoded


def reaction_fields(reaction: Reaction, media_url: MediaUrl) -> JSON:
    """A Reaction."""
    sticker = reaction.sticker
    return {
        "id": reaction.id,
        "is_me": reaction.participant.is_me,
        "handle": handle_fields(reaction.participant),
        "type": reaction.type,
        "custom_emoji": reaction.custom_emoji,
        "sticker": sticker
        and {
            "url": media_url(sticker),
            "file_name": sticker.filename,
            "mime_type": sticker.content_type,
            "height": None,
            "width": None,
        },
    }


def part_fields(part: Part, media_url: MediaUrl, *, with_reactions: bool = True) -> JSON:
    """One part of a message. Webhooks send it without reactions."""
    fields: JSON = {"type": part.type}
    if part.attachment is not None:
        fields["id"] = part.attachment.id
        fields["url"] = media_url(part.attachment)
        fields["filename"] = part.attachment.filename
        fields["mime_type"] = part.attachment.content_type
        fields["size_bytes"] = part.attachment.size_bytes
    elif part.type != "imessage_app":
        fields["value"] = part.value
    if part.extra:
        fields.update(part.extra)
    if with_reactions:
        reactions = part.reactions
        fields["reactions"] = [reaction_fields(reaction, media_url) for reaction in reactions] if reactions else None
    return fields


def poll_option_fields(option: PollOption, *, with_text: bool) -> JSON:
    """One option of a poll."""
    return {
        "option_id": option.id,
        "text": option.text if with_text else "",
        # iMessage never lets anyone change an option.
        "can_be_edited": False,
        "creator_handle": handle_fields(option.creator),
        "voters": [{"handle": handle, "voted_at": iso(at)} for handle, at in option.votes.items()],
    }


def poll_fields(poll: Poll, *, with_texts: bool) -> JSON:
    """The content of a poll."""
    return {
        "options": [poll_option_fields(option, with_text=with_texts) for option in poll.options],
        "total_voters": len(poll.voters()),
    }


def poll_envelope(message: Message, poll: Poll, media_url: MediaUrl, *, with_texts: bool) -> JSON:
    """A PollEnvelope, as every operation on a poll returns it (linq-python 0.65.0 types/chats/poll_envelope.py)."""
    return {
        "chat_id": message.chat.id,
        "message_id": message.id,
        "created_at": iso(message.created_at),
        "updated_at": iso(message.updated_at),
        "poll": poll_fields(poll, with_texts=with_texts),
        "reactions": [reaction_fields(reaction, media_url) for reaction in message.parts[0].reactions or ()],
    }


def reply_to_fields(message: Message) -> JSON | None:
    """What a message replies to; None if that is gone."""
    target = message.reply_to
    if target is None or not target.can_be_read:
        return None
    return {"message_id": target.id, "part_index": message.reply_part}


def _message_core(message: Message, media_url: MediaUrl) -> JSON:
    return {
        "id": message.id,
        "created_at": iso(message.created_at),
        "sent_at": iso_or_none(message.sent_at),
        "delivered_at": iso_or_none(message.delivered_at),
        "delivery_status": message.status,
        "is_read": message.status == "read",
        "service": message.service,
        "preferred_service": message.preferred_service,
        "parts": None if message.shows_no_parts else [part_fields(part, media_url) for part in message.parts],
        "effect": message.effect,
        "reply_to": reply_to_fields(message),
        "from_handle": _sender(message.sender),
    }


def _sender(participant: Participant) -> msgspec.Raw:
    # It is cached because every message of a list repeats it.
    if participant.encoded is None:
        participant.encoded = msgspec.Raw(encode(handle_fields(participant)))
    return participant.encoded


def sent_message_fields(message: Message, media_url: MediaUrl) -> JSON:
    """A SentMessage, as in the response to a send."""
    return _message_core(message, media_url)


def message_fields(message: Message, media_url: MediaUrl) -> JSON:
    """A Message, as in GET and in lists."""
    fields = _message_core(message, media_url)
    fields["chat_id"] = message.chat.id
    fields["updated_at"] = iso(message.updated_at)
    fields["read_at"] = iso_or_none(message.read_at)
    fields["is_from_me"] = message.outbound
    fields["is_delivered"] = message.status in ("delivered", "read")
    fields["from"] = message.sender.handle
    if message.reconciled_at is not None:
        # Messages that arrived live lack the key (linq-python 0.65.0 types/message.py).
        fields["reconciled_at"] = iso(message.reconciled_at)
    return fields


def message_bytes(message: Message, media_url: MediaUrl, *, media_urls_expire: bool) -> bytes:
    """`message_fields` as JSON, cached until the message changes, unless it holds a URL that expires."""
    if message.encoded is not None:
        return message.encoded
    encoded = encode(message_fields(message, media_url))
    if not (media_urls_expire and _has_media_url(message)):
        message.encoded = encoded
    return encoded


def _has_media_url(message: Message) -> bool:
    for part in message.parts:
        if part.attachment is not None:
            return True
        if part.reactions and any(reaction.sticker is not None for reaction in part.reactions):
            return True
    return False


def list_body(name: str, items: list[bytes], next_cursor: str | None) -> bytes:
    """The body of a list, joined from items as JSON."""
    return b'{"%s":[%s],"next_cursor":%s}' % (name.encode(), b",".join(items), encode(next_cursor))


def line_fields(line: Line) -> JSON:
    """A PhoneNumber (linq-python 0.65.0 types/phone_number_list_response.py)."""
    anchor = line.reputation.lower().replace("_", "-")
    return {
        "id": line.id,
        "phone_number": line.phone_number,
        "reputation": {
            "status": line.reputation,
            "doc_url": f"{DOCS}/channel/imessage/guides/phone-numbers/phone-reputation#{anchor}",
        },
        "forwarding_number": line.forwarding_number,
        "line_type": line.line_type,
    }


def contact_card_fields(line: Line, card: ContactCard) -> JSON:
    """A contact card."""
    return {
        "phone_number": line.phone_number,
        "first_name": card.first_name,
        "last_name": card.last_name,
        "image_url": card.image_url,
        "is_active": True,
    }
