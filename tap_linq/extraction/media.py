"""Storing the files of messages before they expire: their URLs work for minutes to an hour.

A file goes to `<attachments_path>/<first two characters of the id>/<id>`: made from the attachment's id alone, since
the name that a sender gave it is data and never a path. Of an id that is no safe name, its SHA-256 stands in for it.
`<id>.sha256` beside it is written last, holds digest and size, and so says that the file is whole: with it there, and
the file of that size, the file is never fetched again. A file that came whole is kept whatever `size_bytes` of its
message says: that may be the size before the platform converted it, or not be known yet.

What can't be stored is an error in the record of the attachment, and counted; the message is extracted all the same.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from threading import Lock
from typing import IO, TYPE_CHECKING, Final
from uuid import uuid4

import fsspec
from fsspec.implementations.local import LocalFileSystem

from linq_client import (
    AuthenticationError,
    FileTooLargeError,
    InvalidRequestError,
    LinqError,
    NotFoundError,
    PermissionDeniedError,
)
from linq_client.store_urls import FOLDER_PROTOCOLS, without_user_info
from tap_linq.extraction.file_source import FileSource
from tap_linq.extraction.records import NOT_STORED, Record

if TYPE_CHECKING:
    from linq_client import LinqClient
    from tap_linq.settings import Settings

__all__ = ["MediaStore"]

log = logging.getLogger(__name__)

_SAFE_ID: Final = re.compile(r"[A-Za-z0-9_-]{3,64}")
_IN_MEMORY: Final = 1_000_000
_CHUNK: Final = 256 * 1024
_LOCKS: Final = 64


class _NotStoredError(Exception):
    """Why a file is not stored, and never can be, in words for its record."""


class _StoreError(Exception):
    """The store failed when it was tried; nothing more is sent to it in this run."""


class MediaStore:
    """Where files go. Safe to use from several threads.

    Args:
        path: a URL that fsspec understands, or a local folder.
        max_bytes: larger files are not stored.

    Attributes:
        problem: why the store could not take what it was to take, for the end of the run; None if it could.

    Raises:
        InvalidRequestError: fsspec does not know the protocol of `path`, or lacks the package for it.
    """

    def __init__(self, path: str, client: LinqClient, max_bytes: int) -> None:
        try:
            self._files, self._root = fsspec.core.url_to_fs(path)
        except (ValueError, ImportError) as error:
            raise InvalidRequestError(
                f"attachments_path: must be a folder or a URL that fsspec knows: {without_user_info(str(error))}"
            ) from None
        self._url = without_user_info(path.rstrip("/"))
        self._client = client
        self._source = FileSource()
        self._max_bytes = max_bytes
        # The same file can be in several messages, which several threads may read concurrently.
        self._locks = [Lock() for _ in range(_LOCKS)]
        self._count_lock = Lock()
        self._stored = self._stored_before = self._failed = 0
        self._owed: set[str] = set()
        # Places of files that were begun and too large: the next message with one of them need not begin it again.
        self._too_large: set[str] = set()
        self.owed = 0
        self._is_usable = True
        self.problem: str | None = None

    @classmethod
    def from_settings(cls, settings: Settings, client: LinqClient) -> MediaStore | None:
        """Return the store that the settings ask for, None if they don't."""
        if settings.attachments_path is None:
            return None
        return cls(settings.attachments_path, client, settings.attachment_max_bytes)

    @property
    def summary(self) -> str:
        """What became of the files, for the log."""
        return f"files: {self._stored} stored, {self._stored_before} stored before, {self._failed} failed"

    def owes(self, line: str) -> bool:
        """Whether a file of a line could not be stored in this run, and may be in a later one."""
        return line in self._owed

    def check(self) -> None:
        """Write a small object and remove it: a store that can't be used is to be known before the first file comes.

        Nothing is stored in a run after this has failed: thousands of files that wait for a store that is down would
        hold up the messages.
        """
        path = f"{self._root}/.tap-linq-{uuid4().hex}"
        try:
            self._write(path, [b"probe"])
            self._files.rm_file(path)
        except Exception as error:
            # Each store of fsspec has errors of its own. Only the kind: the words may hold a path with secrets in it.
            self._is_usable = False
            self._note_problem(error)

    def store(self, record: Record) -> Record:
        """Store the file of an attachment, if it is not there yet, and return its record with what came of it."""
        outcome = dict(NOT_STORED)
        try:
            path = self._relative_path(record)
            with self._locks[hash(path) % _LOCKS]:
                if path in self._too_large:
                    raise self._too_large_error
                known, is_new = self._existing(path), False
                if known is None:
                    known, is_new = self._fetch(path, record), True
            outcome.update(stored_at=f"{self._url}/{path}", sha256=known[0], stored_bytes=known[1])
            self._count(stored=is_new, stored_before=not is_new)
        except (_NotStoredError, NotFoundError, PermissionDeniedError, InvalidRequestError) as error:
            # It is gone, or too large: another try would change nothing.
            outcome["error"] = str(error)
            self._count(failed=True)
        except Exception as error:
            outcome["error"] = str(error) if isinstance(error, LinqError | _StoreError) else type(error).__name__
            self._owe(record, error)
        return {**record, **outcome}

    def _owe(self, record: Record, error: Exception) -> None:
        self._count(failed=True)
        with self._count_lock:
            self.owed += 1
            self._owed.add(record["line"])
            if not isinstance(error, LinqError):
                self._note_problem(error)

    def _note_problem(self, error: Exception) -> None:
        if self.problem is None:
            self.problem = f"attachments_path: files could not be stored in {self._url} ({type(error).__name__})"
            log.error("%s; messages are extracted all the same", self.problem)

    def _count(self, *, stored: bool = False, stored_before: bool = False, failed: bool = False) -> None:
        with self._count_lock:
            self._stored += stored
            self._stored_before += stored_before
            self._failed += failed

    def _relative_path(self, record: Record) -> str:
        id_, size = record.get("attachment_id"), record.get("size_bytes")
        if not isinstance(id_, str) or not id_:
            raise _NotStoredError("the attachment has no id that could name a file")
        if isinstance(size, int) and size > self._max_bytes:
            raise self._too_large_error
        name = id_ if _SAFE_ID.fullmatch(id_) else hashlib.sha256(id_.encode(errors="replace")).hexdigest()
        return f"{name[:2]}/{name}"

    @property
    def _too_large_error(self) -> _NotStoredError:
        return _NotStoredError(f"larger than {self._max_bytes} bytes")

    def _existing(self, path: str) -> tuple[str, int] | None:
        """The digest and size of a file that is there and whole."""
        if not self._is_usable:
            raise _StoreError("the store could not be used when the run began")
        full_path = f"{self._root}/{path}"
        try:
            digest, _, noted = self._files.cat_file(f"{full_path}.sha256").decode().partition(" ")
            size = self._files.size(full_path)
        except (FileNotFoundError, UnicodeDecodeError):
            return None
        return (digest, size) if str(size) == noted else None

    def _fetch(self, path: str, record: Record) -> tuple[str, int]:
        full_path = f"{self._root}/{path}"
        with tempfile.SpooledTemporaryFile(_IN_MEMORY) as file:
            self._source.check()
            try:
                size = self._download(record, file)
            except FileTooLargeError:
                self._source.note(failed=False)
                self._too_large.add(path)
                raise self._too_large_error from None
            except LinqError as error:
                self._source.note(failed=error.retryable)
                raise
            self._source.note(failed=False)
            digest = hashlib.sha256()
            file.seek(0)

            def chunks() -> Iterator[bytes]:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
                    yield chunk

            self._write(full_path, chunks())
        self._write(f"{full_path}.sha256", [f"{digest.hexdigest()} {size}".encode()])
        return digest.hexdigest(), size

    def _write(self, path: str, chunks: Iterable[bytes]) -> None:
        """Write a file. On a local disk beside, and then in its place: what was there stays until the new one is whole.

        It is for its owner alone: what people send each other is nobody else's.
        """
        folder = path.rpartition("/")[0]
        if isinstance(self._files, LocalFileSystem):
            os.makedirs(folder, mode=0o700, exist_ok=True)
            if folder != self._root and os.path.islink(folder):
                raise NotADirectoryError(f"{folder} is a symbolic link")
            handle, beside = tempfile.mkstemp(prefix=".tap-linq-", dir=folder)
            try:
                with os.fdopen(handle, "wb") as target:
                    target.writelines(chunks)
                os.replace(beside, path)
            except BaseException:
                os.unlink(beside)
                raise
            return
        protocols = self._files.protocol
        if not FOLDER_PROTOCOLS.isdisjoint([protocols] if isinstance(protocols, str) else protocols):
            self._files.makedirs(folder, exist_ok=True)
        with self._files.open(path, "wb") as target:
            target.writelines(chunks)

    def _download(self, record: Record, file: IO[bytes]) -> int:
        """Fetch from the URL of the message, or from a fresh one where that has expired."""
        url = record.get("url")
        if isinstance(url, str) and url:
            try:
                return self._client.transfer("GET", url, into=file, max_bytes=self._max_bytes)
            except FileTooLargeError:
                raise  # and so it is elsewhere
            except (AuthenticationError, InvalidRequestError, NotFoundError, PermissionDeniedError):
                # Stores say in many ways that a signature has expired: 400, 401, 403, 404, 410.
                file.seek(0)
        return self._client.attachments.download(record["attachment_id"], file, max_bytes=self._max_bytes)
