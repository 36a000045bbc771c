"""What holds for archives in a folder, an object store and SQLite."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pytest
import time_machine
from fsspec.implementations.memory import MemoryFileSystem

from linq_webhooks.archive import Archive, open_archive
from linq_webhooks.maintenance import compact
from tests.support.webhook_events import ArchiveContract, event, ids_of


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


class Folders(MemoryFileSystem):
    """A store whose folders have to be made before a file is put into them, as those of WebDAV and SFTP."""

    protocol = ("webdav",)
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.replace("webdav://", "memory://")))

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        if "w" in mode and self._parent(path) not in self.pseudo_dirs:
            raise FileNotFoundError(path)
        return super()._open(path, mode, **options)


@pytest.fixture
def folders(monkeypatch: pytest.MonkeyPatch) -> Iterator[Folders]:
    monkeypatch.setitem(import_module("fsspec.registry")._registry, "webdav", Folders)
    yield fsspec.filesystem("webdav")
    Folders.store.clear()
    Folders.pseudo_dirs[:] = [""]


class TestStoreWithFolders(ArchiveContract):
    @pytest.fixture
    def url(self, folders: Folders) -> str:
        return "webdav://share/of/webhooks"

    @pytest.fixture
    def raw(self, folders: Folders) -> Callable[[], bytes]:
        return lambda: b"".join(read_file(path, folders.cat_file(path)) for path in folders.find("/share"))

    def test_small_files_are_merged_there_too(self, opened: Callable[..., Archive], url: str, folders: Folders) -> None:
        with time_machine.travel("2026-03-01T12:30:00Z"):
            for number in range(4):
                opened().append([event(number)])
        with time_machine.travel("2026-03-03T12:30:00Z"):
            assert compact(url).segments == 4
            (path,) = folders.find("/share")
            assert "merged-" in path
            assert sorted(ids_of(opened())[0]) == ["e0", "e1", "e2", "e3"]


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

    def test_a_backup_that_is_restored_hides_nothing_from_readers(
        self, opened: Callable[..., Archive], tmp_path: Path
    ) -> None:
        archive = opened()
        archive.append([event(1)])
        archive.close()
        backup = (tmp_path / "archive.db").read_bytes()
        archive.append([event(number) for number in range(2, 9)])
        _, position = ids_of(archive)
        archive.close()
        (tmp_path / "archive.db").write_bytes(backup)
        opened().append([event(9)])
        assert ids_of(opened(), position)[0] == ["e9"]


@pytest.mark.parametrize("form", ["{}", "sqlite:///{}"])
def test_a_reader_does_not_make_an_archive(form: str, tmp_path: Path) -> None:
    path = tmp_path / "archive"
    archive = open_archive(form.format(path))
    assert list(archive.read()) == []
    assert archive.position_before(datetime.now(timezone.utc)) is None
    assert not path.exists()
    archive.append([event(1)])
    assert ids_of(archive)[0] == ["e1"]
    archive.close()
