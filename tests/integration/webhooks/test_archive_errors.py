"""What is refused of an archive, and what is said of it."""

from __future__ import annotations

import json
import sqlite3
import sys
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from linq_client import SettingsError
from linq_webhooks.archive import ArchiveReplacedError, open_archive
from linq_webhooks.maintenance import erase
from linq_webhooks.sinks import database
from tests.support.webhook_events import KEY, event, ids_of

START = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


@pytest.mark.parametrize("url", ["", "  ", None, 5])
def test_what_is_no_place(url: Any) -> None:
    with pytest.raises(SettingsError, match="webhook archive: must be a folder, or a URL"):
        open_archive(url)


@pytest.mark.parametrize("url", ["postgresql://user:pass@word:s3cr3t/1@host/db", "sqlite://user:s3cr3t@host:five/db"])
def test_what_is_no_url_of_a_database_is_not_quoted(url: str) -> None:
    """An @ in a password that is not escaped makes a port of what comes after it."""
    with pytest.raises(SettingsError, match="^webhook archive: is no URL of a database$") as refused:
        open_archive(url)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("mysql://user:s3cr3t@host/db", "must be in SQLite or PostgreSQL, or in files, got mysql"),
        ("postgresql+carrier://user:s3cr3t@host/db", "must name a driver that there is, got postgresql\\+carrier"),
    ],
)
def test_a_database_that_is_not_supported_is_named(url: str, why: str) -> None:
    with pytest.raises(SettingsError, match=f"^webhook archive: {why}$"):
        open_archive(url)


def test_a_package_that_is_missing_is_named_and_the_url_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("linq_webhooks.sinks.database", "sqlalchemy"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    with pytest.raises(SettingsError, match=r"webhook archive postgresql: sqlalchemy is not installed; pip") as refused:
        open_archive("postgresql://user:s3cr3t@host/db", encryption_key=KEY)
    assert "s3cr3t" not in str(refused.value)


@pytest.mark.parametrize("name", ["", "a b", "../a", "a" * 65])
def test_a_writer_has_a_name_that_files_can_have(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match="writer: must be 1 to 64 letters, digits, - and _"):
        open_archive(str(tmp_path), writer=name)


def test_who_is_in_a_broker_can_not_be_erased() -> None:
    with pytest.raises(SettingsError, match="erase: this kind of archive forgets by itself"):
        erase("nats://127.0.0.1:9/stream", "+12025550123")


class TestDatabase:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "archive.db"

    @pytest.fixture
    def url(self, path: Path) -> str:
        return f"sqlite:///{path}"

    def test_more_events_than_a_page_are_read_in_their_order(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(database, "_PAGE", 3)
        with closing(open_archive(url)) as archive:
            for count in range(1, 8):
                archive.append([event(count)])
                assert ids_of(archive)[0] == [f"e{number}" for number in range(1, count + 1)]
            _, position = next(iter(archive.read()))
            assert ids_of(archive, position)[0] == [f"e{number}" for number in range(2, 8)]
            assert archive.delete([f"e{number}" for number in range(2, 7)]) == 5  # type: ignore[attr-defined]
            assert ids_of(archive)[0] == ["e1", "e7"]

    def test_a_database_of_something_else_has_no_event(self, url: str, path: Path) -> None:
        with closing(sqlite3.connect(path)) as other, other:
            other.execute("create table other (id integer)")
        with closing(open_archive(url)) as archive:
            assert list(archive.read()) == []
            assert archive.position_before(START) is None
            with pytest.raises(ArchiveReplacedError):
                list(archive.read('{"format":1,"position":7}'))

    def test_another_event_in_the_place_of_the_one_that_was_read(self, url: str, path: Path) -> None:
        """As after a copy was restored and written to: what else is new can't be told."""
        with closing(open_archive(url)) as archive:
            archive.append([event(1), event(2)])
            _, position = ids_of(archive)
            with closing(sqlite3.connect(path)) as other, other:
                other.execute("update linq_webhook_events set event_id = 'another' where event_id = 'e2'")
            with pytest.raises(ArchiveReplacedError, match="restored since it was read last"):
                list(archive.read(position))
            older = json.dumps({"format": 1, "position": json.loads(str(position))["position"]})
            assert list(archive.read(older)) == []  # as versions wrote it that did not note the event

    def test_it_may_be_in_memory(self) -> None:
        with closing(open_archive("sqlite://")) as archive:
            archive.append([event(1)])
            assert ids_of(archive)[0] == ["e1"]
