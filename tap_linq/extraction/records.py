"""What the records of each stream look like, made from responses of the API: pure functions over plain values.

All that the API sent is kept as it came; what follows from it is added, where it has the form that this needs. An
unexpected form must cost no more than the added fields: the message can't be fetched again later. `conform` then makes
the records fit the schemas of their streams.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from hashlib import blake2b
from typing import Any, Final

from linq_client import RetentionWindow
from linq_client.times import format_datetime, parse_datetime_or_none
from tap_linq.extraction.coverage import GapCoverage
from tap_linq.extraction.plan import Gap, dicts_in

__all__ = [
    "EXTRA",
    "FROM_API",
    "FROM_WEBHOOK",
    "NOT_STORED",
    "Record",
    "api_record",
    "attachment_records",
    "chat_record",
    "gap_record",
    "location_record",
    "message_record",
    "participant_records",
    "reaction_records",
    "removed_reaction_record",
    "shows_reactions",
    "webhook_subscription_record",
]

Record = dict[str, Any]

#: The property for all that the schema of a stream has no place for. In the records made here: what the API says under
#: a name that a column of the tap's own has.
EXTRA: Final = "_extra"

#: What the record of an attachment says about a file that was not stored.
NOT_STORED: Final[Record] = {"stored_at": None, "stored_bytes": None, "sha256": None, "error": None}

#: What `source` of a message says where there is a webhook archive.
FROM_API: Final = "api"
FROM_WEBHOOK: Final = "webhook"

_DIRECTIONS: Final = {True: "outbound", False: "inbound"}

#: Of a part of a message, what the record of an attachment does not repeat, or has under another name.
_NOT_OF_ATTACHMENT: Final = frozenset({"id", "type", "reactions"})
_OF_FEATURE: Final = frozenset({"type", "geometry", "properties"})
_KEY_BYTES: Final = 8


def api_record(source: Mapping[str, Any], **added: Any) -> Record:
    """Return the record of an object of the API, with columns that the tap adds."""
    added[EXTRA] = None
    record = {**source, **added}
    if len(record) < len(source) + len(added):  # both have a name
        replaced = {name: source[name] for name in added if name in source}
        extra = {name: value for name, value in replaced.items() if value is not None and value != added[name]}
        record[EXTRA] = extra or None
    return record


def chat_record(chat: Mapping[str, Any], line: str) -> Record:
    """Return the record of a chat."""
    record = api_record(chat, line=line)
    record.setdefault("updated_at", None)  # the replication key
    return record


def participant_records(chat: Mapping[str, Any], line: str, observed_at: datetime) -> list[Record]:
    """Return a record for each handle of a chat; of one that left and came back, the later entry."""
    by_handle = {_handle_of(one) or id(one): one for one in dicts_in(chat.get("handles"))}
    where = {"chat_id": chat["id"], "line": line, "observed_at": format_datetime(observed_at)}
    return [api_record(one, **where) for one in by_handle.values()]


def _handle_of(handle: Mapping[str, Any]) -> str | None:
    text = handle.get("handle")
    return text if isinstance(text, str) else None


def message_record(message: Mapping[str, Any], line: str, window: RetentionWindow | None) -> Record:
    """Return the record of a message, with the moment from which on it may be gone, where there is a window."""
    added: Record = {
        "line": line,
        "direction": _direction(message.get("is_from_me")),
        "text": _text(message.get("parts")),
    }
    if window is not None:
        created = parse_datetime_or_none(message.get("created_at"))
        added["expires_at"] = created and format_datetime(window.expires_at(created))
    record = api_record(message, **added)
    record.setdefault("updated_at", None)  # the replication key
    return record


def _direction(is_from_me: object) -> str | None:
    return _DIRECTIONS[is_from_me] if isinstance(is_from_me, bool) else None


def _text(parts: object) -> str | None:
    found = [
        value for part in dicts_in(parts) if part.get("type") == "text" and isinstance(value := part.get("value"), str)
    ]
    return "\n".join(found) if found else None


def _parts(message: Mapping[str, Any]) -> list[tuple[int, dict[str, Any]]]:
    """Return the parts of a message with their places."""
    parts = message.get("parts")
    return [
        (index, part) for index, part in enumerate(parts if isinstance(parts, list) else ()) if isinstance(part, dict)
    ]


def attachment_records(message: Mapping[str, Any], line: str, observed_at: datetime) -> Iterator[Record]:
    """Yield a record for each media part of a message, with nothing said yet about where it is stored."""
    for index, part in _parts(message):
        if part.get("type") == "media":
            yield api_record(
                {name: value for name, value in part.items() if name not in _NOT_OF_ATTACHMENT},
                message_id=message["id"],
                part_index=index,
                attachment_id=part.get("id"),
                chat_id=message.get("chat_id"),
                line=line,
                observed_at=format_datetime(observed_at),
                **NOT_STORED,
            )


def shows_reactions(message: Mapping[str, Any]) -> bool:
    """Whether a message may show any reactions: most show none."""
    for part in dicts_in(message.get("parts")):  # noqa: SIM110  # `any` takes half as long again
        if part.get("reactions"):
            return True
    return False


def reaction_records(message: Mapping[str, Any], line: str, observed_at: datetime, secret: bytes = b"") -> list[Record]:
    """Return a record for each reaction that a message shows.

    Args:
        secret: key of the ids that are made from handles, so that nobody can try those out; empty for none.
    """
    records: dict[str, Record] = {}
    for index, part in _parts(message):
        for reaction in dicts_in(part.get("reactions")):
            id_ = reaction.get("id")
            key = id_ if isinstance(id_, str) and id_ else _reaction_key(message["id"], index, reaction, secret)
            where = _of_reaction(key, message, index, line, observed_at)
            records[key] = api_record(reaction, **where, removed_at=None)
    return list(records.values())


def removed_reaction_record(
    key: str, message: Mapping[str, Any], part_index: int, line: str, observed_at: datetime
) -> Record:
    """Return the record of a reaction that a message does not show any more."""
    where = _of_reaction(key, message, part_index, line, observed_at)
    return api_record({}, **where, removed_at=format_datetime(observed_at))


def _of_reaction(key: str, message: Mapping[str, Any], part_index: int, line: str, observed_at: datetime) -> Record:
    return {
        "id": key,
        "message_id": message["id"],
        "part_index": part_index,
        "chat_id": message.get("chat_id"),
        "line": line,
        "observed_at": format_datetime(observed_at),
    }


def _reaction_key(message_id: str, part_index: int, reaction: Mapping[str, Any], secret: bytes) -> str:
    """The API does not promise an id: who reacts, with what and to which part, makes a reaction one of its own.

    Only a digest of that: the key stands in STATE as well, where nobody looks for handles.
    """
    handle = reaction.get("handle")
    who = handle.get("handle") if isinstance(handle, dict) else handle
    kind = reaction.get("custom_emoji") or reaction.get("type")
    digest = blake2b(f"{who} {kind}".encode(errors="replace"), digest_size=_KEY_BYTES, key=secret)
    return f"{message_id}/{part_index}/{digest.hexdigest()}"


def gap_record(
    gap: Gap, line: str, window: RetentionWindow, detected_at: datetime, coverage: GapCoverage | None = None
) -> Record:
    """Return the record of a gap; the same gap has the same `id` whenever it is found.

    Args:
        coverage: what the webhook archive holds of it; None without an archive.
    """
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
        EXTRA: None,
        **({} if coverage is None else _coverage_fields(coverage)),
    }


def _coverage_fields(coverage: GapCoverage) -> Record:
    spans = [{"start": format_datetime(start), "end": format_datetime(end)} for start, end in coverage.spans]
    return {"archive_coverage": coverage.extent, "covered": spans}


def location_record(feature: object, chat_id: str, line: str, observed_at: datetime) -> Record:
    """Return the record of one feature of the API's GeoJSON: the handle that shares, and the point."""
    given = feature if isinstance(feature, dict) else {}
    properties = given.get("properties")
    rest = {name: value for name, value in given.items() if name not in _OF_FEATURE}
    return api_record(
        {**rest, **(properties if isinstance(properties, dict) else {})},
        geometry=given.get("geometry"),
        chat_id=chat_id,
        line=line,
        observed_at=format_datetime(observed_at),
    )


def webhook_subscription_record(subscription: Mapping[str, Any]) -> Record:
    """Return the record of a subscription, without its secret.

    That is no part of a list as documented; should it ever be, a warehouse is no place for it.
    """
    return api_record({name: value for name, value in subscription.items() if name != "signing_secret"})
