"""An archive in a database: one table of events, in SQLite or PostgreSQL, by SQLAlchemy.

    linq_webhook_events     event_id (key), position, event_type, subscription_id, received_at, headers, body, ...
    linq_webhook_archive    one row: the format, and the last position

Writers take their positions from the one row of the second table, in the transaction that inserts the events. Its lock
makes them wait for each other, so positions become visible in their order, and a reader passes nothing over.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from linq_client.errors import SettingsError
from linq_client.times import to_utc
from linq_webhooks._records import FORMAT, check_format
from linq_webhooks.archive import ArchiveError, ArchiveReplacedError, StoredEvent

if TYPE_CHECKING:
    from linq_webhooks._encryption import BodyCipher

__all__ = ["DatabaseArchive"]

_metadata: Final = sa.MetaData()

#: What is in `body`.
_PLAIN, _ENCRYPTED = "plain", "fernet"

_events: Final = sa.Table(
    "linq_webhook_events",
    _metadata,
    sa.Column("event_id", sa.Text, primary_key=True),
    sa.Column("position", sa.BigInteger, nullable=False, unique=True),
    sa.Column("event_type", sa.Text, nullable=False),
    sa.Column("subscription_id", sa.Text),
    sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("headers", sa.Text, nullable=False),
    sa.Column("encryption", sa.Text, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("format", sa.Integer, nullable=False),
)

_archive: Final = sa.Table(
    "linq_webhook_archive",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("format", sa.Integer, nullable=False),
    sa.Column("last_position", sa.BigInteger, nullable=False),
)

_INSERTS: Final = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
_PAGE: Final = 1000

#: Of a connection to SQLite: which files it has opened.
_FILES: Final = "linq_files"

#: Seconds for a connection, and for one statement or the lock of another writer: a database that hangs is down.
_TIMEOUT_SECONDS: Final = 5


#: For a transaction alone, since a pooler may hand its connection to others. A server may be set to confirm what is not
#: durable; a setting that is stricter than ours stays.
_POSTGRESQL_SETTINGS: Final = sa.text(
    f"select set_config('statement_timeout', '{_TIMEOUT_SECONDS}s', true),"
    " set_config('synchronous_commit', case current_setting('synchronous_commit')"
    " when 'off' then 'on' else current_setting('synchronous_commit') end, true)"
)


class DatabaseArchive:
    """An archive in a database; see `linq_webhooks.archive.Archive`.

    Args:
        url: as SQLAlchemy takes it, `sqlite:///...` or `postgresql+psycopg://...`.
        cipher: encrypts and decrypts bodies.

    Raises:
        SettingsError: the URL is none, or of another database.
        ImportError: the driver of the database is not installed.
    """

    def __init__(self, url: str, *, cipher: BodyCipher | None = None) -> None:
        parsed = _parse_url(url)
        self._dialect = parsed.get_backend_name()
        if self._dialect not in _INSERTS:
            raise SettingsError(f"webhook archive: must be in SQLite or PostgreSQL, or in files, got {self._dialect}")
        self._file = parsed.database if self._dialect == "sqlite" else None
        self._name = parsed.set(query={}).render_as_string(hide_password=True)
        try:
            self._engine = sa.create_engine(
                # Errors would show the bodies.
                parsed, hide_parameters=True, pool_pre_ping=True, connect_args=_connect_arguments(parsed)
            )  # fmt: skip
        except sa.exc.ArgumentError:
            raise SettingsError(f"webhook archive: must name a driver that there is, got {parsed.drivername}") from None
        if self._dialect == "sqlite":
            sa.event.listen(self._engine, "connect", _make_sqlite_durable)
            sa.event.listen(self._engine, "checkout", _refuse_files_that_are_gone)
        self._cipher = cipher
        self._has_tables = False

    def append(self, events: Sequence[StoredEvent]) -> None:
        if not events:
            return
        rows = [self._row_of(event) for event in events]
        with self._writing() as connection:
            self._insert(connection, rows)

    def read(self, since: str | None = None) -> Iterator[tuple[StoredEvent, str]]:
        after, event = _parse_position(since)
        query = sa.select(_events).order_by(_events.c.position).limit(_PAGE)
        if self._is_missing():
            self._check_replaced(after, last=0)
            return
        with self._errors("read"):
            if not self._has_tables and not sa.inspect(self._engine).has_table(_events.name):
                self._check_replaced(after, last=0)
                return
            with self._engine.connect() as connection:
                last = connection.execute(sa.select(sa.func.max(_archive.c.last_position))).scalar()
                found = connection.execute(sa.select(_events.c.event_id).where(_events.c.position == after)).scalar()
        self._check_replaced(after, last=last or 0)
        if event is not None and found is not None and event != _digest(found):
            self._check_replaced(after, last=-1)
        while True:
            with self._errors("read"), self._engine.connect() as connection:
                page = connection.execute(query.where(_events.c.position > after)).all()
            for row in page:
                after = row.position
                yield (
                    self._event_of(row),
                    json.dumps(
                        {"format": FORMAT, "position": after, "event": _digest(row.event_id)}, separators=(",", ":")
                    ),
                )
            if len(page) < _PAGE:
                return

    def _check_replaced(self, position: int, *, last: int) -> None:
        if position > last:
            raise ArchiveReplacedError(
                f"webhook archive {self._name}: was emptied, made again or restored since it was read last"
            )

    def delete(self, event_ids: Sequence[str]) -> int:
        """Remove events, and return how many there were.

        Raises:
            ArchiveError: the database can't be written to.
        """
        removed = 0
        for start in range(0, len(event_ids), _PAGE):
            query = sa.delete(_events).where(_events.c.event_id.in_(event_ids[start : start + _PAGE]))
            with self._errors("write"), self._engine.begin() as connection:
                removed += connection.execute(query).rowcount
        return removed

    def position_before(self, moment: datetime) -> str | None:
        first = sa.select(sa.func.min(_events.c.position)).where(_events.c.received_at >= to_utc(moment))
        last = sa.select(sa.func.max(_events.c.position))
        if self._is_missing():
            return None
        with self._errors("read"), self._engine.connect() as connection:
            if not sa.inspect(connection).has_table(_events.name):
                return None
            found = connection.execute(sa.select(first.scalar_subquery(), last.scalar_subquery())).one()
        position = found[0] - 1 if found[0] is not None else found[1] or 0
        return f'{{"format":{FORMAT},"position":{position}}}'

    def check(self) -> None:
        with self._writing() as connection:
            connection.execute(sa.update(_archive).values(format=_archive.c.format))
            connection.rollback()

    def close(self) -> None:
        self._engine.dispose()

    def _is_missing(self) -> bool:
        """Whether there is no file yet: SQLite would make an empty one for a reader."""
        if not self._file or self._file == ":memory:" or self._file.startswith("file:"):
            return False
        return not os.path.exists(self._file)

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        """Run a transaction, and see afterwards that what it has written is where others look for it."""
        with self._errors("write"):
            self._make_tables()
            with self._engine.connect() as connection:
                if self._dialect == "postgresql":
                    connection.execute(_POSTGRESQL_SETTINGS)
                yield connection
                connection.commit()
                if _are_files_gone(connection.info):
                    raise ArchiveError(f"webhook archive {self._name}: cannot write: its file was removed or replaced")

    def _insert(self, connection: sa.Connection, rows: list[dict[str, Any]]) -> None:
        # Positions are no lower than the microseconds since 1970: a database may be made again, or restored, and a
        # reader who knows a position in the earlier one would pass over what is written from then on.
        now = time.time_ns() // 1000
        last_position = sa.case((_archive.c.last_position < now, now), else_=_archive.c.last_position)
        claim = (
            sa.update(_archive)
            .values(last_position=last_position + len(rows))
            .returning(_archive.c.last_position, _archive.c.format)
        )
        last, number = connection.execute(claim).one()
        check_format(number, f"webhook archive {self._name}")
        for position, row in enumerate(rows, start=last - len(rows) + 1):
            row["position"] = position
        insert: Any = _INSERTS[self._dialect](_events)
        connection.execute(insert.on_conflict_do_nothing(index_elements=["event_id"]), rows)

    def _make_tables(self) -> None:
        if self._has_tables:
            return
        with self._engine.begin() as connection:
            if self._dialect == "postgresql":
                # Two that make a table at a time don't both succeed, whatever IF NOT EXISTS says.
                connection.execute(sa.text("select pg_advisory_xact_lock(hashtext('linq_webhook_archive'))"))
            _metadata.create_all(connection)
            insert: Any = _INSERTS[self._dialect](_archive)
            connection.execute(
                insert.on_conflict_do_nothing(index_elements=["id"]),
                {"id": 1, "format": FORMAT, "last_position": 0},
            )
        self._has_tables = True

    def _row_of(self, event: StoredEvent) -> dict[str, Any]:
        body = event.body if self._cipher is None else self._cipher.encrypt(event.body).encode()
        return {
            "event_id": event.event_id,
            "event_type": event.event_type,
            "subscription_id": event.subscription_id,
            "received_at": to_utc(event.received_at),
            "headers": json.dumps(dict(event.headers)),
            "encryption": _PLAIN if self._cipher is None else _ENCRYPTED,
            "body": body,
            "format": FORMAT,
        }

    def _event_of(self, row: sa.Row[Any]) -> StoredEvent:
        where = f"webhook archive {self._name}: event {row.event_id}"
        check_format(row.format, where)
        body = bytes(row.body)
        if row.encryption != _PLAIN:
            if self._cipher is None:
                raise SettingsError(f"{where}: it is encrypted, and no encryption key was given")
            body = self._cipher.decrypt(body.decode())
        return StoredEvent(
            event_id=row.event_id,
            event_type=row.event_type,
            subscription_id=row.subscription_id,
            received_at=to_utc(row.received_at),
            headers=json.loads(row.headers),
            body=body,
        )

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except sa.exc.SQLAlchemyError as error:
            self._has_tables = False  # as far as is known: somebody may have removed them
            # Not its words: those of a database may quote rows or the address that it was reached by.
            kind = type(getattr(error, "orig", None) or error).__name__
            raise ArchiveError(f"webhook archive {self._name}: cannot {what}: {kind}") from None


def _parse_url(text: str) -> sa.URL:
    try:
        return sa.make_url(text)
    except (sa.exc.ArgumentError, ValueError):  # of a port that is no number, and may be part of a password
        raise SettingsError("webhook archive: is no URL of a database") from None


def _connect_arguments(url: sa.URL) -> dict[str, Any]:
    if url.get_backend_name() == "sqlite":
        return {"timeout": _TIMEOUT_SECONDS}
    # A server that does not answer at all can't end the statement itself.
    return {"connect_timeout": _TIMEOUT_SECONDS, "tcp_user_timeout": _TIMEOUT_SECONDS * 1000}


def _make_sqlite_durable(connection: Any, record: Any) -> None:
    cursor = connection.cursor()
    # Readers don't hold up the writer, and a commit survives a loss of power.
    cursor.execute("pragma journal_mode=wal")
    cursor.execute("pragma synchronous=full")
    cursor.execute("select count(*) from sqlite_master")  # which makes the second file
    ((_, _, path),) = cursor.execute("pragma database_list").fetchall()
    if path:  # not in memory
        record.info[_FILES] = _identities((path, f"{path}-wal"))
    cursor.close()


def _refuse_files_that_are_gone(_connection: object, record: Any, _proxy: object) -> None:
    if _are_files_gone(record.info):
        raise sa.exc.DisconnectionError  # the pool opens another connection


def _are_files_gone(info: Mapping[Any, Any]) -> bool:
    """Whether files of a connection were removed or replaced: SQLite goes on in them, where nobody can read it."""
    files = info.get(_FILES)
    return files is not None and files != _identities(files)


def _identities(paths: Iterable[str]) -> dict[str, tuple[int, int] | None]:
    """Return by which a file system knows the files that have these paths; None of a path that has none."""
    found: dict[str, tuple[int, int] | None] = {}
    for path in paths:
        try:
            status = os.stat(path)
        except OSError:
            found[path] = None
        else:
            found[path] = status.st_dev, status.st_ino
    return found


def _digest(event_id: str) -> str:
    return blake2b(event_id.encode(errors="replace"), digest_size=8).hexdigest()


def _parse_position(since: str | None) -> tuple[int, str | None]:
    """Return a position, and the digest of the event that has it; None of one that names no event."""
    if since is None:
        return 0, None
    try:
        fields = json.loads(since)
        check_format(fields["format"], "position in the webhook archive")
        return int(fields["position"]), fields.get("event")
    except ArchiveError:
        raise
    except (ValueError, KeyError, TypeError):
        raise SettingsError("since: is no position in a database, it may be of another archive") from None
