"""Folders of file systems and object stores, with errors of one kind: of archives, and of what the tap keeps in one."""

from __future__ import annotations

import contextlib
import os
import posixpath
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, Final
from uuid import uuid4

import fsspec
from fsspec.asyn import AsyncFileSystem
from fsspec.implementations.local import LocalFileSystem

from linq_client.errors import SettingsError
from linq_client.store_urls import FOLDER_PROTOCOLS, without_user_info
from linq_webhooks.archive import ArchiveError
from linq_webhooks.sinks import _local

__all__ = ["Store"]

#: How often a folder is listed again because a file has gone meanwhile.
_MAX_LISTINGS: Final = 20


class Store:
    """A folder of a file system or an object store. Paths are relative to it, with slashes.

    Args:
        url: a folder, or a URL that fsspec knows.
        what: what is kept there, for messages.

    Attributes:
        name: the URL without user and password, for messages.
        is_local: whether its files are of this machine's file system, where they can be appended to and synced.

    Raises:
        SettingsError: fsspec does not know the URL's protocol.
    """

    def __init__(self, url: str, what: str = "webhook archive") -> None:
        self.name = without_user_info(url.rstrip("/"))
        self._what = what
        try:
            self.fs, root = fsspec.core.url_to_fs(url)
        except ValueError as error:
            raise SettingsError(
                f"{what}: must be a folder, or a URL that fsspec or SQLAlchemy knows: {without_user_info(str(error))}"
            ) from None
        self.is_local = isinstance(self.fs, LocalFileSystem)
        self.root = str(root).rstrip("/")
        protocols = [self.fs.protocol] if isinstance(self.fs.protocol, str) else self.fs.protocol
        self._has_folders = bool(FOLDER_PROTOCOLS.intersection(protocols))

    def path(self, relative: str) -> str:
        """Return the path of a file for the file system."""
        return posixpath.join(self.root, relative)

    @contextmanager
    def errors(self, what: str) -> Iterator[None]:
        """Turn what the file system raises into an `ArchiveError`, but not that a file does not exist."""
        try:
            yield
        except (ArchiveError, SettingsError, FileNotFoundError):
            raise
        except Exception as error:
            # Each store of fsspec has errors of its own. Only the kind: the words may hold a path with secrets in it.
            kind = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else type(error).__name__
            raise ArchiveError(f"{self._what} {self.name}: cannot {what}: {kind}") from error

    def folders(self, relative: str = "") -> list[str]:
        """Return the names of the folders in a folder, sorted; none if it does not exist.

        Raises what the file system raises if it can't be listed.
        """
        self.fs.invalidate_cache()
        found = self._listed(self.path(relative) if relative else self.root)
        return sorted(posixpath.basename(str(one["name"]).rstrip("/")) for one in found if one["type"] == "directory")

    def files(self, relative: str) -> list[str]:
        """Return the paths of all files in a folder and below it; none if it does not exist.

        Raises what the file system raises if one of the folders can't be listed.
        """
        self.fs.invalidate_cache()
        path = self.path(relative)
        try:
            found = self._walk(path) if _leaves_out_what_fails(self.fs) else self.fs.find(path)
        except FileNotFoundError:
            return []
        # What the file system returns may have a protocol or a root of its own in front.
        return [f"{relative}{path[path.rindex(f'/{relative}/') + 1 + len(relative) :]}" for path in map(str, found)]

    def _walk(self, path: str) -> Iterator[str]:
        for one in self._listed(path):
            name = str(one["name"]).rstrip("/")
            if one["type"] != "directory":
                yield name
            elif name != path:
                yield from self._walk(name)

    def _listed(self, path: str) -> list[dict[str, Any]]:
        """Return what is in a folder; nothing if it does not exist."""
        for _ in range(_MAX_LISTINGS):
            try:
                return list(self.fs.ls(path, detail=True))
            except FileNotFoundError:
                # Some file systems also raise it if a file goes meanwhile. An object store does not look at each, and
                # may raise it of a bucket that has nothing yet.
                if not ((self.is_local or self._has_folders) and self.fs.isdir(path)):
                    return []
        raise ArchiveError(f"{self._what} {self.name}: cannot list it: its files go meanwhile")

    def open(self, relative: str) -> Any:
        """Open a file for reading.

        Raises:
            FileNotFoundError: there is none.
        """
        path = self.path(relative)
        return open(path, "rb") if self.is_local else self.fs.open(path, "rb")

    def write_whole(self, relative: str, content: bytes) -> None:
        """Write a file such that all of it is under this name, durably, or nothing."""
        path = self.path(relative)
        if self.is_local:
            _local.replace(path, content)
        elif self._has_folders:
            beside = f"{path}.{uuid4().hex}.new"
            self.fs.makedirs(posixpath.dirname(path), exist_ok=True)
            self.fs.pipe_file(beside, content)
            self.fs.mv(beside, path)
        else:  # an object appears when it is complete
            self.fs.pipe_file(path, content)

    @contextlib.contextmanager
    def writing(self, relative: str) -> Iterator[IO[bytes]]:
        """Write a file of any size: all of it is under this name when the block has ended, and nothing if it raised."""
        path = self.path(relative)
        if self.is_local:
            with _local.writing(path) as file:
                yield file
            return
        with tempfile.NamedTemporaryFile(prefix="linq-webhooks-") as file:
            yield file
            file.flush()
            if self._has_folders:
                beside = f"{path}.{uuid4().hex}.new"
                self.fs.put_file(file.name, beside)
                self.fs.mv(beside, path)
            else:
                self.fs.put_file(file.name, path)

    def remove(self, relative: str) -> None:
        """Remove a file that may be gone already."""
        with contextlib.suppress(FileNotFoundError):
            self.fs.rm_file(self.path(relative))


def _leaves_out_what_fails(fs: fsspec.AbstractFileSystem) -> bool:
    """Whether `find` is the one that file systems inherit: it takes a folder that can't be listed for an empty one."""
    if isinstance(fs, AsyncFileSystem):
        return type(fs)._find is AsyncFileSystem._find
    return type(fs).find is fsspec.AbstractFileSystem.find
