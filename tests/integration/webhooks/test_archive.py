"""What holds for archives in a folder, an object store and SQLite."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest

from linq_webhooks.archive import Archive
from tests.support.webhook_events import ArchiveContract, event


def read_file(path: str, content: bytes) -> bytes:
    return gzip.decompress(content) if path.endswith(".gz") else content


class TestFolder(ArchiveContract):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return str(tmp_path / "archive" / "of" / "webhooks")

    @pytest.fixture
    def raw(self, url: str) -> Callable[[], bytes]:
        return lambda: b"".join(
            read_file(str(path), path.read_bytes()) for path in Path(url).rglob("*") if path.is_file()
        )


class TestObjectStore(ArchiveContract):
    @pytest.fixture
    def url(self) -> Iterator[str]:
        files = fsspec.filesystem("memory")
        yield "memory://bucket/webhooks"
        files.store.clear()
        files.pseudo_dirs[:] = [""]

    @pytest.fixture
    def raw(self, url: str) -> Callable[[], bytes]:
        files = fsspec.filesystem("memory")
        return lambda: b"".join(read_file(path, files.cat_file(path)) for path in files.find("/bucket"))


class TestSQLite(ArchiveContract):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path / 'archive.db'}"

    @pytest.fixture
    def raw(self, tmp_path: Path) -> Callable[[], bytes]:
        return lambda: b"".join(path.read_bytes() for path in tmp_path.iterdir())

    def test_what_is_delivered_twice_is_stored_once(self, opened: Callable[..., Archive]) -> None:
        archive = opened()
        archive.append([event(1), event(1)])
        archive.append([event(2), event(1)])
        assert [stored for stored, _ in archive.read()] == [event(1), event(2)]
