"""The decisions of a pass, as pure functions over plain values: nothing here touches the network, a clock or state.

Times are aware UTC datetimes. *Bookmark* is a line's: the server's time when its last complete pass began, less
`OVERLAP`. It is not the newest timestamp seen, since messages become visible out of order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, Final

import msgspec

from linq_client import RetentionWindow

#: How far passes overlap: covers messages that the API shows a little late, and servers whose clocks differ.
OVERLAP: Final = timedelta(minutes=10)

_MOMENTS: Final = ("updated_at", "created_at", "sent_at", "delivered_at", "read_at", "reconciled_at")
_DIRECTIONS: Final = {True: "outbound", False: "inbound"}


@dataclass(frozen=True)
class Gap:
    """A time in which messages of a line may have expired unread: created from `start` on, before `end`."""

    start: datetime
    end: datetime


def parse_moment(value: object) -> datetime | None:
    """Return an RFC 3339 timestamp as an aware datetime (UTC if it names no offset), or None if it is none."""
    try:
        parsed = msgspec.convert(value, datetime)
    except msgspec.ValidationError:
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=timezone.utc)


def format_moment(moment: datetime) -> str:
    """Return a datetime in RFC 3339, in UTC with `Z`."""
    return moment.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")


def emit_from(bookmark: datetime | None, start_date: datetime | None) -> datetime | None:
    """Return the moment from which on messages are emitted; None for all there are."""
    return max((moment for moment in (bookmark, start_date) if moment is not None), default=None)


def is_due(message: Mapping[str, Any], since: datetime | None) -> bool:
    """Whether a message has to be emitted: all its times must prove that it was the same before `since`."""
    if since is None:
        return True
    proven = False
    for name in _MOMENTS:
        value = message.get(name)
        if value is None:
            continue
        moment = parse_moment(value)
        if moment is None or moment >= since:
            return True
        proven = True
    return not proven


def was_there(item: Mapping[str, Any], moment: datetime) -> bool:
    """Whether a chat or message may have existed before `moment`."""
    created = parse_moment(item.get("created_at"))
    return created is None or created < moment


def next_bookmark(started: datetime) -> datetime:
    """Return the bookmark after a complete pass that began at `started`, the server's time."""
    return started - OVERLAP


def find_gap(
    bookmark: datetime | None, start_date: datetime | None, window: RetentionWindow | None, now: datetime
) -> Gap | None:
    """Return the time since the last complete pass of which messages may be gone, None if there is none.

    Args:
        now: the server's time.
    """
    if bookmark is None or window is None:
        return None
    start = max(bookmark + OVERLAP, start_date or bookmark)
    end = window.oldest_kept(now)
    return Gap(start, end) if start < end else None


def message_record(message: Mapping[str, Any], line: str, window: RetentionWindow | None) -> dict[str, Any]:
    """Return the record of a message: all that the API answered, and what follows from it."""
    record = {
        **message,
        "line": line,
        "direction": _DIRECTIONS.get(message.get("is_from_me")),  # type: ignore[arg-type]  # None finds nothing
        "text": _text(message.get("parts")),
    }
    if window is not None:
        created = parse_moment(message.get("created_at"))
        record["expires_at"] = created and format_moment(window.expires_at(created))
    return record


def _text(parts: Any) -> str | None:
    texts = [part["value"] for part in parts or () if part.get("type") == "text" and part.get("value") is not None]
    return "\n".join(texts) if texts else None
