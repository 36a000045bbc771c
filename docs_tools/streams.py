"""The streams of the tap, with their columns and a sample row, from the catalog."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from docs_tools.markdown import table as markdown_table
from tap_linq.streams import LinqStream
from tap_linq.tap import TapLinq

#: With which the tap has all streams.
CONFIG: Final = {"api_key": "key", "webhook_archive": "memory://archive"}

LINE: Final = "+12025550101"
PERSON: Final = "+12125550100"
CHAT: Final = "0b6f8f52-6f0e-4c0e-9a55-0d8f4f7e2a01"
MESSAGE: Final = "6c1d5f0e-2f5b-4f0a-8f0b-1e2d3c4b5a02"
ATTACHMENT: Final = "2a7b6c5d-4e3f-4a2b-9c1d-0e9f8a7b6c03"
EVENT: Final = "5e4d3c2b-1a09-4f8e-9d7c-6b5a4f3e2d08"
REACTION: Final = "9d8c7b6a-5f4e-4d3c-8b2a-1f0e9d8c7b04"
OBSERVED: Final = {"observed_at": "2026-03-01T12:10:00Z"}
HANDLE: Final = {
    "id": "4e5f6a7b-8c9d-4e0f-9a1b-2c3d4e5f6a05",
    "handle": PERSON,
    "joined_at": "2026-03-01T12:00:00Z",
    "left_at": None,
    "service": "iMessage",
    "is_me": False,
    "status": "active",
    "line_type": None,
}
HEALTH: Final = {"status": "HEALTHY", "doc_url": "https://docs.linqapp.com/", "updated_at": "2026-03-01T12:00:00Z"}
REACTED: Final = {"type": "love", "custom_emoji": None, "is_me": False, "handle": HANDLE, "sticker": None}
MEDIA: Final = {
    "filename": "menu.pdf",
    "mime_type": "application/pdf",
    "size_bytes": 48213,
    "url": "https://cdn.linqapp.com/...",
}
OF_PART: Final = {"message_id": MESSAGE, "part_index": 1, "chat_id": CHAT, "line": LINE, **OBSERVED}

SAMPLES: Final[Mapping[str, dict[str, Any]]] = {
    "phone_numbers": {
        "id": "7f6e5d4c-3b2a-4190-8f7e-6d5c4b3a2906",
        "phone_number": LINE,
        "reputation": {"status": "HEALTHY", "doc_url": "https://docs.linqapp.com/"},
        "forwarding_number": None,
        "line_type": "iMessage",
    },
    "chats": {
        "id": CHAT,
        "line": LINE,
        "display_name": PERSON,
        "service": "iMessage",
        "is_group": False,
        "is_archived": False,
        "group_chat_icon": None,
        "handles": [HANDLE],
        "health_status": HEALTH,
        "created_at": "2026-03-01T12:00:00Z",
        "updated_at": "2026-03-01T12:05:00Z",
    },
    "chat_participants": {"chat_id": CHAT, "line": LINE, **HANDLE, **OBSERVED},
    "messages": {
        "id": MESSAGE,
        "chat_id": CHAT,
        "line": LINE,
        "direction": "inbound",
        "text": "Here it is.",
        "parts": [
            {"type": "text", "value": "Here it is.", "reactions": None},
            {"type": "media", "id": ATTACHMENT, **MEDIA, "reactions": [{"id": REACTION, **REACTED}]},
        ],
        "from": PERSON,
        "from_handle": HANDLE,
        "is_from_me": False,
        "delivery_status": "received",
        "is_delivered": False,
        "is_read": False,
        "service": "iMessage",
        "preferred_service": None,
        "effect": None,
        "reply_to": None,
        "created_at": "2026-03-01T12:05:00Z",
        "updated_at": "2026-03-01T12:06:00Z",
        "sent_at": "2026-03-01T12:05:00Z",
        "delivered_at": None,
        "read_at": None,
        "reconciled_at": None,
        "expires_at": "2026-03-02T12:05:00Z",
        "source": "api",
        "_extra": {"parts.1.width": 612},
    },
    "reactions": {"id": REACTION, **OF_PART, **REACTED, "removed_at": None},
    "attachments": {
        **OF_PART,
        "attachment_id": ATTACHMENT,
        **MEDIA,
        "stored_at": f"s3://bucket/linq/2a/{ATTACHMENT}",
        "stored_bytes": 48213,
        "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "error": None,
        "_extra": {"width": 612},
    },
    "extraction_gaps": {
        "id": f"{LINE} after 2026-02-27T09:00:00Z",
        "line": LINE,
        "gap_start": "2026-02-27T09:00:00Z",
        "gap_end": "2026-02-28T12:10:00Z",
        "last_complete_pass": "2026-02-27T09:00:00Z",
        "window_hours": 24.0,
        "detected_at": "2026-03-01T12:10:00Z",
        "reason": "late_run",
        "archive_coverage": "partial",
        "covered": [{"start": "2026-02-27T09:00:00Z", "end": "2026-02-27T19:30:00Z"}],
    },
    "webhook_events": {
        "id": EVENT,
        "event_type": "message.failed",
        "message_id": MESSAGE,
        "chat_id": CHAT,
        "line": LINE,
        "data": {"message_id": MESSAGE, "chat_id": CHAT, "code": 4001, "reason": "It could not be delivered."},
        "created_at": "2026-03-01T12:05:02Z",
        "received_at": "2026-03-01T12:05:03Z",
        "subscription_id": "1c2d3e4f-5a6b-4c7d-8e9f-0a1b2c3d4e07",
        "webhook_version": "2026-02-03",
        "api_version": "v3",
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "partner_id": "partner",
        "error": None,
        "body": None,
    },
    "message_events": {
        "id": EVENT,
        "message_id": MESSAGE,
        "chat_id": CHAT,
        "line": LINE,
        "change": "failed",
        "happened_at": "2026-03-01T12:05:01Z",
        "created_at": "2026-03-01T12:05:02Z",
        "service": "iMessage",
        "code": 4001,
        "detail_code": None,
        "reason": "It could not be delivered.",
        "part_index": None,
        "text": None,
        "text_before": None,
    },
    "opt_outs": {
        "id": EVENT,
        "handle": PERSON,
        "opted_out": True,
        "evidence": "keyword",
        "happened_at": "2026-03-01T12:05:00Z",
        "chat_id": CHAT,
        "line": LINE,
        "message_id": MESSAGE,
        "event_id": EVENT,
    },
    "webhook_gaps": {
        "id": f"{LINE} until 2026-03-01T11:30:00Z",
        "line": LINE,
        "compared_from": "2026-03-01T05:30:00Z",
        "compared_until": "2026-03-01T11:30:00Z",
        "detected_at": "2026-03-01T12:10:00Z",
        "shown": 412,
        "unannounced": 1,
        "unannounced_ids": [MESSAGE],
        "announced": 411,
        "unlisted": 0,
        "unlisted_ids": [],
    },
    "chat_locations": {
        "chat_id": CHAT,
        "handle": PERSON,
        "line": LINE,
        "geometry": {"type": "Point", "coordinates": [-77.04, 38.9]},
        "address": None,
        "locality": "Washington",
        "updated_at": "2026-03-01T12:04:00Z",
        **OBSERVED,
    },
    "webhook_subscriptions": {
        "id": "1c2d3e4f-5a6b-4c7d-8e9f-0a1b2c3d4e07",
        "target_url": "https://example.com/linq",
        "subscribed_events": ["message.received"],
        "is_active": True,
        "phone_numbers": None,
        "routing_key_header": None,
        "routing_id_header": None,
        "created_at": "2026-03-01T12:00:00Z",
        "updated_at": "2026-03-01T12:00:00Z",
    },
}


def sample(stream: LinqStream) -> dict[str, Any]:
    """Return a row of a stream, with its columns in the order of the schema."""
    given = {"_extra": None, **SAMPLES[stream.name]}
    return {name: given[name] for name in stream.schema["properties"] if name in given}


def overview() -> str:
    """Return a row for each stream."""
    lines = [("stream", "key", "replication", "a row is")]
    streams = TapLinq(config=CONFIG).streams
    for stream in (streams[name] for name in SAMPLES):
        key = ", ".join(f"`{name}`" for name in stream.primary_keys)
        lines.append(
            (f"[`{stream.name}`](#{stream.name})", key, stream.replication_method, stream.schema["description"])
        )
    return markdown_table(*lines)


def table() -> str:
    """Return a section for each stream."""
    streams = TapLinq(config=CONFIG).streams
    return "\n".join("\n".join(_section(streams[name])) for name in SAMPLES)  # type: ignore[arg-type]  # all are ours


def _section(stream: LinqStream) -> Iterator[str]:
    key = ", ".join(f"`{name}`" for name in stream.primary_keys)
    method = stream.replication_method
    if stream.replication_key:
        method += f", by `{stream.replication_key}`"
    yield f"## {stream.name}\n"
    yield f"{stream.schema['description']}\n"
    yield f"Key: {key}. Replication: {method}. Selected by default: {'yes' if stream.selected_by_default else 'no'}.\n"
    yield "| column | type | what it is |"
    yield "| --- | --- | --- |"
    yield from _rows(stream.schema, "")
    yield f"\n```json\n{json.dumps(sample(stream), indent=1)}\n```\n"


def _rows(schema: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for name, one in schema["properties"].items():
        types = [kind for kind in one["type"] if kind != "null"]
        kind = one.get("format", types[0])
        items = one.get("items", {})
        if items:
            inner = items["type"] if isinstance(items["type"], str) else items["type"][0]
            kind = f"array of {inner}s"
        mark = "" if "null" in one["type"] else ", never null"
        yield f"| `{prefix}{name}` | {kind}{mark} | {one['description']} |"
        if "properties" in one:
            yield from _rows(one, f"{prefix}{name}.")
        elif "properties" in items:
            yield from _rows(items, f"{prefix}{name}[].")
