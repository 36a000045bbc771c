"""The archive of webhook deliveries: what is kept of one, where it can be kept, and how it is read.

An archive is append-only and may have many writers and many readers, in many processes. A reader keeps a *position*, a
short text that says what it has read, and gets from there on whatever was appended since, by whichever writer. Events
come at least once: the platform repeats deliveries, so readers drop an `event_id` that they have seen.

What is durable is listed in docs/reference/durable-formats.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from linq_client.errors import Effect, LinqError, SettingsError

__all__ = ["Archive", "ArchiveError", "ArchiveReplacedError", "StoredEvent", "open_archive"]


class ArchiveError(LinqError):
    """The archive can't be written or read at present, or holds what this version can't read.

    After `append` it is not known whether the events were stored: append them again, to this archive or to another.
    """

    effect = Effect.NONE


class ArchiveReplacedError(ArchiveError):
    """The archive is not the one that a position is of: it was removed, emptied, made again, or restored from a copy.

    Read from its beginning, or what it got since then is passed over.
    """


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """What is kept of one delivery.

    Attributes:
        event_id: the platform's id of the event, the same in all its deliveries.
        event_type: such as `message.received`; the set is open.
        subscription_id: of the subscription that it was delivered for; None if the delivery did not say.
        received_at: when the receiver had it, in UTC, by the receiver's clock.
        headers: those that matter later, names in lower case. No signature is among them.
        body: the body as it was received and signed.
    """

    event_id: str
    event_type: str
    subscription_id: str | None
    received_at: datetime
    headers: Mapping[str, str]
    body: bytes


class Archive(Protocol):
    """Where events are kept. Each object is used by one thread at a time; several may be open on one archive."""

    def append(self, events: Sequence[StoredEvent]) -> None:
        """Store events. When it returns, they are durable.

        Raises:
            ArchiveError: they are perhaps not stored, or some are; append them again.
        """

    def read(self, since: str | None = None) -> Iterator[tuple[StoredEvent, str]]:
        """Read what was appended after a position; from the beginning if that is None.

        The order is such that nothing is passed over that is appended later. It is the order of appending for each
        writer, but not across writers. It ends at the present end of the archive, and may be called again.

        Args:
            since: what came with the last event that was handled.

        Yields:
            An event, and the position after it: an opaque text, whose length does not grow with the archive. An event
            may come more than once.

        Raises:
            ArchiveError: the archive can't be read, or a record is damaged or of a newer format.
            ArchiveReplacedError: a database is not the one that `since` is of; or files were there, and none is left.
            SettingsError: an event is encrypted, and no key or another one was given; or `since` is no position of
                this kind of archive.
        """

    def position_before(self, moment: datetime) -> str | None:
        """Return a position after which everything comes that was received at a moment or later, and perhaps more.

        For a reader that begins in the middle; None is the beginning. Receivers' clocks differ by what they differ.

        Raises:
            ArchiveError: the archive can't be read.
        """

    def check(self) -> None:
        """Write something, and take it away again.

        Raises:
            ArchiveError: it can't be written to.
        """

    def close(self) -> None:
        """Finish what is open. Nothing can be appended afterwards."""


def open_archive(url: str, *, encryption_key: bytes | None = None, writer: str | None = None) -> Archive:
    """Open the archive at a URL, for reading or writing. No request is made before it is used.

    Args:
        url: a folder or an fsspec URL (`s3://bucket/linq`, `gs://...`) for files; `sqlite:///...` or
            `postgresql+psycopg://...` for a database; `kafka://`, `nats://` or `redis://` for a broker, which can only
            be written to (see `linq_webhooks.sinks.brokers`).
        encryption_key: a Fernet key (32 bytes in URL-safe base64), or several separated by white space or commas: the
            first encrypts the bodies of new events, all decrypt. None stores them as they are, and can't read those
            that are encrypted.
        writer: a name for this writer in the names of files, to recognise it by: letters, digits, `-` and `_`. It need
            not be unique. By default the name of the machine.

    Raises:
        SettingsError: the URL or the key is none, or a package that the archive needs is not installed.
    """
    if not isinstance(url, str) or not url.strip():
        raise SettingsError(f"webhook archive: must be a folder, or a URL of files or of a database, got {url!r}")
    scheme = url.partition("://")[0] if "://" in url else ""
    try:
        cipher = None
        if encryption_key is not None:
            from linq_webhooks._encryption import BodyCipher

            cipher = BodyCipher(encryption_key)
        if re.fullmatch(r"(sqlite|postgres|postgresql|mysql|mariadb|oracle|mssql)(\+\w+)?", scheme):
            from linq_webhooks.sinks.database import DatabaseArchive

            return DatabaseArchive(url, cipher=cipher)
        if re.fullmatch(r"kafka|nats|tls|rediss?", scheme):
            from linq_webhooks.sinks.brokers import BrokerSink

            return BrokerSink(url, cipher=cipher)
        from linq_webhooks.sinks.files import FileArchive

        return FileArchive(url, cipher=cipher, writer=writer)
    except ImportError as error:
        # Of the URL no more than its scheme: the rest may hold a password.
        raise SettingsError(
            f"webhook archive {scheme or 'in files'}: {error.name or 'a package'} is not installed; "
            "pip install 'linq-connectors[webhooks]', and the driver of the store or database"
        ) from None
