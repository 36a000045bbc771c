"""Storing the files of messages before they expire: their URLs work for minutes to an hour.

A file goes to `<attachments_path>/<first two characters of the id>/<id>`: made from the attachment's id alone, since
the name that a sender gave it is data and never a path. `<id>.sha256` beside it is written last, holds digest and size,
and so says that the file is whole: with it there, and the file of that size, the file is never fetched again.

What can't be stored is an error in the record of the attachment, and counted; the message is extracted all the same.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from threading import Lock
from typing import IO, TYPE_CHECKING, Final

import fsspec

from linq_client import InvalidRequestError, LinqClient, LinqError, NotFoundError, PermissionDeniedError
from tap_linq.extraction.records import NOT_STORED, Record

if TYPE_CHECKING:
    from tap_linq.settings import Settings

__all__ = ["MediaStore"]

_SAFE_ID: Final = re.compile(r"[A-Za-z0-9_-]{3,64}")
_IN_MEMORY: Final = 1_000_000
_CHUNK: Final = 256 * 1024
_LOCKS: Final = 64


class _NotStoredError(Exception):
    """Why a file is not stored, in words for its record."""


class MediaStore:
    """Where files go. Safe to use from several threads.

    Args:
        path: a URL that fsspec understands, or a local folder.
        max_bytes: larger files are not stored.

    Raises:
        InvalidRequestError: fsspec does not know the protocol of `path`, or lacks the package for it.
    """

    def __init__(self, path: str, client: LinqClient, max_bytes: int) -> None:
        try:
            self._files, self._root = fsspec.core.url_to_fs(path)
        except (ValueError, ImportError) as error:
            raise InvalidRequestError(
                f"attachments_path: must be a folder or a URL that fsspec knows: {error}"
            ) from None
        self._url = path.rstrip("/")
        self._client = client
        self._max_bytes = max_bytes
        # The same file can be in several messages, which several threads may read concurrently.
        self._locks = [Lock() for _ in range(_LOCKS)]
        self._count_lock = Lock()
        self._stored = self._stored_before = self._failed = 0

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

    def store(self, record: Record) -> Record:
        """Store the file of an attachment, if it is not there yet, and return its record with what came of it."""
        outcome = dict(NOT_STORED)
        try:
            path = self._relative_path(record)
            with self._locks[hash(path) % _LOCKS]:
                digest, is_new = self._existing_digest(path, record.get("size_bytes")), False
                if digest is None:
                    digest, is_new = self._fetch(path, record), True
            outcome.update(stored_at=f"{self._url}/{path}", sha256=digest)
            self._count(stored=is_new, stored_before=not is_new)
        except (_NotStoredError, LinqError) as error:
            outcome["error"] = str(error)
            self._count(failed=True)
        except Exception as error:
            # Each store of fsspec has errors of its own. Only the kind: the words may hold a path with secrets in it.
            outcome["error"] = type(error).__name__
            self._count(failed=True)
        return {**record, **outcome}

    def _count(self, *, stored: bool = False, stored_before: bool = False, failed: bool = False) -> None:
        with self._count_lock:
            self._stored += stored
            self._stored_before += stored_before
            self._failed += failed

    def _relative_path(self, record: Record) -> str:
        id_, size = record.get("attachment_id"), record.get("size_bytes")
        if not isinstance(id_, str) or not _SAFE_ID.fullmatch(id_):
            raise _NotStoredError("the attachment has no id that could name a file")
        if isinstance(size, int) and size > self._max_bytes:
            raise _NotStoredError(f"larger than {self._max_bytes} bytes")
        return f"{id_[:2]}/{id_}"

    def _existing_digest(self, path: str, size: object) -> str | None:
        """The digest of a file that is there and whole."""
        full_path = f"{self._root}/{path}"
        try:
            digest, _, noted = self._files.cat_file(f"{full_path}.sha256").decode().partition(" ")
            existing = self._files.size(full_path)
        except (FileNotFoundError, UnicodeDecodeError):
            return None
        return digest if str(existing) == noted and size in (None, existing) else None

    def _fetch(self, path: str, record: Record) -> str:
        full_path = f"{self._root}/{path}"
        with tempfile.SpooledTemporaryFile(_IN_MEMORY) as file:
            size = self._download(record, file)
            expected = record.get("size_bytes")
            if isinstance(expected, int) and size != expected:
                raise _NotStoredError(f"{size} bytes came instead of {expected}")
            digest = hashlib.sha256()
            self._files.makedirs(full_path.rpartition("/")[0], exist_ok=True)
            file.seek(0)
            with self._files.open(full_path, "wb") as target:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
                    target.write(chunk)
        with self._files.open(f"{full_path}.sha256", "wb") as note:
            note.write(f"{digest.hexdigest()} {size}".encode())
        return digest.hexdigest()

    def _download(self, record: Record, file: IO[bytes]) -> int:
        """Fetch from the URL of the message, or from a fresh one where that has expired."""
        url = record.get("url")
        if isinstance(url, str) and url:
            try:
                return self._client.transfer("GET", url, into=file, max_bytes=self._max_bytes)
            except (NotFoundError, PermissionDeniedError):
                file.seek(0)
        return self._client.attachments.download(record["attachment_id"], file, max_bytes=self._max_bytes)
