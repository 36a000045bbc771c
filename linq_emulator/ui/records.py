"""Lines, chats and messages as the page shows them. Times are milliseconds of the virtual clock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from linq_emulator.backend import Backend
from linq_emulator.domain import blocklist, delivery, retention
from linq_emulator.domain.models import Chat, Line, Message
from linq_emulator.serializers import display_name, part_fields, poll_fields

__all__ = ["chat_record", "line_record", "message_record", "preview"]

_PREVIEW_LENGTH = 120
_KINDS = {"imessage_app": "App card", "app_clip": "App Clip", "poll": "Poll"}


def line_record(backend: Backend, line: Line) -> dict[str, Any]:
    """A line, with the number of its chats."""
    return {
        "phone_number": line.phone_number,
        "line_type": line.line_type,
        "reputation": line.reputation,
        "ineligible": line.ineligible,
        "retention_hours": None if line.retention is None else line.retention / 3_600_000,
        "zero_retention": line.zero_retention,
        "chats": len(backend.store.list_chats(line, None)),
    }


def preview(message: Message) -> str:
    """The beginning of a message's text, or what else it holds."""
    words = []
    for part in message.parts:
        if part.attachment is not None:
            words.append(part.attachment.filename)
        else:
            words.append(_KINDS.get(part.type) or part.value)
    return " ".join(" ".join(words).split())[:_PREVIEW_LENGTH]


def chat_record(backend: Backend, chat: Chat, messages: Sequence[Message]) -> dict[str, Any]:
    """A chat as it stands in the list.

    Args:
        backend: The emulator.
        chat: The chat.
        messages: Every message that was accepted into it, oldest first.
    """
    last = messages[-1] if messages else None
    oldest = chat.messages.oldest()
    contacts = [backend.store.contact(other.handle) for other in chat.active_others()]
    return {
        "id": chat.id,
        "name": display_name(chat),
        "has_name": chat.display_name is not None,
        "line": chat.line.phone_number,
        "service": chat.service,
        "is_group": chat.is_group,
        "handles": [{"handle": other.handle, "status": other.status} for other in chat.others],
        "health": chat.health,
        "opted_out": not chat.is_group and any(contact.opted_out for contact in contacts),
        "blocked": any(blocklist.is_blocked(backend, contact.handle) for contact in contacts),
        "left": chat.left,
        "at": chat.last_activity,
        "total": len(messages),
        "expires_at": retention.expires_at(oldest) if oldest is not None else None,
        "last": last and {"text": preview(last), "outbound": last.outbound, "status": last.status, "gone": last.gone},
        "last_outbound": next((message.seq for message in reversed(messages) if message.outbound), 0),
    }


def message_record(backend: Backend, message: Message, index: int) -> dict[str, Any]:
    """A message as it stands in the conversation.

    Args:
        backend: The emulator.
        message: The message.
        index: Its place in the chat, from 0.
    """
    target = message.reply_to
    return {
        "id": message.id,
        "index": index,
        "seq": message.seq,
        "chat_id": message.chat.id,
        "outbound": message.outbound,
        "from": message.sender.handle,
        "service": message.service,
        "status": message.status,
        "failure_code": message.failure_code,
        "has_receipts": message.outbound and delivery.has_receipts(message),
        "parts": [part_fields(part, backend.media.url) for part in message.parts],
        "poll": message.poll and poll_fields(message.poll, with_texts=True),
        "effect": message.effect,
        "reply_to": target and {"id": target.id, "text": preview(target), "outbound": target.outbound},
        "edits": message.edits or [],
        "idempotency_key": message.idempotency_key,
        "key_uses": backend.request_log.key_uses(message.id).count,
        "override_optout": message.override_optout,
        "reconciled": message.reconciled_at is not None,
        "zero_retention": message.zero_retention,
        "created_at": message.created_at,
        "sent_at": message.sent_at,
        "delivered_at": message.delivered_at,
        "read_at": message.read_at,
        "expires_at": None if message.zero_retention else retention.expires_at(message),
        "expired_at": message.expired_at,
        "deleted_at": message.deleted_at,
    }
