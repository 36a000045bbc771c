"""What the records of each stream look like, made from responses of the API: pure functions over plain values.

All that the API sent is kept as it came; what follows from it is added, where it has the form that this needs. An
unexpected form must cost no more than the added fields: the message can't be fetched again later.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from linq_client import RetentionWindow
from linq_client.times import format_datetime, parse_datetime_or_none
from tap_linq.extraction.plan import Gap, dicts_in

__all__ = [
    "NOT_STORED",
    "Record",
    "attachment_records",
    "chat_record",
    "gap_record",
    "location_record",
    "message_record",
    "participant_records",
    "reaction_records",
]

Record = dict[str, Any]

#: What the record of an attachment says about a file that was not stored.
NOT_STORED: Final[Record] = {"stored_at": None, "stored_bytes": None, "sha256": None, "error": None}

_DIRECTIONS: Final = {True: "outbound", False: "inbound"}


def chat_record(chat: Mapping[str, Any], line: str) -> Record:
    """Return the record of a chat."""
    return {**chat, "line": line}


def participant_records(chat: Mapping[str, Any], line: str) -> list[Record]:
    """Return a record for each handle of a chat; of one that left and came back, the later entry."""
    by_handle = {str(one.get("handle")): one for one in dicts_in(chat.get("handles"))}
    return [{**one, "chat_id": chat["id"], "line": line} for one in by_handle.values()]


def message_record(message: Mapping[str, Any], line: str, window: RetentionWindow | None) -> Record:
    """Return the record of a message, with the moment from which on it may be gone, where there is a window."""
    record = {
        **message,
        "line": line,
        "direction": _direction(message.get("is_from_me")),
        "text": _text(message.get("parts")),
    }
    if window is not None:
        created = parse_datetime_or_none(message.get("created_at"))
        record["expires_at"] = created and format_datetime(window.expires_at(created))
    return record


def _direction(is_from_me: object) -> str | None:
    return _DIRECTIONS[is_from_me] if isinstance(is_from_me, bool) else None


def _text(parts: object) -> str | None:
    texts = [part.get("value") for part in dicts_in(parts) if part.get("type") == "text"]
    known = [text for text in texts if isinstance(text, str)]
    return "\n".join(known) if known else None


def _parts(message: Mapping[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the parts of a message with their places."""
    parts = message.get("parts")
    for index, part in enumerate(parts if isinstance(parts, list) else ()):
        if isinstance(part, dict):
            yield index, part


def attachment_records(message: Mapping[str, Any], line: str) -> Iterator[Record]:
    """Yield a record for each media part of a message, with nothing said yet about where it is stored."""
    for index, part in _parts(message):
        if part.get("type") == "media":
            rest = {name: value for name, value in part.items() if name not in ("id", "type", "reactions")}
            yield {
                **rest,
                "message_id": message["id"],
                "part_index": index,
                "attachment_id": part.get("id"),
                "chat_id": message.get("chat_id"),
                "line": line,
                **NOT_STORED,
            }


def reaction_records(message: Mapping[str, Any], line: str) -> list[Record]:
    """Return a record for each reaction that a message shows."""
    records: dict[str, Record] = {}
    for index, part in _parts(message):
        for reaction in dicts_in(part.get("reactions")):
            handle = reaction.get("handle")
            handle = handle.get("handle") if isinstance(handle, dict) else handle
            kind = reaction.get("custom_emoji") or reaction.get("type")
            # The API does not promise an id: who reacts, with what and to which part, makes a reaction one of its own.
            key = str(reaction.get("id") or f"{message['id']}/{index}/{handle}/{kind}")
            where = {"message_id": message["id"], "part_index": index, "chat_id": message.get("chat_id"), "line": line}
            records[key] = {**reaction, "id": key, **where}
    return list(records.values())


def gap_record(gap: Gap, line: str, window: RetentionWindow, detected_at: datetime) -> Record:
    """Return the record of a gap; the same gap has the same `id` whenever it is found."""
    after = "the beginning" if gap.last_complete_pass is None else format_datetime(gap.last_complete_pass)
    return {
        "id": f"{line} after {after}",
        "line": line,
        "gap_start": gap.start and format_datetime(gap.start),
        "gap_end": format_datetime(gap.end),
        "last_complete_pass": gap.last_complete_pass and format_datetime(gap.last_complete_pass),
        "window_hours": window.hours,
        "detected_at": format_datetime(detected_at),
        "reason": gap.reason,
    }


def location_record(feature: Mapping[str, Any], chat_id: str, line: str, observed_at: datetime) -> Record:
    """Return the record of one feature of the API's GeoJSON: the handle that shares, and the point."""
    return {
        **(feature.get("properties") or {}),
        "geometry": feature.get("geometry"),
        "chat_id": chat_id,
        "line": line,
        "observed_at": format_datetime(observed_at),
    }
