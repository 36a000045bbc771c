"""The entries of the ledger, in which every message stays that was ever accepted."""

from __future__ import annotations

from typing import Any

from linq_emulator.clock import iso, iso_or_none
from linq_emulator.domain.models import Message, Part, Poll, Reaction
from linq_emulator.json_codec import encode

__all__ = ["ledger_entry"]


def _text(message: Message) -> str:
    return "\n".join(part.value for part in message.parts if part.type in ("text", "link"))


def _part(part: Part, poll: Poll | None) -> dict[str, Any]:
    fields: dict[str, Any] = {"type": part.type}
    if part.attachment is not None:
        fields["attachment_id"] = part.attachment.id
        fields["filename"] = part.attachment.filename
    elif part.type == "poll":
        fields["options"] = [
            {"text": option.text, "by": option.creator.handle, "votes": list(option.votes)}
            for option in (poll.options if poll else ())
        ]
    else:
        fields["value"] = part.value
    return fields


def _reaction(index: int, reaction: Reaction) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "id": reaction.id,
        "part_index": index,
        "from": reaction.participant.handle,
        "type": reaction.type,
    }
    if reaction.placement is not None:
        fields["placement"] = reaction.placement
    return fields


def ledger_entry(message: Message) -> bytes:
    """One message as JSON. `text` joins its text and link parts with newlines."""
    reactions = [
        _reaction(index, reaction) for index, part in enumerate(message.parts) for reaction in part.reactions or ()
    ]
    return encode(
        {
            "id": message.id,
            "chat_id": message.chat.id,
            "line": message.chat.line.phone_number,
            "direction": "outbound" if message.outbound else "inbound",
            "from": message.sender.handle,
            "to": message.to,
            "text": _text(message),
            "parts": [_part(part, message.poll) for part in message.parts],
            "service": message.service,
            "delivery_status": message.status,
            "accepted_at": iso(message.accepted_at),
            "created_at": iso(message.created_at),
            "updated_at": iso(message.updated_at),
            "sent_at": iso_or_none(message.sent_at),
            "delivered_at": iso_or_none(message.delivered_at),
            "read_at": iso_or_none(message.read_at),
            "reconciled_at": iso_or_none(message.reconciled_at),
            "expired_at": iso_or_none(message.expired_at),
            "deleted_at": iso_or_none(message.deleted_at),
            "idempotency_key": message.idempotency_key,
            "override_optout": message.override_optout,
            "reply_to": message.reply_to.id if message.reply_to else None,
            "edits": message.edits or [],
            "reactions": reactions,
        }
    )
