"""A stored event as a line of JSON, and back."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, Final

from linq_client.errors import SettingsError
from linq_client.times import format_datetime, parse_datetime
from linq_webhooks.archive import ArchiveError, StoredEvent

if TYPE_CHECKING:
    from linq_webhooks._encryption import BodyCipher

__all__ = ["FORMAT", "DamagedError", "check_format", "encode_event", "encode_line", "event_of"]

#: Of stored events and positions.
FORMAT: Final = 1


class DamagedError(ArchiveError):
    """A record can't be read, now or later."""


def check_format(number: object, what: str) -> None:
    """Refuse what a later version has written.

    Raises:
        DamagedError: the number is none.
        ArchiveError: it is newer than this version knows.
    """
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise DamagedError(f"{what}: must have a format number of 1 or more, got {number!r}")
    if number > FORMAT:
        raise ArchiveError(
            f"{what}: has format {number}, and this version reads up to {FORMAT}; run the version that wrote it"
        )


def encode_event(event: StoredEvent, cipher: BodyCipher | None) -> bytes:
    """Return an event as a JSON object in one line, without the line's end.

    The body is a JSON text where it is UTF-8, so that people and other programs can read it, and in any case can be
    restored byte by byte.
    """
    record: dict[str, Any] = {
        "format": FORMAT,
        "event_id": event.event_id,
        "event_type": event.event_type,
        "subscription_id": event.subscription_id,
        "received_at": format_datetime(event.received_at),
        "headers": dict(event.headers),
    }
    if cipher is not None:
        record["body_encrypted"] = cipher.encrypt(event.body)
    else:
        try:
            record["body"] = event.body.decode()
        except UnicodeDecodeError:
            record["body_base64"] = base64.b64encode(event.body).decode()
    return encode_line(record)


def encode_line(record: dict[str, Any]) -> bytes:
    """Return a record as JSON in one line."""
    # Not all that a header or an id can hold is UTF-8: escapes can be written whatever it is.
    text = json.dumps(record, ensure_ascii=False, separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError:
        return json.dumps(record, separators=(",", ":")).encode()


def event_of(record: dict[str, Any], cipher: BodyCipher | None, where: str) -> StoredEvent:
    """Return the event of a decoded record. Fields that are not known are passed over.

    Args:
        record: as `encode_event` made it.
        cipher: None if no key was given.
        where: the place of the record, for an error.

    Raises:
        DamagedError: it is damaged.
        ArchiveError: it is of a newer format.
        SettingsError: it is encrypted, and there is no key for it.
    """
    check_format(record.get("format"), where)
    try:
        if "body_encrypted" in record:
            if cipher is None:
                raise SettingsError(f"{where}: an event is encrypted, and no encryption key was given")
            body = cipher.decrypt(record["body_encrypted"])
        elif "body_base64" in record:
            body = base64.b64decode(record["body_base64"], validate=True)
        else:
            body = record["body"].encode()
        return StoredEvent(
            event_id=record["event_id"],
            event_type=record["event_type"],
            subscription_id=record.get("subscription_id"),
            received_at=parse_datetime(record["received_at"]),
            headers=record.get("headers") or {},
            body=body,
        )
    except SettingsError:
        raise
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        # Not its words: they may quote the record.
        raise DamagedError(f"{where}: a record is damaged ({type(error).__name__})") from None
